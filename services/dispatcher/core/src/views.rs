//! Answers to questions of people.

use allot_model::{
    Answer, AttemptView, JobId, JobQuery, JobState, JobSummary, JobView, Reason, TaskCounts, TaskRange,
    TaskRunView, TaskSet, TaskState,
};

use crate::job::{Earlier, Ended, Job, Phase, Task};
use crate::{Agent, DispatcherCore, Rejected};

impl DispatcherCore {
    /// A job in a line, with the tasks of agents that are `away` counted as unreachable.
    pub(crate) fn summary(&self, id: JobId, away: &[&Agent]) -> Option<JobSummary> {
        if let Some(rejected) = self.rejected.get(&id) {
            return Some(rejected_summary(id, rejected));
        }
        let job = self.jobs.get(&id)?;
        let (reason, ended_at) = match job.ended {
            Some((_, reason, at)) => (reason, Some(at)),
            None => (None, None),
        };
        Some(JobSummary {
            job: id,
            name: job.spec.name.clone(),
            queue: job.queue.to_string(),
            state: job.state(),
            reason,
            tasks: job.spec.tasks,
            counts: counts(id, job, away),
            submitted_at: job.submitted_at,
            started_at: job.started_at,
            ended_at,
        })
    }

    pub(crate) fn show_job(&self, id: JobId, query: &JobQuery) -> Answer<JobView> {
        let away: Vec<&Agent> = self.agents.values().filter(|agent| agent.away).collect();
        let Some(summary) = self.summary(id, &away) else { return self.no_such_job(id) };
        let rejection = self.rejected.get(&id).map(|rejected| rejected.rejection.clone());
        let Some(job) = self.jobs.get(&id) else {
            return Answer::Ok(JobView {
                summary,
                spec: None,
                rejection,
                runs: Vec::new(),
                more_runs: false,
            });
        };
        let wanted: Vec<TaskRange> = match &query.tasks {
            Some(tasks) => tasks.ranges().collect(),
            None => job.all().into_iter().collect(),
        };
        let limit = query.limit.clamp(1, 100_000) as usize;
        let mut runs = wanted
            .into_iter()
            .flat_map(|range| job.tasks.within(range))
            .flat_map(|(range, task)| by_history(job, range).into_iter().map(move |part| (part, task)));
        let page = runs.by_ref().take(limit).map(|(range, task)| self.run_view(job, range, task)).collect();
        let more_runs = runs.next().is_some();
        Answer::Ok(JobView { summary, spec: Some(job.spec.to_json()), rejection, runs: page, more_runs })
    }

    fn run_view(&self, job: &Job, range: TaskRange, task: &Task) -> TaskRunView {
        let earlier = job.earlier.get(&range.first).map(|tries| tries.iter().map(earlier_view).collect());
        TaskRunView {
            tasks: std::iter::once(range).collect::<TaskSet>(),
            attempt: self.attempt_view(job, task),
            earlier: earlier.unwrap_or_default(),
        }
    }

    fn attempt_view(&self, job: &Job, task: &Task) -> AttemptView {
        let blank = AttemptView {
            attempt: task.attempt,
            state: TaskState::Queued,
            reason: if task.attempt > 1 { Reason::Retried } else { Reason::Admitted },
            agent: None,
            queued_at: task.queued_at,
            allocated_at: None,
            started_at: None,
            ended_at: None,
            retry_at: None,
            slice: None,
            outcome: None,
            by: None,
        };
        match &task.phase {
            Phase::Waiting => {
                AttemptView { reason: Reason::WaitsForDependency, queued_at: job.submitted_at, ..blank }
            }
            Phase::Queued => blank,
            Phase::Backoff(until) => {
                AttemptView { reason: Reason::WaitsForBackoff, retry_at: Some(*until), ..blank }
            }
            Phase::Placed(placed) => {
                let agent = self.agents.get(&placed.agent);
                let away = agent.is_some_and(|agent| agent.away);
                let missed_at = agent.and_then(|agent| agent.missed_at);
                let (state, reason) = match (placed.killed_for(), placed.started_at) {
                    _ if away && placed.started_at.is_some() => {
                        (TaskState::Unreachable, Reason::AgentUnreachable)
                    }
                    _ if away => (TaskState::Allocated, Reason::AgentUnreachable),
                    (Some(reason), _) => (TaskState::Killing, reason),
                    (None, Some(_)) if missed_at.is_some_and(|at| placed.allocated_at <= at) => {
                        (TaskState::Running, Reason::AgentReturned)
                    }
                    (None, Some(_)) => (TaskState::Running, Reason::Launched),
                    (None, None) => (TaskState::Starting, Reason::Granted),
                };
                AttemptView {
                    state,
                    reason,
                    agent: Some(placed.agent.clone()),
                    allocated_at: Some(placed.allocated_at),
                    started_at: placed.started_at,
                    slice: Some(placed.slice.to_json()),
                    by: placed.killing.as_ref().and_then(|killing| killing.by.as_deref().cloned()),
                    ..blank
                }
            }
            Phase::Ended(ended) => ended_view(task.attempt, task.queued_at, ended),
        }
    }
}

/// The job's counts, with the tasks of agents that are `away` counted as unreachable.
fn counts(id: JobId, job: &Job, away: &[&Agent]) -> TaskCounts {
    let mut counts = job.counts();
    if !job.has_placed() {
        return counts;
    }
    for tasks in away.iter().filter_map(|agent| agent.tasks.get(&id)) {
        for (range, task) in tasks.ranges().flat_map(|range| job.tasks.within(range)) {
            let Phase::Placed(placed) = &task.phase else { continue };
            let from = match (placed.killed_for(), placed.started_at) {
                (Some(_), _) => &mut counts.killing,
                (None, Some(_)) => &mut counts.running,
                (None, None) => &mut counts.starting,
            };
            *from -= range.count();
            counts.unreachable += range.count();
        }
    }
    counts
}

fn earlier_view(earlier: &Earlier) -> AttemptView {
    ended_view(earlier.attempt, earlier.queued_at, &earlier.ended)
}

fn ended_view(attempt: u32, queued_at: allot_model::Time, ended: &Ended) -> AttemptView {
    AttemptView {
        attempt,
        state: ended.state,
        reason: ended.reason,
        agent: ended.agent.clone(),
        queued_at,
        allocated_at: ended.allocated_at,
        started_at: ended.started_at,
        ended_at: Some(ended.ended_at),
        retry_at: None,
        slice: ended.slice.as_ref().map(|slice| slice.to_json()),
        outcome: ended.outcome.clone(),
        by: ended.by.as_deref().cloned(),
    }
}

/// Cuts a run so that tasks with earlier tries stand alone.
fn by_history(job: &Job, range: TaskRange) -> Vec<TaskRange> {
    let mut parts = Vec::new();
    let mut next = Some(range.first);
    for index in job.earlier.range(range.first..=range.last).map(|(index, _)| *index) {
        let before = next.zip(index.checked_sub(1)).and_then(|(first, last)| TaskRange::new(first, last));
        parts.extend(before);
        parts.push(TaskRange::one(index));
        next = index.checked_add(1);
    }
    parts.extend(next.and_then(|first| TaskRange::new(first, range.last)));
    parts
}

fn rejected_summary(id: JobId, rejected: &Rejected) -> JobSummary {
    JobSummary {
        job: id,
        name: None,
        queue: rejected.queue.to_string(),
        state: JobState::Rejected,
        reason: Some(Reason::Invalid),
        tasks: 0,
        counts: TaskCounts::default(),
        submitted_at: rejected.submitted_at,
        started_at: None,
        ended_at: Some(rejected.rejected_at),
    }
}
