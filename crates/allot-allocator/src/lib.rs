//! An allocator on the bus: the engine, driven by the feed of its pool.
//!
//! Each policy is a binary of its own over [`run`], which differs in nothing but the policy's name.

mod config;
mod link;
mod questions;
mod serve;

use allot_engine::{Engine, Limits};
use allot_shell::{Bus, Shutdown};
use tracing::info;

pub use config::Config;

/// Decides by this policy (`fifo`, `priority`, `fair`, `drf`) until shutdown, whenever the offers service names this
/// process as the one that decides; otherwise it follows and is ready to take over.
///
/// # Errors
/// Where there is no such policy, the settings do not suit it, or NATS does not take our subscriptions.
pub async fn run(bus: Bus, policy: &str, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let policy = config.policy(policy)?;
    let me = allot_shell::instance_id();
    info!(instance = %me, policy = %policy.name, placement = %policy.placement, order = %policy.order, backfill = %policy.backfill, "allocator starts");
    let link = link::Link::open(&bus, &config.pool, me.clone(), policy.name.clone()).await?;
    let limits = Limits { ahead: config.ahead, ..Limits::default() };
    let questions = questions::Questions::new(&bus, &config.pool);
    serve::serve(Engine::with_limits(me, policy, limits), link, questions, &shutdown).await
}
