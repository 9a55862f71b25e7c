//! The registry as a pure state machine: it alone admits an agent, and calls it unreachable, gone or draining.
//!
//! What it knows of agents is a fold over its own records; how many attempts an agent holds, a fold over the others'.
//! When an agent was last heard from is soft: a new registry takes every agent as heard at the moment it takes over.
//! Silence counts only while the registry hears itself over the bus ([`hearing`]).

mod agent;
mod commands;
mod fold;
mod hearing;
mod lives;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{
    AgentFacts, AgentId, AgentView, AgentsQuery, Answer, Beat, Core, Done, DrainCommand, Entry, Epoch, Hello,
    Incarnation, Record, RegistryRecord, ReplyTo, Span, StateItem, Time, Welcome,
};

use agent::Agent;
pub use hearing::Echo;
use hearing::Hearing;
use lives::{Claim, Newcomer};

/// Everything that can happen to the registry.
#[derive(Debug, Clone)]
pub enum Input {
    /// A piece of a snapshot; they come before anything else.
    Restore(StateItem),
    /// A record of any writer from before this instance took over.
    Replay(Entry),
    /// A record of another writer.
    Ledger(Entry),
    /// Replay is over: this instance writes from now on.
    Resume {
        /// Its generation.
        epoch: Epoch,
    },
    /// An agent wants to join.
    Hello(ReplyTo, Hello),
    /// An agent is alive; answered only where it has to say hello first.
    Beat(Option<ReplyTo>, Beat),
    /// The registry hears what it said to itself.
    Echo(Echo),
    /// An operator wants nothing new on an agent.
    Drain(ReplyTo, AgentId, DrainCommand),
    /// An operator lets an agent work again.
    Undrain(ReplyTo, AgentId),
    /// An operator declares an agent gone for good.
    Gone(ReplyTo, AgentId),
    /// Someone asks for the agents.
    ListAgents(ReplyTo, AgentsQuery),
}

/// Everything the registry can want done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Append this record; what follows waits for it.
    Append(Record),
    /// Say this to ourselves, by the way that agents' words come.
    Echo(Echo),
    /// Answer an agent.
    Welcome(ReplyTo, Welcome),
    /// Answer a command.
    Done(ReplyTo, Answer<Done>),
    /// Answer a question.
    Agents(ReplyTo, Answer<Vec<AgentView>>),
}

/// Of what an agent says of its trouble, so many letters are kept.
const LONGEST_TROUBLE: usize = 300;

/// What may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long an agent may be silent before it is unreachable.
    pub agent_timeout: Span,
    /// How often agents are to say that they are alive.
    pub beat_every: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self { agent_timeout: Span::from_secs(15), beat_every: Span::from_secs(5) }
    }
}

/// The registry.
#[derive(Debug, Clone)]
pub struct RegistryCore {
    options: Options,
    agents: BTreeMap<AgentId, Agent>,
    /// This instance's generation; nothing until it writes.
    epoch: Option<Epoch>,
    /// Agents whose drain may have to move on.
    unsettled: BTreeSet<AgentId>,
    /// Soft: when each agent that is there was last heard from.
    heard: BTreeMap<AgentId, Time>,
    /// Soft: when each agent that is away was last heard from.
    missed: BTreeMap<AgentId, Time>,
    /// Soft: the same of those that are there, by time.
    silences: BTreeSet<(Time, AgentId)>,
    /// Soft: whether agents could be heard.
    hearing: Hearing,
    /// Soft: lives of agents that want to join while another of the same agent may go on.
    newcomers: BTreeMap<AgentId, Newcomer>,
    /// Soft: what keeps agents from working, as they last said.
    troubles: BTreeMap<AgentId, String>,
    /// Soft: lives of agents of which the last word was that they leave: nothing of them runs.
    left: BTreeMap<AgentId, Incarnation>,
}

impl RegistryCore {
    /// A registry that knows nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            agents: BTreeMap::new(),
            epoch: None,
            unsettled: BTreeSet::new(),
            heard: BTreeMap::new(),
            missed: BTreeMap::new(),
            silences: BTreeSet::new(),
            hearing: Hearing::new(options.agent_timeout),
            newcomers: BTreeMap::new(),
            troubles: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    fn append(&mut self, now: Time, record: RegistryRecord, out: &mut Vec<Output>) {
        let entry = Entry { at: now, record: Record::Registry(record) };
        self.fold(&entry);
        out.push(Output::Append(entry.record));
    }

    fn on_resume(&mut self, now: Time, epoch: Epoch, out: &mut Vec<Output>) {
        self.epoch = Some(epoch);
        self.hear_all(now);
        self.unsettled = self.agents.keys().cloned().collect();
        self.react(now, out);
    }

    /// A drain is over where nothing is allocated any more.
    fn react(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(id) = self.unsettled.pop_first() {
            if let Some(record) = self.agents.get(&id).and_then(Agent::settle) {
                self.append(now, record, out);
            }
        }
    }

    fn on_hello(&mut self, now: Time, reply: ReplyTo, hello: &Hello, out: &mut Vec<Output>) {
        let facts = &hello.facts;
        let id = &facts.id;
        if let Err(fault) = facts.check() {
            let message = format!("agent {id} cannot be as it says: {fault}");
            out.push(Output::Welcome(reply, Welcome::Refused { message }));
            return;
        }
        let known = self.agents.get(id);
        if known.is_some_and(|agent| agent.gone && agent.facts.incarnation == facts.incarnation) {
            let message = format!(
                "agent {id} was declared gone by an operator and its tasks are given up: remove its data directory, or \
                 give it another id, to let it join as a new agent"
            );
            out.push(Output::Welcome(reply, Welcome::Refused { message }));
            return;
        }
        match self.claim(now, hello) {
            Claim::Holds => {}
            Claim::Waits => return,
            Claim::Fails(message) => return out.push(Output::Welcome(reply, Welcome::Refused { message })),
        }
        match self.agents.get(id) {
            Some(agent) if agent.facts == *facts && agent.away && !agent.gone => {
                self.append(now, RegistryRecord::AgentReturned { agent: id.clone() }, out);
            }
            Some(agent) if agent.facts == *facts && !agent.gone => {}
            known => {
                // That the life before is over is not to be inferred from its silence.
                if known.is_some_and(|agent| agent.away && !agent.gone && self.is_known_over(agent, hello)) {
                    self.append(now, RegistryRecord::AgentReturned { agent: id.clone() }, out);
                }
                self.append(now, RegistryRecord::AgentJoined { facts: facts.clone() }, out);
            }
        }
        self.hear(now, id);
        let beat_every = self.options.beat_every;
        out.push(Output::Welcome(reply, Welcome::Admitted { beat_every }));
        self.react(now, out);
    }

    /// True where the last life of an agent has said that it is over, or the next one says so.
    fn is_known_over(&self, agent: &Agent, hello: &Hello) -> bool {
        let AgentFacts { id, incarnation, .. } = &*agent.facts;
        hello.ended.contains(incarnation) || self.left.get(id) == Some(incarnation)
    }

    fn on_beat(&mut self, now: Time, reply: Option<ReplyTo>, beat: &Beat, out: &mut Vec<Output>) {
        let known = self.agents.get(&beat.agent);
        let known = known.filter(|agent| agent.facts.incarnation == beat.incarnation && !agent.gone);
        match (known, reply) {
            // What it runs has ended, and what is sent to it is lost: nobody is to wait for its silence.
            (Some(agent), _) if beat.leaving => {
                let is_there = agent.is_there();
                self.miss(&beat.agent);
                self.left.insert(beat.agent.clone(), beat.incarnation);
                if is_there {
                    self.append(now, RegistryRecord::AgentUnreachable { agent: beat.agent.clone() }, out);
                }
            }
            (Some(agent), _) => {
                if agent.away {
                    self.append(now, RegistryRecord::AgentReturned { agent: beat.agent.clone() }, out);
                }
                self.hear(now, &beat.agent);
                let trouble =
                    beat.trouble.as_ref().map(|trouble| trouble.chars().take(LONGEST_TROUBLE).collect());
                self.troubles.extend(trouble.map(|trouble: String| (beat.agent.clone(), trouble)));
                self.react(now, out);
            }
            (None, Some(reply)) => out.push(Output::Welcome(reply, Welcome::HelloNeeded)),
            (None, None) => {}
        }
    }

    /// What was said while this instance heard nothing may be lost, and nobody's silence began before now.
    fn on_echo(&mut self, now: Time, echo: Echo) {
        if Some(echo.epoch) == self.epoch && self.hearing.hears_again(now, echo.at) {
            self.hear_all(now);
        }
    }

    /// Takes every agent that is there as heard now.
    fn hear_all(&mut self, now: Time) {
        // Nobody has said anything for that.
        self.newcomers.clear();
        let there: Vec<AgentId> =
            self.agents.iter().filter(|(_, agent)| agent.is_there()).map(|(id, _)| id.clone()).collect();
        there.iter().for_each(|id| self.hear(now, id));
    }

    /// Notes a sign of life.
    fn hear(&mut self, now: Time, id: &AgentId) {
        if self.silences.is_empty() {
            self.hearing.begin(now);
        }
        self.stop_listening(id);
        self.missed.remove(id);
        self.left.remove(id);
        self.troubles.remove(id);
        self.heard.insert(id.clone(), now);
        self.silences.insert((now, id.clone()));
    }

    fn stop_listening(&mut self, id: &AgentId) {
        if let Some(before) = self.heard.remove(id) {
            self.silences.remove(&(before, id.clone()));
        }
    }

    /// Nothing more is expected of it for now.
    fn miss(&mut self, id: &AgentId) {
        self.missed.extend(self.heard.get(id).map(|heard_at| (id.clone(), *heard_at)));
        self.stop_listening(id);
        self.troubles.remove(id);
    }

    /// When the next agent may have been silent for the timeout, as far as it could have been heard.
    fn next_silence(&self) -> Option<Time> {
        let (heard_at, _) = self.silences.first()?;
        Some(*heard_at + self.options.agent_timeout).filter(|silent_at| self.hearing.reaches(*silent_at))
    }

    /// Agents that have been silent for the timeout are unreachable.
    fn miss_silent(&mut self, now: Time, out: &mut Vec<Output>) {
        while self.next_silence().is_some_and(|silent_at| silent_at <= now)
            && let Some((_, id)) = self.silences.first().cloned()
        {
            self.miss(&id);
            if self.agents.get(&id).is_some_and(Agent::is_there) {
                self.append(now, RegistryRecord::AgentUnreachable { agent: id }, out);
            }
        }
    }

    fn views(&self, query: &AgentsQuery) -> Vec<AgentView> {
        let view = |(id, agent): (&AgentId, &Agent)| AgentView {
            agent: id.clone(),
            host: agent.facts.host.clone(),
            state: agent.state(),
            total: agent.facts.resources.to_json(),
            attributes: agent.facts.attributes.clone(),
            attempts: agent.attempts,
            joined_at: agent.joined_at,
            heard_at: self.heard.get(id).or(self.missed.get(id)).copied().unwrap_or(agent.changed_at),
            program_version: agent.facts.program_version.clone(),
            trouble: self.troubles.get(id).cloned(),
        };
        query.page(&self.agents).map(view).collect()
    }

    /// Checks every cross-reference; for tests and the simulator.
    ///
    /// # Panics
    /// Where something does not add up.
    pub fn sanity_check(&self) {
        let by_time: BTreeSet<(Time, AgentId)> =
            self.heard.iter().map(|(id, at)| (*at, id.clone())).collect();
        assert_eq!(by_time, self.silences, "signs of life by time");
        for (id, agent) in self.agents.iter().filter(|_| self.epoch.is_some()) {
            assert!(!agent.is_there() || self.heard.contains_key(id), "nobody listens for {id}");
            assert_eq!(agent.settle(), None, "the drain of {id} stands still");
        }
    }

    /// True where the durable state of both is the same.
    #[must_use]
    pub fn same_state(&self, other: &Self) -> bool {
        self.agents == other.agents
    }
}

impl Core for RegistryCore {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Restore(item) => self.restore(item),
            Input::Replay(entry) => self.fold(&entry),
            Input::Ledger(entry) => {
                self.fold(&entry);
                self.react(now, out);
            }
            Input::Resume { epoch } => self.on_resume(now, epoch, out),
            Input::Hello(reply, hello) => self.on_hello(now, reply, &hello, out),
            Input::Beat(reply, beat) => self.on_beat(now, reply, &beat, out),
            Input::Echo(echo) => self.on_echo(now, echo),
            Input::Drain(reply, agent, command) => self.on_drain(now, reply, &agent, command, out),
            Input::Undrain(reply, agent) => self.on_undrain(now, reply, &agent, out),
            Input::Gone(reply, agent) => self.on_gone(now, reply, &agent, out),
            Input::ListAgents(reply, query) => {
                out.push(Output::Agents(reply, Answer::Ok(self.views(&query))));
            }
        }
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(epoch) = self.epoch else { return };
        self.miss_silent(now, out);
        if !self.silences.is_empty() && self.hearing.speaks(now) {
            out.push(Output::Echo(Echo { epoch, at: now }));
        }
    }

    fn next_wake(&self) -> Option<(Time, &'static str)> {
        self.epoch?;
        let listens = !self.silences.is_empty();
        let silence = self.next_silence().map(|at| (at, "an agent may be silent"));
        let echo = listens.then(|| (self.hearing.speaks_at(), "hears itself"));
        silence.into_iter().chain(echo).min()
    }
}
