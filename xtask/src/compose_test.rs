//! The test in containers: `docker-compose.yml` as users start it, on images built here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::image::{self, Profile};
use crate::run::{root, run, succeeds};

/// Builds the images and runs `tests/compose`, or says loudly that containers cannot run here.
pub(crate) fn compose_test() -> Result<()> {
    if let Err(missing) = containers() {
        eprintln!("\n*** SKIPPED: the test in containers: {missing} ***\n");
        return Ok(());
    }
    image::base_images()?;
    image::image(Profile::Dev)?;
    let python = python()?;
    run(Command::new(python).arg("tests/compose/run.py").env("ALLOT_IMAGE", Profile::Dev.image()))
}

/// What is needed to run containers, or which part of it is missing.
fn containers() -> Result<(), &'static str> {
    if !succeeds(Command::new("docker").arg("info")) {
        return Err("`docker info` fails: docker is not installed, not running, or not ours to use");
    }
    let plugin = succeeds(Command::new("docker").args(["compose", "version"]));
    if !plugin && !succeeds(Command::new("docker-compose").arg("version")) {
        return Err("there is neither `docker compose` nor `docker-compose`");
    }
    Ok(())
}

/// A Python of its own with what the test needs.
fn python() -> Result<PathBuf> {
    let venv = root().join("target/compose-test/venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--requirement", "tests/compose/requirements.txt"];
    run(Command::new(&python).args(install))?;
    Ok(python)
}
