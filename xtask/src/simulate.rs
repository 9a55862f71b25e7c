//! The simulation of the whole control plane, as built from this source.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, root, run};

/// What to simulate.
#[derive(Args)]
pub(crate) struct SimulateArgs {
    /// Builds it as a release is built: for many seeds
    #[arg(long)]
    release: bool,
    /// What the simulation is to do: `cargo xtask simulate -- --help` tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Builds the simulation and runs it.
pub(crate) fn simulate(args: &SimulateArgs) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "allot-simulation"]);
    if args.release {
        command.arg("--release");
    }
    run(command.arg("--").args(&args.arguments))
}

/// How many seeds CI draws, beside those that failed once.
const SEEDS_IN_CI: u64 = 200;

/// Seeds that no other source was tried with, and those that failed once.
pub(crate) fn simulate_in_ci() -> Result<()> {
    let from = match seeds_of_the_tree() {
        Some(from) => vec!["--from".to_owned(), from.to_string()],
        None => Vec::new(),
    };
    let seeds = ["--seeds".to_owned(), SEEDS_IN_CI.to_string()];
    simulate(&SimulateArgs { release: false, arguments: seeds.into_iter().chain(from).collect() })
}

/// Where the seeds of what was committed last begin: fresh for each change, and the same again for the same tree, so that
/// what failed once fails again. Nothing where there is no git.
fn seeds_of_the_tree() -> Option<u64> {
    let output = Command::new("git").args(["rev-parse", "HEAD^{tree}"]).current_dir(root()).output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?;
    u64::from_str_radix(name.get(..12)?, 16).ok()
}
