//! The queue tree, as far as limits part it: each queue with a limit is a branch, and so is the whole.
//!
//! A branch knows what all its tasks hold together, and ranks what it has to offer: the lanes of queues that are in no
//! smaller branch, and the branches right below it. What no branch has room for is not looked at until something there
//! ends, however much of it waits and in however many lanes.

use std::collections::BTreeMap;

use allot_model::{Limited, QueueLimit, QueueName};

use crate::dims::{Dim, Dims, Need};
use crate::lane::LaneHeld;
use crate::name::NameKey;
use crate::policy::{JobKey, LaneKey};
use crate::ranked::{Ranked, Summary};
use crate::shape::Mask;
use crate::share::Share;
use crate::slab::Slab;

/// The branch that is the whole. It has no limit.
pub(crate) const WHOLE: u32 = 0;

/// What a branch ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    Lane(u32),
    Branch(u32),
}

impl Default for Member {
    fn default() -> Self {
        Self::Lane(u32::MAX)
    }
}

/// The most that a branch may have.
#[derive(Debug, Clone, Default)]
struct Bound {
    tasks: Option<u64>,
    amounts: Box<[(Dim, u64)]>,
}

/// What the tasks of a branch hold, those granted and not yet answered among them: always the sum of its lanes, which
/// does not fit into 64 bits where nonsense was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Held {
    amounts: Vec<u128>,
    /// How many have a slot.
    tasks: u128,
}

/// A queue with a limit, and all below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Branch {
    /// Whose limit it is; nobody's for the whole.
    pub(crate) queue: Option<QueueName>,
    parent: u32,
    /// Its place among the members of its parent.
    seat: u32,
    bound: Bound,
    pub(crate) held: Held,
    members: Slab<Member>,
    /// The members with something to offer, by their first. What a branch offers may come later than its key.
    pub(crate) ranking: Ranked<LaneKey, Mask>,
    /// Shapes of which one more task would be too much, as far as that was found out since something ended.
    refused: Vec<(u32, Need)>,
    /// Their bits.
    pub(crate) full: Mask,
}

/// All branches.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    branches: Vec<Branch>,
    by_queue: BTreeMap<QueueName, u32>,
}

impl Branch {
    pub(crate) fn member(&self, seat: u32) -> Member {
        self.members[seat]
    }

    /// How many tasks more it may have.
    fn room(&self, need: &Need) -> u64 {
        let left = |dim: Dim| {
            let most = self.bound.amounts.iter().find(|(limited, _)| *limited == dim)?.1;
            Some(most.saturating_sub(self.held.of(dim)))
        };
        let tasks = self.bound.tasks.map(|most| most.saturating_sub(self.held.tasks()));
        let asked = need.iter().filter(|(_, amount)| *amount > 0);
        let resources = asked.filter_map(|(dim, amount)| Some(left(dim)? / amount));
        resources.chain(tasks).min().unwrap_or(u64::MAX)
    }

    /// The shapes that wait in it and may be served, as far as is known.
    fn offers(&self) -> Mask {
        self.ranking.all().without(self.full)
    }

    fn first_key(&self) -> Option<&LaneKey> {
        self.ranking.first().and_then(|first| self.ranking.key(first))
    }

    pub(crate) fn admits(&self, need: &Need) -> bool {
        self.room(need) > 0
    }

    /// What is limited that one more task would be too much of: how much is allowed, held and asked for.
    pub(crate) fn exceeded(&self, need: &Need, dims: &Dims) -> Option<(Limited, [u64; 3])> {
        if let Some(most) = self.bound.tasks.filter(|most| self.held.tasks() >= *most) {
            return Some((Limited::Tasks, [most, self.held.tasks(), 1]));
        }
        let amounts = |(dim, most): &(Dim, u64)| {
            let asked = need.iter().find(|(asked, _)| asked == dim).map_or(0, |(_, amount)| amount);
            (*dim, [*most, self.held.of(*dim), asked])
        };
        let too_much =
            |(_, [most, held, asked]): &(Dim, [u64; 3])| *asked > 0 && held.saturating_add(*asked) > *most;
        let (dim, amounts) = self.bound.amounts.iter().map(amounts).find(too_much)?;
        Some((Limited::Resource(dims.name(dim)?.clone()), amounts))
    }

    /// Forgets refusals that do not hold any more; true where there were some.
    fn reopen(&mut self, still: impl Fn(&Self, u32, &Need) -> bool) -> bool {
        let before = self.refused.len();
        if before == 0 {
            return false;
        }
        let mut refused = std::mem::take(&mut self.refused);
        refused.retain(|(shape, need)| still(self, *shape, need));
        self.full = Mask::default();
        refused.iter().for_each(|(shape, _)| self.full.join(&Mask::of(*shape)));
        self.refused = refused;
        self.refused.len() < before
    }
}

impl Held {
    /// How much of a resource, as far as it can be said.
    fn of(&self, dim: Dim) -> u64 {
        let amount = self.amounts.get(dim).copied().unwrap_or(0);
        u64::try_from(amount).unwrap_or(u64::MAX)
    }

    fn tasks(&self) -> u64 {
        u64::try_from(self.tasks).unwrap_or(u64::MAX)
    }

    /// True where both are the same amounts.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        let dims = self.amounts.len().max(other.amounts.len());
        self.tasks == other.tasks && (0..dims).all(|dim| self.of(dim) == other.of(dim))
    }

    /// A lane's part of it is this now.
    pub(crate) fn replace(&mut self, before: &LaneHeld, after: &LaneHeld) {
        self.tasks = self.tasks + u128::from(after.tasks) - u128::from(before.tasks);
        let dims = before.used.iter().count().max(after.used.iter().count());
        self.amounts.resize(self.amounts.len().max(dims), 0);
        for (dim, sum) in self.amounts.iter_mut().enumerate().take(dims) {
            *sum = *sum + u128::from(after.used.get(dim)) - u128::from(before.used.get(dim));
        }
    }
}

impl Bound {
    fn of(limit: &QueueLimit, dims: &mut Dims) -> Self {
        let amounts = limit.resources.iter().map(|(name, most)| (dims.place(name), *most)).collect();
        Self { tasks: limit.tasks, amounts }
    }
}

impl Tree {
    /// The whole alone.
    pub(crate) fn new() -> Self {
        Self { branches: vec![Branch::default()], by_queue: BTreeMap::new() }
    }

    /// A branch for each of these limits, with no lanes yet.
    pub(crate) fn grow(limits: &BTreeMap<QueueName, QueueLimit>, dims: &mut Dims) -> Self {
        let mut tree = Self::new();
        // A queue comes before those below it.
        for (queue, limit) in limits {
            let (parent, branch) = (tree.branch_of(queue), tree.len());
            let seat = tree.branches[parent as usize].members.insert(Member::Branch(branch));
            let (queue, bound) = (Some(queue.clone()), Bound::of(limit, dims));
            tree.by_queue.extend(queue.clone().map(|queue| (queue, branch)));
            tree.branches.push(Branch { queue, parent, seat, bound, ..Branch::default() });
        }
        tree
    }

    fn len(&self) -> u32 {
        u32::try_from(self.branches.len()).unwrap_or(u32::MAX)
    }

    /// True where nothing is limited.
    pub(crate) fn is_plain(&self) -> bool {
        self.branches.len() == 1
    }

    pub(crate) fn get(&self, branch: u32) -> &Branch {
        &self.branches[branch as usize]
    }

    fn get_mut(&mut self, branch: u32) -> &mut Branch {
        &mut self.branches[branch as usize]
    }

    /// All branches with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Branch)> {
        (WHOLE..).zip(&self.branches)
    }

    /// The smallest branch that a queue is in.
    pub(crate) fn branch_of(&self, queue: &QueueName) -> u32 {
        if self.is_plain() {
            return WHOLE;
        }
        queue.lineage().find_map(|name| self.by_queue.get(name)).copied().unwrap_or(WHOLE)
    }

    /// A branch and all that it is in, but for the whole.
    pub(crate) fn up_from(&self, branch: u32) -> impl Iterator<Item = u32> {
        let limited = |branch: u32| (branch != WHOLE).then_some(branch);
        std::iter::successors(limited(branch), move |branch| limited(self.get(*branch).parent))
    }

    /// A new member of a branch; returns its seat there.
    pub(crate) fn seat(&mut self, branch: u32, lane: u32) -> u32 {
        self.get_mut(branch).members.insert(Member::Lane(lane))
    }

    /// The member is there no longer.
    pub(crate) fn unseat(&mut self, branch: u32, seat: u32) {
        let here = self.get_mut(branch);
        here.members.remove(seat);
        here.ranking.remove(seat);
        self.tell_up(branch);
    }

    /// Says what a lane has to offer now, and which share its queue has.
    pub(crate) fn place(
        &mut self,
        branch: u32,
        seat: u32,
        mask: Mask,
        share: Share,
        name: impl FnOnce() -> NameKey,
    ) {
        let ranking = &mut self.get_mut(branch).ranking;
        if mask == Mask::default() {
            ranking.remove(seat);
        } else if let Some(known) = ranking.key(seat) {
            if ranking.says(seat) == mask && known.share == share {
                return;
            }
            ranking.update(seat, mask, |key| key.share = share);
        } else {
            ranking.set(seat, LaneKey { share, name: name() }, mask);
        }
        self.tell_up(branch);
    }

    /// Says what a lane has to offer now, where its place goes by its first job.
    pub(crate) fn place_by_job(&mut self, branch: u32, seat: u32, mask: Mask, first: Option<JobKey>) {
        let ranking = &mut self.get_mut(branch).ranking;
        match first.map(|first| first.as_lane_key()) {
            None => ranking.remove(seat),
            Some(key) if ranking.says(seat) == mask && ranking.key(seat) == Some(&key) => return,
            Some(key) => ranking.set(seat, key, mask),
        }
        self.tell_up(branch);
    }

    /// Brings the place of a branch in its parent up to date, and those of all that it is in.
    fn tell_up(&mut self, mut branch: u32) {
        while branch != WHOLE && !self.is_told(branch) {
            let here = self.get(branch);
            let (parent, seat) = (here.parent, here.seat);
            let (mask, key) = (here.offers(), here.first_key().cloned());
            let above = &mut self.get_mut(parent).ranking;
            match key.filter(|_| mask != Mask::default()) {
                None => above.remove(seat),
                Some(key) => above.set(seat, key, mask),
            }
            branch = parent;
        }
    }

    /// True where the parent of a branch ranks it as it is.
    pub(crate) fn is_told(&self, branch: u32) -> bool {
        let here = self.get(branch);
        let (above, mask) = (&self.get(here.parent).ranking, here.offers());
        let key = here.first_key().filter(|_| mask != Mask::default());
        branch == WHOLE || (above.key(here.seat) == key && above.says(here.seat) == mask)
    }

    /// What the tasks of a lane in this branch hold has changed.
    pub(crate) fn account(&mut self, mut branch: u32, before: &LaneHeld, after: &LaneHeld) {
        while branch != WHOLE {
            let here = self.get_mut(branch);
            here.held.replace(before, after);
            let parent = here.parent;
            if here.reopen(|here, _, need| !here.admits(need)) {
                self.tell_up(branch);
            }
            branch = parent;
        }
    }

    /// A limit is another than it was.
    pub(crate) fn set_limit(&mut self, queue: &QueueName, limit: &QueueLimit, dims: &mut Dims) {
        let Some(branch) = self.by_queue.get(queue).copied() else { return };
        let here = self.get_mut(branch);
        here.bound = Bound::of(limit, dims);
        here.reopen(|here, _, need| !here.admits(need));
        self.tell_up(branch);
    }

    /// One more task of the shape would be too much for a branch.
    pub(crate) fn refuse(&mut self, branch: u32, shape: u32, need: &Need) {
        let here = self.get_mut(branch);
        if !here.refused.iter().any(|(known, _)| *known == shape) {
            here.refused.push((shape, need.clone()));
            here.full.join(&Mask::of(shape));
            self.tell_up(branch);
        }
    }

    /// A shape begins to wait in a lane of this branch: what was found out of those with the same bit does not count
    /// for it.
    pub(crate) fn reconsider(&mut self, branch: u32, shape: u32) {
        let bit = Mask::of(shape);
        let mut at = branch;
        while at != WHOLE {
            let here = self.get_mut(at);
            let parent = here.parent;
            if here.full.meets(bit) && here.reopen(|_, known, _| Mask::of(known) != bit) {
                self.tell_up(at);
            }
            at = parent;
        }
    }

    /// How many tasks more may go to a lane in this branch.
    pub(crate) fn room(&self, branch: u32, need: &Need) -> u64 {
        self.up_from(branch).map(|branch| self.get(branch).room(need)).min().unwrap_or(u64::MAX)
    }

    /// The nearest branch that has no room for one more task, going up.
    pub(crate) fn refusing(&self, branch: u32, need: &Need) -> Option<u32> {
        self.up_from(branch).find(|branch| !self.get(*branch).admits(need))
    }

    /// The lanes with something to offer, in order.
    pub(crate) fn lanes_in_order(&self) -> Vec<u32> {
        let mut lanes: Vec<(&LaneKey, u32)> = Vec::new();
        for branch in &self.branches {
            for seat in branch.ranking.in_order() {
                if let (Member::Lane(lane), Some(key)) = (branch.member(seat), branch.ranking.key(seat)) {
                    lanes.push((key, lane));
                }
            }
        }
        lanes.sort();
        lanes.into_iter().map(|(_, lane)| lane).collect()
    }
}
