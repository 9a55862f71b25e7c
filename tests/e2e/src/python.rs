//! The allocator in `examples/allocator-python`, as a program of a test's cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use allot_testkit::{Launch, Programs};
use anyhow::{Context, ensure};

/// How to start it with this policy in the cluster of these programs. Its classes are generated from `schemas/` anew.
///
/// # Errors
/// Where its Python is not there, or the schemas cannot be read.
pub fn python_allocator(programs: &Programs, policy: &str) -> anyhow::Result<Launch> {
    let python = root().join("target/allocator-python/venv/bin/python");
    ensure!(python.exists(), "{} is not there: run `cargo xtask tools` first", python.display());
    let classes = programs.dir().join("classes");
    if !classes.exists() {
        generate(&python, &classes)?;
    }
    let program = root().join("examples/allocator-python/allocator.py");
    let words = [&text(&program), "--nats", &programs.nats.url(), "--policy", policy];
    let environment = [("PYTHONPATH", text(&classes)), ("PYTHONDONTWRITEBYTECODE", "1".to_owned())]
        .map(|(name, value)| (name.to_owned(), value));
    Ok(Launch {
        program: python,
        arguments: words.map(str::to_owned).into(),
        environment: environment.into(),
    })
}

fn generate(python: &Path, classes: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(classes)?;
    let schemas = root().join("schemas");
    let mut protoc = Command::new(python);
    protoc.args(["-m", "grpc_tools.protoc", "--proto_path", &text(&schemas), "--python_out", &text(classes)]);
    let files = std::fs::read_dir(schemas.join("allot/v1"))?;
    for file in files {
        protoc.arg(file?.path());
    }
    let output = protoc.output().context("cannot run protoc")?;
    ensure!(output.status.success(), "protoc failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
