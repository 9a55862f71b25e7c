//! Who waits: jobs, in lanes, in order.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{JobId, PoolJob, SetAside, Span, TaskRange, Time};

use crate::arrivals::{Arrivals, Kind};
use crate::branch::Tree;
use crate::candidates::{Ahead, Candidate, Candidates};
use crate::dims::{Need, Vector};
use crate::order::Traits;
use crate::policy::{Backfill, JobKey, Policy};
use crate::queues::Queues;
use crate::rekey::Scores;
use crate::search::{Hopeless, Place, Wanted};
use crate::shape::Shapes;
use crate::slab::Slab;
use crate::tasks::Tasks;
use crate::timeline::Estimate;
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
    /// How long its tasks turned out to run.
    pub(crate) pace: Pace,
    pub(crate) priority: i32,
    /// How long its tasks were said to run.
    pub(crate) estimate: Estimate,
    /// How many have to be placed together before any may be by itself; 1 once that was done.
    pub(crate) together: u32,
    /// Its place among the candidates of its lane, where it has one.
    seat: u32,
}

impl Job {
    /// How it is planned.
    pub(crate) fn kind(&self) -> Kind {
        Kind { lane: self.lane, shape: self.shape, estimate: self.estimate }
    }

    /// True where it has tasks that can be placed, as far as their number goes.
    pub(crate) fn is_ready(&self) -> bool {
        !self.unplaced.is_empty() && self.unplaced.count() >= u64::from(self.together)
    }
}

/// The next job to be served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Next {
    pub(crate) lane: u32,
    cell: u32,
    pub(crate) job: u32,
    pub(crate) shape: u32,
    /// True where it goes ahead of another for which room is kept.
    goes_ahead: bool,
}

impl From<Place> for Next {
    fn from(Place { lane, cell, job, shape, .. }: Place) -> Self {
        Self { lane, cell, job, shape, goes_ahead: false }
    }
}

/// All jobs that have not ended, and the lanes they stand in.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    scores: Scores,
    jobs: Slab<Job>,
    by_id: BTreeMap<JobId, u32>,
    pub(crate) queues: Queues,
    /// Jobs set aside after a refusal that trying again at once would only repeat.
    held: BTreeMap<JobId, SetAside>,
    /// The jobs that stand in line once more, where some may go ahead of others for which room is kept.
    pub(crate) candidates: Option<Candidates>,
    /// Who came and left since plans were made, where there is one for each job.
    pub(crate) arrivals: Option<Arrivals>,
}

impl Backlog {
    pub(crate) fn new(policy: &Policy, dim: usize, apart: bool) -> Self {
        Self {
            scores: Scores::new(policy.order, policy.ageing),
            jobs: Slab::default(),
            by_id: BTreeMap::new(),
            queues: Queues::new(policy, dim, apart),
            held: BTreeMap::new(),
            candidates: policy
                .backfill
                .is_easy()
                .then(|| Candidates::new(policy.backfill == Backfill::EasyShortest)),
            arrivals: (policy.backfill == Backfill::Conservative).then(Arrivals::default),
        }
    }

    pub(crate) fn find(&self, job: JobId) -> Option<u32> {
        self.by_id.get(&job).copied()
    }

    pub(crate) fn job(&self, slot: u32) -> &Job {
        &self.jobs[slot]
    }

    /// All jobs by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.by_id.iter().map(|(id, slot)| (*id, &self.jobs[*slot]))
    }

    /// A job was admitted.
    pub(crate) fn admit(&mut self, job: &PoolJob, shape: u32, capacity: &Vector) {
        let lane = self.queues.lane_for(&job.queue, capacity);
        self.queues.reuse(lane);
        let (estimate, together) = (Estimate::of(job.estimate), job.min_tasks.max(1));
        let priority = job.priority;
        let slot = self.jobs.insert(Job { lane, shape, priority, estimate, together, ..Job::default() });
        let score = self.scores.admit(slot, &Traits::of(job));
        self.jobs[slot].key = JobKey::new(score, job.submitted_at, job.job);
        self.by_id.insert(job.job, slot);
    }

    /// A job ended. Returns its shape.
    pub(crate) fn end(&mut self, id: JobId) -> Option<u32> {
        let slot = self.by_id.remove(&id)?;
        self.held.remove(&id);
        self.jobs[slot].unplaced = Tasks::None;
        self.requeue(slot);
        self.scores.forget(slot);
        let job = self.jobs.remove(slot);
        self.queues.unuse(job.lane);
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
        let leaves = job.unplaced.is_empty().then_some((next.cell, job.key));
        if leaves.is_some() {
            self.scores.leave(next.job);
            self.step_out(next.job);
        }
        self.queues.serve(next.lane, need, slots, capacity, leaves);
        self.note_served(next);
        Some((taken, slots))
    }

    /// A lane was served. What goes ahead of another for which room is kept takes nobody's turn.
    fn note_served(&mut self, next: Next) {
        if !next.goes_ahead {
            self.queues.served(next.lane);
        }
    }

    /// Takes the first tasks of the next job, so many, which are placed together, and charges its lane for them. The job
    /// stands in line no longer: see [`Backlog::reshape`].
    pub(crate) fn serve_gang(
        &mut self,
        next: Next,
        need: &Need,
        tasks: u64,
        capacity: &Vector,
    ) -> Vec<TaskRange> {
        let (job, mut left, mut taken) = (&mut self.jobs[next.job], tasks, Vec::new());
        while let Some(run) = job.unplaced.first().filter(|_| left > 0) {
            let last = u64::from(run.first).saturating_add(left - 1).min(u64::from(run.last));
            let Some(part) = TaskRange::new(run.first, u32::try_from(last).unwrap_or(run.last)) else {
                break;
            };
            job.unplaced.remove(part);
            left -= part.count();
            taken.push(part);
        }
        let leaves = Some((next.cell, job.key));
        self.scores.leave(next.job);
        self.step_out(next.job);
        self.queues.serve(next.lane, need, tasks, capacity, leaves);
        self.note_served(next);
        taken
    }

    /// The job asks for another shape, so many tasks at a time, from now on.
    pub(crate) fn reshape(&mut self, slot: u32, shape: u32, together: u32) {
        let job = &mut self.jobs[slot];
        if job.queued {
            let (lane, shape, key) = (job.lane, job.shape, job.key);
            self.scores.leave(slot);
            self.step_out(slot);
            self.queues.leave(lane, shape, key);
        }
        let job = &mut self.jobs[slot];
        (job.shape, job.together) = (shape, together);
        self.requeue(slot);
    }

    /// Notes that a job stands in line now.
    fn step_in(&mut self, slot: u32) {
        let job = &mut self.jobs[slot];
        job.queued = true;
        if let Some(candidates) = &mut self.candidates {
            let asks = Candidate { job: slot, shape: job.shape, estimate: job.estimate };
            job.seat = candidates.enter(job.lane, job.key, asks);
        }
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.enter(job.kind(), job.key, slot);
        }
    }

    /// Notes that a job stands in line no longer.
    fn step_out(&mut self, slot: u32) {
        let job = &mut self.jobs[slot];
        job.queued = false;
        if let Some(candidates) = &mut self.candidates {
            candidates.leave(job.lane, job.shape, job.seat);
        }
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.leave(job.kind(), job.key, slot);
        }
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

    /// Has the job stand in its lane exactly where it has tasks to place.
    fn requeue(&mut self, slot: u32) {
        let job = &self.jobs[slot];
        let waits = job.is_ready() && (self.held.is_empty() || !self.is_held(job.key.job()));
        if waits == job.queued {
            return;
        }
        let (lane, shape, key) = (job.lane, job.shape, job.key);
        if waits {
            let key = self.scores.enter(slot).map_or(key, |score| key.scored(score));
            self.jobs[slot].key = key;
            self.step_in(slot);
            self.queues.enter(lane, shape, key, slot);
        } else {
            self.scores.leave(slot);
            self.step_out(slot);
            self.queues.leave(lane, shape, key);
        }
    }

    /// The time is this now.
    pub(crate) fn advance(&mut self, now: Time, capacity: &Vector) {
        self.scores.advance(now);
        self.queues.advance(now, capacity);
    }

    /// Scores the waiting jobs again whose scores time has changed.
    pub(crate) fn rescore(&mut self) {
        for slot in self.scores.take_due() {
            let Job { key, lane, shape, .. } = self.jobs[slot];
            let rescored = self.scores.enter(slot).map_or(key, |score| key.scored(score));
            if rescored != key {
                self.step_out(slot);
                self.queues.leave(lane, shape, key);
                self.jobs[slot].key = rescored;
                self.step_in(slot);
                self.queues.enter(lane, shape, rescored, slot);
            }
        }
    }

    /// When a score changes next with which something may be placed that could not be before: where all that fits goes ahead,
    /// another order alone changes nothing.
    pub(crate) fn next_step(&self) -> Option<Time> {
        self.scores.next_step().filter(|_| self.queues.backfill != Backfill::Skip)
    }

    /// The next job to be served: the first in order, of the first lane in order, that may fit somewhere and would not
    /// be more than its queue may have.
    pub(crate) fn next(&mut self, shapes: &Shapes) -> Option<Next> {
        self.queues.next(shapes, Wanted::Fitting).map(Next::from)
    }

    /// The first job in line that its queue may have, whether it fits now or not, but for what never does.
    pub(crate) fn head(&mut self, shapes: &Shapes, hopeless: &Hopeless) -> Option<Next> {
        self.queues.next(shapes, Wanted::All(hopeless)).map(Next::from)
    }

    /// The first job that goes ahead, of those whose shape may fit somewhere, whose queue may have it, and which `accept`
    /// takes. Groups of jobs that `enter` does not let pass are not looked at.
    pub(crate) fn candidate(
        &mut self,
        shapes: &Shapes,
        is_in_time: &dyn Fn(Estimate) -> bool,
        may_outlast: &dyn Fn(u32) -> bool,
        keeps_limits: &dyn Fn(&Tree, u32, u32, Estimate) -> bool,
        first: Option<(u32, &Need, u64)>,
    ) -> Option<Next> {
        let (candidates, open) = (self.candidates.as_ref()?, shapes.open());
        let ahead = Ahead { candidates, open, is_in_time, may_outlast, first, keeps_limits };
        let place = self.queues.find(shapes, Wanted::Ahead(&ahead))?;
        Some(Next { goes_ahead: true, ..place.into() })
    }

    /// The first job without a plan, but for those of these kinds.
    pub(crate) fn arrival(&mut self, shapes: &Shapes, hopeless: &BTreeSet<Kind>) -> Option<Next> {
        let unplanned = self.arrivals.as_ref()?.unplanned(hopeless)?;
        self.queues.next(shapes, Wanted::Unplanned(&unplanned)).map(Next::from)
    }

    /// This job as the next to be served, if it stands in line.
    pub(crate) fn as_next(&self, slot: u32) -> Option<Next> {
        let Job { lane, shape, queued, .. } = self.jobs[slot];
        let cell = self.queues.lane(lane).cell_of(shape).filter(|_| queued)?;
        Some(Next { lane, cell, job: slot, shape, goes_ahead: false })
    }
}
