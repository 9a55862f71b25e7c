//! What a cluster must do, row by row. `docs/conformance.md` lists the rows.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod failure;
mod launch;
mod listed;

/// An agent of two cpus.
const TWO: &str = r#"{"cpus": 2, "mem": "1GiB"}"#;
/// An agent of one cpu.
const ONE: &str = r#"{"cpus": 1, "mem": "512MiB"}"#;

/// A job that asks for half of [`TWO`], with whatever else is to be said of it.
fn half(more: &str) -> String {
    format!(r#"{{"command": ["true"], "resources": {{"cpus": 1, "mem": "512MiB"}}{more}}}"#)
}

/// A job that asks for all of [`TWO`].
fn whole() -> &'static str {
    r#"{"command": ["true"], "resources": {"cpus": 2, "mem": "1GiB"}}"#
}
