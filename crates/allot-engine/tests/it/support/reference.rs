//! The policies once more, as plainly as they can be said: one task at a time, everything looked at each time.

use std::collections::BTreeMap;

use allot_engine::{Backfill, Order, Placement, Policy, Rank};
use allot_model::constraint::Candidate;
use allot_model::{PoolAgent, PoolJob, QueueLimit, QueueName, Request, ResourceName, Resources};

use super::{AgentTruth, Cluster, JobTruth, Placed, holding};

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
    let (has, whole) = state.share(queue);
    match &policy.rank {
        // By the policy it is not a part of anything, as all have the same whole.
        Rank::Fair { resource } => (has, whole * state.total(resource)),
        _ => (has, whole),
    }
}

/// True where a job waits in the same line as another, before it.
pub(crate) fn comes_before(policy: &Policy, job: &JobTruth, other: &JobTruth) -> bool {
    let order = |job: &JobTruth| job_order(policy, &job.facts);
    let same_line = policy.rank == Rank::Line || job.facts.queue == other.facts.queue;
    same_line && !job.pending.is_empty() && order(job) < order(other)
}

fn job_order(policy: &Policy, job: &PoolJob) -> (i64, u64, u64) {
    let priority = if policy.order == Order::Priority { i64::from(job.priority) } else { 0 };
    (-priority, job.submitted_at.as_micros(), job.job.0)
}

struct State<'a> {
    policy: &'a Policy,
    agents: Vec<AgentTruth>,
    jobs: Vec<JobTruth>,
    weights: &'a BTreeMap<QueueName, u32>,
    limits: &'a BTreeMap<QueueName, QueueLimit>,
}

impl<'a> State<'a> {
    fn of(policy: &'a Policy, cluster: &'a Cluster) -> Self {
        let (agents, jobs) = (cluster.agents.values().cloned(), cluster.jobs.values().cloned());
        let Cluster { weights, limits, .. } = cluster;
        Self { policy, agents: agents.collect(), jobs: jobs.collect(), weights, limits }
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
        let strict = self.policy.rank == Rank::Line && self.policy.backfill == Backfill::None;
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

    /// The nearest queue at or above a job's that may not have one more task of it.
    fn limit_on(&self, job: usize) -> Option<QueueName> {
        let facts = &self.jobs[job].facts;
        let exceeded = |(above, limit): &(&QueueName, &QueueLimit)| {
            let held = holding(self.jobs.iter(), above.as_str());
            limit.exceeded(&held, &facts.resources.as_scalars(), 1).is_some()
        };
        let mut limits = facts.queue.lineage().filter_map(|above| self.limits.get_key_value(above));
        limits.find(exceeded).map(|(above, _)| above.clone())
    }

    /// The jobs that may be next, best first.
    fn candidates(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> =
            (0..self.jobs.len()).filter(|j| !self.jobs[*j].pending.is_empty()).collect();
        waiting.sort_by_key(|j| job_order(self.policy, &self.jobs[*j].facts));
        if self.policy.rank == Rank::Line {
            return waiting;
        }
        let mut queues: Vec<QueueName> = waiting.iter().map(|j| self.jobs[*j].facts.queue.clone()).collect();
        queues.sort();
        queues.dedup();
        queues.sort_by(|a, b| {
            let ((n1, d1), (n2, d2)) = (self.share(a), self.share(b));
            (n1 * d2).cmp(&(n2 * d1)).then_with(|| a.cmp(b))
        });
        let of_queue = |queue: &QueueName| {
            let most = if self.policy.backfill == Backfill::None { 1 } else { usize::MAX };
            let jobs = waiting.iter().copied().filter(|j| self.jobs[*j].facts.queue == *queue);
            jobs.take(most).collect::<Vec<_>>()
        };
        queues.iter().flat_map(of_queue).collect()
    }

    /// A queue's share as a fraction; what the pool has none of counts as more than everything.
    fn share(&self, queue: &QueueName) -> (u128, u128) {
        let weight = u128::from(self.weights.get(queue).copied().unwrap_or(1));
        let used = |name: &ResourceName| {
            let jobs = self.jobs.iter().filter(|job| job.facts.queue == *queue);
            let runs = jobs.flat_map(|job| &job.running);
            runs.map(|(_, tasks, slice, _)| u128::from(slice.total(name)) * u128::from(tasks.count()))
                .sum::<u128>()
        };
        if let Rank::Fair { resource } = &self.policy.rank {
            return (used(resource), weight);
        }
        let names = self.jobs.iter().flat_map(|job| job.facts.resources.iter().map(|(name, _)| name.clone()));
        let mut largest = (0, 1);
        for name in names {
            let (has, whole) = (used(&name), self.total(&name) * weight);
            if has > 0 && has * largest.1 > largest.0 * whole {
                largest = (has, whole);
            }
        }
        largest
    }

    fn total(&self, name: &ResourceName) -> u128 {
        self.agents.iter().map(|agent| u128::from(agent.facts.total.total(name))).sum()
    }

    fn agent_for(&self, job: usize) -> Option<usize> {
        let facts = &self.jobs[job].facts;
        let fits =
            |a: &usize| fits(&self.agents[*a], &facts.resources) && allows(&self.agents[*a].facts, facts);
        let fitting = (0..self.agents.len()).filter(fits);
        match self.policy.placement {
            Placement::FirstFit => fitting.min_by_key(|a| &self.agents[*a].facts.agent),
            Placement::BestFit => {
                fitting.min_by_key(|a| (self.measure(&self.agents[*a].free), &self.agents[*a].facts.agent))
            }
        }
    }

    /// What is free beside the largest agent, summed over all resources, in parts of 2^31.
    fn measure(&self, free: &Resources) -> u64 {
        let largest = |name| self.agents.iter().map(|agent| agent.facts.total.total(name)).max().unwrap();
        free.iter().map(|(name, amount)| (amount.total() << 31) / largest(name)).sum()
    }
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

/// True where a task of the job has room on some agent, and its queue may have it.
pub(crate) fn fits_anywhere(cluster: &Cluster, job: &PoolJob) -> bool {
    limit_on(cluster, job).is_none()
        && cluster.agents.values().any(|agent| fits(agent, &job.resources) && allows(&agent.facts, job))
}
