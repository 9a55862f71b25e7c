//! Which agent gets a task: the index over what is free, and what is taken from it.

use std::cell::Cell;
use std::collections::BTreeSet;

use allot_model::Resources;

use crate::cost::Costs;
use crate::dims::{CPUS, Dim, GPUS, Vector};
use crate::draw::Draws;
use crate::fleet::{Agent, Fleet};
use crate::placement::{Placement, Way};
use crate::policy::AgentKey;
use crate::room::{Free, Room};
use crate::shape::{Hope, Shape};

/// Agents for a task of which some rule admits but a part.
pub(crate) enum Among {
    /// The one that is preferred, if there is one, and how many agents and groups of them were looked at to find it.
    First(Option<u32>, u64),
    /// All of them.
    These(Vec<u32>),
}

impl Fleet {
    /// The agents whose offer changed, for [`Fleet::refresh`]. Measures all agents anew where the scale changed.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<u32> {
        if std::mem::take(&mut self.scale_changed) && self.placement.has_scale() {
            for slot in self.index.in_order() {
                self.reindex(slot);
            }
            self.contests.start_over();
        }
        std::mem::take(&mut self.changed)
    }

    /// Says what is free on an agent; nothing where it has no offer.
    pub(crate) fn refresh(&mut self, slot: u32, free: Option<Free>) {
        let listed = free.is_some();
        self.spend(slot);
        self.agents[slot].free = free.unwrap_or_default();
        self.note_change(slot);
        if listed {
            self.agents[slot].free.amounts.iter().for_each(|(dim, amount)| self.spare.add(dim, amount));
            self.reindex(slot);
        } else {
            self.index.remove(slot);
        }
    }

    /// What a task costs on an agent may have changed.
    pub(crate) fn note_change(&mut self, slot: u32) {
        if self.placement.way() == Way::Cost {
            self.contests.note(slot, self.by_id.len());
            self.mix.note(slot);
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

    /// The place of an agent with so much free, where that is the same for all tasks.
    fn measure(&self, free: &Vector) -> u64 {
        match self.placement {
            Placement::BestFit => self.left_over(free),
            Placement::WorstFit => u64::MAX - self.left_over(free),
            Placement::GpuBestFit => gpu_left_over(free, &self.largest),
            _ => 0,
        }
    }

    /// How much these amounts are beside the largest agent's, summed over all resources, in [`PARTS`].
    fn left_over(&self, amounts: &Vector) -> u64 {
        let part = |(dim, amount): (Dim, u64)| part_of(amount, self.largest.get(dim));
        amounts.iter().map(part).fold(0, u64::saturating_add)
    }

    /// True where a task of the shape has room on the agent now.
    pub(crate) fn fits(&self, slot: u32, shape: &Shape) -> bool {
        self.index.contains(slot) && self.agents[slot].holds(shape)
    }

    /// The agent for a task of the shape, and how many agents and groups of them were looked at to find it. `draws` are
    /// the numbers that are drawn for the task, where that decides.
    pub(crate) fn best(
        &mut self,
        id: u32,
        shape: &Shape,
        draws: impl FnOnce() -> Draws,
    ) -> (Option<u32>, u64) {
        match (self.placement.way(), &shape.hope) {
            (_, Hope::None) => (None, 0),
            (Way::Order, Hope::Among(few)) => {
                (self.fitting(few, shape).min_by_key(|slot| self.key(*slot)), 0)
            }
            (Way::Order, Hope::Anywhere) => self.search(shape),
            (Way::Cost, Hope::Among(few)) => (self.cheapest_among(few, shape), 0),
            (Way::Cost, Hope::Anywhere) => (self.cheapest(id, shape), 0),
            (Way::Draw, _) => self.draw(shape, draws()),
        }
    }

    /// The agents for a task of the shape among those that `admits` takes: the first of them where the order of the index
    /// decides, else all of them, for [`Fleet::choose`].
    pub(crate) fn all_where(&self, shape: &Shape, admits: impl Fn(u32) -> bool) -> Among {
        match (self.placement.way(), &shape.hope) {
            (_, Hope::None) => Among::First(None, 0),
            (Way::Order, Hope::Among(few)) => {
                let admitted = self.fitting(few, shape).filter(|slot| admits(*slot));
                Among::First(admitted.min_by_key(|slot| self.key(*slot)), 0)
            }
            (Way::Order, Hope::Anywhere) => {
                let (found, looked_at) = self.search_where(shape, admits);
                Among::First(found, looked_at)
            }
            _ => Among::These(self.all_fitting(shape).0.into_iter().filter(|slot| admits(*slot)).collect()),
        }
    }

    /// The agent for a task of the shape among these, where the order of the index does not decide.
    pub(crate) fn choose(
        &mut self,
        among: &[u32],
        shape: &Shape,
        draws: impl FnOnce() -> Draws,
    ) -> Option<u32> {
        match self.placement.way() {
            Way::Draw => {
                let drawn = draws().below(among.len() as u64);
                usize::try_from(drawn).ok().and_then(|place| among.get(place).copied())
            }
            _ => self.cheapest_among(among, shape),
        }
    }

    /// The first agent in the order of the index with room for a task of the shape that `admits` takes, however much hope
    /// there is said to be. Gangs and plans go by it under every placement.
    pub(crate) fn best_anywhere(&self, shape: &Shape, admits: impl Fn(u32) -> bool) -> Option<u32> {
        self.search_where(shape, admits).0
    }

    /// An agent's place in the index.
    pub(crate) fn preference(&self, slot: u32) -> AgentKey {
        self.key(slot)
    }

    /// The agents with room for a task of the shape in the order of the index, until `visit` returns true. Only where all
    /// are settled is that the order of what is free now.
    pub(crate) fn each_fitting(&self, shape: &Shape, mut visit: impl FnMut(u32, &Agent) -> bool) {
        let visit = |slot| self.fits(slot, shape) && visit(slot, &self.agents[slot]);
        self.first(shape, visit);
    }

    /// Any agent with room for a task of the shape, and how many agents and groups of them were looked at to find it.
    pub(crate) fn with_room(&self, shape: &Shape) -> (Option<u32>, u64) {
        match &shape.hope {
            Hope::None => (None, 0),
            Hope::Among(few) => (self.fitting(few, shape).next(), 0),
            Hope::Anywhere => self.search(shape),
        }
    }

    fn fitting<'a>(&'a self, few: &'a [u32], shape: &'a Shape) -> impl Iterator<Item = u32> + 'a {
        few.iter().copied().filter(|slot| self.fits(*slot, shape))
    }

    fn search(&self, shape: &Shape) -> (Option<u32>, u64) {
        self.search_where(shape, |_| true)
    }

    fn search_where(&self, shape: &Shape, admits: impl Fn(u32) -> bool) -> (Option<u32>, u64) {
        let accept = |slot| Some(slot) != self.filling && self.fits(slot, shape) && admits(slot);
        let (settled, looked_at) = self.first(shape, accept);
        let filling = self.filling.filter(|slot| self.fits(*slot, shape) && admits(*slot));
        let best = match (filling, settled) {
            (Some(filling), Some(settled)) if Some(&self.key(filling)) > self.index.key(settled) => {
                Some(settled)
            }
            (None, settled) => settled,
            (filling, _) => filling,
        };
        (best, looked_at)
    }

    /// The first agent of the index that `accept` takes of those that may have room for the shape, and how many
    /// agents and groups of them were looked at.
    fn first(&self, shape: &Shape, accept: impl FnMut(u32) -> bool) -> (Option<u32>, u64) {
        let (wanted, looked_at) = (Room::wanted(shape), Cell::new(0));
        let enter = |room: &Room| {
            looked_at.set(looked_at.get() + 1);
            room.covers(&wanted)
        };
        let found = self.index.find(enter, accept);
        (found, looked_at.get())
    }

    fn cheapest(&mut self, id: u32, shape: &Shape) -> Option<u32> {
        let (contests, mut costs) = self.costs();
        let (agents, of) = (costs.agents, costs.asked(shape));
        let cost = |slot| costs.of(slot, shape, of);
        contests.best(id, agents.count(), cost, |left, right| agents[left].name < agents[right].name)
    }

    fn cheapest_among(&mut self, few: &[u32], shape: &Shape) -> Option<u32> {
        let few: Vec<u32> = self.fitting(few, shape).collect();
        let (_, mut costs) = self.costs();
        let (agents, of) = (costs.agents, costs.asked(shape));
        few.into_iter().min_by_key(|slot| (costs.of(*slot, shape, of), &agents[*slot].name))
    }

    /// Draws one agent after the other, as many as the root of how many there are, until one has room; after that it draws
    /// one of all that have. So each has the same chance, and few are looked at whether many have room or few.
    fn draw(&self, shape: &Shape, mut draws: Draws) -> (Option<u32>, u64) {
        let agents = self.index.all().agents();
        for _ in 0..=agents.isqrt() {
            let drawn = self.index.nth(draws.below(agents), Room::agents);
            if let Some(slot) = drawn.filter(|slot| self.fits(*slot, shape)) {
                return (Some(slot), 0);
            }
        }
        let (mut fitting, looked_at) = self.all_fitting(shape);
        let drawn = draws.below(fitting.len() as u64);
        let drawn = usize::try_from(drawn).ok().filter(|place| *place < fitting.len());
        (drawn.map(|place| fitting.swap_remove(place)), looked_at)
    }

    /// The agents that have room, in the order of the index, which here is that of their names.
    fn all_fitting(&self, shape: &Shape) -> (Vec<u32>, u64) {
        let mut fitting = Vec::new();
        if let Hope::Among(few) = &shape.hope {
            fitting.extend(self.fitting(few, shape));
            fitting.sort_by_key(|slot| &self.agents[*slot].name);
            return (fitting, 0);
        }
        let (_, looked_at) = self.first(shape, |slot| {
            fitting.extend(Some(slot).filter(|slot| self.fits(*slot, shape)));
            false
        });
        (fitting, looked_at)
    }

    /// The shapes of the sieve that an agent has room for, and perhaps some more.
    pub(crate) fn sifted(&self, slot: u32) -> u128 {
        let agent = &self.agents[slot];
        self.sieve.fitting(&agent.free) & agent.allowed
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
        self.contests.forget(id);
    }

    /// How many tasks of the shape can be taken from an agent in one go: one where items or ranges are named, and where
    /// the next one may be better placed elsewhere.
    pub(crate) fn times(&self, slot: u32, shape: &Shape) -> u64 {
        let free = &self.agents[slot].free;
        let is_single = !self.placement.stays() || free.names_any(&shape.request);
        if is_single { 1 } else { free.amounts.times(&shape.need) }
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
        self.spare.subtract_need(&shape.need, count);
        self.move_in(slot, shape.need.get(GPUS), count);
        self.note_change(slot);
    }

    /// Puts back what [`Fleet::take`] took.
    pub(crate) fn give_back(&mut self, slot: u32, shape: &Shape, count: u64, named: Option<&Resources>) {
        self.settle();
        self.agents[slot].free.add(shape, count, named);
        self.spare.add_need(&shape.need, count);
        self.move_out(slot, shape.need.get(GPUS), count);
        self.note_change(slot);
        self.reindex(slot);
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

    fn costs(&mut self) -> (&mut crate::contest::Contests, Costs<'_>) {
        let Self { placement, agents, index, largest, tenants, mix, contests, .. } = self;
        (contests, Costs::new(*placement, agents, index, largest, tenants, mix))
    }
}

impl Agent {
    /// True where it has room for a task of the shape, whether that is offered or not.
    pub(crate) fn holds(&self, shape: &Shape) -> bool {
        self.allows(shape.class) && self.free.holds(shape)
    }
}

/// What all of something is in: below 2^31, and divisible by many numbers, so that parts of round numbers are whole and add up.
const PARTS: u64 = (1 << 7) * 27 * 25 * 7 * 11 * 13 * 17;

/// An amount as a part of a whole, in parts of [`PARTS`], rounded down. More than the whole counts as the whole, and of a
/// whole of 2^32 or more only its 32 highest bits count.
pub(crate) fn part_of(amount: u64, whole: u64) -> u64 {
    let excess = (u64::BITS - whole.leading_zeros()).saturating_sub(32);
    ((amount.min(whole) >> excess) * PARTS).checked_div(whole >> excess).unwrap_or(0)
}

/// An amount and the whole it is a part of, both without the bits that make the whole exceed 2^31. The whole is 1 at least.
pub(crate) fn ratio(amount: u64, whole: u64) -> (u64, u64) {
    let excess = (u64::BITS - whole.leading_zeros()).saturating_sub(31);
    (amount.min(whole) >> excess, (whole >> excess).max(1))
}

/// The free cpus and gpus beside the largest agent's, both on one scale: exact up to 2^31 thousandths of each.
fn gpu_left_over(free: &Vector, largest: &Vector) -> u64 {
    let (cpus, all_cpus) = ratio(free.get(CPUS), largest.get(CPUS));
    let (gpus, all_gpus) = ratio(free.get(GPUS), largest.get(GPUS));
    cpus * all_gpus + gpus * all_cpus
}
