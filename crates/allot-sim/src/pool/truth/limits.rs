//! What queues hold, and how many of their jobs wait, beside their limits.

use std::collections::BTreeMap;

use allot_model::{Holding, QueueLimit, QueueName, Resources};

use crate::workload::{Change, Happening, Queue, Workload};

/// What each queue and those below it hold, and the limits of those that have some.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    limits: BTreeMap<String, QueueLimit>,
    held: BTreeMap<String, Holding>,
    /// How many jobs of each queue and of those below it have tasks that wait.
    pending: BTreeMap<String, u64>,
}

impl Held {
    /// Nothing yet; not needed where no queue ever has a limit.
    pub(super) fn of(workload: &Workload) -> Option<Self> {
        let later =
            |change: &Change| matches!(&change.what, Happening::Queue { limit, .. } if !limit.is_none());
        let limited = |queue: &Queue| !queue.limit.is_none();
        if !workload.queues.iter().any(limited) && !workload.changes.iter().any(later) {
            return None;
        }
        let mut held = Self::default();
        workload.queues.iter().for_each(|queue| held.set(&queue.name, &queue.limit));
        Some(held)
    }

    pub(super) fn set(&mut self, queue: &QueueName, limit: &QueueLimit) {
        self.limits.insert(queue.to_string(), limit.clone());
    }

    /// Counts what a queue is to hold more; says so where that is more than it may.
    pub(super) fn take(&mut self, queue: &QueueName, slice: &Resources, count: u64) -> Result<(), String> {
        let nothing = Holding::default();
        for path in queue.lineage() {
            let held = self.held.get(path).unwrap_or(&nothing);
            if let Some(what) = self.limits.get(path).and_then(|limit| limit.exceeded(held, slice, count)) {
                return Err(format!("queue {path} would hold more {what} than its limit"));
            }
        }
        self.occupy(queue, slice, count);
        Ok(())
    }

    /// True where one more job of a queue may wait.
    pub(super) fn may_wait(&self, queue: &QueueName) -> bool {
        queue.lineage().all(|path| {
            let most = self.limits.get(path).and_then(|limit| limit.pending_jobs);
            most.is_none_or(|most| self.pending.get(path).copied().unwrap_or(0) < most)
        })
    }

    /// Counts a job of a queue among those that wait, or not any more.
    pub(super) fn note_waiting(&mut self, queue: &QueueName, waits: bool) {
        for path in queue.lineage() {
            let pending = self.pending.entry(path.to_owned()).or_default();
            *pending = if waits { *pending + 1 } else { pending.saturating_sub(1) };
        }
    }

    /// Counts what a queue holds already, whether it may or not.
    pub(super) fn occupy(&mut self, queue: &QueueName, slice: &Resources, count: u64) {
        for path in queue.lineage() {
            self.held.entry(path.to_owned()).or_default().add(slice, count);
        }
    }

    /// Counts what a queue holds no more.
    pub(super) fn release(&mut self, queue: &QueueName, slice: &Resources, count: u64) {
        for path in queue.lineage() {
            self.held.entry(path.to_owned()).or_default().subtract(slice, count);
        }
    }
}
