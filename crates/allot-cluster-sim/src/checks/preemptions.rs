//! Tasks that are stopped for others: only where that is allowed, only who may be, and each is queued again.

use std::collections::BTreeMap;

use allot_model::{
    AttemptId, JobId, PreemptCause, PreemptRules, Preemption, Reason, TaskState, Time, Victim,
};

use super::Promise::{NoHarm, OneEnd, OneRun};
use super::chronicle::{Chronicle, Held};
use super::{Check, hold};
use crate::marks::{Mark, Marks};

/// Who was to be stopped for whom.
#[derive(Debug, Default)]
pub(crate) struct Preemptions {
    rules: PreemptRules,
    stopped: BTreeMap<AttemptId, (PreemptCause, JobId)>,
}

impl Preemptions {
    pub(crate) fn of(rules: PreemptRules) -> Self {
        Self { rules, stopped: BTreeMap::new() }
    }

    /// The offers service has committed one.
    pub(crate) fn committed(&mut self, at: Time, preemption: &Preemption, chronicle: &Chronicle) -> Check {
        let Preemption { cause, job, victims, .. } = preemption;
        hold(NoHarm, self.rules.preempt.is_for(*cause), || {
            format!("tasks are stopped for {cause}, and that is not allowed: {preemption:?}")
        })?;
        let tasks = preemption.tasks();
        hold(NoHarm, (1..=self.rules.rate.into()).contains(&tasks), || {
            format!("{tasks} tasks are stopped at once: {preemption:?}")
        })?;
        for Victim { agent, run } in victims {
            for attempt in run.attempts() {
                self.victim(at, (*cause, *job), attempt, chronicle)?;
                let held = chronicle.held_by(attempt);
                // The offers service need not have read yet that it has ended.
                let there = held.as_ref().is_none_or(|held| held.agent == agent);
                hold(NoHarm, there && chronicle.was_placed(attempt), || {
                    format!("{attempt} is to be stopped on {agent}, and was not placed there")
                })?;
            }
        }
        Ok(())
    }

    fn victim(
        &mut self,
        at: Time,
        (cause, by): (PreemptCause, JobId),
        attempt: AttemptId,
        chronicle: &Chronicle,
    ) -> Check {
        let spec = |job: JobId| chronicle.jobs.get(&job).map(|line| &line.spec);
        let (theirs, ours) = (spec(attempt.task.job), spec(by));
        hold(OneRun, theirs.is_some_and(|spec| spec.retries > 0), || {
            format!("{attempt} is to be stopped for job {by}, and must not run twice")
        })?;
        let is_below = theirs.zip(ours).is_some_and(|(theirs, ours)| theirs.priority < ours.priority);
        hold(NoHarm, cause != PreemptCause::Priority || is_below, || {
            format!("{attempt} is to be stopped for job {by}, which is not more important")
        })?;
        if let Some(Held { since, .. }) = chronicle.held_by(attempt) {
            hold(NoHarm, since + self.rules.min_run <= at, || {
                format!("{attempt} got its place at {since:?} and is to be stopped at {at:?}")
            })?;
        }
        let before = self.stopped.insert(attempt, (cause, by));
        hold(NoHarm, before.is_none(), || {
            format!("{attempt} is to be stopped for job {by}, and was already for {before:?}")
        })
    }

    /// The dispatcher stops an attempt.
    pub(crate) fn stopping(&self, attempt: AttemptId, reason: Reason, by: Option<JobId>) -> Check {
        let known = self.stopped.get(&attempt).map(|(cause, by)| (cause.reason(), Some(*by)));
        hold(NoHarm, !reason.is_preemption() || known == Some((reason, by)), || {
            format!("{attempt} is stopped for {by:?} ({reason:?}), and was to be for {known:?}")
        })
    }

    /// An attempt has ended; `goes_on` where its task has another, or its job was cancelled.
    pub(crate) fn ended(
        &self,
        attempt: AttemptId,
        (state, reason): (TaskState, Reason),
        goes_on: bool,
        marks: &mut Marks,
    ) -> Check {
        let known = self.stopped.get(&attempt);
        hold(
            NoHarm,
            !reason.is_preemption() || known.is_some_and(|(cause, _)| cause.reason() == reason),
            || format!("{attempt} was stopped ({reason:?}), and was to be for {known:?}"),
        )?;
        match (known, state, reason) {
            (Some(_), TaskState::Killed, Reason::PreemptedForPriority) => {
                marks.see(Mark::PreemptedForPriority)
            }
            (Some(_), TaskState::Killed, Reason::PreemptedForGuarantee) => {
                marks.see(Mark::PreemptedForGuarantee)
            }
            (Some(_), TaskState::Finished, _) => marks.see(Mark::FinishedMeanwhile),
            (Some(_), TaskState::Gone, _) => marks.see(Mark::LostMeanwhile),
            _ => {}
        }
        hold(OneEnd, !reason.is_preemption() || goes_on, || {
            format!("{attempt} was stopped for others and its task is not queued again")
        })
    }
}
