//! The dispatcher: admits jobs, launches their tasks and sees them through.

mod edge;

use allot_dispatcher_core::{DispatcherCore, Options};
use allot_model::Span;
use allot_shell::{Bus, Shutdown};
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
}

impl Default for Config {
    fn default() -> Self {
        let Options { keep_jobs, keep_tasks, repeat_after } = Options::default();
        Self { keep_jobs, keep_tasks, repeat_after }
    }
}

/// Serves until shutdown.
///
/// # Errors
/// Where another instance took over, or NATS is out of reach for too long.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let Config { keep_jobs, keep_tasks, repeat_after } = config;
    let core = DispatcherCore::new(Options { keep_jobs, keep_tasks, repeat_after });
    allot_shell::drive(bus, Edge, core, allot_shell::instance_id(), shutdown).await
}
