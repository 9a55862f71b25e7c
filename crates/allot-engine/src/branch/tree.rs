//! All branches: how they grow with the queues that need one, and what changes in one means for those above it.

use super::{Branch, Member, Offer, Settings, WHOLE};
use crate::blend::Counted;
use crate::bound::{Bound, Fence};
use crate::dims::{Dim, Dims, Need, Vector};
use crate::kept::{Kept, Lacking};
use crate::lane::LaneHeld;
use crate::name::NameKey;
use crate::policy::{JobKey, LaneKey};
use crate::rank::hdrf::Child;
use crate::rank::{Measure, Rank};
use crate::ranked::Ranked;
use crate::shape::Mask;
use crate::share::Share;
use crate::slab::Slab;
use allot_model::{QueueLimit, QueueName};
use std::collections::BTreeMap;

/// All branches.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    branches: Slab<Branch>,
    by_queue: BTreeMap<QueueName, u32>,
    /// True where queues rank, so that a branch is ranked by what it holds.
    nested: bool,
    /// True where branches rank by how their members are.
    blended: bool,
    /// True where that can be another place than what they hold gives them, because one has had several members: a blend of one
    /// is that one. It is noted then where something changes.
    mixed: bool,
    /// Which lanes count for where their branches rank, where that is so.
    pub(crate) counted: Counted,
    /// True where something is guaranteed to some branch.
    assures: bool,
    pub(crate) kept: Kept,
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
            mixed: false,
            counted: Counted::default(),
            assures: false,
            kept: Kept::default(),
        }
    }

    /// A branch for each queue that something is set for, with no lanes yet.
    pub(crate) fn grow(&mut self, settings: &BTreeMap<QueueName, Settings>, dims: &mut Dims) {
        // A queue comes before those below it.
        for (queue, settings) in settings {
            for above in self.missing_above(queue) {
                self.part(above);
            }
            self.branch_out(queue, settings, dims);
        }
    }

    fn branch_out(&mut self, queue: &QueueName, Settings { limit, guarantee }: &Settings, dims: &mut Dims) {
        // Of guarantees within each other the outermost is kept: those within count within it.
        let outermost = self.guaranteed_from(self.branch_of(queue)).next().is_none();
        let branch = self.part(queue.clone());
        let here = &mut self.branches[branch];
        here.limit = Fence::of(limit, dims);
        here.guarantee = (!guarantee.is_none()).then(|| Fence::of(&guarantee.least, dims));
        let keeps = outermost && here.guarantee.is_some() && guarantee.is_held_back(limit);
        here.keeps = keeps.then(|| Bound::of(&guarantee.within(limit), dims));
        here.kept().into_iter().for_each(|least| self.kept.keep(least, &here.held));
        self.assures |= here.guarantee.is_some();
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

    /// A new branch in the smallest one that its queue is in. Nothing is set for it.
    pub(crate) fn part(&mut self, queue: QueueName) -> u32 {
        let (parent, name) = (self.branch_of(&queue), NameKey::new(queue.as_str()));
        let here = Branch { parent, name, weight: 1, queue: Some(queue.clone()), ..Branch::default() };
        let branch = self.branches.insert(here);
        let seat = self.admit(parent, Member::Branch(branch));
        self.branches[branch].seat = seat;
        self.by_queue.insert(queue, branch);
        branch
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

    /// True where the place of a branch depends on how its members are.
    pub(crate) fn is_mixed(&self) -> bool {
        self.mixed
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

    /// Those of them that something is guaranteed to.
    pub(crate) fn guaranteed_from(&self, branch: u32) -> impl Iterator<Item = u32> {
        let from = if self.assures { branch } else { WHOLE };
        self.up_from(from).filter(|branch| self.get(*branch).guarantee.is_some())
    }

    /// True where something is guaranteed to some queue.
    pub(crate) fn assures(&self) -> bool {
        self.assures
    }

    /// A new member of a branch; returns its seat there.
    pub(crate) fn seat(&mut self, branch: u32, lane: u32) -> u32 {
        self.admit(branch, Member::Lane(lane))
    }

    fn admit(&mut self, branch: u32, member: Member) -> u32 {
        let here = self.get_mut(branch);
        let is_shared = branch != WHOLE && here.members().next().is_some();
        let seat = here.members.insert(member);
        if self.blended && is_shared && !std::mem::replace(&mut self.mixed, true) {
            self.counted.all = true;
        }
        seat
    }

    /// The member is there no longer.
    pub(crate) fn unseat(&mut self, branch: u32, seat: u32) {
        let here = self.get_mut(branch);
        here.members.remove(seat);
        here.ranking.remove(seat);
        here.assured.remove(seat);
        if here.children.set(seat, None) {
            self.counted.changed.insert(branch);
        }
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
        while branch != WHOLE && !self.is_told(branch) {
            let here = self.get(branch);
            let (parent, seat) = (here.parent, here.seat);
            let (offer, assured) = (here.offer(self.nested), here.assured_offer(self.nested));
            let above = self.get_mut(parent);
            rank(&mut above.ranking, seat, offer);
            rank(&mut above.assured, seat, assured);
            branch = parent;
        }
    }

    /// True where the parent of a branch ranks it as it is.
    pub(crate) fn is_told(&self, branch: u32) -> bool {
        let here = self.get(branch);
        let above = self.get(here.parent);
        branch == WHOLE
            || is_ranked(&above.ranking, here.seat, here.offer(self.nested).as_ref())
                && is_ranked(&above.assured, here.seat, here.assured_offer(self.nested).as_ref())
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
            let Self { branches, kept, .. } = self;
            let here = &mut branches[branch];
            here.kept().into_iter().for_each(|least| kept.unmiss(least, &here.held));
            here.held.replace(before, after);
            here.kept().into_iter().for_each(|least| kept.miss(least, &here.held));
            let parent = here.parent;
            let reopened = here.reopen();
            if self.mixed && !self.branches[branch].limit.bound.is_none() {
                let is_less = after.tasks < before.tasks;
                let changed = if is_less { &mut self.counted.refunded } else { &mut self.counted.charged };
                changed.insert(branch);
            }
            if self.nested {
                self.measure(branch, measure);
            } else if reopened {
                self.tell_up(branch);
            }
            branch = parent;
        }
    }

    /// What a branch is entitled to beside the others of its parent is this now.
    pub(crate) fn weigh(&mut self, branch: u32, weight: u32, measure: &Measure<'_>) {
        self.get_mut(branch).weight = weight;
        self.measure(branch, measure);
        self.tell_blend(branch);
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

    /// Works out what a branch counts as beside the others of its parent, by its children.
    pub(crate) fn blend(&mut self, branch: u32) {
        let here = &mut self.branches[branch];
        let blend = here.children.blend();
        if here.queue.is_none() || here.blend == blend {
            return;
        }
        let weight = here.weight;
        here.share = blend.as_ref().map_or(here.share, |blend| blend.share.times(1, weight.into()));
        here.blend = blend;
        self.tell_up(branch);
        self.tell_blend(branch);
    }

    /// Tells the parent of a branch what it counts as.
    fn tell_blend(&mut self, branch: u32) {
        let here = self.get(branch);
        let (share, weight, parent, seat) = (here.share, here.weight, here.parent, here.seat);
        if parent == WHOLE || !self.mixed {
            return;
        }
        let blend = self.get_mut(branch).blend.take();
        let child = blend.as_ref().map(|blend| Child { share, weight, direction: &blend.direction });
        if self.get_mut(parent).children.set(seat, child) {
            self.counted.changed.insert(parent);
        }
        self.get_mut(branch).blend = blend;
    }

    /// A limit is another than it was.
    pub(crate) fn set_limit(&mut self, queue: &QueueName, limit: &QueueLimit, dims: &mut Dims) {
        let Some(branch) = self.by_queue.get(queue).copied() else { return };
        let here = self.get_mut(branch);
        here.limit.bound = Bound::of(limit, dims);
        here.reopen();
        self.counted.all = true;
        self.tell_up(branch);
    }

    /// So much is free on all agents together: what was held back because of what is kept is looked at again.
    pub(crate) fn look(&mut self, free: &Vector) {
        self.counted.all = true;
        let Self { branches, kept, .. } = self;
        kept.look(free);
        branches[WHOLE].limit.reopen(|_, _, need, count| kept.room(need, None) < count);
    }

    /// So many tasks were given this each.
    pub(crate) fn give(&mut self, need: &Need, count: u64) {
        if !self.kept.is_idle() {
            self.kept.give(need, count);
            self.counted.all = true;
        }
    }

    /// So many tasks more of the shape would be too much for a branch. Of the whole they would take what is kept.
    pub(crate) fn refuse(&mut self, branch: u32, shape: u32, need: &Need, count: u64) {
        if self.get_mut(branch).limit.refuse(shape, need, count) {
            self.tell_up(branch);
        }
    }

    /// So many tasks more of the shape would be beyond what is guaranteed to a branch.
    pub(crate) fn pass_by(&mut self, branch: u32, shape: u32, need: &Need, count: u64) {
        let guarantee = self.get_mut(branch).guarantee.as_mut();
        if guarantee.is_some_and(|guarantee| guarantee.refuse(shape, need, count)) {
            self.tell_up(branch);
        }
    }

    /// A shape begins to wait in a lane of this branch: what was found out of those with the same bit does not count
    /// for it.
    pub(crate) fn reconsider(&mut self, branch: u32, shape: u32) {
        let bit = Mask::of(shape);
        let mut at = branch;
        loop {
            let here = self.get_mut(at);
            let parent = here.parent;
            let limit = here.limit.reconsider(bit);
            if here.guarantee.as_mut().is_some_and(|guarantee| guarantee.reconsider(bit)) || limit {
                self.tell_up(at);
            }
            if at == WHOLE {
                return;
            }
            at = parent;
        }
    }

    /// How many tasks more may go to a lane in this branch.
    pub(crate) fn room(&self, branch: u32, need: &Need) -> u64 {
        let room = |branch: u32| self.get(branch).limit.bound.room(&self.get(branch).held, need);
        self.up_from(branch).map(room).min().unwrap_or(u64::MAX)
    }

    /// How many tasks go to a lane in this branch before it is another question whether the next is guaranteed, or
    /// before nothing is left but what is kept for others.
    pub(crate) fn steady(&self, branch: u32, need: &Need) -> u64 {
        if !self.assures {
            return u64::MAX;
        }
        let guaranteed = self.guaranteed_from(branch).map(|above| self.get(above).covers(need));
        let covered = guaranteed.filter(|more| *more > 0).min().unwrap_or(u64::MAX);
        let outermost = self.guaranteed_from(branch).last().map(|above| self.get(above));
        let own = outermost.filter(|above| above.covers(need) > 0).and_then(Branch::kept);
        covered.min(self.kept_room(need, own))
    }

    /// How many tasks may be given of what is not kept for others.
    fn kept_room(&self, need: &Need, own: Option<&Bound>) -> u64 {
        if self.kept.is_idle() { u64::MAX } else { self.kept.room(need, own) }
    }

    /// Of which resource so many tasks would take what is kept for others: free, kept, and asked for.
    pub(crate) fn kept_from(
        &self,
        need: &Need,
        count: u64,
        guaranteed_by: Option<u32>,
    ) -> Option<(Dim, [u64; 3])> {
        let own = guaranteed_by.and_then(|branch| self.get(branch).kept());
        self.kept.short_of(need, count, own).filter(|_| !self.kept.is_idle())
    }

    /// True where so many tasks more would take what is kept for others, where they are guaranteed by this branch or
    /// by none.
    pub(crate) fn takes_kept(&self, need: &Need, count: u64, guaranteed_by: Option<u32>) -> bool {
        let own = guaranteed_by.and_then(|branch| self.get(branch).kept());
        self.kept_room(need, own) < count
    }

    /// True where one more task of this, which is guaranteed by this branch or by none, takes nothing that is kept for others
    /// once so much more is free, and so much is taken.
    pub(crate) fn leaves_kept(
        &self,
        need: &Need,
        guaranteed_by: Option<u32>,
        changes: (&[&Vector], &Vector),
    ) -> bool {
        let own = guaranteed_by.and_then(|branch| self.get(branch).kept());
        self.kept.is_idle() || self.kept.is_left(need, own, changes)
    }

    /// The nearest branch that has no room for so many tasks more, going up.
    pub(crate) fn refusing(&self, branch: u32, need: &Need, count: u64) -> Option<u32> {
        self.up_from(branch).find(|branch| !self.get(*branch).admits(need, count))
    }

    /// True where so many tasks in a branch leave room for others, in every branch that both are in.
    pub(crate) fn leaves_room(
        &self,
        branch: u32,
        (need, count): (&Need, u64),
        (other, others_need, others): (u32, &Need, u64),
    ) -> bool {
        let around: Vec<u32> = self.up_from(other).collect();
        self.up_from(branch).filter(|branch| around.contains(branch)).all(|shared| {
            let Branch { limit, held, .. } = self.get(shared);
            limit.bound.room_beside(held, (need, count), others_need) >= others
        })
    }

    /// What has to be free in all so that so many tasks leave what is kept for others; nothing where nothing is kept.
    pub(crate) fn lacking(&self, need: &Need, count: u64, guaranteed_by: Option<u32>) -> Vec<Lacking> {
        let own = guaranteed_by.and_then(|branch| self.get(branch).kept());
        if self.kept.is_idle() { Vec::new() } else { self.kept.lacking(need, count, own) }
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

/// Says what a member has to offer now, and where it stands.
fn rank(ranking: &mut Ranked<LaneKey, Mask>, seat: u32, offer: Offer) {
    match offer {
        None => ranking.remove(seat),
        Some(offer) if is_ranked(ranking, seat, Some(&offer)) => {}
        Some((key, mask)) => ranking.set(seat, key, mask),
    }
}

/// True where this is what the ranking has of a member.
fn is_ranked(ranking: &Ranked<LaneKey, Mask>, seat: u32, offer: Option<&(LaneKey, Mask)>) -> bool {
    match offer {
        None => !ranking.contains(seat),
        Some((key, mask)) => ranking.says(seat) == *mask && ranking.key(seat) == Some(key),
    }
}
