//! What is free on an agent, and on any of a group of agents.

use allot_model::{Request, Resources};

use crate::dims::{Dims, Need, Vector, named_part};
use crate::ranked::Summary;
use crate::shape::{Shape, UNCONSTRAINED};

/// What is free: totals of everything, and the items and ranges among it by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Free {
    pub(crate) amounts: Vector,
    pub(crate) named: Resources,
}

/// How many resources the index looks at; the others are checked agent by agent.
const INDEXED: usize = 4;

/// What a subtree of agents has: the most of each resource on any of them, the constraints that hold on any, and the
/// shapes that any has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    most: [u64; INDEXED],
    /// Bit `class % 64` is set where a class of constraints holds.
    classes: u64,
    /// By the bits of the sieve.
    fitting: u128,
}

impl Summary for Room {
    fn join(&mut self, other: &Self) {
        for (most, other) in self.most.iter_mut().zip(other.most) {
            *most = (*most).max(other);
        }
        self.classes |= other.classes;
        self.fitting |= other.fitting;
    }
}

impl Room {
    /// What one agent has.
    pub(crate) fn of(free: &Vector, classes: impl Iterator<Item = u32>, fitting: u128) -> Self {
        let mut room = Self { fitting, ..Self::default() };
        for (most, (_, amount)) in room.most.iter_mut().zip(free.iter()) {
            *most = amount;
        }
        room.classes = classes.fold(0, |bits, class| bits | class_bit(class));
        room
    }

    /// What it takes to have room for the shape.
    pub(crate) fn wanted(shape: &Shape) -> Self {
        let fitting = shape.bit.map_or(0, |bit| 1 << bit);
        let mut wanted = Self { most: [0; INDEXED], classes: class_bit(shape.class), fitting };
        for (dim, amount) in shape.need.iter() {
            if let Some(least) = wanted.most.get_mut(dim) {
                *least = amount;
            }
        }
        wanted
    }

    pub(crate) fn covers(&self, wanted: &Self) -> bool {
        if wanted.fitting != 0 {
            return self.fitting & wanted.fitting != 0;
        }
        self.most.iter().zip(wanted.most).all(|(most, least)| *most >= least)
            && self.classes & wanted.classes == wanted.classes
    }
}

fn class_bit(class: u32) -> u64 {
    if class == UNCONSTRAINED { 0 } else { 1 << (class % 64) }
}

impl Free {
    pub(crate) fn of(resources: &Resources, dims: &mut Dims) -> Self {
        Self { amounts: dims.vector(resources), named: named_part(resources) }
    }

    /// Takes away what `count` tasks got, of which the items and ranges are `named`.
    pub(crate) fn subtract(&mut self, need: &Need, count: u64, named: Option<&Resources>) {
        self.amounts.subtract_need(need, count);
        if let Some(named) = named
            && self.named.subtract(named).is_err()
        {
            // The offer does not hold what was granted from an earlier one, so nothing of the kind can be relied on.
            self.named = Resources::new();
        }
    }

    pub(crate) fn holds(&self, shape: &Shape) -> bool {
        self.amounts.holds(&shape.need) && (self.named.is_empty() || self.take(&shape.request).is_some())
    }

    pub(crate) fn names_any(&self, request: &Request) -> bool {
        !self.named.is_empty() && request.iter().any(|(name, _)| self.named.get(name).is_some())
    }

    /// The items and ranges for one task. What is merely counted is not looked at.
    pub(crate) fn take(&self, request: &Request) -> Option<Resources> {
        let named = request.iter().filter(|(name, _)| self.named.get(name).is_some());
        self.named.take(&named.map(|(name, amount)| (name.clone(), amount)).collect())
    }
}
