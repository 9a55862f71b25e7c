//! The queue tree: each queue with a limit is a branch, and so is the whole; where queues rank, so is each with queues below it.
//!
//! A branch knows what all its tasks hold together, and ranks what it has to offer: the lanes of queues that are in no
//! smaller branch, and the branches right below it. Where queues rank, each member's place is its own; in one line it is
//! that of its first job. What no branch has room for is not looked at until something there ends, however much of it
//! waits and in however many lanes.

use std::collections::BTreeMap;

use allot_model::{Limited, QueueLimit, QueueName};

use crate::dims::{Dim, Dims, Need};
use crate::lane::{LaneHeld, stretch};
use crate::name::NameKey;
use crate::policy::{JobKey, LaneKey};
use crate::rank::hdrf::Blend;
use crate::rank::lottery::Draws;
use crate::rank::{Amounts, Measure, Rank, Standing};
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
    /// What it is entitled to beside the other members of its parent.
    pub(crate) weight: u32,
    pub(crate) standing: Standing,
    pub(crate) share: Share,
    name: NameKey,
    /// What it counts as under `hdrf`, where something in it can be placed.
    pub(crate) blend: Option<Blend>,
    /// The draws among its members under `lottery`.
    pub(crate) draws: Draws,
    members: Slab<Member>,
    /// The members with something to offer, by their first. What a branch offers may come later than its key.
    pub(crate) ranking: Ranked<LaneKey, Mask>,
    /// Shapes of which as many more tasks as are placed at a time would be too much, as far as that was found out since
    /// something ended.
    refused: Vec<(u32, Need, u64)>,
    /// Their bits.
    pub(crate) full: Mask,
}

/// All branches.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    branches: Slab<Branch>,
    by_queue: BTreeMap<QueueName, u32>,
    /// True where queues rank, so that a branch is ranked by what it holds.
    nested: bool,
    /// True where branches rank by how their members are, so that it is noted where something changes.
    blended: bool,
    /// Branches in which something has changed.
    pub(crate) touched: Vec<u32>,
    /// True where that may be any of them.
    pub(crate) all_touched: bool,
}

impl Branch {
    pub(crate) fn member(&self, seat: u32) -> Member {
        self.members[seat]
    }

    /// All members, those with nothing to offer too.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u32, Member)> {
        let there = self.members.iter().filter(|(_, member)| **member != Member::default());
        there.map(|(seat, member)| (seat, *member))
    }

    /// The members with something to offer, in order.
    pub(crate) fn ranked_members(&self) -> impl Iterator<Item = (u32, Member)> {
        self.ranking.in_order().into_iter().map(|seat| (seat, self.members[seat]))
    }

    /// Its place beside the other members of its parent.
    fn key(&self) -> LaneKey {
        LaneKey { share: self.share, name: self.name.clone() }
    }

    /// True where nothing would be lost without it.
    fn is_needless(&self) -> bool {
        self.bound.is_none() && self.members().next().is_none()
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

    /// How many of `most` tasks may go to it one after the other before a rival with this key is preferred. At least 1.
    pub(crate) fn stretch(
        &self,
        need: &Need,
        most: u64,
        rival: Option<&LaneKey>,
        measure: &Measure<'_>,
    ) -> u64 {
        let Some(rival) = rival else { return most };
        stretch(most, |count| {
            let share = measure.share(&Raised { held: &self.held, need, count }, self.weight, &self.standing);
            LaneKey { share, name: self.name.clone() } < *rival
        })
    }

    /// The branch that it is in, and its place there.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.parent, self.seat)
    }

    /// True where so many tasks more may go to it.
    pub(crate) fn admits(&self, need: &Need, count: u64) -> bool {
        self.room(need) >= count
    }

    /// What is limited that so many tasks more would be too much of: how much is allowed, held and asked for.
    pub(crate) fn exceeded(&self, need: &Need, count: u64, dims: &Dims) -> Option<(Limited, [u64; 3])> {
        let left = |most: u64| most.saturating_sub(self.held.tasks());
        if let Some(most) = self.bound.tasks.filter(|most| left(*most) < count) {
            return Some((Limited::Tasks, [most, self.held.tasks(), count]));
        }
        let amounts = |(dim, most): &(Dim, u64)| {
            let asked = need.iter().find(|(asked, _)| asked == dim).map_or(0, |(_, amount)| amount);
            (*dim, [*most, self.held.of(*dim), asked.saturating_mul(count)])
        };
        let too_much =
            |(_, [most, held, asked]): &(Dim, [u64; 3])| *asked > 0 && held.saturating_add(*asked) > *most;
        let (dim, amounts) = self.bound.amounts.iter().map(amounts).find(too_much)?;
        Some((Limited::Resource(dims.name(dim)?.clone()), amounts))
    }

    /// Forgets refusals that do not hold any more; true where there were some.
    fn reopen(&mut self, still: impl Fn(&Self, u32, &Need, u64) -> bool) -> bool {
        let before = self.refused.len();
        if before == 0 {
            return false;
        }
        let mut refused = std::mem::take(&mut self.refused);
        refused.retain(|(shape, need, count)| still(self, *shape, need, *count));
        self.full = Mask::default();
        refused.iter().for_each(|(shape, ..)| self.full.join(&Mask::of(*shape)));
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

impl Amounts for Held {
    fn dims(&self) -> usize {
        self.amounts.len()
    }

    fn amount(&self, dim: Dim) -> u64 {
        self.of(dim)
    }
}

/// What a branch would hold with so many tasks more.
struct Raised<'a> {
    held: &'a Held,
    need: &'a Need,
    count: u64,
}

impl Amounts for Raised<'_> {
    fn dims(&self) -> usize {
        self.need.iter().map(|(dim, _)| dim + 1).max().unwrap_or(0).max(self.held.dims())
    }

    fn amount(&self, dim: Dim) -> u64 {
        let asked = self.need.iter().find(|(asked, _)| *asked == dim).map_or(0, |(_, amount)| amount);
        self.held.of(dim).saturating_add(asked.saturating_mul(self.count))
    }
}

impl Bound {
    fn is_none(&self) -> bool {
        self.tasks.is_none() && self.amounts.is_empty()
    }

    fn of(limit: &QueueLimit, dims: &mut Dims) -> Self {
        let amounts = limit.resources.iter().map(|(name, most)| (dims.place(name), *most)).collect();
        Self { tasks: limit.tasks, amounts }
    }
}

impl Tree {
    /// The whole alone.
    pub(crate) fn new(rank: &Rank) -> Self {
        let mut branches = Slab::default();
        branches.insert(Branch::default());
        Self {
            branches,
            by_queue: BTreeMap::new(),
            nested: *rank != Rank::Line,
            blended: *rank == Rank::Hdrf,
            touched: Vec::new(),
            all_touched: true,
        }
    }

    /// A branch for each of these limits, with no lanes yet.
    pub(crate) fn grow(&mut self, limits: &BTreeMap<QueueName, QueueLimit>, dims: &mut Dims) {
        // A queue comes before those below it.
        for (queue, limit) in limits {
            for above in self.missing_above(queue) {
                self.add(above, Bound::default());
            }
            self.add(queue.clone(), Bound::of(limit, dims));
        }
    }

    /// The queues above this one that are no branches yet, where they have to be, from the top down.
    pub(crate) fn missing_above(&self, queue: &QueueName) -> Vec<QueueName> {
        if !self.nested {
            return Vec::new();
        }
        let above = std::iter::successors(queue.parent(), QueueName::parent);
        let mut missing: Vec<_> = above.take_while(|above| !self.by_queue.contains_key(above)).collect();
        missing.reverse();
        missing
    }

    /// A new branch in the smallest one that its queue is in.
    fn add(&mut self, queue: QueueName, bound: Bound) -> u32 {
        let (parent, name) = (self.branch_of(&queue), NameKey::new(queue.as_str()));
        let here = Branch { parent, bound, name, weight: 1, queue: Some(queue.clone()), ..Branch::default() };
        let branch = self.branches.insert(here);
        let seat = self.branches[parent].members.insert(Member::Branch(branch));
        self.branches[branch].seat = seat;
        self.by_queue.insert(queue, branch);
        branch
    }

    /// A new branch that is there for what is below it alone.
    pub(crate) fn part(&mut self, queue: QueueName) -> u32 {
        self.add(queue, Bound::default())
    }

    /// The branch that is this queue with all below it.
    pub(crate) fn find(&self, queue: &QueueName) -> Option<u32> {
        self.by_queue.get(queue).copied()
    }

    /// True where the whole is the only branch.
    pub(crate) fn is_plain(&self) -> bool {
        self.by_queue.is_empty()
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.nested
    }

    pub(crate) fn get(&self, branch: u32) -> &Branch {
        &self.branches[branch]
    }

    pub(crate) fn get_mut(&mut self, branch: u32) -> &mut Branch {
        &mut self.branches[branch]
    }

    /// All branches with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Branch)> {
        self.branches.iter().filter(|(number, branch)| *number == WHOLE || branch.queue.is_some())
    }

    /// All branches but the whole.
    pub(crate) fn parts(&self) -> Vec<u32> {
        self.by_queue.values().copied().collect()
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
        if self.nested && branch != WHOLE && self.get(branch).is_needless() {
            let gone = self.branches.remove(branch);
            gone.queue.into_iter().for_each(|queue| _ = self.by_queue.remove(&queue));
            self.unseat(gone.parent, gone.seat);
        }
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
    pub(crate) fn tell_up(&mut self, mut branch: u32) {
        if self.blended && branch != WHOLE {
            self.touched.push(branch);
        }
        while branch != WHOLE && !self.is_told(branch) {
            let here = self.get(branch);
            let (parent, seat) = (here.parent, here.seat);
            let (mask, key) = (here.offers(), self.told_key(branch));
            let above = &mut self.get_mut(parent).ranking;
            match key.filter(|_| mask != Mask::default()) {
                None => above.remove(seat),
                Some(key) => above.set(seat, key, mask),
            }
            branch = parent;
        }
    }

    /// The key of a branch in its parent.
    fn told_key(&self, branch: u32) -> Option<LaneKey> {
        let here = self.get(branch);
        if self.nested { Some(here.key()) } else { here.first_key().cloned() }
    }

    /// True where the parent of a branch ranks it as it is.
    pub(crate) fn is_told(&self, branch: u32) -> bool {
        let here = self.get(branch);
        let (above, mask) = (&self.get(here.parent).ranking, here.offers());
        let key = self.told_key(branch).filter(|_| mask != Mask::default());
        branch == WHOLE || (above.key(here.seat) == key.as_ref() && above.says(here.seat) == mask)
    }

    /// What the tasks of a lane in this branch hold has changed.
    pub(crate) fn account(
        &mut self,
        mut branch: u32,
        before: &LaneHeld,
        after: &LaneHeld,
        measure: &Measure<'_>,
    ) {
        while branch != WHOLE {
            let here = self.get_mut(branch);
            here.held.replace(before, after);
            let (parent, limited) = (here.parent, !here.bound.is_none());
            let reopened = here.reopen(|here, _, need, count| !here.admits(need, count));
            self.all_touched |= limited;
            if self.nested {
                self.measure(branch, measure);
            } else if reopened {
                self.tell_up(branch);
            }
            branch = parent;
        }
    }

    /// What a branch holds, what there is, its weight or its standing has changed.
    pub(crate) fn measure(&mut self, branch: u32, measure: &Measure<'_>) {
        let here = self.get_mut(branch);
        here.share = match &here.blend {
            Some(blend) => blend.share.times(1, u128::from(here.weight)),
            None => measure.share(&here.held, here.weight, &here.standing),
        };
        self.tell_up(branch);
    }

    /// A limit is another than it was.
    pub(crate) fn set_limit(&mut self, queue: &QueueName, limit: &QueueLimit, dims: &mut Dims) {
        let Some(branch) = self.by_queue.get(queue).copied() else { return };
        let here = self.get_mut(branch);
        here.bound = Bound::of(limit, dims);
        here.reopen(|here, _, need, count| !here.admits(need, count));
        self.all_touched = true;
        self.tell_up(branch);
    }

    /// So many tasks more of the shape would be too much for a branch.
    pub(crate) fn refuse(&mut self, branch: u32, shape: u32, need: &Need, count: u64) {
        let here = self.get_mut(branch);
        if !here.refused.iter().any(|(known, ..)| *known == shape) {
            here.refused.push((shape, need.clone(), count));
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
            if here.full.meets(bit) && here.reopen(|_, known, _, _| Mask::of(known) != bit) {
                self.tell_up(at);
            }
            at = parent;
        }
    }

    /// How many tasks more may go to a lane in this branch.
    pub(crate) fn room(&self, branch: u32, need: &Need) -> u64 {
        self.up_from(branch).map(|branch| self.get(branch).room(need)).min().unwrap_or(u64::MAX)
    }

    /// The nearest branch that has no room for so many tasks more, going up.
    pub(crate) fn refusing(&self, branch: u32, need: &Need, count: u64) -> Option<u32> {
        self.up_from(branch).find(|branch| !self.get(*branch).admits(need, count))
    }

    /// The keys of a member of a branch and of all branches that it is in, from the top down. Where queues rank, such lists
    /// are ordered as the members are served.
    pub(crate) fn path(&self, mut branch: u32, key: LaneKey) -> Vec<LaneKey> {
        let mut path = vec![key];
        while self.nested && branch != WHOLE {
            let here = self.get(branch);
            path.push(here.key());
            branch = here.parent;
        }
        path.reverse();
        path
    }

    /// The lanes with something to offer, in order.
    pub(crate) fn lanes_in_order(&self) -> Vec<u32> {
        let mut lanes: Vec<(Vec<LaneKey>, u32)> = Vec::new();
        for (number, branch) in self.iter() {
            for (seat, member) in branch.ranked_members() {
                if let (Member::Lane(lane), Some(key)) = (member, branch.ranking.key(seat)) {
                    lanes.push((self.path(number, key.clone()), lane));
                }
            }
        }
        lanes.sort();
        lanes.into_iter().map(|(_, lane)| lane).collect()
    }
}
