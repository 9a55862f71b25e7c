//! The agent as a program.

use std::process::ExitCode;

use allot_agent::guardian;
use allot_shell::{Program, main_with};

const PROGRAM: Program = Program {
    name: "agent",
    binary: "allot-agent",
    version: env!("CARGO_PKG_VERSION"),
    about: "Runs tasks as processes on this machine",
    runs_others: true,
};

fn main() -> ExitCode {
    if guardian::stands_above() { main_with(&PROGRAM, allot_agent::run) } else { guardian::run() }
}
