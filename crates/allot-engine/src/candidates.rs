//! Who may go ahead of the first in line: the waiting jobs once more, so arranged that the first whose estimate is short
//! enough is found without looking at those before it.

use crate::backlog::Backlog;
use crate::policy::JobKey;
use crate::ranked::{Ranked, Summary};
use crate::shape::{Mask, Shapes};
use crate::slab::Slab;
use crate::timeline::Estimate;

/// The waiting jobs of each lane in the order in which they may go ahead.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    shortest_first: bool,
    lanes: Vec<Line>,
}

/// Those of one lane. Each has a seat, so that the tree is as large as the lane is long.
#[derive(Debug, Clone, Default)]
struct Line {
    seats: Slab<u32>,
    order: Ranked<CandidateKey, Reach>,
}

/// A job's place among those that may go ahead: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct CandidateKey {
    /// How long it runs, where the shortest go first; the same for all otherwise.
    estimate: Estimate,
    key: JobKey,
}

/// What some candidates ask for, and how long the shortest of them runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reach {
    pub(crate) shapes: Mask,
    pub(crate) shortest: Estimate,
}

impl Summary for Reach {
    fn join(&mut self, other: &Self) {
        self.shapes.join(&other.shapes);
        self.shortest = self.shortest.min(other.shortest);
    }
}

/// A job that may go ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) shape: u32,
    pub(crate) estimate: Estimate,
}

impl Candidates {
    pub(crate) fn new(shortest_first: bool) -> Self {
        Self { shortest_first, lanes: Vec::new() }
    }

    fn key(&self, key: JobKey, estimate: Estimate) -> CandidateKey {
        CandidateKey { estimate: if self.shortest_first { estimate } else { Estimate::UNKNOWN }, key }
    }

    /// A job waits; returns its seat.
    pub(crate) fn enter(&mut self, lane: u32, job: u32, key: JobKey, asks: Candidate) -> u32 {
        if self.lanes.len() <= lane as usize {
            self.lanes.resize_with(lane as usize + 1, Line::default);
        }
        let key = self.key(key, asks.estimate);
        let line = &mut self.lanes[lane as usize];
        let seat = line.seats.insert(job);
        line.order.set(seat, key, Reach { shapes: Mask::of(asks.shape), shortest: asks.estimate });
        seat
    }

    /// A job does not wait any more.
    pub(crate) fn leave(&mut self, lane: u32, seat: u32) {
        if let Some(line) = self.lanes.get_mut(lane as usize) {
            line.seats.remove(seat);
            line.order.remove(seat);
        }
    }

    /// The first of a lane that `accept` takes, among those that `enter` lets pass.
    fn first(
        &self,
        lane: u32,
        enter: impl Fn(&Reach) -> bool,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Option<(CandidateKey, u32)> {
        let line = self.lanes.get(lane as usize)?;
        let seat = line.order.find(enter, |seat| accept(line.seats[seat]))?;
        Some((*line.order.key(seat)?, line.seats[seat]))
    }
}

impl Backlog {
    /// The first job that goes ahead, of those whose shape may fit somewhere, whose queue may have it, and which `accept`
    /// takes: of the first queue in order where queues rank. Jobs that `enter` does not let pass are not looked at.
    pub(crate) fn candidate(
        &mut self,
        shapes: &Shapes,
        enter: impl Fn(&Reach) -> bool,
        mut accept: impl FnMut(Candidate) -> bool,
    ) -> Option<u32> {
        let mut refused = Vec::new();
        let mut best: Option<(CandidateKey, u32)> = None;
        let candidates = self.candidates.as_ref()?;
        let mut first_of_lane = |lane: u32| {
            let branch = self.queues.lane(lane).branch;
            let takes = |job: u32| {
                let asks = self.job(job).as_candidate();
                shapes.is_open(asks.shape)
                    && accept(asks)
                    && self.queues.may_have(branch, asks.shape, shapes, &mut refused)
            };
            candidates.first(lane, |reach| reach.shapes.meets(shapes.open()) && enter(reach), takes)
        };
        self.queues.each_lane(shapes.open(), &mut |lane| {
            let found = first_of_lane(lane);
            best = best.into_iter().chain(found).min();
            found.is_some()
        });
        self.queues.note_refused(&refused, shapes);
        best.map(|(_, job)| job)
    }
}
