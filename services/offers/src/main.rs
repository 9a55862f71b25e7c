//! The offers service as a program.

use std::process::ExitCode;

use allot_shell::{Program, main_with};

fn main() -> ExitCode {
    let program = Program {
        name: "offers",
        binary: "allot-offers",
        version: env!("CARGO_PKG_VERSION"),
        about: "Turns free resources into offers and commits what allocators grant",
        runs_others: false,
    };
    main_with(&program, allot_offers::run)
}
