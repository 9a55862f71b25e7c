//! A workload that begins with a pool as it stands.

use std::sync::Arc;

use allot_model::{JobId, PoolJob, Request, Span, TaskRange, Time};

use super::{Held, Open, Present};
use crate::input::build::Builder;
use crate::length::LONGEST;
use crate::workload::{Asks, Begin, Happening, Job, Running, Workload};

/// How long those tasks are taken to run of which that is not known: without an estimate, or over it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// For ever.
    Never,
    /// Hardly at all: they end at once.
    AtOnce,
}

/// A workload that begins with a pool as it stands.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The pool, and nothing that happens later but the ends of tasks.
    pub workload: Workload,
    /// The jobs, as the pool numbers them, by their numbers in the workload.
    pub jobs: Vec<JobId>,
    /// Running tasks that have no estimate.
    pub running_unknown: u64,
    /// Running tasks that have run for longer than their estimate.
    pub running_late: u64,
    /// Waiting tasks, in whatever place, that have no estimate.
    pub waiting_unknown: u64,
}

impl Begun {
    /// The number of a job in the workload.
    #[must_use]
    pub fn number(&self, job: JobId) -> Option<u32> {
        self.jobs.iter().position(|known| *known == job).and_then(|number| u32::try_from(number).ok())
    }
}

impl Present {
    /// A workload that begins at `now` with this pool, and in which tasks end by their estimates.
    #[must_use]
    pub fn begin(&self, now: Time, unknown: Unknown) -> Begun {
        let mut story = Story::at(now, unknown);
        story.queues(self);
        story.agents(self);
        // The engine takes jobs for older by their numbers, as the offers service does by their ids.
        let mut jobs: Vec<(JobId, &Open)> = self.jobs.iter().map(|(id, open)| (*id, open)).collect();
        jobs.sort_by_key(|(id, open)| (open.job.as_ref().map_or(Time::ZERO, |job| job.submitted_at), *id));
        jobs.into_iter().for_each(|(id, open)| story.job(id, open));
        story.finish()
    }
}

/// A workload in the making.
pub(crate) struct Story {
    now: Time,
    unknown: Unknown,
    pub(crate) builder: Builder,
    pub(crate) begin: Begin,
    begun: Begun,
}

impl Story {
    pub(crate) fn at(now: Time, unknown: Unknown) -> Self {
        let begin = Begin { at: now, waiting: Vec::new(), running: Vec::new() };
        let begun = Begun {
            workload: Workload::default(),
            jobs: Vec::new(),
            running_unknown: 0,
            running_late: 0,
            waiting_unknown: 0,
        };
        Self { now, unknown, builder: Builder::default(), begin, begun }
    }

    pub(crate) fn queues(&mut self, present: &Present) {
        for (name, entitled) in &present.queues {
            let number = self.builder.queue(name);
            if let Some(queue) = self.builder.workload.queues.get_mut(number as usize) {
                queue.weight = entitled.weight;
                queue.limit = entitled.limit.clone();
                queue.guarantee = entitled.guarantee.clone();
            }
        }
    }

    pub(crate) fn agents(&mut self, present: &Present) {
        for (id, facts) in &present.agents {
            let agent = self.builder.agent(id);
            self.builder.change(self.now, Happening::Agent { agent, facts: facts.clone() });
        }
    }

    /// A job that was submitted, or is to be, with so many tasks, each of which runs for so long. Returns its number.
    pub(crate) fn submit(
        &mut self,
        id: JobId,
        job: &PoolJob,
        submit: Time,
        run: Option<Span>,
        tasks: u32,
    ) -> u32 {
        let queue = self.builder.queue(&job.queue);
        let asks = self.builder.asks(Asks {
            request: job.resources.clone(),
            slice: job.resources.as_scalars(),
            constraints: job.constraints.clone(),
            same: job.same.clone(),
        });
        self.begun.jobs.push(id);
        self.builder.submit(Job {
            submit,
            // What runs for longer does not end as far as anybody looks.
            run: run.filter(|run| *run <= LONGEST),
            estimate: job.estimate,
            deadline: job.deadline,
            number: i64::try_from(id.0).unwrap_or(i64::MAX),
            queue,
            asks,
            tasks,
            min_tasks: job.min_tasks,
            priority: job.priority,
            preemptible: job.preemptible,
        })
    }

    fn job(&mut self, id: JobId, open: &Open) {
        let Some(job) = open.job.clone().or_else(|| stand_in(id, open).map(Arc::new)) else { return };
        let run = job.estimate.or_else(|| self.unknown_length());
        let number = self.submit(id, &job, job.submitted_at.min(self.now), run, job.tasks);
        self.begin.waiting.extend(open.waiting.ranges().map(|tasks| (number, tasks)));
        if job.estimate.is_none() {
            self.begun.waiting_unknown += open.waiting.count();
        }
        for (tasks, held) in open.held.iter() {
            self.running(number, tasks, held, job.estimate);
        }
    }

    fn unknown_length(&self) -> Option<Span> {
        match self.unknown {
            Unknown::Never => None,
            Unknown::AtOnce => Some(Span::from_micros(1)),
        }
    }

    fn running(&mut self, job: u32, tasks: TaskRange, held: &Held, estimate: Option<Span>) {
        let end = estimate.map(|estimate| held.since + estimate);
        match end {
            None => self.begun.running_unknown += tasks.count(),
            Some(end) if end <= self.now => self.begun.running_late += tasks.count(),
            Some(_) => {}
        }
        let soon = self.unknown_length().map(|length| self.now + length);
        let ends = end.filter(|end| *end > self.now).or(soon);
        let agent = self.builder.agent(&held.agent);
        let (slice, start) = ((*held.slice).clone(), held.since);
        self.begin.running.push(Running { job, agent, tasks, slice, start, ends });
    }

    pub(crate) fn finish(mut self) -> Begun {
        // The oldest are the first to end where some are to end early.
        self.begin.running.sort_by_key(|running| running.start);
        self.begun.workload = self.builder.finish();
        self.begun.workload.begin = Some(self.begin);
        self.begun
    }
}

/// A job of which only is known what it holds.
fn stand_in(id: JobId, open: &Open) -> Option<PoolJob> {
    let (_, held) = open.held.iter().next()?;
    let resources: Request = held.slice.iter().map(|(name, amount)| (name.clone(), amount.total())).collect();
    let last = open.held.iter().last().map_or(0, |(tasks, _)| tasks.last);
    Some(PoolJob {
        job: id,
        queue: held.queue.clone(),
        submitted_at: held.since,
        priority: 0,
        tasks: last.saturating_add(1),
        resources,
        constraints: Vec::new(),
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        preemptible: false,
    })
}
