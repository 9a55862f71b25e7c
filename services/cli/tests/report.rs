//! `allot simulate --report`: a page in a folder, beside the usual output.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SCENARIO: &str = "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: j, queue: a, tasks: 3, resources: {cpus: 1}, run: 5s}
";

fn simulate(folder: &Path, args: &[&str]) -> Output {
    fs::write(folder.join("small.yaml"), SCENARIO).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_allot"));
    command.args(["simulate", "small.yaml", "--policy", "fifo,drf"]).args(args);
    command.current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_report_is_written_beside_the_same_output_and_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    for output in [&["--json"][..], &[]] {
        let without = simulate(folder.path(), output);
        let with = simulate(folder.path(), &[output, &["--report", "new/report"]].concat());
        let again = simulate(folder.path(), &[output, &["--report", "again"]].concat());
        assert!(with.status.success() && again.status.success(), "{with:?}");
        assert_eq!(with.stdout, without.stdout);
        let page = fs::read_to_string(folder.path().join("new/report/index.html")).unwrap();
        assert!(page.contains("<h1>small.yaml</h1>"), "{page}");
        assert_eq!(page, fs::read_to_string(folder.path().join("again/index.html")).unwrap());
    }
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let told = simulate(folder.path(), &["--report", "small.yaml"]);
    assert_eq!(told.status.code(), Some(1));
    let error = String::from_utf8(told.stderr).unwrap();
    assert!(error.contains("small.yaml/index.html cannot be written"), "{error}");
}
