//! Places that are being made free for a job: what becomes free on the agent is held for it until its task fits there.

use std::collections::BTreeMap;

use allot_model::{AgentId, Epoch, GrantId, JobId, Preemption, Resources, Time, Victim};

use crate::dims::Need;

/// One place for one task of a job.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) job: JobId,
    pub(crate) agent: AgentId,
    pub(crate) need: Need,
    /// The items and ranges that it is to get, where that is known.
    pub(crate) named: Resources,
    /// Who is stopped for it.
    pub(crate) victims: Vec<Victim>,
    /// When it was asked for, until there is an answer.
    pub(crate) asked_at: Option<Time>,
    /// False from when a task on the agent has ended until it is told what is free there.
    pub(crate) settled: bool,
}

/// The place of a claim among others: those asked for first come first.
pub(crate) type ClaimKey = (Epoch, GrantId);

/// All claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    all: BTreeMap<ClaimKey, Claim>,
    by_agent: BTreeMap<AgentId, Vec<ClaimKey>>,
    by_job: BTreeMap<JobId, u64>,
}

impl Claims {
    pub(crate) fn begin(&mut self, key: ClaimKey, claim: Claim) {
        self.by_agent.entry(claim.agent.clone()).or_default().push(key);
        *self.by_job.entry(claim.job).or_insert(0) += 1;
        self.all.insert(key, claim);
    }

    pub(crate) fn end(&mut self, key: ClaimKey) -> Option<Claim> {
        let gone = self.all.remove(&key)?;
        if let Some(here) = self.by_agent.get_mut(&gone.agent) {
            here.retain(|other| *other != key);
            if here.is_empty() {
                self.by_agent.remove(&gone.agent);
            }
        }
        if let Some(count) = self.by_job.get_mut(&gone.job) {
            *count -= 1;
            if *count == 0 {
                self.by_job.remove(&gone.job);
            }
        }
        Some(gone)
    }

    /// It was committed. False where it is not known.
    pub(crate) fn confirm(&mut self, key: ClaimKey) -> bool {
        let known = self.all.get_mut(&key);
        known.map(|claim| claim.asked_at = None).is_some()
    }

    /// Tasks on an agent have ended: what is free there will be told.
    pub(crate) fn released(&mut self, agent: &AgentId) {
        self.settle(agent, false);
    }

    /// What is free on an agent has been told.
    pub(crate) fn offered(&mut self, agent: &AgentId) {
        self.settle(agent, true);
    }

    fn settle(&mut self, agent: &AgentId, settled: bool) {
        for key in self.by_agent.get(agent).into_iter().flatten() {
            self.all.get_mut(key).into_iter().for_each(|claim| claim.settled = settled);
        }
    }

    pub(crate) fn get(&self, key: ClaimKey) -> Option<&Claim> {
        self.all.get(&key)
    }

    pub(crate) fn keys(&self) -> Vec<ClaimKey> {
        self.all.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.all.values()
    }

    /// What claims on an agent hold: all, or those that come before one of them, which has what is left.
    pub(crate) fn on(&self, agent: &AgentId, before: Option<ClaimKey>) -> impl Iterator<Item = &Claim> {
        let here = self.by_agent.get(agent).into_iter().flatten();
        let earlier = here.filter(move |key| before.is_none_or(|before| **key < before));
        earlier.filter_map(|key| self.all.get(key))
    }

    /// True where none of another job comes before it on its agent.
    pub(crate) fn is_first(&self, key: ClaimKey, claim: &Claim) -> bool {
        let is_ours = |other: &ClaimKey| self.all.get(other).is_some_and(|other| other.job == claim.job);
        self.by_agent
            .get(&claim.agent)
            .is_none_or(|here| here.iter().all(|other| *other >= key || is_ours(other)))
    }

    /// Those of a job, the first first.
    pub(crate) fn keys_of(&self, job: JobId) -> Vec<ClaimKey> {
        self.all.iter().filter(|(_, claim)| claim.job == job).map(|(key, _)| *key).collect()
    }

    /// How many a job has.
    pub(crate) fn count_of(&self, job: JobId) -> u64 {
        self.by_job.get(&job).copied().unwrap_or(0)
    }

    /// When the first was asked for that has no answer yet.
    pub(crate) fn oldest_unanswered(&self) -> Option<Time> {
        self.all.values().filter_map(|claim| claim.asked_at).min()
    }
}

impl Claim {
    /// What was told of a preemption.
    pub(crate) fn told(preemption: Preemption, need: Need) -> Self {
        let Preemption { job, agent, victims, .. } = preemption;
        Self { job, agent, need, named: Resources::new(), victims, asked_at: None, settled: true }
    }
}
