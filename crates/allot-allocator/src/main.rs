//! The allocator of the policy that is set, as a program.

use std::process::ExitCode;

use allot_allocator::{Program, main_of};

fn main() -> ExitCode {
    let program = Program {
        name: "allocator",
        binary: "allot-allocator",
        version: env!("CARGO_PKG_VERSION"),
        about: "Decides what runs where, by the policy that is set: `ALLOT_POLICY=fair:resource=mem`",
        runs_others: false,
    };
    main_of(&program, None)
}
