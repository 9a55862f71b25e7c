//! Agents that are only modelled: they join, beat, and finish `noop` tasks as a real agent does, with the same core,
//! and have no directory, no journal and no processes; other tasks run on them until they are told to stop. Thousands fit
//! in one process, to measure the control plane.
//!
//! The tasks of a [`directed`] one are any tasks; they end when whoever directs it says so.

pub(crate) mod directed;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use allot_agent_core::{AgentCore, Input, Output, Settings};
use allot_bus::Subject;
use allot_model::{AgentFacts, AgentId, Beat, Core, Incarnation, OrderBatch, Span, Welcome};
use allot_proto::Wire;
use allot_shell::{Bus, Shutdown, clock};
use async_nats::connection::State;
use async_nats::{Client, Message};
use futures::StreamExt;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::agent::LAST_WORDS;
use crate::{Config, machine};
use directed::Directions;

/// Runs as many modelled agents as the configuration says, until told to stop.
pub(crate) async fn run(bus: Bus, config: &Config, shutdown: Shutdown) -> anyhow::Result<()> {
    info!(agents = config.modelled, "modelling agents: they run nothing");
    let mut running = JoinSet::new();
    for number in 1..=config.modelled {
        let agent = Modelled::new(bus.client().clone(), facts(config, number)?, None);
        running.spawn(agent.run(shutdown.clone()));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    tokio::time::timeout(LAST_WORDS.to_std(), bus.client().flush()).await.unwrap_or(Ok(()))?;
    Ok(())
}

/// As a real agent's, under an id of its own, and in a new life at each start.
fn facts(config: &Config, number: u32) -> anyhow::Result<AgentFacts> {
    let found = machine::Found { cpus: machine::cpus(), mem_bytes: machine::mem_bytes(), disk_bytes: 0 };
    Ok(AgentFacts {
        id: AgentId::new(&format!("{}-{number}", config.agent_id()?))?,
        incarnation: Incarnation(RandomState::new().build_hasher().finish()),
        host: config.host(),
        resources: config.total(&found)?,
        attributes: config.attributes.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

struct Modelled {
    client: Client,
    core: AgentCore,
    hello: String,
    beat: String,
    reports: String,
    orders: String,
    /// Where hellos and beats are answered.
    welcomes: String,
    /// What the core wants done and is not done yet.
    wanted: Vec<Output>,
    /// Who says when tasks end.
    directions: Option<Directions>,
}

impl Modelled {
    fn new(client: Client, facts: AgentFacts, directions: Option<Directions>) -> Self {
        let id = facts.id.clone();
        let settings = Settings { noop: true, output_wait: Span::ZERO };
        Self {
            hello: Subject::AgentHello(id.clone()).to_string(),
            beat: Subject::AgentBeat(id.clone()).to_string(),
            reports: Subject::AgentReports(id.clone()).to_string(),
            orders: Subject::AgentOrders(id).to_string(),
            welcomes: client.new_inbox(),
            core: AgentCore::new(Arc::new(facts), settings),
            client,
            wanted: Vec::new(),
            directions,
        }
    }

    async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut orders = self.client.subscribe(self.orders.clone()).await?;
        let mut welcomes = self.client.subscribe(self.welcomes.clone()).await?;
        self.give(Input::Resume);
        loop {
            self.carry_out().await?;
            let pause = self.pause();
            tokio::select! {
                Some(message) = orders.next() => self.on_orders(&message),
                Some(message) = welcomes.next() => self.on_welcome(&message),
                direction = directed::next(&mut self.directions) => match direction {
                    Some(direction) => self.follow(direction),
                    None => return Ok(()),
                },
                () = tokio::time::sleep(pause) => self.core.wake(clock::now(), &mut self.wanted),
                () = shutdown.wait() => return self.leave().await,
            }
        }
    }

    /// What it runs ends with it, and nobody is to wait for its silence.
    async fn leave(self) -> anyhow::Result<()> {
        if self.client.connection_state() == State::Connected {
            let AgentFacts { id, incarnation, .. } = self.core.facts().clone();
            let beat = Beat { agent: id, incarnation, leaving: true, trouble: None };
            self.client.publish(self.beat, beat.encode().into()).await?;
        }
        Ok(())
    }

    fn give(&mut self, input: Input) {
        self.core.handle(clock::now(), input, &mut self.wanted);
    }

    fn on_orders(&mut self, message: &Message) {
        match OrderBatch::decode(&message.payload) {
            Ok(batch) => self.give(Input::Orders(batch)),
            Err(error) => warn!(%error, "orders cannot be read, they are ignored"),
        }
    }

    fn on_welcome(&mut self, message: &Message) {
        // A message with a status says that nobody listens.
        if message.status.is_some() {
            return;
        }
        match Welcome::decode(&message.payload) {
            Ok(welcome) => self.give(Input::Welcome(welcome)),
            Err(error) => warn!(%error, "an answer of the registry cannot be read, it is ignored"),
        }
    }

    fn pause(&self) -> Duration {
        self.core.next_wake().map_or(Duration::MAX, |(at, _)| at.since(clock::now()).to_std())
    }

    async fn carry_out(&mut self) -> anyhow::Result<()> {
        while !self.wanted.is_empty() {
            for output in std::mem::take(&mut self.wanted) {
                self.carry_out_one(output).await?;
            }
        }
        Ok(())
    }

    async fn carry_out_one(&mut self, output: Output) -> anyhow::Result<()> {
        let (subject, reply, payload) = match output {
            // There is nothing to be remembered after this life.
            Output::Journal(_) | Output::TakeBack { .. } => return Ok(()),
            Output::Spawn { attempt, .. } => {
                self.spawn(attempt);
                return Ok(());
            }
            Output::Signal { attempt, .. } => {
                self.signal(attempt);
                return Ok(());
            }
            Output::Refused { message } => {
                warn!(message, "the registry does not take this agent");
                return Ok(());
            }
            Output::Hello(hello) => (&self.hello, Some(&self.welcomes), self.introduced(hello).encode()),
            Output::Beat(beat) => (&self.beat, Some(&self.welcomes), beat.encode()),
            Output::Report(batch) => (&self.reports, None, batch.encode()),
        };
        // What is said while nobody listens would pile up in memory. The core says it again.
        if self.client.connection_state() == State::Connected {
            match reply.cloned() {
                Some(reply) => {
                    self.client.publish_with_reply(subject.clone(), reply, payload.into()).await?;
                }
                None => self.client.publish(subject.clone(), payload.into()).await?,
            }
        }
        Ok(())
    }
}
