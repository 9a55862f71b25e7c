//! Which tasks are stopped for a job: on one agent, no more than it takes, the least important and youngest first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use allot_model::{AgentId, PreemptCause, QueueName, TaskRange, Time, Victim};

use super::incumbents::Incumbent;
use super::outlook::Outlook;
use crate::dims::{Need, Vector};
use crate::flight::Flight;
use crate::pool::Pool;
use crate::room::Free;
use crate::shape::Shape;

/// At most so many agents are looked at closely for one place.
const MOST_AGENTS: usize = 64;

/// At most so many incumbents are gone through for one place.
const MOST_INCUMBENTS: usize = 4_096;

/// A job that fits nowhere, and why others may be stopped for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) cause: PreemptCause,
    /// Its slot in the backlog.
    pub(crate) job: u32,
    pub(crate) priority: i32,
}

/// Tasks to be stopped, and where that makes room.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) agent: AgentId,
    pub(crate) victims: Vec<Victim>,
    /// What they hold on all agents.
    pub(crate) freed: Vector,
    harm: Harm,
}

/// What comes of the places that were made in a pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// The shapes of tasks that will fit on an agent once those have ended that are being stopped there.
    on: BTreeMap<u32, Vec<u32>>,
    /// What all of them take.
    taken: Vector,
    /// What becomes free for them.
    freed: Vector,
}

impl Expected {
    /// A task will fit on an agent.
    pub(crate) fn fits(&mut self, slot: u32, shape: u32, need: &Need) {
        self.on.entry(slot).or_default().push(shape);
        self.taken.add_need(need, 1);
    }

    /// A place is held for a task, for which so much becomes free.
    pub(crate) fn is_made(&mut self, need: &Need, freed: &Vector) {
        self.taken.add_need(need, 1);
        freed.iter().for_each(|(dim, amount)| self.freed.add(dim, amount));
    }
}

/// What a choice costs: the less the better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Harm {
    /// The highest priority of any victim.
    priority: i32,
    tasks: u64,
    /// When the oldest got its place.
    placed_at: Reverse<Time>,
    agent: AgentId,
}

/// Tasks that are stopped together or not at all.
#[derive(Debug, Clone)]
struct Unit<'a> {
    parts: Vec<(&'a Incumbent, TaskRange)>,
}

impl Unit<'_> {
    fn tasks(&self) -> u64 {
        self.parts.iter().map(|(_, tasks)| tasks.count()).sum()
    }
}

/// The search for one place.
pub(crate) struct Search<'a> {
    pool: &'a Pool,
    flight: &'a Flight,
    now: Time,
    ask: Ask,
    expected: &'a Expected,
    shape: &'a Shape,
    /// The branch of the job's lane.
    branch: u32,
    /// Where the agent has to be, for the attribute that the agents of a gang have in common.
    value: Option<&'a str>,
    /// The queue whose tasks alone may be stopped, where it is so.
    within: Option<&'a QueueName>,
    /// As things stand, those counted that are being stopped already and those they make room for.
    before: Outlook<'a>,
    /// When there may be one to be found, where tasks have not run for long enough.
    pub(crate) later: Option<Time>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        pool: &'a Pool,
        flight: &'a Flight,
        now: Time,
        ask: Ask,
        expected: &'a Expected,
    ) -> Self {
        let (queues, preempting) = (&pool.backlog.queues, &pool.preempting);
        let job = pool.backlog.job(ask.job);
        let mut before = Outlook::new(&queues.tree);
        for stopping in preempting.incumbents.stopping() {
            let branch = queues.tree.branch_of(&stopping.queue);
            before.stop(branch, &stopping.held, stopping.run.tasks.count());
        }
        for claim in preempting.claims.iter() {
            if let Some(claimant) = pool.backlog.find(claim.job).map(|slot| pool.backlog.job(slot)) {
                before.start(queues.lane(claimant.lane).branch, &claim.need);
            }
        }
        let (shape, lane) = (pool.shapes.get(job.shape), queues.lane(job.lane));
        // Priorities are compared where the policy compares jobs.
        let is_within = ask.cause == PreemptCause::Priority && queues.rank();
        let within = lane.queue.as_ref().filter(|_| is_within);
        let (branch, value) = (lane.branch, None);
        Self { pool, flight, now, ask, expected, shape, branch, value, within, before, later: None }
    }

    /// The same on agents with this value of the attribute that those of the gang have in common.
    pub(crate) fn among(self, value: &'a str) -> Self {
        Self { value: Some(value), ..self }
    }

    /// An agent where the job's task fits as it is.
    pub(crate) fn fits(&self) -> Option<u32> {
        if !self.is_within_limits() || !self.leaves_kept(&Vector::default()) {
            return None;
        }
        let mut found = None;
        self.pool.fleet.each_fitting(self.shape, |slot, agent| {
            let here = agent.facts.as_ref().and_then(|facts| self.suitable(&facts.agent));
            found = here.filter(|_| {
                let free = self.pool.free_for(slot, self.flight, None);
                free.is_some_and(|free| free.holds(self.shape))
            });
            found.is_some()
        });
        found
    }

    pub(crate) fn agent(&self, slot: u32) -> Option<AgentId> {
        self.pool.fleet.get(slot).facts.as_ref().map(|facts| facts.agent.clone())
    }

    fn is_within_limits(&self) -> bool {
        let mut after = self.before.clone();
        after.start(self.branch, &self.shape.need);
        after.is_within_limits(self.branch, &self.shape.need)
    }

    /// The least harmful choice.
    pub(crate) fn best(&mut self) -> Option<Choice> {
        let pool = self.pool;
        let below = (self.ask.cause == PreemptCause::Priority).then_some(self.ask.priority);
        let mut best: Option<Choice> = None;
        let mut seen: BTreeSet<&AgentId> = BTreeSet::new();
        let mut looked_at = 0;
        for incumbent in pool.preempting.incumbents.in_order(self.within, below).take(MOST_INCUMBENTS) {
            let is_over = best.as_ref().is_some_and(|best| best.harm.priority < incumbent.priority);
            if is_over || looked_at == MOST_AGENTS {
                break;
            }
            if !self.may_stop(incumbent) || !seen.insert(&incumbent.agent) {
                continue;
            }
            if let Some(slot) = self.suitable(&incumbent.agent) {
                looked_at += 1;
                let found = self.choose_on(slot, &incumbent.agent);
                best = best.into_iter().chain(found).min_by(|left, right| left.harm.cmp(&right.harm));
            }
        }
        best
    }

    /// An agent where the job's task fits once those have ended that are being stopped already.
    pub(crate) fn will_fit(&self) -> Option<u32> {
        let agents: BTreeSet<&AgentId> =
            self.pool.preempting.incumbents.stopping().map(|incumbent| &incumbent.agent).collect();
        agents.into_iter().take(MOST_AGENTS).find_map(|agent| {
            let slot = self.suitable(agent)?;
            self.suffices(&self.room(slot, agent)).then_some(slot)
        })
    }

    /// The agent, if the job's tasks could be there.
    fn suitable(&self, agent: &AgentId) -> Option<u32> {
        let slot = self.pool.fleet.find(agent)?;
        let known = self.pool.fleet.get(slot);
        let takes = known.facts.as_ref().is_some_and(|facts| !facts.draining) && !known.doubted;
        let is_where = || {
            self.value
                .is_none_or(|value| self.pool.fleet.value(slot, self.shape).is_some_and(|has| *has == *value))
        };
        let could = takes && known.allows(self.shape.class) && known.total.holds(&self.shape.need);
        (could && is_where()).then_some(slot)
    }

    /// True where an incumbent may be stopped for this, whoever else is.
    fn may_stop(&mut self, incumbent: &Incumbent) -> bool {
        let is_for = match self.ask.cause {
            PreemptCause::Priority => {
                incumbent.priority < self.ask.priority
                    && self.within.is_none_or(|queue| incumbent.queue == *queue)
            }
            PreemptCause::Guarantee => self.is_claimed_from(incumbent),
        };
        if !is_for {
            return false;
        }
        let due = incumbent.placed_at + self.pool.preempting.rules.min_run;
        if due > self.now {
            self.later = self.later.into_iter().chain([due]).min();
        }
        due <= self.now
    }

    /// True where the job's task is guaranteed to the outermost queue with a guarantee that the incumbent is not in.
    fn is_claimed_from(&self, incumbent: &Incumbent) -> bool {
        let tree = &self.pool.backlog.queues.tree;
        let theirs: Vec<u32> = tree.up_from(tree.branch_of(&incumbent.queue)).collect();
        let ours = tree.guaranteed_from(self.branch).filter(|branch| !theirs.contains(branch)).last();
        ours.is_some_and(|branch| {
            let mut after = self.before.clone();
            after.start(self.branch, &self.shape.need);
            after.is_guaranteed(branch, &self.shape.need)
        })
    }

    /// What is stopped on this agent, if that makes room there.
    fn choose_on(&mut self, slot: u32, agent: &AgentId) -> Option<Choice> {
        let pool = self.pool;
        let mut room = self.room(slot, agent);
        let mut chosen: Vec<Unit<'a>> = Vec::new();
        let mut together = BTreeSet::new();
        for incumbent in pool.preempting.incumbents.on(agent) {
            if !self.may_stop(incumbent) || incumbent.together && !together.insert(incumbent.run.job) {
                continue;
            }
            for unit in self.units(incumbent) {
                room.make(&unit);
                if room.tasks > pool.preempting.rate.most() {
                    return None;
                }
                if !room.after.leaves_guarantees(&self.before) {
                    room.unmake(&unit);
                    break;
                }
                chosen.push(unit);
                if self.suffices(&room) {
                    self.leave_out(&mut room, &mut chosen);
                    return Some(Choice::of(agent, &chosen, room.freed));
                }
            }
        }
        None
    }

    /// Leaves out what is not needed: of what came last, which is the most important, first.
    fn leave_out(&self, room: &mut Room<'a, '_>, chosen: &mut Vec<Unit<'a>>) {
        for place in (0..chosen.len()).rev() {
            room.unmake(&chosen[place]);
            if chosen.len() > 1 && self.suffices(room) {
                chosen.remove(place);
            } else {
                room.make(&chosen[place]);
            }
        }
    }

    /// Each task by itself, but where all of a job go together.
    fn units(&mut self, incumbent: &'a Incumbent) -> Vec<Unit<'a>> {
        if !incumbent.together {
            let single = |task| Unit { parts: vec![(incumbent, TaskRange::one(task))] };
            let most = usize::try_from(self.pool.preempting.rate.most()).unwrap_or(usize::MAX);
            return incumbent.run.tasks.indexes().take(most).map(single).collect();
        }
        let all: Vec<_> = self.pool.preempting.incumbents.of_job(incumbent.run.job).collect();
        if !all.iter().all(|part| self.may_stop(part)) {
            return Vec::new();
        }
        vec![Unit { parts: all.into_iter().map(|part| (part, part.run.tasks)).collect() }]
    }

    /// An agent as it is, and the job's task as if it had started.
    fn room<'b>(&self, slot: u32, agent: &'b AgentId) -> Room<'a, 'b> {
        let mut free = self.pool.free_to_be(slot, self.flight);
        for shape in self.expected.on.get(&slot).into_iter().flatten() {
            let shape = self.pool.shapes.get(*shape);
            free.give(&shape.need, &shape.request);
        }
        let mut after = self.before.clone();
        after.start(self.branch, &self.shape.need);
        Room { pool: self.pool, agent, free, after, freed: Vector::default(), tasks: 0 }
    }

    /// True where a task of the job can start then.
    fn suffices(&self, room: &Room<'_, '_>) -> bool {
        room.free.holds(self.shape)
            && room.after.is_within_limits(self.branch, &self.shape.need)
            && self.leaves_kept(&room.freed)
    }

    /// True where the job's task takes nothing that is kept for others, once so much is free beside what becomes free for
    /// others.
    fn leaves_kept(&self, freed: &Vector) -> bool {
        let (tree, expected) = (&self.pool.backlog.queues.tree, self.expected);
        let changes = (&[freed, &expected.freed][..], &expected.taken);
        tree.leaves_kept(&self.shape.need, self.assured_by(), changes)
    }

    /// The branch by which the job's next task is guaranteed, if it is.
    fn assured_by(&self) -> Option<u32> {
        let queues = &self.pool.backlog.queues;
        queues.assured_by(self.pool.backlog.job(self.ask.job).lane, self.shape)
    }

    pub(crate) fn need(&self) -> &Need {
        &self.shape.need
    }
}

/// What there is once the chosen have ended.
struct Room<'a, 'b> {
    pool: &'a Pool,
    agent: &'b AgentId,
    free: Free,
    /// What they held on all agents.
    freed: Vector,
    after: Outlook<'a>,
    tasks: u64,
}

impl Room<'_, '_> {
    /// These end too.
    fn make(&mut self, unit: &Unit<'_>) {
        let tree = &self.pool.backlog.queues.tree;
        for (Incumbent { agent, held, named, queue, .. }, tasks) in &unit.parts {
            let count = tasks.count();
            self.freed.add_need(held, count);
            self.after.stop(tree.branch_of(queue), held, count);
            self.tasks += count;
            if agent == self.agent {
                self.free.restore(held, count, named, &self.pool.dims);
            }
        }
    }

    /// These do not end after all.
    fn unmake(&mut self, unit: &Unit<'_>) {
        let tree = &self.pool.backlog.queues.tree;
        for (Incumbent { agent, held, named, queue, .. }, tasks) in &unit.parts {
            let count = tasks.count();
            self.freed.subtract_need(held, count);
            self.after.go_on(tree.branch_of(queue), held, count);
            self.tasks -= count;
            if agent == self.agent {
                self.free.subtract(held, count, (!named.is_empty()).then_some(named));
            }
        }
    }
}

impl Choice {
    fn of(agent: &AgentId, chosen: &[Unit<'_>], freed: Vector) -> Self {
        let parts = || chosen.iter().flat_map(|unit| &unit.parts);
        let harm = Harm {
            priority: parts().map(|(incumbent, _)| incumbent.priority).max().unwrap_or(i32::MIN),
            tasks: chosen.iter().map(Unit::tasks).sum(),
            placed_at: Reverse(parts().map(|(incumbent, _)| incumbent.placed_at).min().unwrap_or(Time::ZERO)),
            agent: agent.clone(),
        };
        let mut victims: Vec<Victim> = Vec::new();
        for (incumbent, tasks) in parts() {
            let next = incumbent.victim(*tasks);
            match victims.last_mut().filter(|last| follows(last, &next)) {
                Some(last) => last.run.tasks.last = next.run.tasks.last,
                None => victims.push(next),
            }
        }
        Self { agent: agent.clone(), victims, freed, harm }
    }

    pub(crate) fn tasks(&self) -> u64 {
        self.harm.tasks
    }
}

/// True where both are one run.
fn follows(last: &Victim, next: &Victim) -> bool {
    let (before, after) = (last.run, next.run);
    last.agent == next.agent
        && (before.job, before.attempt) == (after.job, after.attempt)
        && before.tasks.last.checked_add(1) == Some(after.tasks.first)
}
