//! What is wanted: the jobs that have not ended, their tasks that wait for a place, and the queues' accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{
    AttemptRun, Holding, JobId, PoolJob, QueueGuarantee, QueueLimit, QueueName, ResourceName, Resources,
    RunMap, TaskRange,
};

use crate::limits::Limits;

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) pool: Arc<PoolJob>,
    /// The tasks that wait for a place, and the number of the try each waits for.
    pub(crate) pending: RunMap<u32>,
    /// What a task gets where the agent has plain amounts only; shared by all allocations of the job.
    pub(crate) slice: Arc<Resources>,
}

/// What a queue is entitled to, wants and has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Account {
    /// Set by an operator; 1 where not.
    pub(crate) weight: Option<u32>,
    pub(crate) jobs: u64,
    pub(crate) pending: u64,
    pub(crate) running: u64,
    pub(crate) allocated: BTreeMap<ResourceName, u64>,
}

impl Account {
    pub(crate) fn weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }

    fn is_empty(&self) -> bool {
        self.weight.is_none() && self.jobs == 0 && self.pending == 0 && self.running == 0
    }
}

/// All that is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Demand {
    /// Boxed: the nodes of the map are half empty.
    pub(crate) jobs: BTreeMap<JobId, Box<Job>>,
    /// What tasks of the last job get. Jobs that follow each other are often alike, and then share it.
    last_slice: Arc<Resources>,
    pub(crate) queues: BTreeMap<QueueName, Account>,
    pub(crate) limits: Limits,
}

impl Demand {
    /// True where both want the same, whatever they share in memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.jobs == other.jobs && self.queues == other.queues && self.limits == other.limits
    }

    pub(crate) fn admit(&mut self, pool: Arc<PoolJob>, waits: bool) {
        let slice = self.shared(pool.resources.as_scalars());
        let (id, queue, tasks) = (pool.job, pool.queue.clone(), pool.tasks);
        self.jobs.insert(id, Box::new(Job { pool, pending: RunMap::new(), slice }));
        self.queues.entry(queue).or_default().jobs += 1;
        if !waits && let Some(last) = tasks.checked_sub(1) {
            self.queue(AttemptRun { job: id, tasks: TaskRange { first: 0, last }, attempt: 1 });
        }
    }

    fn shared(&mut self, slice: Resources) -> Arc<Resources> {
        if *self.last_slice != slice {
            self.last_slice = Arc::new(slice);
        }
        Arc::clone(&self.last_slice)
    }

    /// Notes that the run waits for a place; false where the job is not known.
    pub(crate) fn queue(&mut self, run: AttemptRun) -> bool {
        let Some(job) = self.jobs.get_mut(&run.job) else { return false };
        let before = job.pending.count();
        job.pending.set(run.tasks, run.attempt);
        let added = job.pending.count() - before;
        let queue = job.pool.queue.clone();
        self.account(&queue, |account| account.pending += added);
        true
    }

    /// The run does not wait any more; returns the parts that did.
    pub(crate) fn unqueue(&mut self, job: JobId, tasks: TaskRange) -> Vec<(TaskRange, u32)> {
        let Some(job) = self.jobs.get_mut(&job) else { return Vec::new() };
        let parts = job.pending.remove(tasks);
        let count: u64 = parts.iter().map(|(part, _)| part.count()).sum();
        let queue = job.pool.queue.clone();
        self.account(&queue, |account| account.pending -= count);
        parts
    }

    /// No task of the job waits any more; returns those that did.
    pub(crate) fn withdraw(&mut self, job: JobId) -> Vec<TaskRange> {
        let all = TaskRange { first: 0, last: u32::MAX };
        self.unqueue(job, all).into_iter().map(|(part, _)| part).collect()
    }

    /// Forgets the job; false where it is not known.
    pub(crate) fn end(&mut self, job: JobId) -> bool {
        self.withdraw(job);
        let Some(job) = self.jobs.remove(&job) else { return false };
        self.account(&job.pool.queue, |account| account.jobs -= 1);
        true
    }

    /// Sets what a queue is entitled to, how much it may have, and how much it is to have.
    pub(crate) fn set_queue(
        &mut self,
        queue: &QueueName,
        weight: u32,
        limit: &QueueLimit,
        guarantee: &QueueGuarantee,
    ) {
        self.account(queue, |account| account.weight = Some(weight));
        self.limits.set(queue, limit.clone(), guarantee.clone(), self.holding(queue));
    }

    /// What the tasks of a queue and of all queues below it hold, added up anew.
    pub(crate) fn holding(&self, queue: &QueueName) -> Holding {
        let begins_so = self
            .queues
            .range::<QueueName, _>(queue..)
            .take_while(|(name, _)| name.as_str().starts_with(queue.as_str()));
        let mut sum = Holding::default();
        for (_, account) in begins_so.filter(|(name, _)| name.is_within(queue.as_str())) {
            sum.add_all(&Holding { tasks: account.running, resources: account.allocated.clone() });
        }
        sum
    }

    /// Tasks of the job were placed: a gang that has been placed once is none any more, and is told of as a job whose tasks
    /// go one by one.
    pub(crate) fn note_placed(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(&job).filter(|job| job.pool.min_tasks > 1) {
            Arc::make_mut(&mut job.pool).min_tasks = 1;
        }
    }

    /// Charges `count` tasks with this slice to the queue.
    pub(crate) fn charge(&mut self, queue: &QueueName, slice: &Resources, count: u64) {
        self.limits.charge(queue, slice, count);
        self.account(queue, |account| {
            account.running += count;
            for (name, amount) in slice.iter() {
                *account.allocated.entry(name.clone()).or_insert(0) += amount.total() * count;
            }
        });
    }

    /// Gives back what [`Demand::charge`] charged.
    pub(crate) fn refund(&mut self, queue: &QueueName, slice: &Resources, count: u64) {
        self.limits.refund(queue, slice, count);
        self.account(queue, |account| {
            account.running = account.running.saturating_sub(count);
            for (name, amount) in slice.iter() {
                if let Some(held) = account.allocated.get_mut(name) {
                    *held = held.saturating_sub(amount.total() * count);
                }
            }
            account.allocated.retain(|_, held| *held > 0);
        });
    }

    /// Changes a queue's account and drops it when nothing is left to account for.
    fn account(&mut self, queue: &QueueName, change: impl FnOnce(&mut Account)) {
        let account = self.queues.entry(queue.clone()).or_default();
        change(account);
        if account.is_empty() {
            self.queues.remove(queue);
        }
    }
}
