//! Which of two lives of an agent it is. One that may still run tasks is not given up for another that says that it is
//! the same agent: a machine that was set up anew, or a second one under the same id.

use allot_model::{AgentFacts, Hello, Incarnation, Time};

use crate::RegistryCore;
use crate::agent::Agent;

/// A life that wants to join while another of the same agent may go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newcomer {
    incarnation: Incarnation,
    /// When it first said hello.
    since: Time,
}

/// Whether a life may be what its agent is from now on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It may.
    Holds,
    /// That is seen once the other life says something, or has been silent for the timeout.
    Waits,
    /// It may not; why, and what to do.
    Fails(String),
}

impl RegistryCore {
    /// Judges a hello. The known life is over where the new one knows that it is, or where it has been silent for the
    /// timeout; where it says anything after the new one has first said hello, there are two.
    pub(crate) fn claim(&mut self, now: Time, hello: &Hello) -> Claim {
        let AgentFacts { id, incarnation, .. } = &*hello.facts;
        let other = |agent: &&Agent| agent.is_there() && agent.facts.incarnation != *incarnation;
        let Some(known) = self.agents.get(id).filter(other) else { return Claim::Holds };
        if known.past.contains(incarnation) {
            return Claim::Fails(format!(
                "agent {id} has begun another life since this one: if two agents run under this id, give each its own; if \
                 its data directory was put back from a copy, remove it"
            ));
        }
        if hello.ended.contains(&known.facts.incarnation) {
            return Claim::Holds;
        }
        let newcomer = Newcomer { incarnation: *incarnation, since: now };
        let newcomer = match self.newcomers.get(id) {
            Some(before) if before.incarnation == *incarnation => *before,
            _ => newcomer,
        };
        self.newcomers.insert(id.clone(), newcomer);
        match self.heard.get(id) {
            Some(heard_at) if *heard_at > newcomer.since => Claim::Fails(format!(
                "another agent runs under the id {id}, on host {}: give this one an id of its own, or stop the other",
                known.facts.host
            )),
            _ => Claim::Waits,
        }
    }
}
