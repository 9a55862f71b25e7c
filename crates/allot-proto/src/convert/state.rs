//! `snapshot.proto`.

mod dispatcher;
mod offers;

use std::sync::Arc;

use allot_model::{Epoch, Incarnation, JobId, RegistryAgentState, SnapshotHead, StateItem, Time};

use super::queue::{queue_set, read_queue_set};
use super::read::{self, Word, words};
use crate::WireError;
use crate::v1::{self, state_item};

words!(DrainState: Under, Over);

impl From<&SnapshotHead> for v1::SnapshotHead {
    fn from(head: &SnapshotHead) -> Self {
        Self {
            writer: head.writer.number(),
            epoch: head.epoch.0,
            ledger_sequence: head.ledger_sequence,
            own_sequence: head.own_sequence,
            inbox_sequence: head.inbox_sequence,
            taken_at_us: head.taken_at.as_micros(),
            items: head.items,
            ledger_at_us: head.ledger_at.as_micros(),
        }
    }
}

impl TryFrom<v1::SnapshotHead> for SnapshotHead {
    type Error = WireError;

    fn try_from(message: v1::SnapshotHead) -> Result<Self, WireError> {
        Ok(Self {
            writer: read::word(message.writer, "writer")?,
            epoch: Epoch(message.epoch),
            ledger_sequence: message.ledger_sequence,
            own_sequence: message.own_sequence,
            inbox_sequence: message.inbox_sequence,
            taken_at: Time::from_micros(message.taken_at_us),
            items: message.items,
            ledger_at: Time::from_micros(message.ledger_at_us),
        })
    }
}

impl From<&StateItem> for v1::StateItem {
    fn from(item: &StateItem) -> Self {
        Self { item: Some(item.into()) }
    }
}

impl TryFrom<v1::StateItem> for StateItem {
    type Error = WireError;

    fn try_from(message: v1::StateItem) -> Result<Self, WireError> {
        read::required(message.item, "item")?.try_into()
    }
}

impl From<&StateItem> for state_item::Item {
    fn from(item: &StateItem) -> Self {
        match item {
            StateItem::RegistryAgent(agent) => Self::RegistryAgent(agent.into()),
            StateItem::OffersAgent(agent) => Self::OffersAgent(agent.into()),
            StateItem::OffersJob(job) => Self::OffersJob(job.into()),
            StateItem::Active { epoch, instance, policy } => Self::Active(v1::AllocatorActivated {
                epoch: epoch.0,
                instance: instance.to_string(),
                policy: policy.to_string(),
            }),
            StateItem::Chosen { policy } => Self::Chosen(v1::PolicyChosen { policy: policy.to_string() }),
            StateItem::Queue { queue, weight, limit, guarantee } => {
                Self::Queue(queue_set(queue, *weight, limit, guarantee))
            }
            StateItem::DispatcherAgent(agent) => Self::DispatcherAgent(agent.into()),
            StateItem::DispatcherJob(job) => Self::DispatcherJob((&**job).into()),
            StateItem::Rejected(rejected) => Self::Rejected(rejected.into()),
            StateItem::Ended { job, tasks } => Self::Ended(v1::EndedJob { job: job.0, tasks: *tasks }),
            StateItem::Inbox { last, allocations } => {
                Self::Inbox(v1::InboxRead { last: last.0, allocations: *allocations })
            }
            StateItem::Preempted(preemption) => Self::Preempted(preemption.into()),
            StateItem::Unwanted { agent, run } => {
                Self::Unwanted(v1::AllocationReturned { agent: agent.to_string(), run: Some(run.into()) })
            }
        }
    }
}

impl TryFrom<state_item::Item> for StateItem {
    type Error = WireError;

    fn try_from(message: state_item::Item) -> Result<Self, WireError> {
        use state_item::Item as Wire;
        Ok(match message {
            Wire::RegistryAgent(m) => Self::RegistryAgent(m.try_into()?),
            Wire::OffersAgent(m) => Self::OffersAgent(m.try_into()?),
            Wire::OffersJob(m) => Self::OffersJob(m.try_into()?),
            Wire::Active(m) => Self::Active {
                epoch: Epoch(m.epoch),
                instance: read::id(&m.instance, "instance")?,
                policy: read::id(&m.policy, "policy")?,
            },
            Wire::Chosen(m) => Self::Chosen { policy: read::id(&m.policy, "policy")? },
            Wire::Queue(m) => {
                let (queue, weight, limit, guarantee) = read_queue_set(m)?;
                Self::Queue { queue, weight, limit, guarantee }
            }
            Wire::DispatcherAgent(m) => Self::DispatcherAgent(m.try_into()?),
            Wire::DispatcherJob(m) => Self::DispatcherJob(Box::new(m.try_into()?)),
            Wire::Rejected(m) => Self::Rejected(m.try_into()?),
            Wire::Ended(m) => Self::Ended { job: JobId(m.job), tasks: m.tasks },
            Wire::Inbox(m) => Self::Inbox { last: JobId(m.last), allocations: m.allocations },
            Wire::Preempted(m) => Self::Preempted(read::part(Some(m), "preempted")?),
            Wire::Unwanted(m) => {
                Self::Unwanted { agent: read::id(&m.agent, "agent")?, run: read::part(m.run, "run")? }
            }
        })
    }
}

impl From<&RegistryAgentState> for v1::RegistryAgentState {
    fn from(agent: &RegistryAgentState) -> Self {
        Self {
            facts: Some((&*agent.facts).into()),
            joined_at_us: agent.joined_at.as_micros(),
            changed_at_us: agent.changed_at.as_micros(),
            away: agent.away,
            gone: agent.gone,
            drain: read::number_or_unspecified(agent.drain),
            kill: agent.kill,
            attempts: agent.attempts,
            past_incarnations: agent.past.iter().map(|past| past.0).collect(),
        }
    }
}

impl TryFrom<v1::RegistryAgentState> for RegistryAgentState {
    type Error = WireError;

    fn try_from(message: v1::RegistryAgentState) -> Result<Self, WireError> {
        Ok(Self {
            facts: Arc::new(read::part(message.facts, "facts")?),
            joined_at: Time::from_micros(message.joined_at_us),
            changed_at: Time::from_micros(message.changed_at_us),
            away: message.away,
            gone: message.gone,
            drain: read::optional_word(message.drain, "drain")?,
            kill: message.kill,
            attempts: message.attempts,
            past: message.past_incarnations.into_iter().map(Incarnation).collect(),
        })
    }
}
