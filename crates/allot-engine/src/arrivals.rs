//! Who came to stand in line and who left it, for a policy that plans each job on its arrival.

use std::collections::BTreeMap;

use crate::policy::JobKey;
use crate::timeline::Estimate;

/// Jobs that are planned in the same way, in the same lane: of one shape and one estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) lane: u32,
    pub(crate) shape: u32,
    pub(crate) estimate: Estimate,
}

/// The jobs in line that have no plan yet, and those that have left it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrivals {
    unplanned: BTreeMap<Kind, BTreeMap<JobKey, u32>>,
    left: Vec<u32>,
}

impl Arrivals {
    /// A job stands in line, without a plan.
    pub(crate) fn enter(&mut self, kind: Kind, key: JobKey, job: u32) {
        self.unplanned.entry(kind).or_default().insert(key, job);
    }

    /// A job stands in line no longer.
    pub(crate) fn leave(&mut self, kind: Kind, key: JobKey, job: u32) {
        self.remove(kind, key);
        self.left.push(job);
    }

    /// A job is planned.
    pub(crate) fn remove(&mut self, kind: Kind, key: JobKey) {
        if let Some(jobs) = self.unplanned.get_mut(&kind) {
            jobs.remove(&key);
            if jobs.is_empty() {
                self.unplanned.remove(&kind);
            }
        }
    }

    /// The first of each kind.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (Kind, JobKey, u32)> {
        self.unplanned.iter().filter_map(|(kind, jobs)| {
            let (key, job) = jobs.first_key_value()?;
            Some((*kind, *key, *job))
        })
    }

    /// Those that have left the line since this was asked last.
    pub(crate) fn take_left(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.left)
    }
}
