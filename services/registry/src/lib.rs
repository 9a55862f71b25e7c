//! The registry: which agents exist, what they have, whether they are alive.

mod edge;

use allot_model::Span;
use allot_registry_core::{Options, RegistryCore};
use allot_shell::{Bus, Shutdown};
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
}

impl Default for Config {
    fn default() -> Self {
        let Options { agent_timeout, beat_every } = Options::default();
        Self { agent_timeout, beat_every }
    }
}

/// Serves until shutdown.
///
/// # Errors
/// Where another instance took over, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { agent_timeout, beat_every } = config;
    anyhow::ensure!(
        beat_every < agent_timeout,
        "beat_every ({beat_every}) must be shorter than agent_timeout ({agent_timeout}), or every agent is lost"
    );
    let core = RegistryCore::new(Options { agent_timeout, beat_every });
    allot_shell::drive(bus, Edge, core, allot_shell::instance_id(), shutdown).await
}
