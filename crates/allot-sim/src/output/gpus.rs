//! GPUs at the end of a simulation: how many are held, and how many of the free ones are of no use.
//!
//! Fragmentation is that of FGD [Weng et al., USENIX ATC 2023, §3]: for each agent, the free GPU that a task drawn at
//! random from the workload could not use there, averaged over the kinds of tasks. A task that does not fit on the agent
//! can use none of it; one that fits cannot use devices with less left than it needs of one.

use std::collections::BTreeMap;

use allot_model::constraint::Candidate;
use allot_model::resources::WHOLE;
use allot_model::{Amount, PoolAgent, ResourceName, Resources};

use super::outcome::Outcome;
use crate::workload::{Asks, Workload};

/// GPUs of all agents at the end of a simulation, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gpus {
    /// All there are.
    pub total: u64,
    /// Those that tasks hold.
    pub held: u64,
    /// Those that are free and of no use, on average.
    pub useless: f64,
}

impl Gpus {
    /// What part is held.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn allocated(&self) -> f64 {
        self.held as f64 / self.total as f64
    }

    /// What part is free and of no use.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn fragmented(&self) -> f64 {
        self.useless / self.total as f64
    }
}

/// Counts GPUs; nothing where there are none.
#[allow(clippy::cast_precision_loss)]
pub(super) fn measure(workload: &Workload, outcome: &Outcome) -> Option<Gpus> {
    let name = ResourceName::new("gpus").ok()?;
    let agents: Vec<_> = workload.agents_at(outcome.ended_at).collect();
    let total: u64 = agents.iter().map(|agent| agent.total.total(&name)).sum();
    if total == 0 {
        return None;
    }
    let free = free_at_the_end(workload, outcome);
    let left: u64 = free.values().map(|free| free.total(&name)).sum();
    let kinds = kinds(workload);
    let jobs: f64 = kinds.iter().map(|(_, count)| *count as f64).sum();
    let mut useless = 0.0;
    for agent in agents {
        let Some(free) = free.get(agent.agent.as_str()) else { continue };
        let of_kind =
            |(asks, count): &(&Asks, u64)| *count as f64 * useless_to(asks, agent, free, &name) as f64;
        useless += kinds.iter().map(of_kind).sum::<f64>() / jobs.max(1.0);
    }
    Some(Gpus { total, held: total.saturating_sub(left), useless })
}

/// What tasks ask for, each kind with how many tasks of it there are.
fn kinds(workload: &Workload) -> Vec<(&Asks, u64)> {
    let mut counts = vec![0_u64; workload.asks.len()];
    for job in &workload.jobs {
        counts.get_mut(job.asks as usize).into_iter().for_each(|count| *count += u64::from(job.tasks));
    }
    workload.asks.iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

/// What is free on each agent.
fn free_at_the_end(workload: &Workload, outcome: &Outcome) -> BTreeMap<String, Resources> {
    let mut free: BTreeMap<String, Resources> = workload
        .agents_at(outcome.ended_at)
        .map(|agent| (agent.agent.to_string(), agent.total.clone()))
        .collect();
    for (number, stay) in (0_u32..).zip(&outcome.stays) {
        let Some(left) = stay.left() else { continue };
        let agent = workload.agents.get(stay.agent as usize);
        let Some(free) = agent.and_then(|agent| free.get_mut(agent.id.as_str())) else { continue };
        let slice = outcome.slice(workload, number);
        if let Some(held) = slice.and_then(|slice| slice.times(left.count())) {
            free.subtract_down(&held);
        }
    }
    free
}

/// How much of the free GPU of an agent a task of this kind cannot use.
fn useless_to(asks: &Asks, agent: &PoolAgent, free: &Resources, gpus: &ResourceName) -> u64 {
    let Some(there) = free.get(gpus) else { return 0 };
    let wanted = asks.request.get(gpus);
    let candidate = Candidate { id: &agent.agent, host: &agent.host, attributes: &agent.attributes };
    let allowed = asks.constraints.iter().all(|constraint| constraint.holds(candidate));
    if wanted == 0 || !allowed || free.take(&asks.request).is_none() {
        return there.total();
    }
    match there {
        Amount::Items(devices) => devices.values().filter(|left| **left < wanted.min(WHOLE)).sum(),
        _ => 0,
    }
}
