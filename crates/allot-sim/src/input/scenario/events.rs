//! The events of a scenario as they are written.

use allot_model::agent::Attributes;
use allot_model::document::Fault;
use allot_model::{
    AgentId, Constraint, HoldBack, Limited, QueueLimit, QueueName, Request, Resources, Span, Time,
};

use crate::workload::Queue;

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
    ///
    /// # Errors
    /// [`Fault`] where more would be guaranteed to the queue than it may have.
    pub(super) fn apply(&self, queue: &mut Queue) -> Result<(), Fault> {
        let Queue { weight, limit, guarantee, .. } = queue;
        *weight = self.weight.unwrap_or(*weight);
        self.limit.iter().for_each(|said| limit.clone_from(said));
        self.guarantee.iter().for_each(|said| guarantee.least = said.clone());
        self.hold_back.iter().for_each(|said| guarantee.hold_back = *said);
        let beyond = |(what, least): (Limited, u64)| {
            limit.most(&what).filter(|most| *most < least).map(|most| (what, least, most))
        };
        let Some((what, least, most)) = guarantee.least.iter().find_map(beyond) else { return Ok(()) };
        let (given, most) = (what.text(least), what.text(most));
        let place = if self.guarantee.is_some() { "guarantee" } else { "limit" };
        Err(Fault::new(format!(
            "{given} {what} are guaranteed, more than the queue's limit of {most}: lower the guarantee or raise the limit"
        ))
        .within(place))
    }
}
