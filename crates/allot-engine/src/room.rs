//! What is free on an agent, and on any of a group of agents.

use allot_model::resources::WHOLE;
use allot_model::{Amount, Request, ResourceName, Resources};

use crate::dims::{Dim, Dims, GPUS, Need, Vector, named_part};
use crate::ranked::Summary;
use crate::shape::{Shape, UNCONSTRAINED};

/// What is free: totals of everything, and the items and ranges among it by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Free {
    pub(crate) amounts: Vector,
    pub(crate) named: Resources,
    /// What the named ones come to, for the paths that are walked often.
    pieces: Vec<Pieces>,
}

/// What is left of a resource that is given out by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pieces {
    name: ResourceName,
    dim: Dim,
    /// How much of each item is left, the least first; nothing where they are numbers, which nobody has a part of.
    items: Option<Vec<u64>>,
}

/// So many devices are looked at one by one where they are merely counted.
const MOST_COUNTED: u64 = 1_024;

/// How many resources the index looks at; the others are checked agent by agent.
pub(crate) const INDEXED: usize = 4;

/// What a subtree of agents has: the most of each resource on any of them, the constraints that hold on any, and the
/// shapes that any has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    most: [u64; INDEXED],
    /// Bit `class % 64` is set where a class of constraints holds.
    classes: u64,
    /// By the bits of the sieve.
    fitting: u128,
    /// How many agents there are.
    agents: u64,
}

impl Summary for Room {
    fn join(&mut self, other: &Self) {
        for (most, other) in self.most.iter_mut().zip(other.most) {
            *most = (*most).max(other);
        }
        self.classes |= other.classes;
        self.fitting |= other.fitting;
        self.agents += other.agents;
    }
}

impl Room {
    /// What one agent has.
    pub(crate) fn of(free: &Vector, classes: impl Iterator<Item = u32>, fitting: u128) -> Self {
        let mut room = Self { fitting, agents: 1, ..Self::default() };
        for (most, (_, amount)) in room.most.iter_mut().zip(free.iter()) {
            *most = amount;
        }
        room.classes = classes.fold(0, |bits, class| bits | class_bit(class));
        room
    }

    /// What it takes to have room for the shape.
    pub(crate) fn wanted(shape: &Shape) -> Self {
        let fitting = shape.bit.map_or(0, |bit| 1 << bit);
        let mut wanted = Self { classes: class_bit(shape.class), fitting, ..Self::default() };
        for (dim, amount) in shape.need.iter() {
            if let Some(least) = wanted.most.get_mut(dim) {
                *least = amount;
            }
        }
        wanted
    }

    /// How many agents there are.
    pub(crate) fn agents(&self) -> u64 {
        self.agents
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
        let named = named_part(resources);
        let pieces = named.iter().map(|(name, amount)| Pieces::of(name, amount, dims.place(name))).collect();
        Self { amounts: dims.vector(resources), named, pieces }
    }

    /// What is left of a resource that is given out by name.
    pub(crate) fn pieces(&self, dim: Dim) -> Option<&Pieces> {
        self.pieces.iter().find(|pieces| pieces.dim == dim)
    }

    /// How much of each gpu is left, the fullest gpu first and none that is taken wholly. Where gpus are merely counted
    /// there is one that is not whole at most.
    pub(crate) fn gpus(&self, devices: &mut Vec<u64>) {
        devices.clear();
        if let Some(items) = self.pieces(GPUS).and_then(|pieces| pieces.items.as_ref()) {
            devices.extend(items.iter().map(|left| (*left).min(WHOLE)));
            return;
        }
        let left = self.amounts.get(GPUS);
        devices.extend(Some(left % WHOLE).filter(|part| *part > 0));
        devices.extend((0..(left / WHOLE).min(MOST_COUNTED)).map(|_| WHOLE));
    }

    /// Takes away what `count` tasks got, of which the items and ranges are `named`.
    pub(crate) fn subtract(&mut self, need: &Need, count: u64, named: Option<&Resources>) {
        self.amounts.subtract_need(need, count);
        let Some(named) = named else { return };
        if self.named.subtract(named).is_err() {
            // The offer does not hold what was granted from an earlier one, so nothing of the kind can be relied on.
            self.named = Resources::new();
        }
        let left = &self.named;
        self.pieces.retain_mut(|pieces| pieces.recount(left.get(&pieces.name)));
    }

    /// Takes away what one task would get that asks for this.
    pub(crate) fn give(&mut self, need: &Need, request: &Request) {
        let named = if self.names_any(request) { self.take(request) } else { None };
        self.subtract(need, 1, named.as_ref());
    }

    /// Takes away what is set aside for a task, as far as it is there: of the items and ranges these, where they are known.
    pub(crate) fn set_aside(&mut self, need: &Need, named: &Resources) {
        self.amounts.subtract_need(need, 1);
        for (name, amount) in named.iter() {
            let Some(left) = self.named.get(name).map(|has| rest_of(has, amount)) else { continue };
            self.named.set(name.clone(), left);
        }
        let left = &self.named;
        self.pieces.retain_mut(|pieces| pieces.recount(left.get(&pieces.name)));
    }

    /// Gives back what [`Free::subtract`] took for `count` tasks of the shape.
    pub(crate) fn add(&mut self, shape: &Shape, count: u64, named: Option<&Resources>) {
        self.amounts.add_need(&shape.need, count);
        let Some(named) = named else { return };
        // What was just taken from here cannot be too much when it comes back.
        let _ = self.named.add(named);
        for ((name, _), (dim, _)) in shape.request.iter().zip(shape.need.iter()) {
            let Some(left) = self.named.get(name) else { continue };
            match self.pieces.iter_mut().find(|pieces| pieces.dim == dim) {
                Some(pieces) => {
                    pieces.recount(Some(left));
                }
                None => self.pieces.push(Pieces::of(name, left, dim)),
            }
        }
        self.pieces.sort_by(|left, right| left.name.cmp(&right.name));
    }

    /// Adds what `count` tasks hold that are to end, of which the items and ranges are `named`.
    pub(crate) fn restore(&mut self, held: &Need, count: u64, named: &Resources, dims: &Dims) {
        self.amounts.add_need(held, count);
        // What cannot be added is there already.
        let _ = self.named.add(named);
        for (name, _) in named.iter() {
            let (Some(left), Some(dim)) = (self.named.get(name), dims.find(name)) else { continue };
            match self.pieces.iter_mut().find(|pieces| pieces.dim == dim) {
                Some(pieces) => _ = pieces.recount(Some(left)),
                None => self.pieces.push(Pieces::of(name, left, dim)),
            }
        }
    }

    pub(crate) fn holds(&self, shape: &Shape) -> bool {
        let suits = |pieces: &Pieces| pieces.hold(shape.need.get(pieces.dim));
        self.amounts.holds(&shape.need) && self.pieces.iter().all(suits)
    }

    /// How many tasks of the shape have room, each with items and ranges of its own where there are any.
    pub(crate) fn times(&self, shape: &Shape) -> u64 {
        let counted = self.amounts.times(&shape.need);
        if !self.names_any(&shape.request) {
            return counted;
        }
        let (mut left, mut tasks) = (self.named.clone(), 0);
        while tasks < counted
            && let Some(taken) = (Self { named: left.clone(), ..Self::default() }).take(&shape.request)
            && left.subtract(&taken).is_ok()
        {
            tasks += 1;
        }
        tasks
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

impl Pieces {
    fn of(name: &ResourceName, amount: &Amount, dim: Dim) -> Self {
        Self { name: name.clone(), dim, items: items(amount) }
    }

    /// Takes in what is left now; false where that is nothing.
    fn recount(&mut self, left: Option<&Amount>) -> bool {
        self.items = left.and_then(items);
        left.is_some()
    }

    /// The largest part of one that someone can have.
    pub(crate) fn largest_share(&self) -> u64 {
        let largest = self.items.as_ref().and_then(|items| items.last()).copied().unwrap_or(0);
        largest.min(WHOLE - 1)
    }

    /// How much someone can have in whole pieces, where there is `amount` in all.
    pub(crate) fn whole(&self, amount: u64) -> u64 {
        match &self.items {
            None => amount,
            Some(items) => WHOLE * items.iter().rev().filter(|left| **left == WHOLE).count() as u64,
        }
    }

    /// True where so much can be had, as far as that depends on the pieces, by the rules of [`Amount::available_for`].
    fn hold(&self, wanted: u64) -> bool {
        match (&self.items, wanted) {
            (_, 0) => true,
            (Some(_), ..WHOLE) => self.largest_share() >= wanted,
            (Some(_), _) => wanted.is_multiple_of(WHOLE) && self.whole(0) >= wanted,
            (None, _) => wanted.is_multiple_of(WHOLE),
        }
    }
}

/// What is left of an amount without another, as far as that is in it.
fn rest_of(has: &Amount, taken: &Amount) -> Amount {
    match (has, taken) {
        (Amount::Items(has), Amount::Items(taken)) => {
            let left = |(item, amount): (&String, &u64)| {
                (item.clone(), amount.saturating_sub(taken.get(item).copied().unwrap_or(0)))
            };
            Amount::Items(has.iter().map(left).collect())
        }
        (Amount::Ranges(has), Amount::Ranges(taken)) => {
            let mut left = has.clone();
            // One by one, as some may not be there.
            let numbers = taken.iter().flat_map(|(first, last)| first..=last);
            numbers.for_each(|number| _ = left.remove(number, number));
            Amount::Ranges(left)
        }
        _ => has.clone(),
    }
}

fn items(amount: &Amount) -> Option<Vec<u64>> {
    let Amount::Items(items) = amount else { return None };
    let mut left: Vec<u64> = items.values().copied().filter(|left| *left > 0).collect();
    left.sort_unstable();
    Some(left)
}

/// What is left of devices once a task that asks for so much has the ones it gets, by the rules of [`Resources::take`]: a
/// share of the fullest that has enough, or whole ones. The fullest first, before and after.
pub(crate) fn without(devices: &[u64], asked: u64, left: &mut Vec<u64>) {
    left.clear();
    if asked >= WHOLE {
        let count = usize::try_from(asked / WHOLE).unwrap_or(usize::MAX);
        left.extend(&devices[..devices.len().saturating_sub(count)]);
        return;
    }
    let chosen = devices.partition_point(|left| *left < asked);
    let rest = devices.get(chosen).map_or(0, |has| has - asked);
    left.extend(devices.iter().enumerate().filter(|(place, _)| *place != chosen).map(|(_, left)| *left));
    if rest > 0 {
        left.insert(left.partition_point(|left| *left < rest), rest);
    }
}

#[cfg(test)]
mod tests;
