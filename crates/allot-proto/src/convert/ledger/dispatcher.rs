//! What the dispatcher writes.

use std::sync::Arc;

use allot_model::{DispatcherRecord, JobId, Time};

use crate::WireError;
use crate::convert::queue::{queue_set, read_queue_set};
use crate::convert::read::{self, Word};
use crate::v1::{self, entry};

impl From<&DispatcherRecord> for entry::Record {
    fn from(record: &DispatcherRecord) -> Self {
        use DispatcherRecord as R;
        match record {
            R::JobAdmitted { job, queue, message_id, submitted_at, spec, waits } => {
                Self::JobAdmitted(v1::JobAdmitted {
                    job: job.0,
                    queue: queue.to_string(),
                    message_id: message_id.as_deref().map(str::to_owned),
                    submitted_at_us: submitted_at.as_micros(),
                    spec: Some((&**spec).into()),
                    waits: *waits,
                })
            }
            R::JobRejected { job, queue, submitted_at, rejection } => Self::JobRejected(v1::JobRejected {
                job: job.0,
                queue: queue.to_string(),
                submitted_at_us: submitted_at.as_micros(),
                rejection: Some(rejection.into()),
            }),
            R::JobReady { job } => Self::JobReady(v1::JobNamed { job: job.0 }),
            R::TasksQueued { run } => Self::TasksQueued(run.into()),
            R::TasksStarted { agent, run, started_at } => Self::TasksStarted(v1::TasksStarted {
                agent: agent.to_string(),
                run: Some(run.into()),
                started_at_us: started_at.as_micros(),
            }),
            R::TasksKilling { agent, run, reason, by } => Self::TasksKilling(v1::TasksKilling {
                agent: agent.to_string(),
                run: Some(run.into()),
                reason: reason.number(),
                by: by.as_ref().map(Into::into),
            }),
            R::TasksEnded { agent, run, state, reason, started_at, ended_at, outcome, retry_at } => {
                Self::TasksEnded(v1::TasksEnded {
                    agent: agent.to_string(),
                    run: Some(run.into()),
                    state: state.number(),
                    reason: reason.number(),
                    started_at_us: started_at.map(Time::as_micros),
                    ended_at_us: ended_at.as_micros(),
                    outcome: Some(outcome.into()),
                    retry_at_us: retry_at.map(Time::as_micros),
                })
            }
            R::AllocationReturned { agent, run } => Self::AllocationReturned(v1::AllocationReturned {
                agent: agent.to_string(),
                run: Some(run.into()),
            }),
            R::JobCancelled { job } => Self::JobCancelled(v1::JobNamed { job: job.0 }),
            R::JobEnded { job, state, reason } => Self::JobEnded(v1::JobEnded {
                job: job.0,
                state: state.number(),
                reason: read::number_or_unspecified(*reason),
            }),
            R::QueueSet { queue, weight, limit, guarantee } => {
                Self::QueueSet(queue_set(queue, *weight, limit, guarantee))
            }
        }
    }
}

impl TryFrom<v1::JobAdmitted> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::JobAdmitted) -> Result<Self, WireError> {
        Ok(Self::JobAdmitted {
            job: JobId(message.job),
            queue: read::id(&message.queue, "queue")?,
            message_id: message.message_id.map(Into::into),
            submitted_at: Time::from_micros(message.submitted_at_us),
            spec: Arc::new(read::part(message.spec, "spec")?),
            waits: message.waits,
        })
    }
}

impl TryFrom<v1::JobRejected> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::JobRejected) -> Result<Self, WireError> {
        Ok(Self::JobRejected {
            job: JobId(message.job),
            queue: message.queue.into(),
            submitted_at: Time::from_micros(message.submitted_at_us),
            rejection: read::part(message.rejection, "rejection")?,
        })
    }
}

impl TryFrom<v1::TasksStarted> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::TasksStarted) -> Result<Self, WireError> {
        Ok(Self::TasksStarted {
            agent: read::id(&message.agent, "agent")?,
            run: read::part(message.run, "run")?,
            started_at: Time::from_micros(message.started_at_us),
        })
    }
}

impl TryFrom<v1::TasksKilling> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::TasksKilling) -> Result<Self, WireError> {
        Ok(Self::TasksKilling {
            agent: read::id(&message.agent, "agent")?,
            run: read::part(message.run, "run")?,
            reason: read::word(message.reason, "reason")?,
            by: message.by.map(|by| read::part(Some(by), "by")).transpose()?,
        })
    }
}

impl TryFrom<v1::TasksEnded> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::TasksEnded) -> Result<Self, WireError> {
        Ok(Self::TasksEnded {
            agent: read::id(&message.agent, "agent")?,
            run: read::part(message.run, "run")?,
            state: read::word(message.state, "state")?,
            reason: read::word(message.reason, "reason")?,
            started_at: message.started_at_us.map(Time::from_micros),
            ended_at: Time::from_micros(message.ended_at_us),
            outcome: read::part(message.outcome, "outcome")?,
            retry_at: message.retry_at_us.map(Time::from_micros),
        })
    }
}

impl TryFrom<v1::AllocationReturned> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::AllocationReturned) -> Result<Self, WireError> {
        Ok(Self::AllocationReturned {
            agent: read::id(&message.agent, "agent")?,
            run: read::part(message.run, "run")?,
        })
    }
}

impl TryFrom<v1::JobEnded> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::JobEnded) -> Result<Self, WireError> {
        Ok(Self::JobEnded {
            job: JobId(message.job),
            state: read::word(message.state, "state")?,
            reason: read::optional_word(message.reason, "reason")?,
        })
    }
}

impl TryFrom<v1::QueueSet> for DispatcherRecord {
    type Error = WireError;

    fn try_from(message: v1::QueueSet) -> Result<Self, WireError> {
        let (queue, weight, limit, guarantee) = read_queue_set(message)?;
        Ok(Self::QueueSet { queue, weight, limit, guarantee })
    }
}
