//! N: agents that fall silent, come back, are drained, and go.

use allot_conformance::{Cluster, TIMEOUT};
use allot_model::{AgentState, JobState};
use serde_json::json;

use crate::{TWO, half, whole};

/// A cluster in which the only task of a job runs on `m1`, and nothing waits.
fn running() -> (Cluster, u64) {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    let job = cluster.submit("a", &half(""));
    cluster.pass_secs(1);
    assert_eq!(cluster.tasks(job), ["0#1 running launched"]);
    (cluster, job)
}

/// The same, and the agent has been cut off for so long that it is unreachable.
fn cut_off() -> (Cluster, u64) {
    let (mut cluster, job) = running();
    cluster.cut("m1");
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.tasks(job), ["0#1 unreachable agent_unreachable"]);
    (cluster, job)
}

#[test]
fn n1_an_agent_is_unreachable_when_it_has_missed_five_beats_and_its_offer_is_taken_back() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    cluster.join("m2", TWO);
    cluster.cut("m1");
    cluster.pass_secs(74);
    assert_eq!((cluster.agent("m1").state, cluster.offered("m1").is_some()), (AgentState::Ready, true));
    cluster.pass_secs(1);
    assert_eq!((cluster.agent("m1").state, cluster.offered("m1")), (AgentState::Unreachable, None));
    cluster.pass_secs(1_000);
    assert_eq!(cluster.registered("m1"), ["joined", "unreachable"], "once");
    assert_eq!(cluster.offers.counts().offers_rescinded, 1);
    assert_eq!((cluster.agent("m2").state, cluster.offered("m2").is_some()), (AgentState::Ready, true));
}

#[test]
fn n2_a_task_of_an_agent_that_returns_runs_on_and_was_never_stopped() {
    let (mut cluster, job) = cut_off();
    cluster.mend("m1");
    assert_eq!(cluster.tasks(job), ["0#1 running agent_returned"]);
    assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 1, "mem": "512MiB"})));
    cluster.pass_secs(60);
    assert_eq!(cluster.machine("m1").running.len(), 1);
    assert_eq!(cluster.history(job), [format!("started {job}.0#1")]);
    cluster.exit("m1", &format!("{job}.0#1"), 0);
    assert_eq!(cluster.state(job), JobState::Finished);
}

#[test]
fn n2_a_task_that_is_to_be_tried_elsewhere_is_and_its_old_try_is_stopped_on_return() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    let job = cluster.submit("a", &half(r#", "on_unreachable": "retry""#));
    cluster.pass_secs(1);
    cluster.cut("m1");
    cluster.pass(TIMEOUT);
    assert_eq!(cluster.tasks(job), ["0#2 queued retried"]);
    cluster.join("m2", TWO);
    cluster.pass_secs(1);
    assert_eq!(cluster.tasks(job), ["0#2 running launched"]);
    cluster.mend("m1");
    cluster.pass_secs(20);
    assert_eq!((cluster.machine("m1").running.len(), cluster.machine("m2").running.len()), (0, 1));
    assert_eq!(cluster.tasks(job), ["0#2 running launched"], "the end of the old try counts for nothing");
}

#[test]
fn n4_a_task_of_a_job_cancelled_meanwhile_is_killed_on_return() {
    let (mut cluster, job) = cut_off();
    cluster.cancel(job);
    cluster.pass_secs(10);
    assert_eq!(cluster.machine("m1").running.len(), 1, "nobody can tell it");
    cluster.mend("m1");
    cluster.pass_secs(1);
    assert_eq!((cluster.state(job), cluster.machine("m1").running.len()), (JobState::Killed, 0));
    let history = [format!("started {job}.0#1"), format!("ended {job}.0#1 killed cancelled_by_user")];
    assert_eq!(cluster.history(job), history);
}

#[test]
fn n5_a_task_that_ended_on_a_cut_off_agent_has_finished_after_its_return() {
    for before_the_timeout in [true, false] {
        let (mut cluster, job) = running();
        cluster.cut("m1");
        cluster.pass_secs(if before_the_timeout { 1 } else { 80 });
        cluster.exit("m1", &format!("{job}.0#1"), 0);
        cluster.pass_secs(300);
        assert_eq!(cluster.tasks(job), ["0#1 unreachable agent_unreachable"]);
        cluster.mend("m1");
        cluster.pass_secs(1);
        assert_eq!(cluster.state(job), JobState::Finished);
        assert!(cluster.machine("m1").core.is_idle(), "its report is acknowledged");
    }
}

#[test]
fn n6_reports_of_an_agent_that_was_given_up_are_dropped_and_it_has_to_join_anew() {
    let (mut cluster, job) = cut_off();
    cluster.gone("m1");
    let ended = [format!("started {job}.0#1"), format!("ended {job}.0#1 gone agent_gone_by_operator")];
    cluster.exit("m1", &format!("{job}.0#1"), 0);
    cluster.mend("m1");
    cluster.pass_secs(100);
    assert_eq!(cluster.history(job), ended, "what it reports now changes nothing");
    assert!(!cluster.machine("m1").core.is_idle(), "and is not acknowledged");
    assert_eq!(cluster.agent("m1").state, AgentState::Gone);
    cluster.start("m1", 2, TWO);
    assert_eq!((cluster.agent("m1").state, cluster.offered("m1").is_some()), (AgentState::Ready, true));
}

#[test]
fn n12_a_task_that_its_agent_does_not_know_is_gone() {
    let (mut cluster, job) = cut_off();
    // The same life as far as anybody knows, and its journal is lost.
    cluster.start("m1", 1, TWO);
    cluster.pass_secs(5);
    let ended = [format!("started {job}.0#1"), format!("ended {job}.0#1 gone unknown_to_agent")];
    assert_eq!(cluster.history(job), ended);
    assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 2, "mem": "1GiB"})));
}

#[test]
fn n12_tasks_of_an_earlier_life_of_an_agent_are_gone_and_tried_again_where_allowed() {
    for (retries, expected) in [(0, "0#1 gone agent_restarted"), (1, "0#2 running launched")] {
        let mut cluster = Cluster::new();
        cluster.join("m1", TWO);
        let job = cluster.submit("a", &half(&format!(r#", "retries": {retries}"#)));
        cluster.pass_secs(1);
        cluster.start("m1", 2, TWO);
        cluster.pass_secs(5);
        assert_eq!(cluster.tasks(job), [expected]);
    }
}

#[test]
fn n17_an_agent_is_drained_once_the_ends_of_its_tasks_are_committed_and_is_not_offered_meanwhile() {
    let (mut cluster, job) = running();
    cluster.machine("m1").is_heard = false;
    cluster.drain("m1", true);
    assert_eq!(cluster.machine("m1").running.len(), 0, "it was told, and stopped it");
    assert_eq!((cluster.agent("m1").state, cluster.offered("m1")), (AgentState::Draining, None));
    let waiting = cluster.submit("a", whole());
    cluster.pass_secs(30);
    assert_eq!(cluster.agent("m1").state, AgentState::Draining, "nobody has heard that it did");
    cluster.mend("m1");
    cluster.pass_secs(1);
    assert_eq!(cluster.tasks(job), ["0#1 killed agent_drained"]);
    assert_eq!((cluster.agent("m1").state, cluster.offered("m1")), (AgentState::Drained, None));
    assert_eq!(cluster.state(waiting), JobState::Queued);
}

#[test]
fn n17_a_drain_without_killing_waits_for_what_runs() {
    let (mut cluster, job) = running();
    cluster.drain("m1", false);
    cluster.pass_secs(1_000);
    assert_eq!((cluster.agent("m1").state, cluster.offered("m1")), (AgentState::Draining, None));
    cluster.exit("m1", &format!("{job}.0#1"), 0);
    assert_eq!((cluster.agent("m1").state, cluster.state(job)), (AgentState::Drained, JobState::Finished));
}

#[test]
fn n18_the_tasks_of_an_agent_that_is_declared_gone_are_gone_and_it_does_not_come_back() {
    for away in [false, true] {
        let (mut cluster, job) = if away { cut_off() } else { running() };
        cluster.gone("m1");
        assert_eq!(cluster.tasks(job), ["0#1 gone agent_gone_by_operator"]);
        cluster.mend("m1");
        cluster.pass_secs(200);
        assert_eq!((cluster.agent("m1").state, cluster.offered("m1")), (AgentState::Gone, None));
        assert_eq!(cluster.registered("m1").last(), Some(&"gone"));
    }
}

#[test]
fn n19_an_agent_that_is_drained_while_it_is_away_is_drained_after_its_return() {
    let (mut cluster, job) = cut_off();
    cluster.drain("m1", true);
    cluster.pass_secs(100);
    assert_eq!(cluster.tasks(job), ["0#1 unreachable agent_unreachable"]);
    assert_eq!(
        cluster.registered("m1"),
        ["joined", "unreachable", "draining"],
        "nothing more while it is away"
    );
    cluster.mend("m1");
    cluster.pass_secs(1);
    assert_eq!(cluster.tasks(job), ["0#1 killed agent_drained"]);
    assert_eq!(cluster.registered("m1")[3..], ["returned", "drained"]);
    assert_eq!(cluster.offered("m1"), None);
}

#[test]
fn n20_an_agent_is_let_work_again_once_it_is_drained_and_is_offered_then() {
    let (mut cluster, _) = running();
    cluster.machine("m1").is_heard = false;
    cluster.drain("m1", true);
    cluster.undrain("m1");
    assert!(cluster.last_answer().starts_with("refused: agent m1 is draining"), "{}", cluster.last_answer());
    cluster.mend("m1");
    cluster.pass_secs(1);
    cluster.undrain("m1");
    assert_eq!(cluster.last_answer(), "done: agent m1 takes tasks again");
    assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 2, "mem": "1GiB"})));
    let next = cluster.submit("a", whole());
    assert_eq!(cluster.state(next), JobState::Running);
}
