//! An agent as it really is.

use std::sync::Arc;

use allot_model::{AgentId, FeedItem, PoolAgent, Resources};

use super::{FOREVER, version};

/// An agent of the pool, or one that is not there yet or any more.
#[derive(Debug, Clone, Default)]
pub(super) struct AgentTruth {
    /// As it is; nothing where it is not there.
    pub(super) facts: Option<Arc<PoolAgent>>,
    /// All it has less what its tasks hold.
    pub(super) free: Resources,
    /// Grows with every offer.
    pub(super) version: u64,
    /// True where its tasks hold more than it has, because it has become smaller.
    overdrawn: bool,
    /// True where something is on offer.
    offered: bool,
    /// True where its offer is to be told.
    pub(super) noted: bool,
}

/// What is known of what is free after tasks have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It is more by what they held.
    More,
    /// It has to be counted anew.
    Recount,
    /// The agent is not there any more.
    Nothing,
}

impl AgentTruth {
    /// It is like this from now on, and its tasks hold so much.
    pub(super) fn describe(&mut self, facts: &Arc<PoolAgent>, held: &[Resources]) {
        self.facts = Some(facts.clone());
        self.recount(held);
    }

    /// It is not there any more. Returns its name.
    pub(super) fn leave(&mut self) -> Option<AgentId> {
        self.offered = false;
        self.free = Resources::new();
        self.facts.take().map(|facts| facts.agent.clone())
    }

    /// Counts what is free where tasks hold so much.
    pub(super) fn recount(&mut self, held: &[Resources]) {
        self.free = self.facts.as_ref().map(|facts| facts.total.clone()).unwrap_or_default();
        self.overdrawn = false;
        for held in held {
            if self.free.subtract(held).is_err() {
                self.overdrawn = true;
                self.free.subtract_down(held);
            }
        }
    }

    /// Takes `slots` times the slice; false where it is not there.
    pub(super) fn take(&mut self, slice: &Resources, slots: u64) -> bool {
        match slots {
            1 => self.free.subtract(slice).is_ok(),
            _ => slice.times(slots).is_some_and(|held| self.free.subtract(&held).is_ok()),
        }
    }

    /// Tasks have ended that held `slots` times the slice.
    pub(super) fn release(&mut self, slice: &Resources, slots: u64) -> Left {
        if self.facts.is_none() {
            return Left::Nothing;
        }
        if self.overdrawn {
            return Left::Recount;
        }
        let added = match slots {
            1 => self.free.add(slice),
            _ => slice.times(slots).map_or(Ok(()), |held| self.free.add(&held)),
        };
        if added.is_ok() { Left::More } else { Left::Recount }
    }

    /// What is to be told of it: its offer, or that it has none any more.
    pub(super) fn offer(&mut self) -> Option<FeedItem> {
        self.noted = false;
        let facts = self.facts.as_ref()?;
        let agent = facts.agent.clone();
        if facts.draining || self.free.is_empty() {
            return std::mem::take(&mut self.offered).then_some(FeedItem::Rescinded { agent });
        }
        self.offered = true;
        self.version += 1;
        let (version, free) = (version(self.version), self.free.clone());
        Some(FeedItem::Offer { agent, version, free, ttl: FOREVER })
    }
}

impl AgentTruth {
    /// True where that is the offer that stands.
    pub(super) fn offered_as(&self, version: allot_model::OfferVersion) -> bool {
        self.offered && version.0 == self.version
    }
}
