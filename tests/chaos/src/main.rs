//! `allot-chaos`: breaks things for as long as wanted. `cargo xtask chaos` builds what it needs and starts it.

use std::process::ExitCode;

use allot_chaos::{Options, run};
use allot_model::Span;
use clap::Parser;

/// Breaks the real programs on purpose while jobs flow, heals them, and checks what allot promises
#[derive(Parser)]
struct Args {
    /// For how many seconds things are broken
    #[arg(long, default_value_t = 600)]
    seconds: u64,
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

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| allot_shell::clock::now().as_micros() % 1_000_000);
    let repeat = format!(
        "cargo xtask chaos --seconds {} --seed {seed} --agents {} --instances {}",
        args.seconds, args.agents, args.instances
    );
    println!("seed {seed}");
    let span = Span::from_secs(args.seconds);
    let found = run(Options { seed, span, agents: args.agents, instances: args.instances }).await?;
    print!("{found}");
    if found.broken.is_empty() {
        println!("all promises were kept");
        return Ok(ExitCode::SUCCESS);
    }
    println!("again: {repeat}");
    Ok(ExitCode::FAILURE)
}
