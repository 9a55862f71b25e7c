//! What allocations hold on one agent, by the ledger alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{AttemptRun, JobId, Placement, Resources, RunMap, TaskRange};

/// A part of a grant on one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    slice: Arc<Resources>,
    /// Tasks that have not been released.
    left: u64,
    /// Slots that they hold together.
    slots: u64,
}

/// Which part a run of attempts belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    attempt: u32,
    part: u64,
}

/// What is allocated on an agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    parts: BTreeMap<u64, Part>,
    next_part: u64,
    runs: BTreeMap<JobId, RunMap<Holder>>,
    /// What it adds up to.
    sum: Resources,
}

impl Held {
    /// All of it together.
    pub(super) fn sum(&self) -> &Resources {
        &self.sum
    }

    /// How many attempts hold something.
    pub(super) fn attempts(&self) -> u64 {
        self.runs.values().map(RunMap::count).sum()
    }

    /// The attempts hold this now. False where the sum has no meaning: a device or a range is held twice.
    pub(super) fn hold(&mut self, placement: &Placement) -> bool {
        let Placement { run, slice, slots, .. } = placement;
        let part = self.next_part;
        self.next_part += 1;
        let slots = (*slots).min(run.tasks.count());
        self.parts.insert(part, Part { slice: Arc::new(slice.clone()), left: run.tasks.count(), slots });
        self.runs.entry(run.job).or_default().set(run.tasks, Holder { attempt: run.attempt, part });
        slice.times(slots).is_some_and(|amount| self.sum.add(&amount).is_ok())
    }

    /// The attempts hold nothing any more; returns those that did.
    pub(super) fn release(&mut self, run: AttemptRun) -> Vec<TaskRange> {
        let Some(tasks) = self.runs.get_mut(&run.job) else { return Vec::new() };
        let (released, others): (Vec<_>, Vec<_>) =
            tasks.remove(run.tasks).into_iter().partition(|(_, holder)| holder.attempt == run.attempt);
        others.into_iter().for_each(|(part, holder)| tasks.set(part, holder));
        if tasks.is_empty() {
            self.runs.remove(&run.job);
        }
        released.iter().for_each(|(tasks, holder)| self.free(*tasks, holder.part));
        released.into_iter().map(|(tasks, _)| tasks).collect()
    }

    /// Fewer tasks than slots are left: the others are free.
    fn free(&mut self, tasks: TaskRange, id: u64) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        part.left = part.left.saturating_sub(tasks.count());
        let freed = part.slots.saturating_sub(part.left);
        part.slots -= freed;
        if let Some(amount) = part.slice.times(freed) {
            // What was added before can be taken away.
            let _ = self.sum.subtract(&amount);
        }
        if part.left == 0 {
            self.parts.remove(&id);
        }
    }
}
