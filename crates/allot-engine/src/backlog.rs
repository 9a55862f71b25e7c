//! Who waits: jobs, in lanes, in order.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{JobId, PoolJob, QueueName, SetAside, Span, TaskRange, Time};

use crate::dims::{Dim, Need, Vector};
use crate::lane::{Lane, Measure};
use crate::policy::{Backfill, JobKey, LaneKey, Policy, Rank};
use crate::ranked::Ranked;
use crate::shape::{Mask, Shapes};
use crate::slab::Slab;
use crate::tasks::Tasks;
use crate::turns::Pace;

/// One job that has not ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    pub(crate) key: JobKey,
    pub(crate) lane: u32,
    pub(crate) shape: u32,
    /// The tasks that the offers service says wait.
    pub(crate) wanted: Tasks,
    /// Those of them that no unanswered grant holds.
    pub(crate) unplaced: Tasks,
    /// True while it stands in its lane.
    pub(crate) queued: bool,
    /// How long its tasks run.
    pub(crate) pace: Pace,
}

/// The next job to be served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Next {
    pub(crate) lane: u32,
    cell: u32,
    pub(crate) job: u32,
    pub(crate) shape: u32,
}

/// All jobs that have not ended, and the lanes they stand in.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    rank: Rank,
    /// The place of the resource that [`Rank::Fair`] looks at.
    dim: usize,
    order: crate::policy::Order,
    backfill: Backfill,
    jobs: Slab<Job>,
    by_id: BTreeMap<JobId, u32>,
    lanes: Slab<Lane>,
    by_queue: BTreeMap<Option<QueueName>, u32>,
    /// The lanes with waiting jobs, by how much they have.
    ranking: Ranked<LaneKey, Mask>,
    weights: BTreeMap<QueueName, u32>,
    /// Jobs set aside after a refusal that trying again at once would only repeat.
    held: BTreeMap<JobId, SetAside>,
}

impl Backlog {
    pub(crate) fn new(policy: &Policy, dim: usize) -> Self {
        Self {
            rank: policy.rank.clone(),
            dim,
            order: policy.order,
            backfill: policy.backfill,
            jobs: Slab::default(),
            by_id: BTreeMap::new(),
            lanes: Slab::default(),
            by_queue: BTreeMap::new(),
            ranking: Ranked::default(),
            weights: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    pub(crate) fn find(&self, job: JobId) -> Option<u32> {
        self.by_id.get(&job).copied()
    }

    pub(crate) fn job(&self, slot: u32) -> &Job {
        &self.jobs[slot]
    }

    pub(crate) fn lane(&self, slot: u32) -> &Lane {
        &self.lanes[slot]
    }

    /// All jobs by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.by_id.iter().map(|(id, slot)| (*id, &self.jobs[*slot]))
    }

    /// All lanes by queue.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (u32, &Lane)> {
        self.by_queue.values().map(|slot| (*slot, &self.lanes[*slot]))
    }

    /// The lanes with waiting jobs in order of preference.
    pub(crate) fn ranked(&self) -> Vec<u32> {
        self.ranking.in_order()
    }

    pub(crate) fn ranked_key(&self, lane: u32) -> Option<&LaneKey> {
        self.ranking.key(lane)
    }

    /// True where queues rank, so that what each holds matters.
    pub(crate) fn ranks_queues(&self) -> bool {
        self.rank != Rank::Line
    }

    fn lane_of(&self, queue: &QueueName) -> Option<u32> {
        self.by_queue.get(&self.ranks_queues().then(|| queue.clone())).copied()
    }

    fn lane_for(&mut self, queue: &QueueName) -> u32 {
        if let Some(lane) = self.lane_of(queue) {
            return lane;
        }
        let owner = self.ranks_queues().then(|| queue.clone());
        let weight = self.weights.get(queue).copied().unwrap_or(1);
        let lane = self.lanes.insert(Lane::new(owner.clone(), weight));
        self.by_queue.insert(owner, lane);
        lane
    }

    /// What a queue is entitled to.
    pub(crate) fn weigh(&mut self, queue: &QueueName, weight: u32, capacity: &Vector) {
        let weight = weight.max(1);
        self.weights.insert(queue.clone(), weight);
        if let Some(slot) = self.lane_of(queue).filter(|_| self.ranks_queues()) {
            let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
            self.lanes[slot].weight = weight;
            self.lanes[slot].measure(&measure);
            self.place(slot);
        }
    }

    /// What there is in all has changed, and with it the share of everyone.
    pub(crate) fn measure_all(&mut self, capacity: &Vector) {
        if self.rank != Rank::Drf {
            return;
        }
        let slots: Vec<u32> = self.by_queue.values().copied().collect();
        for slot in slots {
            let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
            self.lanes[slot].measure(&measure);
            self.place(slot);
        }
    }

    /// Brings the lane's place among the lanes up to date.
    fn place(&mut self, slot: u32) {
        let lane = &self.lanes[slot];
        let mask = lane.mask(self.backfill);
        if mask == Mask::default() {
            self.ranking.remove(slot);
        } else if let Some(key) = self.ranking.key(slot) {
            let share = lane.share();
            if self.ranking.says(slot) == mask && key.share == share {
                return;
            }
            self.ranking.update(slot, mask, |key| key.share = share);
        } else {
            self.ranking.set(slot, lane.key(), mask);
        }
    }

    /// A job was admitted.
    pub(crate) fn admit(&mut self, job: &PoolJob, shape: u32) {
        let lane = self.lane_for(&job.queue);
        self.lanes[lane].users += 1;
        let key = self.order.key(job.priority, job.submitted_at, job.job);
        let slot = self.jobs.insert(Job { key, lane, shape, ..Job::default() });
        self.by_id.insert(job.job, slot);
    }

    /// A job ended. Returns its shape.
    pub(crate) fn end(&mut self, id: JobId) -> Option<u32> {
        let slot = self.by_id.remove(&id)?;
        self.held.remove(&id);
        self.jobs[slot].unplaced = Tasks::None;
        self.requeue(slot);
        let job = self.jobs.remove(slot);
        self.unuse(job.lane);
        Some(job.shape)
    }

    /// Tasks wait; those that were said to wait already change nothing.
    pub(crate) fn wait(&mut self, slot: u32, range: TaskRange) {
        let job = &mut self.jobs[slot];
        job.pace.wait();
        let mut fresh = Tasks::Run(range);
        job.wanted.within(range).into_iter().for_each(|known| fresh.remove(known));
        job.wanted.insert(range);
        fresh.within(range).into_iter().for_each(|part| job.unplaced.insert(part));
        self.requeue(slot);
    }

    /// Tasks of the job ran for so long.
    pub(crate) fn note_run(&mut self, id: JobId, ran: Span) {
        if let Some(slot) = self.find(id) {
            self.jobs[slot].pace.ran(ran);
        }
    }

    /// Tasks do not wait any more.
    pub(crate) fn withdraw(&mut self, slot: u32, range: TaskRange) {
        self.jobs[slot].wanted.remove(range);
        self.jobs[slot].unplaced.remove(range);
        self.requeue(slot);
    }

    /// A grant for these tasks came to nothing: those that still wait can be placed again.
    pub(crate) fn put_back(&mut self, slot: u32, range: TaskRange) {
        let job = &mut self.jobs[slot];
        job.wanted.within(range).into_iter().for_each(|part| job.unplaced.insert(part));
        self.requeue(slot);
    }

    /// Takes the first tasks of the next job, as one run, up to `turns` for each slot, and charges its lane for the
    /// slots. Returns the tasks and how many slots they have, which is fewer than asked for where they are too few.
    pub(crate) fn serve(
        &mut self,
        next: Next,
        need: &Need,
        slots: u64,
        turns: u64,
        capacity: &Vector,
    ) -> Option<(TaskRange, u64)> {
        let job = &mut self.jobs[next.job];
        let run = job.unplaced.first()?;
        let count = slots.saturating_mul(turns);
        let last = u64::from(run.first).saturating_add(count.saturating_sub(1)).min(u64::from(run.last));
        let taken = TaskRange::new(run.first, u32::try_from(last).unwrap_or(run.last))?;
        let slots = slots.min(taken.count());
        job.unplaced.remove(taken);
        if self.ranks_queues() {
            let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
            self.lanes[next.lane].charge(need, slots, &measure);
        }
        let job = &mut self.jobs[next.job];
        if job.unplaced.is_empty() {
            job.queued = false;
            self.lanes[next.lane].leave_cell(next.cell, job.key);
        }
        self.place(next.lane);
        Some((taken, slots))
    }

    /// Sets a job aside.
    pub(crate) fn hold(&mut self, id: JobId, aside: SetAside) {
        if let Some(slot) = self.find(id) {
            self.held.insert(id, aside);
            self.requeue(slot);
        }
    }

    /// When the first job that was set aside is to be tried again.
    pub(crate) fn next_release(&self) -> Option<Time> {
        self.held.values().map(|aside| aside.until).min()
    }

    /// Lets the jobs be tried again whose time has come.
    pub(crate) fn unhold(&mut self, now: Time) {
        let due: BTreeSet<JobId> =
            self.held.iter().filter(|(_, aside)| aside.until <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.held.remove(&id);
            if let Some(slot) = self.find(id) {
                self.requeue(slot);
            }
        }
    }

    pub(crate) fn is_held(&self, id: JobId) -> bool {
        self.held.contains_key(&id)
    }

    /// Until when the job is set aside, and why.
    pub(crate) fn held(&self, id: JobId) -> Option<SetAside> {
        self.held.get(&id).copied()
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.backfill == Backfill::None
    }

    /// True where a lane has a job that could be next, going by which shapes fit somewhere.
    pub(crate) fn has_next_in(&self, lane: u32, is_open: impl FnMut(u32) -> bool) -> bool {
        self.lanes[lane].next(self.backfill, is_open).is_some()
    }

    /// The resource that the rank of a lane goes by, and what it has of it beside what there is in all.
    pub(crate) fn counts_by(&self, lane: u32, capacity: &Vector) -> Option<(Dim, u64, u64)> {
        let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
        measure.counts_by(&self.lanes[lane].used)
    }

    /// Has the job stand in its lane exactly where it has tasks to place.
    fn requeue(&mut self, slot: u32) {
        let job = &self.jobs[slot];
        let waits = !job.unplaced.is_empty() && (self.held.is_empty() || !self.is_held(job.key.job()));
        if waits == job.queued {
            return;
        }
        let (lane, shape, key) = (job.lane, job.shape, job.key);
        self.jobs[slot].queued = waits;
        if waits {
            self.lanes[lane].enter(shape, key, slot);
        } else {
            self.lanes[lane].leave(shape, key);
        }
        self.place(lane);
    }

    /// The next job to be served: the first in order, of the first lane in order, that may fit somewhere.
    pub(crate) fn next(&self, shapes: &Shapes) -> Option<Next> {
        let (lane, cell) = self.next_cell(shapes, None)?;
        let waiting = self.lanes[lane].cell(cell);
        waiting.first().map(|(_, job)| Next { lane, cell, job, shape: waiting.shape })
    }

    /// The first lane in order that has something open, and its first cell that is.
    fn next_cell(&self, shapes: &Shapes, except: Option<u32>) -> Option<(u32, u32)> {
        let open = shapes.open();
        let mut cell = None;
        let has_next = |slot: u32| {
            if Some(slot) != except {
                cell = self.lanes[slot].next(self.backfill, |shape| shapes.is_open(shape));
            }
            cell.is_some()
        };
        let lane = self.ranking.find(|mask| mask.meets(open), has_next)?;
        cell.map(|cell| (lane, cell))
    }

    /// How many of `most` tasks of the next job go one after the other before another lane is preferred.
    pub(crate) fn stretch(
        &self,
        next: Next,
        need: &Need,
        most: u64,
        shapes: &Shapes,
        capacity: &Vector,
    ) -> u64 {
        if most <= 1 || !self.ranks_queues() {
            return most;
        }
        let rival = self.next_cell(shapes, Some(next.lane)).and_then(|(lane, _)| self.ranking.key(lane));
        let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
        self.lanes[next.lane].stretch(need, most, rival, &measure)
    }

    /// A lane's tasks hold `count` times `need` more.
    pub(crate) fn charge(&mut self, lane: u32, need: &Need, count: u64, capacity: &Vector) {
        if self.ranks_queues() {
            let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
            self.lanes[lane].charge(need, count, &measure);
            self.place(lane);
        }
    }

    /// A lane's tasks hold `count` times `need` less.
    pub(crate) fn refund(&mut self, lane: u32, need: &Need, count: u64, capacity: &Vector) {
        if self.ranks_queues() {
            let measure = Measure { rank: &self.rank, dim: self.dim, capacity };
            self.lanes[lane].refund(need, count, &measure);
            self.place(lane);
        }
    }

    /// What tasks hold that this engine did not grant is charged to their queue.
    pub(crate) fn charge_queue(&mut self, queue: &QueueName, held: &Need, count: u64, capacity: &Vector) {
        if self.ranks_queues() {
            let lane = self.lane_for(queue);
            self.charge(lane, held, count, capacity);
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

    /// One more grant needs the lane to be there.
    pub(crate) fn reuse(&mut self, lane: u32) {
        self.lanes[lane].users += 1;
    }

    /// One job or grant less needs the lane.
    pub(crate) fn unuse(&mut self, lane: u32) {
        self.lanes[lane].users = self.lanes[lane].users.saturating_sub(1);
        self.retire(lane);
    }

    /// Forgets a lane that nothing needs.
    fn retire(&mut self, lane: u32) {
        if self.lanes[lane].is_idle() {
            self.ranking.remove(lane);
            let gone = self.lanes.remove(lane);
            self.by_queue.remove(&gone.queue);
        }
    }
}
