//! Under `hdrf`: what branches count as, kept up to date as tasks come and go.
//!
//! What a branch counts as depends on which of its members have something that can be placed now. So each lane is counted for
//! one shape that waits in it, fits somewhere and is not too much for it; it is looked at again where that shape ceases to
//! be one, and where it is counted for none, where another may have become one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::bits::Bits;
use crate::branch::{Member, Tree, WHOLE};
use crate::queues::Queues;
use crate::rank::Standing;
use crate::rank::hdrf::Child;
use crate::ranked::Summary;
use crate::shape::{Mask, Shapes};

/// For which shape each lane is counted, and what has changed since they were counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    shape_of: BTreeMap<u32, u32>,
    lanes: BTreeSet<(u32, u32)>,
    /// The shapes that fitted somewhere then.
    open: Bits,
    /// Lanes that hold something else than then, or in which something else waits.
    pub(crate) touched: BTreeSet<u32>,
    /// Branches of which a member counts as something else than then.
    pub(crate) changed: BTreeSet<u32>,
    /// Branches with limits that hold more than then.
    pub(crate) charged: BTreeSet<u32>,
    /// Branches with limits that hold less.
    pub(crate) refunded: BTreeSet<u32>,
    /// True where anything else may be other than it was.
    pub(crate) all: bool,
}

impl Counted {
    fn set(&mut self, lane: u32, shape: Option<u32>) {
        let before = match shape {
            Some(shape) => self.shape_of.insert(lane, shape),
            None => self.shape_of.remove(&lane),
        };
        if before != shape {
            before.into_iter().for_each(|before| _ = self.lanes.remove(&(before, lane)));
            self.lanes.extend(shape.map(|shape| (shape, lane)));
        }
    }

    /// The lane is there no longer.
    pub(crate) fn forget(&mut self, lane: u32) {
        self.set(lane, None);
        self.touched.remove(&lane);
    }

    /// The lanes that are counted for a shape.
    fn counted_for(&self, shape: u32) -> impl Iterator<Item = u32> {
        self.lanes.range((shape, 0)..=(shape, u32::MAX)).map(|(_, lane)| *lane)
    }

    /// The shapes that lanes are counted for.
    fn shapes(&self) -> impl Iterator<Item = u32> {
        let after = |shape: u32| self.lanes.range((shape.checked_add(1)?, 0)..).next();
        let first = self.lanes.first().map(|(shape, _)| *shape);
        std::iter::successors(first, move |shape| after(*shape).map(|(shape, _)| *shape))
    }
}

impl Queues {
    /// Works out what branches count as, where something has changed in them or other shapes fit. While none fits, nobody's
    /// place matters.
    pub(crate) fn blend(&mut self, shapes: &Shapes) {
        if !self.tree.is_mixed() || shapes.open() == Mask::default() {
            return;
        }
        for lane in self.lanes_to_count(shapes) {
            self.count(lane, shapes);
        }
        let depth = |tree: &Tree, branch: u32| Reverse(tree.up_from(branch).count());
        let changed = std::mem::take(&mut self.tree.counted.changed).into_iter();
        let mut todo: BTreeSet<_> = changed.map(|branch| (depth(&self.tree, branch), branch)).collect();
        while let Some((_, branch)) = todo.pop_first() {
            self.tree.blend(branch);
            let above = std::mem::take(&mut self.tree.counted.changed).into_iter();
            todo.extend(above.map(|branch| (depth(&self.tree, branch), branch)));
        }
    }

    /// The lanes of which it may have changed whether, and as what, they count.
    fn lanes_to_count(&mut self, shapes: &Shapes) -> BTreeSet<u32> {
        let mut lanes = std::mem::take(&mut self.tree.counted.touched);
        let charged = std::mem::take(&mut self.tree.counted.charged);
        let refunded = std::mem::take(&mut self.tree.counted.refunded);
        let open = std::mem::replace(&mut self.tree.counted.open, shapes.hoping().clone());
        if std::mem::take(&mut self.tree.counted.all) {
            lanes.extend(self.lanes().map(|(lane, _)| lane));
            return lanes;
        }
        let (tree, counted) = (&self.tree, &self.tree.counted);
        let mut opened = Mask::default();
        for shape in open.differing(&counted.open) {
            if shapes.is_open(shape) {
                opened.join(&Mask::of(shape));
            } else {
                lanes.extend(counted.counted_for(shape));
            }
        }
        self.add_uncounted(WHOLE, opened, &mut lanes);
        for branch in refunded {
            self.add_uncounted(branch, shapes.open(), &mut lanes);
        }
        for shape in counted.shapes().filter(|shape| shapes.is_open(*shape)) {
            let known = shapes.get(shape);
            let refuses = |branch: &&u32| !tree.get(**branch).admits(&known.need, known.count());
            let refusing: Vec<u32> = charged.iter().filter(refuses).copied().collect();
            let is_in =
                |lane: &u32| tree.up_from(self.lane(*lane).branch).any(|branch| refusing.contains(&branch));
            if !refusing.is_empty() {
                lanes.extend(counted.counted_for(shape).filter(is_in));
            }
        }
        lanes
    }

    /// The lanes in a branch that are not counted, and in which some of these shapes wait.
    fn add_uncounted(&self, at: u32, wanted: Mask, lanes: &mut BTreeSet<u32>) {
        let branch = self.tree.get(at);
        branch.ranking.find(
            |mask| mask.meets(wanted),
            |seat| {
                match branch.member(seat) {
                    Member::Lane(lane) if at != WHOLE && !self.tree.counted.shape_of.contains_key(&lane) => {
                        lanes.insert(lane);
                    }
                    Member::Lane(_) => {}
                    Member::Branch(below) => self.add_uncounted(below, wanted, lanes),
                }
                false
            },
        );
    }

    /// Counts a lane as what it is now.
    fn count(&mut self, slot: u32, shapes: &Shapes) {
        let lane = self.lane(slot);
        let (branch, seat) = (lane.branch, lane.seat);
        if branch == WHOLE {
            return;
        }
        let known = self.tree.counted.shape_of.get(&slot).copied();
        let shape = self.shape_to_go(slot, known, shapes);
        self.tree.counted.set(slot, shape);
        let lane = &self.lanes[slot];
        let (share, weight) = (lane.share(), lane.weight);
        let child = match &lane.standing {
            Standing::Direction(direction) if shape.is_some() => Some(Child { share, weight, direction }),
            _ => None,
        };
        if self.tree.get_mut(branch).children.set(seat, child) {
            self.tree.counted.changed.insert(branch);
        }
    }

    /// A shape that waits in a lane and can be placed now, the known one where it is one.
    fn shape_to_go(&self, slot: u32, known: Option<u32>, shapes: &Shapes) -> Option<u32> {
        let lane = self.lane(slot);
        if self.is_strict() {
            let first = lane.head().map(|(_, head)| head.shape);
            return first.filter(|shape| shapes.is_open(*shape) && self.may_go(slot, shapes.get(*shape)));
        }
        let mask = lane.mask(self.backfill).meet(shapes.open());
        let can_go = |shape: &u32| {
            mask.meets(Mask::of(*shape))
                && lane.cell_of(*shape).is_some()
                && self.may_go(slot, shapes.get(*shape))
        };
        if mask == Mask::default() {
            return None;
        }
        let known = known.filter(|shape| shapes.is_open(*shape) && can_go(shape));
        known.or_else(|| shapes.hoping().iter().find(can_go))
    }
}
