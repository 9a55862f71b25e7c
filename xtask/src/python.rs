//! Pythons of their own, each with the packages that a part of the tests needs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::run::{root, run};

/// The Python of the allocator in `examples/allocator-python`, where its tests look for it.
pub(crate) fn for_the_allocator() -> Result<PathBuf> {
    with_packages("target/allocator-python/venv", "examples/allocator-python/requirements.txt")
}

/// A Python in this directory with what these requirements name.
pub(crate) fn with_packages(venv: &str, requirements: &str) -> Result<PathBuf> {
    let venv: &Path = &root().join(venv);
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement", requirements]))?;
    Ok(python)
}
