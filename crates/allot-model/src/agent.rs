//! What agents say and are told.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{AgentId, AttemptId, Incarnation, InvalidId, JobId};
use crate::job::JobSpec;
use crate::ranges::TaskRange;
use crate::resources::Resources;
use crate::task::{Outcome, Reason, TaskState};
use crate::time::{Span, Time};

/// Text attributes of an agent, by name, for constraints to look at.
pub type Attributes = BTreeMap<String, String>;

/// What an agent is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// Its id, unique in the cluster.
    pub id: AgentId,
    /// Changes when the agent no longer knows what it started earlier.
    pub incarnation: Incarnation,
    /// The name of its machine.
    pub host: String,
    /// All it has for tasks.
    pub resources: Resources,
    /// Its attributes.
    pub attributes: Attributes,
    /// The version of its program.
    pub program_version: String,
}

/// A request from an agent to the registry, repeated until it is welcomed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What it is.
    pub facts: Arc<AgentFacts>,
    /// Lives of this agent before this one that are known to be over: nothing that they started runs any more.
    pub ended: Vec<Incarnation>,
}

/// The registry's answer to [`Hello`] or to a [`Beat`] that needs one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Welcome {
    /// The agent is admitted.
    Admitted {
        /// How often to send a [`Beat`].
        beat_every: Span,
    },
    /// The registry does not know this agent in this incarnation: say hello.
    HelloNeeded,
    /// The agent may not join, for this reason; it should ask again later.
    Refused {
        /// Why, for the agent's log.
        message: String,
    },
}

/// A sign of life from an agent to the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Who.
    pub agent: AgentId,
    /// In which life.
    pub incarnation: Incarnation,
    /// True in the last one: its process ends, and nothing that is sent to it arrives any more.
    pub leaving: bool,
    /// What keeps it from working, for people; nothing where nothing does.
    pub trouble: Option<String>,
}

/// A run of attempts at tasks of one job: attempt `attempt` at each task of `tasks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptRun {
    /// The job.
    pub job: JobId,
    /// Its tasks.
    pub tasks: TaskRange,
    /// The number of the try, from 1, the same for all of them.
    pub attempt: u32,
}

impl AttemptRun {
    /// The run of one attempt.
    #[must_use]
    pub fn one(attempt: AttemptId) -> Self {
        let AttemptId { task, attempt } = attempt;
        Self { job: task.job, tasks: TaskRange::one(task.index), attempt }
    }

    /// The attempts in order.
    pub fn attempts(self) -> impl Iterator<Item = AttemptId> {
        self.tasks.indexes().map(move |index| AttemptId::new(self.job, index, self.attempt))
    }
}

impl fmt::Display for AttemptRun {
    /// Writes `12.3#2` for one attempt and `12.0-99#2` for more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}#{}", self.job, self.tasks, self.attempt)
    }
}

impl FromStr for AttemptRun {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let read = || {
            let (job, rest) = text.split_once('.')?;
            let (tasks, attempt) = rest.split_once('#')?;
            let (first, last) = tasks.split_once('-').unwrap_or((tasks, tasks));
            let tasks = TaskRange::new(first.parse().ok()?, last.parse().ok()?)?;
            let attempt = attempt.parse().ok().filter(|number| *number > 0)?;
            Some(Self { job: job.parse().ok()?, tasks, attempt })
        };
        read().ok_or_else(|| InvalidId {
            what: "a run of attempts",
            given: text.chars().take(80).collect(),
            allowed: "a job id, a dot, tasks, `#` and the number of the try, such as `12.3#2` or `12.0-99#2`",
        })
    }
}

impl Serialize for AttemptRun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptRun {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An order from the dispatcher to an agent. Orders may arrive twice, late or never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentOrder {
    /// Start these attempts, each at most once however often this arrives.
    Launch(Launch),
    /// Stop these attempts: SIGTERM, then SIGKILL after the grace period. An attempt that is not known is
    /// answered with an `Ended` report of state `gone`, and is never started afterwards.
    Kill {
        /// Which attempts.
        run: AttemptRun,
        /// Time between SIGTERM and SIGKILL.
        grace: Span,
        /// Why; goes into the report.
        reason: Reason,
    },
    /// These are all the attempts that the dispatcher wants of this agent, beside launches that follow. Kill every
    /// other; answer for each that is not known with an `Ended` report of state `gone`.
    Reconcile {
        /// What should be there.
        wanted: Vec<AttemptRun>,
    },
    /// The reports up to this number are committed and need not be repeated.
    Acknowledge {
        /// The number of the last committed [`ReportBatch`].
        sequence: u64,
    },
}

/// A set of orders to one agent, carried out in order. Orders for another incarnation are ignored, and so are orders
/// of an older epoch than the newest the agent has seen: a replaced dispatcher may speak late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBatch {
    /// The dispatcher's generation.
    pub epoch: crate::id::Epoch,
    /// The incarnation the orders are meant for.
    pub incarnation: Incarnation,
    /// How many allocations the dispatcher had read of. Of attempts that were launched by one that had read of more it
    /// knows nothing, and these orders do not stop them.
    pub allocations: u64,
    /// The orders.
    pub orders: Vec<AgentOrder>,
}

/// Start a run of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Which attempts.
    pub run: AttemptRun,
    /// What they are to run.
    pub spec: Arc<JobSpec>,
    /// The queue they are run for, for the environment.
    pub queue: crate::id::QueueName,
    /// What each attempt may use. Where items or ranges are named, the run is of one task.
    pub slice: Resources,
    /// How many of the attempts may run at a time.
    pub slots: u64,
}

/// What an agent tells the dispatcher; kept and repeated until acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportBatch {
    /// Who.
    pub agent: AgentId,
    /// In which life.
    pub incarnation: Incarnation,
    /// Grows by one with each batch of an incarnation.
    pub sequence: u64,
    /// The most allocations that a dispatcher had read of whose launches were obeyed. One that has read of fewer does
    /// not know all of these attempts yet.
    pub allocations: u64,
    /// What happened, in order.
    pub reports: Vec<Report>,
}

/// What happened to a run of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The processes started.
    Started {
        /// Which attempts.
        run: AttemptRun,
        /// When, by the agent's clock.
        at: Time,
    },
    /// The attempts ended, all in the same way.
    Ended {
        /// Which attempts.
        run: AttemptRun,
        /// A final state.
        state: TaskState,
        /// Why.
        reason: Reason,
        /// When the process started, by the agent's clock; absent where none did.
        started_at: Option<Time>,
        /// When it ended.
        ended_at: Time,
        /// How.
        outcome: Outcome,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_attempts_are_read_as_they_are_written() {
        for text in ["12.3#2", "12.0-99#1"] {
            assert_eq!(text.parse::<AttemptRun>().unwrap().to_string(), text);
        }
        for text in ["12", "12.3", "12.9-3#1", "12.3#0", "12.-3#1", "x.3#1", ""] {
            assert!(text.parse::<AttemptRun>().is_err(), "{text}");
        }
    }
}
