//! What an agent does about what an earlier process of it began.

mod story;

use std::sync::Arc;

use allot_agent_core::{AgentCore, Input, JournalEntry};
use allot_model::{AgentFacts, AgentOrder, Core, JobSpec, Launch, Span};
use story::*;

fn limited(seconds: u64) -> JobSpec {
    JobSpec { time_limit: Some(Span::from_secs(seconds)), ..spec() }
}

fn exit_unseen(story: &mut Story, text: &str) {
    let exit = story.exit(None, None);
    story.give(Input::Exited { attempt: attempt(text), exit });
}

#[test]
fn what_still_runs_goes_on_and_its_end_is_reported_as_it_was() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1")]).started("7.0#1").orders(&[acknowledge(1)]).told();
    let mut story = story.restarted();
    story.did("0s take back 7.0#1 pid Some(77)\n0s hello");
    story.started("7.0#1").did("");
    story.orders(&[launch("7.0#1"), reconcile(&["7.0#1"])]).did("");
    story.exited("7.0#1", 3).did(
        "0s journal ended 7.0#1 failed exited_nonzero
         0s journal batch 2
         0s report 2: ended 7.0#1 failed exited_nonzero",
    );
}

#[test]
fn what_ended_unseen_is_gone_and_is_not_started_again() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-1#1")]).started("7.0#1").orders(&[acknowledge(1)]).told();
    let mut story = story.restarted();
    story.did("0s take back 7.0#1 pid Some(77), 7.1#1 pid None\n0s hello");
    exit_unseen(&mut story, "7.0#1");
    exit_unseen(&mut story, "7.1#1");
    story.orders(&[launch("7.0-1#1")]).did(
        "0s journal ended 7.0#1 gone agent_restarted
         0s journal batch 2
         0s report 2: ended 7.0#1 gone agent_restarted
         0s journal ended 7.1#1 gone agent_restarted, never ran",
    );
}

#[test]
fn what_was_started_and_not_noted_is_noted_once_it_is_found() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1")]).told();
    let mut story = story.restarted();
    story.did("0s take back 7.0#1 pid None\n0s hello");
    story.started("7.0#1").did(
        "0s journal running 7.0#1
         0s journal batch 1
         0s report 1: started 7.0#1",
    );
}

#[test]
fn reports_that_were_not_acknowledged_are_sent_again() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-1#1")]).started("7.0#1").exited("7.0#1", 0).started("7.1#1").told();
    let mut story = story.restarted();
    story.did(
        "0s take back 7.1#1 pid Some(77)
         0s report 1: started 7.0#1
         0s hello",
    );
    story.orders(&[acknowledge(1)]).did(
        "0s journal acknowledged 1
         0s journal batch 2
         0s report 2: ended 7.0#1 finished exited_zero, started 7.1#1",
    );
}

#[test]
fn what_runs_on_keeps_its_room() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1")]).started("7.0#1").orders(&[acknowledge(1)]).told();
    let mut story = story.restarted();
    story.started("7.0#1").told();
    story.orders(&[launch("8.0-1#1")]).did("0s journal starting 8.0#1\n0s spawn 8.0#1");
    story.exited("7.0#1", 0).orders(&[acknowledge(2)]).did(
        "0s journal ended 7.0#1 finished exited_zero
         0s journal starting 8.1#1
         0s spawn 8.1#1
         0s journal batch 2
         0s report 2: ended 7.0#1 finished exited_zero
         0s journal acknowledged 2",
    );
}

#[test]
fn a_time_limit_goes_on_from_when_the_process_really_started() {
    // The clock of the new life is an hour ahead of, or behind, the one by which the start was noted.
    for now_secs in [7_200, 0] {
        let mut story = Story::new();
        story.pass(3_600).orders(&[launch_of("7.0#1", limited(10))]).started("7.0#1");
        story.orders(&[acknowledge(1)]).told();
        story.now = Story::at(now_secs);
        let mut story = story.restarted();
        story.told();
        let started =
            Input::Started { attempt: attempt("7.0#1"), at: Story::at(now_secs), process: process() };
        story.welcomed().give(started).pass(9).did("");
        let told = story.pass(20).told();
        assert!(told.contains("stopping 7.0#1 time_limit") && told.contains("Kill"), "{told}");
    }
}

#[test]
fn a_time_limit_that_passed_meanwhile_is_kept_once_the_process_is_found() {
    let mut story = Story::new();
    story.orders(&[launch_of("7.0#1", limited(10))]).started("7.0#1").orders(&[acknowledge(1)]).told();
    story.now = Story::at(60);
    let mut story = story.restarted();
    story.told();
    let started = Input::Started { attempt: attempt("7.0#1"), at: Story::at(0), process: process() };
    story.welcomed().give(started).did(
        "60s journal stopping 7.0#1 time_limit
         60s signal 7.0#1 Terminate",
    );
    story.pass(5).did("65s signal 7.0#1 Kill");
}

#[test]
fn what_was_to_stop_is_stopped_for_the_same_reason() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-1#1")]).started("7.0#1").started("7.1#1").orders(&[acknowledge(1)]);
    story.orders(&[kill("7.0-1#1")]).told();
    let mut story = story.restarted();
    story.told();
    exit_unseen(&mut story, "7.0#1");
    assert!(story.told().contains("journal ended 7.0#1 killed cancelled_by_user"));
    story.welcomed().started("7.1#1").did("0s signal 7.1#1 Terminate");
    story.pass(5).did("1s report 2: started 7.1#1\n3s report 2: started 7.1#1\n5s signal 7.1#1 Kill");
}

#[test]
fn turns_go_on_in_the_slots_that_are_left() {
    let mut story = Story::new();
    let in_turns = |text: &str| match launch(text) {
        AgentOrder::Launch(launch) => AgentOrder::Launch(Launch { slots: 1, ..launch }),
        other => other,
    };
    story.orders(&[in_turns("7.0-3#1")]).started("7.0#1").orders(&[acknowledge(1)]).told();
    let mut story = story.restarted();
    story.started("7.0#1").told();
    story.orders(&[in_turns("7.1-3#1")]).did("");
    story.exited("7.0#1", 0).did(
        "0s journal ended 7.0#1 finished exited_zero
         0s journal starting 7.1#1
         0s spawn 7.1#1",
    );
}

#[test]
fn what_does_not_fit_into_resources_that_became_fewer_is_killed() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-1#1")]).started("7.0#1").started("7.1#1").orders(&[acknowledge(1)]).told();
    let fewer = AgentFacts { resources: cpus(1_000), ..(*facts()).clone() };
    let mut story = story.restarted_as(AgentCore::new(Arc::new(fewer), settings()));
    story.did(
        "0s take back 7.0#1 pid Some(77), kill pid 77
         0s journal ended 7.1#1 gone agent_restarted
         0s report 2: started 7.1#1
         0s hello",
    );
}

#[test]
fn what_an_agent_of_before_began_without_noting_what_it_holds_is_killed() {
    let mut story = Story::unread(settings());
    let old: JournalEntry = serde_json::from_str(r#"{"starting":{"run":"7.0#1"}}"#).unwrap();
    let mut out = Vec::new();
    story.core.handle(story.now, Input::Replay(old), &mut out);
    story.give(Input::Resume);
    let told = story.told();
    assert!(told.contains("journal ended 7.0#1 gone agent_restarted, never ran"), "{told}");
}

#[test]
fn an_agent_that_leaves_starts_nothing_more_and_stops_nothing() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-2#1")]).just_started("7.0#1").told();
    story.give(Input::Leave).did("");
    assert!(!story.core.starts_nothing(), "7.1#1 is being started");
    story.just_started("7.1#1").exited("7.0#1", 0).told();
    story.orders(&[launch("8.0#1"), kill("9.0#1")]).did("");
    assert!(story.core.starts_nothing());
    let mut story = story.restarted();
    story.did("0s take back 7.1#1 pid Some(77)\n0s report 1: started 7.1#1, ended 7.0#1 finished exited_zero\n0s hello");
}
