//! The dispatcher as a program.

use std::process::ExitCode;

use allot_shell::{Program, main_with};

fn main() -> ExitCode {
    let program = Program {
        name: "dispatcher",
        binary: "allot-dispatcher",
        version: env!("CARGO_PKG_VERSION"),
        about: "Admits jobs, launches their tasks and sees them through",
        runs_others: false,
    };
    main_with(&program, allot_dispatcher::run)
}
