//! A job's way through the dispatcher.
#![allow(clippy::unwrap_used)]

mod harness;

use std::sync::Arc;

use allot_dispatcher_core::Input;
use allot_model::view::{Answer, RefusalKind};
use allot_model::*;
use harness::*;

#[test]
fn a_job_is_admitted_launched_and_finished() {
    let mut house = House::new();
    house.join("m1", 1);
    house.said();
    let job = house.submit(spec(2));
    assert_eq!(house.tasks(job), ["0-1#1 queued admitted"]);
    house.allocate("m1", run(job, 0, 1, 1));
    assert_eq!(house.said(), ["m1: launch 1.0-1#1"]);
    assert_eq!(house.tasks(job), ["0-1#1 starting granted"]);
    house.started("m1", run(job, 0, 1, 1));
    assert_eq!(house.tasks(job), ["0-1#1 running launched"]);
    house.ended("m1", run(job, 1, 1, 1), FINE);
    assert_eq!(
        (house.state(job), house.last()),
        (JobState::Running, "ended 1.1#1 finished exited_zero".into())
    );
    house.ended("m1", run(job, 0, 0, 1), FINE);
    assert_eq!((house.state(job), house.last()), (JobState::Finished, "job 1 finished".into()));
    assert_eq!(house.said(), ["m1: acknowledge 1", "m1: acknowledge 2", "m1: acknowledge 3"]);
}

#[test]
fn tasks_that_take_turns_are_launched_together_with_their_slots() {
    let mut house = House::new();
    house.join("m1", 1);
    house.said();
    let job = house.submit(spec(10));
    house.allocate_slots("m1", run(job, 0, 9, 1), 2);
    assert_eq!(house.said(), ["m1: launch 1.0-9#1, 2 at a time"]);
    house.ended("m1", run(job, 0, 5, 1), FINE);
    assert_eq!(house.tasks(job), ["0-5#1 finished exited_zero", "6-9#1 starting granted"]);
}

#[test]
fn tasks_that_did_not_have_their_turn_wait_again_and_it_counts_against_nobody() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(JobSpec { retries: 0, ..spec(4) });
    house.allocate_slots("m1", run(job, 0, 3, 1), 1);
    house.ended("m1", run(job, 2, 3, 1), (TaskState::Gone, Reason::HandedBack));
    assert_eq!(house.last(), "queued 1.2-3#2");
    assert_eq!(house.tasks(job), ["0-1#1 starting granted", "2-3#2 queued retried"]);
    assert!(house.view(job).runs.iter().all(|run| run.earlier.is_empty()), "nothing ran");
    house.ended("m1", run(job, 0, 1, 1), FINE);
    house.allocate("m1", run(job, 2, 3, 2));
    house.ended("m1", run(job, 2, 3, 2), FINE);
    assert_eq!(house.state(job), JobState::Finished);
}

#[test]
fn a_report_that_comes_twice_is_acknowledged_twice_and_recorded_once() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.allocate("m1", run(job, 0, 0, 1));
    house.ended("m1", run(job, 0, 0, 1), FINE);
    let wrote = house.wrote();
    house.said();
    house.ended("m1", run(job, 0, 0, 1), FINE);
    assert_eq!((house.wrote(), house.said()), (wrote, vec!["m1: acknowledge 2".to_owned()]));
}

#[test]
fn a_failed_task_is_tried_again_after_a_pause_that_doubles_until_its_tries_are_used_up() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(JobSpec { retries: 2, ..spec(1) });
    for (attempt, pause) in [(1, 1), (2, 2)] {
        house.allocate("m1", run(job, 0, 0, attempt));
        house.ended("m1", run(job, 0, 0, attempt), BAD);
        assert_eq!(house.tasks(job), [format!("0#{} queued waits_for_backoff", attempt + 1)]);
        house.pass(Span::from_millis(pause * 1_000 - 1));
        assert_eq!(house.last(), format!("ended 1.0#{attempt} failed exited_nonzero, again"));
        house.pass(Span::from_millis(1));
        assert_eq!(house.last(), format!("queued 1.0#{}", attempt + 1));
    }
    house.allocate("m1", run(job, 0, 0, 3));
    house.ended("m1", run(job, 0, 0, 3), BAD);
    assert_eq!((house.state(job), house.last()), (JobState::Failed, "job 1 failed".into()));
    let view = house.view(job);
    let earlier: Vec<u32> = view.runs[0].earlier.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!((view.runs[0].attempt.attempt, earlier), (3, vec![1, 2]));
}

#[test]
fn a_pause_that_was_noted_by_a_clock_far_ahead_takes_no_longer_than_any_under_the_next_dispatcher() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(JobSpec { retries: 2, backoff: Span::from_secs(5), ..spec(2) });
    house.allocate("m1", run(job, 0, 1, 1));
    house.now = house.now + Span::from_secs(3_600);
    house.ended("m1", run(job, 0, 0, 1), BAD);
    house.now = house.now - Span::from_secs(3_600);
    house.restart();
    house.pass(Span::from_millis(4_999));
    assert_ne!(house.last(), "queued 1.0#2");
    house.pass(Span::from_millis(1));
    assert_eq!(house.last(), "queued 1.0#2");
    // One that begins under it takes its whole time.
    house.ended("m1", run(job, 1, 1, 1), BAD);
    house.pass(Span::from_millis(4_999));
    assert_ne!(house.last(), "queued 1.1#2");
    house.pass(Span::from_millis(1));
    assert_eq!(house.last(), "queued 1.1#2");
}

#[test]
fn a_launch_is_repeated_though_its_allocation_was_written_by_a_clock_far_ahead() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    let allocated = house.allocated("m1", run(job, 0, 0, 1), 1);
    house.give(Input::Ledger(Entry { at: house.now + Span::from_secs(3_600), ..allocated }));
    assert!(house.said().iter().any(|said| said.starts_with("m1: launch 1.0#1")));
    house.pass(Span::from_secs(5));
    let said = house.said();
    assert!(said.iter().any(|said| said.starts_with("m1: launch 1.0#1")), "{said:?}");
}

#[test]
fn a_task_without_retries_fails_once_and_for_all() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(2));
    house.allocate("m1", run(job, 0, 1, 1));
    house.ended("m1", run(job, 0, 0, 1), BAD);
    house.ended("m1", run(job, 1, 1, 1), FINE);
    assert_eq!(house.tasks(job), ["0#1 failed exited_nonzero", "1#1 finished exited_zero"]);
    assert_eq!(house.state(job), JobState::Failed);
}

#[test]
fn cancelling_kills_what_waits_at_once_and_stops_what_runs() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(3));
    house.allocate("m1", run(job, 0, 0, 1));
    house.started("m1", run(job, 0, 0, 1));
    house.said();
    house.cancel(job);
    assert_eq!(house.tasks(job), ["0#1 killing cancelled_by_user", "1-2#1 killed cancelled_by_user"]);
    assert_eq!(house.said(), ["m1: kill 1.0#1 cancelled_by_user"]);
    house.ended("m1", run(job, 0, 0, 1), (TaskState::Killed, Reason::CancelledByUser));
    assert_eq!((house.state(job), house.last()), (JobState::Killed, "job 1 killed".into()));
}

#[test]
fn t10_a_task_killed_before_it_started_is_killed_once_and_never_runs() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.allocate("m1", run(job, 0, 0, 1));
    house.cancel(job);
    house.ended("m1", run(job, 0, 0, 1), (TaskState::Gone, Reason::UnknownToAgent));
    assert_eq!(house.tasks(job), ["0#1 killed cancelled_by_user"]);
    assert!(!house.wrote().iter().any(|text| text.starts_with("started")));
}

#[test]
fn a_task_that_finishes_while_it_is_being_killed_has_finished() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.allocate("m1", run(job, 0, 0, 1));
    house.cancel(job);
    house.ended("m1", run(job, 0, 0, 1), FINE);
    assert_eq!(house.state(job), JobState::Finished);
}

#[test]
fn what_cannot_be_cancelled_is_said() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.allocate("m1", run(job, 0, 0, 1));
    house.ended("m1", run(job, 0, 0, 1), FINE);
    house.cancel(job);
    house.cancel(99);
    let codes: Vec<RefusalKind> = house
        .answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Error(refusal) => Some(refusal.code),
            Answer::Ok(_) => None,
        })
        .collect();
    assert_eq!(codes, [RefusalKind::Conflict, RefusalKind::NotFound]);
}

#[test]
fn an_allocation_that_is_not_wanted_is_returned_and_nothing_runs() {
    let mut house = House::new();
    house.join("m1", 1);
    house.said();
    let job = house.submit(spec(2));
    house.cancel(job);
    house.allocate("m1", run(job, 0, 1, 1));
    assert_eq!(house.last(), "returned 1.0-1#1");
    house.allocate("m1", run(77, 0, 0, 1));
    assert_eq!(house.last(), "returned 77.0#1");
    assert_eq!(house.said(), Vec::<String>::new());
}

#[test]
fn a_job_waits_for_those_it_names_and_runs_when_they_have_finished() {
    let mut house = House::new();
    house.join("m1", 1);
    let first = house.submit(spec(1));
    let second = house.submit(JobSpec { after: vec![JobId(first)], ..spec(1) });
    assert_eq!(house.tasks(second), ["0#1 queued waits_for_dependency"]);
    assert_eq!(house.state(second), JobState::Waiting);
    house.allocate("m1", run(first, 0, 0, 1));
    house.ended("m1", run(first, 0, 0, 1), FINE);
    assert_eq!(house.last(), "ready 2");
    assert_eq!(house.tasks(second), ["0#1 queued admitted"]);
    let third = house.submit(JobSpec { after: vec![JobId(first)], ..spec(1) });
    assert_eq!(house.state(third), JobState::Queued, "what has finished need not be waited for");
}

#[test]
fn a_job_whose_dependency_did_not_finish_is_dropped_and_so_are_those_after_it() {
    let mut house = House::new();
    house.join("m1", 1);
    let first = house.submit(spec(1));
    let second = house.submit(JobSpec { after: vec![JobId(first)], ..spec(1) });
    let third = house.submit(JobSpec { after: vec![JobId(second)], ..spec(1) });
    house.cancel(first);
    for job in [second, third] {
        assert_eq!(house.tasks(job), ["0#1 dropped dependency_failed"]);
        assert_eq!(house.state(job), JobState::Dropped);
    }
    let late = house.submit(JobSpec { after: vec![JobId(third)], ..spec(1) });
    assert_eq!(house.state(late), JobState::Dropped);
}

#[test]
fn a_dependency_that_does_not_exist_is_refused_by_name() {
    let mut house = House::new();
    let job = house.submit(JobSpec { after: vec![JobId(7)], ..spec(1) });
    assert_eq!(house.last(), "rejected 1 after[0]");
    let rejection = house.view(job).rejection.unwrap();
    assert!(rejection.message.contains("there is no job 7"), "{rejection:?}");
}

#[test]
fn a_bad_submission_is_rejected_and_the_next_one_runs() {
    let mut house = House::new();
    let rejection = Rejection { field: "tasks".into(), message: "0: at least 1".into() };
    let bad = house.submit_as(None, Err(rejection.clone()));
    let good = house.submit(spec(1));
    assert_eq!((house.state(bad), house.view(bad).rejection), (JobState::Rejected, Some(rejection)));
    assert_eq!(house.state(good), JobState::Queued);
}

#[test]
fn the_same_message_id_makes_one_job_however_late_it_comes_again() {
    let mut house = House::new();
    let content = || Ok((queue("a"), Arc::new(spec(1))));
    let first = house.submit_as(Some("x"), content());
    house.pass(Span::from_secs(3_600));
    let second = house.submit_as(Some("x"), content());
    assert_eq!((house.state(first), house.state(second)), (JobState::Queued, JobState::Rejected));
    assert_eq!(house.view(second).rejection.unwrap().field, "Nats-Msg-Id");
}

#[test]
fn the_oldest_ended_jobs_are_forgotten_and_the_others_kept() {
    let options = allot_dispatcher_core::Options { keep_jobs: 2, ..Default::default() };
    let mut house = House::with(options);
    house.join("m1", 1);
    let live = house.submit(spec(1));
    let ended: Vec<u64> = (0..3)
        .map(|_| {
            let job = house.submit(spec(1));
            house.cancel(job);
            job
        })
        .collect();
    house.cancel(ended[0]);
    assert!(
        matches!(house.answers.last(), Some(Answer::Error(refusal)) if refusal.code == RefusalKind::NotFound)
    );
    assert_eq!((house.state(live), house.state(ended[2])), (JobState::Queued, JobState::Killed));
    assert!(house.rebuilt().same_state(&house.core));
}

#[test]
fn a_message_id_without_end_is_no_reason_to_keep_it() {
    let mut house = House::new();
    let good = || Ok((queue("a"), Arc::new(spec(1))));
    let long = house.submit_as(Some(&"\u{7f}".repeat(250_000)), good());
    let rejection = house.view(long).rejection.unwrap();
    assert_eq!(rejection.field, "Nats-Msg-Id");
    assert_eq!(rejection.message, "250000 bytes are given: write at most 255");
    let next = house.submit_as(Some(&"x".repeat(255)), good());
    assert_eq!(house.state(next), JobState::Queued);
}

#[test]
fn of_what_an_agent_says_about_an_end_only_so_much_is_kept() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.allocate("m1", run(job, 0, 0, 1));
    let outcome = Outcome { message: Some("é".repeat(500_000).into()), ..Outcome::default() };
    let (state, reason, ended_at) = (TaskState::Failed, Reason::LaunchFailed, Time::MAX);
    let end = Report::Ended {
        run: run(job, 0, 0, 1),
        state,
        reason,
        started_at: Some(Time::MAX),
        ended_at,
        outcome,
    };
    house.report("m1", 1, vec![end]);
    let kept = house.view(job).runs[0].attempt.outcome.clone().unwrap().message.unwrap();
    assert_eq!(kept.chars().count(), 1_001);
    assert_eq!(house.state(job), JobState::Failed);
}

#[test]
fn reports_of_tasks_that_were_never_there_are_acknowledged_and_change_nothing() {
    let mut house = House::new();
    house.join("m1", 1);
    let job = house.submit(spec(1));
    house.allocate("m1", run(job, 0, 0, 1));
    let (before, placed) = (house.wrote(), house.tasks(job));
    house.said();
    for strange in [run(99, 0, u32::MAX, 1), run(job, 1, u32::MAX, 1), run(job, 0, 0, 7), run(job, 0, 0, 0)] {
        house.ended("m1", strange, FINE);
        house.started("m1", strange);
    }
    house.ended("m2", run(job, 0, 0, 1), FINE);
    house.report("m1", 7, vec![Report::Started { run: run(job, 0, 0, 1), at: house.now }]);
    assert_eq!((house.wrote(), house.tasks(job)), (before, placed));
    let acknowledged = house.said().into_iter().filter(|order| order.contains("acknowledge")).count();
    assert_eq!(acknowledged, 8, "neither the agent that is not known nor the one of another life");
}
