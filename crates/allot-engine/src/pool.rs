//! The pool as the feed describes it: what is free, who waits, who has what.

use std::collections::VecDeque;
use std::sync::Arc;

use allot_model::{
    AgentId, Epoch, GrantId, JobId, Placement, PoolAgent, PoolJob, QueueName, Resources, Span, TaskRange,
    Time,
};

use crate::backlog::{Backlog, Next};
use crate::branch::Settings;
use crate::choice::Among;
use crate::dims::{Dims, GPUS, Need};
use crate::draw::Draws;
use crate::easy::{Easy, Guard};
use crate::fleet::Fleet;
use crate::flight::{Flight, Part, Unanswered};
use crate::plans::Plans;
use crate::policy::{Backfill, Policy};
use crate::preempt::Preempting;
use crate::rank::Rank;
use crate::rank::hdrf::Witnesses;
use crate::room::Free;
use crate::shape::{Classes, Gang, Hope, Shape, Shapes};
use crate::standing::Memory;
use crate::timeline::{Estimate, Group, Runs};

/// Everything a policy looks at.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) dims: Dims,
    pub(crate) classes: Classes,
    pub(crate) shapes: Shapes,
    pub(crate) fleet: Fleet,
    pub(crate) backlog: Backlog,
    /// What runs, where it matters when it will end.
    pub(crate) runs: Option<Runs>,
    /// For whom room is kept, where it is kept for one job at a time.
    pub(crate) easy: Option<Easy>,
    /// For whom room is kept from when on, where it is kept for all.
    pub(crate) conservative: Option<Plans>,
    /// The jobs for which room was kept before a resync, in the order in which they were planned to start.
    pub(crate) planned_before: VecDeque<JobId>,
    pub(crate) preempting: Preempting,
    /// True where what there is in all has changed since shares were measured.
    resized: bool,
    /// Where shapes fit for certain, where that decides how queues rank.
    witnesses: Option<Witnesses>,
}

impl Pool {
    /// Nothing yet. `apart` says that queues have limits, so that what each has is noted from the start.
    pub(crate) fn new(policy: &Policy, apart: bool) -> Self {
        let mut dims = Dims::new();
        let dim = match &policy.rank {
            Rank::Fair { resource } => dims.place(resource),
            _ => 0,
        };
        Self {
            dims,
            classes: Classes::new(),
            shapes: Shapes::new(),
            fleet: Fleet::new(policy.placement),
            backlog: Backlog::new(policy, dim, apart),
            runs: policy.backfill.looks_ahead().then(Runs::default),
            easy: policy.backfill.is_easy().then(Easy::default),
            conservative: (policy.backfill == Backfill::Conservative).then(Plans::default),
            planned_before: VecDeque::new(),
            preempting: Preempting::new(policy.preempt),
            resized: false,
            witnesses: (policy.rank == Rank::Hdrf).then(Witnesses::default),
        }
    }

    /// The time is this now. To be told before anything that happens at it.
    pub(crate) fn advance(&mut self, now: Time) {
        self.backlog.advance(now, self.fleet.capacity());
    }

    /// What is to be remembered across a resync, which tells everything but the past: of queues, and for which jobs room was
    /// kept, in order.
    pub(crate) fn remember(&mut self) -> (Memory, VecDeque<JobId>) {
        let mut planned: VecDeque<JobId> = self.conservative.iter().flat_map(Plans::in_order).collect();
        planned.append(&mut self.planned_before);
        (self.backlog.queues.remember(self.fleet.capacity()), planned)
    }

    /// Takes over what was remembered.
    pub(crate) fn recall(&mut self, (memory, planned): (Memory, VecDeque<JobId>)) {
        self.backlog.queues.recall(memory, self.fleet.capacity());
        self.planned_before = planned;
    }

    /// A queue was set. False where all has to be told from the start, see [`crate::queues::Queues::bound`].
    pub(crate) fn on_queue(&mut self, queue: &QueueName, weight: u32, settings: Settings) -> bool {
        self.preempting.on_demand();
        let Settings { limit, guarantee } = settings;
        let settings = Settings { limit: limit.of_tasks(), guarantee };
        let queues = &mut self.backlog.queues;
        queues.weigh(queue, weight, self.fleet.capacity());
        queues.bound(queue, settings, &mut self.dims)
    }

    pub(crate) fn on_job(&mut self, job: &PoolJob) {
        if self.backlog.find(job.job).is_some() {
            return;
        }
        self.preempting.on_job(job);
        let (class, is_new) = self.classes.use_for(&job.constraints);
        if is_new {
            self.fleet.add_class(class, &job.constraints);
        }
        let same = job.same.as_deref().map(Arc::from);
        let gang = (job.min_tasks > 1).then_some(Gang { tasks: job.min_tasks, same });
        let shape = self.shapes.use_for(&job.resources, class, gang, &mut self.dims);
        self.fleet.note_job(job.job, shape, &self.shapes.get(shape).need, job.tasks);
        self.backlog.admit(job, shape, self.fleet.capacity());
    }

    pub(crate) fn on_job_ended(&mut self, job: JobId) {
        self.preempting.on_job_ended(job);
        if let Some(shape) = self.backlog.end(job) {
            self.fleet.mix.end(job);
            self.release_shape(shape);
        }
    }

    fn release_shape(&mut self, shape: u32) {
        let class = self.shapes.get(shape).class;
        if self.shapes.release(shape) {
            self.fleet.unlearn(shape);
            self.easy.iter_mut().for_each(|easy| easy.forget(shape));
        }
        if self.classes.release(class) {
            self.fleet.remove_class(class);
        }
    }

    pub(crate) fn on_pending(&mut self, job: JobId, tasks: TaskRange) {
        if let Some(slot) = self.backlog.find(job) {
            self.backlog.wait(slot, tasks);
            self.preempting.on_demand();
        }
    }

    pub(crate) fn on_withdrawn(&mut self, job: JobId, tasks: TaskRange) {
        if let Some(slot) = self.backlog.find(job) {
            self.backlog.withdraw(slot, tasks);
        }
    }

    pub(crate) fn on_agent(&mut self, facts: Arc<PoolAgent>, now: Time) {
        self.backlog.queues.accrue_all(self.fleet.capacity());
        let (id, is_new) = (facts.agent.clone(), self.fleet.find(&facts.agent).is_none());
        self.resized |= self.fleet.describe(facts, &mut self.dims, &self.classes);
        if let (Some(runs), Some(agent)) = (&mut self.runs, self.fleet.find(&id)) {
            if is_new {
                runs.arrive(agent, &id, now);
            }
            runs.touch(agent);
            self.easy.iter_mut().for_each(|easy| easy.forget_agent(agent));
        }
    }

    /// Allocated by someone else, or before this engine came.
    pub(crate) fn on_allocated(&mut self, placement: &Placement, at: Time, now: Time) {
        let run = placement.run;
        self.on_withdrawn(run.job, run.tasks);
        self.backlog.find(run.job).into_iter().for_each(|job| self.loosen(job));
        self.occupy(placement);
        let held = self.dims.held(&placement.slice);
        self.note_elsewhere(placement, &held, at, now);
        self.backlog.queues.charge_queue(&placement.queue, &held, placement.slots, self.fleet.capacity());
    }

    fn occupy(&mut self, placement: &Placement) {
        let gpus = self.dims.held(&placement.slice).get(GPUS);
        self.fleet.occupy(&placement.agent, gpus, placement.slots);
    }

    /// Notes what runs, of which this engine has no grant.
    fn note_elsewhere(&mut self, placement: &Placement, held: &Need, at: Time, now: Time) {
        let Some(runs) = &mut self.runs else { return };
        let job = self.backlog.find(placement.run.job);
        let estimate = job.map_or(Estimate::UNKNOWN, |job| self.backlog.job(job).estimate);
        let (tasks, slots) = (placement.run.tasks, placement.slots);
        let group = group(placement.run.job, tasks, slots, held, at, estimate);
        match self.fleet.find(&placement.agent) {
            Some(agent) => runs.start(agent, group, now),
            None => runs.start_away(&placement.agent, group, now),
        }
    }

    /// Slots of tasks are free.
    pub(crate) fn on_released(
        &mut self,
        (agent, job, tasks): (&AgentId, JobId, TaskRange),
        queue: &QueueName,
        slice: &Resources,
        slots: u64,
    ) {
        if let Some(runs) = &mut self.runs {
            match self.fleet.find(agent) {
                Some(agent) => runs.end(agent, job, tasks, slots),
                None => runs.end_away(agent, job, tasks, slots),
            }
        }
        let held = self.dims.held(slice);
        self.fleet.vacate(agent, held.get(GPUS), slots);
        self.backlog.queues.refund_queue(queue, &held, slots, self.fleet.capacity());
    }

    /// A gang of the job has been placed: its other tasks, and those that are tried again, go one by one.
    pub(crate) fn loosen(&mut self, job: u32) {
        let shape = self.backlog.job(job).shape;
        let Shape { request, class, gang: Some(_), .. } = self.shapes.get(shape).clone() else { return };
        let plain = self.shapes.use_for(&request, class, None, &mut self.dims);
        self.classes.share(class);
        self.backlog.reshape(job, plain, 1);
        self.release_shape(shape);
    }

    /// The gang of a job was not placed after all.
    fn tighten(&mut self, job: u32, shape: u32) {
        let (class, together) = (self.shapes.get(shape).class, self.shapes.get(shape).count());
        let plain = self.backlog.job(job).shape;
        self.shapes.share(shape);
        self.classes.share(class);
        self.backlog.reshape(job, shape, u32::try_from(together).unwrap_or(u32::MAX));
        self.release_shape(plain);
    }

    /// How many tasks of a job take turns in a slot, so that it is busy for about `ahead`. No agent gets so many that
    /// too few are left for the others.
    pub(crate) fn turns(&self, job: u32, slots: u64, ahead: Span) -> u64 {
        let job = self.backlog.job(job);
        let turns = job.pace.turns(ahead);
        if turns == 1 {
            return 1;
        }
        let fair = job.unplaced.count() / (2 * self.fleet.len().max(1)) / slots.max(1);
        turns.min(fair).max(1)
    }

    /// A grant of this engine is on its way.
    pub(crate) fn on_granted(&mut self, grant: &Unanswered, number: u64) {
        self.shapes.share(grant.shape);
        self.classes.share(self.shapes.get(grant.shape).class);
        self.backlog.queues.reuse(grant.lane);
        for agent in grant.parts.iter().filter_map(|part| part.agent) {
            self.fleet.note_grant(agent, number);
        }
    }

    /// Tasks of a job are about to run on an agent.
    pub(crate) fn note_start(&mut self, job: u32, agent: u32, tasks: TaskRange, slots: u64, now: Time) {
        let Some(runs) = &mut self.runs else { return };
        let job = self.backlog.job(job);
        let need = &self.shapes.get(job.shape).need;
        runs.start(agent, group(job.key.job(), tasks, slots, need, now, job.estimate), now);
    }

    /// A grant of this engine was committed.
    pub(crate) fn on_committed(
        &mut self,
        grant: &Unanswered,
        number: u64,
        placements: &[Placement],
        (at, now): (Time, Time),
    ) {
        for part in grant.parts.iter() {
            self.on_withdrawn(grant.job, part.tasks);
            if let Some(agent) = part.agent {
                let need = &self.shapes.get(grant.shape).need;
                let taken = (need, part.slots, part.named.as_ref());
                self.fleet.answered(agent, number, Some(taken));
            } else {
                let of_part = placements.iter().filter(|placement| placement.run.tasks == part.tasks);
                of_part.for_each(|placement| self.occupy(placement));
            }
        }
        if self.runs.is_some() {
            self.note_committed(grant, placements, at, now);
        }
        self.forget_grant(grant);
    }

    /// Notes from when on the tasks of a grant run. Those on agents that have left are not known any more.
    fn note_committed(&mut self, grant: &Unanswered, placements: &[Placement], at: Time, now: Time) {
        let job = self.backlog.find(grant.job);
        let estimate = job.map_or(Estimate::UNKNOWN, |job| self.backlog.job(job).estimate);
        let need = self.shapes.get(grant.shape).need.clone();
        for Part { agent, tasks, slots, .. } in grant.parts.iter().filter(|_| grant.sent_at != at) {
            if let (Some(runs), Some(agent)) = (&mut self.runs, agent) {
                runs.restart(*agent, group(grant.job, *tasks, *slots, &need, at, estimate), now);
            }
        }
        for placement in placements.iter().filter(|placement| self.fleet.find(&placement.agent).is_none()) {
            let (tasks, slots) = (placement.run.tasks, placement.slots);
            let group = group(grant.job, tasks, slots, &need, at, estimate);
            self.runs.iter_mut().for_each(|runs| runs.start_away(&placement.agent, group.clone(), now));
        }
    }

    /// A grant of this engine came to nothing. Returns true where all its tasks still wait.
    pub(crate) fn on_refused(&mut self, grant: &Unanswered, number: u64) -> bool {
        let (need, slots) = (&self.shapes.get(grant.shape).need, grant.parts.slots());
        self.backlog.queues.refund(grant.lane, need, slots, self.fleet.capacity());
        for part in grant.parts.iter() {
            if let Some(agent) = part.agent {
                self.fleet.move_out(agent, need.get(GPUS), part.slots);
                self.fleet.answered(agent, number, None);
                self.runs.iter_mut().for_each(|runs| runs.end(agent, grant.job, part.tasks, part.slots));
            }
        }
        let waiting = self.backlog.find(grant.job).map_or(0, |job| self.put_back(job, grant));
        self.forget_grant(grant);
        waiting == grant.parts.tasks()
    }

    /// The tasks of a grant wait again, as far as they are wanted; returns how many are.
    fn put_back(&mut self, job: u32, grant: &Unanswered) -> u64 {
        if self.shapes.get(grant.shape).gang.is_some() {
            self.tighten(job, grant.shape);
        }
        let mut waiting = 0;
        for part in grant.parts.iter() {
            self.backlog.put_back(job, part.tasks);
            let wanted = self.backlog.job(job).wanted.within(part.tasks);
            waiting += wanted.into_iter().map(TaskRange::count).sum::<u64>();
        }
        waiting
    }

    fn forget_grant(&mut self, grant: &Unanswered) {
        self.backlog.queues.unuse(grant.lane);
        self.release_shape(grant.shape);
    }

    /// True where a gang of the job is still to be placed, so that its other tasks have to wait for that.
    pub(crate) fn waits_for_gang(&self, job: JobId) -> bool {
        self.backlog.find(job).is_some_and(|job| self.backlog.job(job).together > 1)
    }

    /// True where a job may be given more, as far as limits go.
    pub(crate) fn may_have_more(&mut self, job: JobId) -> bool {
        self.backlog.queues.refresh(&mut self.dims, self.fleet.capacity());
        let Some(job) = self.backlog.find(job).map(|slot| self.backlog.job(slot)) else { return false };
        let (branch, shape) = (self.backlog.queues.lane(job.lane).branch, self.shapes.get(job.shape));
        self.backlog.queues.tree.refusing(branch, &shape.need, shape.count()).is_none()
    }

    /// The agent for the next task of a job, which is of the shape. A shape that is looked for long and often is learned, which costs one look at
    /// each agent.
    pub(crate) fn best_agent(
        &mut self,
        shape: u32,
        job: u32,
        guard: Option<Estimate>,
        now: Time,
    ) -> Option<u32> {
        let seed = self.fleet.seed();
        let draws = |backlog: &Backlog| {
            let job = backlog.job(job);
            let task = job.unplaced.first().map_or(0, |run| run.first);
            Draws::new(seed, job.key.job(), task)
        };
        let known = self.shapes.get(shape);
        let guarded = guard.and_then(|estimate| self.guard(estimate, now)).map(|guard| {
            let admits = |agent| guard.admits(agent, &known.need, &self.fleet);
            self.fleet.all_where(known, admits)
        });
        let Self { fleet, backlog, .. } = self;
        let (found, looked_at) = match guarded {
            Some(Among::First(found, looked_at)) => (found, looked_at),
            Some(Among::These(few)) => (fleet.choose(&few, known, || draws(backlog)), 0),
            None => fleet.best(shape, known, || draws(backlog)),
        };
        self.note_effort(shape, looked_at);
        found
    }

    /// True where tasks of the shape, as many as are placed at a time, have room.
    pub(crate) fn has_room(&mut self, shape: u32) -> bool {
        match &self.shapes.get(shape).gang {
            Some(_) => crate::gang::has_room(&self.fleet, self.shapes.get(shape)),
            None => self.find_room(shape).is_some(),
        }
    }

    /// Some agent with room for a task of the shape.
    fn find_room(&mut self, shape: u32) -> Option<u32> {
        let (found, looked_at) = self.fleet.with_room(self.shapes.get(shape));
        self.note_effort(shape, looked_at);
        found
    }

    /// A search for the shape took so much.
    fn note_effort(&mut self, shape: u32, looked_at: u64) {
        let is_known = self.shapes.get(shape).bit.is_some();
        if !is_known && self.fleet.is_worth_learning(self.shapes.note_effort(shape, looked_at)) {
            let bit = self.fleet.learn(shape, self.shapes.get(shape));
            self.shapes.set_bit(shape, bit);
        }
    }

    /// What keeps a task with this estimate from delaying the one for which room is kept, where there is one.
    pub(crate) fn guard(&self, estimate: Estimate, now: Time) -> Option<Guard<'_>> {
        let easy = self.easy.as_ref()?;
        let shadow = easy.kept.as_ref()?.shadow();
        easy.guard(self.runs.as_ref()?, estimate.ends(now) <= shadow)
    }

    /// When to decide next, if nothing is heard before: when what runs is expected to end, or what is planned to start.
    pub(crate) fn next_look(&self) -> Option<Time> {
        let starts = self.conservative.as_ref().and_then(Plans::next_start);
        let waits = starts.is_some() || self.easy.as_ref().is_some_and(|easy| easy.kept.is_some());
        let ends = self.runs.as_ref().and_then(Runs::next_end);
        if waits { starts.into_iter().chain(ends).min() } else { None }
    }

    /// Brings everything that decisions look at up to date with what was heard.
    pub(crate) fn refresh(&mut self, flight: &Flight) {
        self.backlog.queues.refresh(&mut self.dims, self.fleet.capacity());
        if std::mem::take(&mut self.resized) {
            self.backlog.queues.measure_all(self.fleet.capacity());
        }
        self.backlog.queues.tick(self.fleet.capacity());
        self.backlog.rescore();
        self.fleet.refresh_mix(&self.shapes, &self.classes);
        for agent in self.fleet.take_changed() {
            self.renew_slot(agent, flight);
        }
        if !self.backlog.queues.tree.kept.is_idle() {
            self.backlog.queues.tree.look(self.fleet.spare());
        }
        self.witnesses.as_mut().into_iter().for_each(Witnesses::forget_all);
        self.confirm();
        self.backlog.queues.blend(&self.shapes);
    }

    /// Brings what is free on an agent up to date.
    pub(crate) fn renew(&mut self, agent: &AgentId, flight: &Flight) {
        self.fleet.find(agent).into_iter().for_each(|slot| self.renew_slot(slot, flight));
    }

    fn renew_slot(&mut self, agent: u32, flight: &Flight) {
        let free = self.free_on(agent, flight);
        let listed = free.is_some();
        self.fleet.refresh(agent, free);
        if let Some(runs) = &mut self.runs {
            runs.touch(agent);
            self.easy.iter_mut().for_each(|easy| easy.reconsider(agent, &self.shapes, &self.fleet, runs));
        }
        if listed {
            let (fleet, sifted) = (&self.fleet, self.fleet.sifted(agent));
            let may_fit = |shape: &Shape| shape.bit.is_none_or(|bit| sifted & (1 << bit) != 0);
            self.shapes.offered(agent, |shape| may_fit(shape) && fleet.fits(agent, shape));
        }
    }

    /// What is next. Where it decides how queues rank which shapes fit somewhere, that is made sure of before; where the
    /// search leaned on some, afterwards.
    pub(crate) fn next(&mut self) -> Option<Next> {
        loop {
            self.confirm();
            let next = self.backlog.next(&self.shapes);
            let leaned_on = std::mem::take(&mut self.backlog.queues.leaned_on);
            let shapes = leaned_on.into_iter().map(|place| place.shape);
            let Some(shape) = { shapes }.find(|shape| !self.has_room(*shape)) else { return next };
            self.shapes.set_hope(shape, Hope::None);
        }
    }

    /// Sees to it that each shape that is said to fit somewhere does.
    pub(crate) fn confirm(&mut self) {
        if !self.backlog.queues.tree.is_mixed() {
            return;
        }
        let Some(mut witnesses) = self.witnesses.take() else { return };
        let unsure: Vec<u32> = self.shapes.hoping().iter().filter(|shape| !witnesses.has(*shape)).collect();
        for shape in unsure {
            let is_gang = self.shapes.get(shape).gang.is_some();
            let agent = if is_gang { None } else { self.find_room(shape) };
            if agent.is_some() || is_gang && self.has_room(shape) {
                witnesses.note(shape, agent);
            } else {
                self.shapes.set_hope(shape, Hope::None);
            }
        }
        self.witnesses = Some(witnesses);
    }

    /// Something was taken of what was free on an agent.
    pub(crate) fn taken(&mut self, agent: u32) {
        let fleet = &self.fleet;
        self.shapes.taken(agent, |shape| fleet.fits(agent, shape));
        let still_fits = |shape: u32| fleet.fits(agent, self.shapes.get(shape));
        self.witnesses.as_mut().into_iter().for_each(|witnesses| witnesses.taken(agent, still_fits));
    }

    /// The offer of an agent less the grants that are on their way to it, and less what is held there for those that tasks
    /// are stopped for.
    pub(crate) fn free_on(&self, slot: u32, flight: &Flight) -> Option<Free> {
        self.free_for(slot, flight, None)
    }

    /// The same for the one that holds a claim there.
    pub(crate) fn free_for(
        &self,
        slot: u32,
        flight: &Flight,
        claim: Option<(Epoch, GrantId)>,
    ) -> Option<Free> {
        let mut free = self.offered(slot, flight)?;
        self.hold(slot, claim, &mut free);
        Some(free)
    }

    /// What will be free on an agent once those have ended that are being stopped there, beside what is held for whom that
    /// is.
    pub(crate) fn free_to_be(&self, slot: u32, flight: &Flight) -> Free {
        let mut free = self.offered(slot, flight).unwrap_or_default();
        if let Some(facts) = &self.fleet.get(slot).facts {
            let stopping = self.preempting.incumbents.stopping_on(&facts.agent);
            stopping.for_each(|one| free.restore(&one.held, one.run.tasks.count(), &one.named, &self.dims));
        }
        self.hold(slot, None, &mut free);
        free
    }

    /// The offer of an agent less the grants that are on their way to it.
    fn offered(&self, slot: u32, flight: &Flight) -> Option<Free> {
        let agent = self.fleet.get(slot);
        let mut free = agent.offer.as_ref()?.free.clone();
        for grant in agent.in_flight.iter().filter_map(|number| flight.get(*number)) {
            let need = &self.shapes.get(grant.shape).need;
            grant.parts.on(slot).for_each(|part| free.subtract(need, part.slots, part.named.as_ref()));
        }
        Some(free)
    }

    /// Takes what is held on an agent for those that tasks are stopped for, but not for this one and those after it.
    fn hold(&self, slot: u32, claim: Option<(Epoch, GrantId)>, free: &mut Free) {
        if let Some(facts) = &self.fleet.get(slot).facts {
            let held = self.preempting.claims.on(&facts.agent, claim);
            held.for_each(|claim| free.set_aside(&claim.need, &claim.named));
        }
    }

    /// An agent left. Its unanswered grants wait for their answers without it.
    pub(crate) fn on_agent_left(&mut self, agent: &allot_model::AgentId, flight: &mut Flight) {
        self.backlog.queues.accrue_all(self.fleet.capacity());
        self.resized = true;
        let Some(slot) = self.fleet.find(agent) else { return };
        let in_flight = self.fleet.leave(agent);
        for grant in in_flight.iter().filter_map(|number| flight.get(*number)) {
            let gpus = self.shapes.get(grant.shape).need.get(GPUS);
            grant.parts.on(slot).for_each(|part| self.fleet.vacate(agent, gpus, part.slots));
        }
        if let Some(runs) = &mut self.runs {
            for grant in in_flight.iter().filter_map(|number| flight.get(*number)) {
                grant.parts.on(slot).for_each(|part| runs.end(slot, grant.job, part.tasks, part.slots));
            }
            runs.depart(slot, agent);
            self.easy.iter_mut().for_each(|easy| easy.forget_agent(slot));
            self.conservative.iter_mut().for_each(|plans| plans.forget_agent(slot));
        }
        in_flight.into_iter().for_each(|grant| flight.ground(grant, slot));
    }
}

fn group(job: JobId, tasks: TaskRange, slots: u64, need: &Need, started: Time, estimate: Estimate) -> Group {
    let estimate = estimate.times(tasks.count().div_ceil(slots.max(1)));
    Group { job, tasks, slots, need: need.clone(), started, estimate }
}
