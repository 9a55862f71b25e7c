//! What it costs to place a task on an agent, where that depends on both: the least is preferred. Exact integers.

use crate::choice::{part_of, ratio};
use crate::contest::NOWHERE;
use crate::dims::{CPUS, Dim, GPUS, Vector};
use crate::fleet::Agent;
use crate::mix::{TaskMix, Vacancy};
use crate::placement::Placement;
use crate::policy::AgentKey;
use crate::ranked::Ranked;
use crate::room::{Room, without};
use crate::shape::Shape;
use crate::slab::Slab;
use crate::tenants::Tenants;
use allot_model::resources::WHOLE;

/// Half of what costs can be: what costs nothing where there are gains as well.
const EVEN: i128 = 1 << 100;

/// All that costs depend on.
pub(crate) struct Costs<'a> {
    placement: Placement,
    pub(crate) agents: &'a Slab<Agent>,
    listed: &'a Ranked<AgentKey, Room>,
    largest: &'a Vector,
    tenants: &'a Tenants,
    mix: &'a mut TaskMix,
    /// What is left of each gpu of an agent, before and after.
    before: Vec<u64>,
    after: Vec<u64>,
}

/// What a task asks for of the resources that placements look at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    cpus: u64,
    gpus: u64,
}

impl<'a> Costs<'a> {
    pub(crate) fn new(
        placement: Placement,
        agents: &'a Slab<Agent>,
        listed: &'a Ranked<AgentKey, Room>,
        largest: &'a Vector,
        tenants: &'a Tenants,
        mix: &'a mut TaskMix,
    ) -> Self {
        let (before, after) = (Vec::new(), Vec::new());
        Self { placement, agents, listed, largest, tenants, mix, before, after }
    }

    pub(crate) fn asked(&self, shape: &Shape) -> Asked {
        Asked { cpus: shape.need.get(CPUS), gpus: shape.need.get(GPUS) }
    }

    /// What a task of the shape costs on an agent.
    pub(crate) fn of(&mut self, slot: u32, shape: &Shape, asked: Asked) -> u128 {
        let agent = &self.agents[slot];
        if !self.listed.contains(slot) || !agent.holds(shape) {
            return NOWHERE;
        }
        match self.placement {
            Placement::Alignment => u128::MAX / 2 - alignment(agent, shape),
            Placement::DotProduct => self.dot_product(agent, asked),
            Placement::Packing => self.packing(agent, asked.gpus),
            Placement::Clustering => self.clustering(agent, asked.gpus),
            Placement::Fgd => self.fragments(slot, agent, shape, asked.gpus),
            // These do not go by what a task costs.
            Placement::FirstFit
            | Placement::BestFit
            | Placement::WorstFit
            | Placement::GpuBestFit
            | Placement::Random { .. } => 0,
        }
    }

    /// `free cpus / most cpus * asked cpus / most cpus`, and the same of gpus, on one scale.
    fn dot_product(&self, agent: &Agent, asked: Asked) -> u128 {
        let of = |dim: Dim, asked: u64| {
            let (free, most) = ratio(agent.free.amounts.get(dim), self.largest.get(dim));
            let (asked, _) = ratio(asked, self.largest.get(dim));
            (u128::from(free) * u128::from(asked), u128::from(most))
        };
        let ((cpus, all_cpus), (gpus, all_gpus)) = (of(CPUS, asked.cpus), of(GPUS, asked.gpus));
        cpus * all_gpus * all_gpus + gpus * all_cpus * all_cpus
    }

    fn packing(&mut self, agent: &Agent, gpus: u64) -> u128 {
        if gpus == 0 {
            return 0;
        }
        agent.free.gpus(&mut self.before);
        let idle = self.before.iter().rev().take_while(|left| **left == WHOLE).count() as u64;
        let share = self.before.iter().find(|left| **left >= gpus && **left < WHOLE);
        match share {
            _ if idle * WHOLE >= agent.total.get(GPUS) => step(2, idle),
            Some(left) => step(0, *left),
            None => step(1, 0),
        }
    }

    fn clustering(&self, agent: &Agent, gpus: u64) -> u128 {
        let Some(facts) = agent.facts.as_ref().filter(|_| gpus > 0) else { return 0 };
        let company = self.tenants.company(&facts.agent, gpus);
        step(company as u64, agent.free.amounts.get(GPUS))
    }

    fn fragments(&mut self, slot: u32, agent: &Agent, shape: &Shape, gpus: u64) -> u128 {
        agent.free.gpus(&mut self.before);
        let free = |dim: Dim| agent.free.amounts.get(dim);
        let rest = |dim: Dim| free(dim).saturating_sub(shape.need.get(dim));
        let devices = if gpus == 0 {
            &self.before
        } else {
            without(&self.before, gpus, &mut self.after);
            &self.after
        };
        let (before, after) =
            (Vacancy { amount: free, devices: &self.before }, Vacancy { amount: rest, devices });
        let growth = self.mix.growth(slot, agent.classes(), &before, &after);
        u128::try_from(EVEN + growth).unwrap_or(0)
    }
}

/// The product of what is asked for and what is free, each as a part of all that the agent has, in parts of 2^62.
fn alignment(agent: &Agent, shape: &Shape) -> u128 {
    let product = |(dim, asked): (Dim, u64)| {
        let (free, total) = (agent.free.amounts.get(dim), agent.total.get(dim));
        u128::from(part_of(asked, total)) * u128::from(part_of(free, total))
    };
    shape.need.iter().map(product).sum()
}

/// What costs more the higher the step, and on the same step the larger the amount.
fn step(step: u64, amount: u64) -> u128 {
    u128::from(step) << 64 | u128::from(amount)
}
