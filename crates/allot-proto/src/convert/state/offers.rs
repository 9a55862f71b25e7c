//! The state of the offers service.

use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, HeldRun, JobId, OffersAgentState, OffersJobState, Time, TurnsLeft};

use crate::WireError;
use crate::convert::read;
use crate::v1;

impl From<&OffersAgentState> for v1::OffersAgentState {
    fn from(agent: &OffersAgentState) -> Self {
        Self {
            facts: Some((&*agent.facts).into()),
            away: agent.away,
            drain: read::number_or_unspecified(agent.drain),
            held: agent.held.iter().map(Into::into).collect(),
            turns: agent.turns.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::OffersAgentState> for OffersAgentState {
    type Error = WireError;

    fn try_from(message: v1::OffersAgentState) -> Result<Self, WireError> {
        Ok(Self {
            facts: Arc::new(read::part(message.facts, "facts")?),
            away: message.away,
            drain: read::optional_word(message.drain, "drain")?,
            held: read::parts(message.held, "held")?,
            turns: read::parts(message.turns, "turns")?,
        })
    }
}

fn task_attempt(attempt: AttemptId) -> v1::TaskAttempt {
    v1::TaskAttempt { task: attempt.task.index, attempt: attempt.attempt }
}

fn read_attempt(job: JobId, message: v1::TaskAttempt) -> AttemptId {
    AttemptId::new(job, message.task, message.attempt)
}

impl From<&HeldRun> for v1::HeldRun {
    fn from(held: &HeldRun) -> Self {
        Self {
            run: Some((&held.run).into()),
            queue: held.queue.to_string(),
            slice: Some((&*held.slice).into()),
            turns: held.turns.map(task_attempt),
            at_us: held.at.as_micros(),
        }
    }
}

impl TryFrom<v1::HeldRun> for HeldRun {
    type Error = WireError;

    fn try_from(message: v1::HeldRun) -> Result<Self, WireError> {
        let run: AttemptRun = read::part(message.run, "run")?;
        Ok(Self {
            run,
            queue: read::id(&message.queue, "queue")?,
            slice: Arc::new(read::part(message.slice, "slice")?),
            turns: message.turns.map(|first| read_attempt(run.job, first)),
            at: Time::from_micros(message.at_us),
        })
    }
}

impl From<&TurnsLeft> for v1::TurnsLeft {
    fn from(turns: &TurnsLeft) -> Self {
        let TurnsLeft { first, left, slots } = *turns;
        Self { job: first.task.job.0, first: Some(task_attempt(first)), left, slots }
    }
}

impl TryFrom<v1::TurnsLeft> for TurnsLeft {
    type Error = WireError;

    fn try_from(message: v1::TurnsLeft) -> Result<Self, WireError> {
        let first = read_attempt(JobId(message.job), read::required(message.first, "first")?);
        Ok(Self { first, left: message.left, slots: message.slots })
    }
}

impl From<&OffersJobState> for v1::OffersJobState {
    fn from(state: &OffersJobState) -> Self {
        let job = state.job.job;
        let run = |(tasks, attempt): &(_, u32)| AttemptRun { job, tasks: *tasks, attempt: *attempt };
        Self {
            job: Some((&*state.job).into()),
            pending: state.pending.iter().map(|part| (&run(part)).into()).collect(),
        }
    }
}

impl TryFrom<v1::OffersJobState> for OffersJobState {
    type Error = WireError;

    fn try_from(message: v1::OffersJobState) -> Result<Self, WireError> {
        let pending: Vec<AttemptRun> = read::parts(message.pending, "pending")?;
        Ok(Self {
            job: Arc::new(read::part(message.job, "job")?),
            pending: pending.into_iter().map(|run| (run.tasks, run.attempt)).collect(),
        })
    }
}
