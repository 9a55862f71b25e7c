//! The real programs, broken on purpose.

use anyhow::Result;
use clap::Args;

use crate::run::{cargo, root, run};
use crate::tools;

/// How it is done.
#[derive(Args)]
pub(crate) struct ChaosArgs {
    /// For how many minutes things are broken
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// For how many seconds, in place of minutes
    #[arg(long, conflicts_with = "minutes")]
    seconds: Option<u64>,
    /// What decides what is broken and when; another one each time unless given
    #[arg(long)]
    seed: Option<u64>,
    /// How many agents there are
    #[arg(long, default_value_t = 4)]
    agents: usize,
    /// How many instances of each service there are
    #[arg(long, default_value_t = 2)]
    instances: usize,
}

/// Builds the programs, breaks them, heals them, and fails where a promise was not kept.
pub(crate) fn chaos(args: &ChaosArgs) -> Result<()> {
    tools::nats_server()?;
    run(cargo().args(["build", "--quiet", "--locked", "--workspace", "--bins"]))?;
    let seconds = args.seconds.unwrap_or(args.minutes * 60);
    let mut chaos = std::process::Command::new(root().join("target/debug/allot-chaos"));
    chaos.args(["--seconds", &seconds.to_string()]);
    chaos.args(["--agents", &args.agents.to_string(), "--instances", &args.instances.to_string()]);
    if let Some(seed) = args.seed {
        chaos.args(["--seed", &seed.to_string()]);
    }
    run(&mut chaos)
}
