//! The simulation of the whole control plane, as built from this source.

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, run};

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

/// The same seeds each time, so that what fails is the change, and those that failed once. Fresh ones are for nights.
pub(crate) fn simulate_in_ci() -> Result<()> {
    let arguments = ["--seeds", "200", "--from", "1"].map(str::to_owned).into();
    simulate(&SimulateArgs { release: false, arguments })
}
