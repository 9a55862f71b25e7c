//! The offers service: what is allocated, what is free, and who decides.

mod edge;

use allot_model::{Request, Span};
use allot_offers_core::{Minimum, Options};
use allot_shell::{Bus, Shutdown, SnapshotConfig, StandbyConfig, WriterConfig};
use serde::{Deserialize, Serialize};

use edge::Edge;

/// What may be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an offer stands unless it is renewed.
    pub offer_ttl: Span,
    /// What has to be free on an agent to be offered: all of one of these, such as `[{cpus = 0.01}, {mem = "32MB"}]`.
    /// Where nothing is said, whatever is free.
    pub offer_minimum: Vec<Request>,
    /// How a standby takes over from the active instance.
    pub standby: StandbyConfig,
    /// When snapshots are taken, and how long the ledger is kept.
    pub snapshots: SnapshotConfig,
}

impl Default for Config {
    fn default() -> Self {
        let Options { offer_ttl, .. } = Options::default();
        let (standby, snapshots) = (StandbyConfig::default(), SnapshotConfig::default());
        Self { offer_ttl, offer_minimum: Vec::new(), standby, snapshots }
    }
}

/// Serves until shutdown.
///
/// # Errors
/// Where a setting cannot be, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { offer_ttl, offer_minimum, standby, snapshots } = config;
    let options = Options { offer_ttl, minimum: Minimum::any_of(offer_minimum) };
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
