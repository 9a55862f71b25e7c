//! The state of a service that writes to the ledger, in pieces: what a snapshot holds.
//!
//! A core gives its state out as items, and a new core that is given them is as if it had folded every record so far. Items
//! are in an order in which each finds what it refers to.

use std::sync::Arc;

use crate::agent::{AgentFacts, AttemptRun};
use crate::guarantee::QueueGuarantee;
use crate::id::{AgentId, AttemptId, Epoch, Incarnation, InstanceId, JobId, PolicyName, QueueName};
use crate::job::JobSpec;
use crate::ledger::{Rejection, Writer};
use crate::limit::QueueLimit;
use crate::pool::PoolJob;
use crate::preempt::{Preemption, Preemptor};
use crate::ranges::TaskRange;
use crate::resources::Resources;
use crate::task::{JobState, Outcome, Reason, TaskState};
use crate::time::Time;

/// What a snapshot is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Whose state it is.
    pub writer: Writer,
    /// The generation that saved it.
    pub epoch: Epoch,
    /// The last message of the ledger that is in it.
    pub ledger_sequence: u64,
    /// When the stream took that message: tells that this is the same ledger.
    pub ledger_at: Time,
    /// The last message up to there that the writer itself had appended.
    pub own_sequence: u64,
    /// The last message of the inbox that was decided on; 0 where the writer does not read the inbox.
    pub inbox_sequence: u64,
    /// When it was taken.
    pub taken_at: Time,
    /// How many items it has.
    pub items: u64,
}

/// A piece of a service's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateItem {
    /// Of the registry: an agent.
    RegistryAgent(RegistryAgentState),
    /// Of the offers service: an agent, and what is allocated on it.
    OffersAgent(OffersAgentState),
    /// Of the offers service: a job that has not ended.
    OffersJob(OffersJobState),
    /// Of the offers service: who decides.
    Active {
        /// Its generation.
        epoch: Epoch,
        /// The process.
        instance: InstanceId,
        /// What it runs.
        policy: PolicyName,
    },
    /// Of the offers service: the policy that an operator wants.
    Chosen {
        /// Which.
        policy: PolicyName,
    },
    /// Of the offers service and the dispatcher: what an operator has set for a queue.
    Queue {
        /// Which.
        queue: QueueName,
        /// Its share beside its siblings.
        weight: u32,
        /// The most that its tasks and those of all queues below it may hold together.
        limit: QueueLimit,
        /// What they are to have together, before others.
        guarantee: QueueGuarantee,
    },
    /// Of the offers service and the dispatcher: tasks that are to be stopped for others, and have not ended.
    Preempted(Preemption),
    /// Of the dispatcher: an agent.
    DispatcherAgent(DispatcherAgentState),
    /// Of the dispatcher: a job.
    DispatcherJob(Box<DispatcherJobState>),
    /// Of the dispatcher: a submission that did not become a job.
    Rejected(RejectedState),
    /// Of the dispatcher: a job or submission that has ended, in the order of their ends.
    Ended {
        /// Which.
        job: JobId,
        /// How many tasks it counts for.
        tasks: u64,
    },
    /// Of the dispatcher: how far the inbox was read, and the allocations in the ledger.
    Inbox {
        /// The last message that was decided on.
        last: JobId,
        /// How many allocations were read of.
        allocations: u64,
    },
    /// Of the dispatcher: an allocation that is to be given back.
    Unwanted {
        /// Where.
        agent: AgentId,
        /// Which.
        run: AttemptRun,
    },
}

/// How far an operator's drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrainState {
    /// Nothing new goes there; tasks are still there.
    Under,
    /// Nothing is there any more.
    Over,
}

/// An agent as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAgentState {
    /// What it is.
    pub facts: Arc<AgentFacts>,
    /// When it joined.
    pub joined_at: Time,
    /// When anything was last decided about it.
    pub changed_at: Time,
    /// Silent for the timeout.
    pub away: bool,
    /// Declared gone by an operator.
    pub gone: bool,
    /// How far its drain has come; nothing where none is wanted.
    pub drain: Option<DrainState>,
    /// True where its tasks are to be killed for the drain.
    pub kill: bool,
    /// How many attempts hold an allocation on it.
    pub attempts: u64,
    /// Its last lives before this one, oldest first.
    pub past: Vec<Incarnation>,
}

/// An agent as the offers service knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffersAgentState {
    /// What it is.
    pub facts: Arc<AgentFacts>,
    /// Silent for the timeout, or declared gone.
    pub away: bool,
    /// How far its drain has come; nothing where none is wanted.
    pub drain: Option<DrainState>,
    /// What is allocated on it.
    pub held: Vec<HeldRun>,
    /// The placements whose tasks take turns.
    pub turns: Vec<TurnsLeft>,
}

/// What a run of attempts holds on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRun {
    /// Which.
    pub run: AttemptRun,
    /// The queue that pays.
    pub queue: QueueName,
    /// What each slot holds.
    pub slice: Arc<Resources>,
    /// The first attempt of its placement, where the tasks of that take turns.
    pub turns: Option<AttemptId>,
    /// Since when.
    pub at: Time,
}

/// A placement whose tasks take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnsLeft {
    /// Its first attempt.
    pub first: AttemptId,
    /// How many of its tasks have not ended.
    pub left: u64,
    /// How many run at a time.
    pub slots: u64,
}

/// A job as the offers service knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffersJobState {
    /// What it is.
    pub job: Arc<PoolJob>,
    /// The tasks that wait for a place, each with the try that it waits for.
    pub pending: Vec<(TaskRange, u32)>,
}

/// An agent as the dispatcher knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatcherAgentState {
    /// Its id.
    pub agent: AgentId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Silent for the timeout.
    pub away: bool,
    /// Declared gone by an operator.
    pub gone: bool,
    /// Being drained with its tasks killed.
    pub kills: bool,
    /// When it was last missed in this life.
    pub missed_at: Option<Time>,
    /// Its lives before that nobody knows to be over, oldest first.
    pub unseen: Vec<Incarnation>,
}

/// A job as the dispatcher knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatcherJobState {
    /// Its id.
    pub job: JobId,
    /// Who it is for.
    pub queue: QueueName,
    /// What it is; nothing where it is the same as that of the job before.
    pub spec: Option<Arc<JobSpec>>,
    /// The submitter's `Nats-Msg-Id`.
    pub message_id: Option<Arc<str>>,
    /// When the inbox took it.
    pub submitted_at: Time,
    /// What it waits for; nothing where it does not wait.
    pub dependencies: Option<DependenciesState>,
    /// When a user cancelled it.
    pub cancelled: Option<Time>,
    /// How and when it ended.
    pub ended: Option<(JobState, Option<Reason>, Time)>,
    /// When its first task started.
    pub started_at: Option<Time>,
    /// Its tasks.
    pub tasks: Vec<TaskRunState>,
    /// Earlier tries of its tasks.
    pub earlier: Vec<(TaskRange, Vec<EarlierTry>)>,
}

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependenciesState {
    /// Jobs that have not ended.
    pub open: Vec<JobId>,
    /// True once one of them ended otherwise than finished.
    pub failed: bool,
}

/// Tasks that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRunState {
    /// Which.
    pub tasks: TaskRange,
    /// The present or last try, from 1.
    pub attempt: u32,
    /// How many tries count against the job's `retries`.
    pub spent: u32,
    /// When they began to wait for a place.
    pub queued_at: Time,
    /// Where they are on their way.
    pub phase: PhaseState,
}

/// Where tasks are on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhaseState {
    /// They wait for other jobs.
    Waiting,
    /// They wait for a place.
    Queued,
    /// They wait until then for their next try.
    Backoff(Time),
    /// They hold an allocation.
    Placed(PlacedState),
    /// Nothing follows.
    Ended(EndedState),
}

/// Tasks that hold an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedState {
    /// Where.
    pub agent: AgentId,
    /// In which life of it.
    pub incarnation: Incarnation,
    /// What each slot holds.
    pub slice: Arc<Resources>,
    /// How many of the tasks that were placed together run at a time.
    pub slots: u64,
    /// The first of the tasks that were placed together, where these are not to be launched together with others: all of
    /// them run at a time otherwise.
    pub apart_from: Option<u32>,
    /// When the grant was committed.
    pub allocated_at: Time,
    /// When they started.
    pub started_at: Option<Time>,
    /// Why they are to be stopped, where they are.
    pub killing: Option<Reason>,
    /// Whom they are stopped for, where that is why.
    pub by: Option<Preemptor>,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedState {
    /// A final state.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// Where it was; nothing where it had no place.
    pub agent: Option<AgentId>,
    /// What it held.
    pub slice: Option<Arc<Resources>>,
    /// When the grant was committed.
    pub allocated_at: Option<Time>,
    /// When it started.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Time,
    /// How the process ended.
    pub outcome: Option<Outcome>,
    /// Whom it was stopped for, where it was preempted.
    pub by: Option<Preemptor>,
}

/// A try that was followed by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierTry {
    /// Which, from 1.
    pub attempt: u32,
    /// When it began to wait for a place.
    pub queued_at: Time,
    /// How it ended.
    pub ended: EndedState,
}

/// A submission that did not become a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedState {
    /// Its id.
    pub job: JobId,
    /// The queue it named, as given.
    pub queue: Arc<str>,
    /// When the inbox took it.
    pub submitted_at: Time,
    /// When it was refused.
    pub rejected_at: Time,
    /// What is wrong with it.
    pub rejection: Rejection,
}
