//! What an attempt holds while it lives, in few words.

use allot_model::{AttemptRun, Launch, Reason, Resources, Span, TaskState};
use serde::{Deserialize, Serialize};

/// What the next life of an agent must know of an attempt to go on with it. The same for all attempts of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The resources that it uses.
    pub slice: Resources,
    /// How long it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Span>,
    /// The time between SIGTERM and SIGKILL, where its order to stop does not say otherwise.
    pub kill_grace: Span,
    /// The attempts among which it has its turn, where there are fewer slots than attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<AttemptRun>,
}

impl Hold {
    /// What each attempt of the launch holds.
    #[must_use]
    pub fn of(launch: &Launch) -> Self {
        Self {
            slice: launch.slice.clone(),
            time_limit: launch.spec.time_limit,
            kill_grace: launch.spec.kill_grace,
            turns: (launch.slots < launch.run.tasks.count()).then_some(launch.run),
        }
    }
}

/// Why an attempt is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// The state in which it ends.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// The time between SIGTERM and SIGKILL.
    pub grace: Span,
}
