//! What really ran: each process that was started on some machine.

use std::collections::BTreeMap;

use allot_model::{AgentId, AttemptId, Reason, Span, TaskId, TaskState, Time};

use super::Promise::{OneRun, TasksDoNotNotice};
use super::chronicle::Chronicle;
use super::{Check, hold};
use crate::marks::{Mark, Marks};

/// All processes that were ever started.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    by_task: BTreeMap<TaskId, Vec<Ran>>,
}

/// A process.
#[derive(Debug, Clone)]
struct Ran {
    attempt: AttemptId,
    agent: AgentId,
    alive: bool,
    /// How it ended by itself, where its agent heard of that.
    came_to: Option<TaskState>,
}

impl Processes {
    /// A process is about to be started.
    pub(crate) fn spawned(
        &mut self,
        agent: &AgentId,
        attempt: AttemptId,
        chronicle: &Chronicle,
        marks: &mut Marks,
    ) -> Check {
        let others = self.by_task.entry(attempt.task).or_default();
        let twice = others.iter().find(|ran| ran.attempt == attempt);
        hold(OneRun, twice.is_none(), || {
            format!("{attempt} was started twice: on {agent} and as {twice:?}")
        })?;
        hold(OneRun, chronicle.was_placed(attempt), || format!("{attempt} was started and never placed"))?;
        let lost = |ran: AttemptId| chronicle.ended.get(&ran).is_some_and(|end| end.may_go_on);
        for other in others.iter().filter(|ran| ran.alive) {
            marks.see(Mark::TwoTriesAtOnce);
            hold(OneRun, lost(other.attempt) || lost(attempt), || {
                format!("{attempt} was started on {agent} while {} ran on {}", other.attempt, other.agent)
            })?;
        }
        if let Some(end) = chronicle.ended.get(&attempt) {
            hold(OneRun, end.lost, || format!("{attempt} was started after it had ended: {end:?}"))?;
        }
        others.push(Ran { attempt, agent: agent.clone(), alive: true, came_to: None });
        Ok(())
    }

    /// True where this attempt was started before.
    pub(crate) fn knows(&self, attempt: AttemptId) -> bool {
        self.by_task.get(&attempt.task).is_some_and(|all| all.iter().any(|ran| ran.attempt == attempt))
    }

    /// A process is not there any more.
    pub(crate) fn over(&mut self, attempt: AttemptId, came_to: Option<TaskState>) {
        let all = self.by_task.get_mut(&attempt.task).into_iter().flatten();
        for ran in all.filter(|ran| ran.attempt == attempt) {
            ran.alive = false;
            ran.came_to = came_to;
        }
    }

    /// A process is told to end.
    pub(crate) fn signalled(
        &self,
        attempt: AttemptId,
        ran_for: Span,
        agent_stops: bool,
        chronicle: &Chronicle,
    ) -> Check {
        let limit = chronicle.jobs.get(&attempt.task.job).and_then(|job| job.spec.time_limit);
        // The agent's clock may be a little faster than ours.
        let too_long = limit.is_some_and(|limit| ran_for + Span::from_millis(200) >= limit);
        hold(TasksDoNotNotice, agent_stops || too_long || chronicle.is_unwanted(attempt), || {
            format!("{attempt} is wanted and was told to end after {ran_for}")
        })
    }

    /// Everything that ran is known to have ended, as it ended.
    pub(crate) fn at_rest(&self, chronicle: &Chronicle, now: Time) -> Check {
        for ran in self.by_task.values().flatten() {
            let Ran { attempt, agent, alive, came_to } = ran;
            hold(TasksDoNotNotice, !alive, || format!("{attempt} still runs on {agent} at {now:?}"))?;
            let told = chronicle.ended.get(attempt);
            hold(TasksDoNotNotice, told.is_some(), || {
                format!("{attempt} ran on {agent} and was never said to end")
            })?;
            let (Some(came_to), Some(end)) = (came_to, told) else { continue };
            let stopped = matches!(
                end.reason,
                Reason::AgentRestarted | Reason::CancelledByUser | Reason::AgentDrained | Reason::TimeLimit
            ) || end.reason.is_preemption();
            hold(TasksDoNotNotice, stopped || end.lost || end.state == *came_to, || {
                format!("{attempt} came to {came_to:?} on {agent}, and is told otherwise: {end:?}")
            })?;
        }
        Ok(())
    }
}
