//! Which queue is next: the first in order that has a job which may fit somewhere and which it may have.

use crate::branch::{Member, WHOLE};
use crate::dims::{Need, Vector};
use crate::lane::Lane;
use crate::policy::LaneKey;
use crate::queues::Queues;
use crate::ranked::{Ranked, Summary};
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
pub(crate) struct Found {
    key: LaneKey,
    place: Place,
}

/// What is looked for, and what was found out by the way.
pub(crate) struct Search<'a> {
    shapes: &'a Shapes,
    /// The branches to which it has to be guaranteed, the outermost first.
    pub(crate) within: Vec<u32>,
    /// Branches, and shapes of which they may have no more.
    refused: Vec<(u32, u32)>,
    /// Branches, and shapes of which no more is guaranteed to them.
    beyond: Vec<(u32, u32)>,
    /// Shapes that went before others of their branch because they are guaranteed, though these may be preferred to
    /// what is outside: where one of them fits nowhere, all has to be searched again.
    leaned_on: Vec<u32>,
}

impl<'a> Search<'a> {
    fn new(shapes: &'a Shapes) -> Self {
        Self { shapes, within: Vec::new(), refused: Vec::new(), beyond: Vec::new(), leaned_on: Vec::new() }
    }
}

impl Queues {
    /// What is next.
    pub(crate) fn next(&mut self, shapes: &Shapes) -> Option<Place> {
        self.blend(shapes);
        loop {
            let found = self.find_next(shapes)?;
            if !self.draw_again(found.lane) {
                return Some(found);
            }
        }
    }

    fn find_next(&mut self, shapes: &Shapes) -> Option<Place> {
        if self.are_keys_exact() {
            return self.first_by_key(shapes, None);
        }
        let mut search = Search::new(shapes);
        let found = self.first(&mut search);
        self.leaned_on = search.leaned_on;
        for (branch, shape) in search.refused {
            if shapes.is_alone(shape) {
                self.tree.refuse(branch, shape, &shapes.get(shape).need);
            }
        }
        for (branch, shape) in search.beyond {
            if shapes.is_alone(shape) {
                self.tree.pass_by(branch, shape, &shapes.get(shape).need);
            }
        }
        found
    }

    /// How many of `most` tasks of a lane go one after the other before another lane is preferred, or a limit or the end
    /// of a guarantee is reached. At least 1, where it may have one.
    pub(crate) fn stretch(
        &self,
        lane: u32,
        need: &Need,
        most: u64,
        shapes: &Shapes,
        capacity: &Vector,
    ) -> u64 {
        let branch = self.lane(lane).branch;
        let steady = if self.is_strict_line() { u64::MAX } else { self.tree.steady(branch, need) };
        let most = most.min(self.tree.room(branch, need)).min(steady);
        if most <= 1 || !self.rank() || !self.shares_grow() {
            return if self.goes_one_by_one() { most.min(1) } else { most };
        }
        let measure = self.measure(capacity);
        if self.are_keys_exact() {
            let rival = self.first_by_key(shapes, Some(lane));
            let key = rival.and_then(|rival| self.ranked_key(rival.lane));
            return self.lane(lane).stretch(need, most, key, &measure);
        }
        let mut search = Search::new(shapes);
        let Lane { mut branch, mut seat, .. } = *self.lane(lane);
        search.within = self.guaranteed_by(branch, need);
        let most = self.lane(lane).stretch(need, most, self.rival(branch, seat, &mut search), &measure);
        let mut least = most;
        while branch != WHOLE {
            let here = self.tree.get(branch);
            search.within.pop_if(|inner| *inner == branch);
            (branch, seat) = here.place();
            least = least.min(here.stretch(need, least, self.rival(branch, seat, &mut search), &measure));
        }
        least
    }

    /// The key of the first other member of a branch than the one at this seat that can be served.
    fn rival(&self, branch: u32, seat: u32, search: &mut Search<'_>) -> Option<&LaneKey> {
        let full = self.tree.up_from(branch).fold(Mask::default(), |mut full, branch| {
            full.join(&self.tree.get(branch).limit.full);
            full
        });
        let open = search.shapes.open().without(full);
        let (rival, _) = self.first_below(branch, open, Some(seat), search)?;
        self.tree.get(branch).ranking.key(rival)
    }

    /// True where every lane is as good as its key says: its first job may fit nowhere, and what is in a branch may be
    /// too much for it.
    fn are_keys_exact(&self) -> bool {
        self.tree.is_plain() && !self.are_in_one_line()
    }

    /// The first lane that has something that may fit somewhere.
    fn first_by_key(&self, shapes: &Shapes, except: Option<u32>) -> Option<Place> {
        let (whole, open) = (self.tree.get(WHOLE), shapes.open());
        let mut place = None;
        let has_next = |seat: u32| {
            if let Member::Lane(lane) = whole.member(seat)
                && Some(lane) != except
            {
                let known = self.lane(lane);
                let cell = known.next(self.backfill, |shape| shapes.is_open(shape));
                place = cell.map(|cell| Place { lane, cell, shape: known.cell(cell).shape });
            }
            place.is_some()
        };
        whole.ranking.find(|mask| mask.meets(open), has_next);
        place
    }

    fn first(&self, search: &mut Search<'_>) -> Option<Place> {
        if self.tree.is_nested() {
            return self.first_below(WHOLE, search.shapes.open(), None, search).map(|(_, place)| place);
        }
        let found = self.first_in(WHOLE, search.shapes.open(), search)?.place;
        // Where nobody goes ahead of the first of the line, that may be one that fits nowhere.
        search.shapes.is_open(found.shape).then_some(found)
    }

    /// The first member of a branch that can be served, but for the one at a seat, and what of it is first.
    pub(crate) fn first_below(
        &self,
        at: u32,
        open: Mask,
        except: Option<u32>,
        search: &mut Search<'_>,
    ) -> Option<(u32, Place)> {
        let branch = self.tree.get(at);
        let assured = self.tree.assures().then(|| self.first_assured_below(at, open, except, search));
        if let Some(assured) = assured.flatten() {
            return Some(assured);
        }
        let wanted = open.without(branch.limit.full);
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
        let (lane, shapes) = (self.lane(slot), search.shapes);
        let may_go = |shape| shapes.is_open(shape) && self.may_have(lane.branch, shape, search);
        let cell = lane.next(self.backfill, may_go)?;
        Some(Place { lane: slot, cell, shape: lane.cell(cell).shape })
    }

    /// True where the jobs of all lanes stand in one line in which nobody goes ahead of the first.
    pub(crate) fn is_strict_line(&self) -> bool {
        self.is_strict() && self.are_in_one_line()
    }

    /// The first in a branch that can be served: the first of the line where that is strict, else the first that may fit
    /// somewhere.
    pub(crate) fn first_in(&self, at: u32, open: Mask, search: &mut Search<'_>) -> Option<Found> {
        let (branch, strict) = (self.tree.get(at), self.is_strict_line());
        if self.tree.assures() && !strict {
            let assured = self.first_assured_in(at, open, search);
            if let Some(Found { place, .. }) = &assured {
                search.leaned_on.extend((at != WHOLE).then_some(place.shape));
                return assured;
            }
        }
        let wanted = if strict { Mask::ALL } else { open.without(branch.limit.full) };
        let first = |seat: u32, search: &mut Search<'_>| match branch.member(seat) {
            Member::Lane(lane) => self.first_of_lane(lane, search),
            Member::Branch(branch) => self.first_in(branch, wanted, search),
        };
        let best = Self::first_member(&branch.ranking, wanted, search, first);
        let shape = best.as_ref()?.place.shape;
        if strict && at != WHOLE && !branch.admits(&search.shapes.get(shape).need) {
            search.refused.push((at, shape));
            return None;
        }
        best
    }

    /// The first of what the members in a ranking offer: `first` tells it of each.
    pub(crate) fn first_member(
        ranking: &Ranked<LaneKey, Mask>,
        wanted: Mask,
        search: &mut Search<'_>,
        first: impl Fn(u32, &mut Search<'_>) -> Option<Found>,
    ) -> Option<Found> {
        let mut best: Option<Found> = None;
        // What a member offers comes no earlier than its key, so that none that follows a better one has to be looked at.
        let is_last = |seat: u32| {
            let key = ranking.key(seat);
            if best.as_ref().is_some_and(|best| Some(&best.key) < key) {
                return true;
            }
            if let Some(found) = first(seat, search)
                && best.as_ref().is_none_or(|best| found.key < best.key)
            {
                best = Some(found);
            }
            best.as_ref().map(|best| &best.key) == key
        };
        ranking.find(|mask| mask.meets(wanted), is_last);
        best
    }

    /// The next job of a lane in the one line, if it can be served.
    fn first_of_lane(&self, slot: u32, search: &mut Search<'_>) -> Option<Found> {
        let lane = self.lane(slot);
        let place = if self.is_strict_line() {
            let (_, cell) = lane.head()?;
            Place { lane: slot, cell, shape: lane.cell(cell).shape }
        } else {
            self.next_of_lane(slot, search)?
        };
        Some(Found { key: lane.cell(place.cell).first()?.0.as_lane_key(), place })
    }

    fn may_have(&self, branch: u32, shape: u32, search: &mut Search<'_>) -> bool {
        let (tree, need) = (&self.tree, &search.shapes.get(shape).need);
        if let Some(refusing) = tree.refusing(branch, need) {
            search.refused.push((refusing, shape));
            return false;
        }
        if let Some(above) = search.within.iter().find(|above| tree.get(**above).covers(need) == 0) {
            search.beyond.push((*above, shape));
            return false;
        }
        let takes_kept = tree.takes_kept(need, search.within.first().copied());
        if takes_kept && search.within.is_empty() {
            search.refused.push((WHOLE, shape));
        }
        !takes_kept
    }
}
