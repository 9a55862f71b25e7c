//! Agents join, fall silent, return, drain and go.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use allot_model::view::Answer;
use allot_model::*;
use allot_registry_core::{Input, Options, Output, RegistryCore};
use proptest::prelude::*;

/// A registry with its ledger.
struct House {
    core: RegistryCore,
    now: Time,
    ledger: Vec<Entry>,
    /// What was answered since the last look, as short texts.
    said: Vec<String>,
}

fn id(text: &str) -> AgentId {
    AgentId::new(text).unwrap()
}

fn facts(agent: &str, incarnation: u64, cpus: u64) -> Arc<AgentFacts> {
    let resources = [(ResourceName::new("cpus").unwrap(), Amount::Scalar(cpus))].into_iter().collect();
    Arc::new(AgentFacts {
        id: id(agent),
        incarnation: Incarnation(incarnation),
        host: agent.to_owned(),
        resources,
        attributes: Attributes::new(),
        program_version: "0.1.0".into(),
    })
}

fn reply() -> ReplyTo {
    ReplyTo("r".into())
}

/// The timeout of N1: five missed beats of 15 s.
const OPTIONS: Options = Options { agent_timeout: Span::from_secs(75), beat_every: Span::from_secs(15) };

impl House {
    fn new() -> Self {
        let (core, now) = (RegistryCore::new(OPTIONS), Time::from_micros(1_000_000));
        let mut house = Self { core, now, ledger: Vec::new(), said: Vec::new() };
        house.give(Input::Resume { epoch: Epoch(1) });
        house
    }

    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        self.core.sanity_check();
        for output in out {
            match output {
                Output::Append(record) => self.ledger.push(Entry { at: self.now, record }),
                Output::Welcome(_, Welcome::Admitted { .. }) => self.said.push("admitted".into()),
                Output::Welcome(_, Welcome::HelloNeeded) => self.said.push("hello needed".into()),
                Output::Welcome(_, Welcome::Refused { message }) => {
                    self.said.push(format!("refused: {message}"))
                }
                Output::Done(_, Answer::Ok(done)) => self.said.push(done.message),
                Output::Done(_, Answer::Error(refusal)) => {
                    self.said.push(format!("error: {}", refusal.message))
                }
                Output::Agents(..) => {}
            }
        }
    }

    fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some((at, _)) = self.core.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.core.wake(self.now, &mut out);
            self.take(out);
        }
        self.now = end;
    }

    fn hello(&mut self, facts: &Arc<AgentFacts>) {
        self.give(Input::Hello(reply(), Hello { facts: facts.clone() }));
    }

    fn beat(&mut self, agent: &str, incarnation: u64) {
        let beat = Beat { agent: id(agent), incarnation: Incarnation(incarnation) };
        self.give(Input::Beat(Some(reply()), beat));
    }

    fn drain(&mut self, agent: &str, kill: bool) {
        self.give(Input::Drain(reply(), id(agent), DrainCommand { kill }));
    }

    fn other(&mut self, record: Record) {
        let entry = Entry { at: self.now, record };
        self.ledger.push(entry.clone());
        self.give(Input::Ledger(entry));
    }

    fn allocated(&mut self, agent: &str, run: AttemptRun) {
        let placement =
            Placement { agent: id(agent), run, queue: QueueName::new("a").unwrap(), slice: Resources::new() };
        let record =
            OffersRecord::Allocated { epoch: Epoch(1), grant: GrantId(1), placements: vec![placement] };
        self.other(Record::Offers(record));
    }

    fn returned(&mut self, agent: &str, run: AttemptRun) {
        self.other(Record::Dispatcher(DispatcherRecord::AllocationReturned { agent: id(agent), run }));
    }

    fn wrote(&self) -> Vec<String> {
        let own = |entry: &Entry| match &entry.record {
            Record::Registry(RegistryRecord::AgentJoined { facts }) => Some(format!("{} joined", facts.id)),
            Record::Registry(RegistryRecord::AgentUnreachable { agent }) => {
                Some(format!("{agent} unreachable"))
            }
            Record::Registry(RegistryRecord::AgentReturned { agent }) => Some(format!("{agent} returned")),
            Record::Registry(RegistryRecord::AgentDraining { agent, kill }) => {
                Some(format!("{agent} draining{}", if *kill { ", killing" } else { "" }))
            }
            Record::Registry(RegistryRecord::AgentDrained { agent }) => Some(format!("{agent} drained")),
            Record::Registry(RegistryRecord::AgentUndrained { agent }) => Some(format!("{agent} undrained")),
            Record::Registry(RegistryRecord::AgentGone { agent }) => Some(format!("{agent} gone")),
            _ => None,
        };
        self.ledger.iter().filter_map(own).collect()
    }

    fn views(&mut self) -> Vec<AgentView> {
        let mut out = Vec::new();
        self.core.handle(self.now, Input::ListAgents(reply()), &mut out);
        match out.pop() {
            Some(Output::Agents(_, Answer::Ok(views))) => views,
            other => panic!("{other:?}"),
        }
    }

    fn rebuilt(&self) -> RegistryCore {
        let mut core = RegistryCore::new(OPTIONS);
        let mut out = Vec::new();
        self.ledger.iter().for_each(|entry| core.handle(entry.at, Input::Replay(entry.clone()), &mut out));
        assert!(out.is_empty(), "a replay has no outputs");
        core
    }
}

fn run(first: u32, last: u32) -> AttemptRun {
    AttemptRun { job: JobId(1), tasks: TaskRange { first, last }, attempt: 1 }
}

#[test]
fn an_agent_is_lost_exactly_at_the_timeout_and_not_before() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.pass(Span::from_secs(74));
    assert_eq!(house.wrote(), ["m1 joined"]);
    house.pass(Span::from_secs(1));
    assert_eq!(house.wrote(), ["m1 joined", "m1 unreachable"]);
    assert_eq!(house.views()[0].state, AgentState::Unreachable);
}

#[test]
fn a_beat_starts_the_timeout_anew_and_brings_a_silent_agent_back() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.pass(Span::from_secs(70));
    house.beat("m1", 1);
    house.pass(Span::from_secs(74));
    assert_eq!(house.wrote(), ["m1 joined"]);
    house.pass(Span::from_secs(1));
    house.beat("m1", 1);
    assert_eq!(house.wrote(), ["m1 joined", "m1 unreachable", "m1 returned"]);
    house.pass(Span::from_secs(75));
    assert_eq!(house.wrote().last().unwrap(), "m1 unreachable");
}

#[test]
fn saying_hello_again_unchanged_is_no_news_and_with_changes_is() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.hello(&facts("m1", 1, 1));
    assert_eq!((house.wrote().len(), house.said.len()), (1, 2));
    house.hello(&facts("m1", 1, 2));
    house.hello(&facts("m1", 2, 2));
    assert_eq!(house.wrote(), ["m1 joined"; 3]);
}

#[test]
fn a_beat_of_an_unknown_agent_or_of_an_earlier_life_is_asked_for_a_hello() {
    let mut house = House::new();
    house.beat("m1", 1);
    house.hello(&facts("m1", 1, 1));
    house.beat("m1", 7);
    assert_eq!(house.said, ["hello needed", "admitted", "hello needed"]);
}

#[test]
fn a_drained_agent_is_drained_once_nothing_is_allocated_on_it() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run(0, 2));
    house.drain("m1", false);
    house.returned("m1", run(0, 1));
    assert_eq!((house.views()[0].state, house.views()[0].attempts), (AgentState::Draining, 1));
    house.returned("m1", run(2, 2));
    assert_eq!(house.wrote(), ["m1 joined", "m1 draining", "m1 drained"]);
    house.give(Input::Undrain(reply(), id("m1")));
    assert_eq!(house.views()[0].state, AgentState::Ready);
}

#[test]
fn an_idle_agent_is_drained_at_once() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.drain("m1", true);
    assert_eq!(house.wrote(), ["m1 joined", "m1 draining, killing", "m1 drained"]);
}

#[test]
fn a_silent_agent_stays_draining_until_it_is_back_and_empty() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run(0, 0));
    house.drain("m1", true);
    house.pass(Span::from_secs(75));
    house.returned("m1", run(0, 0));
    assert_eq!(house.wrote().last().unwrap(), "m1 unreachable");
    house.beat("m1", 1);
    house.give(Input::ListAgents(reply()));
    assert_eq!(house.wrote()[2..], ["m1 unreachable", "m1 returned", "m1 drained"]);
}

#[test]
fn a_gone_agent_is_refused_until_it_comes_with_a_new_life() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.give(Input::Gone(reply(), id("m1")));
    house.pass(Span::from_secs(100));
    house.beat("m1", 1);
    house.hello(&facts("m1", 1, 4));
    assert_eq!(house.said[2], "hello needed");
    assert!(house.said[3].starts_with("refused: agent m1 was declared gone"), "{}", house.said[3]);
    house.hello(&facts("m1", 2, 4));
    assert_eq!(house.wrote(), ["m1 joined", "m1 gone", "m1 joined"]);
    assert_eq!(house.views()[0].state, AgentState::Ready);
}

#[test]
fn commands_that_cannot_be_carried_out_say_why() {
    let mut house = House::new();
    house.drain("m9", false);
    house.hello(&facts("m1", 1, 4));
    house.give(Input::Undrain(reply(), id("m1")));
    house.give(Input::Gone(reply(), id("m1")));
    house.drain("m1", false);
    let said: Vec<&str> = house.said.iter().map(String::as_str).collect();
    assert_eq!(said[0], "error: there is no agent m9: `allot agents` lists those there are");
    assert_eq!(said[2], "agent m1 is not draining");
    assert_eq!(said[4], "error: agent m1 was declared gone already");
}

#[test]
fn a_new_registry_gives_every_agent_the_whole_timeout() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.pass(Span::from_secs(70));
    house.core = house.rebuilt();
    house.give(Input::Resume { epoch: Epoch(2) });
    house.pass(Span::from_secs(74));
    assert_eq!(house.wrote(), ["m1 joined"]);
    house.pass(Span::from_secs(1));
    assert_eq!(house.wrote(), ["m1 joined", "m1 unreachable"]);
}

#[test]
fn a_new_registry_finishes_a_drain_that_the_old_one_did_not() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run(0, 0));
    house.drain("m1", false);
    // The old one died before it had read this.
    let record = Record::Dispatcher(DispatcherRecord::AllocationReturned { agent: id("m1"), run: run(0, 0) });
    house.ledger.push(Entry { at: house.now, record });
    house.core = house.rebuilt();
    house.give(Input::Resume { epoch: Epoch(2) });
    assert_eq!(house.wrote().last().unwrap(), "m1 drained");
}

#[derive(Debug, Clone)]
enum Step {
    Hello(u8, u64, u64),
    Beat(u8, u64),
    Command(u8, u8),
    Allocated(u8, u32),
    Returned(u8, u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..3, 1_u64..3, 1_u64..3).prop_map(|(a, i, c)| Step::Hello(a, i, c)),
        (0_u8..3, 1_u64..3).prop_map(|(a, i)| Step::Beat(a, i)),
        (0_u8..3, 0_u8..4).prop_map(|(a, what)| Step::Command(a, what)),
        (0_u8..3, 0_u32..9).prop_map(|(a, task)| Step::Allocated(a, task)),
        (0_u8..3, 0_u32..9).prop_map(|(a, task)| Step::Returned(a, task)),
        (0_u64..40).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn replay_equals_life(steps in proptest::collection::vec(step(), 0..60)) {
        let mut house = House::new();
        let name = |agent: u8| format!("m{agent}");
        for step in steps {
            match step {
                Step::Hello(a, incarnation, cpus) => house.hello(&facts(&name(a), incarnation, cpus)),
                Step::Beat(a, incarnation) => house.beat(&name(a), incarnation),
                Step::Command(a, 0) => house.give(Input::Undrain(reply(), id(&name(a)))),
                Step::Command(a, 1) => house.give(Input::Gone(reply(), id(&name(a)))),
                Step::Command(a, what) => house.drain(&name(a), what == 2),
                Step::Allocated(a, task) => house.allocated(&name(a), run(task, task)),
                Step::Returned(a, task) => house.returned(&name(a), run(task, task)),
                Step::Pass(secs) => house.pass(Span::from_secs(secs)),
            }
        }
        prop_assert!(house.rebuilt().same_state(&house.core));
    }
}
