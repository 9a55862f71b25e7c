//! The agents of the pool, what is free on them, and the index that finds the one for a task.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::constraint::Candidate;
use allot_model::{AgentId, OfferVersion, PoolAgent, Resources, Time};

use crate::dims::{Dim, Dims, Need, Vector};
use crate::name::NameKey;
use crate::policy::{AgentKey, Placement};
use crate::ranked::Ranked;
use crate::room::{Free, Room};
use crate::shape::{Classes, Hope, Shape, UNCONSTRAINED};
use crate::sieve::Sieve;
use crate::slab::Slab;

/// One agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agent {
    pub(crate) facts: Option<Arc<PoolAgent>>,
    name: NameKey,
    total: Vector,
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
    classes: BTreeSet<u32>,
    /// The shapes of the sieve whose constraints hold here.
    allowed: u128,
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
    placement: Placement,
    agents: Slab<Agent>,
    by_id: BTreeMap<AgentId, u32>,
    /// The agents with an offer, in the order in which they are preferred.
    index: Ranked<AgentKey, Room>,
    /// The agent that the last decision was for, whose place in the index is brought up to date only when
    /// another gets its turn: decision after decision tends to fill the same one.
    filling: Option<u32>,
    sieve: Sieve,
    /// Everything that all agents have.
    capacity: Vector,
    /// How many agents have how much of each resource, so that the largest is known.
    totals: Vec<BTreeMap<u64, u32>>,
    /// The most of each resource that any agent has in all.
    largest: Vector,
    /// True where the largest amount of something changed, which is what fits are measured against.
    scale_changed: bool,
    /// The agents whose offer changed since the index was brought up to date.
    changed: BTreeSet<u32>,
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
            capacity: Vector::default(),
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
        self.by_id.get(id).copied()
    }

    pub(crate) fn capacity(&self) -> &Vector {
        &self.capacity
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
            let agent = Agent { name: NameKey::new(facts.agent.as_str()), ..Agent::default() };
            let slot = self.agents.insert(agent);
            self.by_id.insert(facts.agent.clone(), slot);
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
        let Some(slot) = self.by_id.remove(id) else { return Vec::new() };
        self.uncount(slot);
        self.index.remove(slot);
        self.changed.remove(&slot);
        self.expiries.retain(|(_, watched)| *watched != slot);
        self.agents.remove(slot).in_flight
    }

    fn count(&mut self, slot: u32, total: Vector) {
        for (dim, amount) in total.iter() {
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
        for (dim, amount) in total.iter() {
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

    /// The agents whose offer changed, for [`Fleet::refresh`]. Measures all agents anew where the scale changed.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<u32> {
        if std::mem::take(&mut self.scale_changed) && self.placement == Placement::BestFit {
            for slot in self.index.in_order() {
                self.reindex(slot);
            }
        }
        std::mem::take(&mut self.changed)
    }

    /// Says what is free on an agent; nothing where it has no offer.
    pub(crate) fn refresh(&mut self, slot: u32, free: Option<Free>) {
        let listed = free.is_some();
        self.agents[slot].free = free.unwrap_or_default();
        if listed {
            self.reindex(slot);
        } else {
            self.index.remove(slot);
        }
    }

    fn reindex(&mut self, slot: u32) {
        let agent = &self.agents[slot];
        let (free, room) = (self.measure(&agent.free.amounts), agent.room(&self.sieve));
        if self.index.contains(slot) {
            self.index.update(slot, room, |key| key.free = free);
        } else {
            self.index.set(slot, AgentKey { free, name: agent.name.clone() }, room);
        }
    }

    fn key(&self, slot: u32) -> AgentKey {
        let agent = &self.agents[slot];
        AgentKey { free: self.measure(&agent.free.amounts), name: agent.name.clone() }
    }

    /// Ends the turn of the agent that decisions were for.
    pub(crate) fn settle(&mut self) {
        if let Some(slot) = self.filling.take() {
            self.reindex(slot);
        }
    }

    /// How much these amounts are beside the largest agent's, summed over all resources, in parts of 2^31.
    fn measure(&self, amounts: &Vector) -> u64 {
        if self.placement == Placement::FirstFit {
            return 0;
        }
        let part = |(dim, amount): (Dim, u64)| {
            let largest = self.largest.get(dim);
            let excess = (u64::BITS - largest.leading_zeros()).saturating_sub(32);
            ((amount.min(largest) >> excess) << 31).checked_div(largest >> excess).unwrap_or(0)
        };
        amounts.iter().map(part).fold(0, u64::saturating_add)
    }

    /// True where a task of the shape has room on the agent now.
    pub(crate) fn fits(&self, slot: u32, shape: &Shape) -> bool {
        let agent = &self.agents[slot];
        self.index.contains(slot) && agent.allows(shape.class) && agent.free.holds(shape)
    }

    /// The agent for a task of the shape, and how many agents and groups of them were looked at to find it.
    pub(crate) fn best(&self, shape: &Shape) -> (Option<u32>, u64) {
        match &shape.hope {
            Hope::None => (None, 0),
            Hope::Among(few) => {
                let fitting = few.iter().copied().filter(|slot| self.fits(*slot, shape));
                (fitting.min_by_key(|slot| self.key(*slot)), 0)
            }
            Hope::Anywhere => self.search(shape),
        }
    }

    fn search(&self, shape: &Shape) -> (Option<u32>, u64) {
        let (wanted, looked_at) = (Room::wanted(shape), Cell::new(0));
        let enter = |room: &Room| {
            looked_at.set(looked_at.get() + 1);
            room.covers(&wanted)
        };
        let accept = |slot| Some(slot) != self.filling && self.fits(slot, shape);
        let settled = self.index.find(enter, accept);
        let filling = self.filling.filter(|slot| self.fits(*slot, shape));
        let best = match (filling, settled) {
            (Some(filling), Some(settled)) if Some(&self.key(filling)) > self.index.key(settled) => {
                Some(settled)
            }
            (None, settled) => settled,
            (filling, _) => filling,
        };
        (best, looked_at.get())
    }

    /// The shapes of the sieve that an agent has room for, and perhaps some more.
    pub(crate) fn sifted(&self, slot: u32) -> u128 {
        let agent = &self.agents[slot];
        self.sieve.fitting(&agent.free.amounts) & agent.allowed
    }

    /// True where so much was looked at for one shape that it is worth knowing of each agent whether it fits there.
    pub(crate) fn is_worth_learning(&self, looked_at: u64) -> bool {
        looked_at > 1_000.max(2 * self.by_id.len() as u64)
    }

    /// Notes of each agent whether the shape fits there; returns its bit in the sieve.
    pub(crate) fn learn(&mut self, id: u32, shape: &Shape) -> u32 {
        let bit = self.sieve.add(id, &shape.need, shape.class);
        for slot in self.by_id.values() {
            let agent = &mut self.agents[*slot];
            agent.allowed = self.sieve.allowed(&agent.classes);
        }
        let (agents, sieve) = (&self.agents, &self.sieve);
        self.index.restate(|slot| agents[slot].room(sieve));
        bit
    }

    /// The shape is not used any more.
    pub(crate) fn unlearn(&mut self, id: u32) {
        self.sieve.remove(id);
    }

    /// How many tasks of the shape can be taken from an agent in one go: one where items or ranges are named.
    pub(crate) fn times(&self, slot: u32, shape: &Shape) -> u64 {
        let free = &self.agents[slot].free;
        if free.names_any(&shape.request) { 1 } else { free.amounts.times(&shape.need) }
    }

    /// The items and ranges that a task of the shape gets on an agent, if any are asked for there.
    pub(crate) fn named(&self, slot: u32, shape: &Shape) -> Option<Resources> {
        let free = &self.agents[slot].free;
        if free.names_any(&shape.request) { free.take(&shape.request) } else { None }
    }

    /// Takes `count` tasks of the shape from what is free on an agent.
    pub(crate) fn take(&mut self, slot: u32, shape: &Shape, count: u64, named: Option<&Resources>) {
        if self.filling != Some(slot) {
            self.settle();
            self.filling = Some(slot);
        }
        self.agents[slot].free.subtract(&shape.need, count, named);
    }

    /// Notes that a grant on an agent waits for its answer.
    pub(crate) fn note_grant(&mut self, slot: u32, grant: u64) {
        self.agents[slot].in_flight.push(grant);
    }

    /// The agents with an offer in the order of the index, each with whether its place is up to date, for checks.
    pub(crate) fn indexed(&self) -> Vec<(u32, bool)> {
        let is_current = |slot| self.index.key(slot) == Some(&self.key(slot));
        let listed = self.index.in_order().into_iter();
        listed.map(|slot| (slot, self.scale_changed || is_current(slot))).collect()
    }

    /// True where the index would rule an agent out that has room for the shape, for checks. What has changed since
    /// decisions were last made is not in the index yet.
    pub(crate) fn hides(&self, slot: u32, shape: &Shape) -> bool {
        let shows = || self.index.says(slot).covers(&Room::wanted(shape));
        !self.changed.contains(&slot) && self.fits(slot, shape) && !shows()
    }
}

impl Agent {
    pub(crate) fn allows(&self, class: u32) -> bool {
        class == UNCONSTRAINED || self.classes.contains(&class)
    }

    fn room(&self, sieve: &Sieve) -> Room {
        let fitting = sieve.fitting(&self.free.amounts) & self.allowed;
        Room::of(&self.free.amounts, self.classes.iter().copied(), fitting)
    }
}

fn all_hold(facts: &PoolAgent, constraints: &[allot_model::Constraint]) -> bool {
    let candidate = Candidate { id: &facts.agent, host: &facts.host, attributes: &facts.attributes };
    constraints.iter().all(|constraint| constraint.holds(candidate))
}
