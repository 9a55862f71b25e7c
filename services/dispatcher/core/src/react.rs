//! Doing what the folded records call for: empties the work sets into records and orders.

use std::sync::Arc;

use allot_model::{
    AgentId, AttemptRun, DispatcherRecord, JobId, JobState, OnUnreachable, Outcome, Preemptor, Reason,
    TaskRange, TaskState, Time, Victim,
};

use crate::job::{Job, Phase, Placed, Task};
use crate::{DispatcherCore, Output, Pause};

impl DispatcherCore {
    pub(crate) fn react(&mut self, now: Time, out: &mut Vec<Output>) {
        self.return_unwanted(now, out);
        self.stop_preempted(now, out);
        while let Some(agent) = self.work.review.pop_first() {
            self.review_agent(now, &agent, out);
        }
        self.settle_jobs(now, out);
        self.order_launches(now);
        self.order_kills(now);
    }

    fn return_unwanted(&mut self, now: Time, out: &mut Vec<Output>) {
        for (agent, run) in std::mem::take(&mut self.work.unwanted) {
            self.append(now, DispatcherRecord::AllocationReturned { agent, run }, out);
        }
    }

    /// Stops the tasks that are to make room for others, as far as they still hold their places and may run again.
    fn stop_preempted(&mut self, now: Time, out: &mut Vec<Output>) {
        for preemption in std::mem::take(&mut self.work.preempted) {
            let by = self.jobs.get(&preemption.job).map(|job| job.queue.clone());
            let by = by.map(|queue| Preemptor { job: preemption.job, queue });
            let reason = preemption.cause.reason();
            for Victim { agent, run } in preemption.victims {
                for tasks in self.can_be_preempted(&agent, run) {
                    let (agent, run) = (agent.clone(), AttemptRun { tasks, ..run });
                    let record = DispatcherRecord::TasksKilling { agent, run, reason, by: by.clone() };
                    self.append(now, record, out);
                }
            }
        }
    }

    /// Forgets preemptions of which every victim is being stopped or has ended.
    pub(crate) fn forget_stopped(&mut self) {
        let mut preempted = std::mem::take(&mut self.work.preempted);
        let can_be = |Victim { agent, run }: &Victim| !self.can_be_preempted(agent, *run).is_empty();
        preempted.retain(|preemption| preemption.victims.iter().any(can_be));
        self.work.preempted = preempted;
    }

    /// The parts of a run that hold a place on an agent, are not being stopped, and may run again.
    fn can_be_preempted(&self, agent: &AgentId, run: AttemptRun) -> Vec<TaskRange> {
        let Some(job) = self.jobs.get(&run.job).filter(|job| job.spec.may_run_again()) else {
            return Vec::new();
        };
        let is_there = |task: &Task| {
            task.attempt == run.attempt
                && matches!(&task.phase, Phase::Placed(placed) if placed.agent == *agent && placed.killing.is_none())
        };
        job.tasks.within(run.tasks).filter(|(_, task)| is_there(task)).map(|(part, _)| part).collect()
    }

    /// Ends jobs whose tasks have all ended, which may set others going, which may end at once.
    fn settle_jobs(&mut self, now: Time, out: &mut Vec<Output>) {
        loop {
            if let Some(id) = self.work.done.pop_first() {
                if let Some(job) = self.jobs.get(&id).filter(|job| job.is_done()) {
                    let (state, reason) = job.outcome();
                    self.append(now, DispatcherRecord::JobEnded { job: id, state, reason }, out);
                }
            } else if let Some(id) = self.work.unblocked.pop_first() {
                self.unblock(now, id, out);
            } else {
                return;
            }
        }
    }

    fn unblock(&mut self, now: Time, id: JobId, out: &mut Vec<Output>) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.ended.is_none()) else { return };
        match &job.dependencies {
            Some(dependencies) if dependencies.failed => {
                let (state, reason) = (JobState::Dropped, Some(Reason::DependencyFailed));
                self.append(now, DispatcherRecord::JobEnded { job: id, state, reason }, out);
            }
            Some(dependencies) if dependencies.open.is_empty() => {
                self.append(now, DispatcherRecord::JobReady { job: id }, out);
            }
            _ => {}
        }
    }

    /// Ends what an agent can no longer be running, stops what is to leave it, and tells it what it should have.
    fn review_agent(&mut self, now: Time, id: &AgentId, out: &mut Vec<Output>) {
        for (job, part, task, placed) in self.placed_on(id) {
            let run = AttemptRun { job, tasks: part, attempt: task.attempt };
            match self.verdict(id, job, &placed) {
                Verdict::Keep => {}
                Verdict::Kill => {
                    let (agent, reason) = (id.clone(), Reason::AgentDrained);
                    self.append(now, DispatcherRecord::TasksKilling { agent, run, reason, by: None }, out);
                }
                Verdict::End(reason) => self.end_lost(now, id, run, &task, &placed, reason, out),
            }
        }
        self.order_reconcile(now, id);
    }

    fn verdict(&self, id: &AgentId, job: JobId, placed: &Placed) -> Verdict {
        let (Some(agent), Some(job)) = (self.agents.get(id), self.jobs.get(&job)) else {
            return Verdict::Keep;
        };
        match () {
            () if agent.gone => Verdict::End(Reason::AgentGoneByOperator),
            () if agent.unseen.contains(&placed.incarnation) => Verdict::End(Reason::AgentUnreachable),
            () if agent.incarnation != placed.incarnation => Verdict::End(Reason::AgentRestarted),
            () if agent.away && job.spec.on_unreachable == OnUnreachable::Retry => {
                Verdict::End(Reason::AgentUnreachable)
            }
            () if agent.kills && placed.killing.is_none() => Verdict::Kill,
            () => Verdict::Keep,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn end_lost(
        &mut self,
        now: Time,
        id: &AgentId,
        run: AttemptRun,
        task: &Task,
        placed: &Placed,
        reason: Reason,
        out: &mut Vec<Output>,
    ) {
        let is_over = reason == Reason::AgentRestarted;
        let (state, reason) = match placed.killed_for() {
            Some(Reason::CancelledByUser) => (TaskState::Killed, Reason::CancelledByUser),
            // What was to be stopped has been stopped, by whatever it was.
            Some(why) if why.is_preemption() && is_over => (TaskState::Killed, why),
            _ => (TaskState::Gone, reason),
        };
        let known = self.jobs.get(&run.job);
        let retry_at = known.and_then(|job| retry_at(now, job, task, state, reason));
        let waits = known.is_some_and(|job| job.spec.on_unreachable == OnUnreachable::Wait);
        let message = (reason == Reason::AgentUnreachable && waits).then(|| {
            format!(
                "another agent joined as {id} while this one was silent: whether the task has ended is not known, and its job \
                 says `on_unreachable: wait`"
            )
        });
        let record = DispatcherRecord::TasksEnded {
            agent: id.clone(),
            run,
            state,
            reason,
            started_at: placed.started_at,
            ended_at: now,
            outcome: Outcome { message: message.map(Arc::from), ..Outcome::default() },
            retry_at,
        };
        self.append(now, record, out);
        self.queue_again(now, out);
    }

    /// All runs that hold an allocation on the agent.
    pub(crate) fn placed_on(&self, id: &AgentId) -> Vec<(JobId, TaskRange, Task, Placed)> {
        let Some(agent) = self.agents.get(id) else { return Vec::new() };
        let mut found = Vec::new();
        for (job_id, tasks) in &agent.tasks {
            let Some(job) = self.jobs.get(job_id) else { continue };
            for (part, task) in tasks.ranges().flat_map(|range| job.runs(range)) {
                if let Phase::Placed(placed) = &task.phase
                    && placed.agent == *id
                {
                    let placed = placed.clone();
                    found.push((*job_id, part, task, placed));
                }
            }
        }
        found
    }

    /// The clock by which an instance before this one said when pauses are over may have been far ahead: by the present one no
    /// pause is longer than its job has it.
    pub(crate) fn shorten_pauses(&mut self, now: Time) {
        let shortened = |pause: Pause| {
            let job = self.jobs.get(&pause.job)?;
            let waits = job.tasks.iter().filter(|(_, task)| task.phase == Phase::Backoff(pause.until));
            let longest = waits.map(|(_, task)| job.spec.backoff_after(task.spent)).max()?;
            Some(Pause { over_at: pause.over_at.min(now + longest), ..pause })
        };
        self.backoffs = std::mem::take(&mut self.backoffs).into_iter().filter_map(shortened).collect();
    }

    /// Queues the tasks whose pause is over.
    pub(crate) fn queue_again(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(Pause { over_at, job: id, until: recorded }) = self.backoffs.first().copied()
            && over_at <= now
        {
            self.backoffs.pop_first();
            let Some(job) = self.jobs.get(&id) else { continue };
            let due = |task: &Task| matches!(task.phase, Phase::Backoff(until) if until <= now || until == recorded);
            let parts = job.tasks.iter().filter(|(_, task)| due(task));
            let runs: Vec<_> =
                parts.map(|(tasks, task)| AttemptRun { job: id, tasks, attempt: task.attempt }).collect();
            for run in runs {
                self.append(now, DispatcherRecord::TasksQueued { run }, out);
            }
        }
    }
}

/// What is to become of tasks on an agent.
enum Verdict {
    Keep,
    Kill,
    End(Reason),
}

/// When tasks whose try ended like this are to be queued again; nothing where it was the last try.
pub(crate) fn retry_at(now: Time, job: &Job, task: &Task, state: TaskState, reason: Reason) -> Option<Time> {
    let may_run_unseen = job.spec.on_unreachable == OnUnreachable::Retry;
    let left = task.spent < job.spec.retries;
    match (state, reason) {
        _ if job.cancelled.is_some() => None,
        (TaskState::Gone, Reason::AgentUnreachable) => may_run_unseen.then_some(now),
        (TaskState::Gone, Reason::HandedBack) => Some(now),
        (TaskState::Killed, Reason::AgentDrained) if left => Some(now),
        (TaskState::Killed, reason) if reason.is_preemption() => Some(now),
        (TaskState::Failed | TaskState::Gone, _) if left => {
            Some(now + job.spec.backoff_after(task.spent + 1))
        }
        _ => None,
    }
}
