//! The test in containers: `docker-compose.yml` as users start it, on images built here.

use std::process::Command;

use anyhow::Result;

use crate::image::{self, Profile};
use crate::python;
use crate::run::{run, succeeds};

/// Builds the images and runs `tests/compose`, or says loudly that containers cannot run here.
pub(crate) fn compose_test() -> Result<()> {
    if let Err(missing) = containers() {
        eprintln!("\n*** SKIPPED: the test in containers: {missing} ***\n");
        return Ok(());
    }
    image::base_images()?;
    image::image(Profile::Dev)?;
    let python = python::with_packages("target/compose-test/venv", "tests/compose/requirements.txt")?;
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
