//! An agent as the ledger tells it.

use std::collections::VecDeque;
use std::sync::Arc;

use allot_model::{AgentFacts, AgentState, Incarnation, RegistryRecord, Time};

/// How many of an agent's lives are remembered.
const MOST_PAST: usize = 16;

/// How far an operator's drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Not wanted.
    No,
    /// Nothing new goes there; tasks are still there, to be killed where `kill` is set.
    Under { kill: bool },
    /// Nothing is there any more; `kill` as it was.
    Over { kill: bool },
}

/// An agent that has joined at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) facts: Arc<AgentFacts>,
    /// Its last lives before this one, oldest first: what comes late from one of them does not bring it back while this one
    /// is there.
    pub(crate) past: VecDeque<Incarnation>,
    pub(crate) joined_at: Time,
    pub(crate) changed_at: Time,
    /// Silent for the timeout.
    pub(crate) away: bool,
    /// Declared gone by an operator.
    pub(crate) gone: bool,
    pub(crate) drain: Drain,
    /// How many attempts hold an allocation on it.
    pub(crate) attempts: u64,
}

impl Agent {
    pub(crate) fn new(at: Time, facts: Arc<AgentFacts>) -> Self {
        Self {
            facts,
            past: VecDeque::new(),
            joined_at: at,
            changed_at: at,
            away: false,
            gone: false,
            drain: Drain::No,
            attempts: 0,
        }
    }

    /// What it is from now on, perhaps in another life.
    pub(crate) fn become_known_as(&mut self, facts: &Arc<AgentFacts>) {
        let before = std::mem::replace(&mut self.facts, facts.clone()).incarnation;
        if before != facts.incarnation {
            self.past.retain(|past| *past != facts.incarnation);
            if self.past.len() == MOST_PAST {
                self.past.pop_front();
            }
            self.past.push_back(before);
        }
    }

    /// True where signs of life are expected of it.
    pub(crate) fn is_there(&self) -> bool {
        !self.away && !self.gone
    }

    /// The record by which its drain moves on. It moves back where an allocation was committed before the offers
    /// service had read of the drain.
    pub(crate) fn settle(&self) -> Option<RegistryRecord> {
        let agent = || self.facts.id.clone();
        match self.drain {
            _ if !self.is_there() => None,
            Drain::Under { .. } if self.attempts == 0 => {
                Some(RegistryRecord::AgentDrained { agent: agent() })
            }
            Drain::Over { kill } if self.attempts > 0 => {
                Some(RegistryRecord::AgentDraining { agent: agent(), kill })
            }
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> AgentState {
        match self.drain {
            _ if self.gone => AgentState::Gone,
            _ if self.away => AgentState::Unreachable,
            Drain::No => AgentState::Ready,
            Drain::Under { .. } => AgentState::Draining,
            Drain::Over { .. } => AgentState::Drained,
        }
    }
}
