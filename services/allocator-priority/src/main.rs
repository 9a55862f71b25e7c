//! The allocator of the policy `priority`, as a program.

use std::process::ExitCode;

use allot_allocator::Config;
use allot_shell::{Program, main_with};

const POLICY: &str = "priority";

fn main() -> ExitCode {
    let program = Program {
        name: "allocator-priority",
        binary: "allot-allocator-priority",
        version: env!("CARGO_PKG_VERSION"),
        about: "Decides what runs where: jobs of all queues by priority, then in the order of their submission",
        runs_others: false,
    };
    main_with(&program, |bus, config: Config, shutdown| async move {
        allot_allocator::run(bus, POLICY, config, shutdown).await
    })
}
