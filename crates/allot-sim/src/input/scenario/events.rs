//! The events of a scenario as they are written.

use allot_model::agent::Attributes;
use allot_model::document::Fault;
use allot_model::{
    AgentId, Constraint, HoldBack, QueueGuarantee, QueueLimit, QueueName, Request, Resources, Span, Time,
};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// Its place in the text.
    pub(super) index: usize,
    pub(super) at: Time,
    pub(super) what: What,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Agent(AgentEvent),
    Submit(Box<JobEvent>),
    End { job: String, tasks: Option<u32> },
    Cancel(String),
    Queue { queue: QueueName, settings: QueueSettings },
}

/// An agent joins, changes, drains or leaves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AgentEvent {
    pub(super) agent: AgentId,
    pub(super) resources: Option<Resources>,
    pub(super) attributes: Option<Attributes>,
    pub(super) drains: Option<bool>,
    pub(super) leaves: bool,
}

/// A job is submitted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JobEvent {
    pub(super) name: String,
    pub(super) queue: QueueName,
    pub(super) tasks: u32,
    pub(super) request: Request,
    pub(super) run: Option<Span>,
    pub(super) estimate: Option<Span>,
    pub(super) deadline: Option<Span>,
    pub(super) priority: i32,
    pub(super) constraints: Vec<Constraint>,
    pub(super) min_tasks: u32,
    pub(super) same: Option<String>,
    pub(super) retries: u32,
}

/// What is said of a queue; what is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct QueueSettings {
    pub(super) weight: Option<u32>,
    pub(super) limit: Option<QueueLimit>,
    pub(super) guarantee: Option<QueueLimit>,
    pub(super) hold_back: Option<HoldBack>,
}

impl Event {
    /// The fault of this event.
    pub(super) fn fault(&self, fault: Fault) -> Fault {
        fault.at(self.index).within("events")
    }
}

impl What {
    /// Its place among the events of one instant: ends, then agents, then queues, then submissions.
    pub(super) fn class(&self) -> u8 {
        match self {
            Self::End { .. } | Self::Cancel(_) => 0,
            Self::Agent(_) => 1,
            Self::Queue { .. } => 2,
            Self::Submit(_) => 3,
        }
    }
}

impl QueueSettings {
    /// Changes what is said to be changed.
    pub(super) fn apply(self, weight: &mut u32, limit: &mut QueueLimit, guarantee: &mut QueueGuarantee) {
        *weight = self.weight.unwrap_or(*weight);
        self.limit.into_iter().for_each(|said| *limit = said);
        self.guarantee.into_iter().for_each(|said| guarantee.least = said);
        self.hold_back.into_iter().for_each(|said| guarantee.hold_back = said);
    }
}
