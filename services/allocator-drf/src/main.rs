//! The allocator of the policy `drf`, as a program.

use std::process::ExitCode;

use allot_allocator::Config;
use allot_shell::{Program, main_with};

const POLICY: &str = "drf";

fn main() -> ExitCode {
    let program = Program {
        name: "allocator-drf",
        binary: "allot-allocator-drf",
        version: env!("CARGO_PKG_VERSION"),
        about: "Decides what runs where: queues share dominant resources fairly, by weight",
        runs_others: false,
    };
    main_with(&program, |bus, config: Config, shutdown| async move {
        allot_allocator::run(bus, POLICY, config, shutdown).await
    })
}
