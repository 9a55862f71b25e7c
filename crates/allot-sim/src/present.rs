//! A pool as it stands: what the offers service tells those who say hello, kept up to date, and turned into a workload
//! that begins there.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{
    AgentId, FeedItem, JobId, Placement, PoolAgent, PoolJob, QueueGuarantee, QueueLimit, QueueName,
    Resources, RunMap, TaskRange, TaskSet, Time,
};

mod begin;

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
struct Open {
    /// As it was described; nothing where only what it holds was told.
    job: Option<Arc<PoolJob>>,
    waiting: TaskSet,
    held: RunMap<Held>,
    ended: bool,
}

/// What tasks hold on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    agent: AgentId,
    queue: QueueName,
    /// What each slot holds.
    slice: Arc<Resources>,
    /// Since when.
    since: Time,
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
        let held =
            Held { agent: agent.clone(), queue: queue.clone(), slice: Arc::new(slice.clone()), since, turns };
        // Those that take turns hold as much as there are slots: the first of them stand for all.
        let last = u64::from(run.tasks.first) + (*slots).clamp(1, run.tasks.count()).saturating_sub(1);
        let running = u32::try_from(last).ok().and_then(|last| TaskRange::new(run.tasks.first, last));
        let open = self.jobs.entry(run.job).or_default();
        open.waiting.remove(run.tasks);
        running.into_iter().for_each(|running| open.held.set(running, held.clone()));
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
