//! Hierarchical dominant resource fairness [Bhattacharya et al., SoCC 2013].
//!
//! A queue with queues below it counts as holding the sum of what they hold, where first each child is scaled down to the
//! dominant share over its weight of the least of them, and children that are blocked are left out: those in which nothing
//! that waits could be placed now. The plain sum would count against a child what another holds of things that the child
//! does not want, and starve it.
//!
//! So a node is the least share of its children, and a direction: the sum of theirs, each by its weight. Directions are in
//! parts of [`UNIT`], rounded down, which is exact for small numbers; shares are fractions.

use std::collections::BTreeMap;

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
pub(crate) struct Child<'a> {
    /// Over its weight.
    pub(crate) share: Share,
    pub(crate) weight: u32,
    pub(crate) direction: &'a Direction,
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

    /// Something was taken of what is free on an agent.
    pub(crate) fn taken(&mut self, agent: u32) {
        self.0.retain(|_, witness| witness.is_some_and(|witness| witness != agent));
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

/// What a node counts as whose children with something to place are these. Nothing where there are none.
pub(crate) fn blend<'a>(children: impl Iterator<Item = Child<'a>>) -> Option<Blend> {
    let mut sum: Vec<u128> = Vec::new();
    let mut least: Option<Share> = None;
    for child in children {
        least = Some(least.map_or(child.share, |least| least.min(child.share)));
        sum.resize(sum.len().max(child.direction.len()), 0);
        for (all, part) in sum.iter_mut().zip(child.direction) {
            *all = all.saturating_add(u128::from(*part) * u128::from(child.weight));
        }
    }
    let (least, most) = (least?, sum.iter().copied().max().unwrap_or(0));
    if least == Share::ZERO || most == 0 {
        return Some(Blend { share: least, direction: Direction::new() });
    }
    let direction = sum.iter().map(|part| parts(*part, most)).collect();
    Some(Blend { share: least.times(most, u128::from(UNIT)), direction })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(share: (u64, u64), weight: u32, direction: &Direction) -> Child<'_> {
        Child { share: Share::of(share.0, share.1, weight), weight, direction }
    }

    #[test]
    fn h6_a_parent_counts_what_its_children_would_have_if_all_had_the_least() {
        let (first, second) = (vec![UNIT, 0], vec![0, UNIT]);
        let blend = blend([child((1, 2), 1, &first), child((1, 1), 1, &second)].into_iter()).unwrap();
        assert_eq!((blend.share, blend.direction), (Share::of(1, 2, 1), vec![UNIT, UNIT]));
    }

    #[test]
    fn weights_of_children_add_up() {
        let only = vec![UNIT];
        let children = [child((1, 480), 1, &only), child((3, 480), 2, &only), child((2, 480), 2, &only)];
        assert_eq!(blend(children.into_iter()).unwrap().share, Share::of(5, 480, 1), "5 times 1/480");
    }

    #[test]
    fn a_child_with_nothing_makes_it_nothing_and_no_child_is_no_blend() {
        let (some, none) = (vec![UNIT], Vec::new());
        let blended = blend([child((1, 2), 1, &some), child((0, 1), 1, &none)].into_iter()).unwrap();
        assert_eq!(blended.share, Share::ZERO);
        assert_eq!(blend(std::iter::empty()), None);
    }

    #[test]
    fn parts_of_round_numbers_are_exact_and_the_largest_do_not_overflow() {
        assert_eq!((parts(1, 480), parts(3, 10_000)), (UNIT / 480, UNIT / 10_000 * 3));
        assert_eq!((parts(0, 1), parts(u128::MAX, u128::MAX)), (0, UNIT));
        assert_eq!(parts(u128::MAX, 1), u64::MAX);
    }
}
