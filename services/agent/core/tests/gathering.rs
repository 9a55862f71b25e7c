//! Reports that nobody waits for gather for a moment; those that free a place do not wait.

mod story;

use allot_agent_core::{Exit, Input};
use allot_model::{AgentOrder, Span};
use story::*;

/// A launch of tasks that take turns in one slot.
fn launch_in_turns(text: &str) -> AgentOrder {
    match launch(text) {
        AgentOrder::Launch(launch) => AgentOrder::Launch(allot_model::Launch { slots: 1, ..launch }),
        other => other,
    }
}

#[test]
fn a_start_is_reported_a_moment_later_and_with_what_gathered_meanwhile() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-1#1")]).just_started("7.0#1").pass_for(Span::from_millis(9)).told();
    story.just_started("7.1#1").did("0s journal running 7.1#1");
    story.pass_for(Span::from_millis(1)).did(
        "0s journal batch 1
         0s report 1: started 7.0#1, started 7.1#1",
    );
}

#[test]
fn a_task_that_is_over_in_a_moment_is_reported_once_and_at_once() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1")]).just_started("7.0#1").exited("7.0#1", 0).did(
        "0s journal starting 7.0#1
         0s spawn 7.0#1
         0s journal running 7.0#1
         0s journal ended 7.0#1 finished exited_zero
         0s journal batch 1
         0s report 1: ended 7.0#1 finished exited_zero",
    );
}

#[test]
fn the_end_that_frees_a_slot_is_reported_at_once_with_those_before_it() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-1#1")]).just_started("7.0#1").exited("7.0#1", 0).did(
        "0s journal starting 7.0#1
         0s spawn 7.0#1
         0s journal running 7.0#1
         0s journal ended 7.0#1 finished exited_zero
         0s journal starting 7.1#1
         0s spawn 7.1#1",
    );
    story.just_started("7.1#1").exited("7.1#1", 0).did(
        "0s journal running 7.1#1
         0s journal ended 7.1#1 finished exited_zero
         0s journal batch 1
         0s report 1: ended 7.0-1#1 finished exited_zero",
    );
}

#[test]
fn ends_in_a_slot_that_goes_on_are_reported_a_moment_later() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-9#1")]).just_started("7.0#1").exited("7.0#1", 0).told();
    story.pass_for(Span::from_millis(10)).did(
        "0s journal batch 1
         0s report 1: ended 7.0#1 finished exited_zero",
    );
}

#[test]
fn an_end_whose_output_is_stored_late_gathers_as_if_it_came_then() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-2#1")]).just_started("7.0#1");
    let exit = Exit { has_output: true, ..story.exit(Some(0), None) };
    story.give(Input::Exited { attempt: attempt("7.0#1"), exit }).told();
    story.give(Input::OutputStored { attempt: attempt("7.0#1") }).did("0s journal released 7.0#1");
    story.pass_for(GATHER).did(
        "0s journal batch 1
         0s report 1: ended 7.0#1 finished exited_zero",
    );
}

#[test]
fn what_gathered_in_an_earlier_life_is_reported_at_once() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-9#1")]).just_started("7.0#1").exited("7.0#1", 0).told();
    assert!(story.restarted().told().contains("report 1: ended 7.0#1 finished exited_zero"));
}
