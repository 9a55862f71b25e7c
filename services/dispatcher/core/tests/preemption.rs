//! Tasks that are stopped for others run again, and it counts against nobody.
#![allow(clippy::unwrap_used)]

mod harness;

use allot_model::*;
use harness::*;

const STOPPED: (TaskState, Reason) = (TaskState::Killed, Reason::PreemptedForPriority);

/// A task of job 1, which may be tried `retries` times more, runs on `m1`; job 2 waits.
fn running(retries: u32) -> House {
    let mut house = House::new();
    house.join("m1", 1);
    house.submit(JobSpec { retries, ..spec(1) });
    house.submit(spec(1));
    house.allocate("m1", run(1, 0, 0, 1));
    house.started("m1", run(1, 0, 0, 1));
    house.said();
    house
}

#[test]
fn a_preempted_task_is_asked_to_stop_with_its_grace_and_waits_again_once_it_has_ended() {
    let mut house = running(1);
    house.preempt("m1", run(1, 0, 0, 1), 2);
    assert_eq!(house.last(), "killing 1.0#1 preempted_for_priority by 2 of a");
    assert_eq!(house.said(), ["m1: kill 1.0#1 preempted_for_priority"]);
    assert_eq!(house.tasks(1), ["0#1 killing preempted_for_priority"]);
    let by = Some(Preemptor { job: JobId(2), queue: queue("a") });
    assert_eq!(house.view(1).runs[0].attempt.by, by);
    house.ended("m1", run(1, 0, 0, 1), STOPPED);
    assert_eq!(house.last(), "queued 1.0#2");
    let shown = house.view(1).runs.remove(0);
    assert_eq!((shown.attempt.state, shown.attempt.by), (TaskState::Queued, None));
    let earlier = &shown.earlier[0];
    assert_eq!((earlier.state, earlier.reason, &earlier.by), (STOPPED.0, STOPPED.1, &by));
}

#[test]
fn being_preempted_uses_up_no_try_however_often_it_happens() {
    let mut house = running(1);
    for attempt in 1..6 {
        house.preempt("m1", run(1, 0, 0, attempt), 2);
        house.ended("m1", run(1, 0, 0, attempt), (TaskState::Failed, Reason::ExitedNonzero));
        assert_eq!(house.tasks(1), [format!("0#{} queued retried", attempt + 1)]);
        house.allocate("m1", run(1, 0, 0, attempt + 1));
        house.started("m1", run(1, 0, 0, attempt + 1));
    }
    house.ended("m1", run(1, 0, 0, 6), BAD);
    assert_eq!(house.tasks(1), ["0#7 queued waits_for_backoff"], "its one try more is there yet");
    house.pass(Span::from_secs(9));
    house.allocate("m1", run(1, 0, 0, 7));
    house.ended("m1", run(1, 0, 0, 7), BAD);
    assert_eq!(house.tasks(1), ["0#7 failed exited_nonzero"]);
}

#[test]
fn a_task_that_must_not_run_twice_is_not_stopped() {
    let mut house = running(0);
    house.preempt("m1", run(1, 0, 0, 1), 2);
    assert_eq!((house.tasks(1), house.said()), (vec!["0#1 running launched".to_owned()], vec![]));
}

#[test]
fn one_that_finishes_before_it_is_stopped_has_finished() {
    let mut house = running(1);
    house.preempt("m1", run(1, 0, 0, 1), 2);
    house.ended("m1", run(1, 0, 0, 1), FINE);
    assert_eq!(house.tasks(1), ["0#1 finished exited_zero"]);
    assert_eq!(house.view(1).runs[0].attempt.by, None);
}

#[test]
fn a_user_who_cancels_a_task_that_is_being_preempted_has_it_killed_for_good() {
    let mut house = running(1);
    house.preempt("m1", run(1, 0, 0, 1), 2);
    house.cancel(1);
    house.ended("m1", run(1, 0, 0, 1), STOPPED);
    assert_eq!(house.tasks(1), ["0#1 killed cancelled_by_user"]);
}

#[test]
fn one_that_is_lost_while_it_is_being_stopped_waits_again() {
    for (lost, reason) in
        [("restarts", Reason::PreemptedForPriority), ("is gone", Reason::AgentGoneByOperator)]
    {
        let mut house = running(1);
        house.preempt("m1", run(1, 0, 0, 1), 2);
        match lost {
            "restarts" => house.join("m1", 2),
            _ => house.registry(RegistryRecord::AgentGone { agent: agent_id("m1") }),
        }
        house.pass(Span::from_secs(9));
        assert_eq!(house.tasks(1), ["0#2 queued retried"], "its agent {lost}");
        assert_eq!(house.view(1).runs[0].earlier[0].reason, reason, "its agent {lost}");
    }
}

#[test]
fn what_has_ended_or_is_at_another_try_is_not_stopped() {
    let mut house = running(1);
    house.preempt("m1", run(1, 0, 0, 2), 2);
    house.preempt("m2", run(1, 0, 0, 1), 2);
    house.ended("m1", run(1, 0, 0, 1), FINE);
    house.preempt("m1", run(1, 0, 0, 1), 2);
    assert!(!house.wrote().iter().any(|record| record.starts_with("killing")));
}

#[test]
fn a_new_dispatcher_stops_what_the_old_one_did_not_come_to() {
    let mut house = running(1);
    let unread = Entry { at: house.now, record: house.preempted("m1", run(1, 0, 0, 1), 2) };
    house.ledger.push(unread);
    house.restart();
    assert_eq!(house.last(), "killing 1.0#1 preempted_for_priority by 2 of a");
    assert!(house.said().contains(&"m1: kill 1.0#1 preempted_for_priority".to_owned()));
    house.restart();
    let killing = house.wrote().iter().filter(|record| record.starts_with("killing")).count();
    assert_eq!(killing, 1, "the next one tells the agent again and writes nothing");
    assert!(house.said().contains(&"m1: kill 1.0#1 preempted_for_priority".to_owned()));
}
