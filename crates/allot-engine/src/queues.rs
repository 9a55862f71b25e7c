//! The queues: the lane of each, what it has, and what it may have.

use std::collections::BTreeMap;

use allot_model::QueueName;

use crate::branch::{Settings, Tree, WHOLE};
use crate::dims::{Dim, Dims, Need, Vector};
use crate::lane::{Lane, LaneHeld};
use crate::name::NameKey;
use crate::policy::{Backfill, JobKey, LaneKey, Policy};
use crate::rank::{Measure, Rank};
use crate::search::Place;
use crate::shape::Shapes;
use crate::slab::Slab;
use crate::standing::Clock;

/// All lanes. Each is a queue's, unless queues do not rank and none has a limit: then one lane is everyone's.
#[derive(Debug, Clone)]
pub(crate) struct Queues {
    pub(crate) rank: Rank,
    /// The place of the resource that [`Rank::Fair`] looks at.
    dim: usize,
    /// The time, as far as ranks go by it.
    pub(crate) clock: Clock,
    pub(crate) backfill: Backfill,
    /// True where each queue has a lane of its own.
    apart: bool,
    pub(crate) lanes: Slab<Lane>,
    /// By name, in a form that compares fast; that of everyone has none.
    pub(crate) by_queue: BTreeMap<NameKey, u32>,
    weights: BTreeMap<QueueName, u32>,
    settings: BTreeMap<QueueName, Settings>,
    /// The lanes with waiting jobs, in the order in which they are served.
    pub(crate) tree: Tree,
    /// True where queues have got limits or guarantees or lost them since the tree was grown.
    outgrown: bool,
    /// What the last search leaned on: what it found is next only if these have a place.
    pub(crate) leaned_on: Vec<Place>,
    /// True where tasks hold something that was not noted, because nobody's share or limit was to be known.
    missed: bool,
}

impl Queues {
    pub(crate) fn new(policy: &Policy, dim: usize, apart: bool) -> Self {
        Self {
            rank: policy.rank.clone(),
            dim,
            clock: Clock::default(),
            backfill: policy.backfill,
            apart: apart || policy.rank != Rank::Line,
            lanes: Slab::default(),
            by_queue: BTreeMap::new(),
            weights: BTreeMap::new(),
            settings: BTreeMap::new(),
            tree: Tree::new(&policy.rank),
            outgrown: false,
            leaned_on: Vec::new(),
            missed: false,
        }
    }

    pub(crate) fn lane(&self, slot: u32) -> &Lane {
        &self.lanes[slot]
    }

    /// All lanes by queue.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (u32, &Lane)> {
        self.by_queue.values().map(|slot| (*slot, &self.lanes[*slot]))
    }

    /// The lane as it is ranked, if it is.
    pub(crate) fn ranked_key(&self, lane: u32) -> Option<&LaneKey> {
        let Lane { branch, seat, .. } = self.lanes[lane];
        self.tree.get(branch).ranking.key(seat)
    }

    /// True where queues rank, so that what each holds matters.
    pub(crate) fn rank(&self) -> bool {
        self.rank != Rank::Line
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.backfill == Backfill::None
    }

    pub(crate) fn measure<'a>(&'a self, capacity: &'a Vector) -> Measure<'a> {
        Measure { rank: &self.rank, dim: self.dim, capacity }
    }

    pub(crate) fn lane_of(&self, queue: &QueueName) -> Option<u32> {
        self.by_queue.get(&self.name_of(queue)).copied()
    }

    fn name_of(&self, queue: &QueueName) -> NameKey {
        if self.apart { NameKey::new(queue.as_str()) } else { NameKey::default() }
    }

    /// The lane of a queue; a new one where it has none.
    pub(crate) fn lane_for(&mut self, queue: &QueueName, capacity: &Vector) -> u32 {
        if let Some(lane) = self.lane_of(queue) {
            return lane;
        }
        let owner = self.apart.then(|| queue.clone());
        let lane = self.lanes.insert(Lane::new(owner));
        self.by_queue.insert(self.name_of(queue), lane);
        self.settle(lane, capacity);
        self.open_standing(lane, capacity);
        lane
    }

    /// The first jobs of a lane that could be next, by their slots and shapes: one for each shape, or one alone where nobody
    /// goes ahead of the first.
    pub(crate) fn firsts_of(&self, lane: u32) -> Vec<(JobKey, u32, u32)> {
        let most = if self.is_strict() { 1 } else { usize::MAX };
        self.lanes[lane].firsts().take(most).collect()
    }

    /// What a queue is entitled to.
    pub(crate) fn weight_of(&self, queue: &QueueName) -> u32 {
        self.weights.get(queue).copied().unwrap_or(1)
    }

    /// Gives a lane its place in the tree, and those above it theirs.
    fn settle(&mut self, slot: u32, capacity: &Vector) {
        let Some(queue) = self.lanes[slot].queue.clone() else {
            return self.take_seat(slot, WHOLE, capacity);
        };
        for above in self.tree.missing_above(&queue) {
            self.part(above, capacity);
        }
        self.take_seat(slot, self.tree.branch_of(&queue), capacity);
    }

    /// Makes a queue a branch, which its own jobs are then only one member of.
    fn part(&mut self, queue: QueueName, capacity: &Vector) {
        let branch = self.tree.part(queue.clone());
        self.tree.get_mut(branch).weight = self.weight_of(&queue);
        self.open_branch_standing(branch);
        if let Some(slot) = self.lane_of(&queue) {
            let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
            let Lane { branch: old, seat, held, .. } = &self.lanes[slot];
            self.tree.account(*old, held, &LaneHeld::default(), &measure);
            self.tree.unseat(*old, *seat);
            self.take_seat(slot, branch, capacity);
        }
    }

    /// The lane is a member of the branch from now on.
    fn take_seat(&mut self, slot: u32, branch: u32, capacity: &Vector) {
        let seat = self.tree.seat(branch, slot);
        let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
        let lane = &mut self.lanes[slot];
        (lane.branch, lane.seat) = (branch, seat);
        let own = lane.queue.as_ref().filter(|queue| self.tree.find(queue).is_none());
        lane.weight = own.and_then(|queue| self.weights.get(queue)).copied().unwrap_or(1);
        self.tree.account(branch, &LaneHeld::default(), &lane.held, &measure);
        lane.measure(&measure);
        self.place(slot);
    }

    /// What a queue is entitled to.
    pub(crate) fn weigh(&mut self, queue: &QueueName, weight: u32, capacity: &Vector) {
        let weight = weight.max(1);
        self.weights.insert(queue.clone(), weight);
        if !self.rank() {
            return;
        }
        self.heard_of(queue, capacity);
        let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
        if let Some(branch) = self.tree.find(queue) {
            self.tree.weigh(branch, weight, &measure);
        } else if let Some(slot) = self.lane_of(queue) {
            self.lanes[slot].weight = weight;
            self.measure_lane(slot, capacity);
        }
        self.reweighed(queue);
    }

    /// What a queue and all below it may have and are to have. False where it cannot be told what they have, because that was not noted:
    /// all has to be told from the start then, to [`Queues::new`] with lanes apart.
    pub(crate) fn bound(&mut self, queue: &QueueName, settings: Settings, dims: &mut Dims) -> bool {
        let known = self.settings.get(queue);
        if known.map_or(settings.is_none(), |known| *known == settings) {
            return true;
        }
        match known.filter(|known| known.guarantee.is_none() && settings.guarantee.is_none()) {
            Some(_) if !settings.is_none() => self.tree.set_limit(queue, &settings.limit, dims),
            _ => self.outgrown = true,
        }
        if settings.is_none() {
            self.settings.remove(queue);
            return true;
        }
        self.settings.insert(queue.clone(), settings);
        self.apart |= self.by_queue.is_empty() && !self.missed;
        self.apart
    }

    /// Grows the tree anew where queues have got limits or guarantees or lost them.
    pub(crate) fn refresh(&mut self, dims: &mut Dims, capacity: &Vector) {
        if !std::mem::take(&mut self.outgrown) || !self.apart {
            return;
        }
        let before = std::mem::replace(&mut self.tree, Tree::new(&self.rank));
        self.tree.grow(&self.settings, dims);
        for branch in self.tree.parts() {
            let queue = self.tree.get(branch).queue.clone();
            self.tree.get_mut(branch).weight = queue.map_or(1, |queue| self.weight_of(&queue));
            self.open_branch_standing(branch);
        }
        let slots: Vec<u32> = self.by_queue.values().copied().collect();
        slots.iter().for_each(|slot| self.settle(*slot, capacity));
        self.take_standings(&before, capacity);
    }

    /// What there is in all has changed, and with it the share of everyone.
    pub(crate) fn measure_all(&mut self, capacity: &Vector) {
        if !matches!(self.rank, Rank::Line | Rank::Fair { .. }) {
            self.measure_anew(capacity);
        }
    }

    /// Finds the place of everyone anew.
    pub(crate) fn measure_anew(&mut self, capacity: &Vector) {
        let slots: Vec<u32> = self.by_queue.values().copied().collect();
        slots.into_iter().for_each(|slot| self.measure_lane(slot, capacity));
        for branch in self.tree.parts() {
            let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
            self.tree.measure(branch, &measure);
        }
    }

    /// Finds the place of a lane anew.
    pub(crate) fn measure_lane(&mut self, slot: u32, capacity: &Vector) {
        let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
        self.lanes[slot].measure(&measure);
        self.place(slot);
    }

    /// True where lanes are told apart, and yet the order of their jobs alone counts.
    pub(crate) fn are_in_one_line(&self) -> bool {
        self.apart && !self.rank()
    }

    /// The place of a lane, as it is now.
    pub(crate) fn key(&self, slot: u32) -> LaneKey {
        let lane = &self.lanes[slot];
        match lane.head() {
            Some((first, _)) if self.are_in_one_line() => first.as_lane_key(),
            _ => LaneKey { share: lane.share(), name: lane.name() },
        }
    }

    /// Brings the lane's place among the lanes up to date.
    pub(crate) fn place(&mut self, slot: u32) {
        let lane = &self.lanes[slot];
        let (branch, seat, mask) = (lane.branch, lane.seat, lane.mask(self.backfill));
        if self.tree.is_mixed() {
            self.tree.counted.touched.insert(slot);
        }
        if self.rank() {
            self.tree.place(branch, seat, mask, lane.share(), || lane.name());
        } else if self.apart {
            self.tree.place_by_job(branch, seat, mask, lane.head().map(|(first, _)| first));
        } else if self.tree.get(branch).ranking.says(seat) != mask {
            // The lane of everyone is beside no other: only what it offers counts.
            self.tree.place(branch, seat, mask, lane.share(), || lane.name());
        }
    }

    /// Puts a waiting job in its place.
    pub(crate) fn enter(&mut self, lane: u32, shape: u32, key: JobKey, job: u32) {
        let is_new = self.lanes[lane].enter(shape, key, job);
        if is_new && !self.tree.is_plain() {
            self.tree.reconsider(self.lanes[lane].branch, shape);
        }
        self.place(lane);
    }

    /// Takes a job out of its place.
    pub(crate) fn leave(&mut self, lane: u32, shape: u32, key: JobKey) {
        self.lanes[lane].leave(shape, key);
        self.place(lane);
    }

    /// A lane's tasks hold `count` times `need` more. Where a job has nothing left to place, it leaves.
    pub(crate) fn serve(
        &mut self,
        lane: u32,
        need: &Need,
        count: u64,
        capacity: &Vector,
        leaves: Option<(u32, JobKey)>,
    ) {
        self.missed |= !self.apart;
        self.tree.give(need, count);
        if self.apart {
            self.hold(lane, |lane, measure| lane.charge(need, count, measure), capacity);
        }
        if let Some((cell, key)) = leaves {
            self.lanes[lane].leave_cell(cell, key);
        }
        self.place(lane);
    }

    /// A lane's tasks hold `count` times `need` less.
    pub(crate) fn refund(&mut self, lane: u32, need: &Need, count: u64, capacity: &Vector) {
        if self.apart {
            self.hold(lane, |lane, measure| lane.refund(need, count, measure), capacity);
            self.place(lane);
        }
    }

    /// Changes what a lane's tasks hold, and with it what the branches hold that it is in.
    fn hold(&mut self, slot: u32, change: impl FnOnce(&mut Lane, &Measure<'_>), capacity: &Vector) {
        self.accrue(slot, capacity);
        let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
        let lane = &mut self.lanes[slot];
        if lane.branch == WHOLE {
            change(lane, &measure);
        } else {
            let before = lane.held.clone();
            change(lane, &measure);
            self.tree.account(lane.branch, &before, &lane.held, &measure);
        }
    }

    /// What tasks hold that this engine did not grant is charged to their queue.
    pub(crate) fn charge_queue(&mut self, queue: &QueueName, held: &Need, count: u64, capacity: &Vector) {
        self.missed |= !self.apart;
        if self.apart {
            let lane = self.lane_for(queue, capacity);
            self.serve(lane, held, count, capacity, None);
            self.retire(lane);
        }
    }

    /// What tasks held is free again.
    pub(crate) fn refund_queue(&mut self, queue: &QueueName, held: &Need, count: u64, capacity: &Vector) {
        if let Some(lane) = self.lane_of(queue) {
            self.refund(lane, held, count, capacity);
            self.retire(lane);
        }
    }

    /// One more job or grant needs the lane to be there.
    pub(crate) fn reuse(&mut self, lane: u32) {
        self.lanes[lane].users += 1;
    }

    /// One job or grant less needs the lane.
    pub(crate) fn unuse(&mut self, lane: u32) {
        self.lanes[lane].users = self.lanes[lane].users.saturating_sub(1);
        self.retire(lane);
    }

    /// Forgets a lane that nothing needs.
    pub(crate) fn retire(&mut self, lane: u32) {
        if self.lanes[lane].is_idle() && self.is_forgotten(lane) {
            let gone = self.lanes.remove(lane);
            self.tree.counted.forget(lane);
            self.tree.unseat(gone.branch, gone.seat);
            self.by_queue.remove(&gone.name());
        }
    }

    /// True where a lane has a job that could be next, going by which shapes fit somewhere.
    pub(crate) fn has_next_in(&self, lane: u32, shapes: &Shapes, mut fits: impl FnMut(u32) -> bool) -> bool {
        let may_have = |shape: u32| self.may_go(lane, shapes.get(shape));
        let lane = &self.lanes[lane];
        lane.next(self.backfill, |shape| may_have(shape) && fits(shape)).is_some()
    }

    /// The resource that the rank of a lane goes by, and what it has of it beside what there is in all.
    pub(crate) fn counts_by(&self, lane: u32, capacity: &Vector) -> Option<(Dim, u64, u64)> {
        self.measure(capacity).counts_by(&self.lanes[lane].held.used)
    }
}
