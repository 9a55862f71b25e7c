//! What is in the way of a task on each agent, and which agent comes nearest.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use allot_model::constraint::Candidate;
use allot_model::{AgentCount, Amount, Constraint, Hindrance, NearMiss, ResourceName, Shortage};

use crate::fleet::Agent;
use crate::pool::Pool;
use crate::shape::Shape;
use crate::share::Share;

/// What one look at each agent of the pool found out about a shape.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    pub(crate) reasons: Vec<AgentCount>,
    pub(crate) nearest: Option<NearMiss>,
}

/// What is in the way on one agent. Constraints by their place, so that none is written out for each agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Obstacle {
    TooSmall(ResourceName),
    Excluded(usize),
    Draining,
    NotOffered,
    Busy(ResourceName),
    Room,
}

/// Too little of a resource.
#[derive(Debug, Clone)]
struct Lack {
    resource: ResourceName,
    asked: u64,
    has: u64,
}

/// An agent that the constraints allow, and what it lacks.
struct Miss<'a> {
    agent: &'a Agent,
    obstacle: Obstacle,
    lacks: Vec<Lack>,
}

/// Looks at each agent once.
pub(crate) fn survey(pool: &Pool, shape: &Shape) -> Survey {
    let constraints = pool.classes.get(shape.class);
    let mut counts: BTreeMap<Obstacle, u64> = BTreeMap::new();
    let mut excluded = vec![0; constraints.len()];
    let mut nearest: Option<Miss<'_>> = None;
    for (_, agent) in pool.fleet.iter() {
        let first_failing = failing(agent, constraints, &mut excluded);
        let (obstacle, lacks) = obstacle(pool, agent, shape, first_failing);
        *counts.entry(obstacle.clone()).or_insert(0) += 1;
        let miss = Miss { agent, obstacle, lacks };
        if first_failing.is_none() && nearest.as_ref().is_none_or(|best| miss.rank() < best.rank()) {
            nearest = Some(miss);
        }
    }
    let nearest = match nearest {
        Some(miss) => miss.told(constraints),
        None => most_excluding(constraints, &excluded),
    };
    Survey { reasons: told(counts, constraints), nearest }
}

/// The first constraint that does not hold on the agent; each that does not is counted.
fn failing(agent: &Agent, constraints: &[Constraint], excluded: &mut [u64]) -> Option<usize> {
    let facts = agent.facts.as_ref()?;
    let candidate = Candidate { id: &facts.agent, host: &facts.host, attributes: &facts.attributes };
    let mut first = None;
    for (place, constraint) in constraints.iter().enumerate() {
        if !constraint.holds(candidate) {
            excluded[place] += 1;
            first = first.or(Some(place));
        }
    }
    first
}

/// The first thing that is in the way, and what is lacking because of it.
fn obstacle(pool: &Pool, agent: &Agent, shape: &Shape, excluded: Option<usize>) -> (Obstacle, Vec<Lack>) {
    let too_small = lacks(shape, |name, asked| {
        let total = agent.facts.as_ref().and_then(|facts| facts.total.get(name));
        total.map_or(0, |amount| amount.available_for(asked))
    });
    if let Some(lack) = too_small.first() {
        return (Obstacle::TooSmall(lack.resource.clone()), too_small);
    }
    if let Some(place) = excluded {
        return (Obstacle::Excluded(place), Vec::new());
    }
    if agent.facts.as_ref().is_some_and(|facts| facts.draining) {
        return (Obstacle::Draining, Vec::new());
    }
    if agent.doubted {
        return (Obstacle::NotOffered, Vec::new());
    }
    let busy = lacks(shape, |name, asked| free(pool, agent, name, asked));
    match busy.first() {
        Some(lack) => (Obstacle::Busy(lack.resource.clone()), busy),
        // Without an offer nothing is free, which only a task that asks for nothing does not mind.
        None if agent.offer.is_none() => (Obstacle::NotOffered, Vec::new()),
        None => (Obstacle::Room, Vec::new()),
    }
}

fn lacks(shape: &Shape, has: impl Fn(&ResourceName, u64) -> u64) -> Vec<Lack> {
    let of = |(resource, asked): (&ResourceName, u64)| {
        let has = has(resource, asked);
        (has < asked).then(|| Lack { resource: resource.clone(), asked, has })
    };
    shape.request.iter().filter_map(of).collect()
}

/// What is free on the agent, in pieces that suit: its offer less the grants on their way to it.
fn free(pool: &Pool, agent: &Agent, name: &ResourceName, asked: u64) -> u64 {
    match agent.free.named.get(name) {
        Some(amount) => amount.available_for(asked),
        None => pool.dims.find(name).map_or(0, |dim| agent.free.amounts.get(dim)),
    }
}

impl Miss<'_> {
    /// Smaller is nearer: an agent with room, one that is large enough, one whose largest lack is the smallest part of
    /// what is asked for, one that lacks fewer resources; of equals the first by name, in whose order they come.
    fn rank(&self) -> (u8, Share, usize) {
        let kind = match self.obstacle {
            Obstacle::Room => 0,
            Obstacle::Busy(_) => 1,
            Obstacle::NotOffered => 2,
            Obstacle::Draining => 3,
            Obstacle::TooSmall(_) | Obstacle::Excluded(_) => 4,
        };
        let parts = self.lacks.iter().map(|lack| Share::of(lack.asked - lack.has, lack.asked, 1));
        (kind, parts.max().unwrap_or(Share::ZERO), self.lacks.len())
    }

    /// Nothing where there is room.
    fn told(self, constraints: &[Constraint]) -> Option<NearMiss> {
        if self.obstacle == Obstacle::Room {
            return None;
        }
        let agent = self.agent.facts.as_ref()?.agent.clone();
        let short = self.lacks.iter().map(Lack::told).collect();
        Some(NearMiss::Agent { agent, hindrance: self.obstacle.told(constraints), short })
    }
}

impl Lack {
    fn told(&self) -> Shortage {
        let words = |units| Amount::Scalar(units).to_json(&self.resource);
        Shortage {
            resource: self.resource.clone(),
            asked: words(self.asked),
            has: words(self.has),
            short: words(self.asked - self.has),
        }
    }
}

impl Obstacle {
    fn told(&self, constraints: &[Constraint]) -> Hindrance {
        match self {
            Self::TooSmall(resource) => Hindrance::TooSmall { resource: resource.clone() },
            Self::Excluded(place) => Hindrance::Excluded { constraint: text(constraints, *place) },
            Self::Draining => Hindrance::Draining,
            Self::NotOffered => Hindrance::NotOffered,
            Self::Busy(resource) => Hindrance::Busy { resource: resource.clone() },
            Self::Room => Hindrance::Room,
        }
    }
}

fn text(constraints: &[Constraint], place: usize) -> String {
    constraints.get(place).map_or_else(String::new, ToString::to_string)
}

/// The most frequent first.
fn told(counts: BTreeMap<Obstacle, u64>, constraints: &[Constraint]) -> Vec<AgentCount> {
    let count =
        |(obstacle, agents): (Obstacle, u64)| AgentCount { hindrance: obstacle.told(constraints), agents };
    let mut reasons: Vec<AgentCount> = counts.into_iter().map(count).collect();
    reasons.sort_by_key(|count| Reverse(count.agents));
    reasons
}

fn most_excluding(constraints: &[Constraint], excluded: &[u64]) -> Option<NearMiss> {
    let most = excluded.iter().copied().enumerate().max_by_key(|(place, agents)| (*agents, Reverse(*place)));
    let (place, agents) = most.filter(|(_, agents)| *agents > 0)?;
    Some(NearMiss::Constraint { constraint: text(constraints, place), agents })
}
