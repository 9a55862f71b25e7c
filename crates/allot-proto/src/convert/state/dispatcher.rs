//! The state of the dispatcher.

use std::sync::Arc;

use allot_model::{
    DependenciesState, DispatcherAgentState, DispatcherJobState, EarlierTry, EndedState, Incarnation, JobId,
    PhaseState, PlacedState, RejectedState, TaskRange, TaskRunState, Time,
};

use crate::WireError;
use crate::convert::job::read_tasks;
use crate::convert::read::{self, Word};
use crate::v1::{self, task_run_state};

impl From<&DispatcherAgentState> for v1::DispatcherAgentState {
    fn from(agent: &DispatcherAgentState) -> Self {
        let DispatcherAgentState { agent, incarnation, away, gone, kills, missed_at, unseen } = agent;
        Self {
            agent: agent.to_string(),
            incarnation: incarnation.0,
            away: *away,
            gone: *gone,
            kills: *kills,
            missed_at_us: missed_at.map(Time::as_micros),
            unseen: unseen.iter().map(|life| life.0).collect(),
        }
    }
}

impl TryFrom<v1::DispatcherAgentState> for DispatcherAgentState {
    type Error = WireError;

    fn try_from(message: v1::DispatcherAgentState) -> Result<Self, WireError> {
        let v1::DispatcherAgentState { agent, incarnation, away, gone, kills, missed_at_us, unseen } =
            message;
        Ok(Self {
            agent: read::id(&agent, "agent")?,
            incarnation: Incarnation(incarnation),
            away,
            gone,
            kills,
            missed_at: missed_at_us.map(Time::from_micros),
            unseen: unseen.into_iter().map(Incarnation).collect(),
        })
    }
}

impl From<&DispatcherJobState> for v1::DispatcherJobState {
    fn from(job: &DispatcherJobState) -> Self {
        let (ended, ended_reason, ended_at) =
            job.ended.map_or((None, None, None), |(state, reason, at)| (Some(state), reason, Some(at)));
        Self {
            job: job.job.0,
            queue: job.queue.to_string(),
            spec: job.spec.as_deref().map(Into::into),
            message_id: job.message_id.as_deref().map(str::to_owned),
            submitted_at_us: job.submitted_at.as_micros(),
            dependencies: job.dependencies.as_ref().map(|dependencies| v1::DependenciesState {
                open: dependencies.open.iter().map(|job| job.0).collect(),
                failed: dependencies.failed,
            }),
            cancelled_at_us: job.cancelled.map(Time::as_micros),
            ended_at_us: ended_at.map(Time::as_micros),
            ended: read::number_or_unspecified(ended),
            ended_reason: read::number_or_unspecified(ended_reason),
            started_at_us: job.started_at.map(Time::as_micros),
            tasks: job.tasks.iter().map(Into::into).collect(),
            earlier: job.earlier.iter().map(earlier_tries).collect(),
        }
    }
}

impl TryFrom<v1::DispatcherJobState> for DispatcherJobState {
    type Error = WireError;

    fn try_from(message: v1::DispatcherJobState) -> Result<Self, WireError> {
        let state = read::optional_word(message.ended, "ended")?;
        let reason = read::optional_word(message.ended_reason, "ended_reason")?;
        let ended_at = message.ended_at_us.map(Time::from_micros);
        let earlier = |message: v1::EarlierTries| {
            let tasks = read_tasks(message.first_task, message.last_task)?;
            Ok((tasks, read::parts(message.tries, "tries")?))
        };
        Ok(Self {
            job: JobId(message.job),
            queue: read::id(&message.queue, "queue")?,
            spec: message.spec.map(|spec| spec.try_into().map(Arc::new)).transpose()?,
            message_id: message.message_id.map(Into::into),
            submitted_at: Time::from_micros(message.submitted_at_us),
            dependencies: message.dependencies.map(|dependencies| DependenciesState {
                open: dependencies.open.into_iter().map(JobId).collect(),
                failed: dependencies.failed,
            }),
            cancelled: message.cancelled_at_us.map(Time::from_micros),
            ended: state.zip(ended_at).map(|(state, at)| (state, reason, at)),
            started_at: message.started_at_us.map(Time::from_micros),
            tasks: read::parts(message.tasks, "tasks")?,
            earlier: message.earlier.into_iter().map(earlier).collect::<Result<_, WireError>>()?,
        })
    }
}

fn earlier_tries((tasks, tries): &(TaskRange, Vec<EarlierTry>)) -> v1::EarlierTries {
    let one = |earlier: &EarlierTry| v1::EarlierTry {
        attempt: earlier.attempt,
        queued_at_us: earlier.queued_at.as_micros(),
        ended: Some((&earlier.ended).into()),
    };
    v1::EarlierTries {
        first_task: tasks.first,
        last_task: tasks.last,
        tries: tries.iter().map(one).collect(),
    }
}

impl TryFrom<v1::EarlierTry> for EarlierTry {
    type Error = WireError;

    fn try_from(message: v1::EarlierTry) -> Result<Self, WireError> {
        Ok(Self {
            attempt: message.attempt,
            queued_at: Time::from_micros(message.queued_at_us),
            ended: read::part(message.ended, "ended")?,
        })
    }
}

impl From<&TaskRunState> for v1::TaskRunState {
    fn from(run: &TaskRunState) -> Self {
        use task_run_state::Phase;
        let phase = match &run.phase {
            PhaseState::Waiting => Phase::Waiting(task_run_state::Waiting {}),
            PhaseState::Queued => Phase::Queued(task_run_state::Queued {}),
            PhaseState::Backoff(until) => Phase::BackoffUntilUs(until.as_micros()),
            PhaseState::Placed(placed) => Phase::Placed(placed.into()),
            PhaseState::Ended(ended) => Phase::Ended(ended.into()),
        };
        Self {
            first_task: run.tasks.first,
            last_task: run.tasks.last,
            attempt: run.attempt,
            spent: run.spent,
            queued_at_us: run.queued_at.as_micros(),
            phase: Some(phase),
        }
    }
}

impl TryFrom<v1::TaskRunState> for TaskRunState {
    type Error = WireError;

    fn try_from(message: v1::TaskRunState) -> Result<Self, WireError> {
        use task_run_state::Phase;
        let phase = match read::required(message.phase, "phase")? {
            Phase::Waiting(_) => PhaseState::Waiting,
            Phase::Queued(_) => PhaseState::Queued,
            Phase::BackoffUntilUs(until) => PhaseState::Backoff(Time::from_micros(until)),
            Phase::Placed(placed) => PhaseState::Placed(placed.try_into()?),
            Phase::Ended(ended) => PhaseState::Ended(ended.try_into()?),
        };
        Ok(Self {
            tasks: read_tasks(message.first_task, message.last_task)?,
            attempt: message.attempt,
            spent: message.spent,
            queued_at: Time::from_micros(message.queued_at_us),
            phase,
        })
    }
}

impl From<&PlacedState> for v1::PlacedState {
    fn from(placed: &PlacedState) -> Self {
        Self {
            agent: placed.agent.to_string(),
            incarnation: placed.incarnation.0,
            slice: Some((&*placed.slice).into()),
            slots: placed.slots,
            apart_from: placed.apart_from,
            allocated_at_us: placed.allocated_at.as_micros(),
            started_at_us: placed.started_at.map(Time::as_micros),
            killing: read::number_or_unspecified(placed.killing),
            by: placed.by.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::PlacedState> for PlacedState {
    type Error = WireError;

    fn try_from(message: v1::PlacedState) -> Result<Self, WireError> {
        Ok(Self {
            agent: read::id(&message.agent, "agent")?,
            incarnation: Incarnation(message.incarnation),
            slice: Arc::new(read::part(message.slice, "slice")?),
            slots: message.slots,
            apart_from: message.apart_from,
            allocated_at: Time::from_micros(message.allocated_at_us),
            started_at: message.started_at_us.map(Time::from_micros),
            killing: read::optional_word(message.killing, "killing")?,
            by: message.by.map(|by| read::part(Some(by), "by")).transpose()?,
        })
    }
}

impl From<&EndedState> for v1::EndedState {
    fn from(ended: &EndedState) -> Self {
        Self {
            state: ended.state.number(),
            reason: ended.reason.number(),
            agent: ended.agent.as_ref().map(ToString::to_string),
            slice: ended.slice.as_deref().map(Into::into),
            allocated_at_us: ended.allocated_at.map(Time::as_micros),
            started_at_us: ended.started_at.map(Time::as_micros),
            ended_at_us: ended.ended_at.as_micros(),
            outcome: ended.outcome.as_ref().map(Into::into),
            by: ended.by.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::EndedState> for EndedState {
    type Error = WireError;

    fn try_from(message: v1::EndedState) -> Result<Self, WireError> {
        let slice = message.slice.map(|slice| slice.try_into().map(Arc::new)).transpose();
        let outcome = message.outcome.map(TryInto::try_into).transpose();
        Ok(Self {
            state: read::word(message.state, "state")?,
            reason: read::word(message.reason, "reason")?,
            agent: message.agent.map(|agent| read::id(&agent, "agent")).transpose()?,
            slice: slice.map_err(|error: WireError| error.within("slice"))?,
            allocated_at: message.allocated_at_us.map(Time::from_micros),
            started_at: message.started_at_us.map(Time::from_micros),
            ended_at: Time::from_micros(message.ended_at_us),
            outcome: outcome.map_err(|error: WireError| error.within("outcome"))?,
            by: message.by.map(|by| read::part(Some(by), "by")).transpose()?,
        })
    }
}

impl From<&RejectedState> for v1::RejectedState {
    fn from(rejected: &RejectedState) -> Self {
        Self {
            job: rejected.job.0,
            queue: rejected.queue.to_string(),
            submitted_at_us: rejected.submitted_at.as_micros(),
            rejected_at_us: rejected.rejected_at.as_micros(),
            rejection: Some((&rejected.rejection).into()),
        }
    }
}

impl TryFrom<v1::RejectedState> for RejectedState {
    type Error = WireError;

    fn try_from(message: v1::RejectedState) -> Result<Self, WireError> {
        Ok(Self {
            job: JobId(message.job),
            queue: message.queue.into(),
            submitted_at: Time::from_micros(message.submitted_at_us),
            rejected_at: Time::from_micros(message.rejected_at_us),
            rejection: read::part(message.rejection, "rejection")?,
        })
    }
}
