//! What services answer to questions and commands: JSON over request and reply, printed as it is by `-o json`.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::agent::Attributes;
use crate::guarantee::HoldBack;
use crate::id::{AgentId, AttemptId, Epoch, InstanceId, JobId, PolicyName, QueueName};
use crate::ledger::Rejection;
use crate::limit::{LimitChange, QueueLimit};
use crate::pool::AllocatorMode;
use crate::preempt::{PreemptRules, Preemptor};
use crate::ranges::TaskSet;
use crate::task::{JobState, Outcome, Reason, TaskState};
use crate::time::Time;

mod compare;
mod why;

pub use compare::{CompareQuery, CompareView, Compared, Difference, Fared, Instead, QueueCompared};
pub use why::{
    AgentCount, GangRoom, Hindrance, KeptForOthers, LimitReached, NearMiss, PlaceInLine, QueueShare,
    Reservation, RoomMade, SetAside, Shortage, WhyQuery, WhyView,
};

/// The fraction in lowest terms; 0 of 1 where both are 0.
#[must_use]
pub fn lowest_terms(numerator: u64, denominator: u64) -> [u64; 2] {
    let (mut a, mut b) = (numerator, denominator);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    [numerator.checked_div(a).unwrap_or(0), denominator.checked_div(a).unwrap_or(1)]
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// It was done, or this is what was asked for.
    Ok(T),
    /// It was not done.
    Error(Refusal),
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs: `not_found`, `invalid`, `conflict` or `unavailable`.
    pub code: RefusalKind,
    /// For people: what was wrong, what is allowed, what to do.
    pub message: String,
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// The request cannot be read or asks for what is not allowed.
    Invalid,
    /// The thing is in a state in which this cannot be done.
    Conflict,
    /// Not now: ask again.
    Unavailable,
}

/// What a command changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In words.
    pub message: String,
}

/// Which agents to list, in the order of their ids: an answer is one message, and a cluster may have more than fit into that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentsQuery {
    /// Only those that come after this one: the next page.
    pub after: Option<AgentId>,
    /// At most so many, 1,000 unless set, and 1,000 at most.
    pub limit: u32,
}

impl AgentsQuery {
    /// The most that a page has.
    pub const MOST: u32 = 1_000;

    /// This page of agents by their ids.
    pub fn page<'a, T>(
        &self,
        agents: &'a BTreeMap<AgentId, T>,
    ) -> impl Iterator<Item = (&'a AgentId, &'a T)> {
        let from = self.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        agents.range((from, Bound::Unbounded)).take(self.limit.min(Self::MOST) as usize)
    }
}

impl Default for AgentsQuery {
    fn default() -> Self {
        Self { after: None, limit: Self::MOST }
    }
}

/// Which jobs to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsQuery {
    /// Only of this queue and those below it.
    pub queue: Option<QueueName>,
    /// Only in these states; empty for all.
    pub states: Vec<JobState>,
    /// Only those whose name is meant: the whole of it by a pattern with `*` or `?`, any part of it by a text without.
    pub name: Option<String>,
    /// Only the job that was submitted with this message id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Only those submitted at this time or later.
    pub since: Option<Time>,
    /// Only those submitted at this time or earlier.
    pub until: Option<Time>,
    /// Only jobs older than this one: the next page.
    pub before: Option<JobId>,
    /// At most so many, 50 unless set, 1,000 at most.
    pub limit: u32,
}

impl Default for JobsQuery {
    fn default() -> Self {
        Self {
            queue: None,
            states: Vec::new(),
            name: None,
            message_id: None,
            since: None,
            until: None,
            before: None,
            limit: 50,
        }
    }
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobList {
    /// The jobs, newest first. Fewer than were asked for, or none, where finding more would have taken too long.
    pub jobs: Vec<JobSummary>,
    /// Where to go on, as `before`; absent where there is nothing more to be found.
    pub next: Option<JobId>,
    /// How many jobs were looked at.
    #[serde(default)]
    pub looked_at: u64,
}

/// How many tasks of a job are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskCounts {
    /// In state queued.
    pub queued: u64,
    /// In states allocated and starting.
    pub starting: u64,
    /// In state running.
    pub running: u64,
    /// In state killing.
    pub killing: u64,
    /// In state unreachable.
    pub unreachable: u64,
    /// Finished.
    pub finished: u64,
    /// Failed.
    pub failed: u64,
    /// Killed.
    pub killed: u64,
    /// Dropped.
    pub dropped: u64,
    /// Gone.
    pub gone: u64,
}

/// A job in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its id.
    pub job: JobId,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Who it is for, as given at submission.
    pub queue: String,
    /// Where it is on its way.
    pub state: JobState,
    /// Why, where the state alone does not say.
    pub reason: Option<Reason>,
    /// How many tasks it has.
    pub tasks: u32,
    /// In which states they are.
    pub counts: TaskCounts,
    /// When it was submitted, microseconds since 1970.
    pub submitted_at: Time,
    /// When its first process started.
    pub started_at: Option<Time>,
    /// When its last task ended.
    pub ended_at: Option<Time>,
}

/// All about a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// In a line.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// What was submitted, with defaults filled in, in the form of a job file. Absent for a rejected job.
    pub spec: Option<serde_json::Value>,
    /// What is wrong with it, where it was rejected.
    pub rejection: Option<Rejection>,
    /// Its tasks as runs of tasks that are alike, in order. At most the number asked for.
    pub runs: Vec<TaskRunView>,
    /// True where there are more runs than were asked for.
    pub more_runs: bool,
}

/// What to show of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobQuery {
    /// Only these tasks; all where absent.
    pub tasks: Option<TaskSet>,
    /// At most so many runs of tasks, 1,000 unless set.
    pub limit: u32,
}

impl Default for JobQuery {
    fn default() -> Self {
        Self { tasks: None, limit: 1_000 }
    }
}

/// A run of tasks that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRunView {
    /// Which tasks.
    pub tasks: TaskSet,
    /// Their present or last try.
    #[serde(flatten)]
    pub attempt: AttemptView,
    /// Earlier tries, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<AttemptView>,
}

/// One try at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its number, from 1.
    pub attempt: u32,
    /// Where it is on its way.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// Where it was placed.
    pub agent: Option<AgentId>,
    /// When it began to wait for a place.
    pub queued_at: Time,
    /// When its place was committed.
    pub allocated_at: Option<Time>,
    /// When its process started, by its agent's clock.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// When it is to be queued again, where it waits out a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// What it may use, as words, once it is placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<serde_json::Value>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Whom it was stopped for, where it was preempted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Preemptor>,
}

/// What the registry knows of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Its id.
    pub agent: AgentId,
    /// Its machine.
    pub host: String,
    /// Where it stands.
    pub state: AgentState,
    /// All it has, as words.
    pub total: serde_json::Value,
    /// Its attributes.
    pub attributes: Attributes,
    /// How many attempts hold an allocation on it.
    pub attempts: u64,
    /// When it joined, or joined again.
    pub joined_at: Time,
    /// When it was last heard from, by the registry's clock.
    pub heard_at: Time,
    /// The version of its program.
    pub program_version: String,
    /// What keeps it from working, as it last said; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It takes tasks.
    Ready,
    /// It takes nothing new and finishes or kills what it has.
    Draining,
    /// It takes nothing new and has nothing.
    Drained,
    /// It has been silent for the timeout.
    Unreachable,
    /// An operator declared it gone.
    Gone,
}

/// What the offers service knows of an agent in the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentUse {
    /// Its id.
    pub agent: AgentId,
    /// All it has, as words.
    pub total: serde_json::Value,
    /// What is allocated on it, as words.
    pub allocated: serde_json::Value,
    /// What is free on it, as words.
    pub free: serde_json::Value,
    /// True where it is in the pool and takes tasks.
    pub available: bool,
}

/// What a queue is entitled to, has and wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its name.
    pub queue: QueueName,
    /// Its share beside its siblings.
    pub weight: u32,
    /// The most that its tasks and those of all queues below it may hold together; what is not named is not limited.
    #[serde(default)]
    pub limit: QueueLimit,
    /// What they are to have together before others, where they want it; what is not named is not guaranteed.
    #[serde(default)]
    pub guarantee: QueueLimit,
    /// When what they do not use of it is kept free for them.
    #[serde(default)]
    pub hold_back: HoldBack,
    /// What they hold together of what is limited or guaranteed.
    #[serde(default)]
    pub held: QueueLimit,
    /// How many of its jobs have not ended.
    pub jobs: u64,
    /// How many of its tasks hold an allocation.
    pub running: u64,
    /// How many of its tasks wait for a place.
    pub pending: u64,
    /// How many tasks are being stopped so that its jobs get their places.
    #[serde(default)]
    pub preempting: u64,
    /// How many of its tasks are being stopped so that others get their places.
    #[serde(default)]
    pub preempted: u64,
    /// What its tasks hold, as words.
    pub allocated: serde_json::Value,
    /// Its dominant resource: the one of which it holds the largest part of the pool.
    pub dominant_resource: Option<String>,
    /// Its dominant share as an exact fraction, numerator and denominator, before its weight is applied.
    pub dominant_share: [u64; 2],
}

/// What a queue is to be entitled to, and how much it may have. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSetCommand {
    /// Which.
    pub queue: QueueName,
    /// Its share beside its siblings, 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// True where it is to have no limit but what [`QueueSetCommand::limit`] names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_limit: bool,
    /// What its limit is to be, thing by thing.
    #[serde(default, skip_serializing_if = "LimitChange::is_empty")]
    pub limit: LimitChange,
    /// True where nothing is to be guaranteed to it but what [`QueueSetCommand::guarantee`] names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_guarantee: bool,
    /// What is to be guaranteed to it, thing by thing.
    #[serde(default, skip_serializing_if = "LimitChange::is_empty")]
    pub guarantee: LimitChange,
    /// When what it does not use of its guarantee is to be kept free for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_back: Option<HoldBack>,
}

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// The policy that an operator has chosen, if one has.
    pub chosen: Option<PolicyName>,
    /// The active allocator's generation.
    pub epoch: Epoch,
    /// All allocators that are heard from, the active one first.
    pub allocators: Vec<AllocatorView>,
    /// What became of offers and grants.
    #[serde(default)]
    pub counts: OfferCounts,
    /// Which preemptions are committed.
    #[serde(default)]
    pub preemption: PreemptRules,
}

/// How often things happened since the offers service took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferCounts {
    /// Offers made, renewals not counted.
    pub offers_sent: u64,
    /// Offers that were not answered in half their time and therefore made once more as they were.
    pub offers_renewed: u64,
    /// Offers taken back, those not counted that were used up.
    pub offers_rescinded: u64,
    /// Offers declined.
    pub offers_declined: u64,
    /// Agents of which nothing is offered now because what is free was declined.
    pub filters_active: u64,
    /// Grants committed.
    pub grants_accepted: u64,
    /// Grants refused.
    pub grants_refused: u64,
    /// Tasks that were to be stopped for others.
    pub tasks_preempted: u64,
    /// Preemptions refused.
    pub preemptions_refused: u64,
}

/// An allocator that is heard from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocatorView {
    /// The process.
    pub instance: InstanceId,
    /// What it runs.
    pub policy: PolicyName,
    /// The policy with its options, where the allocator tells.
    #[serde(default)]
    pub described: Option<String>,
    /// What it is there for.
    #[serde(default)]
    pub mode: AllocatorMode,
    /// True for the one that decides.
    pub active: bool,
    /// When it was first heard from.
    pub since: Time,
    /// When it was last heard from.
    pub heard_at: Time,
}

/// Asks for an account of everything in the pool: the same that an allocator is told when it says hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountQuery {
    /// The most jobs, agents and placements together that are wanted; where there are more, none is told. No bound unless
    /// set.
    pub most: Option<u64>,
}

/// Which policy is to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyUseCommand {
    /// Which.
    pub policy: PolicyName,
}

/// How to drain an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainCommand {
    /// Kill its tasks rather than wait for them; those with tries left are tried elsewhere.
    pub kill: bool,
}

/// What to read of an attempt's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Standard output or standard error.
    pub stream: LogStream,
    /// The first byte wanted; a negative number counts from the end.
    pub offset: i64,
    /// At most so many bytes; the agent may answer with fewer.
    pub limit: u32,
}

/// The two outputs of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_agents_follow_each_other_without_gaps() {
        let id = |number: u32| AgentId::new(&format!("a{number:04}")).unwrap();
        let agents: BTreeMap<AgentId, u32> = (0..2_500).map(|number| (id(number), number)).collect();
        let page = |after: Option<AgentId>, limit| {
            let query = AgentsQuery { after, limit };
            query.page(&agents).map(|(_, number)| *number).collect::<Vec<u32>>()
        };
        assert_eq!(page(None, 3), [0, 1, 2]);
        assert_eq!(page(Some(id(2)), 2), [3, 4]);
        assert_eq!(page(Some(id(2_498)), 1_000), [2_499]);
        assert!(page(Some(id(2_499)), 1_000).is_empty());
        assert_eq!(page(None, u32::MAX).len(), 1_000, "an answer has to fit into a message");
        let gone = AgentId::new("a0001x").unwrap();
        assert_eq!(page(Some(gone), 1), [2], "an agent that is not there any more");
    }
}
