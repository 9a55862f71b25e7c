//! The cluster that a scenario is played in: its agents, which are modelled here, and commands to its services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_agent::{DirectedAgent, StageClock};
use allot_bus::Subject;
use allot_model::view::{AgentState, AgentView, Done, JobList, JobsQuery, PolicyView};
use allot_model::{
    AgentFacts, AgentId, AllocatorMode, Amount, AttemptId, Command, Incarnation, JobFile, JobId, JobSpec,
    JobState, PolicyName, PoolAgent, PoolName, QueueName, Resources, Time,
};
use allot_sim::{Asks, Happening, Job, Workload};
use serde_json::{Value, json};

use super::known::Entitled;
use crate::client::Client;
use crate::failure::Failure;

/// How often a task is placed again whose agent has left, or that was stopped for another, where that may be.
const RETRIES: u32 = 1_000;

/// The cluster.
pub(super) struct Stage {
    client: Client,
    clock: StageClock,
    /// What the scenario calls 0.
    began: Time,
    agents: BTreeMap<AgentId, OnStage>,
    /// The most that each agent ever has.
    most: BTreeMap<AgentId, Resources>,
    lives: u64,
}

/// An agent that is there.
struct OnStage {
    agent: DirectedAgent,
    facts: AgentFacts,
    draining: bool,
}

impl Stage {
    /// A cluster in which nothing is but an allocator of this policy, for the agents of a workload.
    ///
    /// # Errors
    /// Where it has agents or jobs, has no such allocator, or does not answer.
    pub(super) async fn empty(
        client: &Client,
        workload: &Workload,
        policy: &PolicyName,
    ) -> Result<Self, Failure> {
        need_allocator(client, policy).await?;
        refuse_agents(client).await?;
        refuse_jobs(client).await?;
        let began = allot_shell::clock::now();
        let stage = Self {
            client: client.clone(),
            clock: StageClock::default(),
            began,
            agents: BTreeMap::new(),
            most: most(workload),
            lives: began.as_micros(),
        };
        stage.time_is(Time::ZERO);
        Ok(stage)
    }

    /// It is this time in the scenario.
    pub(super) fn time_is(&self, now: Time) {
        self.clock.set(self.began + now.since(Time::ZERO));
    }

    /// The task of this attempt ends.
    pub(super) fn end(&self, agent: &AgentId, attempt: AttemptId) {
        self.agents.get(agent).into_iter().for_each(|there| there.agent.end(attempt));
    }

    /// The agent is like this from now on; it joins where it is not there.
    ///
    /// # Errors
    /// Where the registry refuses or does not answer.
    pub(super) async fn agent(&mut self, facts: &PoolAgent) -> Result<(), Failure> {
        let id = &facts.agent;
        if let Some(there) = self.agents.get_mut(id) {
            there.facts.resources = facts.total.clone();
            there.facts.attributes = facts.attributes.clone();
            there.agent.become_like(there.facts.clone());
        } else {
            self.join(facts);
        }
        let was_draining = self
            .agents
            .get_mut(id)
            .is_some_and(|there| std::mem::replace(&mut there.draining, facts.draining));
        match (was_draining, facts.draining) {
            (false, true) => self.command(Subject::AgentDrain(id.clone()), json!({})).await,
            (true, false) => self.command(Subject::AgentUndrain(id.clone()), json!({})).await,
            _ => Ok(()),
        }
    }

    fn join(&mut self, facts: &PoolAgent) {
        self.lives += 1;
        let facts = AgentFacts {
            id: facts.agent.clone(),
            incarnation: Incarnation(self.lives),
            host: facts.host.clone(),
            resources: facts.total.clone(),
            attributes: facts.attributes.clone(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let most = self.most.get(&facts.id).cloned().unwrap_or_default();
        let nats = self.client.bus().client().clone();
        let agent = DirectedAgent::start(nats, facts.clone(), most, self.clock.clone());
        self.agents.insert(facts.id.clone(), OnStage { agent, facts, draining: false });
    }

    /// The agent leaves.
    ///
    /// # Errors
    /// Where the registry refuses or does not answer.
    pub(super) async fn leave(&mut self, agent: &AgentId) -> Result<(), Failure> {
        self.agents.remove(agent);
        self.command(Subject::AgentGone(agent.clone()), json!({})).await
    }

    /// All agents leave.
    ///
    /// # Errors
    /// As [`Stage::leave`].
    pub(super) async fn clear(&mut self) -> Result<(), Failure> {
        while let Some((agent, _)) = self.agents.pop_first() {
            self.command(Subject::AgentGone(agent), json!({})).await?;
        }
        Ok(())
    }

    /// Submits a job.
    ///
    /// # Errors
    /// Where the inbox does not take it.
    pub(super) async fn submit(
        &self,
        queue: &QueueName,
        name: &str,
        job: &Job,
        asks: &Asks,
    ) -> Result<JobId, Failure> {
        let spec = JobSpec {
            name: Some(name.to_owned()),
            resources: asks.request.clone(),
            tasks: job.tasks,
            priority: job.priority,
            constraints: asks.constraints.clone(),
            retries: if job.preemptible { RETRIES } else { 0 },
            backoff: allot_model::Span::ZERO,
            estimate: job.estimate,
            deadline: job.deadline.map(|at| at.since(job.submit)),
            min_tasks: job.min_tasks,
            same: asks.same.clone(),
            ..JobSpec::new(Command::Argv(vec!["true".to_owned()]))
        };
        let file = JobFile { queue: None, spec };
        let payload = serde_json::to_vec(&file.to_json()).map_err(Failure::internal)?;
        let subject = Subject::Submit(queue.clone());
        Ok(self.client.submit(&subject, payload, None).await?.job)
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// Where the dispatcher refuses or does not answer.
    pub(super) async fn cancel(&self, job: JobId) -> Result<(), Failure> {
        self.command(Subject::JobCancel(job), json!({})).await
    }

    /// A queue is entitled to this from now on.
    ///
    /// # Errors
    /// Where the dispatcher refuses or does not answer.
    pub(super) async fn queue(&self, queue: &QueueName, to: &Entitled) -> Result<(), Failure> {
        let Entitled { weight, limit, guarantee } = to;
        let command = json!({
            "queue": queue,
            "weight": weight,
            "no_limit": true,
            "limit": limit.to_json(),
            "no_guarantee": true,
            "guarantee": guarantee.least.to_json(),
            "hold_back": guarantee.hold_back,
        });
        self.command(Subject::QueuesSet, command).await
    }

    async fn command(&self, subject: Subject, command: Value) -> Result<(), Failure> {
        self.client.ask::<Done>(&subject, &command).await.map(drop)
    }
}

async fn need_allocator(client: &Client, policy: &PolicyName) -> Result<(), Failure> {
    let view: PolicyView = client.ask(&Subject::PoolPolicy(PoolName::default_pool()), &json!({})).await?;
    let may_decide = view.allocators.iter().filter(|allocator| allocator.mode == AllocatorMode::Standby);
    let there: BTreeSet<&str> = may_decide.map(|allocator| allocator.policy.as_str()).collect();
    if there.contains(policy.as_str()) {
        return Ok(());
    }
    let names = there.into_iter().collect::<Vec<_>>().join(", ");
    Err(Failure::failed(format!(
        "no allocator of policy {policy} is heard from (there are: {}): start one, or name one that is there with \
         --allocator",
        if names.is_empty() { "none" } else { &names }
    )))
}

async fn refuse_agents(client: &Client) -> Result<(), Failure> {
    let agents = client.agents().await?;
    let there = |view: &&AgentView| matches!(view.state, AgentState::Ready | AgentState::Draining);
    let there: Vec<String> = agents.iter().filter(there).map(|view| view.agent.to_string()).collect();
    if there.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the cluster has agents of its own ({}), on which tasks of the scenario would be placed: run it in a cluster \
         without, such as that of `allot up --agents 0`",
        there.join(", ")
    )))
}

async fn refuse_jobs(client: &Client) -> Result<(), Failure> {
    let states = vec![JobState::Waiting, JobState::Queued, JobState::Running, JobState::Killing];
    let query = JobsQuery { states, limit: 1, ..JobsQuery::default() };
    let list: JobList = client.ask(&Subject::JobsList, &query).await?;
    match list.jobs.first() {
        None => Ok(()),
        Some(job) => Err(Failure::failed(format!(
            "the cluster has jobs of its own, such as {}, which would be placed beside those of the scenario: wait for \
             them, or cancel them",
            job.job
        ))),
    }
}

/// The most that each agent ever has of everything.
fn most(workload: &Workload) -> BTreeMap<AgentId, Resources> {
    let mut most: BTreeMap<AgentId, Resources> = BTreeMap::new();
    for change in &workload.changes {
        let Happening::Agent { facts, .. } = &change.what else { continue };
        let facts: &Arc<PoolAgent> = facts;
        let most = most.entry(facts.agent.clone()).or_default();
        for (name, amount) in facts.total.iter() {
            if amount.total() > most.get(name).map_or(0, Amount::total) {
                most.set(name.clone(), amount.clone());
            }
        }
    }
    most
}
