//! HyperQueue beside allot, where it can be found.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::root;

/// What a script says where there is nothing that it could measure.
pub(super) const NOT_THERE: i32 = 3;
/// The Python to run it with, where not `python3`.
const PYTHON: &str = "ALLOT_BENCH_PYTHON";

/// What HyperQueue does with so many tasks; nothing where it is not there.
pub(crate) fn measure(program: &str, tasks: u32, cores: u32) -> Result<Option<Value>> {
    let script = root().join("benches/run_hyperqueue.py");
    let said = Command::new(python("hyperqueue"))
        .arg(script)
        .args(["--tasks", &tasks.to_string(), "--cores", &cores.to_string(), program])
        .output()
        .context("cannot start python3")?;
    match said.status.code() {
        // What HyperQueue itself prints comes before.
        Some(0) => {
            let text = String::from_utf8(said.stdout)?;
            let last = text.lines().last().context("the script says nothing")?;
            Ok(Some(serde_json::from_str(last)?))
        }
        Some(NOT_THERE) => Ok(None),
        _ => bail!("HyperQueue could not be measured: {}", String::from_utf8_lossy(&said.stderr)),
    }
}

/// As the variable says, or where this was installed beside the other tools, or any.
pub(super) fn python(installed: &str) -> PathBuf {
    let ours = root().join(".tools").join(installed).join("bin/python");
    match std::env::var_os(PYTHON) {
        Some(given) => given.into(),
        None if ours.exists() => ours,
        None => "python3".into(),
    }
}
