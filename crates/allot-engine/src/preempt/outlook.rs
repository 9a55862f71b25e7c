//! What queues will have once tasks that are stopped have ended and those that they make room for have started.

use std::collections::BTreeMap;

use crate::bound::Bound;
use crate::branch::Tree;
use crate::dims::{Dim, Need, Vector};

/// What branches of the queue tree will hold.
#[derive(Debug, Clone)]
pub(crate) struct Outlook<'a> {
    tree: &'a Tree,
    changes: BTreeMap<u32, Change>,
}

#[derive(Debug, Clone, Default)]
struct Change {
    less: Held,
    more: Held,
}

#[derive(Debug, Clone, Default)]
struct Held {
    amounts: Vector,
    tasks: u64,
}

impl Held {
    fn add(&mut self, need: &Need, count: u64) {
        self.amounts.add_need(need, count);
        self.tasks = self.tasks.saturating_add(count);
    }

    fn subtract(&mut self, need: &Need, count: u64) {
        self.amounts.subtract_need(need, count);
        self.tasks = self.tasks.saturating_sub(count);
    }
}

impl<'a> Outlook<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        Self { tree, changes: BTreeMap::new() }
    }

    /// So many tasks in a branch end.
    pub(crate) fn stop(&mut self, branch: u32, held: &Need, count: u64) {
        for above in self.tree.up_from(branch) {
            self.changes.entry(above).or_default().less.add(held, count);
        }
    }

    /// Of those that were to end so many go on.
    pub(crate) fn go_on(&mut self, branch: u32, held: &Need, count: u64) {
        for above in self.tree.up_from(branch) {
            self.changes.entry(above).or_default().less.subtract(held, count);
        }
    }

    /// A task in a branch starts.
    pub(crate) fn start(&mut self, branch: u32, need: &Need) {
        for above in self.tree.up_from(branch) {
            self.changes.entry(above).or_default().more.add(need, 1);
        }
    }

    fn holds(&self, branch: u32, dim: Dim) -> u64 {
        let held = self.tree.get(branch).held.of(dim);
        self.changes.get(&branch).map_or(held, |Change { less, more }| {
            held.saturating_add(more.amounts.get(dim)).saturating_sub(less.amounts.get(dim))
        })
    }

    fn tasks(&self, branch: u32) -> u64 {
        let held = self.tree.get(branch).held.tasks();
        self.changes
            .get(&branch)
            .map_or(held, |Change { less, more }| held.saturating_add(more.tasks).saturating_sub(less.tasks))
    }

    /// True where nothing that a task asks for is more than a bound of a branch allows.
    fn is_within(&self, branch: u32, bound: &Bound, need: &Need) -> bool {
        let asked = |dim| need.iter().any(|(asked, amount)| asked == dim && amount > 0);
        let mut amounts = bound.amounts().filter(|(dim, _)| asked(*dim));
        bound.tasks().is_none_or(|most| self.tasks(branch) <= most)
            && amounts.all(|(dim, most)| self.holds(branch, dim) <= most)
    }

    /// True where no branch around a lane has more than its limit of what a task asks for that starts there.
    pub(crate) fn is_within_limits(&self, branch: u32, need: &Need) -> bool {
        self.tree.up_from(branch).all(|above| self.is_within(above, &self.tree.get(above).limit.bound, need))
    }

    /// True where a task that starts is within what is guaranteed to a branch.
    pub(crate) fn is_guaranteed(&self, branch: u32, need: &Need) -> bool {
        let guarantee = self.tree.get(branch).guarantee.as_ref();
        let asks = |bound: &Bound| {
            bound.tasks().is_some() || need.iter().any(|(dim, amount)| amount > 0 && bound.names(dim))
        };
        guarantee.is_some_and(|fence| asks(&fence.bound) && self.is_within(branch, &fence.bound, need))
    }

    /// True where no branch has less than `before` of what is guaranteed to it.
    pub(crate) fn leaves_guarantees(&self, before: &Self) -> bool {
        self.changes.keys().all(|branch| {
            let Some(guarantee) = &self.tree.get(*branch).guarantee else { return true };
            let least = &guarantee.bound;
            let has_tasks = |least| self.tasks(*branch) >= before.tasks(*branch).min(least);
            let has = |(dim, least)| self.holds(*branch, dim) >= before.holds(*branch, dim).min(least);
            least.tasks().is_none_or(has_tasks) && least.amounts().all(has)
        })
    }
}
