//! Who came to stand in line and who left it, for a policy that plans each job on its arrival.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::Span;

use crate::policy::JobKey;
use crate::ranked::Summary;
use crate::shape::Mask;
use crate::timeline::Estimate;

/// Jobs that are planned in the same way, in the same lane: of one shape and one estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) lane: u32,
    pub(crate) shape: u32,
    pub(crate) estimate: Estimate,
}

impl Kind {
    /// The first that there can be in a lane.
    fn first_of(lane: u32) -> Self {
        Self { lane, shape: 0, estimate: Estimate::of(Some(Span::ZERO)) }
    }
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

    /// Those without a plan, but for those of these kinds; nothing where there are none.
    pub(crate) fn unplanned<'a>(&'a self, hopeless: &'a BTreeSet<Kind>) -> Option<Unplanned<'a>> {
        let mut shapes = Mask::default();
        let kinds = self.unplanned.keys().filter(|kind| !hopeless.contains(kind));
        kinds.for_each(|kind| shapes.join(&Mask::of(kind.shape)));
        (shapes != Mask::default()).then_some(Unplanned { kinds: &self.unplanned, hopeless, shapes })
    }

    /// Those that have left the line since this was asked last.
    pub(crate) fn take_left(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.left)
    }
}

/// Jobs that can be planned.
pub(crate) struct Unplanned<'a> {
    kinds: &'a BTreeMap<Kind, BTreeMap<JobKey, u32>>,
    hopeless: &'a BTreeSet<Kind>,
    /// The shapes that some of them have.
    pub(crate) shapes: Mask,
}

impl Unplanned<'_> {
    /// The first of a lane whose shape `may_go`, by its shape, its key, and which.
    pub(crate) fn first_of(
        &self,
        lane: u32,
        mut may_go: impl FnMut(u32) -> bool,
    ) -> Option<(u32, JobKey, u32)> {
        let of_lane = Kind::first_of(lane)..Kind::first_of(lane.saturating_add(1));
        let kinds = self.kinds.range(of_lane).filter(|(kind, _)| !self.hopeless.contains(kind));
        let firsts = kinds.filter(|(kind, _)| may_go(kind.shape)).filter_map(|(kind, jobs)| {
            let (key, job) = jobs.first_key_value()?;
            Some((kind.shape, *key, *job))
        });
        firsts.min_by_key(|(_, key, _)| *key)
    }
}
