//! The open protocol between the offers service and allocators: a feed of what is free and wanted one way, grants
//! the other way. Any program that speaks these two messages is an allocator.

use std::sync::Arc;

use crate::agent::Attributes;
use crate::constraint::Constraint;
use crate::guarantee::QueueGuarantee;
use crate::id::{AgentId, Epoch, GrantId, InstanceId, JobId, OfferVersion, PolicyName, QueueName};
use crate::job::JobSpec;
use crate::ledger::Placement;
use crate::limit::QueueLimit;
use crate::preempt::Preemption;
use crate::ranges::TaskRange;
use crate::resources::{Request, Resources};
use crate::time::{Span, Time};

/// What the offers service tells all allocators of the pool, in order. A gap in the sequence, or a new session,
/// means that something was missed: say [`AllocatorMessage::Hello`] again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The offers service's generation.
    pub session: Epoch,
    /// Grows by one with each message to all. In an answer to hello: the number of the last message that the
    /// answer covers.
    pub sequence: u64,
    /// Set in the answer to a hello, which comes in one or more parts.
    pub sync: Option<SyncPart>,
    /// In an answer to hello: which part it is, counted from 0, so that a part that is lost is missed. 0 otherwise.
    pub part: u32,
    /// What changed, in order.
    pub items: Vec<FeedItem>,
}

/// Which part of an answer to hello a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPart {
    /// The first: forget everything. May be the only one, then [`SyncPart::Only`] is used.
    First,
    /// One in between.
    Middle,
    /// The last: from here on apply what follows in the feed.
    Last,
    /// First and last in one.
    Only,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedItem {
    /// Who decides now. An allocator that is not named only follows.
    Active {
        /// To be named in every grant.
        epoch: Epoch,
        /// The process that decides.
        instance: InstanceId,
    },
    /// What a queue is entitled to, and how much it may have; replaces what was said of it before. A queue that was never
    /// named has weight 1 and no limit. Comes before everything else of an answer to hello but who decides.
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
    /// A job was admitted and not all of it has ended.
    Job(Arc<PoolJob>),
    /// Tasks of a job wait for a place.
    Pending {
        /// Which job.
        job: JobId,
        /// Which tasks.
        tasks: TaskRange,
    },
    /// Tasks do not wait any more, without having been placed.
    Withdrawn {
        /// Which job.
        job: JobId,
        /// Which tasks.
        tasks: TaskRange,
    },
    /// A job has ended and can be forgotten, once nothing of it is allocated.
    JobEnded {
        /// Which.
        job: JobId,
    },
    /// An agent is in the pool, as described; replaces what was said of it before.
    Agent(Arc<PoolAgent>),
    /// An agent left the pool. What is allocated there stays allocated until it is released.
    AgentLeft {
        /// Which.
        agent: AgentId,
    },
    /// This is free on an agent, until then. Replaces every earlier offer of that agent.
    Offer {
        /// Where.
        agent: AgentId,
        /// Grows with every change.
        version: OfferVersion,
        /// What is free.
        free: Resources,
        /// How long it stands; it is renewed while it is unanswered.
        ttl: Span,
    },
    /// The offer of this agent stands no longer.
    Rescinded {
        /// Where.
        agent: AgentId,
    },
    /// A grant was committed, by whichever allocator. In an answer to hello: what is allocated, under grant 0.
    Allocated {
        /// The allocator's generation.
        epoch: Epoch,
        /// Its number for the grant.
        grant: GrantId,
        /// What was committed.
        placements: Vec<Placement>,
        /// When.
        at: Time,
    },
    /// Attempts ended, and slots that they held on the agent are free. Where others take their turn in all the slots,
    /// nothing is free and nothing is said.
    Released {
        /// Where.
        agent: AgentId,
        /// Which job.
        job: JobId,
        /// Which tasks.
        tasks: TaskRange,
        /// The queue that paid.
        queue: QueueName,
        /// What each slot held.
        slice: Resources,
        /// How many slots are free.
        slots: u64,
        /// How long each of the tasks ran; absent where none did, or that is not known.
        ran: Option<Span>,
    },
    /// A preemption was committed, by whichever allocator: its victims are being stopped, and [`FeedItem::Released`]
    /// follows for each. In an answer to hello: one of which some have not been released yet, with these.
    Preempted(Preemption),
    /// A grant or a preemption was not committed; nothing of it was.
    Refused {
        /// The allocator's generation, as it stood in the grant.
        epoch: Epoch,
        /// The grant or preemption.
        grant: GrantId,
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        message: String,
    },
}

/// What an allocator needs to know of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolJob {
    /// Its id.
    pub job: JobId,
    /// Who it is for.
    pub queue: QueueName,
    /// When it was submitted.
    pub submitted_at: Time,
    /// Larger goes first.
    pub priority: i32,
    /// How many tasks it has in all.
    pub tasks: u32,
    /// What each task needs.
    pub resources: Request,
    /// What an agent must be like.
    pub constraints: Vec<Constraint>,
    /// How long a task is expected to run.
    pub estimate: Option<Span>,
    /// When the job is to be done.
    pub deadline: Option<Time>,
    /// How many of the tasks have to be placed together, by one grant, if any are. 1 where each goes by itself, as they do
    /// once that many were placed together.
    pub min_tasks: u32,
    /// The attribute that all agents of the tasks of that grant have to have the same value of.
    pub same: Option<String>,
    /// True where its tasks may be stopped for others, because they may run again.
    pub preemptible: bool,
}

impl PoolJob {
    /// What is to be known of a job that was submitted to a queue at that time.
    #[must_use]
    pub fn of(job: JobId, queue: QueueName, submitted_at: Time, spec: &JobSpec) -> Self {
        Self {
            job,
            queue,
            submitted_at,
            priority: spec.priority,
            tasks: spec.tasks,
            resources: spec.resources.clone(),
            constraints: spec.constraints.clone(),
            estimate: spec.expected_run(),
            deadline: spec.deadline.map(|within| submitted_at + within),
            min_tasks: spec.min_tasks,
            same: spec.same.clone(),
            preemptible: spec.may_run_again(),
        }
    }
}

/// What an allocator needs to know of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAgent {
    /// Its id.
    pub agent: AgentId,
    /// The name of its machine.
    pub host: String,
    /// All it has.
    pub total: Resources,
    /// Its attributes.
    pub attributes: Attributes,
    /// True where an operator wants nothing new there: it counts, and is not offered.
    pub draining: bool,
}

/// Why a grant or a preemption was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The epoch is not that of the active allocator.
    NotActive,
    /// The agent is not in the pool, or takes nothing new.
    AgentUnavailable,
    /// The resources are not free any more.
    NotFree,
    /// A task does not wait for a place: placed already, ended, or no such task.
    NotPending,
    /// A slice is not what the job asks for, or a constraint does not hold.
    DoesNotFit,
    /// The grant itself makes no sense: empty, or the same task twice.
    Malformed,
    /// The job's queue, or one above it, would hold more than its limit.
    OverLimit,
    /// Fewer tasks of a gang than have to be placed together.
    GangTooSmall,
    /// Preemption for this cause is not allowed here.
    PreemptionOff,
    /// More tasks would be stopped within a minute than is allowed.
    TooManyPreempted,
    /// A victim does not hold a place, is being stopped already, or may not be stopped for this job: not now, or never.
    NotPreemptible,
}

/// What an allocator tells the offers service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromAllocator {
    /// Who.
    pub instance: InstanceId,
    /// What, in order.
    pub messages: Vec<AllocatorMessage>,
}

/// What an allocator says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The name of the policy it runs, by which operators choose it.
    pub policy: PolicyName,
    /// What it is there for.
    pub mode: AllocatorMode,
    /// The policy with its options, such as `drf:placement=worst-fit`, in the form that simulations read; nothing where it
    /// has no such form. At most [`Presence::MOST_DESCRIBED`] bytes.
    pub described: Option<String>,
}

impl Presence {
    /// The longest description, bytes: it is kept for each allocator, and repeated with each beat.
    pub const MOST_DESCRIBED: usize = 1_000;

    /// One that runs this policy and decides when it is its turn.
    #[must_use]
    pub fn of(policy: PolicyName) -> Self {
        Self { policy, mode: AllocatorMode::Standby, described: None }
    }
}

/// What an allocator is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum AllocatorMode {
    /// To decide, when it is its turn.
    #[default]
    Standby,
    /// To be compared: it follows, and never decides.
    Shadow,
}

/// A word that is no mode of an allocator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mode of an allocator: choose `standby` or `shadow`")]
pub struct InvalidMode(String);

impl TryFrom<String> for AllocatorMode {
    type Error = InvalidMode;
    fn try_from(text: String) -> Result<Self, InvalidMode> {
        match text.as_str() {
            "standby" => Ok(Self::Standby),
            "shadow" => Ok(Self::Shadow),
            _ => Err(InvalidMode(text)),
        }
    }
}

/// One thing an allocator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllocatorMessage {
    /// Sent as a request: here I am, tell me everything. The answer comes in parts to the reply subject.
    Hello(Presence),
    /// Still here. Sent every [`BEAT_EVERY`].
    Beat(Presence),
    /// Going away: another may take over at once.
    Goodbye,
    /// Place these tasks. Committed as a whole or refused as a whole.
    Grant(Grant),
    /// Stop these tasks, to run again later, so that a task of a job gets their place.
    Preempt(Preemption),
    /// This offer is of no use for now.
    Decline {
        /// Its generation.
        epoch: Epoch,
        /// Whose offer.
        agent: AgentId,
        /// Which offer.
        version: OfferVersion,
        /// For how long nothing that small is to be offered from that agent.
        filter: Span,
        /// Why, for people.
        reason: String,
    },
    /// Forget what was declined.
    Revive {
        /// Its generation.
        epoch: Epoch,
    },
}

/// The allocator's answer to one or more offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its generation.
    pub epoch: Epoch,
    /// Its number, from 1, never used twice within an epoch.
    pub grant: GrantId,
    /// Which tasks go where; all or nothing.
    pub placements: Vec<ProposedPlacement>,
}

/// Tasks of a job on one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedPlacement {
    /// Where.
    pub agent: AgentId,
    /// The version of the offer it is taken from.
    pub version: OfferVersion,
    /// Which job.
    pub job: JobId,
    /// Which tasks. One task where the slice names items or ranges.
    pub tasks: TaskRange,
    /// What each slot gets.
    pub slice: Resources,
    /// How many of the tasks run at a time, at least 1; the others take their turn on the agent. Fewer than there are
    /// tasks only where all of them wait for the same try.
    pub slots: u64,
}

/// How often an allocator says that it is there.
pub const BEAT_EVERY: Span = Span::from_millis(500);
/// After how long a silence another allocator takes over.
pub const SILENT_AFTER: Span = Span::from_millis(1_500);
