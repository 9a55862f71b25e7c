//! State as a fold over the ledger: the same live and on replay.

use std::sync::Arc;

use allot_model::{AgentFacts, AgentId, DispatcherRecord, Entry, OffersRecord, Record, RegistryRecord, Time};

use crate::RegistryCore;
use crate::agent::{Agent, Drain};

impl RegistryCore {
    pub(crate) fn fold(&mut self, entry: &Entry) {
        match &entry.record {
            Record::Writer(_) => {}
            Record::Registry(record) => self.fold_own(entry.at, record),
            Record::Offers(OffersRecord::Allocated { placements, .. }) => {
                for placement in placements {
                    self.count(&placement.agent, |attempts| attempts + placement.run.tasks.count());
                }
            }
            Record::Dispatcher(
                DispatcherRecord::TasksEnded { agent, run, .. }
                | DispatcherRecord::AllocationReturned { agent, run },
            ) => self.count(agent, |attempts| attempts.saturating_sub(run.tasks.count())),
            Record::Offers(_) | Record::Dispatcher(_) => {}
        }
    }

    fn count(&mut self, id: &AgentId, change: impl FnOnce(u64) -> u64) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.attempts = change(agent.attempts);
        if agent.drain != Drain::No {
            self.unsettled.insert(id.clone());
        }
    }

    fn fold_own(&mut self, at: Time, record: &RegistryRecord) {
        match record {
            RegistryRecord::AgentJoined { facts } => self.fold_joined(at, facts),
            RegistryRecord::AgentUnreachable { agent } => self.change(at, agent, |a| a.away = true),
            RegistryRecord::AgentReturned { agent } => self.change(at, agent, |a| a.away = false),
            RegistryRecord::AgentDraining { agent, kill } => {
                self.change(at, agent, |a| a.drain = Drain::Under { kill: *kill });
            }
            RegistryRecord::AgentDrained { agent } => self.change(at, agent, |a| {
                let kill = a.drain == Drain::Under { kill: true };
                a.drain = Drain::Over { kill };
            }),
            RegistryRecord::AgentUndrained { agent } => self.change(at, agent, |a| a.drain = Drain::No),
            RegistryRecord::AgentGone { agent } => self.change(at, agent, |a| {
                a.gone = true;
                a.drain = Drain::No;
            }),
        }
    }

    fn fold_joined(&mut self, at: Time, facts: &Arc<AgentFacts>) {
        self.agents.entry(facts.id.clone()).or_insert_with(|| Agent::new(at, facts.clone()));
        self.change(at, &facts.id, |agent| {
            agent.become_known_as(facts);
            agent.joined_at = at;
            agent.away = false;
            agent.gone = false;
        });
        self.newcomers.remove(&facts.id);
        self.left.remove(&facts.id);
    }

    fn change(&mut self, at: Time, id: &AgentId, change: impl FnOnce(&mut Agent)) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        change(agent);
        agent.changed_at = at;
        self.unsettled.insert(id.clone());
        if !agent.is_there() {
            self.stop_listening(id);
        }
    }
}
