//! What an order may look at.

use allot_model::{PoolJob, Span, Time};

/// What an order may know of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Larger is more important.
    pub(crate) priority: i32,
    pub(crate) submitted_at: Time,
    /// How long each of its tasks is expected to run.
    pub(crate) estimate: Option<Span>,
    /// When it is to be done.
    pub(crate) deadline: Option<Time>,
    /// How much all its tasks ask for together, in thousandths of a processor: cpus where they ask for some, else gpus,
    /// else one processor a task.
    pub(crate) size_milli: u64,
}

/// The time a score is for, and how fast priorities age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct At {
    pub(crate) now: Time,
    pub(crate) ageing: Option<Span>,
}

/// When a job's score changes although nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    /// Never.
    Never,
    /// Each time its wait reaches another multiple of [`At::ageing`].
    WithAge,
    /// All the time.
    WithTime,
}

impl Traits {
    pub(crate) fn of(job: &PoolJob) -> Self {
        let asks = |name: &str| {
            let asked = job.resources.iter().find(|(asked, _)| asked.as_str() == name);
            asked.map(|(_, amount)| amount).filter(|amount| *amount > 0)
        };
        let task_milli = asks("cpus").or_else(|| asks("gpus")).unwrap_or(1_000);
        Self {
            priority: job.priority,
            submitted_at: job.submitted_at,
            estimate: job.estimate,
            deadline: job.deadline,
            size_milli: task_milli.saturating_mul(u64::from(job.tasks)),
        }
    }
}
