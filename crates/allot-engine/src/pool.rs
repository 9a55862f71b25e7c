//! The pool as the feed describes it: what is free, who waits, who has what.

use std::sync::Arc;

use allot_model::{
    AgentId, JobId, Placement, PoolAgent, PoolJob, QueueName, Resources, Span, TaskRange, Time,
};

use crate::backlog::{Backlog, Next};
use crate::branch::Settings;
use crate::dims::{Dims, GPUS};
use crate::draw::Draws;
use crate::fleet::Fleet;
use crate::flight::{Flight, Unanswered};
use crate::policy::Policy;
use crate::rank::Rank;
use crate::rank::hdrf::Witnesses;
use crate::shape::{Classes, Hope, Shape, Shapes};
use crate::standing::Memory;

/// Everything a policy looks at.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) dims: Dims,
    pub(crate) classes: Classes,
    pub(crate) shapes: Shapes,
    pub(crate) fleet: Fleet,
    pub(crate) backlog: Backlog,
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
            resized: false,
            witnesses: (policy.rank == Rank::Hdrf).then(Witnesses::default),
        }
    }

    /// The time is this now. To be told before anything that happens at it.
    pub(crate) fn advance(&mut self, now: Time) {
        self.backlog.advance(now, self.fleet.capacity());
    }

    /// What is to be remembered across a resync, which tells everything but the past.
    pub(crate) fn remember(&mut self) -> Memory {
        self.backlog.queues.remember(self.fleet.capacity())
    }

    /// Takes over what was remembered.
    pub(crate) fn recall(&mut self, memory: Memory) {
        self.backlog.queues.recall(memory, self.fleet.capacity());
    }

    /// A queue was set. False where all has to be told from the start, see [`crate::queues::Queues::bound`].
    pub(crate) fn on_queue(&mut self, queue: &QueueName, weight: u32, settings: Settings) -> bool {
        let queues = &mut self.backlog.queues;
        queues.weigh(queue, weight, self.fleet.capacity());
        queues.bound(queue, settings, &mut self.dims)
    }

    pub(crate) fn on_job(&mut self, job: &PoolJob) {
        if self.backlog.find(job.job).is_some() {
            return;
        }
        let (class, is_new) = self.classes.use_for(&job.constraints);
        if is_new {
            self.fleet.add_class(class, &job.constraints);
        }
        let shape = self.shapes.use_for(&job.resources, class, &mut self.dims);
        self.fleet.note_job(job.job, shape, &self.shapes.get(shape).need, job.tasks);
        self.backlog.admit(job, shape, self.fleet.capacity());
    }

    pub(crate) fn on_job_ended(&mut self, job: JobId) {
        if let Some(shape) = self.backlog.end(job) {
            self.fleet.mix.end(job);
            self.release_shape(shape);
        }
    }

    fn release_shape(&mut self, shape: u32) {
        let class = self.shapes.get(shape).class;
        if self.shapes.release(shape) {
            self.fleet.unlearn(shape);
        }
        if self.classes.release(class) {
            self.fleet.remove_class(class);
        }
    }

    pub(crate) fn on_pending(&mut self, job: JobId, tasks: TaskRange) {
        if let Some(slot) = self.backlog.find(job) {
            self.backlog.wait(slot, tasks);
        }
    }

    pub(crate) fn on_withdrawn(&mut self, job: JobId, tasks: TaskRange) {
        if let Some(slot) = self.backlog.find(job) {
            self.backlog.withdraw(slot, tasks);
        }
    }

    pub(crate) fn on_agent(&mut self, facts: Arc<PoolAgent>) {
        self.backlog.queues.accrue_all(self.fleet.capacity());
        self.resized |= self.fleet.describe(facts, &mut self.dims, &self.classes);
    }

    /// Allocated by someone else, or before this engine came.
    pub(crate) fn on_allocated(&mut self, placement: &Placement) {
        self.on_withdrawn(placement.run.job, placement.run.tasks);
        self.occupy(placement);
        let held = self.dims.held(&placement.slice);
        self.backlog.queues.charge_queue(&placement.queue, &held, placement.slots, self.fleet.capacity());
    }

    fn occupy(&mut self, placement: &Placement) {
        let gpus = self.dims.held(&placement.slice).get(GPUS);
        self.fleet.occupy(&placement.agent, gpus, placement.slots);
    }

    pub(crate) fn on_released(&mut self, agent: &AgentId, queue: &QueueName, slice: &Resources, slots: u64) {
        let held = self.dims.held(slice);
        self.fleet.vacate(agent, held.get(GPUS), slots);
        self.backlog.queues.refund_queue(queue, &held, slots, self.fleet.capacity());
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
        if let Some(agent) = grant.agent {
            self.fleet.note_grant(agent, number);
        }
    }

    /// A grant of this engine was committed.
    pub(crate) fn on_committed(&mut self, grant: &Unanswered, number: u64, placements: &[Placement]) {
        self.on_withdrawn(grant.job, grant.tasks);
        if let Some(agent) = grant.agent {
            let need = &self.shapes.get(grant.shape).need;
            let taken = (need, grant.slots, grant.named.as_ref());
            self.fleet.answered(agent, number, Some(taken));
        } else {
            placements.iter().for_each(|placement| self.occupy(placement));
        }
        self.forget_grant(grant);
    }

    /// A grant of this engine came to nothing. Returns true where all its tasks still wait.
    pub(crate) fn on_refused(&mut self, grant: &Unanswered, number: u64) -> bool {
        let need = &self.shapes.get(grant.shape).need;
        self.backlog.queues.refund(grant.lane, need, grant.slots, self.fleet.capacity());
        let gpus = need.get(GPUS);
        if let Some(agent) = grant.agent {
            self.fleet.move_out(agent, gpus, grant.slots);
            self.fleet.answered(agent, number, None);
        }
        let slot = self.backlog.find(grant.job);
        let waiting = slot.map_or(0, |slot| {
            self.backlog.put_back(slot, grant.tasks);
            self.backlog.job(slot).wanted.within(grant.tasks).into_iter().map(TaskRange::count).sum()
        });
        self.forget_grant(grant);
        waiting == grant.tasks.count()
    }

    fn forget_grant(&mut self, grant: &Unanswered) {
        self.backlog.queues.unuse(grant.lane);
        self.release_shape(grant.shape);
    }

    /// True where a job may be given more, as far as limits go.
    pub(crate) fn may_have_more(&mut self, job: JobId) -> bool {
        self.backlog.queues.refresh(&mut self.dims, self.fleet.capacity());
        let Some(job) = self.backlog.find(job).map(|slot| self.backlog.job(slot)) else { return false };
        let branch = self.backlog.queues.lane(job.lane).branch;
        self.backlog.queues.tree.refusing(branch, &self.shapes.get(job.shape).need).is_none()
    }

    /// The agent for the next task of a job, which is of the shape. A shape that is looked for long and often is learned, which costs one look at
    /// each agent.
    pub(crate) fn best_agent(&mut self, shape: u32, job: u32) -> Option<u32> {
        let known = self.shapes.get(shape);
        let Self { fleet, backlog, .. } = self;
        let seed = fleet.seed();
        let draws = || {
            let job = backlog.job(job);
            let task = job.unplaced.first().map_or(0, |run| run.first);
            Draws::new(seed, job.key.job(), task)
        };
        let (found, looked_at) = fleet.best(shape, known, draws);
        self.note_effort(shape, looked_at);
        found
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
            let free = self.free_on(agent, flight);
            let listed = free.is_some();
            self.fleet.refresh(agent, free);
            if listed {
                let (fleet, sifted) = (&self.fleet, self.fleet.sifted(agent));
                let may_fit = |shape: &Shape| shape.bit.is_none_or(|bit| sifted & (1 << bit) != 0);
                self.shapes.offered(agent, |shape| may_fit(shape) && fleet.fits(agent, shape));
            }
        }
        if !self.backlog.queues.tree.kept.is_idle() {
            self.backlog.queues.tree.look(self.fleet.spare());
        }
        self.witnesses.as_mut().into_iter().for_each(Witnesses::forget_all);
        self.confirm();
        self.backlog.queues.blend(&self.shapes);
    }

    /// What is next. Where it decides how queues rank which shapes fit somewhere, that is made sure of before; where the
    /// search leaned on some, afterwards.
    pub(crate) fn next(&mut self) -> Option<Next> {
        loop {
            self.confirm();
            let next = self.backlog.next(&self.shapes);
            let leaned_on = std::mem::take(&mut self.backlog.queues.leaned_on);
            let Some(shape) = leaned_on.into_iter().find(|shape| self.find_room(*shape).is_none()) else {
                return next;
            };
            self.shapes.set_hope(shape, Hope::None);
        }
    }

    /// Sees to it that each shape that is said to fit somewhere does.
    fn confirm(&mut self) {
        let Some(mut witnesses) = self.witnesses.take() else { return };
        let is_unsure = |shape: &u32| self.shapes.is_open(*shape) && !witnesses.has(*shape);
        let unsure: Vec<u32> = self.shapes.iter().map(|(shape, _)| shape).filter(is_unsure).collect();
        for shape in unsure {
            match self.find_room(shape) {
                Some(agent) => witnesses.note(shape, agent),
                None => self.shapes.set_hope(shape, Hope::None),
            }
        }
        self.witnesses = Some(witnesses);
    }

    /// Something was taken of what was free on an agent.
    pub(crate) fn taken(&mut self, agent: u32) {
        let fleet = &self.fleet;
        self.shapes.taken(agent, |shape| fleet.fits(agent, shape));
        self.witnesses.as_mut().into_iter().for_each(|witnesses| witnesses.taken(agent));
    }

    /// The offer of an agent less the grants that are on their way to it.
    pub(crate) fn free_on(&self, agent: u32, flight: &Flight) -> Option<crate::room::Free> {
        let agent = self.fleet.get(agent);
        let mut free = agent.offer.as_ref()?.free.clone();
        for grant in agent.in_flight.iter().filter_map(|number| flight.get(*number)) {
            free.subtract(&self.shapes.get(grant.shape).need, grant.slots, grant.named.as_ref());
        }
        Some(free)
    }

    /// An agent left. Its unanswered grants wait for their answers without it.
    pub(crate) fn on_agent_left(&mut self, agent: &allot_model::AgentId, flight: &mut Flight) {
        self.backlog.queues.accrue_all(self.fleet.capacity());
        self.resized = true;
        for number in self.fleet.leave(agent) {
            if let Some(grant) = flight.get(number) {
                self.fleet.vacate(agent, self.shapes.get(grant.shape).need.get(GPUS), grant.slots);
            }
            flight.ground(number);
        }
    }
}
