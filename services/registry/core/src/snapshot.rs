//! The registry's state as the items of a snapshot, and back.

use allot_model::{DrainState, RegistryAgentState, StateItem};

use crate::RegistryCore;
use crate::agent::{Agent, Drain};

impl RegistryCore {
    /// All that it knows from the ledger, in items: a new core that is given them is as if it had folded every record.
    pub fn snapshot(&self) -> impl Iterator<Item = StateItem> + '_ {
        self.agents.values().map(|agent| StateItem::RegistryAgent(save(agent)))
    }

    /// Takes an item of a snapshot; those of other services mean nothing.
    pub(crate) fn restore(&mut self, item: StateItem) {
        if let StateItem::RegistryAgent(state) = item {
            self.agents.insert(state.facts.id.clone(), load(state));
        }
    }
}

fn save(agent: &Agent) -> RegistryAgentState {
    let Agent { facts, past, joined_at, changed_at, away, gone, drain, attempts } = agent;
    let (drain, kill) = match *drain {
        Drain::No => (None, false),
        Drain::Under { kill } => (Some(DrainState::Under), kill),
        Drain::Over { kill } => (Some(DrainState::Over), kill),
    };
    RegistryAgentState {
        facts: facts.clone(),
        joined_at: *joined_at,
        changed_at: *changed_at,
        away: *away,
        gone: *gone,
        drain,
        kill,
        attempts: *attempts,
        past: past.iter().copied().collect(),
    }
}

fn load(state: RegistryAgentState) -> Agent {
    let RegistryAgentState { facts, joined_at, changed_at, away, gone, drain, kill, attempts, past } = state;
    let drain = match drain {
        None => Drain::No,
        Some(DrainState::Under) => Drain::Under { kill },
        Some(DrainState::Over) => Drain::Over { kill },
    };
    Agent { facts, past: past.into(), joined_at, changed_at, away, gone, drain, attempts }
}
