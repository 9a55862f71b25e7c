//! Hierarchical dominant resource fairness [Bhattacharya et al., SoCC 2013].
//!
//! A queue with queues below it counts as holding the sum of what they hold, where first each child is scaled down to the
//! dominant share over its weight of the least of them, and children that are blocked are left out: those in which nothing
//! that waits could be placed now. The plain sum would count against a child what another holds of things that the child
//! does not want, and starve it.
//!
//! So a node is the least share of its children, and a direction: the sum of theirs, each by its weight. Directions are in
//! parts of [`UNIT`], rounded down, which is exact for small numbers; shares are fractions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Amounts, Measure};
use crate::share::Share;

/// What all of something is in: a number that can be divided by many, so that parts of round numbers are whole.
pub(crate) const UNIT: u64 = UNIT_A * UNIT_B;
const UNIT_A: u64 = (1 << 10) * 81 * 625;
const UNIT_B: u64 = 49 * 11 * 13 * 17 * 19 * 23;

/// How much of each resource there is for a whole of the dominant one, in parts of [`UNIT`]; nothing where nothing is
/// held.
pub(crate) type Direction = Vec<u64>;

/// What a node counts as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Blend {
    /// Without its own weight.
    pub(crate) share: Share,
    pub(crate) direction: Direction,
}

/// One child of a node that has something to place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child<'a> {
    /// Over its weight.
    pub(crate) share: Share,
    pub(crate) weight: u32,
    pub(crate) direction: &'a Direction,
}

/// The children of a node that have something to place, by their seats, and their directions added up by their weights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Children {
    by_seat: BTreeMap<u32, (Share, u32, Direction)>,
    shares: BTreeSet<(Share, u32)>,
    sum: Vec<u128>,
}

impl Children {
    /// What there is of a child now. True where that is something else than before.
    pub(crate) fn set(&mut self, seat: u32, child: Option<Child<'_>>) -> bool {
        if let Some((share, weight, direction)) = self.by_seat.get(&seat) {
            let is_same = |child: &Child<'_>| {
                child.share.parts() == share.parts()
                    && child.weight == *weight
                    && child.direction == direction
            };
            if child.as_ref().is_some_and(is_same) {
                return false;
            }
            self.shares.remove(&(*share, seat));
            for (all, part) in self.sum.iter_mut().zip(direction) {
                *all -= u128::from(*part) * u128::from(*weight);
            }
        } else if child.is_none() {
            return false;
        }
        let Some(Child { share, weight, direction }) = child else {
            self.by_seat.remove(&seat);
            return true;
        };
        self.shares.insert((share, seat));
        self.sum.resize(self.sum.len().max(direction.len()), 0);
        for (all, part) in self.sum.iter_mut().zip(direction) {
            *all += u128::from(*part) * u128::from(weight);
        }
        self.by_seat.insert(seat, (share, weight, direction.clone()));
        true
    }

    /// What the node counts as; nothing where there are none.
    pub(crate) fn blend(&self) -> Option<Blend> {
        let (least, most) = (self.shares.first()?.0, self.sum.iter().copied().max().unwrap_or(0));
        if least == Share::ZERO || most == 0 {
            return Some(Blend { share: least, direction: Direction::new() });
        }
        let direction = self.sum.iter().map(|part| parts(*part, most)).collect();
        Some(Blend { share: least.times(most, u128::from(UNIT)), direction })
    }
}

/// An agent for each shape that is known to fit somewhere: it does so until something is taken of what is free there. None
/// for one that may need several agents, of which it is not known any more as soon as anything is taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witnesses(BTreeMap<u32, Option<u32>>);

impl Witnesses {
    pub(crate) fn has(&self, shape: u32) -> bool {
        self.0.contains_key(&shape)
    }

    pub(crate) fn note(&mut self, shape: u32, agent: Option<u32>) {
        self.0.insert(shape, agent);
    }

    /// Something was taken of what is free on an agent, where these still fit.
    pub(crate) fn taken(&mut self, agent: u32, fits: impl Fn(u32) -> bool) {
        self.0.retain(|shape, witness| witness.is_some_and(|witness| witness != agent || fits(*shape)));
    }

    /// Anything may be other than it was.
    pub(crate) fn forget_all(&mut self) {
        self.0.clear();
    }
}

/// `some` of `all`, which is not nothing, in parts of [`UNIT`], rounded down.
pub(crate) fn parts(some: u128, all: u128) -> u64 {
    // Two steps, so that no product is too long. Amounts beyond all reason lose their last digits.
    let shift = (some.max(all) >> 100).checked_ilog2().map_or(0, |bits| bits + 1);
    let (some, all) = (some >> shift, (all >> shift).max(1));
    let (first, rest) = (some * u128::from(UNIT_A) / all, some * u128::from(UNIT_A) % all);
    let whole = first.saturating_mul(u128::from(UNIT_B)).saturating_add(rest * u128::from(UNIT_B) / all);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

/// Which way a queue that holds this goes.
pub(crate) fn direction(used: &impl Amounts, measure: &Measure<'_>) -> Direction {
    let shares = (0..used.dims()).map(|dim| Share::of(used.amount(dim), measure.capacity.get(dim), 1));
    let (held, whole) = match shares.clone().max() {
        Some(most) if most > Share::ZERO => most.parts(),
        _ => return Direction::new(),
    };
    let beside = |share: Share| match (share.parts(), whole) {
        // What there is none of is all that counts.
        ((_, 0), _) => UNIT,
        (_, 0) => 0,
        ((some, of), whole) => parts(u128::from(some) * whole, u128::from(held) * of),
    };
    shares.map(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Children with these shares, weights and directions.
    fn children(all: &[((u64, u64), u32, &Direction)]) -> Children {
        let mut children = Children::default();
        for (seat, ((some, of), weight, direction)) in (0..).zip(all) {
            let share = Share::of(*some, *of, *weight);
            children.set(seat, Some(Child { share, weight: *weight, direction }));
        }
        children
    }

    #[test]
    fn h6_a_parent_counts_what_its_children_would_have_if_all_had_the_least() {
        let (first, second) = (vec![UNIT, 0], vec![0, UNIT]);
        let blend = children(&[((1, 2), 1, &first), ((1, 1), 1, &second)]).blend().unwrap();
        assert_eq!((blend.share, blend.direction), (Share::of(1, 2, 1), vec![UNIT, UNIT]));
    }

    #[test]
    fn weights_of_children_add_up() {
        let only = vec![UNIT];
        let three = children(&[((1, 480), 1, &only), ((3, 480), 2, &only), ((2, 480), 2, &only)]);
        assert_eq!(three.blend().unwrap().share, Share::of(5, 480, 1), "5 times 1/480");
    }

    #[test]
    fn a_child_with_nothing_makes_it_nothing_and_no_child_is_no_blend() {
        let (some, none) = (vec![UNIT], Vec::new());
        let blended = children(&[((1, 2), 1, &some), ((0, 1), 1, &none)]).blend().unwrap();
        assert_eq!(blended.share, Share::ZERO);
        assert_eq!(children(&[]).blend(), None);
    }

    #[test]
    fn a_child_that_changes_or_leaves_counts_as_if_it_had_always_been_so() {
        let (first, second) = (vec![UNIT, UNIT / 3], vec![UNIT / 7, UNIT]);
        let (two, one) = ([((1, 2), 3, &first), ((1, 5), 2, &second)], [((1, 2), 3, &first)]);
        let mut changed = children(&[((2, 3), 1, &second), ((1, 5), 2, &second), ((1, 9), 1, &first)]);
        let child = Child { share: Share::of(1, 2, 3), weight: 3, direction: &first };
        assert!(changed.set(0, Some(child)) && !changed.set(0, Some(child)));
        assert!(changed.set(2, None) && !changed.set(2, None));
        assert_eq!(changed.blend(), children(&two).blend());
        assert!(changed.set(1, None));
        assert_eq!(changed.blend(), children(&one).blend());
    }

    #[test]
    fn parts_of_round_numbers_are_exact_and_the_largest_do_not_overflow() {
        assert_eq!((parts(1, 480), parts(3, 10_000)), (UNIT / 480, UNIT / 10_000 * 3));
        assert_eq!((parts(0, 1), parts(u128::MAX, u128::MAX)), (0, UNIT));
        assert_eq!(parts(u128::MAX, 1), u64::MAX);
    }
}
