//! The registry as a program.

use std::process::ExitCode;

use allot_shell::{Program, main_with};

fn main() -> ExitCode {
    let program = Program {
        name: "registry",
        binary: "allot-registry",
        version: env!("CARGO_PKG_VERSION"),
        about: "Knows the agents, what they have and whether they are alive",
        runs_others: false,
    };
    main_with(&program, allot_registry::run)
}
