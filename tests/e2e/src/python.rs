//! The allocator in `examples/allocator-python`, and agents of earlier versions, as programs of a test's cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use allot_testkit::{Launch, Programs};
use anyhow::{Context, ensure};

/// How to start it with this policy in the cluster of these programs.
///
/// # Errors
/// As [`python`].
pub fn python_allocator(programs: &Programs, policy: &str) -> anyhow::Result<Launch> {
    let program = text(&root().join("examples/allocator-python/allocator.py"));
    let words = [&program, "--nats", &programs.nats.url(), "--policy", policy];
    python(programs.dir(), &words)
}

/// How to start its Python with these words, so that it finds `allocator` and the classes of the messages, which are
/// generated from `schemas/` into this directory, unless they are there.
///
/// # Errors
/// Where its Python is not there, or the schemas cannot be read.
pub fn python(dir: &Path, words: &[&str]) -> anyhow::Result<Launch> {
    python_with(dir, &root().join("schemas"), words)
}

/// How to start the agent of an earlier version, which is called `id`, in the cluster of these programs.
///
/// # Errors
/// As [`python`].
pub fn old_agent(programs: &Programs, version: &str, id: &str) -> anyhow::Result<Launch> {
    let of_version = root().join("tests/e2e/versions").join(version);
    let words = [&text(&of_version.join("agent.py")), "--nats", &programs.nats.url(), "--id", id];
    python_with(programs.dir(), &of_version, &words)
}

fn python_with(dir: &Path, schemas: &Path, words: &[&str]) -> anyhow::Result<Launch> {
    let program = root().join("target/allocator-python/venv/bin/python");
    ensure!(program.exists(), "{} is not there: run `cargo xtask tools` first", program.display());
    let classes = dir.join("classes");
    if !classes.exists() {
        generate(&program, schemas, &classes)?;
    }
    let path = format!("{}:{}", text(&classes), text(&root().join("examples/allocator-python")));
    let environment = [("PYTHONPATH", path.as_str()), ("PYTHONDONTWRITEBYTECODE", "1")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Ok(Launch { program, arguments: words.iter().map(|&word| word.to_owned()).collect(), environment })
}

fn generate(python: &Path, schemas: &Path, classes: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(classes)?;
    let mut protoc = Command::new(python);
    protoc.args(["-m", "grpc_tools.protoc", "--proto_path", &text(schemas), "--python_out", &text(classes)]);
    let files = std::fs::read_dir(schemas.join("allot/v1"))?;
    for file in files {
        protoc.arg(file?.path());
    }
    let output = protoc.output().context("cannot run protoc")?;
    ensure!(output.status.success(), "protoc failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
