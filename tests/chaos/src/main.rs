//! `allot-chaos`: breaks things for as long as wanted. `cargo xtask chaos` builds what it needs and starts it.

use std::process::ExitCode;
use std::time::Duration;

use allot_chaos::{Options, run};
use allot_model::Span;
use allot_shell::Shutdown;
use clap::Parser;

/// Breaks the real programs on purpose while jobs flow, heals them, and checks what allot promises
#[derive(Parser)]
#[command(name = "cargo xtask chaos", bin_name = "cargo xtask chaos")]
struct Args {
    /// For how many minutes things are broken
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What decides what is broken and when; another one each time unless given
    #[arg(long)]
    seed: Option<u64>,
    /// How many agents there are
    #[arg(long, default_value_t = 4)]
    agents: usize,
    /// How many instances of each service there are
    #[arg(long, default_value_t = 2)]
    instances: usize,
    /// Leaves all logs where they are also where every promise was kept
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Args { minutes, seed, agents, instances, keep } = Args::parse();
    let seed = seed.unwrap_or_else(|| allot_shell::clock::now().as_micros() % 1_000_000);
    println!("seed {seed}");
    let seconds = Duration::try_from_secs_f64(minutes * 60.0)?.as_secs();
    let span = Span::from_secs(seconds);
    let stop = Shutdown::on_signals();
    let found = tokio::select! {
        found = run(Options { seed, span, agents, instances, keep }) => found?,
        // Whatever was started ends with what is dropped here.
        () = stop.wait() => anyhow::bail!("interrupted"),
    };
    print!("{found}");
    if found.broken.is_empty() {
        println!("all promises were kept");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "again: cargo xtask chaos --minutes {minutes} --seed {seed} --agents {agents} --instances {instances}"
    );
    Ok(ExitCode::FAILURE)
}
