//! The offers service: what is allocated, what is free, and who decides.

mod edge;

use allot_model::Span;
use allot_offers_core::{OffersCore, Options};
use allot_shell::{Bus, Shutdown};
use serde::{Deserialize, Serialize};

use edge::Edge;

/// What may be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an offer stands unless it is renewed.
    pub offer_ttl: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { offer_ttl: Options::default().offer_ttl }
    }
}

/// Serves until shutdown.
///
/// # Errors
/// Where another instance took over, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let core = OffersCore::new(Options { offer_ttl: config.offer_ttl });
    allot_shell::drive(bus, Edge::default(), core, allot_shell::instance_id(), shutdown).await
}
