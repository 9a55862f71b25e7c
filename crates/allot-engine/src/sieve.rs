//! Which shapes fit what is free, all at once.
//!
//! For each resource the amounts that shapes ask for are kept in order, each with the set of shapes that ask for no more.
//! One search a resource, and what all of them let through fits.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::resources::WHOLE;

use crate::dims::Need;
use crate::room::{Free, Pieces};
use crate::shape::UNCONSTRAINED;

/// How many shapes have a bit of their own. More of them share bits, and are then told apart where it matters.
const BITS: u32 = 128;

/// The shapes worth knowing for each agent whether they fit there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sieve {
    shapes: BTreeMap<u32, Known>,
    by_dim: Vec<Steps>,
    by_class: BTreeMap<u32, u128>,
}

/// A shape and its bit.
#[derive(Debug, Clone)]
struct Known {
    bit: u32,
    need: Need,
    class: u32,
}

/// What fits which amount of one resource.
#[derive(Debug, Clone, Default)]
struct Steps {
    /// The shapes that do not ask for it.
    indifferent: u128,
    /// Amounts in order, each with the shapes that ask for no more.
    amounts: Vec<(u64, u128)>,
    /// The same of the shapes that ask for whole pieces alone.
    wholes: Vec<(u64, u128)>,
}

/// Amounts in order, each with the shapes at it and before it, beside those in `all`.
fn cumulated(mut all: u128, asked: impl Iterator<Item = (u64, u128)>) -> Vec<(u64, u128)> {
    let with_those_before = |(amount, shapes): (u64, u128)| {
        all |= shapes;
        (amount, all)
    };
    asked.map(with_those_before).collect()
}

/// The shapes that ask for no more than the amount, `none` where each asks for more.
fn up_to(steps: &[(u64, u128)], amount: u64, none: u128) -> u128 {
    let step = steps.partition_point(|(asked, _)| *asked <= amount);
    step.checked_sub(1).map_or(none, |step| steps[step].1)
}

impl Sieve {
    /// Gives the shape a bit, if it has none yet, and returns it.
    pub(crate) fn add(&mut self, id: u32, need: &Need, class: u32) -> u32 {
        if let Some(known) = self.shapes.get(&id) {
            return known.bit;
        }
        let users = |bit: &u32| self.shapes.values().filter(|known| known.bit == *bit).count();
        let bit = (0..BITS).min_by_key(users).unwrap_or(0);
        self.shapes.insert(id, Known { bit, need: need.clone(), class });
        self.arrange();
        bit
    }

    /// Forgets the shape.
    pub(crate) fn remove(&mut self, id: u32) {
        if self.shapes.remove(&id).is_some() {
            self.arrange();
        }
    }

    fn arrange(&mut self) {
        let dims: BTreeSet<usize> =
            self.shapes.values().flat_map(|known| known.need.iter().map(|(dim, _)| dim)).collect();
        self.by_dim = (0..dims.last().map_or(0, |last| last + 1)).map(|dim| self.steps(dim)).collect();
        self.by_class.clear();
        for known in self.shapes.values() {
            *self.by_class.entry(known.class).or_insert(0) |= 1 << known.bit;
        }
    }

    fn steps(&self, dim: usize) -> Steps {
        let mut asked: BTreeMap<u64, u128> = BTreeMap::new();
        for known in self.shapes.values() {
            *asked.entry(known.need.get(dim)).or_insert(0) |= 1 << known.bit;
        }
        let indifferent = asked.remove(&0).unwrap_or(0);
        let wholes = asked.iter().filter(|(amount, _)| amount.is_multiple_of(WHOLE));
        let wholes = cumulated(0, wholes.map(|(amount, shapes)| (*amount, *shapes)));
        Steps { indifferent, amounts: cumulated(indifferent, asked.into_iter()), wholes }
    }

    /// The shapes that there is room for. A bit that several shapes share may be set for none of them.
    pub(crate) fn fitting(&self, free: &Free) -> u128 {
        let mut fitting = u128::MAX;
        for (dim, steps) in self.by_dim.iter().enumerate() {
            fitting &= match free.pieces(dim) {
                None => steps.fitting(free.amounts.get(dim)),
                Some(pieces) => steps.fitting_pieces(pieces, free.amounts.get(dim)),
            };
        }
        fitting
    }

    /// The shapes whose constraints are among these classes.
    pub(crate) fn allowed(&self, classes: &BTreeSet<u32>) -> u128 {
        let all = [UNCONSTRAINED].into_iter().chain(classes.iter().copied());
        all.filter_map(|class| self.by_class.get(&class)).fold(0, |allowed, shapes| allowed | shapes)
    }
}

impl Steps {
    fn fitting(&self, amount: u64) -> u128 {
        up_to(&self.amounts, amount, self.indifferent)
    }

    fn fitting_pieces(&self, pieces: &Pieces, amount: u64) -> u128 {
        let shares = up_to(&self.amounts, pieces.largest_share(), self.indifferent);
        shares | up_to(&self.wholes, pieces.whole(amount), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dims;
    use allot_model::Request;
    use proptest::prelude::*;

    fn request(amounts: &[u64]) -> Request {
        let names = ["cpus", "mem", "licenses"];
        names.iter().zip(amounts).map(|(name, amount)| (name.parse().unwrap(), *amount)).collect()
    }

    proptest! {
        #[test]
        fn it_lets_through_exactly_what_fits(
            asks in proptest::collection::vec(proptest::collection::vec(0_u64..5, 3), 1..140),
            removed in any::<prop::sample::Index>(),
            free in proptest::collection::vec(0_u64..6, 3),
        ) {
            let mut dims = Dims::new();
            let mut sieve = Sieve::default();
            let needs: Vec<Need> = asks.iter().map(|asks| dims.need(&request(asks))).collect();
            let bits: Vec<u32> = (0..).zip(&needs).map(|(id, need)| sieve.add(id, need, UNCONSTRAINED)).collect();
            let removed = removed.index(needs.len());
            sieve.remove(u32::try_from(removed).unwrap());
            let free = Free::of(&request(&free).as_scalars(), &mut dims);
            let fitting = sieve.fitting(&free) & sieve.allowed(&BTreeSet::new());
            for (place, (need, bit)) in needs.iter().zip(bits).enumerate().filter(|(place, _)| *place != removed) {
                let is_set = fitting & (1 << bit) != 0;
                let shared = needs.len() > 128;
                prop_assert!(is_set == free.amounts.holds(need) || shared && is_set, "shape {place}");
            }
        }
    }
}
