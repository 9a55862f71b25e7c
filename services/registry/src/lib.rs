//! The registry: which agents exist, what they have, whether they are alive.

mod edge;

use allot_model::Span;
use allot_registry_core::Options;
use allot_shell::{Bus, Shutdown, SnapshotConfig, StandbyConfig, WriterConfig};
use serde::{Deserialize, Serialize};

use edge::Edge;

/// What may be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an agent may be silent before it is unreachable.
    pub agent_timeout: Span,
    /// How often agents are to say that they are alive.
    pub beat_every: Span,
    /// How a standby takes over from the active instance.
    pub standby: StandbyConfig,
    /// When snapshots are taken, and how long the ledger is kept.
    pub snapshots: SnapshotConfig,
}

impl Default for Config {
    fn default() -> Self {
        let Options { agent_timeout, beat_every } = Options::default();
        Self {
            agent_timeout,
            beat_every,
            standby: StandbyConfig::default(),
            snapshots: SnapshotConfig::default(),
        }
    }
}

/// The shortest time between signs of life: agents beat no faster.
const SHORTEST_BEAT: Span = Span::from_millis(10);

/// Serves until shutdown.
///
/// # Errors
/// Where a setting cannot be, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { agent_timeout, beat_every, standby, snapshots } = config;
    anyhow::ensure!(
        beat_every < agent_timeout,
        "beat_every ({beat_every}) must be shorter than agent_timeout ({agent_timeout}), or every agent is lost"
    );
    anyhow::ensure!(
        beat_every >= SHORTEST_BEAT,
        "beat_every = {beat_every} is too short: write at least {SHORTEST_BEAT}, such as `1s`"
    );
    let edge = Edge { options: Options { agent_timeout, beat_every } };
    allot_shell::drive(bus, edge, WriterConfig { standby, snapshots }, allot_shell::instance_id(), shutdown)
        .await
}
