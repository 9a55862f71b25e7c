//! What goes first because it is guaranteed.
//!
//! A task is guaranteed where the outermost queue above it that has a guarantee keeps within that with it. Such tasks go
//! before all others, in the order in which they would be served otherwise. Within each queue that has a guarantee the
//! same holds for the guarantees of the queues below it.
//!
//! Where all jobs stand in one line in which nobody goes ahead of the first, guarantees have nobody go ahead either.

use crate::branch::{Member, WHOLE};
use crate::dims::Need;
use crate::kept::Lacking;
use crate::queues::Queues;
use crate::search::{Found, Place, Search};
use crate::shape::{Mask, Shape, Shapes};

impl Queues {
    /// The first member of a branch in which something is guaranteed that can be served, but for the one at a seat, and what
    /// of it is first: where queues rank.
    pub(crate) fn first_assured_below(
        &self,
        at: u32,
        open: Mask,
        except: Option<u32>,
        search: &mut Search<'_>,
    ) -> Option<(u32, Place)> {
        let branch = self.tree.get(at);
        let wanted = self.wanted_of(at, open, search);
        let mut place = None;
        let can_be_served = |seat: u32| {
            if let (true, Member::Branch(inner)) = (Some(seat) != except, branch.member(seat)) {
                place = self.first_assured_of(inner, wanted, search);
            }
            place.is_some()
        };
        let seat = branch.assured.find(|mask| mask.meets(wanted), can_be_served)?;
        place.map(|place| (seat, place))
    }

    /// The first of what is guaranteed to a branch, or in it where nothing is guaranteed to itself.
    fn first_assured_of(&self, branch: u32, open: Mask, search: &mut Search<'_>) -> Option<Place> {
        let Some(guarantee) = &self.tree.get(branch).guarantee else {
            return self.first_assured_below(branch, open, None, search).map(|(_, place)| place);
        };
        search.within.push(branch);
        let found = self.first_below(branch, open.without(guarantee.full), None, search);
        search.within.pop();
        found.map(|(_, place)| place)
    }

    /// The first in a branch of what is guaranteed to the branches in it: in the one line.
    pub(crate) fn first_assured_in(&self, at: u32, open: Mask, search: &mut Search<'_>) -> Option<Found> {
        let branch = self.tree.get(at);
        let wanted = self.wanted_of(at, open, search);
        let first = |seat: u32, wanted: Mask, search: &mut Search<'_>| match branch.member(seat) {
            Member::Branch(inner) => self.first_assured_within(inner, wanted, search),
            Member::Lane(_) => None,
        };
        Self::first_member(&branch.assured, wanted, Some(at).filter(|at| *at != WHOLE), search, first)
    }

    /// As [`Queues::first_assured_of`], in the one line.
    fn first_assured_within(&self, branch: u32, open: Mask, search: &mut Search<'_>) -> Option<Found> {
        let Some(guarantee) = &self.tree.get(branch).guarantee else {
            return self.first_assured_in(branch, open, search);
        };
        search.within.push(branch);
        let found = self.first_in(branch, open.without(guarantee.full), search);
        search.within.pop();
        found
    }

    /// The shapes that a branch may have. What is kept for some is found full for all others, so that it says nothing here.
    fn wanted_of(&self, branch: u32, open: Mask, search: &Search<'_>) -> Mask {
        if branch == WHOLE || search.ignores_limit_of(branch) {
            open
        } else {
            open.without(self.tree.get(branch).limit.full)
        }
    }

    /// The branches around a lane in this one to which one more task of it is guaranteed, the outermost first.
    pub(crate) fn guaranteed_by(&self, branch: u32, need: &Need) -> Vec<u32> {
        let covers = |above: &u32| self.tree.get(*above).covers(need) > 0;
        let mut around: Vec<u32> = self.tree.guaranteed_from(branch).filter(covers).collect();
        around.reverse();
        around
    }

    /// The branch by which a lane's next tasks of a shape go first, if they do.
    pub(crate) fn assured_by(&self, lane: u32, shape: &Shape) -> Option<u32> {
        let outermost = self.tree.guaranteed_from(self.lane(lane).branch).last();
        outermost.filter(|branch| self.tree.get(*branch).covers(&shape.need) >= shape.count())
    }

    /// True where one more task is within the guarantee of some queue around a lane.
    pub(crate) fn guarantees(&self, lane: u32, need: &Need) -> bool {
        !self.guaranteed_by(self.lane(lane).branch, need).is_empty()
    }

    /// True where neither a limit nor what is kept for others is in the way of a lane's next tasks of a shape.
    pub(crate) fn may_go(&self, lane: u32, shape: &Shape) -> bool {
        self.keeps_within_limits(lane, shape) && !self.takes_kept(lane, shape)
    }

    /// True where no limit is in the way of a lane's next tasks of a shape.
    pub(crate) fn keeps_within_limits(&self, lane: u32, shape: &Shape) -> bool {
        self.tree.refusing(self.lane(lane).branch, &shape.need, shape.count()).is_none()
    }

    /// True where what is kept for others is in the way of a lane's next tasks of a shape.
    pub(crate) fn takes_kept(&self, lane: u32, shape: &Shape) -> bool {
        let tree = &self.tree;
        !tree.kept.is_idle() && tree.takes_kept(&shape.need, shape.count(), self.assured_by(lane, shape))
    }

    /// True where something is kept for a queue that the lane is in.
    pub(crate) fn is_kept_for(&self, lane: u32) -> bool {
        self.tree.up_from(self.lane(lane).branch).any(|branch| self.tree.get(branch).keeps.is_some())
    }

    /// What has to be free in all so that a lane's next tasks of a shape leave what is kept for others.
    pub(crate) fn lacking(&self, lane: u32, shape: &Shape) -> Vec<Lacking> {
        self.tree.lacking(&shape.need, shape.count(), self.assured_by(lane, shape))
    }

    /// The lanes with something to offer in the order in which they are preferred: those with something that is
    /// guaranteed before all others.
    pub(crate) fn lanes_in_order(&self, shapes: &Shapes) -> Vec<u32> {
        let mut lanes = self.tree.lanes_in_order();
        if self.tree.assures() && !self.is_strict_line() {
            let is_assured = |lane: u32| {
                let mut waiting = self.lane(lane).waiting();
                waiting.any(|cell| self.assured_by(lane, shapes.get(cell.shape)).is_some())
            };
            lanes.sort_by_key(|lane| !is_assured(*lane));
        }
        lanes
    }
}
