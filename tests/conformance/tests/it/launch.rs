//! T: what becomes of offers and launches.

use allot_conformance::Cluster;
use allot_model::{JobState, Span};
use serde_json::json;

use crate::{ONE, TWO, half, whole};

#[test]
fn t3_a_task_is_placed_on_what_two_tasks_left_and_runs() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    let small = cluster.submit("a", &half(r#", "tasks": 2"#));
    let large = cluster.submit("b", whole());
    cluster.exit("m1", &format!("{small}.0#1"), 0);
    assert_eq!(cluster.tasks(large), ["0#1 queued admitted"], "half of it is not enough");
    cluster.exit("m1", &format!("{small}.1#1"), 0);
    cluster.pass_secs(1);
    assert_eq!(cluster.tasks(large), ["0#1 running launched"]);
}

#[test]
fn t5_what_a_task_leaves_goes_to_the_next_job() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    let first = cluster.submit("a", &half(""));
    assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 1, "mem": "512MiB"})));
    let second = cluster.submit("b", &half(""));
    assert_eq!(cluster.offered("m1"), None);
    assert_eq!([first, second].map(|job| cluster.state(job)), [JobState::Running; 2]);
}

#[test]
fn t6_a_job_that_cannot_be_launched_is_rejected_by_name_and_the_next_one_runs() {
    let cases = [
        (r#"{"command": ["true"], "resources": {"cpus": -1}}"#, "resources.cpus"),
        (r#"{"command": [], "resources": {"cpus": 1}}"#, "command"),
        (r#"{"command": ["true"], "tasks": 0}"#, "tasks"),
        (r#"{"command": ["true"], "resources": {"cpu": 1}}"#, "resources.cpu"),
        (r#"{"command": ["true"], "after": [99]}"#, "after[0]"),
        (r#"{"command""#, ""),
    ];
    for (job, field) in cases {
        let mut cluster = Cluster::new();
        cluster.join("m1", TWO);
        let bad = cluster.submit("a", job);
        assert_eq!(cluster.state(bad), JobState::Rejected, "{job}");
        assert_eq!(cluster.job(bad).rejection.unwrap().field, field, "{job}");
        assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 2, "mem": "1GiB"})), "{job}");
        let good = cluster.submit("a", whole());
        assert_eq!(cluster.state(good), JobState::Running, "{job}");
    }
}

#[test]
fn t6_a_task_that_asks_for_more_than_any_agent_has_waits_and_is_in_nobodys_way() {
    let mut cluster = Cluster::new();
    cluster.join("m1", ONE);
    let large = cluster.submit("a", whole());
    let small = cluster.submit("a", &half(""));
    assert_eq!((cluster.state(large), cluster.state(small)), (JobState::Queued, JobState::Running));
}

#[test]
fn t6_the_same_submission_twice_is_one_job() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    let first = cluster.submit_as(Some("id-1"), "a", &half(""));
    cluster.submit_as(Some("id-1"), "a", &half(""));
    assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 1, "mem": "512MiB"})), "one task runs");
    assert_eq!(cluster.machine("m1").running.len(), 1);
    assert_eq!(cluster.state(first), JobState::Running);
}

#[test]
fn t9_a_job_that_there_is_not_cannot_be_cancelled() {
    let mut cluster = Cluster::new();
    cluster.cancel(99);
    assert!(cluster.last_answer().starts_with("refused: "), "{}", cluster.last_answer());
    assert!(cluster.last_answer().contains("99"), "{}", cluster.last_answer());
}

#[test]
fn t10_a_task_killed_while_its_launch_is_on_its_way_is_killed_once_and_never_runs() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    cluster.machine("m1").hears = false;
    let job = cluster.submit("a", whole());
    assert_eq!(cluster.tasks(job), ["0#1 starting granted"]);
    cluster.cancel(job);
    cluster.pass_secs(1);
    cluster.machine("m1").hears = true;
    cluster.pass_secs(60);
    assert_eq!(cluster.history(job), [format!("ended {job}.0#1 killed cancelled_by_user")]);
    assert!(cluster.machine("m1").spawned.is_empty());
    assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 2, "mem": "1GiB"})));
}

#[test]
fn t10_a_task_killed_while_its_process_is_starting_is_killed_once_and_never_counts_as_running() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    cluster.machine("m1").starts = false;
    let job = cluster.submit("a", whole());
    cluster.cancel(job);
    assert_eq!(cluster.tasks(job), ["0#1 killing cancelled_by_user"]);
    cluster.start_processes("m1");
    cluster.pass_secs(60);
    assert_eq!(cluster.history(job), [format!("ended {job}.0#1 killed cancelled_by_user")]);
    assert_eq!((cluster.state(job), cluster.machine("m1").running.len()), (JobState::Killed, 0));
}

#[test]
fn t11_what_has_ended_is_free_before_its_agent_has_heard_that_this_is_known() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    let first = cluster.submit("a", whole());
    cluster.pass_secs(1);
    let second = cluster.submit("b", &half(""));
    cluster.machine("m1").hears = false;
    cluster.exit("m1", &format!("{first}.0#1"), 0);
    assert_eq!((cluster.state(first), cluster.state(second)), (JobState::Finished, JobState::Running));
    assert!(!cluster.machine("m1").core.is_idle(), "it still has to hear that its report is committed");
    assert_eq!(cluster.offered("m1"), Some(json!({"cpus": 1, "mem": "512MiB"})));
}

#[test]
fn t12_a_report_is_repeated_ever_more_rarely_and_the_next_one_waits_for_it() {
    let mut cluster = Cluster::new();
    cluster.join("m1", TWO);
    let job = cluster.submit("a", &half(r#", "tasks": 2"#));
    cluster.pass_secs(1);
    cluster.machine("m1").is_heard = false;
    let (begun, before) = (cluster.now, cluster.machine("m1").reports.len());
    cluster.exit("m1", &format!("{job}.0#1"), 0);
    cluster.exit("m1", &format!("{job}.1#1"), 0);
    cluster.pass_secs(130);
    let reports = cluster.machine("m1").reports.split_off(before);
    let numbers: Vec<u64> = reports.iter().map(|(_, number)| *number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "only the first: {numbers:?}");
    let times: Vec<u64> = reports.iter().map(|(at, _)| at.since(begun).as_micros() / 1_000_000).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 61, 91, 121]);
    cluster.mend("m1");
    cluster.pass(Span::from_millis(50));
    assert_eq!(cluster.state(job), JobState::Finished);
    assert!(cluster.machine("m1").core.is_idle(), "both are acknowledged");
}
