//! Agents join, fall silent, return, drain and go.
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

mod harness;

use std::sync::Arc;

use allot_model::*;
use harness::*;
use proptest::prelude::*;

#[test]
fn n1_an_agent_is_lost_exactly_at_the_timeout_and_not_before() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.pass(Span::from_secs(74));
    assert_eq!(house.wrote(), ["m1 joined"]);
    house.pass(Span::from_secs(1));
    assert_eq!(house.wrote(), ["m1 joined", "m1 unreachable"]);
    assert_eq!(house.views()[0].state, AgentState::Unreachable);
    house.drain("m1", true);
    let silent_for = house.now.since(house.views()[0].heard_at);
    assert_eq!(silent_for, Span::from_secs(75), "whatever was said of it since");
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
fn an_agent_that_says_that_it_leaves_is_not_waited_for() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.last_beat("m1", 2);
    assert_eq!(house.wrote(), ["m1 joined"], "another life said so");
    house.last_beat("m1", 1);
    house.last_beat("m1", 1);
    assert_eq!(house.wrote(), ["m1 joined", "m1 unreachable"]);
    house.pass(Span::from_secs(200));
    house.hello_of_a_stranger(&facts("m1", 2, 1));
    let wrote = house.wrote();
    assert_eq!(
        wrote,
        ["m1 joined", "m1 unreachable", "m1 returned", "m1 joined"],
        "1 has said that it is over"
    );
    assert_eq!(house.views()[0].state, AgentState::Ready);
}

#[test]
fn saying_hello_again_unchanged_is_no_news_and_with_changes_is() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.hello(&facts("m1", 1, 1));
    assert_eq!((house.wrote().len(), house.said().len()), (1, 2));
    house.hello(&facts("m1", 1, 2));
    house.hello(&facts("m1", 2, 2));
    assert_eq!(house.wrote(), ["m1 joined"; 3]);
}

#[test]
fn a_hello_that_comes_late_from_an_earlier_life_does_not_bring_it_back() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.hello(&facts("m1", 2, 1));
    house.hello(&facts("m1", 1, 1));
    house.beat("m1", 2);
    assert_eq!(house.wrote(), ["m1 joined"; 2]);
    let said = house.said();
    assert_eq!(said.len(), 3, "the present life goes on, and need not say hello: {said:?}");
    assert!(said[2].starts_with("refused: agent m1 has begun another life"), "{said:?}");
    house.pass(Span::from_secs(75));
    house.hello(&facts("m1", 1, 1));
    assert_eq!(
        house.wrote()[2..],
        ["m1 unreachable", "m1 joined"],
        "unless the present one was no life at all"
    );
}

#[test]
fn a_second_agent_under_an_id_waits_until_the_first_is_heard_and_is_refused() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    for _ in 0..10 {
        house.pass(Span::from_secs(1));
        house.hello_of_a_stranger(&facts("m1", 2, 1));
    }
    assert_eq!(house.said().len(), 1, "nothing is known yet");
    house.beat("m1", 1);
    house.pass(Span::from_secs(1));
    house.hello_of_a_stranger(&facts("m1", 2, 1));
    let said = house.said();
    assert!(said[1].starts_with("refused: another agent runs under the id m1, on host m1"), "{said:?}");
    house.beat("m1", 1);
    assert_eq!((house.wrote().len(), house.said().len()), (1, 2), "the first one notices nothing");
}

#[test]
fn a_machine_that_was_set_up_anew_joins_once_what_it_was_is_silent_for_the_timeout() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    for _ in 0..74 {
        house.pass(Span::from_secs(1));
        house.hello_of_a_stranger(&facts("m1", 2, 1));
        house.hello_of_a_stranger(&facts("m1", 3, 1));
    }
    assert_eq!(house.wrote(), ["m1 joined"]);
    house.pass(Span::from_secs(1));
    house.hello_of_a_stranger(&facts("m1", 3, 1));
    house.hello_of_a_stranger(&facts("m1", 2, 1));
    assert_eq!(house.wrote(), ["m1 joined", "m1 unreachable", "m1 joined"]);
    house.pass(Span::from_secs(1));
    house.beat("m1", 3);
    house.hello_of_a_stranger(&facts("m1", 2, 1));
    assert!(house.said().last().unwrap().starts_with("refused: another agent runs"), "{:?}", house.said());
}

#[test]
fn an_agent_that_says_what_cannot_be_is_refused_with_the_reason_and_leaves_no_trace() {
    let mut house = House::new();
    let mut wild = AgentFacts::clone(&facts("m1", 1, 1));
    wild.resources.set(ResourceName::cpus(), Amount::Scalar(u64::MAX));
    house.hello(&Arc::new(wild));
    assert!(house.wrote().is_empty() && house.views().is_empty());
    let said = house.said().concat();
    assert!(said.contains("refused") && said.contains("`resources.cpus`"), "{said}");
}

#[test]
fn a_beat_of_an_unknown_agent_or_of_an_earlier_life_is_asked_for_a_hello() {
    let mut house = House::new();
    house.beat("m1", 1);
    house.hello(&facts("m1", 1, 1));
    house.beat("m1", 7);
    assert_eq!(house.said(), ["hello needed", "admitted, beat every 15s", "hello needed"]);
}

#[test]
fn n17_a_drained_agent_is_drained_once_nothing_is_allocated_on_it() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run("1.0-2#1"));
    house.drain("m1", false);
    house.returned("m1", run("1.0-1#1"));
    assert_eq!((house.views()[0].state, house.views()[0].attempts), (AgentState::Draining, 1));
    house.returned("m1", run("1.2#1"));
    assert_eq!(house.wrote(), ["m1 joined", "m1 draining", "m1 drained"]);
    house.undrain("m1");
    assert_eq!(house.views()[0].state, AgentState::Ready);
}

#[test]
fn n20_an_agent_whose_tasks_are_being_killed_is_let_work_again_only_once_it_is_drained() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run("1.0#1"));
    house.drain("m1", true);
    house.undrain("m1");
    assert_eq!(house.views()[0].state, AgentState::Draining);
    let refused = "error conflict: agent m1 is draining and its tasks are being killed, of which it has 1 left: let \
                   it work again once `allot agents` says that it is drained";
    assert_eq!(house.said().last().unwrap(), &refused);
    house.ended("m1", run("1.0#1"));
    house.undrain("m1");
    assert_eq!(house.wrote()[1..], ["m1 draining, killing", "m1 drained", "m1 undrained"]);
    assert_eq!(house.views()[0].state, AgentState::Ready);
}

#[test]
fn n20_a_drain_that_lets_tasks_finish_can_be_called_off() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run("1.0#1"));
    house.drain("m1", false);
    house.undrain("m1");
    assert_eq!(house.wrote()[1..], ["m1 draining", "m1 undrained"]);
}

#[test]
fn an_idle_agent_is_drained_at_once() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.drain("m1", true);
    assert_eq!(house.wrote(), ["m1 joined", "m1 draining, killing", "m1 drained"]);
}

#[test]
fn n19_a_silent_agent_stays_draining_until_it_is_back_and_empty() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run("1.0#1"));
    house.drain("m1", true);
    house.pass(Span::from_secs(75));
    house.returned("m1", run("1.0#1"));
    assert_eq!(house.wrote().last().unwrap(), "m1 unreachable");
    house.beat("m1", 1);
    assert_eq!(house.wrote()[2..], ["m1 unreachable", "m1 returned", "m1 drained"]);
}

#[test]
fn n18_a_gone_agent_is_refused_until_it_comes_with_a_new_life() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.gone("m1");
    house.pass(Span::from_secs(100));
    house.beat("m1", 1);
    house.hello(&facts("m1", 1, 4));
    assert_eq!(house.said()[2], "hello needed");
    assert!(house.said()[3].starts_with("refused: agent m1 was declared gone"), "{:?}", house.said());
    house.hello(&facts("m1", 2, 4));
    assert_eq!(house.wrote(), ["m1 joined", "m1 gone", "m1 joined"]);
    assert_eq!(house.views()[0].state, AgentState::Ready);
}

#[test]
fn commands_that_cannot_be_carried_out_say_why() {
    let mut house = House::new();
    house.drain("m9", false);
    house.hello(&facts("m1", 1, 4));
    house.undrain("m1");
    house.gone("m1");
    house.drain("m1", false);
    let said = house.said();
    assert_eq!(said[0], "error not_found: there is no agent m9: `allot agents` lists those there are");
    assert_eq!(said[2], "done: agent m1 is not draining");
    assert_eq!(said[4], "error conflict: agent m1 was declared gone already");
}

#[test]
fn a_new_registry_gives_every_agent_the_whole_timeout() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.pass(Span::from_secs(70));
    house.replace();
    house.pass(Span::from_secs(74));
    assert_eq!(house.wrote(), ["m1 joined"]);
    house.pass(Span::from_secs(1));
    assert_eq!(house.wrote(), ["m1 joined", "m1 unreachable"]);
}

#[test]
fn a_new_registry_finishes_a_drain_that_the_old_one_did_not() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run("1.0#1"));
    house.drain("m1", false);
    // The old one died before it had read this.
    house.write_returned("m1", run("1.0#1"));
    house.replace();
    assert_eq!(house.wrote().last().unwrap(), "m1 drained");
}

#[test]
fn an_allocation_that_crossed_the_drain_of_its_agent_is_waited_for() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.drain("m1", true);
    house.allocated("m1", run("1.0#1"));
    assert_eq!(house.views()[0].state, AgentState::Draining);
    house.ended("m1", run("1.0#1"));
    let expected = ["m1 draining, killing", "m1 drained", "m1 draining, killing", "m1 drained"];
    assert_eq!(house.wrote()[1..], expected);
}

#[test]
fn a_drain_outlives_a_restart_of_its_agent() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 4));
    house.allocated("m1", run("1.0#1"));
    house.drain("m1", false);
    house.hello(&facts("m1", 2, 4));
    assert_eq!(house.views()[0].state, AgentState::Draining);
    house.ended("m1", run("1.0#1"));
    assert_eq!(house.views()[0].state, AgentState::Drained);
}

#[derive(Debug, Clone)]
enum Step {
    Hello(u8, u64, u64),
    Beat(u8, u64),
    Command(u8, u8),
    Allocated(u8, u32),
    Returned(u8, u32),
    Read(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..3, 1_u64..3, 1_u64..3).prop_map(|(a, i, c)| Step::Hello(a, i, c)),
        (0_u8..3, 1_u64..3).prop_map(|(a, i)| Step::Beat(a, i)),
        (0_u8..3, 0_u8..4).prop_map(|(a, what)| Step::Command(a, what)),
        (0_u8..3, 0_u32..9).prop_map(|(a, task)| Step::Allocated(a, task)),
        (0_u8..3, 0_u32..9).prop_map(|(a, task)| Step::Returned(a, task)),
        (0_usize..4).prop_map(Step::Read),
        (0_u64..40).prop_map(Step::Pass),
    ]
}

fn take(house: &mut House, step: &Step) {
    let name = |agent: &u8| format!("m{agent}");
    let task = |task: &u32| run(&format!("1.{task}#1"));
    match step {
        Step::Hello(a, incarnation, cpus) => house.hello(&facts(&name(a), *incarnation, *cpus)),
        Step::Beat(a, incarnation) => house.beat(&name(a), *incarnation),
        Step::Command(a, 0) => house.undrain(&name(a)),
        Step::Command(a, 1) => house.gone(&name(a)),
        Step::Command(a, what) => house.drain(&name(a), *what == 2),
        // Only an agent that the ledger knows of is ever allocated to.
        Step::Allocated(a, _) | Step::Returned(a, _) if !house.has_joined(&name(a)) => {}
        Step::Allocated(a, t) => house.write_allocated(&name(a), task(t)),
        Step::Returned(a, t) => house.write_returned(&name(a), task(t)),
        Step::Read(count) => house.read(*count),
        Step::Pass(secs) => house.pass(Span::from_secs(*secs)),
    }
}

#[test]
fn what_keeps_an_agent_from_working_is_told_until_it_says_no_more_of_it() {
    let mut house = House::new();
    house.hello(&facts("m1", 1, 1));
    house.beat_in_trouble("m1", 1, "its disk is full");
    assert_eq!(house.views()[0].trouble.as_deref(), Some("its disk is full"));
    house.beat_in_trouble("m1", 1, &"x".repeat(1_000));
    assert_eq!(house.views()[0].trouble.as_ref().map(String::len), Some(300));
    house.beat("m1", 1);
    assert_eq!(house.views()[0].trouble, None);
    house.beat_in_trouble("m1", 1, "its disk is full");
    house.pass(Span::from_secs(75));
    assert_eq!(house.views()[0].trouble, None, "of one that is not there nothing is known");
}

proptest! {
    #[test]
    fn replay_equals_life(steps in proptest::collection::vec(step(), 0..80)) {
        let mut house = House::new();
        steps.iter().for_each(|step| take(&mut house, step));
        house.read(usize::MAX);
        prop_assert!(house.rebuilt().same_state(&house.core));
    }

    #[test]
    fn a_snapshot_and_the_records_after_it_equal_all_records(
        steps in proptest::collection::vec(step(), 0..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut house = House::new();
        steps.iter().for_each(|step| take(&mut house, step));
        house.read(usize::MAX);
        let restored = house.restored_at(cut.index(house.ledger.len() + 1));
        prop_assert!(restored.same_state(&house.core));
        prop_assert!(restored.snapshot().eq(house.core.snapshot()));
    }

    #[test]
    fn a_registry_that_is_replaced_at_any_moment_ends_in_the_same_state(
        steps in proptest::collection::vec(step(), 0..80),
        replaced_after in 0_usize..80,
    ) {
        let mut house = House::new();
        for (n, step) in steps.iter().enumerate() {
            take(&mut house, step);
            if n == replaced_after {
                house.replace();
                prop_assert!(house.rebuilt().same_state(&house.core));
            }
        }
        house.read(usize::MAX);
        prop_assert!(house.rebuilt().same_state(&house.core));
    }
}
