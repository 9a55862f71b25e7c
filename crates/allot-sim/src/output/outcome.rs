//! What happened in a simulation, as it was counted: everything else is worked out from this and the workload.

use std::collections::BTreeMap;

use allot_engine::Policy;
use allot_model::{Resources, Span, TaskRange, Time};

use crate::workload::{Job, Workload};

/// What happened to a workload under a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The policy.
    pub policy: Policy,
    /// All that was placed, in the order of the grants.
    pub stays: Vec<Stay>,
    /// Tasks that ended before the others of their stay did.
    pub early: Vec<EarlyEnd>,
    /// Tasks that lost their agent, or were stopped for others, and waited again.
    pub requeued: Vec<Requeued>,
    /// Tasks that were stopped for others.
    pub preempted: Vec<Preempted>,
    /// What each task of a stay holds that still runs, where that names items or ranges.
    pub named: BTreeMap<u32, Resources>,
    /// What became of each job, in the order of the workload.
    pub jobs: Vec<Fate>,
    /// When the simulation ended.
    pub ended_at: Time,
}

/// Tasks of a job that were placed on an agent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// The number of the job in the workload.
    pub job: u32,
    /// The number of the agent in the workload.
    pub agent: u32,
    /// Which tasks.
    pub tasks: TaskRange,
    /// When they started.
    pub start: Time,
    /// How many of them, from the first on, have ended.
    ended: u32,
    /// When the last of them ended; [`Time::MAX`] where it runs.
    end: Time,
}

/// Tasks that ended before the others of their stay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyEnd {
    /// The place of the stay in [`Outcome::stays`].
    pub stay: u32,
    /// Which of its tasks.
    pub tasks: TaskRange,
    /// When.
    pub at: Time,
}

/// Tasks that were stopped for others: what they had done is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preempted {
    /// The number of the job in the workload.
    pub job: u32,
    /// Which of its tasks.
    pub tasks: TaskRange,
    /// When they had started.
    pub start: Time,
    /// When they were stopped.
    pub at: Time,
    /// The number of the job that got their place.
    pub by: u32,
}

/// Tasks that lost their agent, or were stopped for others, and waited again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requeued {
    /// The number of the job in the workload.
    pub job: u32,
    /// Which of its tasks.
    pub tasks: TaskRange,
    /// When.
    pub at: Time,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fate {
    /// When its first task started, if one did.
    pub start: Option<Time>,
    /// When nothing of it waited or ran any more, if that came.
    pub end: Option<Time>,
    /// True where it was rejected, as more jobs of its queue would have waited than may.
    pub rejected: bool,
}

impl Fate {
    /// From the submission of the job to its end, where that came.
    pub(crate) fn response(&self, job: &Job) -> Option<Span> {
        self.end.map(|end| end.since(job.submit))
    }

    /// How much longer it took than one of its tasks runs, of at least 10 s; at least 1. Of a job that runs until it is ended
    /// the time from its first start counts. Nothing where it has not ended, or was cancelled before it started.
    #[must_use]
    pub fn bounded_slowdown(&self, job: &Job) -> Option<f64> {
        let ran = self.end?.since(self.start?);
        let run = job.run.unwrap_or(ran);
        Some(allot_workload::bounded_slowdown(self.response(job)?, run))
    }
}

impl Outcome {
    /// When the last task or job ended, or the simulation where something still runs; nothing where nothing ever ended. A job
    /// that was cancelled while it waited ends later than its last task.
    #[must_use]
    pub fn last_end(&self) -> Option<Time> {
        if self.stays.iter().any(Stay::runs) {
            return Some(self.ended_at);
        }
        let jobs = self.jobs.iter().filter_map(|fate| fate.end);
        self.stays.iter().filter_map(Stay::end).chain(jobs).max()
    }

    /// What each task of a stay that still runs holds, by the number of the stay.
    #[must_use]
    pub fn slice<'a>(&'a self, workload: &'a Workload, number: u32) -> Option<&'a Resources> {
        let stay = self.stays.get(number as usize)?;
        let asks = || workload.asks.get(workload.jobs.get(stay.job as usize)?.asks as usize);
        self.named.get(&number).or_else(|| asks().map(|asks| &asks.slice))
    }
}

impl Stay {
    pub(crate) fn new(job: u32, agent: u32, tasks: TaskRange, start: Time) -> Self {
        Self { job, agent, tasks, start, ended: 0, end: Time::MAX }
    }

    /// True while any of its tasks runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.end == Time::MAX
    }

    /// When the last of its tasks ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<Time> {
        (!self.runs()).then_some(self.end)
    }

    /// Those of its tasks that run.
    #[must_use]
    pub fn left(&self) -> Option<TaskRange> {
        if self.runs() { TaskRange::new(self.tasks.first + self.ended, self.tasks.last) } else { None }
    }

    /// The first `most` of its tasks that run end. Returns which.
    pub(crate) fn stop(&mut self, now: Time, most: u32) -> Option<TaskRange> {
        let left = self.left().filter(|_| most > 0)?;
        let last = left.first.saturating_add(most - 1).min(left.last);
        self.ended = last - self.tasks.first + 1;
        if last == left.last {
            self.end = now;
        }
        Some(TaskRange { first: left.first, last })
    }
}
