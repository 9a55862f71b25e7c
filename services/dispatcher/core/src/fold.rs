//! State as a fold over the ledger: the same live and on replay.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{
    AgentFacts, AgentId, AttemptRun, DispatcherRecord, Entry, JobId, JobSpec, JobState, OffersRecord,
    Placement, Reason, Record, RegistryRecord, TaskState, Time,
};

use crate::job::{Apart, Dependencies, Earlier, Ended, Job, Killing, Phase, Placed, Task};
use crate::{Agent, DispatcherCore, Pause, QueueSettings, Rejected};

impl DispatcherCore {
    pub(crate) fn fold(&mut self, entry: &Entry) {
        match &entry.record {
            Record::Writer(_) => {}
            Record::Registry(record) => self.fold_registry(entry.at, record),
            Record::Offers(OffersRecord::Allocated { placements, .. }) => {
                self.allocations += 1;
                placements.iter().for_each(|placement| self.fold_placement(entry.at, placement));
            }
            Record::Offers(OffersRecord::Preempted(preemption)) => {
                self.work.preempted.push(preemption.clone());
            }
            Record::Offers(_) => {}
            Record::Dispatcher(record) => self.fold_own(entry.at, record),
        }
    }

    fn fold_registry(&mut self, at: Time, record: &RegistryRecord) {
        match record {
            RegistryRecord::AgentJoined { facts } => self.fold_joined(facts),
            RegistryRecord::AgentUnreachable { agent } => self.review(agent, |a| {
                a.away = true;
                a.missed_at = Some(at);
            }),
            RegistryRecord::AgentReturned { agent } => self.review(agent, |a| a.away = false),
            RegistryRecord::AgentDraining { agent, kill } => self.review(agent, |a| a.kills = *kill),
            RegistryRecord::AgentUndrained { agent } => self.review(agent, |a| a.kills = false),
            RegistryRecord::AgentGone { agent } => self.review(agent, |a| {
                a.gone = true;
                a.kills = false;
            }),
            RegistryRecord::AgentDrained { .. } => {}
        }
    }

    fn fold_joined(&mut self, facts: &Arc<AgentFacts>) {
        let incarnation = facts.incarnation;
        self.agents.entry(facts.id.clone()).or_insert_with(|| Agent {
            incarnation,
            away: false,
            missed_at: None,
            unseen: Vec::new(),
            gone: false,
            kills: false,
            tasks: BTreeMap::new(),
        });
        self.review(&facts.id, |agent| {
            if agent.incarnation != incarnation {
                agent.begin_life(incarnation);
            }
            agent.away = false;
            agent.gone = false;
        });
    }

    fn review(&mut self, id: &AgentId, change: impl FnOnce(&mut Agent)) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        change(agent);
        self.work.review.insert(id.clone());
    }

    fn fold_placement(&mut self, at: Time, placement: &Placement) {
        let Placement { agent: id, run, slice, .. } = placement;
        let mut rest = vec![run.tasks];
        if let (Some(job), Some(agent)) = (self.jobs.get_mut(&run.job), self.agents.get_mut(id)) {
            let waits = |task: &Task| task.phase == Phase::Queued && task.attempt == run.attempt;
            let parts: Vec<_> = job.runs(run.tasks).into_iter().filter(|(_, task)| waits(task)).collect();
            let slice = Arc::new(slice.clone());
            let mut unwanted: allot_model::TaskSet = std::iter::once(run.tasks).collect();
            for (part, task) in parts {
                unwanted.remove(part);
                let placed = Placed {
                    agent: id.clone(),
                    incarnation: agent.incarnation,
                    slice: slice.clone(),
                    apart: Apart::of(placement),
                    allocated_at: at,
                    started_at: None,
                    killing: None,
                };
                job.set(part, Task { phase: Phase::Placed(placed), ..task });
                agent.tasks.entry(run.job).or_default().insert(part);
                self.work.launch.entry(id.clone()).or_default().push(AttemptRun { tasks: part, ..*run });
            }
            rest = unwanted.ranges().collect();
            self.pending.note(job);
        }
        let returned = rest.into_iter().map(|tasks| (id.clone(), AttemptRun { tasks, ..*run }));
        self.work.unwanted.extend(returned);
    }

    /// The same in the memory of the job before, where it is the same.
    fn shared(&mut self, spec: &Arc<JobSpec>) -> Arc<JobSpec> {
        let last = self.last_spec.take().filter(|last| last == spec);
        Arc::clone(self.last_spec.insert(last.unwrap_or_else(|| Arc::clone(spec))))
    }

    fn fold_own(&mut self, at: Time, record: &DispatcherRecord) {
        match record {
            DispatcherRecord::JobAdmitted { job, queue, message_id, submitted_at, spec, waits } => {
                let dependencies = waits.then(|| self.dependencies(*job, &spec.after));
                let mut admitted = Job::new(
                    at,
                    queue.clone(),
                    self.shared(spec),
                    message_id.clone(),
                    *submitted_at,
                    dependencies,
                );
                self.take_from_inbox(*job, message_id.as_ref());
                self.pending.note(&mut admitted);
                self.jobs.insert(*job, Box::new(admitted));
                self.work.unblocked.insert(*job);
            }
            DispatcherRecord::JobRejected { job, queue, submitted_at, rejection } => {
                let (queue, rejection) = (queue.clone(), rejection.clone());
                self.take_from_inbox(*job, None);
                let rejected = Rejected { queue, submitted_at: *submitted_at, rejected_at: at, rejection };
                self.rejected.insert(*job, rejected);
                self.forget_old(*job, 1);
            }
            DispatcherRecord::JobReady { job } => self.fold_ready(at, *job),
            DispatcherRecord::TasksQueued { run } => self.change(*run, |task| {
                matches!(task.phase, Phase::Backoff(_)).then_some(Task {
                    queued_at: at,
                    phase: Phase::Queued,
                    ..task
                })
            }),
            DispatcherRecord::TasksStarted { run, started_at, .. } => self.fold_started(*run, *started_at),
            DispatcherRecord::TasksKilling { agent, run, reason, by } => {
                let killing = Killing { reason: *reason, by: by.clone().map(Arc::new) };
                self.change_placed(*run, |placed| placed.killing = Some(killing.clone()));
                self.work.kill.entry(agent.clone()).or_default().push(*run);
            }
            DispatcherRecord::TasksEnded { .. } => self.fold_ended(record),
            DispatcherRecord::AllocationReturned { agent, run } => self.fold_returned(agent, *run),
            DispatcherRecord::JobCancelled { job } => self.fold_cancelled(at, *job),
            DispatcherRecord::JobEnded { job, state, reason } => {
                self.fold_job_ended(at, *job, *state, *reason)
            }
            DispatcherRecord::QueueSet { queue, weight, limit, guarantee } => {
                let (limit, guarantee) = (limit.clone(), guarantee.clone());
                self.queues.insert(queue.clone(), QueueSettings { weight: *weight, limit, guarantee });
            }
        }
    }

    fn take_from_inbox(&mut self, job: JobId, message_id: Option<&Arc<str>>) {
        self.inbox = self.inbox.max(job);
        if let Some(message_id) = message_id {
            self.message_ids.insert(message_id.clone(), job);
        }
    }

    fn dependencies(&mut self, job: JobId, after: &[JobId]) -> Dependencies {
        let mut dependencies = Dependencies::default();
        for other in after {
            match self.jobs.get(other).and_then(|job| job.ended) {
                Some((state, ..)) => dependencies.failed |= state != JobState::Finished,
                None if self.jobs.contains_key(other) => {
                    dependencies.open.insert(*other);
                    self.dependents.entry(*other).or_default().insert(job);
                }
                None => dependencies.failed = true,
            }
        }
        dependencies
    }

    fn fold_ready(&mut self, at: Time, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.dependencies = None;
        if let Some(all) = job.all() {
            job.set(all, Task { attempt: 1, spent: 0, queued_at: at, phase: Phase::Queued });
        }
    }

    /// Changes the tasks of the run that are at that try, as `change` says; those for which it says nothing stay.
    fn change(&mut self, run: AttemptRun, change: impl Fn(Task) -> Option<Task>) {
        let Some(job) = self.jobs.get_mut(&run.job) else { return };
        for (part, task) in job.runs(run.tasks) {
            if task.attempt == run.attempt
                && let Some(changed) = change(task)
            {
                job.set(part, changed);
            }
        }
        self.pending.note(job);
    }

    fn change_placed(&mut self, run: AttemptRun, change: impl Fn(&mut Placed)) {
        self.change(run, |mut task| {
            let Phase::Placed(placed) = &mut task.phase else { return None };
            change(placed);
            Some(task)
        });
    }

    fn fold_started(&mut self, run: AttemptRun, at: Time) {
        self.change_placed(run, |placed| placed.started_at = Some(at));
        if let Some(job) = self.jobs.get_mut(&run.job) {
            job.started_at = Some(job.started_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn fold_ended(&mut self, record: &DispatcherRecord) {
        let DispatcherRecord::TasksEnded {
            agent: id,
            run,
            state,
            reason,
            started_at,
            ended_at,
            outcome,
            retry_at,
        } = record
        else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&run.job) else { return };
        if let Some(at) = *started_at {
            job.started_at = Some(job.started_at.map_or(at, |earlier| earlier.min(at)));
        }
        for (part, task) in job.runs(run.tasks) {
            let Phase::Placed(placed) = &task.phase else { continue };
            if task.attempt != run.attempt || placed.agent != *id {
                continue;
            }
            let ended = Arc::new(Ended {
                state: *state,
                reason: *reason,
                agent: Some(id.clone()),
                slice: Some(placed.slice.clone()),
                allocated_at: Some(placed.allocated_at),
                started_at: started_at.or(placed.started_at),
                ended_at: *ended_at,
                outcome: Some(outcome.clone()),
                by: placed
                    .killing
                    .as_ref()
                    .filter(|killing| killing.reason == *reason)
                    .and_then(|k| k.by.clone()),
            });
            end_or_retry(job, part, &task, ended, *retry_at);
            if let Some(agent) = self.agents.get_mut(id) {
                agent.forget(run.job, part);
            }
        }
        self.pending.note(job);
        if let Some(at) = retry_at {
            self.backoffs.insert(Pause::as_recorded(*at, run.job));
        }
        self.work.done.insert(run.job);
    }

    /// The allocation came after the job was cancelled. On replay it may be read before the cancellation, as it
    /// stands in the ledger: then the tasks were taken for placed, and are put right here.
    fn fold_returned(&mut self, id: &AgentId, run: AttemptRun) {
        self.work.unwanted.remove(&(id.clone(), run));
        if let Some(agent) = self.agents.get_mut(id) {
            agent.forget(run.job, run.tasks);
        }
        let Some(job) = self.jobs.get_mut(&run.job) else { return };
        let Some(cancelled_at) = job.cancelled else { return };
        for (part, task) in job.runs(run.tasks) {
            if matches!(&task.phase, Phase::Placed(placed) if placed.agent == *id && task.attempt == run.attempt)
            {
                let phase = never_placed(cancelled_at, TaskState::Killed, Reason::CancelledByUser);
                job.set(part, Task { phase, ..task });
            }
        }
    }

    fn fold_cancelled(&mut self, at: Time, id: JobId) {
        self.stop_waiting(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.cancelled = Some(at);
        let Some(all) = job.all() else { return };
        for (part, mut task) in job.runs(all) {
            match &mut task.phase {
                Phase::Ended(_) => continue,
                Phase::Placed(placed) => {
                    placed.killing = Some(Killing::of(Reason::CancelledByUser));
                    let run = AttemptRun { job: id, tasks: part, attempt: task.attempt };
                    self.work.kill.entry(placed.agent.clone()).or_default().push(run);
                }
                phase => *phase = never_placed(at, TaskState::Killed, Reason::CancelledByUser),
            }
            job.set(part, task);
        }
        self.pending.note(job);
        self.work.done.insert(id);
    }

    fn fold_job_ended(&mut self, at: Time, id: JobId, state: JobState, reason: Option<Reason>) {
        self.work.done.remove(&id);
        self.work.unblocked.remove(&id);
        for dependent in self.dependents.remove(&id).unwrap_or_default() {
            if let Some(dependencies) =
                self.jobs.get_mut(&dependent).and_then(|job| job.dependencies.as_mut())
            {
                dependencies.open.remove(&id);
                dependencies.failed |= state != JobState::Finished;
            }
            self.work.unblocked.insert(dependent);
        }
        self.stop_waiting(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.ended = Some((state, reason, at));
        let Some(all) = job.all() else { return };
        for (part, task) in job.runs(all).into_iter().filter(|(_, task)| task.phase == Phase::Waiting) {
            let phase = never_placed(at, TaskState::Dropped, Reason::DependencyFailed);
            job.set(part, Task { phase, ..task });
        }
        self.pending.note(job);
        let tasks = u64::from(job.spec.tasks);
        self.forget_old(id, tasks);
    }

    /// The job waits for no other any more.
    fn stop_waiting(&mut self, id: JobId) {
        let dependencies = self.jobs.get_mut(&id).and_then(|job| job.dependencies.take());
        for other in dependencies.map(|dependencies| dependencies.open).unwrap_or_default() {
            if let Some(waiting) = self.dependents.get_mut(&other) {
                waiting.remove(&id);
                if waiting.is_empty() {
                    self.dependents.remove(&other);
                }
            }
        }
    }

    /// Notes an end and forgets the oldest ended jobs once there are too many.
    fn forget_old(&mut self, id: JobId, tasks: u64) {
        self.ended.push_back((id, tasks));
        self.ended_tasks += tasks;
        while self.ended.len() > self.options.keep_jobs
            || (self.ended_tasks > self.options.keep_tasks && self.ended.len() > 1)
        {
            let Some((oldest, tasks)) = self.ended.pop_front() else { break };
            self.ended_tasks -= tasks;
            self.rejected.remove(&oldest);
            if let Some(message_id) = self.jobs.remove(&oldest).and_then(|job| job.message_id) {
                self.message_ids.remove(&message_id);
            }
        }
    }
}

/// The try is over: the tasks end, or wait for the next one.
fn end_or_retry(
    job: &mut Job,
    part: allot_model::TaskRange,
    task: &Task,
    ended: Arc<Ended>,
    retry_at: Option<Time>,
) {
    let Some(at) = retry_at else {
        job.set(part, Task { phase: Phase::Ended(ended), ..task.clone() });
        return;
    };
    let spent = task.spent + u32::from(!is_no_try(ended.reason));
    // What never had its turn is no try that anybody would look for.
    if ended.reason != Reason::HandedBack {
        job.remember(part, &Earlier { attempt: task.attempt, queued_at: task.queued_at, ended });
    }
    let next = Task { attempt: task.attempt + 1, spent, queued_at: at, phase: Phase::Backoff(at) };
    job.set(part, next);
}

/// True where the task is not to blame for the end of its try, so that it does not count against its `retries`.
fn is_no_try(reason: Reason) -> bool {
    reason.is_preemption() || matches!(reason, Reason::AgentUnreachable | Reason::HandedBack)
}

/// The end of tasks that had no place.
fn never_placed(at: Time, state: TaskState, reason: Reason) -> Phase {
    Phase::Ended(Arc::new(Ended {
        state,
        reason,
        agent: None,
        slice: None,
        allocated_at: None,
        started_at: None,
        ended_at: at,
        outcome: None,
        by: None,
    }))
}
