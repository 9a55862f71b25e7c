//! Amounts by name, in a list that copies share until one of them changes: what a task gets is told to many.

use std::sync::Arc;

use litemap::LiteMap;

use crate::id::ResourceName;

type List<T> = LiteMap<ResourceName, T>;

/// A sorted list, of which there is none where it would be empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Amounts<T>(Option<Arc<List<T>>>);

impl<T> Default for Amounts<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Amounts<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn get(&self, name: &ResourceName) -> Option<&T> {
        self.0.as_ref()?.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &ResourceName) -> Option<&mut T> {
        Arc::make_mut(self.0.as_mut()?).get_mut(name)
    }

    /// In order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ResourceName, &T)> {
        self.0.iter().flat_map(|list| list.iter())
    }

    pub(super) fn insert(&mut self, name: ResourceName, amount: T) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(name, amount);
    }

    pub(super) fn remove(&mut self, name: &ResourceName) {
        if self.get(name).is_some() {
            self.retain(|known, _| known != name);
        }
    }

    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&ResourceName, &T) -> bool) {
        if self.iter().all(|(name, amount)| keeps(name, amount)) {
            return;
        }
        if let Some(list) = &mut self.0 {
            Arc::make_mut(list).retain(|name, amount| keeps(name, amount));
        }
        self.0.take_if(|list| list.is_empty());
    }
}

impl<T> FromIterator<(ResourceName, T)> for Amounts<T> {
    fn from_iter<I: IntoIterator<Item = (ResourceName, T)>>(amounts: I) -> Self {
        let list: List<T> = amounts.into_iter().collect();
        Self((!list.is_empty()).then(|| Arc::new(list)))
    }
}
