//! The agent as a program.

use std::process::ExitCode;

use allot_shell::{Program, main_with};

const PROGRAM: Program = Program {
    name: "agent",
    binary: "allot-agent",
    version: env!("CARGO_PKG_VERSION"),
    about: "Runs tasks as processes on this machine",
    runs_others: true,
};

fn main() -> ExitCode {
    main_with(&PROGRAM, allot_agent::run)
}
