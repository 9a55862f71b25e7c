//! Preemptions, which allocators ask for, the ledger holds and the feed tells.

use allot_model::{Epoch, GrantId, JobId, Preemption, Preemptor, Victim};

use super::read::{self, Word, words};
use crate::WireError;
use crate::v1;

words!(PreemptCause: Priority, Guarantee);

impl From<&Preemption> for v1::Preemption {
    fn from(preemption: &Preemption) -> Self {
        Self {
            epoch: preemption.epoch.0,
            grant: preemption.grant.0,
            job: preemption.job.0,
            agent: preemption.agent.to_string(),
            cause: preemption.cause.number(),
            victims: preemption.victims.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Preemption> for Preemption {
    type Error = WireError;

    fn try_from(message: v1::Preemption) -> Result<Self, WireError> {
        Ok(Self {
            epoch: Epoch(message.epoch),
            grant: GrantId(message.grant),
            job: JobId(message.job),
            agent: read::id(&message.agent, "agent")?,
            cause: read::word(message.cause, "cause")?,
            victims: read::parts(message.victims, "victims")?,
        })
    }
}

impl From<&Victim> for v1::Victim {
    fn from(victim: &Victim) -> Self {
        Self { agent: victim.agent.to_string(), run: Some((&victim.run).into()) }
    }
}

impl TryFrom<v1::Victim> for Victim {
    type Error = WireError;

    fn try_from(message: v1::Victim) -> Result<Self, WireError> {
        Ok(Self { agent: read::id(&message.agent, "agent")?, run: read::part(message.run, "run")? })
    }
}

impl From<&Preemptor> for v1::Preemptor {
    fn from(by: &Preemptor) -> Self {
        Self { job: by.job.0, queue: by.queue.to_string() }
    }
}

impl TryFrom<v1::Preemptor> for Preemptor {
    type Error = WireError;

    fn try_from(message: v1::Preemptor) -> Result<Self, WireError> {
        Ok(Self { job: JobId(message.job), queue: read::id(&message.queue, "queue")? })
    }
}
