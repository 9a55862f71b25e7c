//! The offers service: what is allocated, what is free, and who decides.

mod edge;

use allot_model::{Preempt, PreemptRules, Request, Span};
use allot_offers_core::{Minimum, Options};
use allot_shell::{Bus, Shutdown, SnapshotConfig, StandbyConfig, WriterConfig};
use serde::{Deserialize, Serialize};

use edge::Edge;

/// Offers that stand for less are gone before anyone has answered them.
const SHORTEST_TTL: Span = Span::from_millis(100);

/// What may be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an offer stands unless it is renewed.
    pub offer_ttl: Span,
    /// What has to be free on an agent to be offered: all of one of these, such as `[{cpus = 0.01}, {mem = "32MB"}]`.
    /// Where nothing is said, whatever is free.
    pub offer_minimum: Vec<Request>,
    /// What tasks may be stopped for, when the allocator says so: `none`, `priority`, `guarantee` or `both`.
    pub preempt: Preempt,
    /// How long a task is left alone from when it got its place.
    pub preempt_min_run: Span,
    /// How many tasks may be stopped for others within a minute.
    pub preempt_rate: u32,
    /// How a standby takes over from the active instance.
    pub standby: StandbyConfig,
    /// When snapshots are taken, and how long the ledger is kept.
    pub snapshots: SnapshotConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self::allowing(PreemptRules::default())
    }
}

impl Config {
    /// The defaults, with these preemptions allowed.
    #[must_use]
    pub fn allowing(preempt: PreemptRules) -> Self {
        let Options { offer_ttl, .. } = Options::default();
        let PreemptRules { preempt, min_run: preempt_min_run, rate: preempt_rate } = preempt;
        let (standby, snapshots) = (StandbyConfig::default(), SnapshotConfig::default());
        let offer_minimum = Vec::new();
        Self { offer_ttl, offer_minimum, preempt, preempt_min_run, preempt_rate, standby, snapshots }
    }
}

/// Serves until shutdown.
///
/// # Errors
/// Where a setting cannot be, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { offer_ttl, offer_minimum, preempt, preempt_min_run, preempt_rate, standby, snapshots } =
        config;
    anyhow::ensure!(
        offer_ttl >= SHORTEST_TTL,
        "offer_ttl = \"{offer_ttl}\" is not possible: an offer has to stand for {SHORTEST_TTL} at least, such as `30s`"
    );
    let preempt = PreemptRules { preempt, min_run: preempt_min_run, rate: preempt_rate };
    let options = Options { offer_ttl, minimum: Minimum::any_of(offer_minimum), preempt };
    let writer = WriterConfig { standby, snapshots };
    allot_shell::drive(bus, Edge::new(options), writer, allot_shell::instance_id(), shutdown).await
}

#[cfg(test)]
mod tests {
    use allot_model::ResourceName;
    use allot_shell::config::{Layers, load};

    use super::Config;

    #[test]
    fn a_minimum_is_written_as_amounts_are() {
        let set = vec!["offer_minimum=[{cpus = 0.01}, {mem = \"32MB\"}]".to_owned()];
        let config: Config = load("offers", &Layers { set, ..Layers::default() }).unwrap().service;
        let amounts = ["cpus", "mem"].map(|name| ResourceName::new(name).unwrap());
        let found: Vec<[u64; 2]> = config
            .offer_minimum
            .iter()
            .map(|enough| amounts.each_ref().map(|name| enough.get(name)))
            .collect();
        assert_eq!(found, [[10, 0], [0, 32_000_000]]);
        let set = vec!["offer_minimum=[{cpu = 1}]".to_owned()];
        let refused = load::<Config>("offers", &Layers { set, ..Layers::default() }).unwrap_err();
        assert!(format!("{refused:?}").contains("cpu"), "{refused:?}");
    }
}
