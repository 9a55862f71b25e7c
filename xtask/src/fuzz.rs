//! Fuzzing what comes from outside. The targets are built as cargo-fuzz builds them, with what rustc and a C++ compiler have
//! by themselves: coverage and libFuzzer, no sanitizer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, output, root, run, succeeds};

/// What lets libFuzzer see which code an input reaches.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];
/// An input may take so many seconds.
const LONGEST_SECONDS: u32 = 10;
/// The target that takes the whole shell to build, and is built where it is asked for by name.
const CONFIG: &str = "config";
/// How long each target runs in CI.
const CI_SECONDS: u32 = 3;

/// Runs a target, or all but [`CONFIG`], for so many seconds each.
pub(crate) fn fuzz(target: Option<&str>, seconds: u32) -> Result<()> {
    let all = targets()?;
    let chosen: Vec<String> = match target {
        Some(name) if all.iter().any(|target| target == name) => vec![name.to_owned()],
        Some(name) => bail!("there is no target {name:?}: the targets are {}", all.join(", ")),
        None => all.into_iter().filter(|name| name != CONFIG).collect(),
    };
    let programs = build(target)?;
    for name in &chosen {
        println!("── {name} ──");
        run_one(&programs.join(name), name, seconds)?;
    }
    Ok(())
}

/// A few seconds of each target, where there is a C++ compiler for libFuzzer.
pub(crate) fn fuzz_in_ci() -> Result<()> {
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))?;
    if !succeeds(Command::new("c++").arg("--version")) {
        println!("skipped: there is no C++ compiler to build libFuzzer with");
        return Ok(());
    }
    fuzz(None, CI_SECONDS)
}

/// The names of the targets, which are those of their files.
fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(root().join("fuzz/fuzz_targets")).context("cannot read fuzz/fuzz_targets")?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// Builds the targets, and returns where they are.
fn build(target: Option<&str>) -> Result<PathBuf> {
    let (host, dir) = (host()?, dir());
    // The versions that everything else is built with; what fuzzing adds to them is added to the copy.
    let (theirs, ours) = (root().join("Cargo.lock"), root().join("fuzz/Cargo.lock"));
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    if changed(&ours) < changed(&theirs) {
        fs::copy(theirs, ours)?;
    }
    let mut command = cargo();
    // With a target named, the flags are not for build scripts and macros, which have no libFuzzer to link with.
    command.args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host]);
    command.env("RUSTFLAGS", COVERAGE.join(" ")).env("CARGO_TARGET_DIR", &dir);
    match target {
        Some(CONFIG) => command.args(["--features", "shell", "--bin", CONFIG]),
        Some(name) => command.args(["--bin", name]),
        None => command.arg("--bins"),
    };
    run(&mut command)?;
    Ok(dir.join(host).join("release"))
}

/// Where targets are built, and where they keep what they find.
fn dir() -> PathBuf {
    root().join("target/fuzz")
}

fn host() -> Result<String> {
    let said = output(Command::new("rustc").arg("-vV"))?;
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("rustc does not say what it runs on")
}

/// Runs one from the inputs that are committed and those that were found before; an input that fails is kept beside them.
fn run_one(program: &Path, name: &str, seconds: u32) -> Result<()> {
    let (found, failed) = (dir().join("corpus").join(name), dir().join("failed"));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&failed)?;
    let mut command = Command::new(program);
    command.arg(&found).arg(format!("fuzz/corpus/{name}"));
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={LONGEST_SECONDS}"));
    command.arg(format!("-artifact_prefix={}/{name}-", failed.display()));
    command.args(["-verbosity=0", "-print_final_stats=1"]);
    run(&mut command).with_context(|| {
        let failed = failed.display();
        format!("{name} found an input that fails, see above; it is in {failed}, and makes a test once it is mended")
    })
}
