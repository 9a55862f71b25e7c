//! The offers service: what is allocated, what is free, and who decides.

mod edge;

use allot_model::Span;
use allot_offers_core::Options;
use allot_shell::{Bus, Shutdown, StandbyConfig};
use serde::{Deserialize, Serialize};

use edge::Edge;

/// What may be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an offer stands unless it is renewed.
    pub offer_ttl: Span,
    /// How a standby takes over from the active instance.
    pub standby: StandbyConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self { offer_ttl: Options::default().offer_ttl, standby: StandbyConfig::default() }
    }
}

/// Serves until shutdown.
///
/// # Errors
/// Where a setting cannot be, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { offer_ttl, standby } = config;
    allot_shell::drive(bus, Edge::new(Options { offer_ttl }), standby, allot_shell::instance_id(), shutdown)
        .await
}
