//! The real programs, broken on purpose.

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, root, run};
use crate::tools;

/// How it is done.
#[derive(Args)]
pub(crate) struct ChaosArgs {
    /// What is to be done: `cargo xtask chaos --help` tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Builds the programs, breaks them, heals them, and fails where a promise was not kept.
pub(crate) fn chaos(args: &ChaosArgs) -> Result<()> {
    tools::nats_server()?;
    run(cargo().args(["build", "--quiet", "--locked", "--workspace", "--bins"]))?;
    run(std::process::Command::new(root().join("target/debug/allot-chaos")).args(&args.arguments))
}

/// The same seed each time: what differs from one time to the next is the machine alone.
pub(crate) fn chaos_in_ci() -> Result<()> {
    chaos(&ChaosArgs { arguments: ["--minutes", "0.6", "--seed", "1"].map(str::to_owned).into() })
}
