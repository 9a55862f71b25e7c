//! What the offers service writes.

use allot_model::{AttemptRun, Epoch, GrantId, OffersRecord, Placement};

use crate::WireError;
use crate::convert::read;
use crate::v1::{self, entry};

impl From<&OffersRecord> for entry::Record {
    fn from(record: &OffersRecord) -> Self {
        match record {
            OffersRecord::Allocated { epoch, grant, placements } => Self::Allocated(v1::Allocated {
                epoch: epoch.0,
                grant: grant.0,
                placements: placements.iter().map(Into::into).collect(),
            }),
            OffersRecord::Preempted(preemption) => Self::Preempted(preemption.into()),
            OffersRecord::AllocatorActivated { epoch, instance, policy } => {
                Self::AllocatorActivated(v1::AllocatorActivated {
                    epoch: epoch.0,
                    instance: instance.to_string(),
                    policy: policy.to_string(),
                })
            }
            OffersRecord::PolicyChosen { policy } => {
                Self::PolicyChosen(v1::PolicyChosen { policy: policy.to_string() })
            }
        }
    }
}

impl TryFrom<v1::Allocated> for OffersRecord {
    type Error = WireError;

    fn try_from(message: v1::Allocated) -> Result<Self, WireError> {
        Ok(Self::Allocated {
            epoch: Epoch(message.epoch),
            grant: GrantId(message.grant),
            placements: read::parts(message.placements, "placements")?,
        })
    }
}

impl TryFrom<v1::AllocatorActivated> for OffersRecord {
    type Error = WireError;

    fn try_from(message: v1::AllocatorActivated) -> Result<Self, WireError> {
        Ok(Self::AllocatorActivated {
            epoch: Epoch(message.epoch),
            instance: read::id(&message.instance, "instance")?,
            policy: read::id(&message.policy, "policy")?,
        })
    }
}

impl TryFrom<v1::PolicyChosen> for OffersRecord {
    type Error = WireError;

    fn try_from(message: v1::PolicyChosen) -> Result<Self, WireError> {
        Ok(Self::PolicyChosen { policy: read::id(&message.policy, "policy")? })
    }
}

impl From<&Placement> for v1::Placement {
    fn from(placement: &Placement) -> Self {
        Self {
            agent: placement.agent.to_string(),
            run: Some((&placement.run).into()),
            queue: placement.queue.to_string(),
            slice: Some((&placement.slice).into()),
            slots: read::fewer_slots(placement.slots, placement.run.tasks),
        }
    }
}

impl TryFrom<v1::Placement> for Placement {
    type Error = WireError;

    fn try_from(message: v1::Placement) -> Result<Self, WireError> {
        let run: AttemptRun = read::part(message.run, "run")?;
        Ok(Self {
            agent: read::id(&message.agent, "agent")?,
            run,
            queue: read::id(&message.queue, "queue")?,
            slice: read::part(message.slice, "slice")?,
            slots: read::slots(message.slots, run.tasks),
        })
    }
}
