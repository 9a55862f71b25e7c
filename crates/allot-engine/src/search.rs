//! Which queue is next: the first in order that has a job which may fit somewhere and which it may have. The same order
//! decides which is first in line whether it fits or not, which goes ahead of that, and which is planned next.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::arrivals::Unplanned;
use crate::branch::{Held, Member, WHOLE};
use crate::candidates::{Ahead, Candidate};
use crate::dims::{Need, Vector};
use crate::lane::{Head, Lane};
use crate::policy::{JobKey, LaneKey};
use crate::queues::Queues;
use crate::ranked::{Ranked, Summary};
use crate::shape::{Mask, Shapes};
use crate::timeline::Estimate;

/// The next job to be served, and where it stands: its lane and its cell there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: u32,
    pub(crate) cell: u32,
    pub(crate) job: u32,
    pub(crate) shape: u32,
    /// How long it runs, where that decides before its key does; the same for all otherwise.
    pub(crate) estimate: Estimate,
    pub(crate) key: JobKey,
}

impl Place {
    /// A job that is first of those of its lane that ask for the same.
    fn of(lane: u32, (key, Head { cell, job, shape }): (JobKey, Head)) -> Self {
        Self { lane, cell, job, shape, estimate: Estimate::UNKNOWN, key }
    }
}

/// Which jobs are looked for.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// Those that may fit somewhere now.
    Fitting,
    /// Those that do not fit now as well, and would take what is kept for others, but for what will have no room.
    All(&'a Hopeless),
    /// Those in this branch, whatever its limit and those around it leave room for.
    Under(u32, Line<'a>),
    /// Those that may go ahead of one for which room is kept.
    Ahead(&'a Ahead<'a>),
    /// Those that have no plan yet.
    Unplanned(&'a Unplanned<'a>),
}

/// Who stands in line in a branch.
#[derive(Clone, Copy)]
pub(crate) enum Line<'a> {
    /// All that wait, but for what will have no room.
    All(&'a Hopeless),
    /// Those that have no plan yet.
    Unplanned(&'a Unplanned<'a>),
}

/// What will have no room, whatever ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hopeless {
    /// Shapes that no agent will have room for.
    pub(crate) shapes: BTreeSet<u32>,
    /// Lanes, and shapes of which they would always take what is kept for others.
    pub(crate) aside: BTreeSet<(u32, u32)>,
    /// Branches whose first their limit holds back: nobody else in them is first in line.
    pub(crate) closed: BTreeSet<u32>,
}

impl Hopeless {
    fn has_hope(&self, lane: u32, shape: u32) -> bool {
        !self.shapes.contains(&shape) && !self.aside.contains(&(lane, shape))
    }
}

/// The first that can be served of a part of the tree, and where it stands beside others.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    key: LaneKey,
    place: Place,
}

impl Found {
    fn is_before(&self, other: &Self) -> bool {
        (self.place.estimate, &self.key) < (other.place.estimate, &other.key)
    }
}

/// What is looked for, and what was found out by the way.
pub(crate) struct Search<'a> {
    shapes: &'a Shapes,
    wanted: Wanted<'a>,
    /// The branches to which it has to be guaranteed, the outermost first.
    pub(crate) within: Vec<u32>,
    /// Branches, and shapes of which they may have no more.
    refused: Vec<(u32, u32)>,
    /// The bits of these shapes by branch, where no other shape has the same: none of their lanes has to ask again.
    full: Vec<(u32, Mask)>,
    /// Branches, and shapes of which no more is guaranteed to them.
    beyond: Vec<(u32, u32)>,
    /// What went before others of its branch because it is guaranteed, though these may be preferred to what is
    /// outside: where one of them fits nowhere, all has to be searched again.
    leaned_on: Vec<Place>,
}

impl<'a> Search<'a> {
    fn new(shapes: &'a Shapes, wanted: Wanted<'a>) -> Self {
        let (within, beyond, leaned_on) = (Vec::new(), Vec::new(), Vec::new());
        let (refused, full) = (Vec::new(), Vec::new());
        Self { shapes, wanted, within, refused, full, beyond, leaned_on }
    }

    /// A branch may have no more of a shape.
    fn refuse(&mut self, branch: u32, shape: u32) {
        self.refused.push((branch, shape));
        if self.shapes.is_alone(shape) {
            match self.full.iter_mut().find(|(known, _)| *known == branch) {
                Some((_, full)) => full.join(&Mask::of(shape)),
                None => self.full.push((branch, Mask::of(shape))),
            }
        }
    }

    /// What was found out by now that a branch may have no more of.
    fn full_of(&self, branch: u32) -> Mask {
        self.full.iter().find(|(known, _)| *known == branch).map_or_else(Mask::default, |(_, full)| *full)
    }

    /// The shapes that are looked for, and perhaps some more.
    fn mask(&self) -> Mask {
        match self.wanted {
            Wanted::Fitting | Wanted::Ahead(_) => self.shapes.open(),
            Wanted::All(_) | Wanted::Under(_, Line::All(_)) => Mask::ALL,
            Wanted::Unplanned(unplanned) | Wanted::Under(_, Line::Unplanned(unplanned)) => unplanned.shapes,
        }
    }

    /// True where it is no matter whether what is kept for others is taken.
    fn ignores_kept(&self) -> bool {
        matches!(self.wanted, Wanted::All(_) | Wanted::Under(..) | Wanted::Unplanned(_))
    }

    /// True where it is no matter which shapes a branch was found to have no room for.
    pub(crate) fn ignores_limit_of(&self, branch: u32) -> bool {
        matches!(self.wanted, Wanted::Under(top, _) if top == branch)
    }

    /// True where a member may offer something that comes before its key.
    fn is_by_estimate(&self) -> bool {
        matches!(self.wanted, Wanted::Ahead(ahead) if ahead.candidates.are_shortest_first())
    }
}

impl Queues {
    /// The first of what is wanted whose turn it is.
    pub(crate) fn next(&mut self, shapes: &Shapes, wanted: Wanted<'_>) -> Option<Place> {
        self.blend(shapes);
        loop {
            let found = self.find(shapes, wanted)?;
            if !self.draw_again(found.lane) {
                return Some(found);
            }
        }
    }

    /// The first of what is wanted in the order of now, taking nobody's turn.
    pub(crate) fn find(&mut self, shapes: &Shapes, wanted: Wanted<'_>) -> Option<Place> {
        let mut search = Search::new(shapes, wanted);
        if self.are_keys_exact() {
            return self.first_by_key(&mut search, None);
        }
        let found = self.first(&mut search);
        self.leaned_on = search.leaned_on;
        for (branch, shape) in search.refused.into_iter().filter(|(_, shape)| shapes.is_alone(*shape)) {
            let known = shapes.get(shape);
            self.tree.refuse(branch, shape, &known.need, known.count());
        }
        for (branch, shape) in search.beyond.into_iter().filter(|(_, shape)| shapes.is_alone(*shape)) {
            let known = shapes.get(shape);
            self.tree.pass_by(branch, shape, &known.need, known.count());
        }
        found
    }

    /// The first in a branch that it could have if nothing were in it, whatever its limit and those around it leave room for.
    pub(crate) fn first_under(&self, branch: u32, shapes: &Shapes, line: Line<'_>) -> Option<Place> {
        let mut search = Search::new(shapes, Wanted::Under(branch, line));
        let mask = search.mask();
        if self.tree.is_nested() {
            self.first_below(branch, mask, None, &mut search).map(|(_, place)| place)
        } else {
            self.first_in(branch, mask, &mut search).map(|found| found.place)
        }
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
            let rival = self.first_by_key(&mut Search::new(shapes, Wanted::Fitting), Some(lane));
            let key = rival.and_then(|rival| self.ranked_key(rival.lane));
            return self.lane(lane).stretch(need, most, key, &measure);
        }
        let mut search = Search::new(shapes, Wanted::Fitting);
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
    fn first_by_key(&self, search: &mut Search<'_>, except: Option<u32>) -> Option<Place> {
        let (whole, wanted) = (self.tree.get(WHOLE), search.mask());
        let mut place = None;
        let has_next = |seat: u32| {
            if let Member::Lane(lane) = whole.member(seat)
                && Some(lane) != except
            {
                place = self.next_of_lane(lane, search);
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
        (!self.is_strict_line() || search.shapes.is_open(found.shape)).then_some(found)
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
        let wanted = Cell::new(self.wanted_in(at, open, search).without(search.full_of(at)));
        let mut place = None;
        let can_be_served = |seat: u32| {
            if Some(seat) != except {
                place = match branch.member(seat) {
                    Member::Lane(lane) => self.next_of_lane(lane, search),
                    Member::Branch(below) => {
                        self.first_below(below, wanted.get(), None, search).map(|(_, place)| place)
                    }
                };
                wanted.set(wanted.get().without(search.full_of(at)));
            }
            place.is_some()
        };
        let seat = branch.ranking.find(|mask| mask.meets(wanted.get()), can_be_served)?;
        place.map(|place| (seat, place))
    }

    /// The shapes that a branch may have; of the whole those of which what is kept for others is not taken, where that
    /// matters.
    fn wanted_in(&self, at: u32, open: Mask, search: &Search<'_>) -> Mask {
        let all = at == WHOLE && search.ignores_kept() || search.ignores_limit_of(at);
        if all { open } else { open.without(self.tree.get(at).limit.full) }
    }

    /// The next job of a lane that is wanted and that it may have, as far as is known.
    fn next_of_lane(&self, slot: u32, search: &mut Search<'_>) -> Option<Place> {
        let (lane, shapes) = (self.lane(slot), search.shapes);
        match search.wanted {
            Wanted::Fitting => {
                let may_go = |shape| shapes.is_open(shape) && self.may_have(lane.branch, shape, search);
                lane.next(self.backfill, may_go).map(|first| Place::of(slot, first))
            }
            Wanted::All(hopeless) => {
                let is_closed = |branch| hopeless.closed.contains(&branch);
                if !hopeless.closed.is_empty() && self.tree.up_from(lane.branch).any(is_closed) {
                    return None;
                }
                let may_go =
                    |shape| hopeless.has_hope(slot, shape) && self.may_have(lane.branch, shape, search);
                lane.next(self.backfill, may_go).map(|first| Place::of(slot, first))
            }
            Wanted::Under(top, line) => {
                let is_possible = |shape| self.is_possible_under(top, lane.branch, shape, search);
                match line {
                    Line::All(hopeless) => {
                        let may_go = |shape| hopeless.has_hope(slot, shape) && is_possible(shape);
                        lane.next(self.backfill, may_go).map(|first| Place::of(slot, first))
                    }
                    Line::Unplanned(unplanned) => self.unplanned_of_lane(slot, unplanned, is_possible),
                }
            }
            Wanted::Ahead(ahead) => {
                let may_go = |shape| {
                    shapes.is_open(shape)
                        && self.may_have(lane.branch, shape, search)
                        && ahead.leaves_room(&self.tree, lane.branch, shapes.get(shape))
                };
                let may_end =
                    |shape, estimate| (ahead.keeps_limits)(&self.tree, lane.branch, shape, estimate);
                let (Candidate { job, shape, .. }, key) = ahead.first_of(slot, may_go, may_end)?;
                let (estimate, key) = key.parts();
                Some(Place { lane: slot, cell: lane.cell_of(shape)?, job, shape, estimate, key })
            }
            Wanted::Unplanned(unplanned) => {
                let may_go = |shape| self.may_have(lane.branch, shape, search);
                self.unplanned_of_lane(slot, unplanned, may_go)
            }
        }
    }

    /// The next job of a lane that has no plan and whose shape `may_go`.
    fn unplanned_of_lane(
        &self,
        slot: u32,
        unplanned: &Unplanned<'_>,
        may_go: impl FnMut(u32) -> bool,
    ) -> Option<Place> {
        let (shape, key, job) = unplanned.first_of(slot, may_go)?;
        let (cell, estimate) = (self.lane(slot).cell_of(shape)?, Estimate::UNKNOWN);
        Some(Place { lane: slot, cell, job, shape, estimate, key })
    }

    /// True where a branch could have as many tasks of the shape as are placed at a time if nothing were in it, as far as the
    /// limits in it let one of its branches, and what has to be guaranteed.
    fn is_possible_under(&self, top: u32, branch: u32, shape: u32, search: &Search<'_>) -> bool {
        let (tree, known) = (&self.tree, search.shapes.get(shape));
        let (need, count) = (&known.need, known.count());
        tree.get(top).limit.bound.room(&Held::default(), need) >= count
            && tree
                .up_from(branch)
                .take_while(|below| *below != top)
                .all(|below| tree.get(below).admits(need, count))
            && search.within.iter().all(|above| tree.get(*above).covers(need) >= count)
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
                search.leaned_on.extend((at != WHOLE).then_some(*place));
                return assured;
            }
        }
        let wanted = if strict { Mask::ALL } else { self.wanted_in(at, open, search) };
        let first = |seat: u32, wanted: Mask, search: &mut Search<'_>| match branch.member(seat) {
            Member::Lane(lane) => self.first_of_lane(lane, search),
            Member::Branch(branch) => self.first_in(branch, wanted, search),
        };
        let narrows = (!strict).then_some(at);
        let best = Self::first_member(&branch.ranking, wanted, narrows, search, first);
        let shape = best.as_ref()?.place.shape;
        let known = search.shapes.get(shape);
        if strict && at != WHOLE && !branch.admits(&known.need, known.count()) {
            search.refuse(at, shape);
            return None;
        }
        best
    }

    /// The first of what the members in a ranking offer: `first` tells it of each. What is found out meanwhile that the branch
    /// `narrows` may have no more of is not looked for any more.
    pub(crate) fn first_member(
        ranking: &Ranked<LaneKey, Mask>,
        wanted: Mask,
        narrows: Option<u32>,
        search: &mut Search<'_>,
        first: impl Fn(u32, Mask, &mut Search<'_>) -> Option<Found>,
    ) -> Option<Found> {
        let narrowed = |wanted: Mask, search: &Search<'_>| {
            narrows.map_or(wanted, |branch| wanted.without(search.full_of(branch)))
        };
        let wanted = Cell::new(narrowed(wanted, search));
        let mut best: Option<Found> = None;
        let looks_at_all = search.is_by_estimate();
        // What a member offers comes no earlier than its key, so that none that follows a better one has to be looked at.
        let is_last = |seat: u32| {
            let key = ranking.key(seat).filter(|_| !looks_at_all);
            if key.is_some() && best.as_ref().is_some_and(|best| Some(&best.key) < key) {
                return true;
            }
            let found = first(seat, wanted.get(), search);
            if let Some(found) = found.filter(|found| best.as_ref().is_none_or(|best| found.is_before(best)))
            {
                best = Some(found);
            }
            wanted.set(narrowed(wanted.get(), search));
            key.is_some() && best.as_ref().map(|best| &best.key) == key
        };
        ranking.find(|mask| mask.meets(wanted.get()), is_last);
        best
    }

    /// The next job of a lane in the one line, if it can be served.
    fn first_of_lane(&self, slot: u32, search: &mut Search<'_>) -> Option<Found> {
        let place = if self.is_strict_line() {
            Place::of(slot, self.lane(slot).head()?)
        } else {
            self.next_of_lane(slot, search)?
        };
        Some(Found { key: place.key.as_lane_key(), place })
    }

    /// True where a branch may have as many tasks of the shape as are placed at a time, by its limits, by what has to be
    /// guaranteed, and by what is kept for others.
    fn may_have(&self, branch: u32, shape: u32, search: &mut Search<'_>) -> bool {
        if self.tree.is_plain() {
            return true;
        }
        let (tree, known) = (&self.tree, search.shapes.get(shape));
        let (need, count) = (&known.need, known.count());
        if let Some(refusing) = tree.refusing(branch, need, count) {
            search.refuse(refusing, shape);
            return false;
        }
        if let Some(above) = search.within.iter().find(|above| tree.get(**above).covers(need) < count) {
            search.beyond.push((*above, shape));
            return false;
        }
        if search.ignores_kept() {
            return true;
        }
        let takes_kept = tree.takes_kept(need, count, search.within.first().copied());
        if takes_kept && search.within.is_empty() {
            search.refuse(WHOLE, shape);
        }
        !takes_kept
    }
}
