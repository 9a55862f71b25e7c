//! A whole cluster in a test: every core on one virtual clock, over a bus that delivers at once and in order, so that a
//! test reads as a story. What goes wrong is what the story says: a way that is cut, a process that does not start.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod machine;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use allot_agent_core as agent;
use allot_dispatcher_core as dispatcher;
use allot_engine as engine;
use allot_model::job_file::parse_submission;
use allot_model::{
    AgentFacts, AgentId, AgentView, AgentsQuery, AllocatorMessage, Answer, Attributes, Core, Done,
    DrainCommand, Entry, Epoch, Feed, FeedItem, FromAllocator, Hello, Incarnation, InstanceId, JobId,
    JobQuery, JobView, PolicyName, Presence, QueueName, Record, ReplyTo, Resources, Span, Time, Writer,
};
use allot_offers_core as offers;
use allot_registry_core as registry;
use serde_json::Value;

pub use machine::Machine;

/// How often agents say that they are alive.
pub const BEAT: Span = Span::from_secs(15);
/// How long an agent may be silent: five beats.
pub const TIMEOUT: Span = Span::from_secs(75);
/// When every story begins.
const START: Time = Time::from_micros(1_000_000_000);

/// A message on its way.
enum Mail {
    Registry(registry::Input),
    Offers(offers::Input),
    Dispatcher(dispatcher::Input),
    Allocator(engine::Input),
    Agent(AgentId, agent::Input),
}

/// A cluster of one registry, offers service, dispatcher and allocator, and as many agents as the story needs.
pub struct Cluster {
    /// What every clock says.
    pub now: Time,
    /// The agents, and what runs on each.
    pub machines: BTreeMap<AgentId, Machine>,
    /// Every record in the order of the ledger.
    pub ledger: Vec<Entry>,
    /// What commands were answered.
    pub answers: Vec<Answer<Done>>,
    /// The offers service, to be asked.
    pub offers: offers::OffersCore,
    registry: registry::RegistryCore,
    dispatcher: dispatcher::DispatcherCore,
    allocator: engine::Engine,
    /// What the feed said last of what is free on each agent.
    offered: BTreeMap<AgentId, Resources>,
    mail: VecDeque<Mail>,
    submitted: u64,
}

/// The id of an agent.
#[must_use]
pub fn id(text: &str) -> AgentId {
    text.parse().unwrap()
}

fn reply(text: &str) -> ReplyTo {
    ReplyTo(text.into())
}

fn allocator() -> InstanceId {
    "allocator-1".parse().unwrap()
}

impl Cluster {
    /// A cluster whose allocator runs `drf` and decides already.
    #[must_use]
    pub fn new() -> Self {
        let options = registry::Options { agent_timeout: TIMEOUT, beat_every: BEAT };
        let mut cluster = Self {
            now: START,
            machines: BTreeMap::new(),
            ledger: Vec::new(),
            answers: Vec::new(),
            offers: offers::OffersCore::new(offers::Options::default()),
            registry: registry::RegistryCore::new(options),
            dispatcher: dispatcher::DispatcherCore::new(dispatcher::Options::default()),
            allocator: engine::Engine::new(allocator(), engine::Policy::parse("drf").unwrap()),
            offered: BTreeMap::new(),
            mail: VecDeque::new(),
            submitted: 0,
        };
        let epoch = Epoch(1);
        cluster.send(Mail::Registry(registry::Input::Resume { epoch }));
        cluster.send(Mail::Offers(offers::Input::Resume { epoch }));
        cluster.send(Mail::Dispatcher(dispatcher::Input::Resume { epoch }));
        cluster.settle();
        cluster
    }

    /// An agent with these resources, such as `{"cpus": 2, "mem": "1GB"}`, joins.
    pub fn join(&mut self, name: &str, resources: &str) {
        self.start(name, 1, resources);
    }

    /// The agent of this name starts in this life with an empty journal: a new one, or one that knows nothing of earlier
    /// lives but that they are over.
    pub fn start(&mut self, name: &str, life: u64, resources: &str) {
        let resources = serde_json::from_str::<Resources>(resources).unwrap();
        let facts = AgentFacts {
            id: id(name),
            incarnation: Incarnation(life),
            host: name.to_owned(),
            resources,
            attributes: Attributes::new(),
            program_version: "0".into(),
        };
        let before = (0..life).map(Incarnation).collect();
        self.machines.insert(id(name), Machine::new(Arc::new(facts), before));
        self.send(Mail::Agent(id(name), agent::Input::Resume));
        self.settle();
    }

    /// The machine of this agent.
    pub fn machine(&mut self, name: &str) -> &mut Machine {
        self.machines.get_mut(&id(name)).unwrap()
    }

    /// Nothing passes between the agent and the services from here on.
    pub fn cut(&mut self, name: &str) {
        let machine = self.machine(name);
        (machine.hears, machine.is_heard) = (false, false);
    }

    /// The way is open again, and the agent knows it.
    pub fn mend(&mut self, name: &str) {
        let machine = self.machine(name);
        (machine.hears, machine.is_heard) = (true, true);
        self.send(Mail::Agent(id(name), agent::Input::Reconnected));
        self.settle();
    }

    /// Submits a job in JSON, as users do; returns its id.
    pub fn submit(&mut self, queue: &str, job: &str) -> u64 {
        self.submit_as(None, queue, job)
    }

    /// The same with a message id.
    pub fn submit_as(&mut self, message_id: Option<&str>, queue: &str, job: &str) -> u64 {
        self.submitted += 1;
        let name: QueueName = queue.parse().unwrap();
        let content = parse_submission(job.as_bytes()).and_then(|file| file.for_queue(&name));
        let submission = dispatcher::Submission {
            job: JobId(self.submitted),
            queue: queue.into(),
            submitted_at: self.now,
            message_id: message_id.map(Arc::from),
            content: content.map(|spec| (name, Arc::new(spec))),
        };
        self.send(Mail::Dispatcher(dispatcher::Input::Submission(submission)));
        self.settle();
        self.submitted
    }

    /// A user cancels a job.
    pub fn cancel(&mut self, job: u64) {
        self.send(Mail::Dispatcher(dispatcher::Input::Cancel(reply("user"), JobId(job))));
        self.settle();
    }

    /// An operator drains an agent.
    pub fn drain(&mut self, name: &str, kill: bool) {
        self.send(Mail::Registry(registry::Input::Drain(reply("operator"), id(name), DrainCommand { kill })));
        self.settle();
    }

    /// An operator lets an agent work again.
    pub fn undrain(&mut self, name: &str) {
        self.send(Mail::Registry(registry::Input::Undrain(reply("operator"), id(name))));
        self.settle();
    }

    /// An operator declares an agent gone.
    pub fn gone(&mut self, name: &str) {
        self.send(Mail::Registry(registry::Input::Gone(reply("operator"), id(name))));
        self.settle();
    }

    /// The process of a task ends with this code.
    pub fn exit(&mut self, name: &str, attempt: &str, code: i32) {
        let now = self.now;
        let input = self.machine(name).exit(now, attempt.parse().unwrap(), Some(code), None);
        self.send(Mail::Agent(id(name), input));
        self.settle();
    }

    /// Processes that were held back start now.
    pub fn start_processes(&mut self, name: &str) {
        let now = self.now;
        let machine = self.machine(name);
        machine.starts = true;
        let inputs = machine.start_all(now);
        inputs.into_iter().for_each(|input| self.send(Mail::Agent(id(name), input)));
        self.settle();
    }

    /// Lets time pass, doing whatever becomes due at its time.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(at) = self.next_wake().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
    }

    /// Lets this many seconds pass.
    pub fn pass_secs(&mut self, seconds: u64) {
        self.pass(Span::from_secs(seconds));
    }

    fn send(&mut self, mail: Mail) {
        self.mail.push_back(mail);
    }

    /// Delivers everything that is on its way, and does everything that is due.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some(mail) = self.mail.pop_front() {
                self.deliver(mail);
            } else if self.next_wake().is_some_and(|at| at <= self.now) {
                self.wake();
            } else {
                return self.sanity_check();
            }
        }
        panic!("the cluster does not come to rest");
    }

    fn sanity_check(&self) {
        self.registry.sanity_check();
        self.offers.sanity_check();
        self.dispatcher.sanity_check();
        self.machines.values().for_each(|machine| machine.core.sanity_check());
    }

    fn next_wake(&self) -> Option<Time> {
        let services = [
            self.registry.next_wake(),
            self.offers.next_wake(),
            self.dispatcher.next_wake(),
            self.allocator.next_wake(),
        ];
        let agents = self.machines.values().map(|machine| machine.core.next_wake());
        services.into_iter().chain(agents).flatten().map(|(at, _)| at).min()
    }

    fn wake(&mut self) {
        let now = self.now;
        let (mut registry, mut offers, mut dispatcher, mut allocator) = (vec![], vec![], vec![], vec![]);
        let is_due = |wake: Option<(Time, &str)>| wake.is_some_and(|(at, _)| at <= now);
        if is_due(self.registry.next_wake()) {
            self.registry.wake(now, &mut registry);
        }
        if is_due(self.offers.next_wake()) {
            self.offers.wake(now, &mut offers);
        }
        if is_due(self.dispatcher.next_wake()) {
            self.dispatcher.wake(now, &mut dispatcher);
        }
        if is_due(self.allocator.next_wake()) {
            self.allocator.wake(now, &mut allocator);
        }
        self.registry_said(registry);
        self.offers_said(offers);
        self.dispatcher_said(dispatcher);
        self.allocator_said(allocator);
        let due = self.machines.iter().filter(|(_, machine)| is_due(machine.core.next_wake()));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let mut out = Vec::new();
            self.machines.get_mut(&name).unwrap().core.wake(now, &mut out);
            self.agent_said(&name, out);
        }
    }

    fn deliver(&mut self, mail: Mail) {
        let now = self.now;
        match mail {
            Mail::Registry(input) => {
                let mut out = Vec::new();
                self.registry.handle(now, input, &mut out);
                self.registry_said(out);
            }
            Mail::Offers(input) => {
                let mut out = Vec::new();
                self.offers.handle(now, input, &mut out);
                self.offers_said(out);
            }
            Mail::Dispatcher(input) => {
                let mut out = Vec::new();
                self.dispatcher.handle(now, input, &mut out);
                self.dispatcher_said(out);
            }
            Mail::Allocator(input) => {
                let mut out = Vec::new();
                self.allocator.handle(now, input, &mut out);
                self.allocator_said(out);
            }
            Mail::Agent(name, input) => {
                let mut out = Vec::new();
                let machine = self.machines.get_mut(&name).unwrap();
                machine.core.handle(now, input, &mut out);
                self.agent_said(&name, out);
            }
        }
    }

    /// A record is in the ledger, and the two other services read it.
    fn append(&mut self, writer: Writer, record: Record) {
        let entry = Entry { at: self.now, record };
        self.ledger.push(entry.clone());
        if writer != Writer::Registry {
            self.send(Mail::Registry(registry::Input::Ledger(entry.clone())));
        }
        if writer != Writer::Offers {
            self.send(Mail::Offers(offers::Input::Ledger(entry.clone())));
        }
        if writer != Writer::Dispatcher {
            self.send(Mail::Dispatcher(dispatcher::Input::Ledger(entry)));
        }
    }

    fn registry_said(&mut self, out: Vec<registry::Output>) {
        for output in out {
            match output {
                registry::Output::Append(record) => self.append(Writer::Registry, record),
                registry::Output::Echo(echo) => self.send(Mail::Registry(registry::Input::Echo(echo))),
                registry::Output::Welcome(to, welcome) => {
                    self.tell(&id(&to.0), agent::Input::Welcome(welcome))
                }
                registry::Output::Done(_, answer) => self.answers.push(answer),
                registry::Output::Agents(..) => {}
            }
        }
    }

    fn offers_said(&mut self, out: Vec<offers::Output>) {
        for output in out {
            match output {
                offers::Output::Append(record) => self.append(Writer::Offers, record),
                offers::Output::Feed(feed) => {
                    self.note(&feed);
                    self.send(Mail::Allocator(engine::Input::Feed(feed)));
                }
                offers::Output::Sync(_, feed) => self.send(Mail::Allocator(engine::Input::Feed(feed))),
                _ => {}
            }
        }
    }

    /// Keeps what is on offer.
    fn note(&mut self, feed: &Feed) {
        for item in &feed.items {
            match item {
                FeedItem::Offer { agent, free, .. } => _ = self.offered.insert(agent.clone(), free.clone()),
                FeedItem::Rescinded { agent } | FeedItem::AgentLeft { agent } => {
                    _ = self.offered.remove(agent)
                }
                _ => {}
            }
        }
    }

    fn dispatcher_said(&mut self, out: Vec<dispatcher::Output>) {
        for output in out {
            match output {
                dispatcher::Output::Append(record) => self.append(Writer::Dispatcher, record),
                dispatcher::Output::Orders(name, batch) => self.tell(&name, agent::Input::Orders(batch)),
                dispatcher::Output::Done(_, answer) => self.answers.push(answer),
                _ => {}
            }
        }
    }

    fn allocator_said(&mut self, out: Vec<engine::Output>) {
        for output in out {
            let (reply, message) = match output {
                engine::Output::Hello => {
                    let policy: PolicyName = "drf".parse().unwrap();
                    (Some(reply("allocator")), AllocatorMessage::Hello(Presence::of(policy)))
                }
                engine::Output::Say(message) => (None, message),
            };
            let message = FromAllocator { instance: allocator(), messages: vec![message] };
            self.send(Mail::Offers(offers::Input::Allocator { reply, message }));
        }
    }

    /// Tells an agent something, if the way is open.
    fn tell(&mut self, name: &AgentId, input: agent::Input) {
        if self.machines.get(name).is_some_and(|machine| machine.hears) {
            self.send(Mail::Agent(name.clone(), input));
        }
    }

    fn agent_said(&mut self, name: &AgentId, out: Vec<agent::Output>) {
        let now = self.now;
        for output in out {
            let machine = self.machines.get_mut(name).unwrap();
            let is_heard = machine.is_heard;
            match output {
                agent::Output::Hello(hello) if is_heard => self.greet(name, hello),
                agent::Output::Beat(beat) if is_heard => {
                    self.send(Mail::Registry(registry::Input::Beat(Some(reply(name.as_str())), beat)));
                }
                agent::Output::Report(batch) => {
                    machine.reports.push((now, batch.sequence));
                    if is_heard {
                        self.send(Mail::Dispatcher(dispatcher::Input::Reports(batch)));
                    }
                }
                other => {
                    let inputs = machine.carry_out(now, other);
                    inputs.into_iter().for_each(|input| self.send(Mail::Agent(name.clone(), input)));
                }
            }
        }
    }

    fn greet(&mut self, name: &AgentId, hello: Hello) {
        self.send(Mail::Registry(registry::Input::Hello(reply(name.as_str()), hello)));
    }

    /// What is on offer of an agent, such as `{"cpus":1}`; nothing where nothing is.
    #[must_use]
    pub fn offered(&self, name: &str) -> Option<Value> {
        self.offered.get(&id(name)).map(Resources::to_json)
    }

    /// What people are shown of a job.
    #[must_use]
    pub fn job(&self, job: u64) -> JobView {
        let input = dispatcher::Input::ShowJob(reply("user"), JobId(job), JobQuery::default());
        let mut out = Vec::new();
        self.dispatcher.clone().handle(self.now, input, &mut out);
        match out.pop() {
            Some(dispatcher::Output::Job(_, answer)) => match *answer {
                Answer::Ok(view) => view,
                Answer::Error(refusal) => panic!("job {job}: {}", refusal.message),
            },
            other => panic!("{other:?}"),
        }
    }

    /// What people are shown of an agent.
    #[must_use]
    pub fn agent(&self, name: &str) -> AgentView {
        let mut out = Vec::new();
        self.registry.clone().handle(
            self.now,
            registry::Input::ListAgents(reply("user"), AgentsQuery::default()),
            &mut out,
        );
        match out.pop() {
            Some(registry::Output::Agents(_, Answer::Ok(views))) => {
                views.into_iter().find(|view| view.agent == id(name)).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// How long the story has lasted.
    #[must_use]
    pub fn passed(&self) -> Span {
        self.now.since(START)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}
