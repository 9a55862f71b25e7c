//! Who may go ahead of the first in line: the waiting jobs once more, so arranged that the first whose estimate is short
//! enough is found without looking at those before it.

use crate::branch::Tree;
use crate::dims::Need;
use crate::policy::JobKey;
use crate::ranked::{Ranked, Summary};
use crate::shape::{Mask, Shape};
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
    seats: Slab<Candidate>,
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

impl CandidateKey {
    pub(crate) fn parts(self) -> (Estimate, JobKey) {
        (self.estimate, self.key)
    }
}

/// A job that may go ahead.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Candidate {
    pub(crate) job: u32,
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
    pub(crate) fn enter(&mut self, lane: u32, key: JobKey, asks: Candidate) -> u32 {
        if self.lanes.len() <= lane as usize {
            self.lanes.resize_with(lane as usize + 1, Line::default);
        }
        let key = self.key(key, asks.estimate);
        let line = &mut self.lanes[lane as usize];
        let seat = line.seats.insert(asks);
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

    /// True where the shortest go first.
    pub(crate) fn are_shortest_first(&self) -> bool {
        self.shortest_first
    }

    /// The first of a lane that `accept` takes, among those that `enter` lets pass.
    fn first(
        &self,
        lane: u32,
        enter: impl Fn(&Reach) -> bool,
        mut accept: impl FnMut(Candidate) -> bool,
    ) -> Option<(Candidate, CandidateKey)> {
        let line = self.lanes.get(lane as usize)?;
        let seat = line.order.find(enter, |seat| accept(line.seats[seat]))?;
        Some((line.seats[seat], *line.order.key(seat)?))
    }
}

/// Which candidates may go ahead now.
pub(crate) struct Ahead<'a> {
    pub(crate) candidates: &'a Candidates,
    /// False of groups of candidates in which none may.
    pub(crate) enter: &'a dyn Fn(&Reach) -> bool,
    pub(crate) accept: &'a dyn Fn(Candidate) -> bool,
    /// For whom room is kept: its branch, what each of its tasks needs, and how many they are.
    pub(crate) first: (u32, &'a Need, u64),
}

impl Ahead<'_> {
    /// True where tasks of a branch leave room within its limits for the one for which room is kept.
    pub(crate) fn leaves_room(&self, tree: &Tree, branch: u32, shape: &Shape) -> bool {
        tree.is_plain() || tree.leaves_room(branch, (&shape.need, shape.count()), self.first)
    }

    /// The first of a lane whose shape `may_go`.
    pub(crate) fn first_of(
        &self,
        lane: u32,
        mut may_go: impl FnMut(u32) -> bool,
    ) -> Option<(Candidate, CandidateKey)> {
        let accept = |candidate: Candidate| (self.accept)(candidate) && may_go(candidate.shape);
        self.candidates.first(lane, self.enter, accept)
    }
}
