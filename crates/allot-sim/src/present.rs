//! A pool as it stands: what the offers service tells those who say hello, kept up to date, and turned into a workload
//! that begins there.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{
    AgentId, FeedItem, JobId, Placement, PoolAgent, PoolJob, QueueGuarantee, QueueLimit, QueueName,
    Resources, RunMap, TaskRange, TaskSet, Time,
};

mod begin;

pub(crate) use begin::Story;
pub use begin::{Begun, Unknown};

/// A pool as it stands.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// The queues that were named.
    queues: BTreeMap<QueueName, Entitled>,
    /// The jobs that have not ended, or hold something.
    jobs: BTreeMap<JobId, Open>,
    agents: BTreeMap<AgentId, Arc<PoolAgent>>,
}

/// What a queue is entitled to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entitled {
    weight: u32,
    limit: QueueLimit,
    guarantee: QueueGuarantee,
}

/// A job that has not ended, or of which something is allocated yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Open {
    /// As it was described; nothing where only what it holds was told.
    pub(crate) job: Option<Arc<PoolJob>>,
    pub(crate) waiting: TaskSet,
    pub(crate) held: RunMap<Held>,
    ended: bool,
}

/// What tasks hold on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) agent: AgentId,
    pub(crate) queue: QueueName,
    /// What each slot holds.
    pub(crate) slice: Arc<Resources>,
    /// Since when.
    pub(crate) since: Time,
    /// The first task of a placement whose tasks take turns in fewer slots: each such placement by itself.
    turns: Option<u32>,
}

impl Present {
    /// Something changed, or is told for the first time.
    pub fn apply(&mut self, item: &FeedItem) {
        match item {
            FeedItem::Queue { queue, weight, limit, guarantee } => {
                let entitled =
                    Entitled { weight: *weight, limit: limit.clone(), guarantee: guarantee.clone() };
                self.queues.insert(queue.clone(), entitled);
            }
            FeedItem::Job(job) => self.jobs.entry(job.job).or_default().job = Some(job.clone()),
            FeedItem::Pending { job, tasks } => {
                if let Some(open) = self.jobs.get_mut(job) {
                    open.waiting.insert(*tasks);
                }
            }
            FeedItem::Withdrawn { job, tasks } => {
                if let Some(open) = self.jobs.get_mut(job) {
                    open.waiting.remove(*tasks);
                }
            }
            FeedItem::JobEnded { job } => self.change(*job, |open| {
                open.ended = true;
                open.waiting = TaskSet::new();
            }),
            FeedItem::Agent(agent) => drop(self.agents.insert(agent.agent.clone(), agent.clone())),
            FeedItem::AgentLeft { agent } => drop(self.agents.remove(agent)),
            FeedItem::Allocated { placements, at, .. } => {
                placements.iter().for_each(|placement| self.on_placed(placement, *at));
            }
            FeedItem::Released { agent, job, tasks, .. } => self.on_released(agent, *job, *tasks),
            FeedItem::Active { .. }
            | FeedItem::Offer { .. }
            | FeedItem::Rescinded { .. }
            | FeedItem::Preempted(_)
            | FeedItem::Refused { .. } => {}
        }
    }

    fn on_placed(&mut self, placement: &Placement, since: Time) {
        let Placement { agent, run, queue, slice, slots } = placement;
        let turns = (*slots < run.tasks.count()).then_some(run.tasks.first);
        let (agent, queue, slice) = (agent.clone(), queue.clone(), Arc::new(slice.clone()));
        let open = self.jobs.entry(run.job).or_default();
        open.waiting.remove(run.tasks);
        if let Some(running) = those_that_run(placement) {
            open.held.set(running, Held { agent, queue, slice, since, turns });
        }
    }

    fn on_released(&mut self, agent: &AgentId, job: JobId, tasks: TaskRange) {
        self.change(job, |open| {
            // A run that is held elsewhere by now is another try.
            for (part, held) in open.held.remove(tasks) {
                if held.agent != *agent {
                    open.held.set(part, held);
                }
            }
        });
    }

    /// Changes a job, and forgets it once it has ended and holds nothing.
    fn change(&mut self, job: JobId, change: impl FnOnce(&mut Open)) {
        let Some(open) = self.jobs.get_mut(&job) else { return };
        change(open);
        if open.ended && open.held.is_empty() {
            self.jobs.remove(&job);
        }
    }

    /// All jobs by id.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobId, &Open)> {
        self.jobs.iter().map(|(id, open)| (*id, open))
    }

    /// All agents as they were described.
    pub(crate) fn described(&self) -> impl Iterator<Item = &PoolAgent> {
        self.agents.values().map(|agent| &**agent)
    }

    /// How many agents there are.
    #[must_use]
    pub fn agents(&self) -> u64 {
        self.agents.len() as u64
    }

    /// The job as it was described, if any of it waits or runs.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<&Arc<PoolJob>> {
        self.jobs.get(&job)?.job.as_ref()
    }

    /// How many tasks of a job wait.
    #[must_use]
    pub fn waiting(&self, job: JobId) -> u64 {
        self.jobs.get(&job).map_or(0, |open| open.waiting.count())
    }

    /// An id that no job has, after those of all jobs.
    #[must_use]
    pub fn next_job(&self) -> JobId {
        JobId(self.jobs.last_key_value().map_or(1, |(last, _)| last.0.saturating_add(1)))
    }
}

/// The tasks of a placement that stand for all of it: where they take turns, they hold as much as there are slots.
pub(crate) fn those_that_run(placement: &Placement) -> Option<TaskRange> {
    let TaskRange { first, last } = placement.run.tasks;
    let slots = u32::try_from(placement.slots.max(1)).unwrap_or(u32::MAX);
    TaskRange::new(first, first.saturating_add(slots - 1).min(last))
}
