//! Why tasks have no place, as the allocator that decides sees it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{AgentId, JobId, PolicyName, QueueName, ResourceName};
use crate::pool::RefusalCode;
use crate::time::Time;

/// Why do tasks of this job wait?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyQuery {
    /// Which job.
    pub job: JobId,
}

/// Where a job's tasks without a place stand, and what is in their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyView {
    /// The job.
    pub job: JobId,
    /// The policy that decides.
    pub policy: PolicyName,
    /// Its tasks without a place.
    pub waiting: u64,
    /// Its tasks that have been granted a place which the offers service has yet to confirm.
    pub granted: u64,
    /// Set where it is set aside for some seconds.
    pub held: Option<SetAside>,
    /// The limit that holds it back, if one does: of those of its queue and of the queues above it the nearest.
    pub limit: Option<LimitReached>,
    /// Set where what is free is kept for queues that do not use all of what is guaranteed to them.
    #[serde(default)]
    pub kept: Option<KeptForOthers>,
    /// The places that are being made for its tasks by stopping others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub room_made: Vec<RoomMade>,
    /// Set where tasks of it have to be placed together before any may be by itself.
    #[serde(default)]
    pub gang: Option<GangRoom>,
    /// For whom room is kept that keeps this one waiting, or for itself, under policies that keep some.
    #[serde(default)]
    pub reservation: Option<Reservation>,
    /// What is in the way of a task on each agent of the pool, the most frequent first. The counts add up to all agents.
    pub reasons: Vec<AgentCount>,
    /// How little is missing, where no agent has room.
    pub nearest: Option<NearMiss>,
    /// Its place in line; nothing where none of its tasks stands there.
    pub line: Option<PlaceInLine>,
    /// What its queue has, where the policy ranks queues.
    pub share: Option<QueueShare>,
    /// How many queues with waiting tasks are served before its own.
    pub queues_ahead: u64,
    /// The first of them: one with tasks that fit now, if there is such a one.
    pub behind: Option<QueueShare>,
}

/// Set aside, because trying at once again would only repeat a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Until when.
    pub until: Time,
    /// Why the offers service refused the grant.
    pub refused: RefusalCode,
}

/// One more task would be more than a queue may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitReached {
    /// Whose limit it is: the job's queue, or one above it.
    pub queue: QueueName,
    /// What is limited: a resource, or `tasks`.
    pub limited: String,
    /// To how much, as words.
    pub limit: Value,
    /// How much that queue and those below it hold, those tasks counted that are granted and not confirmed yet, as
    /// words.
    pub held: Value,
    /// How much one more task takes, or as many as are placed together, as words.
    pub asked: Value,
}

/// Tasks that are placed together, and how many of them have room now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GangRoom {
    /// How many have to be placed together.
    pub tasks: u64,
    /// The attribute of which all their agents have to have the same value.
    pub same: Option<String>,
    /// How many have room now, on all agents together or on those with the value that has room for the most.
    pub room: u64,
    /// That value; nothing where no agent with the attribute has room for one.
    pub value: Option<String>,
    /// How many would have room if nothing ran, counted in the same way; nothing where that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
}

/// Room that is kept for a job, going by the estimates of what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// For which.
    pub job: JobId,
    /// When it is expected to be there; nothing where it is once tasks have ended of which nobody said how long they run, or
    /// where enough is free but in pieces that do not suit or kept for other queues.
    pub at: Option<Time>,
}

/// Of what is free in all too little is left beside what is kept for other queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptForOthers {
    /// Of what too little is left.
    pub resource: ResourceName,
    /// How much is free on all agents together, as words.
    pub free: Value,
    /// How much other queues lack to what is guaranteed to them and kept free for them, as words.
    pub kept: Value,
    /// How much one more task takes, or as many as are placed together, as words.
    pub asked: Value,
}

/// A place that is being made for a task by stopping others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMade {
    /// Where.
    pub agent: AgentId,
    /// How many tasks that are being stopped for it have yet to end.
    pub stopping: u64,
}

/// So many agents have this in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCount {
    /// What is in the way.
    #[serde(flatten)]
    pub hindrance: Hindrance,
    /// How many agents.
    pub agents: u64,
}

/// Why a task cannot go to an agent now: the first that applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Hindrance {
    /// Even with nothing running on it, it has too little of this.
    TooSmall {
        /// What is short.
        resource: ResourceName,
    },
    /// This constraint does not hold there.
    Excluded {
        /// As the job states it.
        constraint: String,
    },
    /// An operator wants nothing new there.
    Draining,
    /// Nothing of it is on offer: its offer expired or proved wrong, and no new one has come.
    NotOffered,
    /// It has too little of this free.
    Busy {
        /// What is short.
        resource: ResourceName,
    },
    /// Nothing: there is room.
    Room,
}

/// The agent that comes nearest, or the constraint without which one might.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NearMiss {
    /// The agent that lacks the least among those that the constraints allow: one that is large enough, if there is
    /// such a one.
    Agent {
        /// Which.
        agent: AgentId,
        /// What is in the way there.
        #[serde(flatten)]
        hindrance: Hindrance,
        /// What it lacks: of what is free there, or of all it has where it is too small.
        short: Vec<Shortage>,
    },
    /// No agent satisfies all constraints; this one excludes the most.
    Constraint {
        /// As the job states it.
        constraint: String,
        /// How many agents it excludes.
        agents: u64,
    },
}

/// What an agent lacks for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Of what.
    pub resource: ResourceName,
    /// How much the task asks for, as words.
    pub asked: Value,
    /// How much there is, as words.
    pub has: Value,
    /// The difference, as words.
    pub short: Value,
}

/// A job's place among those that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceInLine {
    /// Whose line it is; nobody's where the policy has the jobs of all queues stand in one.
    pub queue: Option<QueueName>,
    /// How many jobs stand before it.
    pub jobs_ahead: u64,
    /// How many tasks they want to place.
    pub tasks_ahead: u64,
    /// The first of them.
    pub first: Option<JobId>,
    /// True where nobody goes ahead of the first, even if it fits nowhere.
    pub strict: bool,
}

/// What a queue has of the resource that its rank goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueShare {
    /// Which.
    pub queue: QueueName,
    /// What its share is divided by to rank it.
    pub weight: u32,
    /// The resource that counts: the one of which it holds the largest part, or the one that the policy shares.
    pub resource: Option<ResourceName>,
    /// The part of the pool that it holds, those tasks counted that are granted and not confirmed yet: an exact
    /// fraction in lowest terms, numerator and denominator, before its weight is applied.
    pub share: [u64; 2],
}

impl fmt::Display for Hindrance {
    /// After a count of agents, such as `too small in mem`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { resource } => write!(f, "too small in {resource}"),
            Self::Excluded { constraint } => write!(f, "excluded by `{constraint}`"),
            Self::Draining => f.write_str("draining"),
            Self::NotOffered => f.write_str("not on offer"),
            Self::Busy { resource } => write!(f, "busy in {resource}"),
            Self::Room => f.write_str("with room"),
        }
    }
}

impl WhyView {
    /// When its next tasks are expected to start, where the policy keeps room for them and knows.
    #[must_use]
    pub fn expected_start(&self) -> Option<Time> {
        self.reservation.filter(|reservation| reservation.job == self.job)?.at
    }

    /// How many agents have this in the way.
    #[must_use]
    pub fn agents(&self, hindrance: &Hindrance) -> u64 {
        self.reasons.iter().find(|count| count.hindrance == *hindrance).map_or(0, |count| count.agents)
    }

    /// The reasons in a line, such as ``12 agents too small in mem, 3 excluded by `zone == b` ``.
    #[must_use]
    pub fn reasons_in_words(&self) -> String {
        let mut words = Vec::new();
        for (place, AgentCount { hindrance, agents }) in self.reasons.iter().enumerate() {
            let noun = match (place, agents) {
                (0, 1) => " agent",
                (0, _) => " agents",
                _ => "",
            };
            words.push(format!("{agents}{noun} {hindrance}"));
        }
        if words.is_empty() { "there are no agents".to_owned() } else { words.join(", ") }
    }
}
