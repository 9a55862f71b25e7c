//! Bounds of what the tasks of a branch hold: the most that they may have, or what is guaranteed to them.

use allot_model::{Limited, QueueLimit};

use crate::branch::Held;
use crate::dims::{Dim, Dims, Need};
use crate::ranked::Summary;
use crate::shape::Mask;

/// Amounts of some resources, and of tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bound {
    tasks: Option<u64>,
    amounts: Box<[(Dim, u64)]>,
}

/// A bound, and which shapes it was found to leave no room for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fence {
    pub(crate) bound: Bound,
    /// Shapes of which as many more tasks as are placed at a time would be too much, as far as that was found out since
    /// something ended.
    refused: Vec<(u32, Need, u64)>,
    /// Their bits.
    pub(crate) full: Mask,
}

impl Bound {
    /// True where it names nothing.
    pub(crate) fn is_none(&self) -> bool {
        self.tasks.is_none() && self.amounts.is_empty()
    }

    pub(crate) fn of(limit: &QueueLimit, dims: &mut Dims) -> Self {
        let amounts = limit.resources.iter().map(|(name, most)| (dims.place(name), *most)).collect();
        Self { tasks: limit.tasks, amounts }
    }

    /// How many tasks, if it says so.
    pub(crate) fn tasks(&self) -> Option<u64> {
        self.tasks
    }

    /// How much of each resource it names.
    pub(crate) fn amounts(&self) -> impl Iterator<Item = (Dim, u64)> {
        self.amounts.iter().copied()
    }

    pub(crate) fn names(&self, dim: Dim) -> bool {
        self.amounts.iter().any(|(named, _)| *named == dim)
    }

    /// How many tasks more keep within it.
    pub(crate) fn room(&self, held: &Held, need: &Need) -> u64 {
        let left = |dim: Dim| {
            let most = self.amounts.iter().find(|(named, _)| *named == dim)?.1;
            Some(most.saturating_sub(held.of(dim)))
        };
        let tasks = self.tasks.map(|most| most.saturating_sub(held.tasks()));
        let asked = need.iter().filter(|(_, amount)| *amount > 0);
        let resources = asked.filter_map(|(dim, amount)| Some(left(dim)? / amount));
        resources.chain(tasks).min().unwrap_or(u64::MAX)
    }

    /// How many tasks more keep within it once so many others have come.
    pub(crate) fn room_beside(&self, held: &Held, (others, count): (&Need, u64), need: &Need) -> u64 {
        let mut held = held.clone();
        held.add(others, count);
        self.room(&held, need)
    }

    /// How many tasks more are guaranteed by it: none of a kind that asks for nothing that it names.
    pub(crate) fn covers(&self, held: &Held, need: &Need) -> u64 {
        let asks = self.tasks.is_some() || need.iter().any(|(dim, amount)| amount > 0 && self.names(dim));
        if asks { self.room(held, need) } else { 0 }
    }

    /// What it names that so many tasks more would be too much of: how much is allowed, held and asked for.
    pub(crate) fn exceeded(
        &self,
        held: &Held,
        (need, count): (&Need, u64),
        dims: &Dims,
    ) -> Option<(Limited, [u64; 3])> {
        if let Some(most) = self.tasks.filter(|most| held.tasks().saturating_add(count) > *most) {
            return Some((Limited::Tasks, [most, held.tasks(), count]));
        }
        let amounts = |(dim, most): &(Dim, u64)| {
            let asked = need.iter().find(|(asked, _)| asked == dim).map_or(0, |(_, amount)| amount);
            (*dim, [*most, held.of(*dim), asked.saturating_mul(count)])
        };
        let too_much =
            |(_, [most, held, asked]): &(Dim, [u64; 3])| *asked > 0 && held.saturating_add(*asked) > *most;
        let (dim, amounts) = self.amounts.iter().map(amounts).find(too_much)?;
        Some((Limited::Resource(dims.name(dim)?.clone()), amounts))
    }
}

impl Fence {
    pub(crate) fn of(limit: &QueueLimit, dims: &mut Dims) -> Self {
        Self { bound: Bound::of(limit, dims), ..Self::default() }
    }

    /// So many tasks more of the shape would be too much. False where that was known.
    pub(crate) fn refuse(&mut self, shape: u32, need: &Need, count: u64) -> bool {
        let is_new = !self.refused.iter().any(|(known, ..)| *known == shape);
        if is_new {
            self.refused.push((shape, need.clone(), count));
            self.full.join(&Mask::of(shape));
        }
        is_new
    }

    /// Forgets refusals that do not hold any more; true where there were some.
    pub(crate) fn reopen(&mut self, still: impl Fn(&Bound, u32, &Need, u64) -> bool) -> bool {
        let before = self.refused.len();
        if before == 0 {
            return false;
        }
        let bound = &self.bound;
        self.refused.retain(|(shape, need, count)| still(bound, *shape, need, *count));
        self.full = Mask::default();
        self.refused.iter().for_each(|(shape, ..)| self.full.join(&Mask::of(*shape)));
        self.refused.len() < before
    }

    /// Forgets what was found out of shapes with this bit; true where there was something.
    pub(crate) fn reconsider(&mut self, bit: Mask) -> bool {
        self.full.meets(bit) && self.reopen(|_, known, _, _| Mask::of(known) != bit)
    }
}
