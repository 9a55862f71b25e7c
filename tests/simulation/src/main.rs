//! Runs the simulation of the whole control plane: many seeds, each twice, or one with all that happens.

mod campaign;
mod told;

use std::process::ExitCode;

use clap::Parser;

/// As in all programs: see `allot_shell`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the whole control plane on virtual time under faults, once for each seed
#[derive(Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
struct Args {
    /// Runs this seed only, and tells all that happens
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// How many seeds to run, beside those that failed once
    #[arg(long, value_name = "N", default_value_t = 200)]
    seeds: u64,
    /// The first seed; another at each call unless given
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// Runs each seed once instead of twice, and does not ask for rare situations
    #[arg(long)]
    once: bool,
    /// Stops at the first seed that fails
    #[arg(long)]
    fail_fast: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let fine = match args.seed {
        Some(seed) => told::tell(seed),
        None => campaign::Campaign::new(args.from, args.seeds, !args.once, args.fail_fast).run(),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
