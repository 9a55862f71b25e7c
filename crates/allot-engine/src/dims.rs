//! Resources as vectors of plain numbers, for the paths that are walked often.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{Amount, Request, ResourceName, Resources};

/// The place of a resource in a vector.
pub(crate) type Dim = usize;

/// The resources that have a place from the start, in order.
const USUAL: [&str; 4] = ["cpus", "mem", "gpus", "disk"];

pub(crate) const CPUS: Dim = 0;
pub(crate) const GPUS: Dim = 2;

/// Which resource has which place. The usual ones come first, which is where the index over agents looks.
#[derive(Debug, Clone)]
pub(crate) struct Dims {
    names: Vec<ResourceName>,
    places: BTreeMap<ResourceName, Dim>,
}

impl Dims {
    pub(crate) fn new() -> Self {
        let mut dims = Self { names: Vec::new(), places: BTreeMap::new() };
        for name in USUAL {
            if let Ok(name) = ResourceName::new(name) {
                dims.place(&name);
            }
        }
        dims
    }

    /// The place of a resource; a new one where it was never named.
    pub(crate) fn place(&mut self, name: &ResourceName) -> Dim {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.names.push(name.clone());
        self.places.insert(name.clone(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// The place of a resource that was named before.
    pub(crate) fn find(&self, name: &ResourceName) -> Option<Dim> {
        self.places.get(name).copied()
    }

    /// How many resources have a place.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The resource at a place.
    pub(crate) fn name(&self, dim: Dim) -> Option<&ResourceName> {
        self.names.get(dim)
    }

    /// The totals of all amounts.
    pub(crate) fn vector(&mut self, resources: &Resources) -> Vector {
        let mut vector = Vector::default();
        for (name, amount) in resources.iter() {
            vector.add(self.place(name), amount.total());
        }
        vector
    }

    /// What one task asks for.
    pub(crate) fn need(&mut self, request: &Request) -> Need {
        Need(request.iter().map(|(name, amount)| (self.place(name), amount)).collect())
    }

    /// What each task of a placement holds.
    pub(crate) fn held(&mut self, slice: &Resources) -> Need {
        Need(slice.iter().map(|(name, amount)| (self.place(name), amount.total())).collect())
    }
}

/// So many resources need no list of their own.
const FEW: usize = 4;

/// Amounts by place; nothing beyond its end. Those of the first few places, which mostly are all, stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Vector {
    few: [u64; FEW],
    more: Vec<u64>,
}

impl Vector {
    pub(crate) fn get(&self, dim: Dim) -> u64 {
        let amount = self.few.get(dim).or_else(|| self.more.get(dim.checked_sub(FEW)?));
        amount.copied().unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dim, u64)> {
        self.few.iter().chain(&self.more).copied().enumerate()
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.few == [0; FEW] && self.more.iter().all(|amount| *amount == 0)
    }

    fn place(&mut self, dim: Dim) -> Option<&mut u64> {
        match dim.checked_sub(FEW) {
            None => self.few.get_mut(dim),
            Some(beyond) => self.more.get_mut(beyond),
        }
    }

    pub(crate) fn set(&mut self, dim: Dim, amount: u64) {
        if self.place(dim).is_none() {
            self.more.resize(dim + 1 - FEW, 0);
        }
        if let Some(held) = self.place(dim) {
            *held = amount;
        }
    }

    pub(crate) fn add(&mut self, dim: Dim, amount: u64) {
        self.set(dim, self.get(dim).saturating_add(amount));
    }

    pub(crate) fn subtract(&mut self, dim: Dim, amount: u64) {
        if let Some(held) = self.place(dim) {
            *held = held.saturating_sub(amount);
        }
    }

    /// Adds `count` times the need.
    pub(crate) fn add_need(&mut self, need: &Need, count: u64) {
        need.iter().for_each(|(dim, amount)| self.add(dim, amount.saturating_mul(count)));
    }

    /// Takes `count` times the need away, down to nothing.
    pub(crate) fn subtract_need(&mut self, need: &Need, count: u64) {
        need.iter().for_each(|(dim, amount)| self.subtract(dim, amount.saturating_mul(count)));
    }

    /// True where all of the need is there.
    pub(crate) fn holds(&self, need: &Need) -> bool {
        need.iter().all(|(dim, amount)| self.get(dim) >= amount)
    }

    /// How many times the need is there.
    pub(crate) fn times(&self, need: &Need) -> u64 {
        need.iter().map(|(dim, amount)| self.get(dim) / amount.max(1)).min().unwrap_or(u64::MAX)
    }
}

/// Amounts per task, the places that are asked for only. Shared by all that hold them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Need(Arc<[(Dim, u64)]>);

impl Need {
    pub(crate) fn get(&self, dim: Dim) -> u64 {
        self.iter().find(|(asked, _)| *asked == dim).map_or(0, |(_, amount)| amount)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dim, u64)> {
        self.0.iter().copied()
    }
}

/// The items and ranges among the resources, without what is merely counted.
pub(crate) fn named_part(resources: &Resources) -> Resources {
    let named = resources.iter().filter(|(_, amount)| !matches!(amount, Amount::Scalar(_)));
    named.map(|(name, amount)| (name.clone(), amount.clone())).collect()
}
