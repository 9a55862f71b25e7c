//! What happens next: submissions and changes as the workload has them, and the ends of what runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use allot_model::Time;

use crate::workload::{Change, Job, Workload};

/// What is still to happen, in order.
#[derive(Debug)]
pub(crate) struct Timeline<'a> {
    jobs: &'a [Job],
    changes: &'a [Change],
    next_job: usize,
    next_change: usize,
    /// When stays end by themselves; of those that end together the one first that began first.
    ends: BinaryHeap<Reverse<(Time, u32)>>,
    /// When the policy wants to decide though nothing happens.
    wake: Option<Time>,
}

impl<'a> Timeline<'a> {
    pub(crate) fn new(workload: &'a Workload) -> Self {
        Self {
            jobs: &workload.jobs,
            changes: &workload.changes,
            next_job: 0,
            next_change: 0,
            ends: BinaryHeap::new(),
            wake: None,
        }
    }

    /// True while something is to happen yet.
    pub(crate) fn has_events(&self) -> bool {
        !self.ends.is_empty() || self.next_job < self.jobs.len() || self.next_change < self.changes.len()
    }

    /// When something happens next, and whether that is more than the policy's wish to decide.
    pub(crate) fn next(&self) -> Option<(Time, bool)> {
        let job = self.jobs.get(self.next_job).map(|job| job.submit);
        let change = self.changes.get(self.next_change).map(|change| change.at);
        let end = self.ends.peek().map(|Reverse((at, _))| *at);
        let event = [job, change, end].into_iter().flatten().min();
        match (event, self.wake) {
            (Some(event), Some(wake)) if wake < event => Some((wake, false)),
            (Some(event), _) => Some((event, true)),
            (None, wake) => wake.map(|wake| (wake, false)),
        }
    }

    /// The next stay that ends by now.
    pub(crate) fn ended(&mut self, now: Time) -> Option<u32> {
        let Reverse((at, stay)) = *self.ends.peek()?;
        if at > now {
            return None;
        }
        self.ends.pop();
        Some(stay)
    }

    /// The next change that is due by now.
    pub(crate) fn change(&mut self, now: Time) -> Option<&'a Change> {
        let change = self.changes.get(self.next_change).filter(|change| change.at <= now)?;
        self.next_change += 1;
        Some(change)
    }

    /// The next job that is submitted by now.
    pub(crate) fn submitted(&mut self, now: Time) -> Option<u32> {
        let place = self.next_job;
        self.jobs.get(place).filter(|job| job.submit <= now)?;
        self.next_job += 1;
        u32::try_from(place).ok()
    }

    /// A stay ends by itself at that time.
    pub(crate) fn ends_at(&mut self, at: Time, stay: u32) {
        self.ends.push(Reverse((at, stay)));
    }

    /// When the policy wants to decide next though nothing happens.
    pub(crate) fn wake_at(&mut self, at: Option<Time>) {
        self.wake = at;
    }
}
