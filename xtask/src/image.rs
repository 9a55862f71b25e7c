//! The container image: programs built here, collected in `dist/`, and an image around them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{cargo, root, run};
use crate::tools;

/// The programs of a release, each a package of the same name, beside one for each policy.
const PROGRAMS: [&str; 6] =
    ["allot", "allot-registry", "allot-offers", "allot-dispatcher", "allot-agent", "allot-allocator"];

/// All programs of a release: a policy has one where there is a folder of its name.
fn programs() -> Result<Vec<String>> {
    let services = root().join("services");
    let mut programs: Vec<String> = PROGRAMS.iter().map(ToString::to_string).collect();
    for entry in fs::read_dir(&services).with_context(|| format!("cannot read {}", services.display()))? {
        let folder = entry?.file_name();
        programs.extend(
            folder.to_str().filter(|name| name.starts_with("allocator-")).map(|name| format!("allot-{name}")),
        );
    }
    programs.sort();
    Ok(programs)
}

/// How programs are compiled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    /// As they are released: slow to build, fast to run.
    Release,
    /// As tests run them, which have built most of it already.
    Dev,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    /// What is built. As tests do it, all at once: with fewer targets dependencies have other features, and would be
    /// compiled anew.
    fn targets(self) -> [&'static str; 2] {
        match self {
            Self::Release => ["--workspace", "--bins"],
            Self::Dev => ["--workspace", "--all-targets"],
        }
    }

    /// Where cargo leaves the programs, under `target/`.
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }

    /// Where they are collected. Tests leave a release alone.
    fn dist(self) -> &'static str {
        match self {
            Self::Release => "dist",
            Self::Dev => "target/compose-test/dist",
        }
    }

    /// The name of the image.
    pub(crate) fn image(self) -> &'static str {
        match self {
            Self::Release => "allot",
            Self::Dev => "allot:test",
        }
    }
}

/// Builds the programs and collects them without symbols.
pub(crate) fn dist(profile: Profile) -> Result<PathBuf> {
    run(cargo().args(["build", "--locked", "--profile", profile.name()]).args(profile.targets()))?;
    let dist = root().join(profile.dist());
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
    }
    fs::create_dir_all(&dist).with_context(|| format!("cannot create {}", dist.display()))?;
    for program in programs()? {
        strip(&target().join(profile.folder()).join(&program), &dist.join(&program))?;
    }
    Ok(dist)
}

/// Builds the image around the programs, and removes the one that had its name before.
pub(crate) fn image(profile: Profile) -> Result<()> {
    let dist = dist(profile)?;
    let dockerfile = root().join("deploy/Dockerfile");
    run(Command::new("docker")
        .args(["build", "--tag", profile.image(), "--file"])
        .arg(dockerfile)
        .arg(dist))?;
    let nameless = ["image", "prune", "--force", "--filter", "label=org.opencontainers.image.title=allot"];
    run(Command::new("docker").args(nameless))
}

/// Builds the base images that are missing, for machines that cannot pull any.
pub(crate) fn base_images() -> Result<()> {
    let nats_server = tools::nats_server()?;
    run(Command::new(root().join("deploy/base-images.sh")).arg(nats_server))
}

fn strip(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("strip").arg("-o").arg(to).arg(from))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
