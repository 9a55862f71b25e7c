//! The dispatcher: admits jobs, launches their tasks and sees them through.

mod edge;

use allot_dispatcher_core::Options;
use allot_model::Span;
use allot_shell::{Bus, Shutdown, SnapshotConfig, StandbyConfig, WriterConfig};
use serde::{Deserialize, Serialize};

use edge::Edge;

/// What may be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many ended jobs are kept for `allot job show`; the oldest are forgotten.
    pub keep_jobs: usize,
    /// How many tasks all kept ended jobs may have together.
    pub keep_tasks: u64,
    /// How long an agent has to start or end a task before it is told again.
    pub repeat_after: Span,
    /// How a standby takes over from the active instance.
    pub standby: StandbyConfig,
    /// When snapshots are taken, and how long the ledger is kept.
    pub snapshots: SnapshotConfig,
}

impl Default for Config {
    fn default() -> Self {
        let Options { keep_jobs, keep_tasks, repeat_after } = Options::default();
        Self {
            keep_jobs,
            keep_tasks,
            repeat_after,
            standby: StandbyConfig::default(),
            snapshots: SnapshotConfig::default(),
        }
    }
}

/// The shortest time after which orders are repeated.
const SHORTEST_REPEAT: Span = Span::from_millis(100);

/// Serves until shutdown.
///
/// # Errors
/// Where a setting cannot be, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { keep_jobs, keep_tasks, repeat_after, standby, snapshots } = config;
    anyhow::ensure!(
        repeat_after >= SHORTEST_REPEAT,
        "repeat_after = {repeat_after} is too short: an agent needs time to answer, write at least {SHORTEST_REPEAT}"
    );
    let edge = Edge { options: Options { keep_jobs, keep_tasks, repeat_after } };
    allot_shell::drive(bus, edge, WriterConfig { standby, snapshots }, allot_shell::instance_id(), shutdown)
        .await
}
