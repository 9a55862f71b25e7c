//! How a policy that does not decide compares with the one that does.

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, InstanceId, JobId, QueueName};
use crate::time::{Span, Time};

/// How do you compare?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompareQuery {}

/// How a shadow compares with whoever decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompareView {
    /// The shadow.
    pub instance: InstanceId,
    /// Its policy with its options.
    pub policy: String,
    /// Since when: five to ten minutes ago, or less where it has not followed for so long.
    pub since: Time,
    /// Until when.
    pub until: Time,
    /// Slots that were granted meanwhile.
    pub placed: u64,
    /// How many of these the shadow would have given to the same job, from the state just before.
    pub same_job: u64,
    /// How many of these it would have given to the same job on the same agent.
    pub same_agent: u64,
    /// The last placements that it would not have made, oldest first; at most 20.
    pub differences: Vec<Difference>,
    /// How all queues together fared, and would have.
    pub all: Compared,
    /// The same for each queue with tasks in that time, by name.
    pub queues: Vec<QueueCompared>,
    /// Tasks that the shadow would have placed of which nobody knows how long they run: those of jobs without an estimate of
    /// which no task has ended. They count as running on.
    #[serde(default)]
    pub unknown_length: u64,
    /// Why it is not told how queues would have fared, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// A placement that the shadow would not have made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// When it was made.
    pub at: Time,
    /// Whose tasks were placed.
    pub job: JobId,
    /// Where.
    pub agent: AgentId,
    /// In how many slots that the shadow would not have given it there.
    pub slots: u64,
    /// What the shadow would have done with them; nothing where it would have placed nothing more.
    pub instead: Option<Instead>,
}

/// What a shadow would have placed instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instead {
    /// Tasks of this job.
    pub job: JobId,
    /// There.
    pub agent: AgentId,
}

/// A queue under both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueCompared {
    /// Which.
    pub queue: QueueName,
    /// How it fared, and would have.
    #[serde(flatten)]
    pub compared: Compared,
}

/// How it was, and how it would have been.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Compared {
    /// As it was.
    pub active: Fared,
    /// As it would have been, had the shadow decided all the time.
    pub shadow: Fared,
}

/// How tasks fared over a time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Fared {
    /// The dominant share on average over the time: the largest part, of any resource, of what there was.
    pub share: f64,
    /// How many tasks were placed.
    pub placed: u64,
    /// How long these had waited on average; nothing where none was placed.
    pub wait: Option<Span>,
    /// How many tasks wait at the end.
    pub waiting: u64,
}
