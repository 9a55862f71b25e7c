//! What the tasks on each agent ask for in gpus, for placements that bring equal ones together.

use std::collections::BTreeMap;

use allot_model::AgentId;
use allot_model::resources::WHOLE;

/// How many slots each kind of task holds on each agent, whether that is in the pool or not. Only tasks with gpus count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tenants(BTreeMap<AgentId, BTreeMap<u64, u64>>);

/// Who is on an agent, as a task sees it. The first is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Company {
    /// Only tasks that ask for as many gpus.
    Alike,
    /// Such and others.
    Mixed,
    /// Nobody.
    Empty,
    /// Only others.
    Other,
}

/// Tasks that ask for as many whole gpus are of a kind; those that ask for a share of one are another, whatever share.
fn kind(gpus: u64) -> u64 {
    gpus / WHOLE
}

impl Tenants {
    /// `slots` tasks that ask for so many thousandths of a gpu each hold that on the agent.
    pub(crate) fn add(&mut self, agent: &AgentId, gpus: u64, slots: u64) {
        if gpus == 0 || slots == 0 {
            return;
        }
        let kinds = match self.0.get_mut(agent) {
            Some(kinds) => kinds,
            None => self.0.entry(agent.clone()).or_default(),
        };
        let held = kinds.entry(kind(gpus)).or_insert(0);
        *held = held.saturating_add(slots);
    }

    /// They hold it no longer.
    pub(crate) fn remove(&mut self, agent: &AgentId, gpus: u64, slots: u64) {
        let Some(kinds) = self.0.get_mut(agent).filter(|_| gpus > 0) else { return };
        if let Some(held) = kinds.get_mut(&kind(gpus)) {
            *held = held.saturating_sub(slots);
        }
        kinds.retain(|_, held| *held > 0);
        if kinds.is_empty() {
            self.0.remove(agent);
        }
    }

    /// Who a task that asks for so many thousandths would find there.
    pub(crate) fn company(&self, agent: &AgentId, gpus: u64) -> Company {
        let Some(kinds) = self.0.get(agent) else { return Company::Empty };
        match (kinds.contains_key(&kind(gpus)), kinds.len()) {
            (true, 1) => Company::Alike,
            (true, _) => Company::Mixed,
            (false, _) => Company::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_one_kind_and_whole_gpus_of_a_kind_by_their_number() {
        let (mut tenants, m) = (Tenants::default(), AgentId::new("m").unwrap());
        assert_eq!(tenants.company(&m, 500), Company::Empty);
        tenants.add(&m, 500, 2);
        tenants.add(&m, 0, 1);
        assert_eq!((tenants.company(&m, 1), tenants.company(&m, 1_000)), (Company::Alike, Company::Other));
        tenants.add(&m, 2_000, 1);
        assert_eq!(
            (tenants.company(&m, 2_000), tenants.company(&m, 1_000)),
            (Company::Mixed, Company::Other)
        );
        tenants.remove(&m, 250, 1);
        tenants.remove(&m, 250, 1);
        assert_eq!(tenants.company(&m, 2_000), Company::Alike);
        tenants.remove(&m, 2_000, 9);
        tenants.remove(&m, 2_000, 1);
        assert_eq!(tenants.company(&m, 2_000), Company::Empty);
    }
}
