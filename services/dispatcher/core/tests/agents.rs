//! Agents that are silent, come back, restart, drain and go.
#![allow(clippy::unwrap_used)]

mod harness;

use allot_dispatcher_core::{Input, Output};
use allot_model::*;
use harness::*;

/// A running task of a job on `m1`.
fn running(spec: JobSpec) -> (House, u64) {
    let mut house = House::new();
    house.join("m1", 1);
    house.join("m2", 1);
    let job = house.submit(spec);
    house.allocate("m1", run(job, 0, 0, 1));
    house.started("m1", run(job, 0, 0, 1));
    house.said();
    (house, job)
}

fn unreachable(house: &mut House) {
    house.registry(RegistryRecord::AgentUnreachable { agent: agent_id("m1") });
}

#[test]
fn n2_a_task_of_a_silent_agent_waits_and_goes_on_when_the_agent_returns() {
    let (mut house, job) = running(spec(1));
    unreachable(&mut house);
    assert_eq!(house.tasks(job), ["0#1 unreachable agent_unreachable"]);
    assert_eq!(house.view(job).summary.counts.unreachable, 1);
    house.registry(RegistryRecord::AgentReturned { agent: agent_id("m1") });
    assert_eq!(house.tasks(job), ["0#1 running agent_returned"]);
    assert_eq!(house.said(), ["m1: reconcile 1.0#1"]);
    house.pass(Span::from_secs(1));
    let later = house.submit(spec(1));
    house.allocate("m1", run(later, 0, 0, 1));
    house.started("m1", run(later, 0, 0, 1));
    assert_eq!(house.tasks(later), ["0#1 running launched"], "it came after that");
}

#[test]
fn a_job_that_says_so_is_tried_elsewhere_and_the_old_try_is_stopped_when_its_agent_returns() {
    let (mut house, job) = running(JobSpec { on_unreachable: OnUnreachable::Retry, ..spec(1) });
    unreachable(&mut house);
    assert_eq!(house.wrote()[2..], ["ended 1.0#1 gone agent_unreachable, again", "queued 1.0#2"]);
    house.allocate("m2", run(job, 0, 0, 2));
    assert_eq!(house.said(), ["m2: launch 1.0#2"]);
    house.registry(RegistryRecord::AgentReturned { agent: agent_id("m1") });
    assert_eq!(house.said(), ["m1: reconcile"]);
    house.started("m1", run(job, 0, 0, 1));
    assert_eq!(house.said(), ["m1: kill 1.0#1 not_wanted", "m1: acknowledge 2"]);
    house.ended("m1", run(job, 0, 0, 1), FINE);
    assert_eq!(house.tasks(job), ["0#2 starting granted"], "the old try counts for nothing");
}

#[test]
fn n5_a_task_that_ends_on_a_cut_off_agent_has_finished_when_the_report_arrives() {
    let (mut house, job) = running(spec(1));
    unreachable(&mut house);
    house.registry(RegistryRecord::AgentReturned { agent: agent_id("m1") });
    house.ended("m1", run(job, 0, 0, 1), FINE);
    assert_eq!(house.state(job), JobState::Finished);
}

#[test]
fn n4_a_job_cancelled_while_its_agent_is_away_is_stopped_when_it_returns() {
    let (mut house, job) = running(spec(1));
    unreachable(&mut house);
    house.cancel(job);
    assert_eq!(house.said(), Vec::<String>::new());
    house.registry(RegistryRecord::AgentReturned { agent: agent_id("m1") });
    assert_eq!(house.said(), ["m1: reconcile 1.0#1", "m1: kill 1.0#1 cancelled_by_user"]);
}

#[test]
fn n6_reports_of_an_earlier_life_or_of_a_gone_agent_are_not_acknowledged() {
    let (mut house, job) = running(spec(1));
    let (at, task) = (house.now, run(job, 0, 0, 1));
    house.report("m1", 7, vec![Report::Started { run: task, at }]);
    house.report("m9", 1, vec![Report::Started { run: task, at }]);
    assert_eq!(house.said(), Vec::<String>::new());
    house.registry(RegistryRecord::AgentGone { agent: agent_id("m1") });
    house.said();
    house.ended("m1", task, FINE);
    assert_eq!(house.said(), Vec::<String>::new());
    assert_eq!(house.tasks(job), ["0#1 gone agent_gone_by_operator"]);
}

#[test]
fn the_tasks_of_an_agent_that_has_forgotten_them_are_gone_and_tried_again_where_allowed() {
    for (retries, expected) in [(0, "0#1 gone agent_restarted"), (1, "0#2 queued waits_for_backoff")] {
        let (mut house, job) = running(JobSpec { retries, ..spec(1) });
        house.join("m1", 2);
        assert_eq!(house.tasks(job), [expected]);
    }
}

#[test]
fn the_tasks_of_a_silent_agent_that_another_takes_the_place_of_are_tried_again_only_where_two_may_run() {
    let cases =
        [(OnUnreachable::Wait, "0#1 gone agent_unreachable"), (OnUnreachable::Retry, "0#2 queued retried")];
    for (on_unreachable, expected) in cases {
        let (mut house, job) = running(JobSpec { retries: 3, on_unreachable, ..spec(1) });
        house.registry(RegistryRecord::AgentUnreachable { agent: agent_id("m1") });
        house.join("m1", 2);
        assert_eq!(house.tasks(job), [expected]);
        let (mut house, job) =
            running(JobSpec { retries: 3, on_unreachable: OnUnreachable::Wait, ..spec(1) });
        house.registry(RegistryRecord::AgentUnreachable { agent: agent_id("m1") });
        house.registry(RegistryRecord::AgentReturned { agent: agent_id("m1") });
        house.join("m1", 2);
        assert_eq!(
            house.tasks(job),
            ["0#2 queued waits_for_backoff"],
            "it knows that the life before is over"
        );
    }
}

#[test]
fn an_agent_that_joins_again_in_the_same_life_keeps_its_tasks() {
    let (mut house, job) = running(spec(1));
    house.join("m1", 1);
    assert_eq!(house.tasks(job), ["0#1 running launched"]);
    assert_eq!(house.said(), ["m1: reconcile 1.0#1"]);
}

#[test]
fn draining_lets_tasks_finish_and_draining_with_kill_stops_them() {
    let (mut house, job) = running(spec(1));
    house.registry(RegistryRecord::AgentDraining { agent: agent_id("m1"), kill: false });
    assert_eq!(house.tasks(job), ["0#1 running launched"]);
    house.said();
    house.registry(RegistryRecord::AgentDraining { agent: agent_id("m1"), kill: true });
    assert_eq!(house.last(), "killing 1.0#1 agent_drained");
    assert!(house.said().contains(&"m1: kill 1.0#1 agent_drained".to_owned()));
    house.ended("m1", run(job, 0, 0, 1), (TaskState::Killed, Reason::AgentDrained));
    assert_eq!(house.tasks(job), ["0#1 killed agent_drained"]);
}

#[test]
fn a_task_stopped_for_a_drain_is_tried_elsewhere_at_once_where_tries_are_left() {
    let (mut house, job) = running(JobSpec { retries: 1, ..spec(1) });
    house.registry(RegistryRecord::AgentDraining { agent: agent_id("m1"), kill: true });
    house.ended("m1", run(job, 0, 0, 1), (TaskState::Killed, Reason::AgentDrained));
    assert_eq!(house.last(), "queued 1.0#2");
}

#[test]
fn a_launch_that_is_not_confirmed_is_repeated_ever_more_rarely_until_it_is() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.allocate("m1", run(job, 0, 0, 1));
    house.said();
    house.pass(Span::from_millis(1_999));
    assert_eq!(house.said(), Vec::<String>::new());
    house.pass(Span::from_millis(1));
    assert_eq!(house.said(), ["m1: launch 1.0#1", "m1: reconcile 1.0#1"]);
    house.pass(Span::from_secs(3));
    assert_eq!(house.said(), Vec::<String>::new());
    house.pass(Span::from_secs(1));
    assert_eq!(house.said(), ["m1: launch 1.0#1", "m1: reconcile 1.0#1"]);
    house.started("m1", run(job, 0, 0, 1));
    house.said();
    house.pass(Span::from_secs(100));
    assert_eq!(house.said(), Vec::<String>::new());
}

#[test]
fn a_new_dispatcher_tells_every_agent_what_it_should_have() {
    let (mut house, job) = running(spec(3));
    house.allocate("m2", run(job, 1, 1, 1));
    house.restart();
    let said = ["m1: reconcile 1.0#1", "m2: launch 1.1#1", "m2: reconcile 1.1#1"];
    assert_eq!(house.said(), said);
    assert_eq!(house.tasks(job), ["0#1 running launched", "1#1 starting granted", "2#1 queued admitted"]);
}

#[test]
fn a_new_dispatcher_does_what_the_old_one_left_undone() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.cancel(job);
    // The old one died before it had read this, let alone answered it.
    let unread = house.allocated("m1", run(job, 0, 0, 1), 1);
    house.ledger.push(unread);
    house.restart();
    assert_eq!(house.last(), "returned 1.0#1");
}

#[test]
fn an_allocation_on_a_silent_agent_is_launched_when_the_agent_returns() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    unreachable(&mut house);
    house.said();
    house.allocate("m1", run(job, 0, 0, 1));
    assert_eq!(
        (house.said(), house.tasks(job)),
        (vec![], vec!["0#1 allocated agent_unreachable".to_owned()])
    );
    house.registry(RegistryRecord::AgentReturned { agent: agent_id("m1") });
    assert_eq!(house.said(), ["m1: launch 1.0#1", "m1: reconcile 1.0#1"]);
}

#[test]
fn reports_that_may_be_of_what_is_not_read_yet_are_not_acknowledged() {
    let (mut house, job) = running(spec(2));
    let ended = Report::Ended {
        run: run(job, 1, 1, 1),
        state: TaskState::Finished,
        reason: Reason::ExitedZero,
        started_at: None,
        ended_at: house.now,
        outcome: Outcome::default(),
    };
    let batch = ReportBatch {
        agent: agent_id("m1"),
        incarnation: Incarnation(1),
        sequence: 9,
        allocations: 2,
        reports: vec![ended],
    };
    house.give(Input::Reports(batch.clone()));
    assert_eq!(house.said(), Vec::<String>::new(), "the second allocation may be the one that it speaks of");
    house.allocate("m1", run(job, 1, 1, 1));
    house.said();
    house.give(Input::Reports(batch));
    assert_eq!(house.said(), ["m1: acknowledge 9"]);
    assert_eq!(house.last(), "ended 1.1#1 finished exited_zero");
}

#[test]
fn placements_whose_tasks_take_turns_are_launched_apart_when_that_is_repeated() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(6));
    let slots = [(0, 1, 1), (2, 3, 1), (4, 4, 1), (5, 5, 1)];
    let place = |(first, last, slots)| {
        let (agent, queue, slice) = (agent_id("m1"), queue("a"), slice());
        Placement { agent, run: run(job, first, last, 1), queue, slice, slots }
    };
    let placements = slots.map(place).into();
    house.record(Record::Offers(OffersRecord::Allocated { epoch: Epoch(1), grant: GrantId(1), placements }));
    house.restart();
    let said = house.said();
    let wanted = ["m1: launch 1.0-1#1, 1 at a time", "m1: launch 1.2-3#1, 1 at a time", "m1: launch 1.4-5#1"];
    assert_eq!(said[..3], wanted);
}

#[test]
fn an_order_is_meant_for_the_life_of_the_agent_that_was_known_when_it_was_given() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    let mut out = Vec::new();
    let allocated = house.allocated("m1", run(job, 0, 0, 1), 1);
    let facts = AgentFacts {
        id: agent_id("m1"),
        incarnation: Incarnation(2),
        host: "m1".into(),
        resources: slice(),
        attributes: Attributes::new(),
        program_version: String::new(),
    };
    let joined = Record::Registry(RegistryRecord::AgentJoined { facts: facts.into() });
    // Both are read before anything is sent.
    house.core.handle(house.now, Input::Ledger(allocated), &mut out);
    house.core.handle(house.now, Input::Ledger(Entry { at: house.now, record: joined }), &mut out);
    house.core.wake(house.now, &mut out);
    let batches = out.into_iter().filter_map(|output| match output {
        Output::Orders(_, batch) => Some((batch.incarnation.0, batch.allocations, batch.orders.len())),
        _ => None,
    });
    assert_eq!(
        batches.collect::<Vec<_>>(),
        [(1, 1, 1), (2, 1, 1)],
        "the launch, and what the new life should have"
    );
}
