//! Values under small numbers that are used again.

use std::ops::{Index, IndexMut};

/// Values by slot. A vacant slot holds the default value, which stands for nothing, so that a stale slot finds
/// nothing rather than failing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slab<T> {
    items: Vec<T>,
    vacant: Vec<u32>,
}

impl<T: Default> Slab<T> {
    /// Stores a value and returns its slot.
    pub(crate) fn insert(&mut self, item: T) -> u32 {
        if let Some(slot) = self.vacant.pop() {
            self[slot] = item;
            return slot;
        }
        let slot = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        self.items.push(item);
        slot
    }

    /// Takes the value out and lets its slot be used again.
    pub(crate) fn remove(&mut self, slot: u32) -> T {
        self.vacant.push(slot);
        std::mem::take(&mut self[slot])
    }

    /// All slots with their values, the vacant ones with the default.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.items.iter())
    }

    /// How many slots were ever in use at once.
    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, slot: u32) -> &T {
        &self.items[slot as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.items[slot as usize]
    }
}
