//! Why tasks have no place: counted over all agents when someone asks, at no cost to decisions.

use std::collections::BTreeMap;
use std::fmt;

use allot_model::constraint::Candidate;
use allot_model::{JobId, Request, ResourceName};

use crate::fleet::Agent;
use crate::pool::Pool;
use crate::shape::Shape;

/// Where a job stands, and what of each agent is in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Its tasks without a place, those granted and not yet answered not counted.
    pub waiting: u64,
    /// Its tasks in grants that were not answered yet.
    pub granted: u64,
    /// True where a grant was refused and it is set aside for some seconds.
    pub held: bool,
    /// How many agents there are for each hindrance.
    pub agents: BTreeMap<Hindrance, u64>,
}

/// Why a task cannot go to an agent now: the first that applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hindrance {
    /// Even an idle agent of its size has too little of this.
    TooSmall(ResourceName),
    /// This constraint does not hold there.
    Excluded(String),
    /// It has too little of this free.
    Busy(ResourceName),
    /// It does not offer anything now.
    NotOffered,
    /// None: other tasks go first.
    Room,
}

impl Explanation {
    pub(crate) fn of(pool: &Pool, id: JobId) -> Option<Self> {
        let job = pool.backlog.job(pool.backlog.find(id)?);
        let shape = pool.shapes.get(job.shape);
        let mut agents = BTreeMap::new();
        for (_, agent) in pool.fleet.iter() {
            *agents.entry(hindrance(pool, agent, shape)).or_insert(0) += 1;
        }
        let waiting = job.unplaced.count();
        let granted = job.wanted.count().saturating_sub(waiting);
        Some(Self { waiting, granted, held: pool.backlog.is_held(id), agents })
    }
}

fn hindrance(pool: &Pool, agent: &Agent, shape: &Shape) -> Hindrance {
    let short = |has: &dyn Fn(usize) -> u64| {
        let dim = shape.need.iter().find(|(dim, amount)| has(*dim) < *amount)?.0;
        pool.dims.name(dim).cloned()
    };
    if let Some(name) = short(&|dim| agent.total().get(dim)) {
        return Hindrance::TooSmall(name);
    }
    if let Some(constraint) = excluded_by(pool, agent, shape) {
        return Hindrance::Excluded(constraint);
    }
    if agent.offer.is_none() {
        return Hindrance::NotOffered;
    }
    let short = short(&|dim| agent.free.amounts.get(dim)).or_else(|| short_of_items(agent, &shape.request));
    short.map_or(Hindrance::Room, Hindrance::Busy)
}

fn excluded_by(pool: &Pool, agent: &Agent, shape: &Shape) -> Option<String> {
    let facts = agent.facts.as_ref()?;
    let candidate = Candidate { id: &facts.agent, host: &facts.host, attributes: &facts.attributes };
    let mut constraints = pool.classes.get(shape.class).iter();
    constraints.find(|constraint| !constraint.holds(candidate)).map(ToString::to_string)
}

/// The resource of which there is enough in sum but not in whole items.
fn short_of_items(agent: &Agent, request: &Request) -> Option<ResourceName> {
    let lacks = |(name, amount): &(&ResourceName, u64)| {
        let one = Request::from_iter([((*name).clone(), *amount)]);
        agent.free.named.get(name).is_some() && agent.free.named.take(&one).is_none()
    };
    request.iter().find(lacks).map(|(name, _)| name.clone())
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall(name) => write!(f, "too small in {name}"),
            Self::Excluded(constraint) => write!(f, "excluded by `{constraint}`"),
            Self::Busy(name) => write!(f, "busy in {name}"),
            Self::NotOffered => f.write_str("not offered"),
            Self::Room => f.write_str("with room, where others go first"),
        }
    }
}

impl fmt::Display for Explanation {
    /// In a line, such as `12 agents too small in mem, 3 excluded by "zone == b"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.waiting == 0 {
            return f.write_str("no task waits for a place");
        }
        if self.held {
            return f
                .write_str("set aside for some seconds, because the offers service refused a grant for it");
        }
        if self.agents.is_empty() {
            return f.write_str("there are no agents");
        }
        for (place, (hindrance, count)) in self.agents.iter().enumerate() {
            match (place, count) {
                (0, 1) => write!(f, "1 agent {hindrance}")?,
                (0, _) => write!(f, "{count} agents {hindrance}")?,
                _ => write!(f, ", {count} {hindrance}")?,
            }
        }
        Ok(())
    }
}
