//! Which queue is next: the first in order that has a job which may fit somewhere and which it may have.

use std::collections::BTreeSet;

use crate::branch::{Member, WHOLE};
use crate::dims::{Need, Vector};
use crate::lane::Lane;
use crate::policy::LaneKey;
use crate::queues::Queues;
use crate::ranked::Summary;
use crate::shape::{Mask, Shapes};

/// The next job to be served, by its lane and its cell there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: u32,
    pub(crate) cell: u32,
    pub(crate) shape: u32,
}

/// The first that can be served of a part of the tree, and where it stands beside others.
#[derive(Debug, Clone)]
struct Found {
    key: LaneKey,
    place: Place,
}

/// What is looked for, and what was found out by the way.
struct Search<'a> {
    shapes: &'a Shapes,
    /// Where it is not enough to look at what fits now: the shapes that never fit.
    hopeless: Option<&'a BTreeSet<u32>>,
    except: Option<u32>,
    /// Branches, and shapes of which they may have no more.
    refused: Vec<(u32, u32)>,
}

impl<'a> Search<'a> {
    /// For what may fit somewhere now.
    fn new(shapes: &'a Shapes, except: Option<u32>) -> Self {
        Self { shapes, hopeless: None, except, refused: Vec::new() }
    }

    /// The shapes that are looked for, and perhaps some more.
    fn mask(&self) -> Mask {
        if self.hopeless.is_some() { Mask::ALL } else { self.shapes.open() }
    }

    fn wants(&self, shape: u32) -> bool {
        self.hopeless.map_or_else(|| self.shapes.is_open(shape), |hopeless| !hopeless.contains(&shape))
    }
}

impl Queues {
    /// What is next.
    pub(crate) fn next(&mut self, shapes: &Shapes) -> Option<Place> {
        self.blend(shapes);
        loop {
            let found = self.search(Search::new(shapes, None))?;
            if !self.draw_again(found.lane) {
                return Some(found);
            }
        }
    }

    /// What is first in line, whether it fits now or not, but for what never does.
    pub(crate) fn head(&mut self, shapes: &Shapes, hopeless: &BTreeSet<u32>) -> Option<Place> {
        self.blend(shapes);
        loop {
            let found = self.search(Search { hopeless: Some(hopeless), ..Search::new(shapes, None) })?;
            if !self.draw_again(found.lane) {
                return Some(found);
            }
        }
    }

    fn search(&mut self, mut search: Search<'_>) -> Option<Place> {
        if self.are_keys_exact() {
            return self.first_by_key(&search);
        }
        let found = self.first(&mut search);
        self.note_refused(&search.refused, search.shapes);
        found
    }

    /// Notes of which shapes branches may have no more.
    pub(crate) fn note_refused(&mut self, refused: &[(u32, u32)], shapes: &Shapes) {
        for (branch, shape) in refused.iter().filter(|(_, shape)| shapes.is_alone(*shape)) {
            let known = shapes.get(*shape);
            self.tree.refuse(*branch, *shape, &known.need, known.count());
        }
    }

    /// How many of `most` tasks of a lane go one after the other before another lane is preferred or a limit is
    /// reached. At least 1, where it may have one.
    pub(crate) fn stretch(
        &self,
        lane: u32,
        need: &Need,
        most: u64,
        shapes: &Shapes,
        capacity: &Vector,
    ) -> u64 {
        let most = most.min(self.tree.room(self.lane(lane).branch, need));
        if most <= 1 || !self.rank() || !self.shares_grow() {
            return if self.goes_one_by_one() { most.min(1) } else { most };
        }
        let measure = self.measure(capacity);
        if self.are_keys_exact() {
            let rival = self.first_by_key(&Search::new(shapes, Some(lane)));
            let key = rival.and_then(|rival| self.ranked_key(rival.lane));
            return self.lane(lane).stretch(need, most, key, &measure);
        }
        let mut search = Search::new(shapes, None);
        let Lane { mut branch, mut seat, .. } = *self.lane(lane);
        let most = self.lane(lane).stretch(need, most, self.rival(branch, seat, &mut search), &measure);
        let mut least = most;
        while branch != WHOLE {
            let here = self.tree.get(branch);
            (branch, seat) = here.place();
            least = least.min(here.stretch(need, least, self.rival(branch, seat, &mut search), &measure));
        }
        least
    }

    /// The key of the first other member of a branch than the one at this seat that can be served.
    fn rival(&self, branch: u32, seat: u32, search: &mut Search<'_>) -> Option<&LaneKey> {
        let full = self.tree.up_from(branch).fold(Mask::default(), |mut full, branch| {
            full.join(&self.tree.get(branch).full);
            full
        });
        let open = search.mask().without(full);
        let (rival, _) = self.first_below(branch, open, Some(seat), search)?;
        self.tree.get(branch).ranking.key(rival)
    }

    /// True where every lane is as good as its key says: its first job may fit nowhere, and what is in a branch may be
    /// too much for it.
    fn are_keys_exact(&self) -> bool {
        self.tree.is_plain() && !self.are_in_one_line()
    }

    /// The first lane that has something that may fit somewhere.
    fn first_by_key(&self, search: &Search<'_>) -> Option<Place> {
        let (whole, wanted) = (self.tree.get(WHOLE), search.mask());
        let mut place = None;
        let has_next = |seat: u32| {
            if let Member::Lane(lane) = whole.member(seat)
                && Some(lane) != search.except
            {
                let known = self.lane(lane);
                let cell = known.next(self.backfill, |shape| search.wants(shape));
                place = cell.map(|cell| Place { lane, cell, shape: known.cell(cell).shape });
            }
            place.is_some()
        };
        whole.ranking.find(|mask| mask.meets(wanted), has_next);
        place
    }

    fn first(&self, search: &mut Search<'_>) -> Option<Place> {
        if self.tree.is_nested() {
            return self.first_below(WHOLE, search.mask(), None, search).map(|(_, place)| place);
        }
        let found = self.first_in(WHOLE, search.mask(), search)?.place;
        // Where nobody goes ahead of the first of the line, that may be one that fits nowhere.
        search.wants(found.shape).then_some(found)
    }

    /// The first member of a branch that can be served, but for the one at a seat, and what of it is first.
    fn first_below(
        &self,
        at: u32,
        open: Mask,
        except: Option<u32>,
        search: &mut Search<'_>,
    ) -> Option<(u32, Place)> {
        let branch = self.tree.get(at);
        let wanted = open.without(branch.full);
        let mut place = None;
        let can_be_served = |seat: u32| {
            if Some(seat) != except {
                place = match branch.member(seat) {
                    Member::Lane(lane) => self.next_of_lane(lane, search),
                    Member::Branch(below) => {
                        self.first_below(below, wanted, None, search).map(|(_, place)| place)
                    }
                };
            }
            place.is_some()
        };
        let seat = branch.ranking.find(|mask| mask.meets(wanted), can_be_served)?;
        place.map(|place| (seat, place))
    }

    /// The next job of a lane that can be served, as far as is known.
    fn next_of_lane(&self, slot: u32, search: &mut Search<'_>) -> Option<Place> {
        let lane = self.lane(slot);
        let mut refused = Vec::new();
        let may_go =
            |shape| search.wants(shape) && self.may_have(lane.branch, shape, search.shapes, &mut refused);
        let cell = lane.next(self.backfill, may_go);
        search.refused.extend(refused);
        let cell = cell?;
        Some(Place { lane: slot, cell, shape: lane.cell(cell).shape })
    }

    /// True where the jobs of all lanes stand in one line in which nobody goes ahead of the first.
    fn is_strict_line(&self) -> bool {
        self.is_strict() && self.are_in_one_line()
    }

    /// The first in a branch that can be served: the first of the line where that is strict, else the first that may fit
    /// somewhere.
    fn first_in(&self, at: u32, open: Mask, search: &mut Search<'_>) -> Option<Found> {
        let (branch, strict) = (self.tree.get(at), self.is_strict_line());
        let wanted = if strict { Mask::ALL } else { open.without(branch.full) };
        let mut best: Option<Found> = None;
        // What a member offers comes no earlier than its key, so that none that follows a better one has to be looked at.
        let is_last = |seat: u32| {
            let key = branch.ranking.key(seat);
            if best.as_ref().is_some_and(|best| Some(&best.key) < key) {
                return true;
            }
            let found = match branch.member(seat) {
                Member::Lane(lane) => key.and_then(|key| self.first_of_lane(lane, key, search)),
                Member::Branch(branch) => self.first_in(branch, wanted, search),
            };
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.key < best.key)
            {
                best = Some(found);
            }
            best.as_ref().map(|best| &best.key) == key
        };
        branch.ranking.find(|mask| mask.meets(wanted), is_last);
        let shape = best.as_ref()?.place.shape;
        let known = search.shapes.get(shape);
        if strict && at != WHOLE && !branch.admits(&known.need, known.count()) {
            search.refused.push((at, shape));
            return None;
        }
        best
    }

    /// The next job of a lane with this key, if it can be served.
    fn first_of_lane(&self, slot: u32, key: &LaneKey, search: &mut Search<'_>) -> Option<Found> {
        let lane = self.lane(slot);
        let mut refused = Vec::new();
        let cell = if search.except == Some(slot) {
            None
        } else if self.is_strict_line() {
            lane.head().map(|(_, cell)| cell)
        } else {
            lane.next(self.backfill, |shape| {
                search.wants(shape) && self.may_have(lane.branch, shape, search.shapes, &mut refused)
            })
        };
        search.refused.extend(refused);
        let cell = cell?;
        let waiting = lane.cell(cell);
        let place = Place { lane: slot, cell, shape: waiting.shape };
        let key = if self.rank() { key.clone() } else { waiting.first()?.0.as_lane_key() };
        Some(Found { key, place })
    }

    /// Visits the lanes in which one of these shapes waits, in order, until `visit` returns true; all of them where queues
    /// do not rank, as what a branch offers may come later than its place says.
    pub(crate) fn each_lane(&self, wanted: Mask, visit: &mut impl FnMut(u32) -> bool) {
        self.each_lane_in(WHOLE, wanted, self.rank(), visit);
    }

    /// True where it stopped.
    fn each_lane_in(&self, at: u32, wanted: Mask, stops: bool, visit: &mut impl FnMut(u32) -> bool) -> bool {
        let branch = self.tree.get(at);
        let wanted = wanted.without(branch.full);
        let is_last = |seat: u32| match branch.member(seat) {
            Member::Lane(lane) => visit(lane) && stops,
            Member::Branch(branch) => self.each_lane_in(branch, wanted, stops, visit),
        };
        branch.ranking.find(|mask| mask.meets(wanted), is_last).is_some()
    }

    /// True where a branch may have as many tasks of the shape as are placed at a time.
    pub(crate) fn may_have(
        &self,
        branch: u32,
        shape: u32,
        shapes: &Shapes,
        refused: &mut Vec<(u32, u32)>,
    ) -> bool {
        if branch == WHOLE {
            return true;
        }
        let known = shapes.get(shape);
        let refusing = self.tree.refusing(branch, &known.need, known.count());
        refused.extend(refusing.map(|branch| (branch, shape)));
        refusing.is_none()
    }
}
