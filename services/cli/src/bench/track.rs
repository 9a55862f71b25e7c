//! What becomes of the tasks, by the records of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{
    AgentId, AttemptRun, Batch, DispatcherRecord, JobId, OffersRecord, Placement, Reason, Record, RunMap,
    TaskState, Time,
};

use super::load::Published;
use super::places::Places;
use super::stages::{Stage, Stages};

/// The jobs of a run, and how far each task has come.
#[derive(Debug)]
pub(super) struct Tracker {
    /// What all jobs of this run are called.
    name: String,
    /// How many there will be.
    expected: u32,
    published: BTreeMap<JobId, Time>,
    jobs: BTreeMap<JobId, Job>,
    /// Those that were refused, of whomever they are: a job may be heard of before it is known to be ours.
    rejected: BTreeSet<JobId>,
    /// Numbers of agents, to remember one for each task.
    agents: BTreeMap<AgentId, usize>,
    ended_jobs: usize,
    /// Of those, the ones that were refused.
    rejected_jobs: usize,
    /// Of those that have ended, the ones that nobody has asked about yet.
    just_ended: usize,
    ended_tasks: u64,
    failed: BTreeMap<(TaskState, Reason), u64>,
    last_known: Time,
}

#[derive(Debug)]
struct Job {
    submitted: Time,
    admitted: Time,
    /// When this process read that it has ended.
    known: Option<Time>,
    tasks: RunMap<Way>,
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Way {
    agent: usize,
    allocated: Option<Time>,
    started: Option<Time>,
    ended: Option<Time>,
    finished: Option<Time>,
}

impl Tracker {
    /// A run of so many jobs of this name.
    pub(super) fn new(name: String, expected: u32) -> Self {
        Self {
            name,
            expected,
            published: BTreeMap::new(),
            jobs: BTreeMap::new(),
            rejected: BTreeSet::new(),
            agents: BTreeMap::new(),
            ended_jobs: 0,
            rejected_jobs: 0,
            just_ended: 0,
            ended_tasks: 0,
            failed: BTreeMap::new(),
            last_known: Time::ZERO,
        }
    }

    /// A job is in the inbox.
    pub(super) fn on_published(&mut self, Published { job, at }: Published) {
        self.published.insert(job, at);
        if self.rejected.contains(&job) {
            self.count_rejected();
        }
    }

    /// Something was decided; this process read of it at `now`.
    pub(super) fn on_batch(&mut self, now: Time, batch: &Batch) {
        for entry in &batch.entries {
            match &entry.record {
                Record::Offers(OffersRecord::Allocated { placements, .. }) => {
                    placements.iter().for_each(|placement| self.on_placement(entry.at, placement));
                }
                Record::Dispatcher(record) => self.on_dispatched(now, entry.at, record),
                Record::Offers(_) | Record::Registry(_) | Record::Writer(_) => {}
            }
        }
    }

    fn on_placement(&mut self, at: Time, placement: &Placement) {
        let agent = self.agent(&placement.agent);
        if let Some(job) = self.jobs.get_mut(&placement.run.job) {
            job.tasks.set(placement.run.tasks, Way { agent, allocated: Some(at), ..Way::default() });
        }
    }

    fn agent(&mut self, id: &AgentId) -> usize {
        match self.agents.get(id) {
            Some(number) => *number,
            None => {
                let number = self.agents.len();
                self.agents.insert(id.clone(), number);
                number
            }
        }
    }

    fn on_dispatched(&mut self, now: Time, at: Time, record: &DispatcherRecord) {
        match record {
            DispatcherRecord::JobAdmitted { job, submitted_at, spec, .. }
                if spec.name.as_deref() == Some(&self.name) =>
            {
                let admitted =
                    Job { submitted: *submitted_at, admitted: at, known: None, tasks: RunMap::new() };
                self.jobs.insert(*job, admitted);
            }
            DispatcherRecord::JobRejected { job, .. } => {
                self.rejected.insert(*job);
                if self.published.contains_key(job) {
                    self.count_rejected();
                }
            }
            DispatcherRecord::TasksStarted { run, started_at, .. } => {
                self.advance(*run, |way| way.started = Some(*started_at));
            }
            DispatcherRecord::TasksEnded {
                run, state, reason, started_at, ended_at, retry_at: None, ..
            } => {
                let ours = self.advance(*run, |way| {
                    way.started = way.started.or(*started_at);
                    way.ended = Some(*ended_at);
                    way.finished = Some(at);
                });
                self.ended_tasks += ours;
                if *state != TaskState::Finished && ours > 0 {
                    *self.failed.entry((*state, *reason)).or_default() += ours;
                }
            }
            DispatcherRecord::JobEnded { job, .. } => self.on_job_ended(now, *job),
            _ => {}
        }
    }

    /// Changes what is known of the tasks of a run, and returns how many of them are of this run.
    fn advance(&mut self, run: AttemptRun, change: impl Fn(&mut Way)) -> u64 {
        let Some(job) = self.jobs.get_mut(&run.job) else { return 0 };
        let parts: Vec<_> = job.tasks.within(run.tasks).map(|(part, way)| (part, *way)).collect();
        for (part, mut way) in parts {
            change(&mut way);
            job.tasks.set(part, way);
        }
        run.tasks.count()
    }

    fn on_job_ended(&mut self, now: Time, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id)
            && job.known.replace(now).is_none()
        {
            self.ended_jobs += 1;
            self.just_ended += 1;
            self.last_known = now;
        }
    }

    fn count_rejected(&mut self) {
        self.rejected_jobs += 1;
        self.ended_jobs += 1;
        self.just_ended += 1;
        *self.failed.entry((TaskState::Rejected, Reason::Invalid)).or_default() += 1;
    }

    /// True once every job has ended.
    pub(super) fn is_over(&self) -> bool {
        let expected = self.expected as usize;
        self.published.len() == expected && self.ended_jobs == expected
    }

    /// True once every job has been admitted or refused.
    pub(super) fn is_admitted(&self) -> bool {
        let expected = self.expected as usize;
        self.published.len() == expected && self.jobs.len() + self.rejected_jobs == expected
    }

    /// How many jobs there will be.
    pub(super) fn expected(&self) -> u32 {
        self.expected
    }

    /// How many jobs have been admitted.
    pub(super) fn admitted(&self) -> usize {
        self.jobs.len()
    }

    /// How many jobs have ended since this was asked last.
    pub(super) fn take_ended(&mut self) -> usize {
        std::mem::take(&mut self.just_ended)
    }

    /// How many tasks have ended.
    pub(super) fn ended_tasks(&self) -> u64 {
        self.ended_tasks
    }

    /// How many jobs have ended.
    pub(super) fn ended_jobs(&self) -> usize {
        self.ended_jobs
    }

    /// How many tasks did not finish, by state and reason; jobs that were refused count as one.
    pub(super) fn failed(&self) -> &BTreeMap<(TaskState, Reason), u64> {
        &self.failed
    }

    /// The jobs that have not ended.
    pub(super) fn open(&self) -> Vec<JobId> {
        let ended = |id: &JobId| {
            self.rejected.contains(id) || self.jobs.get(id).is_some_and(|job| job.known.is_some())
        };
        let known: BTreeSet<JobId> = self.published.keys().chain(self.jobs.keys()).copied().collect();
        known.into_iter().filter(|id| !ended(id)).collect()
    }

    /// When the first job was published, and when this process read that the last one has ended.
    pub(super) fn extent(&self) -> (Time, Time) {
        (self.published.values().min().copied().unwrap_or(self.last_known), self.last_known)
    }

    /// How long each stage took, task by task; stages that are the job's alone, job by job.
    pub(super) fn stages(&self) -> Stages {
        let mut stages = Stages::default();
        let mut places = vec![Places::default(); self.agents.len()];
        for (id, job) in &self.jobs {
            let published = self.published.get(id).copied();
            let (submitted, admitted) = (Some(job.submitted), Some(job.admitted));
            stages.record(Stage::PublishedSubmitted, published, submitted, 1);
            stages.record(Stage::SubmittedAdmitted, submitted, admitted, 1);
            stages.record(Stage::PublishedKnown, published, job.known, 1);
            for (range, way) in job.tasks.iter() {
                let count = range.count();
                stages.record(Stage::AdmittedAllocated, admitted, way.allocated, count);
                stages.record(Stage::AllocatedStarted, way.allocated, way.started, count);
                stages.record(Stage::StartedEnded, way.started, way.ended, count);
                stages.record(Stage::EndedFinished, way.ended, way.finished, count);
                stages.record(Stage::PublishedStarted, published, way.started, count);
                if let (Some(place), Some(started)) = (places.get_mut(way.agent), way.started) {
                    place.started(started, job.admitted, count);
                    way.ended.iter().for_each(|ended| place.ended(*ended, count));
                }
            }
        }
        for (span, count) in places.iter().flat_map(Places::gaps) {
            stages.record_span(Stage::FreedStarted, span, count);
        }
        let allocations = self.allocations();
        for (one, next) in allocations.iter().zip(allocations.iter().skip(1)) {
            stages.record_span(Stage::AllocatedNext, next.since(*one), 1);
        }
        stages
    }

    /// When places were committed.
    fn allocations(&self) -> BTreeSet<Time> {
        let ways = self.jobs.values().flat_map(|job| job.tasks.iter());
        ways.filter_map(|(_, way)| way.allocated).collect()
    }
}

#[cfg(test)]
pub(super) mod tests;
