//! Records of the ledger: the durable log of everything that happened. State that matters is a fold over it.

use std::sync::Arc;

use crate::agent::{AgentFacts, AttemptRun};
use crate::guarantee::QueueGuarantee;
use crate::id::{AgentId, Epoch, GrantId, InstanceId, JobId, PolicyName, QueueName};
use crate::job::JobSpec;
use crate::limit::QueueLimit;
use crate::preempt::{Preemption, Preemptor};
use crate::resources::Resources;
use crate::task::{JobState, Outcome, Reason, TaskState};
use crate::time::Time;

/// Who writes: each has one subject of the ledger and one active instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// Which agents exist.
    Registry,
    /// What is allocated.
    Offers,
    /// Jobs and tasks.
    Dispatcher,
}

impl Writer {
    /// All writers.
    pub const ALL: [Self; 3] = [Self::Registry, Self::Offers, Self::Dispatcher];

    /// The name used in subjects.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Offers => "offers",
            Self::Dispatcher => "dispatcher",
        }
    }
}

/// One record and when its writer decided it. Folding uses this time, never the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was decided.
    pub at: Time,
    /// What happened.
    pub record: Record,
}

/// What one append holds: the records that gathered while the one before was in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whose they are.
    pub writer: Writer,
    /// The writer's generation.
    pub epoch: Epoch,
    /// The records, in order.
    pub entries: Vec<Entry>,
}

/// Anything that can stand in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A new writer took over; the first record of its epoch.
    Writer(WriterStarted),
    /// Written by the registry.
    Registry(RegistryRecord),
    /// Written by the offers service.
    Offers(OffersRecord),
    /// Written by the dispatcher.
    Dispatcher(DispatcherRecord),
}

/// A new writer took over its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterStarted {
    /// Which subject.
    pub writer: Writer,
    /// Its generation, one more than the one before.
    pub epoch: Epoch,
    /// The process that writes from here on.
    pub instance: InstanceId,
}

/// What happened to agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryRecord {
    /// An agent joined, or joined again, or changed what it has. One that was unreachable or gone is back. Where it is
    /// back from having been unreachable in another life, nobody knows that the one before is over.
    AgentJoined {
        /// What it is from now on.
        facts: Arc<AgentFacts>,
    },
    /// An agent has been silent for the timeout.
    AgentUnreachable {
        /// Which.
        agent: AgentId,
    },
    /// An unreachable agent was heard from again, unchanged and in the same incarnation.
    AgentReturned {
        /// Which.
        agent: AgentId,
    },
    /// An operator wants nothing new on the agent.
    AgentDraining {
        /// Which.
        agent: AgentId,
        /// True where its tasks are to be killed rather than waited for.
        kill: bool,
    },
    /// A draining agent holds no allocation any more.
    AgentDrained {
        /// Which.
        agent: AgentId,
    },
    /// An operator lets a draining or drained agent work again.
    AgentUndrained {
        /// Which.
        agent: AgentId,
    },
    /// An operator declared the agent gone for good, with all its attempts.
    AgentGone {
        /// Which.
        agent: AgentId,
    },
}

/// What happened to allocations and allocators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OffersRecord {
    /// A grant was checked and committed: these attempts hold these resources now.
    Allocated {
        /// The allocator's generation.
        epoch: Epoch,
        /// Its number for the grant.
        grant: GrantId,
        /// All of it, committed together.
        placements: Vec<Placement>,
    },
    /// These attempts are to be stopped, to run again later, so that others get their place.
    Preempted(Preemption),
    /// This allocator decides from now on.
    AllocatorActivated {
        /// Its generation, one more than the one before.
        epoch: Epoch,
        /// The process.
        instance: InstanceId,
        /// The policy it runs.
        policy: PolicyName,
    },
    /// An operator wants this policy; an allocator that runs it is preferred from now on.
    PolicyChosen {
        /// Which.
        policy: PolicyName,
    },
}

/// A part of an allocation: a run of attempts on one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Where.
    pub agent: AgentId,
    /// Which attempts.
    pub run: AttemptRun,
    /// The queue that pays.
    pub queue: QueueName,
    /// What each slot holds. Where items or ranges are named, the run is of one task.
    pub slice: Resources,
    /// How many of the attempts run at a time; the others take their turn on the agent. Once fewer than that are left,
    /// each end frees a slot.
    pub slots: u64,
}

/// What happened to jobs and tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatcherRecord {
    /// A submission became a job.
    JobAdmitted {
        /// Its id, which is its place in the inbox.
        job: JobId,
        /// Who it is for.
        queue: QueueName,
        /// The submitter's `Nats-Msg-Id`, if there was one.
        message_id: Option<Arc<str>>,
        /// When the inbox took it.
        submitted_at: Time,
        /// What it is.
        spec: Arc<JobSpec>,
        /// True where its tasks wait for other jobs first; [`DispatcherRecord::JobReady`] follows.
        waits: bool,
    },
    /// A submission was refused.
    JobRejected {
        /// Its id, which is its place in the inbox.
        job: JobId,
        /// The queue it named, as given.
        queue: Arc<str>,
        /// When the inbox took it.
        submitted_at: Time,
        /// What is wrong with it.
        rejection: Rejection,
    },
    /// The jobs it waited for have finished: its tasks may be placed.
    JobReady {
        /// Which.
        job: JobId,
    },
    /// Tasks may be placed for another try.
    TasksQueued {
        /// The try to be placed next.
        run: AttemptRun,
    },
    /// Attempts run.
    TasksStarted {
        /// Where.
        agent: AgentId,
        /// Which.
        run: AttemptRun,
        /// When, by the agent's clock.
        started_at: Time,
    },
    /// Attempts are to be stopped.
    TasksKilling {
        /// Where.
        agent: AgentId,
        /// Which.
        run: AttemptRun,
        /// Why.
        reason: Reason,
        /// Whom they were stopped for, where that is why.
        by: Option<Preemptor>,
    },
    /// Attempts that held an allocation ended, which releases it.
    TasksEnded {
        /// Where.
        agent: AgentId,
        /// Which.
        run: AttemptRun,
        /// A final state.
        state: TaskState,
        /// Why.
        reason: Reason,
        /// When the process started, by the agent's clock.
        started_at: Option<Time>,
        /// When it ended.
        ended_at: Time,
        /// How.
        outcome: Outcome,
        /// When the tasks are to be queued for another try; absent where this was the last.
        retry_at: Option<Time>,
    },
    /// An allocation came for attempts that were not wanted any more: it is released, nothing ran.
    AllocationReturned {
        /// Where.
        agent: AgentId,
        /// Which.
        run: AttemptRun,
    },
    /// A user cancelled the job: tasks without a place are killed now, the others are asked to stop.
    JobCancelled {
        /// Which.
        job: JobId,
    },
    /// All tasks of the job are in a final state.
    JobEnded {
        /// Which.
        job: JobId,
        /// A final state.
        state: JobState,
        /// Why, where the state alone does not say.
        reason: Option<Reason>,
    },
    /// An operator set what a queue is entitled to, and how much it may have.
    QueueSet {
        /// Which.
        queue: QueueName,
        /// Its share beside its siblings, at least 1.
        weight: u32,
        /// The most that its tasks and those of all queues below it may hold together.
        limit: QueueLimit,
        /// What they are to have together, before others.
        guarantee: QueueGuarantee,
    },
}

/// What is wrong with a submission.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rejection {
    /// The field, as a path such as `resources.cpus`; empty where the whole is not readable.
    pub field: String,
    /// What was given, what is allowed, what to do.
    pub message: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "`{}`: {}", self.field, self.message)
        }
    }
}

impl std::error::Error for Rejection {}
