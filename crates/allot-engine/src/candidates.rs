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

/// Those of one lane, by their shapes: most shapes fit nowhere at a time, and are not looked at.
#[derive(Debug, Clone, Default)]
struct Line {
    /// By the places of their shapes in a [`Mask`].
    groups: Vec<Vec<Group>>,
    /// The shapes that there are.
    shapes: Mask,
    /// Groups without members, to be used again.
    spare: Vec<Group>,
}

/// Those of one shape. Each has a seat, so that the tree is as large as they are many.
#[derive(Debug, Clone, Default)]
struct Group {
    shape: u32,
    seats: Slab<Candidate>,
    /// Each says how long it runs, and all how long the shortest does.
    order: Ranked<CandidateKey, Estimate>,
}

/// A job's place among those that may go ahead: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct CandidateKey {
    /// How long it runs, where the shortest go first; the same for all otherwise.
    estimate: Estimate,
    key: JobKey,
}

impl Summary for Estimate {
    fn join(&mut self, other: &Self) {
        *self = (*self).min(*other);
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

    /// A job waits; returns its seat among those of its shape.
    pub(crate) fn enter(&mut self, lane: u32, key: JobKey, asks: Candidate) -> u32 {
        if self.lanes.len() <= lane as usize {
            self.lanes.resize_with(lane as usize + 1, Line::default);
        }
        let key = self.key(key, asks.estimate);
        let group = self.lanes[lane as usize].group_for(asks.shape);
        let seat = group.seats.insert(asks);
        group.order.set(seat, key, asks.estimate);
        seat
    }

    /// A job does not wait any more.
    pub(crate) fn leave(&mut self, lane: u32, shape: u32, seat: u32) {
        if let Some(line) = self.lanes.get_mut(lane as usize) {
            line.leave(shape, seat);
        }
    }

    /// True where the shortest go first.
    pub(crate) fn are_shortest_first(&self) -> bool {
        self.shortest_first
    }
}

impl Line {
    fn group_for(&mut self, shape: u32) -> &mut Group {
        if self.groups.is_empty() {
            self.groups.resize_with(Mask::BITS, Vec::new);
        }
        self.shapes.join(&Mask::of(shape));
        let alike = &mut self.groups[Mask::place(shape)];
        let place = alike.iter().position(|group| group.shape == shape).unwrap_or_else(|| {
            alike.push(Group { shape, ..self.spare.pop().unwrap_or_default() });
            alike.len() - 1
        });
        &mut alike[place]
    }

    fn leave(&mut self, shape: u32, seat: u32) {
        let Some(alike) = self.groups.get_mut(Mask::place(shape)) else { return };
        let Some(place) = alike.iter().position(|group| group.shape == shape) else { return };
        let group = &mut alike[place];
        group.seats.remove(seat);
        group.order.remove(seat);
        if group.order.first().is_none() {
            self.spare.push(alike.swap_remove(place));
            if alike.is_empty() {
                self.shapes = self.shapes.without(Mask::of(shape));
            }
        }
    }

    /// The groups whose shapes may be among these.
    fn groups(&self, shapes: Mask) -> impl Iterator<Item = &Group> {
        self.shapes.meet(shapes).places().filter_map(|place| self.groups.get(place)).flatten()
    }
}

/// Which candidates may go ahead now.
pub(crate) struct Ahead<'a> {
    pub(crate) candidates: &'a Candidates,
    /// The shapes that may fit somewhere.
    pub(crate) open: Mask,
    /// True of who runs no longer than room is kept from.
    pub(crate) is_in_time: &'a dyn Fn(Estimate) -> bool,
    /// True of shapes that may go ahead however long they run.
    pub(crate) may_outlast: &'a dyn Fn(u32) -> bool,
    /// For whom room is kept: its branch, what each of its tasks needs, and how many they are. Nothing where it is for nobody but
    /// those whom limits hold back.
    pub(crate) first: Option<(u32, &'a Need, u64)>,
    /// True where tasks of a shape that run so long delay nobody whom a limit around their branch holds back.
    pub(crate) keeps_limits: &'a dyn Fn(&Tree, u32, u32, Estimate) -> bool,
}

impl Ahead<'_> {
    /// True where tasks of a branch leave room within its limits for the one for which room is kept.
    pub(crate) fn leaves_room(&self, tree: &Tree, branch: u32, shape: &Shape) -> bool {
        let leaves_room = |first| tree.leaves_room(branch, (&shape.need, shape.count()), first);
        tree.is_plain() || self.first.is_none_or(leaves_room)
    }

    /// The first of a lane whose shape `may_go`, and that `may_end` when it is expected to.
    pub(crate) fn first_of(
        &self,
        lane: u32,
        mut may_go: impl FnMut(u32) -> bool,
        may_end: impl Fn(u32, Estimate) -> bool,
    ) -> Option<(Candidate, CandidateKey)> {
        let line = self.candidates.lanes.get(lane as usize)?;
        let mut best: Option<(Candidate, CandidateKey)> = None;
        for group in line.groups(self.open) {
            let found = |seat: u32| Some((group.seats[seat], *group.order.key(seat)?));
            let comes_first = |key: CandidateKey| best.is_none_or(|(_, before)| key < before);
            let head = group.order.first().and_then(found).filter(|(_, key)| comes_first(*key));
            let Some((head, key)) = head.filter(|_| may_go(group.shape)) else { continue };
            let may_go = |estimate: Estimate| {
                let ends_in_time = (self.is_in_time)(estimate) || (self.may_outlast)(group.shape);
                ends_in_time && may_end(group.shape, estimate)
            };
            if may_go(head.estimate) {
                best = Some((head, key));
            } else {
                let in_time = group.order.find(|shortest| may_go(*shortest), |_| true);
                best = in_time.and_then(found).filter(|(_, key)| comes_first(*key)).or(best);
            }
        }
        best
    }
}
