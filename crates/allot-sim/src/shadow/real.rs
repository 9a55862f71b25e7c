//! What really ran in a window, and what waited, from what was told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{AgentId, FeedItem, JobId, Placement, QueueName, Resources, RunMap, Span, TaskRange, Time};

use super::window::Mark;
use crate::present::Held;

/// Tasks that ran on an agent, in the window or into it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) job: JobId,
    pub(crate) tasks: TaskRange,
    pub(crate) agent: AgentId,
    pub(crate) queue: QueueName,
    pub(crate) slice: Arc<Resources>,
    pub(crate) start: Time,
    /// True where they ran when the window began.
    pub(crate) before: bool,
    /// When they ended, where they did.
    pub(crate) end: Option<Time>,
}

/// Tasks that were placed in the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) queue: QueueName,
    pub(crate) tasks: u64,
    pub(crate) waited: Span,
}

/// What really happened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Real {
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) placed: Vec<Placed>,
    /// Since when tasks wait that still do.
    pub(crate) waiting: BTreeMap<JobId, RunMap<Time>>,
    /// How long tasks of a job ran, those that ended in the window: their sum, and how many.
    pub(crate) ran: BTreeMap<JobId, (Span, u64)>,
    running: BTreeMap<JobId, RunMap<Running>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Running {
    agent: AgentId,
    queue: QueueName,
    slice: Arc<Resources>,
    start: Time,
    before: bool,
    /// The first task that it was placed with, so that runs of two placements stay apart.
    first: u32,
}

impl Real {
    pub(crate) fn of(mark: &Mark, changes: &[(Time, FeedItem)]) -> Self {
        let mut real = Self::default();
        for (id, open) in mark.present.jobs() {
            let since = open.job.as_ref().map_or(mark.at, |job| job.submitted_at);
            let waiting = real.waiting.entry(id).or_default();
            open.waiting.ranges().for_each(|tasks| waiting.set(tasks, since));
            open.held.iter().for_each(|(tasks, held)| real.resume(id, tasks, held));
        }
        changes.iter().for_each(|(at, item)| real.take(*at, item));
        real.close();
        real
    }

    fn resume(&mut self, job: JobId, tasks: TaskRange, held: &Held) {
        let Held { agent, queue, slice, since, .. } = held.clone();
        let running = Running { agent, queue, slice, start: since, before: true, first: tasks.first };
        self.running.entry(job).or_default().set(tasks, running);
    }

    fn take(&mut self, at: Time, item: &FeedItem) {
        match item {
            FeedItem::Pending { job, tasks } => self.waiting.entry(*job).or_default().set(*tasks, at),
            FeedItem::Withdrawn { job, tasks } => {
                self.waiting.entry(*job).or_default().remove(*tasks);
            }
            FeedItem::Allocated { placements, .. } => {
                placements.iter().for_each(|placement| self.place(at, placement));
            }
            FeedItem::Released { agent, job, tasks, ran, .. } => {
                if let Some(ran) = ran {
                    let (sum, count) = self.ran.entry(*job).or_default();
                    *sum = *sum + Span::from_micros(ran.as_micros().saturating_mul(tasks.count()));
                    *count += tasks.count();
                }
                self.end(at, agent, *job, *tasks);
            }
            _ => {}
        }
    }

    fn place(&mut self, at: Time, placement: &Placement) {
        let Placement { agent, run, queue, slice, .. } = placement;
        for (part, since) in self.waiting.entry(run.job).or_default().remove(run.tasks) {
            self.placed.push(Placed { queue: queue.clone(), tasks: part.count(), waited: at.since(since) });
        }
        let Some(tasks) = crate::present::those_that_run(placement) else { return };
        let (agent, queue, slice) = (agent.clone(), queue.clone(), Arc::new(slice.clone()));
        let running = Running { agent, queue, slice, start: at, before: false, first: tasks.first };
        self.running.entry(run.job).or_default().set(tasks, running);
    }

    fn end(&mut self, at: Time, agent: &AgentId, job: JobId, tasks: TaskRange) {
        let Some(running) = self.running.get_mut(&job) else { return };
        for (part, ended) in running.remove(tasks) {
            if ended.agent == *agent {
                self.stretches.push(stretch(job, part, ended, Some(at)));
            } else {
                running.set(part, ended);
            }
        }
    }

    /// What runs still.
    fn close(&mut self) {
        for (job, runs) in std::mem::take(&mut self.running) {
            let open = runs.iter().map(|(tasks, running)| stretch(job, tasks, running.clone(), None));
            self.stretches.extend(open);
        }
    }
}

fn stretch(job: JobId, tasks: TaskRange, running: Running, end: Option<Time>) -> Stretch {
    let Running { agent, queue, slice, start, before, .. } = running;
    Stretch { job, tasks, agent, queue, slice, start, before, end }
}
