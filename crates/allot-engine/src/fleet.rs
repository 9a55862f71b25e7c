//! The agents of the pool: what they have, what is offered on them, and what was granted there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::constraint::Candidate;
use allot_model::{AgentId, JobId, OfferVersion, PoolAgent, Resources, Time};

use crate::contest::Contests;
use crate::dims::{Dim, Dims, Need, Vector};
use crate::mix::TaskMix;
use crate::name::NameKey;
use crate::placement::Placement;
use crate::policy::AgentKey;
use crate::ranked::Ranked;
use crate::room::{Free, Room};
use crate::shape::{Classes, Shape, Shapes, UNCONSTRAINED};
use crate::sieve::Sieve;
use crate::slab::Slab;
use crate::tenants::Tenants;

/// One agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agent {
    pub(crate) facts: Option<Arc<PoolAgent>>,
    pub(crate) name: NameKey,
    pub(crate) total: Vector,
    /// The latest offer, if it stands.
    pub(crate) offer: Option<Offer>,
    /// True where an offer expired or proved wrong and nothing was heard since, so that what is free is not known. An
    /// agent without an offer has nothing free otherwise, or takes nothing new.
    pub(crate) doubted: bool,
    /// The latest offer less the grants that are not answered yet.
    pub(crate) free: Free,
    /// The grants that are not answered yet.
    pub(crate) in_flight: Vec<u64>,
    /// The sets of constraints that hold here.
    pub(crate) classes: BTreeSet<u32>,
    /// The shapes of the sieve whose constraints hold here.
    pub(crate) allowed: u128,
    /// True while it has an entry among the expiries, which may be earlier than its offer's.
    watched: bool,
}

/// An offer as it was made.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) version: OfferVersion,
    pub(crate) free: Free,
    expires: Time,
}

/// All agents of the pool.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) placement: Placement,
    pub(crate) agents: Slab<Agent>,
    /// By name, in a form that compares fast.
    pub(crate) by_id: BTreeMap<NameKey, u32>,
    /// The agents with an offer, in the order in which they are preferred.
    pub(crate) index: Ranked<AgentKey, Room>,
    /// The agent that the last decision was for, whose place in the index is brought up to date only when
    /// another gets its turn: decision after decision tends to fill the same one.
    pub(crate) filling: Option<u32>,
    pub(crate) sieve: Sieve,
    /// For placements whose costs depend on the task.
    pub(crate) contests: Contests,
    pub(crate) tenants: Tenants,
    pub(crate) mix: TaskMix,
    /// Everything that all agents have.
    capacity: Vector,
    /// What is free on all agents with an offer together.
    pub(crate) spare: Vector,
    /// How many agents have how much of each resource, so that the largest is known.
    totals: Vec<BTreeMap<u64, u32>>,
    /// The most of each resource that any agent has in all.
    pub(crate) largest: Vector,
    /// True where the largest amount of something changed, which is what fits are measured against.
    pub(crate) scale_changed: bool,
    /// The agents whose offer changed since the index was brought up to date.
    pub(crate) changed: BTreeSet<u32>,
    /// When to look whether an offer has expired.
    expiries: BTreeSet<(Time, u32)>,
}

impl Fleet {
    pub(crate) fn new(placement: Placement) -> Self {
        Self {
            placement,
            agents: Slab::default(),
            by_id: BTreeMap::new(),
            index: Ranked::default(),
            filling: None,
            sieve: Sieve::default(),
            contests: Contests::default(),
            tenants: Tenants::default(),
            mix: TaskMix::default(),
            capacity: Vector::default(),
            spare: Vector::default(),
            totals: Vec::new(),
            largest: Vector::default(),
            scale_changed: false,
            changed: BTreeSet::new(),
            expiries: BTreeSet::new(),
        }
    }

    pub(crate) fn get(&self, agent: u32) -> &Agent {
        &self.agents[agent]
    }

    pub(crate) fn find(&self, id: &AgentId) -> Option<u32> {
        self.by_id.get(&NameKey::new(id.as_str())).copied()
    }

    pub(crate) fn capacity(&self) -> &Vector {
        &self.capacity
    }

    /// What is free on all agents with an offer together.
    pub(crate) fn spare(&self) -> &Vector {
        &self.spare
    }

    /// How many agents there are.
    pub(crate) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// All agents in order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Agent)> {
        self.by_id.values().map(|slot| (*slot, &self.agents[*slot]))
    }

    /// An agent joined or is not what it was. Returns true where what there is in all has changed.
    pub(crate) fn describe(&mut self, facts: Arc<PoolAgent>, dims: &mut Dims, classes: &Classes) -> bool {
        let slot = self.find(&facts.agent).unwrap_or_else(|| {
            let name = NameKey::new(facts.agent.as_str());
            let slot = self.agents.insert(Agent { name: name.clone(), ..Agent::default() });
            self.by_id.insert(name, slot);
            slot
        });
        let total = dims.vector(&facts.total);
        let resized = self.agents[slot].total != total;
        if resized {
            self.uncount(slot);
            self.count(slot, total);
        }
        let holding = classes.iter().filter(|(_, constraints)| all_hold(&facts, constraints));
        self.agents[slot].classes = holding.map(|(class, _)| class).collect();
        self.agents[slot].allowed = self.sieve.allowed(&self.agents[slot].classes);
        self.agents[slot].facts = Some(facts);
        self.changed.insert(slot);
        resized
    }

    /// An agent left. Returns its grants that were not answered.
    pub(crate) fn leave(&mut self, id: &AgentId) -> Vec<u64> {
        let Some(slot) = self.by_id.remove(&NameKey::new(id.as_str())) else { return Vec::new() };
        self.uncount(slot);
        self.spend(slot);
        self.index.remove(slot);
        self.note_change(slot);
        self.changed.remove(&slot);
        self.expiries.retain(|(_, watched)| *watched != slot);
        self.agents.remove(slot).in_flight
    }

    fn count(&mut self, slot: u32, total: Vector) {
        for (dim, amount) in total.iter().filter(|(_, amount)| *amount > 0) {
            self.capacity.add(dim, amount);
            if self.totals.len() <= dim {
                self.totals.resize(dim + 1, BTreeMap::new());
            }
            *self.totals[dim].entry(amount).or_insert(0) += 1;
            self.note_largest(dim);
        }
        self.agents[slot].total = total;
    }

    fn uncount(&mut self, slot: u32) {
        let total = std::mem::take(&mut self.agents[slot].total);
        for (dim, amount) in total.iter().filter(|(_, amount)| *amount > 0) {
            self.capacity.subtract(dim, amount);
            if let Some(agents) = self.totals[dim].get_mut(&amount) {
                *agents -= 1;
                if *agents == 0 {
                    self.totals[dim].remove(&amount);
                }
            }
            self.note_largest(dim);
        }
    }

    fn note_largest(&mut self, dim: Dim) {
        let largest = self.totals[dim].last_key_value().map_or(0, |(amount, _)| *amount);
        if self.largest.get(dim) != largest {
            self.largest.set(dim, largest);
            self.scale_changed = true;
        }
    }

    /// An offer replaces what was offered before. One of an agent that was never described is ignored.
    pub(crate) fn offer(
        &mut self,
        id: &AgentId,
        version: OfferVersion,
        free: &Resources,
        expires: Time,
        dims: &mut Dims,
    ) {
        let Some(slot) = self.find(id) else { return };
        let agent = &mut self.agents[slot];
        agent.offer = Some(Offer { version, free: Free::of(free, dims), expires });
        agent.doubted = false;
        if !agent.watched {
            agent.watched = true;
            self.expiries.insert((expires, slot));
        }
        self.changed.insert(slot);
    }

    /// What is free on an agent, or held there, has changed.
    pub(crate) fn note_offer(&mut self, slot: u32) {
        self.changed.insert(slot);
    }

    /// The offer of an agent stands no longer.
    pub(crate) fn rescind(&mut self, slot: u32) {
        self.agents[slot].doubted = false;
        self.drop_offer(slot);
    }

    /// The offer of an agent cannot be relied on any more.
    pub(crate) fn doubt(&mut self, slot: u32) {
        self.agents[slot].doubted = true;
        self.drop_offer(slot);
    }

    fn drop_offer(&mut self, slot: u32) {
        if self.agents[slot].offer.take().is_some() {
            self.changed.insert(slot);
        }
    }

    /// Drops the offers that have expired.
    pub(crate) fn expire(&mut self, now: Time) {
        while let Some((at, slot)) = self.expiries.first().copied().filter(|(at, _)| *at <= now) {
            self.expiries.remove(&(at, slot));
            self.agents[slot].watched = false;
            match self.agents[slot].offer.as_ref().map(|offer| offer.expires) {
                Some(expires) if expires <= now => self.doubt(slot),
                Some(expires) => {
                    self.agents[slot].watched = true;
                    self.expiries.insert((expires, slot));
                }
                None => {}
            }
        }
    }

    /// When to call [`Fleet::expire`] next.
    pub(crate) fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// A grant was answered. Where it was committed, the offer it was taken from is less by it.
    pub(crate) fn answered(
        &mut self,
        slot: u32,
        grant: u64,
        committed: Option<(&Need, u64, Option<&Resources>)>,
    ) {
        let agent = &mut self.agents[slot];
        agent.in_flight.retain(|waiting| *waiting != grant);
        if let (Some(offer), Some((need, count, named))) = (&mut agent.offer, committed) {
            offer.free.subtract(need, count, named);
        } else {
            self.changed.insert(slot);
        }
    }

    /// A set of constraints is new: finds out where it holds.
    pub(crate) fn add_class(&mut self, class: u32, constraints: &[allot_model::Constraint]) {
        for slot in self.by_id.values() {
            let agent = &mut self.agents[*slot];
            if agent.facts.as_ref().is_some_and(|facts| all_hold(facts, constraints)) {
                agent.classes.insert(class);
                agent.allowed = self.sieve.allowed(&agent.classes);
                self.changed.insert(*slot);
            }
        }
    }

    /// A set of constraints is not used any more.
    pub(crate) fn remove_class(&mut self, class: u32) {
        for slot in self.by_id.values() {
            self.agents[*slot].classes.remove(&class);
        }
    }

    /// What is free on an agent does not count any more.
    pub(crate) fn spend(&mut self, slot: u32) {
        if self.index.contains(slot) {
            let Self { agents, spare, .. } = self;
            agents[slot].free.amounts.iter().for_each(|(dim, amount)| spare.subtract(dim, amount));
        }
    }

    /// The agents on which what is freed can be given to others.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = u32> {
        let stays = |agent: &Agent| agent.facts.as_ref().is_some_and(|facts| !facts.draining);
        self.iter().filter(move |(_, agent)| stays(agent)).map(|(slot, _)| slot)
    }

    /// The value of the attribute that all agents of a gang have to have in common, on an agent that may get tasks of
    /// the shape, now or later; an empty one where there is no such attribute. Nothing where it gets none.
    pub(crate) fn value(&self, slot: u32, shape: &Shape) -> Option<Arc<str>> {
        let agent = &self.agents[slot];
        let facts = agent.facts.as_ref().filter(|facts| !facts.draining && agent.allows(shape.class))?;
        match shape.same() {
            None => Some(Arc::default()),
            Some(same) => facts.attributes.get(same).map(|value| Arc::from(value.as_str())),
        }
    }

    /// Notes that a grant on an agent waits for its answer.
    pub(crate) fn note_grant(&mut self, slot: u32, grant: u64) {
        let in_flight = &mut self.agents[slot].in_flight;
        if in_flight.last() != Some(&grant) {
            in_flight.push(grant);
        }
    }

    /// What drawing begins with.
    pub(crate) fn seed(&self) -> u64 {
        if let Placement::Random { seed } = self.placement { seed } else { 0 }
    }

    /// A job was submitted, whose tasks are of this shape.
    pub(crate) fn note_job(&mut self, job: JobId, shape: u32, need: &Need, tasks: u32) {
        if self.placement == Placement::Fgd {
            self.mix.admit(job, shape, need, tasks);
        }
    }

    /// Takes in which jobs were submitted and ended.
    pub(crate) fn refresh_mix(&mut self, shapes: &Shapes, classes: &Classes) {
        if self.mix.refresh(shapes, classes) {
            self.contests.start_over();
        }
    }

    /// Tasks that ask for so many thousandths of a gpu hold slots on an agent.
    pub(crate) fn move_in(&mut self, slot: u32, gpus: u64, slots: u64) {
        if let Some(facts) = self.facts_of_tenanted(slot) {
            self.occupy(&facts.agent, gpus, slots);
        }
    }

    /// Such tasks hold the slots no longer.
    pub(crate) fn move_out(&mut self, slot: u32, gpus: u64, slots: u64) {
        if let Some(facts) = self.facts_of_tenanted(slot) {
            self.vacate(&facts.agent, gpus, slots);
        }
    }

    /// Nothing where it does not matter who is on an agent.
    fn facts_of_tenanted(&self, slot: u32) -> Option<Arc<PoolAgent>> {
        if self.placement == Placement::Clustering { self.agents[slot].facts.clone() } else { None }
    }

    /// As [`Fleet::move_in`], on an agent that need not be in the pool.
    pub(crate) fn occupy(&mut self, agent: &AgentId, gpus: u64, slots: u64) {
        if self.placement == Placement::Clustering {
            self.tenants.add(agent, gpus, slots);
            self.find(agent).into_iter().for_each(|slot| self.note_change(slot));
        }
    }

    /// As [`Fleet::move_out`], on an agent that need not be in the pool.
    pub(crate) fn vacate(&mut self, agent: &AgentId, gpus: u64, slots: u64) {
        if self.placement == Placement::Clustering {
            self.tenants.remove(agent, gpus, slots);
            self.find(agent).into_iter().for_each(|slot| self.note_change(slot));
        }
    }
}

impl Agent {
    pub(crate) fn allows(&self, class: u32) -> bool {
        class == UNCONSTRAINED || self.classes.contains(&class)
    }

    pub(crate) fn classes(&self) -> &BTreeSet<u32> {
        &self.classes
    }

    pub(crate) fn room(&self, sieve: &Sieve) -> Room {
        let fitting = sieve.fitting(&self.free) & self.allowed;
        Room::of(&self.free.amounts, self.classes.iter().copied(), fitting)
    }
}

fn all_hold(facts: &PoolAgent, constraints: &[allot_model::Constraint]) -> bool {
    let candidate = Candidate { id: &facts.agent, host: &facts.host, attributes: &facts.attributes };
    constraints.iter().all(|constraint| constraint.holds(candidate))
}
