//! The agents of the pool: what they have, what is allocated on them, and what of the rest is on offer.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{
    AgentFacts, AgentId, AttemptId, AttemptRun, JobId, OfferVersion, PoolAgent, QueueName, Resources, RunMap,
    TaskRange, Time, TurnsLeft,
};

/// Whether an agent takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes tasks.
    Ready,
    /// It counts, but takes nothing new.
    Draining,
    /// It does not count: unreachable, drained or gone.
    Out,
}

/// How far an operator's drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Not wanted.
    No,
    /// Nothing new goes there; tasks are still there.
    Under,
    /// Nothing is there any more.
    Over,
}

/// What a run of tasks holds on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) attempt: u32,
    /// Since when.
    pub(crate) at: Time,
    pub(crate) queue: QueueName,
    /// What each slot holds.
    pub(crate) slice: Arc<Resources>,
    /// The first attempt of the placement where it is not to be taken together with others of the job that are alike: its
    /// tasks take turns in fewer slots, see [`Turns`], or the slice names what cannot be multiplied.
    pub(crate) turns: Option<AttemptId>,
}

/// A placement that is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turns {
    /// The tasks that have not ended.
    left: u64,
    /// What they hold together; never more than there are tasks left.
    slots: u64,
}

impl Turns {
    pub(crate) fn load(saved: TurnsLeft) -> Self {
        Self { left: saved.left, slots: saved.slots }
    }

    pub(crate) fn save(&self, first: AttemptId) -> TurnsLeft {
        TurnsLeft { first, left: self.left, slots: self.slots }
    }

    /// So many of the tasks have ended. Returns how many slots are free, because fewer tasks are left than there were
    /// slots.
    fn end(&mut self, tasks: u64) -> u64 {
        self.left = self.left.saturating_sub(tasks);
        let freed = self.slots.saturating_sub(self.left);
        self.slots -= freed;
        freed
    }
}

/// Tasks that ended, and the slots that are free with them.
#[derive(Debug)]
pub(crate) struct Freed {
    pub(crate) tasks: TaskRange,
    pub(crate) held: Held,
    pub(crate) slots: u64,
}

/// What the allocator declined: nothing that fits in `size` is offered again before `until`.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) until: Time,
    pub(crate) size: Resources,
}

/// An agent as the ledger tells it, and the offer made of it.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) facts: Arc<AgentFacts>,
    pub(crate) standing: Standing,
    pub(crate) drain: Drain,
    /// Silent for the timeout, or declared gone.
    pub(crate) away: bool,
    /// Everything that is allocated on it.
    pub(crate) allocated: Resources,
    pub(crate) free: Resources,
    pub(crate) held: BTreeMap<JobId, RunMap<Held>>,
    /// The placements here that are kept apart, by their first attempt.
    pub(crate) turns: BTreeMap<AttemptId, Turns>,
    /// Soft: grows with every change.
    pub(crate) version: OfferVersion,
    /// Soft: when the present offer expires, if there is one.
    pub(crate) offered_until: Option<Time>,
    /// Soft: something was granted of the present offer.
    pub(crate) is_taken: bool,
    /// Soft: what was declined.
    pub(crate) filter: Option<Filter>,
}

impl Agent {
    pub(crate) fn new(facts: Arc<AgentFacts>) -> Self {
        Self {
            free: facts.resources.clone(),
            facts,
            standing: Standing::Ready,
            drain: Drain::No,
            away: false,
            allocated: Resources::new(),
            held: BTreeMap::new(),
            turns: BTreeMap::new(),
            version: OfferVersion(0),
            offered_until: None,
            is_taken: false,
            filter: None,
        }
    }

    /// True where the agent counts among the pool's resources.
    pub(crate) fn in_pool(&self) -> bool {
        self.standing != Standing::Out
    }

    /// Works out the standing from what is known.
    pub(crate) fn settle(&mut self) {
        self.standing = match (self.away, self.drain) {
            (true, _) | (false, Drain::Over) => Standing::Out,
            (false, Drain::Under) => Standing::Draining,
            (false, Drain::No) => Standing::Ready,
        };
    }

    pub(crate) fn describe(&self) -> Arc<PoolAgent> {
        Arc::new(PoolAgent {
            agent: self.facts.id.clone(),
            host: self.facts.host.clone(),
            total: self.facts.resources.clone(),
            attributes: self.facts.attributes.clone(),
            draining: self.standing == Standing::Draining,
        })
    }

    /// What may be offered now: nothing while the agent takes nothing or what is free was declined.
    pub(crate) fn offerable(&mut self, now: Time) -> Option<Resources> {
        if self.standing != Standing::Ready || self.free.is_empty() {
            return None;
        }
        if let Some(filter) = &self.filter {
            if now < filter.until && filter.size.contains(&self.free) {
                return None;
            }
            self.filter = None;
        }
        Some(self.free.clone())
    }

    /// Notes that the run holds this in so many slots.
    pub(crate) fn hold(&mut self, run: AttemptRun, mut held: Held, slots: u64) {
        let amount = held.slice.times(slots);
        let left = run.tasks.count();
        held.turns = (slots < left || !held.slice.is_scalar())
            .then(|| AttemptId::new(run.job, run.tasks.first, run.attempt));
        self.turns.extend(held.turns.map(|first| (first, Turns { left, slots })));
        self.held.entry(run.job).or_default().set(run.tasks, held);
        if let Some(amount) = amount {
            // An overflow is impossible: the sum stays within what an agent once had.
            let _ = self.allocated.add(&amount);
        }
        self.recount();
    }

    /// Takes back what the run holds and returns the parts that did hold something.
    pub(crate) fn release(&mut self, run: AttemptRun) -> Vec<Freed> {
        let Some(tasks) = self.held.get_mut(&run.job) else { return Vec::new() };
        let (released, others): (Vec<_>, Vec<_>) =
            tasks.remove(run.tasks).into_iter().partition(|(_, held)| held.attempt == run.attempt);
        others.into_iter().for_each(|(part, held)| tasks.set(part, held));
        if tasks.is_empty() {
            self.held.remove(&run.job);
        }
        let freed: Vec<Freed> =
            released.into_iter().map(|(part, held)| self.free_slots(part, held)).collect();
        for Freed { held, slots, .. } in &freed {
            if let Some(amount) = held.slice.times(*slots) {
                let _ = self.allocated.subtract(&amount);
            }
        }
        if !freed.is_empty() {
            self.recount();
        }
        freed
    }

    fn free_slots(&mut self, tasks: TaskRange, held: Held) -> Freed {
        let slots = match held.turns.and_then(|first| Some((first, self.turns.get_mut(&first)?))) {
            None => tasks.count(),
            Some((first, turns)) => {
                let slots = turns.end(tasks.count());
                if turns.left == 0 {
                    self.turns.remove(&first);
                }
                slots
            }
        };
        Freed { tasks, held, slots }
    }

    /// All runs that hold something, each with slots of its placement so that they add up to all of these.
    pub(crate) fn runs(&self) -> Vec<(JobId, TaskRange, &Held, u64)> {
        let mut unassigned = self.turns.clone();
        let mut runs = Vec::new();
        for (job, parts) in &self.held {
            for (tasks, held) in parts.iter() {
                let turns = held.turns.and_then(|first| unassigned.get_mut(&first));
                let slots = turns.map_or(tasks.count(), |turns| {
                    let slots = turns.slots.min(tasks.count());
                    turns.slots -= slots;
                    slots
                });
                runs.push((*job, tasks, held, slots));
            }
        }
        runs
    }

    /// Works out what is free. An agent that came back with less than is allocated has nothing of it free.
    pub(crate) fn recount(&mut self) {
        let mut free = self.facts.resources.clone();
        if free.subtract(&self.allocated).is_err() {
            free =
                self.facts.resources.iter().filter_map(|(name, total)| self.left_of(name, total)).collect();
        }
        self.free = free;
    }

    fn left_of(
        &self,
        name: &allot_model::ResourceName,
        total: &allot_model::Amount,
    ) -> Option<(allot_model::ResourceName, allot_model::Amount)> {
        let mut one: Resources = [(name.clone(), total.clone())].into_iter().collect();
        if let Some(allocated) = self.allocated.get(name) {
            one.subtract(&[(name.clone(), allocated.clone())].into_iter().collect()).ok()?;
        }
        one.get(name).map(|amount| (name.clone(), amount.clone()))
    }

    /// What its held runs add up to, one by one: for checking.
    pub(crate) fn sum_of_held(&self) -> Option<Resources> {
        let mut sum = Resources::new();
        for (_, _, held, slots) in self.runs() {
            sum.add(&held.slice.times(slots)?).ok()?;
        }
        Some(sum)
    }
}

/// The agents by their ids.
pub(crate) type Agents = BTreeMap<AgentId, Agent>;
