//! Files that are generated and committed: written anew, or checked for drift.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, output, root};

/// What to do with a generated file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write it.
    Write,
    /// Fail where it is not as it would be written.
    Check,
}

impl Mode {
    pub(crate) fn checking(check: bool) -> Self {
        if check { Self::Check } else { Self::Write }
    }
}

/// The wire types.
pub(crate) fn codegen(mode: Mode) -> Result<()> {
    let again = "cargo xtask codegen";
    generated("crates/allot-proto/src/generated/allot.v1.rs", &mut generator("types"), again, mode)
}

/// The pages that come from code.
pub(crate) fn docs(mode: Mode) -> Result<()> {
    let subjects = &mut cargo();
    subjects.args(["run", "--quiet", "--package", "allot-bus", "--example", "subjects"]);
    generated("docs/subjects.md", subjects, "cargo xtask docs", mode)?;
    let commands = &mut cargo();
    commands.args(["run", "--quiet", "--package", "allot", "--example", "reference"]);
    generated("docs/cli.md", commands, "cargo xtask docs", mode)?;
    generated("docs/messages.md", &mut generator("page"), "cargo xtask docs", mode)
}

/// The program that reads the schemas.
fn generator(what: &str) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "allot-codegen", "--", what]);
    command
}

/// Makes `file`, or checks that it is, what `generator` prints.
fn generated(file: &str, generator: &mut Command, again: &str, mode: Mode) -> Result<()> {
    let wanted = output(generator)?;
    let path = root().join(file);
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found == wanted {
        return Ok(());
    }
    match mode {
        Mode::Check => bail!("{file} is not what its source generates: run `{again}` and commit the result"),
        Mode::Write => fs::write(&path, wanted).with_context(|| format!("cannot write {file}"))?,
    }
    println!("wrote {file}");
    Ok(())
}
