//! Real services, agents and nats-servers as processes, broken at random while jobs flow; then all is healed, and what
//! allot promises is checked from its ledger and from what the tasks themselves wrote down.
//!
//! A seed decides what is broken and when, and which jobs there are. The machine decides the rest: the same seed breaks the
//! same things, not at the same instruction.

mod breaking;
mod chronicle;
mod fault;
mod journal;
mod ledger;
mod load;
mod parts;
mod promises;

use std::sync::Arc;
use std::time::Duration;

use allot_model::Span;
use allot_shell::clock;
use allot_testkit::{User, verify_ledger};
use allot_workload::SplitMix64;

pub use promises::Found;

use chronicle::Chronicle;
use journal::Journal;
use ledger::Scribe;
use load::Load;
use parts::Parts;
use promises::Evidence;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Decides what is broken and when, and which jobs there are.
    pub seed: u64,
    /// For how long things are broken.
    pub span: Span,
    /// How many agents there are.
    pub agents: usize,
    /// How many instances of each service there are.
    pub instances: usize,
    /// Whether logs are left where they are also where every promise was kept.
    pub keep: bool,
}

/// How long all may take to come to rest once nothing is broken any more.
const PATIENCE: Duration = Duration::from_secs(180);

/// Breaks things, heals them, and says what was found.
///
/// # Errors
/// Where a program cannot be started, or NATS does not answer at the end.
pub async fn run(options: Options) -> anyhow::Result<Found> {
    let mut parts = Parts::start(&options).await?;
    let outcome = break_and_check(&mut parts, &options).await;
    if options.keep || !outcome.as_ref().is_ok_and(|found| found.broken.is_empty()) {
        keep(&mut parts);
    }
    outcome
}

async fn break_and_check(parts: &mut Parts, options: &Options) -> anyhow::Result<Found> {
    let mut random = SplitMix64::new(options.seed);
    let mut chronicle = Chronicle::begin(&parts.programs.dir().join("chronicle"))?;
    let user = User::of(&parts.programs).await?;
    let scribe = Arc::new(Scribe::follow(user.bus(), &parts.programs.dir().join("ledger"))?);
    let load = Load::begin(&user, &scribe, &parts.journal(), random.next());
    let until = clock::now() + options.span;
    let faults = breaking::break_things(parts, &mut random, until, &mut chronicle).await?;
    breaking::heal_all(parts).await?;
    let healed = clock::now();
    chronicle.tell("nothing is broken any more");
    let jobs = load.end().await?;
    let ends = load::ends(&user, parts, &jobs, PATIENCE).await;
    let busy = load::rest(&user, PATIENCE).await;
    let rested_after = clock::now().since(healed);
    chronicle.tell(&format!("{} of {} jobs have ended", ends.len(), jobs.len()));
    let evidence = Evidence {
        jobs,
        ends,
        busy,
        ledger: scribe.until_now(user.bus(), PATIENCE).await?,
        journal: Journal::read(&parts.journal()),
        left_running: parts.tasks().len(),
        audit: verify_ledger(&parts.programs).await.err().map(|found| found.to_string()),
    };
    let broken = promises::check(&evidence);
    for promise in &broken {
        chronicle.tell(&format!("BROKEN: {promise}"));
    }
    Ok(Found::new(&evidence, broken, faults, rested_after))
}

/// Leaves everything where it can be looked at, and says where.
fn keep(parts: &mut Parts) {
    let dirs: Vec<String> = parts.programs.keep().iter().map(|dir| dir.display().to_string()).collect();
    println!("what happened, all logs, the journal of the tasks and the ledger: {}", dirs.join(" "));
}
