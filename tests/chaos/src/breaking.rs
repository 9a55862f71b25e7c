//! Breaking one thing after another, and healing all.

use std::collections::BTreeMap;
use std::time::Duration;

use allot_model::Time;
use allot_shell::clock;
use allot_workload::SplitMix64;
use rustix::process::Signal;

use crate::chronicle::Chronicle;
use crate::fault::{Breakage, Fault};
use crate::parts::Parts;

/// How often each kind of thing was done.
pub(crate) type Faults = BTreeMap<String, u32>;

/// Breaks one thing after another, and mends each when its time has come.
pub(crate) async fn break_things(
    parts: &mut Parts,
    random: &mut SplitMix64,
    until: Time,
    chronicle: &mut Chronicle,
) -> anyhow::Result<Faults> {
    let mut faults = Faults::new();
    let mut breakage = Breakage::default();
    while clock::now() < until {
        for mended in breakage.mend_due(parts, clock::now())? {
            chronicle.tell(&format!("{mended}: mended"));
        }
        for name in parts.revive()? {
            chronicle.tell(&format!("{name}: started again"));
        }
        if let Some(fault) = Fault::draw(random, parts) {
            chronicle.tell(&fault.to_string());
            *faults.entry(fault.kind_name()).or_default() += 1;
            breakage.make(parts, clock::now(), fault)?;
        }
        let pause = 100 + random.below(1_200) as u64;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Ok(faults)
}

/// Mends everything, whatever it is.
pub(crate) async fn heal_all(parts: &mut Parts) -> anyhow::Result<()> {
    for number in 0..parts.programs.servers().count() {
        parts.programs.routes.heal(number);
        parts.server(number)?.signal(Signal::CONT);
    }
    for server in parts.programs.servers_mut() {
        server.run().await?;
    }
    for name in parts.names() {
        parts.ways(&name).iter().for_each(allot_testkit::Proxy::heal);
        parts.signal(&name, Signal::CONT);
    }
    parts.broken.clear();
    parts.revive().map(drop)
}
