//! Answers to questions of people.

use std::collections::BTreeMap;

use allot_model::view::lowest_terms;
use allot_model::{
    AgentUse, AgentsQuery, Amount, HoldBack, QueueGuarantee, QueueLimit, QueueName, QueueView, ResourceName,
    Resources,
};

use crate::OffersCore;
use crate::agents::Standing;
use crate::demand::Account;

impl OffersCore {
    pub(crate) fn usage(&self, query: &AgentsQuery) -> Vec<AgentUse> {
        let view = |(id, agent): (&allot_model::AgentId, &crate::agents::Agent)| AgentUse {
            agent: id.clone(),
            total: agent.facts.resources.to_json(),
            allocated: agent.allocated.to_json(),
            free: agent.free.to_json(),
            available: agent.standing == Standing::Ready,
        };
        query.page(&self.agents).map(view).collect()
    }

    pub(crate) fn queue_views(&self) -> Vec<QueueView> {
        let total = self.pool_total();
        let view = |(queue, account): (&QueueName, &Account)| {
            let (limit, held) = (self.demand.limits.of(queue), self.demand.limits.held(queue));
            let QueueGuarantee { least: guarantee, hold_back } = self.demand.limits.guarantee(queue);
            let (preempting, preempted) = self.preempted_for_and_of(queue);
            let view = queue_view(queue, account, &total);
            QueueView { limit, guarantee, hold_back, held, preempting, preempted, ..view }
        };
        self.demand.queues.iter().map(view).collect()
    }

    /// What all agents of the pool have together.
    fn pool_total(&self) -> BTreeMap<ResourceName, u64> {
        let mut total: BTreeMap<ResourceName, u64> = BTreeMap::new();
        for agent in self.agents.values().filter(|agent| agent.in_pool()) {
            for (name, amount) in agent.facts.resources.iter() {
                let sum = total.entry(name.clone()).or_insert(0);
                *sum = sum.saturating_add(amount.total());
            }
        }
        total
    }
}

fn queue_view(queue: &QueueName, account: &Account, total: &BTreeMap<ResourceName, u64>) -> QueueView {
    let share = |(name, held): (&ResourceName, &u64)| Some((name.clone(), *held, *total.get(name)?));
    let dominant =
        account.allocated.iter().filter_map(share).filter(|(_, _, whole)| *whole > 0).max_by(|a, b| {
            // held a / total a against held b / total b; of equal shares the first name.
            let left = u128::from(a.1) * u128::from(b.2);
            let right = u128::from(b.1) * u128::from(a.2);
            left.cmp(&right).then_with(|| b.0.cmp(&a.0))
        });
    let allocated: Resources =
        account.allocated.iter().map(|(name, held)| (name.clone(), Amount::Scalar(*held))).collect();
    QueueView {
        queue: queue.clone(),
        weight: account.weight(),
        limit: QueueLimit::default(),
        guarantee: QueueLimit::default(),
        hold_back: HoldBack::default(),
        held: QueueLimit::default(),
        jobs: account.jobs,
        running: account.running,
        pending: account.pending,
        preempting: 0,
        preempted: 0,
        allocated: allocated.to_json(),
        dominant_resource: dominant.as_ref().map(|(name, _, _)| name.to_string()),
        dominant_share: dominant.map_or([0, 1], |(_, held, whole)| lowest_terms(held, whole)),
    }
}
