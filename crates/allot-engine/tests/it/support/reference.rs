//! The policies once more, as plainly as they can be said: one task at a time, everything looked at each time.

pub(crate) mod ahead;

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_engine::{Backfill, Placement, Policy, Rank};
use allot_model::constraint::Candidate;
use allot_model::{
    AgentId, PoolAgent, PoolJob, QueueGuarantee, QueueLimit, QueueName, Request, ResourceName, Resources,
    Time,
};

use super::orders::compare_jobs;
use super::{AgentTruth, Cluster, JobTruth, Placed, holding, placing};

/// What the policy would place, task by task.
pub(crate) fn place_all(policy: &Policy, cluster: &Cluster) -> Vec<Placed> {
    let mut state = State::of(policy, cluster);
    let mut placed = Vec::new();
    while let Some(next) = state.place_one() {
        placed.push(next);
    }
    placed
}

/// What a queue has of what there is, over its weight, as a fraction.
pub(crate) fn share(policy: &Policy, cluster: &Cluster, queue: &QueueName) -> (u128, u128) {
    let state = State::of(policy, cluster);
    let weight = u128::from(state.weight(queue.as_str()));
    let used = |name: &ResourceName| state.used(name, &|of| of == queue);
    match &policy.rank {
        Rank::Fair { resource } => (used(resource), state.total(resource) * weight),
        _ => state.dominant(&|of| of == queue, weight),
    }
}

/// True where a job waits in the same line as another, before it.
pub(crate) fn comes_before(policy: &Policy, now: Time, job: &JobTruth, other: &JobTruth) -> bool {
    let same_line = policy.rank == Rank::Line || job.facts.queue == other.facts.queue;
    same_line && !job.pending.is_empty() && compare_jobs(policy, now, &job.facts, &other.facts).is_lt()
}

/// What a queue, or a queue with all below it, is ranked by.
pub(crate) type Fraction = (u128, u128);

#[derive(Clone)]
pub(crate) struct State<'a> {
    pub(crate) policy: &'a Policy,
    cluster: &'a Cluster,
    agents: Vec<AgentTruth>,
    jobs: Vec<JobTruth>,
    weights: &'a BTreeMap<QueueName, u32>,
    limits: &'a BTreeMap<QueueName, QueueLimit>,
    guarantees: &'a BTreeMap<QueueName, QueueGuarantee>,
}

impl<'a> State<'a> {
    pub(crate) fn of(policy: &'a Policy, cluster: &'a Cluster) -> Self {
        let (agents, jobs) = (cluster.agents.values().cloned(), cluster.jobs.values().cloned());
        let Cluster { weights, limits, guarantees, .. } = cluster;
        Self { policy, cluster, agents: agents.collect(), jobs: jobs.collect(), weights, limits, guarantees }
    }

    fn place_one(&mut self) -> Option<Placed> {
        let (job, agent) = self.next()?;
        let request = self.jobs[job].facts.resources.clone();
        let slice = self.agents[agent].free.take(&request).unwrap();
        self.agents[agent].free.subtract(&slice).unwrap();
        let task = self.jobs[job].pending.take_first(1)[0];
        let id = self.agents[agent].facts.agent.clone();
        self.jobs[job].running.push((id.clone(), task, slice, 1));
        let facts = &self.jobs[job].facts;
        Some(Placed { queue: facts.queue.clone(), job: facts.job, task: task.first, agent: id })
    }

    /// The first job that has a place and may have it, and where. Where the line is strict, nobody goes ahead of a job
    /// that fits nowhere, and of one that a limit holds back nobody to whom the same limit applies.
    fn next(&self) -> Option<(usize, usize)> {
        let strict = self.is_strict();
        if !strict && self.guarantees.values().any(|guarantee| !guarantee.is_none()) {
            return self.next_with_guarantees();
        }
        let mut closed: Vec<QueueName> = Vec::new();
        for job in self.candidates() {
            let queue = &self.jobs[job].facts.queue;
            if closed.iter().any(|limited| queue.is_within(limited.as_str())) {
                continue;
            }
            match (self.limit_on(job), self.agent_for(job)) {
                (Some(limited), _) if strict => closed.push(limited),
                (Some(_), _) => {}
                (None, Some(agent)) => return Some((job, agent)),
                (None, None) if strict => return None,
                (None, None) => {}
            }
        }
        None
    }

    /// True where all stand in one line and nobody goes ahead of the first.
    fn is_strict(&self) -> bool {
        self.policy.rank == Rank::Line && self.policy.backfill == Backfill::None
    }

    /// The first job by what is guaranteed, of those that have a place and may have it.
    fn next_with_guarantees(&self) -> Option<(usize, usize)> {
        let candidates = self.candidates().into_iter();
        let may = |j: &usize| self.limit_on(*j).is_none() && !self.takes_what_is_kept(*j, |_| 0);
        let placeable: Vec<usize> = candidates.filter(|j| may(j) && self.agent_for(*j).is_some()).collect();
        let job = self.first_of(&placeable)?;
        Some((job, self.agent_for(job)?))
    }

    /// Which of these, that are in order, comes first by what is guaranteed.
    fn first_of(&self, jobs: &[usize]) -> Option<usize> {
        if self.guarantees.values().all(|guarantee| guarantee.is_none()) {
            jobs.first().copied()
        } else if self.policy.rank == Rank::Line {
            self.first_within(None, jobs)
        } else {
            self.first_at("", jobs)
        }
    }

    /// How many tasks of a job are placed at a time.
    fn count(&self, job: usize) -> u64 {
        u64::from(self.jobs[job].facts.min_tasks.max(1))
    }

    /// Which of these, that are in order, comes first in a queue, or in the whole: what is guaranteed to queues below it
    /// before all else.
    fn first_within(&self, queue: Option<&QueueName>, jobs: &[usize]) -> Option<usize> {
        let place = |job: &usize| jobs.iter().position(|other| other == job);
        let mut below: Vec<&QueueName> = jobs.iter().filter_map(|j| self.outermost(queue, *j)).collect();
        below.sort();
        below.dedup();
        let of = |inner: &QueueName, only_covered: bool| {
            let here = |j: &&usize| self.outermost(queue, **j) == Some(inner);
            let covered = |j: &&usize| !only_covered || self.covers(inner, **j);
            jobs.iter().filter(here).filter(covered).copied().collect::<Vec<_>>()
        };
        let first_of = |only_covered: bool| {
            below.iter().filter_map(move |inner| self.first_within(Some(inner), &of(inner, only_covered)))
        };
        let assured = first_of(true).min_by_key(place);
        let others = jobs.iter().copied().filter(|j| self.outermost(queue, *j).is_none());
        assured.or_else(|| others.chain(first_of(false)).min_by_key(place))
    }

    /// Which of these comes first at or below a queue, which is none for all: part by part, and at each the parts in which
    /// something is guaranteed before the others.
    fn first_at(&self, above: &str, jobs: &[usize]) -> Option<usize> {
        let below = |(name, own, jobs): (String, bool, Vec<usize>)| {
            if own { jobs.first().copied() } else { self.first_at(&name, &jobs) }
        };
        let assured = self.first_assured_at(above, jobs);
        assured.or_else(|| self.parts_in_order(above, jobs).into_iter().find_map(below))
    }

    /// The same of what is guaranteed to queues below.
    fn first_assured_at(&self, above: &str, jobs: &[usize]) -> Option<usize> {
        let below = |(name, own, jobs): (String, bool, Vec<usize>)| {
            let guaranteed = self.guarantees.get_key_value(name.as_str()).filter(|(_, g)| !g.is_none());
            match guaranteed {
                _ if own => None,
                None => self.first_assured_at(&name, &jobs),
                Some((queue, _)) => {
                    let covered: Vec<usize> = jobs.into_iter().filter(|j| self.covers(queue, *j)).collect();
                    self.first_at(&name, &covered)
                }
            }
        };
        self.parts_in_order(above, jobs).into_iter().find_map(below)
    }

    /// The parts of a queue with these jobs, first to last, each with its jobs in order.
    fn parts_in_order(&self, above: &str, jobs: &[usize]) -> Vec<(String, bool, Vec<usize>)> {
        let mut queues: Vec<QueueName> = jobs.iter().map(|j| self.jobs[*j].facts.queue.clone()).collect();
        queues.sort();
        queues.dedup();
        let mut parts = parts_of(above, &queues);
        parts.sort_by(|(a, own_a, _), (b, own_b, _)| {
            compare(self.key(a, *own_a), self.key(b, *own_b)).then_with(|| a.cmp(b))
        });
        let with_jobs = |(name, own, queues): (String, bool, Vec<QueueName>)| {
            let here = jobs.iter().copied().filter(|j| queues.contains(&self.jobs[*j].facts.queue));
            (name, own, here.collect())
        };
        parts.into_iter().map(with_jobs).collect()
    }

    /// The outermost queue with a guarantee above a job, below this queue.
    fn outermost(&self, below: Option<&QueueName>, job: usize) -> Option<&QueueName> {
        let above =
            self.jobs[job].facts.queue.lineage().filter_map(|name| self.guarantees.get_key_value(name));
        let guaranteed = above.filter(|(_, guarantee)| !guarantee.is_none()).map(|(name, _)| name);
        let inside =
            |name: &&QueueName| below.is_none_or(|below| name.is_within(below.as_str()) && *name != below);
        guaranteed.filter(inside).min_by_key(|name| name.as_str().len())
    }

    /// True where the next tasks of the job are within the guarantee of a queue.
    fn covers(&self, queue: &QueueName, job: usize) -> bool {
        let slice = self.jobs[job].facts.resources.as_scalars();
        self.guarantees[queue].covers(&holding(self.jobs.iter(), queue.as_str()), &slice, self.count(job))
    }

    /// True where the next tasks of the job would take of what is kept for queues, its own aside where it is guaranteed, and
    /// were so much more free.
    fn takes_what_is_kept(&self, job: usize, more: impl Fn(&ResourceName) -> u64) -> bool {
        let own = self.outermost(None, job).filter(|own| self.keeps(own) && self.covers(own, job));
        let keeps = self.guarantees.keys().filter(|queue| self.keeps(queue));
        let keeps: Vec<&QueueName> = keeps.collect();
        let short = |(name, asked): (&ResourceName, u64)| {
            let free: u64 = self.agents.iter().map(|agent| agent.free.total(name)).sum();
            let lacks = |queue: &&QueueName| {
                let least = self.guarantees[*queue].least.resources.get(name).copied().unwrap_or(0);
                let limit = self.limits.get(*queue).and_then(|limit| limit.resources.get(name));
                let least = limit.map_or(least, |most| least.min(*most));
                least.saturating_sub(holding(self.jobs.iter(), queue.as_str()).of(name))
            };
            let is_own = own.is_some_and(|own| self.guarantees[own].least.resources.contains_key(name));
            let kept: u64 = keeps.iter().map(lacks).sum();
            asked > 0 && !is_own && (free + more(name)).saturating_sub(kept) < asked * self.count(job)
        };
        !keeps.is_empty() && self.jobs[job].facts.resources.iter().any(short)
    }

    /// The same of a queue by its name.
    fn keeps_for(&self, name: &str) -> bool {
        self.guarantees.get_key_value(name).is_some_and(|(queue, _)| self.keeps(queue))
    }

    /// True where what a queue does not use is kept for it: the outermost that has a guarantee.
    fn keeps(&self, queue: &QueueName) -> bool {
        let guaranteed = |name: &str| self.guarantees.get(name).is_some_and(|g| !g.is_none());
        let limit = self.limits.get(queue).cloned().unwrap_or_default();
        let outermost = !queue.lineage().any(|above| above != queue.as_str() && guaranteed(above));
        outermost && guaranteed(queue.as_str()) && self.guarantees[queue].is_held_back(&limit)
    }

    /// The nearest queue at or above a job's that may not have one more task of it.
    fn limit_on(&self, job: usize) -> Option<QueueName> {
        self.limit_on_many(job, 1)
    }

    /// The same for so many tasks.
    fn limit_on_many(&self, job: usize, tasks: u64) -> Option<QueueName> {
        let facts = &self.jobs[job].facts;
        let exceeded = |(above, limit): &(&QueueName, &QueueLimit)| {
            let held = holding(self.jobs.iter(), above.as_str());
            limit.exceeded(&held, &facts.resources.as_scalars(), tasks).is_some()
        };
        let mut limits = facts.queue.lineage().filter_map(|above| self.limits.get_key_value(above));
        limits.find(exceeded).map(|(above, _)| above.clone())
    }

    /// The jobs that may be next, best first.
    fn candidates(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> =
            (0..self.jobs.len()).filter(|j| !self.jobs[*j].pending.is_empty()).collect();
        let now = self.cluster.now;
        waiting.sort_by(|a, b| compare_jobs(self.policy, now, &self.jobs[*a].facts, &self.jobs[*b].facts));
        if self.policy.rank == Rank::Line {
            return waiting;
        }
        let mut queues: Vec<QueueName> = waiting.iter().map(|j| self.jobs[*j].facts.queue.clone()).collect();
        queues.sort();
        queues.dedup();
        self.in_order("", &queues).iter().flat_map(|queue| self.jobs_of(queue, &waiting)).collect()
    }

    /// The jobs of a queue that may be next, best first, of those that wait.
    fn jobs_of(&self, queue: &QueueName, waiting: &[usize]) -> Vec<usize> {
        let most = if self.policy.backfill == Backfill::None { 1 } else { usize::MAX };
        waiting.iter().copied().filter(|j| self.jobs[*j].facts.queue == *queue).take(most).collect()
    }

    /// True where nothing of a queue can be placed now.
    fn is_blocked(&self, queue: &QueueName) -> bool {
        let mut waiting: Vec<usize> =
            (0..self.jobs.len()).filter(|j| !self.jobs[*j].pending.is_empty()).collect();
        let now = self.cluster.now;
        waiting.sort_by(|a, b| compare_jobs(self.policy, now, &self.jobs[*a].facts, &self.jobs[*b].facts));
        let may = |job: &usize| self.limit_on(*job).is_none() && !self.takes_what_is_kept(*job, |_| 0);
        let can_go = |job: &usize| may(job) && self.agent_for(*job).is_some();
        !self.jobs_of(queue, &waiting).iter().any(can_go)
    }

    /// The waiting queues at or below one, which is none for all, in the order in which they are served: part by part.
    fn in_order(&self, above: &str, waiting: &[QueueName]) -> Vec<QueueName> {
        let mut parts = parts_of(above, waiting);
        parts.sort_by(|(a, own_a, _), (b, own_b, _)| {
            compare(self.key(a, *own_a), self.key(b, *own_b)).then_with(|| a.cmp(b))
        });
        let below = |(name, own, queues): (String, bool, Vec<QueueName>)| {
            if own { queues } else { self.in_order(&name, &queues) }
        };
        parts.into_iter().flat_map(below).collect()
    }

    /// By what a part is ranked: a queue's own jobs, or a queue with all below it.
    fn key(&self, name: &str, own: bool) -> Fraction {
        let is_part = |queue: &QueueName| if own { queue.as_str() == name } else { queue.is_within(name) };
        let weighs = if own { 1 } else { self.weight(name) };
        let weight = u128::from(weighs);
        match &self.policy.rank {
            Rank::Fair { resource } => (self.used(resource, &is_part), weight),
            Rank::Asset => self.sum(&is_part, weight),
            Rank::Hdrf => self.blend(name, own).map_or((0, 1), |((has, whole), _)| (has, whole * weight)),
            Rank::Usage { half_life } => (self.cluster.used_so_far(name, own, *half_life, weighs), 1),
            _ => self.dominant(&is_part, weight),
        }
    }

    pub(crate) fn weight(&self, name: &str) -> u32 {
        self.weights.iter().find(|(queue, _)| queue.as_str() == name).map_or(1, |(_, weight)| *weight)
    }

    /// What part of the pool some queues have of their dominant resource.
    pub(crate) fn dominant(&self, is_part: &dyn Fn(&QueueName) -> bool, weight: u128) -> Fraction {
        let shares = self.shares(is_part).into_iter().map(|(has, whole)| (has, whole * weight));
        shares.fold((0, 1), |most, share| if compare(share, most).is_gt() { share } else { most })
    }

    fn sum(&self, is_part: &dyn Fn(&QueueName) -> bool, weight: u128) -> Fraction {
        let mut sum = 0;
        for (has, whole) in self.shares(is_part).into_iter().filter(|(has, _)| *has > 0) {
            match (has * UNIT).checked_div(whole) {
                Some(part) => sum += part,
                None => return (has, 0),
            }
        }
        (sum, UNIT * weight)
    }

    /// What the nodes of the queue tree count as under `hdrf`, before their own weight, and which way they go: all that
    /// can be placed in them as if each part had what the least has. Nothing where all of it is blocked.
    fn blend(&self, name: &str, own: bool) -> Option<(Fraction, Vec<u128>)> {
        let is_part = |queue: &QueueName| if own { queue.as_str() == name } else { queue.is_within(name) };
        if own {
            let queue = self.jobs.iter().map(|job| &job.facts.queue).find(|queue| is_part(queue))?;
            let (has, whole) = self.dominant(&is_part, 1);
            let beside = |(h, w): Fraction| match (h, w, has, whole) {
                (_, _, 0, _) => 0,
                (0, 0, ..) => 0,
                (_, 0, ..) => UNIT,
                (_, _, _, 0) => 0,
                _ => h * whole * UNIT / (w * has),
            };
            let direction = self.shares(&is_part).into_iter().map(beside).collect();
            return (!self.is_blocked(queue)).then_some(((has, whole), direction));
        }
        let waiting: Vec<QueueName> = self.waiting().into_iter().filter(|queue| is_part(queue)).collect();
        let mut least: Option<Fraction> = None;
        let mut sum: Vec<u128> = Vec::new();
        for (part, own, _) in parts_of(name, &waiting) {
            let weight = u128::from(if own { 1 } else { self.weight(&part) });
            let Some(((has, whole), direction)) = self.blend(&part, own) else { continue };
            let share = (has, whole * weight);
            least =
                Some(least.map_or(share, |least| if compare(share, least).is_lt() { share } else { least }));
            sum.resize(direction.len(), 0);
            sum.iter_mut().zip(direction).for_each(|(sum, part)| *sum += part * weight);
        }
        let ((has, whole), most) = (least?, sum.iter().copied().max().unwrap_or(0));
        if has == 0 || most == 0 {
            return Some(((has, whole), vec![0; sum.len()]));
        }
        let common = greatest_divisor(most, UNIT);
        let direction = sum.iter().map(|part| part * UNIT / most).collect();
        Some(((has * (most / common), whole * (UNIT / common)), direction))
    }

    fn waiting(&self) -> Vec<QueueName> {
        let waiting = self.jobs.iter().filter(|job| !job.pending.is_empty());
        let mut queues: Vec<QueueName> = waiting.map(|job| job.facts.queue.clone()).collect();
        queues.sort();
        queues.dedup();
        queues
    }

    /// What some queues have of each resource beside what there is.
    fn shares(&self, is_part: &dyn Fn(&QueueName) -> bool) -> Vec<Fraction> {
        let asked = self.jobs.iter().flat_map(|job| job.facts.resources.iter().map(|(name, _)| name.clone()));
        let names: std::collections::BTreeSet<ResourceName> = asked.collect();
        let share = |name| match self.used(name, is_part) {
            0 => (0, 1),
            used => (used, self.total(name)),
        };
        names.iter().map(share).collect()
    }

    fn used(&self, name: &ResourceName, is_part: &dyn Fn(&QueueName) -> bool) -> u128 {
        let runs = self.jobs.iter().filter(|job| is_part(&job.facts.queue)).flat_map(|job| &job.running);
        runs.map(|(_, tasks, slice, _)| u128::from(slice.total(name)) * u128::from(tasks.count())).sum()
    }

    fn total(&self, name: &ResourceName) -> u128 {
        self.agents.iter().map(|agent| u128::from(agent.facts.total.total(name))).sum()
    }

    fn agent_for(&self, job: usize) -> Option<usize> {
        let facts = &self.jobs[job].facts;
        let fits =
            |a: &usize| fits(&self.agents[*a], &facts.resources) && allows(&self.agents[*a].facts, facts);
        let fitting: Vec<usize> = (0..self.agents.len()).filter(fits).collect();
        placing::choose(self.policy.placement, &self.agents, &self.jobs, job, &fitting)
    }

    /// An agent's place among those with room: the smaller is preferred.
    fn preference(&self, agent: usize) -> (u64, &AgentId) {
        let agent = &self.agents[agent];
        let free = match self.policy.placement {
            Placement::BestFit => self.measure(&agent.free),
            _ => 0,
        };
        (free, &agent.facts.agent)
    }

    /// A gang of the job has been placed: its other tasks go one by one.
    fn set_placed(&mut self, job: usize) {
        let facts = &mut self.jobs[job].facts;
        if facts.min_tasks > 1 {
            *facts = Arc::new(PoolJob { min_tasks: 1, ..(**facts).clone() });
        }
    }

    /// What is free beside the largest agent, summed over all resources, in [`PARTS`].
    fn measure(&self, free: &Resources) -> u64 {
        let largest = |name| self.agents.iter().map(|agent| agent.facts.total.total(name)).max().unwrap();
        free.iter().map(|(name, amount)| amount.total() * super::PARTS / largest(name)).sum()
    }
}

/// What a direction is in parts of.
const UNIT: u128 = 51_840_000 * 52_055_003;

/// The parts of a queue, which is none for all: its own jobs, and the queues right below it with all below them, as far as
/// something waits there.
fn parts_of(above: &str, waiting: &[QueueName]) -> Vec<(String, bool, Vec<QueueName>)> {
    let mut parts: BTreeMap<String, (bool, Vec<QueueName>)> = BTreeMap::new();
    for queue in waiting {
        let own = queue.as_str() == above;
        let rest = queue.as_str().strip_prefix(above).unwrap().trim_start_matches('.');
        let next = rest.split('.').next().unwrap();
        let name = if above.is_empty() || own { [above, next].concat() } else { [above, ".", next].concat() };
        parts.entry(name).or_insert((own, Vec::new())).1.push(queue.clone());
    }
    parts.into_iter().map(|(name, (own, queues))| (name, own, queues)).collect()
}

/// Compares fractions without a product; a denominator of 0 is more than everything.
pub(crate) fn compare(left: Fraction, right: Fraction) -> std::cmp::Ordering {
    match (left.1, right.1) {
        (0, 0) => return std::cmp::Ordering::Equal,
        (0, _) => return std::cmp::Ordering::Greater,
        (_, 0) => return std::cmp::Ordering::Less,
        _ => {}
    }
    let whole = (left.0 / left.1).cmp(&(right.0 / right.1));
    whole.then_with(|| match (left.0 % left.1, right.0 % right.1) {
        (0, 0) => std::cmp::Ordering::Equal,
        (0, _) => std::cmp::Ordering::Less,
        (_, 0) => std::cmp::Ordering::Greater,
        (a, b) => compare((right.1, b), (left.1, a)),
    })
}

fn greatest_divisor(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

pub(crate) fn fits(agent: &AgentTruth, request: &Request) -> bool {
    agent.free.take(request).is_some()
}

pub(crate) fn allows(agent: &PoolAgent, job: &PoolJob) -> bool {
    let candidate = Candidate { id: &agent.agent, host: &agent.host, attributes: &agent.attributes };
    job.constraints.iter().all(|constraint| constraint.holds(candidate))
}

/// The nearest queue at or above a job's that may not have one more task of it.
pub(crate) fn limit_on(cluster: &Cluster, job: &PoolJob) -> Option<QueueName> {
    let place = cluster.jobs.keys().position(|id| *id == job.job)?;
    State::of(cluster.engine.policy(), cluster).limit_on(place)
}

/// True where a task of the job would take of what is kept for queues.
pub(crate) fn takes_what_is_kept(cluster: &Cluster, job: &PoolJob) -> bool {
    let state = State::of(cluster.engine.policy(), cluster);
    let place = cluster.jobs.keys().position(|id| *id == job.job);
    !state.is_strict() && place.is_some_and(|place| state.takes_what_is_kept(place, |_| 0))
}

/// True where a task of the job has room on some agent, and its queue may have it.
pub(crate) fn fits_anywhere(cluster: &Cluster, job: &PoolJob) -> bool {
    limit_on(cluster, job).is_none()
        && !takes_what_is_kept(cluster, job)
        && cluster.agents.values().any(|agent| fits(agent, &job.resources) && allows(&agent.facts, job))
}

pub(crate) mod victims;
pub(crate) use victims::victims;
