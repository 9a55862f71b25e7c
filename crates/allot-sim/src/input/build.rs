//! A workload in the making: gives everything that is named its number.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{AgentId, PoolAgent, QueueGuarantee, QueueLimit, QueueName, Request, Time};

use crate::workload::{Agent, Asks, Change, Happening, Job, Queue, Workload};

/// A workload in the making.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub(crate) workload: Workload,
    queues: BTreeMap<QueueName, u32>,
    agents: BTreeMap<AgentId, u32>,
    asks: BTreeMap<(Request, Vec<String>, Option<String>), u32>,
}

/// The number that the next item of a list will have.
fn next<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

impl Builder {
    /// The number of a queue, which has weight 1 and no limit where it is new.
    pub(crate) fn queue(&mut self, name: &QueueName) -> u32 {
        if let Some(number) = self.queues.get(name) {
            return *number;
        }
        let number = next(&self.workload.queues);
        let (name, limit, guarantee) = (name.clone(), QueueLimit::default(), QueueGuarantee::default());
        self.queues.insert(name.clone(), number);
        self.workload.queues.push(Queue { name, weight: 1, limit, guarantee });
        number
    }

    /// The number of an agent.
    pub(crate) fn agent(&mut self, id: &AgentId) -> u32 {
        if let Some(number) = self.agents.get(id) {
            return *number;
        }
        let number = next(&self.workload.agents);
        self.agents.insert(id.clone(), number);
        self.workload.agents.push(Agent { id: id.clone() });
        number
    }

    /// The number of what tasks ask for.
    pub(crate) fn asks(&mut self, asks: Asks) -> u32 {
        let texts = asks.constraints.iter().map(ToString::to_string).collect();
        let key = (asks.request.clone(), texts, asks.same.clone());
        if let Some(number) = self.asks.get(&key) {
            return *number;
        }
        let number = next(&self.workload.asks);
        self.asks.insert(key, number);
        self.workload.asks.push(asks);
        number
    }

    /// An agent is like this from then on.
    pub(crate) fn agent_is(&mut self, at: Time, facts: PoolAgent) {
        let agent = self.agent(&facts.agent);
        self.change(at, Happening::Agent { agent, facts: Arc::new(facts) });
    }

    pub(crate) fn change(&mut self, at: Time, what: Happening) {
        self.workload.changes.push(Change { at, what });
    }

    /// A job is submitted. Returns its number.
    pub(crate) fn submit(&mut self, job: Job) -> u32 {
        self.workload.jobs.push(job);
        next(&self.workload.jobs) - 1
    }

    pub(crate) fn finish(self) -> Workload {
        self.workload
    }
}
