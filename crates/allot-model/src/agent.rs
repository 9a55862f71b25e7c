//! What agents say and are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{AgentId, Incarnation, JobId};
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

/// A set of orders to one agent, carried out in order. Orders for another incarnation are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBatch {
    /// The incarnation the orders are meant for.
    pub incarnation: Incarnation,
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
