//! Real services, agents and a nats-server as processes, broken at random while jobs flow; then all is healed, and what
//! allot promises is checked from its ledger and from what the tasks themselves wrote down.
//!
//! A seed decides what is broken and when, and which jobs there are. The machine decides the rest: the same seed breaks the
//! same things, not at the same instruction.

mod fault;
mod ledger;
mod load;
mod parts;
mod promises;

use std::time::Duration;

use allot_e2e::User;
use allot_model::{Span, Time};
use allot_shell::clock;
use allot_workload::SplitMix64;

pub use promises::Found;

use fault::{Breakage, Fault};
use ledger::Scribe;
use load::Load;
use parts::Parts;

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
}

/// How long all may take to come to rest once nothing is broken any more.
const PATIENCE: Duration = Duration::from_secs(180);

/// Breaks things, heals them, and says what was found.
///
/// # Errors
/// Where a program cannot be started, or NATS does not answer at the end.
pub async fn run(options: Options) -> anyhow::Result<Found> {
    let mut random = SplitMix64::new(options.seed);
    let mut parts = Parts::start(&options).await?;
    let user = User::of(&parts.programs).await?;
    let scribe = Scribe::follow(user.bus());
    let load = Load::begin(&user, &parts.journal(), random.next());
    let counts = break_things(&mut parts, &mut random, clock::now() + options.span).await?;
    parts.heal_all().await?;
    let jobs = load.end().await;
    let views = load::results(&user, &mut parts, &jobs, PATIENCE).await;
    let at_rest = load::rest(&user, PATIENCE).await;
    let ledger = scribe.until_now(user.bus()).await?;
    let found = promises::check(&jobs, &views, &ledger, &parts.journal(), at_rest, counts);
    if !found.broken.is_empty() {
        parts.keep_logs();
    }
    Ok(found)
}

/// Breaks one thing after another, and mends each when its time has come. Returns how often each kind of thing was done.
async fn break_things(
    parts: &mut Parts,
    random: &mut SplitMix64,
    until: Time,
) -> anyhow::Result<std::collections::BTreeMap<&'static str, u32>> {
    let mut counts = std::collections::BTreeMap::new();
    let mut breakage = Breakage::default();
    while clock::now() < until {
        breakage.mend_due(parts, clock::now()).await?;
        parts.revive()?;
        if let Some(fault) = Fault::draw(random, parts) {
            *counts.entry(fault.kind.name()).or_default() += 1;
            breakage.make(parts, fault).await?;
        }
        let pause = 50 + random.below(700) as u64;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Ok(counts)
}
