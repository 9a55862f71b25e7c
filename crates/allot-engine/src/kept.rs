//! What is kept free for queues that do not use all of what is guaranteed to them.
//!
//! Of what is free in all, so much belongs to these queues; tasks of others may have the rest. It is a matter of
//! amounts: no agent is set apart, so that a queue finds its amounts free, and not always on one agent.

use crate::bound::Bound;
use crate::branch::Held;
use crate::dims::{Dim, Need, Vector};

/// What is free, and how much of it is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// How many queues something is kept for, used up or not.
    queues: usize,
    /// What is free on all agents together, as of the last look, less what was given since.
    free: Vector,
    /// What these queues have less than is guaranteed to them, by place.
    missing: Vec<u128>,
}

/// How much has to be free of a resource for some tasks, beside what is kept for others, and how much is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) dim: Dim,
    pub(crate) wanted: u64,
    pub(crate) free: u64,
}

impl Kept {
    /// True where nothing is kept for anyone.
    pub(crate) fn is_idle(&self) -> bool {
        self.queues == 0
    }

    /// One queue more has something kept for it.
    pub(crate) fn keep(&mut self, least: &Bound, held: &Held) {
        self.queues += 1;
        self.miss(least, held);
    }

    /// What a queue lacks counts.
    pub(crate) fn miss(&mut self, least: &Bound, held: &Held) {
        for (dim, lacks) in lacking(least, held) {
            if self.missing.len() <= dim {
                self.missing.resize(dim + 1, 0);
            }
            self.missing[dim] += lacks;
        }
    }

    /// What a queue lacks does not count any more.
    pub(crate) fn unmiss(&mut self, least: &Bound, held: &Held) {
        for (dim, lacks) in lacking(least, held) {
            self.missing[dim] -= lacks;
        }
    }

    /// So much is free on all agents together.
    pub(crate) fn look(&mut self, free: &Vector) {
        self.free = free.clone();
    }

    /// So many tasks were given this each.
    pub(crate) fn give(&mut self, need: &Need, count: u64) {
        self.free.subtract_need(need, count);
    }

    /// How many tasks may be given of what is not kept. What `own` names is the queue's own: it is kept for its tasks.
    pub(crate) fn room(&self, need: &Need, own: Option<&Bound>) -> u64 {
        let asked = need.iter().filter(|(dim, amount)| *amount > 0 && own.is_none_or(|own| !own.names(*dim)));
        asked.map(|(dim, amount)| self.spare(dim) / amount).min().unwrap_or(u64::MAX)
    }

    /// The resource of which too little is left for so many tasks beside what is kept: free, kept, and asked for.
    pub(crate) fn short_of(&self, need: &Need, count: u64, own: Option<&Bound>) -> Option<(Dim, [u64; 3])> {
        let asked = need.iter().map(|(dim, amount)| (dim, amount.saturating_mul(count)));
        let others = asked.filter(|(dim, amount)| *amount > 0 && own.is_none_or(|own| !own.names(*dim)));
        let (dim, asked) = { others }.find(|(dim, amount)| self.spare(*dim) < *amount)?;
        Some((dim, [self.free.get(dim), self.missing(dim), asked]))
    }

    /// What has to be free for so many tasks, beside what is kept, and what is.
    pub(crate) fn lacking(&self, need: &Need, count: u64, own: Option<&Bound>) -> Vec<Lacking> {
        let asked = need.iter().filter(|(dim, amount)| *amount > 0 && own.is_none_or(|own| !own.names(*dim)));
        let lacking = |(dim, amount): (Dim, u64)| Lacking {
            dim,
            wanted: amount.saturating_mul(count).saturating_add(self.missing(dim)),
            free: self.free.get(dim),
        };
        asked.map(lacking).collect()
    }

    /// True where one more task of this takes nothing that is kept once so much more is free, and so much is taken. What `own`
    /// names is the queue's own.
    pub(crate) fn is_left(
        &self,
        need: &Need,
        own: Option<&Bound>,
        (freed, taken): (&[&Vector], &Vector),
    ) -> bool {
        let asked = need.iter().filter(|(dim, amount)| *amount > 0 && own.is_none_or(|own| !own.names(*dim)));
        { asked }.all(|(dim, amount)| {
            let freed =
                freed.iter().fold(self.free.get(dim), |sum, freed| sum.saturating_add(freed.get(dim)));
            freed.saturating_sub(taken.get(dim)).saturating_sub(self.missing(dim)) >= amount
        })
    }

    /// How much is missing of a resource to what is guaranteed, over all queues that it is kept for.
    pub(crate) fn missing(&self, dim: Dim) -> u64 {
        u64::try_from(self.missing.get(dim).copied().unwrap_or(0)).unwrap_or(u64::MAX)
    }

    fn spare(&self, dim: Dim) -> u64 {
        self.free.get(dim).saturating_sub(self.missing(dim))
    }
}

fn lacking(least: &Bound, held: &Held) -> impl Iterator<Item = (Dim, u128)> {
    least.amounts().map(|(dim, amount)| (dim, u128::from(amount.saturating_sub(held.of(dim)))))
}
