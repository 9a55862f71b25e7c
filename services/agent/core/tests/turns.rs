//! Tasks that take turns in fewer slots than there are tasks.

mod story;

use allot_model::AgentOrder;
use story::*;

/// A launch of tasks that take turns.
fn launch_in_turns(text: &str, slots: u64) -> AgentOrder {
    match launch(text) {
        AgentOrder::Launch(launch) => AgentOrder::Launch(allot_model::Launch { slots, ..launch }),
        other => other,
    }
}

#[test]
fn one_starts_when_another_ends_without_being_asked_for() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-2#1", 1)]).did(
        "0s journal starting 7.0#1
         0s spawn 7.0#1",
    );
    story.started("7.0#1").exited("7.0#1", 0).did(
        "0s journal running 7.0#1
         0s journal batch 1
         0s report 1: started 7.0#1
         0s journal ended 7.0#1 finished exited_zero
         0s journal starting 7.1#1
         0s spawn 7.1#1",
    );
}

#[test]
fn they_leave_the_other_slots_to_other_jobs() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-9#1", 1)]).told();
    story.orders(&[launch("8.0#1")]).did(
        "0s journal starting 8.0#1
         0s spawn 8.0#1",
    );
    story.exited("8.0#1", 0).did(
        "0s journal ended 8.0#1 finished exited_zero, never ran
         0s journal batch 1
         0s report 1: ended 8.0#1 finished exited_zero, never ran",
    );
}

#[test]
fn those_that_have_waited_for_too_long_are_handed_back_and_never_started() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-4#1", 2)]).started("7.0#1").exited("7.0#1", 0).told();
    story.pass(1).did(
        "0s journal ended 7.3-4#1 gone handed_back, never ran
         1s report 1: started 7.0#1",
    );
    story.orders(&[launch("7.3-4#1")]).did("");
    story.exited("7.1#1", 0).did("1s journal ended 7.1#1 finished exited_zero, never ran");
}

#[test]
fn a_kill_reaches_those_that_wait_for_their_turn() {
    let mut story = Story::new();
    story.orders(&[launch_in_turns("7.0-4#1", 1)]).told();
    story.orders(&[kill("7.0-4#1")]).did(
        "0s journal ended 7.1-4#1 killed cancelled_by_user, never ran
         0s journal stopping 7.0#1 cancelled_by_user
         0s journal batch 1
         0s report 1: ended 7.1-4#1 killed cancelled_by_user, never ran",
    );
}
