//! What an agent does, told as stories.

mod story;

use allot_agent_core::{Input, Output, Settings};
use allot_model::{AgentOrder, Core, Epoch, Incarnation, JobSpec, OrderBatch, Reason, Span, Welcome};
use story::*;

#[test]
fn a_task_is_journaled_before_it_is_started_and_reported_until_it_is_acknowledged() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1")]).did(
        "0s journal starting 7.0#1
         0s spawn 7.0#1",
    );
    story.started("7.0#1").did(
        "0s journal running 7.0#1
         0s journal batch 1
         0s report 1: started 7.0#1",
    );
    story.pass(4).did(
        "1s report 1: started 7.0#1
         3s report 1: started 7.0#1",
    );
    story.orders(&[acknowledge(1)]).did("4s journal acknowledged 1");
    story.exited("7.0#1", 0).did(
        "4s journal ended 7.0#1 finished exited_zero
         4s journal batch 2
         4s report 2: ended 7.0#1 finished exited_zero",
    );
    story.orders(&[acknowledge(2)]).did("4s journal acknowledged 2");
    story.pass(100).did("");
    assert!(story.core.is_idle());
}

#[test]
fn t12_reports_are_repeated_less_and_less_often_and_at_once_when_the_way_opens() {
    let mut story = Story::new();
    story.orders(&[kill("7.0#1")]).told();
    let repeats =
        |told: String| told.lines().map(|line| line.split_once('s').unwrap().0.trim().to_owned()).collect();
    let times: Vec<String> = repeats(story.pass(130).told());
    assert_eq!(times, ["1", "3", "7", "15", "31", "61", "91", "121"]);
    let times: Vec<String> = repeats(story.give(Input::Reconnected).pass(3).told());
    assert_eq!(times, ["130", "130", "131", "133"], "a beat, then the report, from the start of the backoff");
}

#[test]
fn a_repeated_launch_does_nothing() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1")]).started("7.0#1").told();
    story.orders(&[launch("7.0#1")]).did("");
    story.exited("7.0#1", 1).told();
    story.orders(&[launch("7.0#1")]).did("");
    story.orders(&[acknowledge(1)]).told();
    story.orders(&[acknowledge(2)]).told();
    assert!(story.core.is_idle());
    story.orders(&[launch("7.0#1")]).did("");
    story.orders(&[launch("7.0#2")]).did(
        "0s journal starting 7.0#2
         0s spawn 7.0#2",
    );
}

#[test]
fn t10_a_kill_that_overtakes_its_launch_wins() {
    let mut story = Story::new();
    story.orders(&[kill("7.0-1#1")]).did(
        "0s journal ended 7.0-1#1 gone unknown_to_agent, never ran
         0s journal batch 1
         0s report 1: ended 7.0-1#1 gone unknown_to_agent, never ran",
    );
    story.orders(&[launch("7.0-2#1")]).did(
        "0s journal starting 7.2#1
         0s spawn 7.2#1",
    );
    story.orders(&[acknowledge(1), launch("7.0-2#1")]).did("0s journal acknowledged 1");
}

#[test]
fn t9_a_repeated_kill_of_what_is_not_known_is_answered_once_for_each_acknowledgement() {
    let mut story = Story::new();
    story.orders(&[kill("7.0#1"), kill("7.0#1")]).told();
    story.orders(&[kill("7.0#1")]).did("");
    story.orders(&[acknowledge(1), kill("7.0#1")]).did(
        "0s journal acknowledged 1
         0s journal ended 7.0#1 gone unknown_to_agent, never ran
         0s journal batch 2
         0s report 2: ended 7.0#1 gone unknown_to_agent, never ran",
    );
}

#[test]
fn a_kill_while_a_launch_waits_for_room_means_that_it_never_starts() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-3#1")]).did(
        "0s journal starting 7.0-1#1
         0s spawn 7.0#1
         0s spawn 7.1#1",
    );
    story.orders(&[kill("7.3#1")]).did(
        "0s journal ended 7.3#1 killed cancelled_by_user, never ran
         0s journal batch 1
         0s report 1: ended 7.3#1 killed cancelled_by_user, never ran",
    );
    story.orders(&[launch("7.0-3#1")]).did("");
    story.exited("7.0#1", 0).did(
        "0s journal ended 7.0#1 finished exited_zero, never ran
         0s journal starting 7.2#1
         0s spawn 7.2#1",
    );
    story.exited("7.1#1", 0).exited("7.2#1", 0).told();
    story.orders(&[launch("7.0-3#1")]).did("");
}

#[test]
fn a_launch_waits_until_what_was_there_before_lets_go() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-1#1")]).started("7.0#1").started("7.1#1").told();
    story.orders(&[launch("8.0#1"), launch("9.0#1")]).did("");
    story.exited("7.1#1", 0).did(
        "0s journal ended 7.1#1 finished exited_zero
         0s journal starting 8.0#1
         0s spawn 8.0#1",
    );
}

#[test]
fn a_kill_is_sigterm_then_sigkill_after_the_grace_and_reported_once() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1")]).started("7.0#1").orders(&[acknowledge(1)]).told();
    story.orders(&[kill("7.0#1"), kill("7.0#1")]).did(
        "0s journal stopping 7.0#1 cancelled_by_user
         0s signal 7.0#1 Terminate",
    );
    story.pass(4).did("");
    story.orders(&[kill("7.0#1")]).pass(60).did("5s signal 7.0#1 Kill");
    let exit = story.exit(None, Some(9));
    story.give(Input::Exited { attempt: attempt("7.0#1"), exit: exit.clone() }).did(
        "64s journal ended 7.0#1 killed cancelled_by_user
         64s journal batch 2
         64s report 2: ended 7.0#1 killed cancelled_by_user",
    );
    story.give(Input::Exited { attempt: attempt("7.0#1"), exit }).did("");
}

#[test]
fn a_second_kill_with_less_grace_makes_it_sooner() {
    let mut story = Story::new();
    story
        .orders(&[launch("7.0#1")])
        .started("7.0#1")
        .orders(&[acknowledge(1)])
        .orders(&[kill("7.0#1")])
        .told();
    let sooner =
        AgentOrder::Kill { run: run("7.0#1"), grace: Span::from_secs(1), reason: Reason::AgentDrained };
    story.orders(&[sooner]).pass(9).did("1s signal 7.0#1 Kill");
    story.exited("7.0#1", 0).did(
        "9s journal ended 7.0#1 killed cancelled_by_user
         9s journal batch 2
         9s report 2: ended 7.0#1 killed cancelled_by_user",
    );
}

#[test]
fn t10_a_kill_while_the_process_is_being_started_is_sent_once_it_has_started() {
    let mut story = Story::new();
    story.orders(&[launch("7.0#1"), kill("7.0#1")]).did(
        "0s journal ended 7.0#1 killed cancelled_by_user, never ran
         0s journal batch 1
         0s report 1: ended 7.0#1 killed cancelled_by_user, never ran",
    );
    story.orders(&[launch("8.0#1")]).told();
    story.orders(&[kill("8.0#1")]).did("0s journal stopping 8.0#1 cancelled_by_user");
    story.started("8.0#1").did(
        "0s journal running 8.0#1
         0s signal 8.0#1 Terminate",
    );
}

#[test]
fn a_task_that_runs_too_long_has_failed() {
    let mut story = Story::new();
    let limited = JobSpec { time_limit: Some(Span::from_secs(10)), ..spec() };
    story.orders(&[launch_of("7.0#1", limited)]).started("7.0#1").orders(&[acknowledge(1)]).told();
    story.pass(20).did(
        "10s journal stopping 7.0#1 time_limit
         10s signal 7.0#1 Terminate
         15s signal 7.0#1 Kill",
    );
    story.exited("7.0#1", 0).did(
        "20s journal ended 7.0#1 failed time_limit
         20s journal batch 2
         20s report 2: ended 7.0#1 failed time_limit",
    );
}

#[test]
fn n12_a_reconciliation_kills_what_is_not_wanted_and_disowns_what_is_not_there() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-2#1")]).started("7.0#1").started("7.1#1").orders(&[acknowledge(1)]).told();
    story.orders(&[reconcile(&["7.1#1", "5.0-9#2"])]).did(
        "0s journal ended 7.2#1 killed not_wanted, never ran
         0s journal stopping 7.0#1 not_wanted
         0s signal 7.0#1 Terminate
         0s journal ended 5.0-9#2 gone unknown_to_agent, never ran
         0s report 2: started 7.1#1",
    );
    story.orders(&[launch("5.3#2")]).did("");
}

#[test]
fn a_start_and_an_end_that_gather_together_are_told_as_one() {
    let mut story = Story::new();
    story.orders(&[kill("1.0#1")]).orders(&[launch("7.0-1#1")]).told();
    story.started("7.0#1").started("7.1#1").exited("7.0#1", 3).told();
    story.orders(&[acknowledge(1)]).did(
        "0s journal acknowledged 1
         0s journal batch 2
         0s report 2: started 7.1#1, ended 7.0#1 failed exited_nonzero",
    );
}

#[test]
fn starts_at_the_same_moment_are_reported_as_one_run() {
    let mut story = Story::new();
    story
        .orders(&[kill("1.0#1")])
        .orders(&[launch("7.0-1#1")])
        .just_started("7.0#1")
        .just_started("7.1#1")
        .told();
    story.orders(&[acknowledge(1)]).pass_for(GATHER).did(
        "0s journal acknowledged 1
         0s journal batch 2
         0s report 2: started 7.0-1#1",
    );
}

#[test]
fn noop_tasks_end_at_once_as_runs() {
    let mut story = Story::new();
    story.orders(&[noop("7.0-999999#1")]).did(
        "0s journal ended 7.0-999999#1 finished exited_zero
         0s journal batch 1
         0s report 1: ended 7.0-999999#1 finished exited_zero",
    );
    story.orders(&[noop("7.999990-1000009#1"), noop("7.1000010-1000011#1"), noop("7.0-5#1")]).did(
        "0s journal ended 7.1000000-1000009#1 finished exited_zero
         0s journal ended 7.1000010-1000011#1 finished exited_zero",
    );
    story.orders(&[acknowledge(1)]).did(
        "0s journal acknowledged 1
         0s journal batch 2
         0s report 2: ended 7.1000000-1000011#1 finished exited_zero",
    );
}

#[test]
fn noop_tasks_fail_where_they_are_not_configured() {
    let mut story = Story::with(Settings { noop: false, ..settings() });
    story.orders(&[noop("7.0-9#1")]).did(
        "0s journal ended 7.0-9#1 failed launch_failed, never ran
         0s journal batch 1
         0s report 1: ended 7.0-9#1 failed launch_failed, never ran",
    );
}

#[test]
fn a_task_that_can_never_fit_fails() {
    let mut story = Story::new();
    story.orders(&[launch_in("7.0#1", spec(), cpus(2_001))]).did(
        "0s journal ended 7.0#1 failed launch_failed, never ran
         0s journal batch 1
         0s report 1: ended 7.0#1 failed launch_failed, never ran",
    );
}

#[test]
fn a_command_that_cannot_be_started_gives_its_room_back() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-2#1")]).told();
    let failed =
        Input::LaunchFailed { attempt: attempt("7.0#1"), at: story.now, message: "no such file".into() };
    story.give(failed).did(
        "0s journal ended 7.0#1 failed launch_failed, never ran
         0s journal starting 7.2#1
         0s spawn 7.2#1
         0s journal batch 1
         0s report 1: ended 7.0#1 failed launch_failed, never ran",
    );
}

#[test]
fn an_end_waits_for_its_output_but_not_for_long() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-1#1")]).started("7.0#1").started("7.1#1").orders(&[acknowledge(1)]).told();
    story.orders(&[acknowledge(2)]).told();
    for text in ["7.0#1", "7.1#1"] {
        let exit = allot_agent_core::Exit { has_output: true, ..story.exit(Some(0), None) };
        story.give(Input::Exited { attempt: attempt(text), exit });
    }
    story.did(
        "0s journal ended 7.0#1 finished exited_zero, held
         0s journal ended 7.1#1 finished exited_zero, held",
    );
    story.give(Input::OutputStored { attempt: attempt("7.0#1") }).did(
        "0s journal released 7.0#1
         0s journal batch 3
         0s report 3: ended 7.0#1 finished exited_zero",
    );
    story.orders(&[acknowledge(3)]).pass(2).did(
        "0s journal acknowledged 3
         2s journal released 7.1#1
         2s journal batch 4
         2s report 4: ended 7.1#1 finished exited_zero",
    );
    story.give(Input::OutputStored { attempt: attempt("7.1#1") }).did("");
}

#[test]
fn an_agent_says_hello_until_it_is_welcomed_and_then_beats() {
    let mut story = Story::unread(settings());
    story.give(Input::Resume).pass(2).did("0s hello\n1s hello\n2s hello");
    let admitted = Welcome::Admitted { beat_every: Span::from_secs(5) };
    story.give(Input::Welcome(admitted.clone())).pass(10).did("7s beat\n12s beat");
    story.give(Input::Welcome(Welcome::HelloNeeded)).did("12s hello");
    story.give(Input::Welcome(Welcome::HelloNeeded)).did("");
    story.give(Input::Welcome(Welcome::Refused { message: "full".into() })).pass(60).did(
        "12s refused: full
         42s hello
         43s hello
         44s hello
         45s hello
         46s hello
         47s hello
         48s hello
         49s hello
         50s hello
         51s hello
         52s hello
         53s hello
         54s hello
         55s hello
         56s hello
         57s hello
         58s hello
         59s hello
         60s hello
         61s hello
         62s hello
         63s hello
         64s hello
         65s hello
         66s hello
         67s hello
         68s hello
         69s hello
         70s hello
         71s hello
         72s hello",
    );
}

#[test]
fn an_agent_that_is_to_end_stops_what_runs_and_reports_it_as_gone() {
    let mut story = Story::new();
    story.orders(&[launch("7.0-2#1")]).started("7.0#1").started("7.1#1").orders(&[acknowledge(1)]).told();
    story.give(Input::Stop { grace: Span::from_secs(2) }).did(
        "0s signal 7.0#1 Terminate
         0s signal 7.1#1 Terminate",
    );
    story.orders(&[launch("9.0#1"), reconcile(&["7.0-1#1", "9.0#1"])]).told();
    assert!(
        story.core.memory().outbox().ended().is_empty(),
        "what never started is handed back once nothing runs"
    );
    story.exited("7.0#1", 0).pass(3).told();
    story.orders(&[acknowledge(2)]).did(
        "3s journal acknowledged 2
         3s journal batch 3
         3s report 3: ended 7.0#1 gone agent_restarted",
    );
    assert!(!story.core.runs_nothing());
    story.exited("7.1#1", 0).told();
    story.orders(&[acknowledge(3), acknowledge(4), launch("9.1#1"), launch("9.0#1")]).told();
    assert!(!story.core.is_idle(), "what it did not start is on its hands");
    story.pass(1).did(
        "3s journal ended 7.2#1 gone handed_back, never ran
         3s journal ended 9.0-1#1 gone handed_back, never ran
         4s report 4: ended 7.1#1 gone agent_restarted",
    );
    (4..7).for_each(|number| _ = story.orders(&[acknowledge(number)]));
    assert!(story.core.is_idle());
}

#[test]
fn orders_for_another_life_are_ignored() {
    let mut story = Story::new();
    let orders = vec![launch("7.0#1"), kill("8.0#1"), reconcile(&["9.0#1"])];
    story
        .give(Input::Orders(OrderBatch {
            epoch: Epoch(1),
            incarnation: Incarnation(8),
            allocations: 0,
            orders,
        }))
        .did("");
}

#[test]
fn orders_of_a_dispatcher_that_was_replaced_are_ignored_even_after_a_restart() {
    let mut story = Story::new();
    let late = |epoch| OrderBatch {
        epoch: Epoch(epoch),
        incarnation: LIFE,
        allocations: 0,
        orders: vec![launch("7.0#1")],
    };
    story.give(Input::Orders(OrderBatch { orders: Vec::new(), ..late(5) })).did("0s journal obeying 5");
    let mut story = story.restarted();
    story.give(Input::Orders(late(4))).did("0s hello");
    story.give(Input::Orders(late(5))).did("0s journal starting 7.0#1\n0s spawn 7.0#1");
}

fn said(epoch: u64, allocations: u64, orders: Vec<AgentOrder>) -> Input {
    Input::Orders(OrderBatch { epoch: Epoch(epoch), incarnation: LIFE, allocations, orders })
}

#[test]
fn what_a_dispatcher_had_not_read_of_is_not_stopped_by_it() {
    let mut story = Story::new();
    story.give(said(1, 7, vec![launch("7.0-2#1")])).started("7.0#1").told();
    let less = said(2, 6, vec![reconcile(&[]), kill("7.0-2#1")]);
    let told = story.give(less).told();
    assert!(!told.contains("signal") && !told.contains("ended"), "{told}");
    let told = story.give(said(2, 7, vec![reconcile(&[])])).told();
    assert!(
        told.contains("signal 7.0#1 Terminate") && told.contains("ended 7.2#1 killed not_wanted"),
        "{told}"
    );
}

#[test]
fn reports_tell_how_much_a_dispatcher_has_to_have_read_even_after_a_restart() {
    let mut story = Story::new();
    let orders = vec![launch("7.0#1")];
    story.give(said(1, 7, orders)).started("7.0#1").exited("7.0#1", 0).told();
    let mut story = story.restarted();
    let mut out = Vec::new();
    story.core.wake(story.now + Span::from_secs(60), &mut out);
    let known = out.into_iter().find_map(|output| match output {
        Output::Report(batch) => Some(batch.allocations),
        _ => None,
    });
    assert_eq!(known, Some(7));
}

#[test]
fn t12_an_acknowledgement_of_an_earlier_batch_does_not_end_a_later_one() {
    let mut story = Story::new();
    story.orders(&[kill("7.0#1")]).orders(&[acknowledge(1)]).orders(&[kill("8.0#1")]).told();
    story.orders(&[acknowledge(1), acknowledge(0)]).did("");
    story.orders(&[acknowledge(2)]).did("0s journal acknowledged 2");
}
