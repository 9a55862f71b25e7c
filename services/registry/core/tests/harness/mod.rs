//! A registry with its ledger, and short words for what happens to it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test binary uses its part"
)]

use std::collections::VecDeque;
use std::sync::Arc;

use allot_model::AgentsQuery;
use allot_model::view::Answer;
use allot_model::*;
use allot_registry_core::{Echo, Input, Options, Output, RegistryCore};

/// A registry with its ledger.
pub struct House {
    pub core: RegistryCore,
    pub now: Time,
    pub ledger: Vec<Entry>,
    /// Records of others that are in the ledger and have not been read yet.
    pub late: VecDeque<Entry>,
    /// Everything that came out since the last look, as text.
    pub told: Vec<String>,
    /// Nothing that is said arrives, what the registry says to itself included.
    pub deaf: bool,
    /// What it said to itself meanwhile.
    pub held: Vec<Echo>,
}

pub fn id(text: &str) -> AgentId {
    AgentId::new(text).unwrap()
}

pub fn facts(agent: &str, incarnation: u64, cpus: u64) -> Arc<AgentFacts> {
    let resources =
        [(ResourceName::new("cpus").unwrap(), Amount::Scalar(cpus * 1_000))].into_iter().collect();
    Arc::new(AgentFacts {
        id: id(agent),
        incarnation: Incarnation(incarnation),
        host: agent.to_owned(),
        resources,
        attributes: Attributes::new(),
        program_version: "0.1.0".into(),
    })
}

pub fn reply() -> ReplyTo {
    ReplyTo("r".into())
}

pub fn run(text: &str) -> AttemptRun {
    text.parse().unwrap()
}

/// The timeout of N1: five missed beats of 15 s.
pub const OPTIONS: Options = Options { agent_timeout: Span::from_secs(75), beat_every: Span::from_secs(15) };

const START: Time = Time::from_micros(1_000_000);

impl House {
    /// A registry that has just begun, with an empty ledger.
    pub fn new() -> Self {
        let core = RegistryCore::new(OPTIONS);
        let mut house = Self {
            core,
            now: START,
            ledger: Vec::new(),
            late: VecDeque::new(),
            told: Vec::new(),
            deaf: false,
            held: Vec::new(),
        };
        house.give(Input::Resume { epoch: Epoch(1) });
        house
    }

    /// Another instance takes over with what is in the ledger.
    pub fn replace(&mut self) {
        self.late.clear();
        self.core = self.rebuilt();
        self.give(Input::Resume { epoch: Epoch(2) });
    }

    pub fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        self.core.sanity_check();
        for output in out {
            if let Output::Echo(echo) = output {
                if self.deaf {
                    self.held.push(echo);
                } else {
                    self.give(Input::Echo(echo));
                }
                continue;
            }
            self.told.push(format!("{} {}", self.now.since(START), words(&output)));
            if let Output::Append(record) = output {
                self.ledger.push(Entry { at: self.now, record });
            }
        }
    }

    /// Lets time pass, with the wakes that are due.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some((at, _)) = self.core.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.wake();
        }
        self.now = end;
    }

    fn wake(&mut self) {
        let mut out = Vec::new();
        self.core.wake(self.now, &mut out);
        self.take(out);
    }

    /// The connection is there again, and delivers what waited on this side of it. What others said is lost.
    pub fn hears(&mut self) {
        self.deaf = false;
        std::mem::take(&mut self.held).into_iter().for_each(|echo| self.give(Input::Echo(echo)));
    }

    /// Lets time pass in which the registry stands still.
    pub fn freeze(&mut self, span: Span) {
        self.now = self.now + span;
        self.wake();
    }

    /// A hello of a life that knows that all with lower numbers are over.
    pub fn hello(&mut self, facts: &Arc<AgentFacts>) {
        let ended = (0..facts.incarnation.0).map(Incarnation).collect();
        self.give(Input::Hello(reply(), Hello { facts: facts.clone(), ended }));
    }

    /// A hello of a life that knows of no other.
    pub fn hello_of_a_stranger(&mut self, facts: &Arc<AgentFacts>) {
        self.give(Input::Hello(reply(), Hello { facts: facts.clone(), ended: Vec::new() }));
    }

    pub fn beat(&mut self, agent: &str, incarnation: u64) {
        self.beat_of(agent, incarnation, false, None);
    }

    pub fn last_beat(&mut self, agent: &str, incarnation: u64) {
        self.beat_of(agent, incarnation, true, None);
    }

    pub fn beat_in_trouble(&mut self, agent: &str, incarnation: u64, trouble: &str) {
        self.beat_of(agent, incarnation, false, Some(trouble.to_owned()));
    }

    fn beat_of(&mut self, agent: &str, incarnation: u64, leaving: bool, trouble: Option<String>) {
        let beat = Beat { agent: id(agent), incarnation: Incarnation(incarnation), leaving, trouble };
        self.give(Input::Beat(Some(reply()), beat));
    }

    pub fn drain(&mut self, agent: &str, kill: bool) {
        self.give(Input::Drain(reply(), id(agent), DrainCommand { kill }));
    }

    pub fn undrain(&mut self, agent: &str) {
        self.give(Input::Undrain(reply(), id(agent)));
    }

    pub fn gone(&mut self, agent: &str) {
        self.give(Input::Gone(reply(), id(agent)));
    }

    /// A record of another writer stands in the ledger from now on, and is read later.
    pub fn write_as_other(&mut self, record: Record) {
        let entry = Entry { at: self.now, record };
        self.ledger.push(entry.clone());
        self.late.push_back(entry);
    }

    /// The registry reads records of others, oldest first.
    pub fn read(&mut self, count: usize) {
        for entry in self.late.drain(..count.min(self.late.len())).collect::<Vec<_>>() {
            self.give(Input::Ledger(entry));
        }
    }

    pub fn write_allocated(&mut self, agent: &str, run: AttemptRun) {
        let placement = Placement {
            agent: id(agent),
            run,
            queue: QueueName::new("a").unwrap(),
            slice: Resources::new(),
            slots: 1,
        };
        let record =
            OffersRecord::Allocated { epoch: Epoch(1), grant: GrantId(1), placements: vec![placement] };
        self.write_as_other(Record::Offers(record));
    }

    pub fn allocated(&mut self, agent: &str, run: AttemptRun) {
        self.write_allocated(agent, run);
        self.read(usize::MAX);
    }

    pub fn write_returned(&mut self, agent: &str, run: AttemptRun) {
        self.write_as_other(Record::Dispatcher(DispatcherRecord::AllocationReturned {
            agent: id(agent),
            run,
        }));
    }

    pub fn returned(&mut self, agent: &str, run: AttemptRun) {
        self.write_returned(agent, run);
        self.read(usize::MAX);
    }

    pub fn ended(&mut self, agent: &str, run: AttemptRun) {
        self.write_as_other(Record::Dispatcher(DispatcherRecord::TasksEnded {
            agent: id(agent),
            run,
            state: TaskState::Finished,
            reason: Reason::ExitedZero,
            started_at: None,
            ended_at: self.now,
            outcome: Outcome::default(),
            retry_at: None,
        }));
        self.read(usize::MAX);
    }

    /// Whether the ledger knows of the agent.
    pub fn has_joined(&self, agent: &str) -> bool {
        self.wrote().contains(&format!("{agent} joined"))
    }

    /// What the registry wrote, in a few words each.
    pub fn wrote(&self) -> Vec<String> {
        let own = |entry: &Entry| match &entry.record {
            Record::Registry(record) => Some(wrote(record)),
            _ => None,
        };
        self.ledger.iter().filter_map(own).collect()
    }

    /// What was answered, without the time.
    pub fn said(&self) -> Vec<&str> {
        let lines = self.told.iter().filter_map(|line| line.split_once(' ').map(|(_time, words)| words));
        lines.filter(|words| !words.starts_with("append ")).collect()
    }

    pub fn views(&mut self) -> Vec<AgentView> {
        let mut out = Vec::new();
        self.core.handle(self.now, Input::ListAgents(reply(), AgentsQuery::default()), &mut out);
        match out.pop() {
            Some(Output::Agents(_, Answer::Ok(views))) => views,
            other => panic!("{other:?}"),
        }
    }

    pub fn rebuilt(&self) -> RegistryCore {
        self.replayed(RegistryCore::new(OPTIONS), &self.ledger)
    }

    /// The core after these records.
    fn replayed<'a>(
        &self,
        mut core: RegistryCore,
        records: impl IntoIterator<Item = &'a Entry>,
    ) -> RegistryCore {
        let mut out = Vec::new();
        records.into_iter().for_each(|entry| core.handle(entry.at, Input::Replay(entry.clone()), &mut out));
        assert!(out.is_empty(), "a replay has no outputs");
        core
    }

    /// A core from a snapshot of another, as it is saved, and from the records that were not in it.
    pub fn restored<'a>(&self, of: &RegistryCore, tail: impl IntoIterator<Item = &'a Entry>) -> RegistryCore {
        let head = SnapshotHead {
            writer: Writer::Registry,
            epoch: Epoch(1),
            ledger_sequence: 0,
            ledger_at: Time::ZERO,
            own_sequence: 0,
            inbox_sequence: 0,
            taken_at: Time::ZERO,
            items: 0,
        };
        let bytes = allot_proto::encode_snapshot(&head, of.snapshot());
        let (mut core, mut out) = (RegistryCore::new(OPTIONS), Vec::new());
        for item in allot_proto::SnapshotReader::new(&bytes).unwrap() {
            core.handle(Time::ZERO, Input::Restore(item.unwrap()), &mut out);
        }
        assert!(out.is_empty(), "a snapshot has no outputs");
        core.sanity_check();
        self.replayed(core, tail)
    }

    /// A core from a snapshot of the first `cut` records, and from those after them.
    pub fn restored_at(&self, cut: usize) -> RegistryCore {
        let (before, tail) = self.ledger.split_at(cut.min(self.ledger.len()));
        self.restored(&self.replayed(RegistryCore::new(OPTIONS), before), tail)
    }
}

fn wrote(record: &RegistryRecord) -> String {
    match record {
        RegistryRecord::AgentJoined { facts } => format!("{} joined", facts.id),
        RegistryRecord::AgentUnreachable { agent } => format!("{agent} unreachable"),
        RegistryRecord::AgentReturned { agent } => format!("{agent} returned"),
        RegistryRecord::AgentDraining { agent, kill: true } => format!("{agent} draining, killing"),
        RegistryRecord::AgentDraining { agent, kill: false } => format!("{agent} draining"),
        RegistryRecord::AgentDrained { agent } => format!("{agent} drained"),
        RegistryRecord::AgentUndrained { agent } => format!("{agent} undrained"),
        RegistryRecord::AgentGone { agent } => format!("{agent} gone"),
    }
}

fn words(output: &Output) -> String {
    match output {
        Output::Append(Record::Registry(record)) => format!("append {}", wrote(record)),
        Output::Append(record) => panic!("not the registry's to write: {record:?}"),
        Output::Echo(_) => panic!("it goes back to the registry"),
        Output::Welcome(_, Welcome::Admitted { beat_every }) => format!("admitted, beat every {beat_every}"),
        Output::Welcome(_, Welcome::HelloNeeded) => "hello needed".to_owned(),
        Output::Welcome(_, Welcome::Refused { message }) => format!("refused: {message}"),
        Output::Done(_, Answer::Ok(done)) => format!("done: {}", done.message),
        Output::Done(_, Answer::Error(refusal)) => {
            let code = serde_json::to_value(refusal.code).unwrap();
            format!("error {}: {}", code.as_str().unwrap(), refusal.message)
        }
        Output::Agents(_, Answer::Ok(views)) => {
            let view =
                |v: &AgentView| format!("{} {:?} {} with {} attempts", v.agent, v.state, v.total, v.attempts);
            format!("agents: {}", views.iter().map(view).collect::<Vec<_>>().join("; "))
        }
        Output::Agents(_, Answer::Error(refusal)) => format!("error: {}", refusal.message),
    }
}
