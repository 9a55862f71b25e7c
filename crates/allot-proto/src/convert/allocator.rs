//! `pool.proto`: what allocators say. The feed is in [`super::pool`].

use allot_model::{
    AllocatorMessage, AllocatorMode, Epoch, FromAllocator, Grant, GrantId, OfferVersion, Presence,
    ProposedPlacement, Span,
};

use super::pool::{job_tasks, read_job_tasks};
use super::read;
use crate::WireError;
use crate::v1::{self, allocator_message};

impl From<&FromAllocator> for v1::FromAllocator {
    fn from(said: &FromAllocator) -> Self {
        Self { instance: said.instance.to_string(), messages: said.messages.iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::FromAllocator> for FromAllocator {
    type Error = WireError;

    fn try_from(message: v1::FromAllocator) -> Result<Self, WireError> {
        Ok(Self {
            instance: read::id(&message.instance, "instance")?,
            messages: read::parts(message.messages, "messages")?,
        })
    }
}

impl From<&AllocatorMessage> for v1::AllocatorMessage {
    fn from(message: &AllocatorMessage) -> Self {
        use allocator_message::Message as Wire;
        let message = match message {
            AllocatorMessage::Hello(presence) => Wire::Hello(presence.into()),
            AllocatorMessage::Beat(presence) => Wire::Beat(presence.into()),
            AllocatorMessage::Goodbye => Wire::Goodbye(allocator_message::Goodbye {}),
            AllocatorMessage::Grant(grant) => Wire::Grant(grant.into()),
            AllocatorMessage::Decline { epoch, agent, version, filter, reason } => {
                Wire::Decline(allocator_message::Decline {
                    epoch: epoch.0,
                    agent: agent.to_string(),
                    version: version.0,
                    filter_us: filter.as_micros(),
                    reason: reason.clone(),
                })
            }
            AllocatorMessage::Preempt(preemption) => Wire::Preempt(preemption.into()),
            AllocatorMessage::Revive { epoch } => Wire::Revive(allocator_message::Revive { epoch: epoch.0 }),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::AllocatorMessage> for AllocatorMessage {
    type Error = WireError;

    fn try_from(message: v1::AllocatorMessage) -> Result<Self, WireError> {
        use allocator_message::Message as Wire;
        Ok(match read::required(message.message, "message")? {
            Wire::Hello(hello) => Self::Hello(read::part(Some(hello), "hello")?),
            Wire::Beat(beat) => Self::Beat(read::part(Some(beat), "beat")?),
            Wire::Goodbye(allocator_message::Goodbye {}) => Self::Goodbye,
            Wire::Grant(grant) => Self::Grant(read::part(Some(grant), "grant")?),
            Wire::Preempt(preemption) => Self::Preempt(read::part(Some(preemption), "preempt")?),
            Wire::Decline(decline) => Self::Decline {
                epoch: Epoch(decline.epoch),
                agent: read::id(&decline.agent, "decline.agent")?,
                version: OfferVersion(decline.version),
                filter: Span::from_micros(decline.filter_us),
                reason: decline.reason,
            },
            Wire::Revive(allocator_message::Revive { epoch }) => Self::Revive { epoch: Epoch(epoch) },
        })
    }
}

impl From<&Presence> for allocator_message::Presence {
    fn from(presence: &Presence) -> Self {
        Self {
            policy: presence.policy.to_string(),
            mode: match presence.mode {
                AllocatorMode::Standby => v1::AllocatorMode::Unspecified.into(),
                AllocatorMode::Shadow => v1::AllocatorMode::Shadow.into(),
            },
            described: presence.described.clone(),
        }
    }
}

impl TryFrom<allocator_message::Presence> for Presence {
    type Error = WireError;

    fn try_from(message: allocator_message::Presence) -> Result<Self, WireError> {
        // A mode that is not known yet is not one that decides as this version knows it.
        let mode = match v1::AllocatorMode::try_from(message.mode) {
            Ok(v1::AllocatorMode::Unspecified) => AllocatorMode::Standby,
            Ok(v1::AllocatorMode::Shadow) | Err(_) => AllocatorMode::Shadow,
        };
        let described = message.described.filter(|text| text.len() <= Presence::MOST_DESCRIBED);
        Ok(Self { policy: read::id(&message.policy, "policy")?, mode, described })
    }
}

impl From<&Grant> for v1::Grant {
    fn from(grant: &Grant) -> Self {
        let placements = grant.placements.iter().map(Into::into).collect();
        Self { epoch: grant.epoch.0, grant: grant.grant.0, placements }
    }
}

impl TryFrom<v1::Grant> for Grant {
    type Error = WireError;

    fn try_from(message: v1::Grant) -> Result<Self, WireError> {
        Ok(Self {
            epoch: Epoch(message.epoch),
            grant: GrantId(message.grant),
            placements: read::parts(message.placements, "placements")?,
        })
    }
}

impl From<&ProposedPlacement> for v1::ProposedPlacement {
    fn from(placement: &ProposedPlacement) -> Self {
        Self {
            agent: placement.agent.to_string(),
            version: placement.version.0,
            tasks: Some(job_tasks(placement.job, placement.tasks)),
            slice: Some((&placement.slice).into()),
            slots: read::fewer_slots(placement.slots, placement.tasks),
        }
    }
}

impl TryFrom<v1::ProposedPlacement> for ProposedPlacement {
    type Error = WireError;

    fn try_from(message: v1::ProposedPlacement) -> Result<Self, WireError> {
        let (job, tasks) = read_job_tasks(&read::required(message.tasks, "tasks")?)?;
        Ok(Self {
            agent: read::id(&message.agent, "agent")?,
            version: OfferVersion(message.version),
            job,
            tasks,
            slice: read::part(message.slice, "slice")?,
            slots: read::slots(message.slots, tasks),
        })
    }
}
