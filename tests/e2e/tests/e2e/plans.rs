//! When jobs start, asked before they are submitted and while they wait.

use allot_bus::Subject;
use allot_model::JobId;
use allot_testkit::{PATIENCE, eventually};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// What `allot` prints as JSON.
async fn told(cluster: &Cluster, words: &[&str]) -> Value {
    let said = cluster.allot(words).await;
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.out).unwrap()
}

const HOUR_US: u64 = 3_600_000_000;

#[tokio::test]
async fn a_plan_tells_when_and_where_a_job_would_start_and_submits_nothing() {
    let cluster = Cluster::of("drf", 1, 2).await;
    let free =
        told(&cluster, &["plan", "--cpus", "2", "--tasks", "2", "--estimate", "10m", "--json", "--", "true"])
            .await;
    let agents: Vec<&Value> =
        free["placements"].as_array().unwrap().iter().map(|part| &part["agent"]).collect();
    assert_eq!((agents, &free["placed"]), (vec![&json!("a1"), &json!("a1")], &json!(2)), "{free}");
    assert_eq!(free["start"], free["now"], "at once");
    let later = free["all_started"].as_u64().unwrap() - free["now"].as_u64().unwrap();
    assert_eq!(later, HOUR_US / 6, "the second when the first has ended");
    assert_eq!(told(&cluster, &["jobs", "-o", "json"]).await["jobs"], json!([]), "nothing was submitted");

    let gate = cluster.scratch("gate");
    let blocker = cluster.wait_for(&gate, json!({"resources": {"cpus": 2}, "estimate": "1h"})).await;
    cluster.runs(blocker, 1).await;
    let full = told(&cluster, &["plan", "--cpus", "1", "--json", "--", "true"]).await;
    let wait = full["start"].as_u64().unwrap() - full["now"].as_u64().unwrap();
    assert!(wait > HOUR_US - 120_000_000 && wait <= HOUR_US, "about an hour: {full}");
    let large = cluster.allot(&["plan", "--cpus", "64", "--", "true"]).await;
    assert!(
        large.out.contains("would not start") && large.out.contains("1 agent too small in cpus"),
        "{large:?}"
    );

    let waiting = cluster.shell("true", json!({"resources": {"cpus": 1}})).await.to_string();
    let shown = eventually("the start is expected", PATIENCE, || async {
        let shown = told(&cluster, &["job", "show", &waiting, "-o", "json"]).await;
        shown["expected_start"]["start"].as_u64().map(|_| shown)
    })
    .await;
    let planned = told(&cluster, &["plan", "--job", &waiting, "--json"]).await;
    let start = |view: &Value| view["start"].as_u64().unwrap();
    assert!(start(&planned).abs_diff(start(&shown["expected_start"])) < 120_000_000, "{planned} {shown}");
    std::fs::write(&gate, "").unwrap();
    cluster.over(waiting.parse().unwrap()).await;
    let over = told(&cluster, &["job", "show", &waiting, "-o", "json"]).await;
    assert_eq!(over.get("expected_start"), None);
    let said = cluster.allot(&["plan", "--job", &waiting]).await;
    assert!(said.code == 1 && said.err.contains("waits for a place"), "{said:?}");
}

#[tokio::test]
async fn what_a_start_depends_on_is_told_where_it_is_not_known() {
    let cluster = Cluster::of("fifo", 1, 2).await;
    let job = json!({"command": ["sleep", "60"], "resources": {"cpus": 2}});
    let running = cluster.submit(job.clone()).await;
    cluster.runs(running, 1).await;
    let waiting = cluster.submit(job).await;
    let expected = eventually("what the start depends on is told", PATIENCE, || async {
        let shown = told(&cluster, &["job", "show", &waiting.to_string(), "-o", "json"]).await;
        shown.get("expected_start").cloned()
    })
    .await;
    assert_eq!(expected["because"], "depends on 1 running task without estimate", "{expected}");
    assert_eq!((expected.get("start"), expected["earliest"].is_u64()), (None, true), "{expected}");
    for job in [waiting, running] {
        cluster.command(Subject::JobCancel(job), json!({})).await;
        cluster.over(job).await;
    }
}

#[tokio::test]
async fn a_pool_too_large_to_be_played_tells_for_when_the_allocator_keeps_room() {
    let mut cluster = Cluster::of("drf", 1, 2).await;
    cluster.programs.spawn("fifo", "allot-allocator-fifo", &["backfill=easy".to_owned()]).unwrap();
    eventually("fifo decides", PATIENCE, || async {
        (cluster.allot(&["policy", "use", "fifo", "--wait"]).await.code == 0).then_some(())
    })
    .await;
    let gate = cluster.scratch("gate");
    let running = cluster.wait_for(&gate, json!({"resources": {"cpus": 2}, "estimate": "1h"})).await;
    let began = cluster.runs(running, 1).await.summary.started_at.unwrap().as_micros();
    let job = json!({"command": ["true"], "resources": {"cpus": 2}, "estimate": "1h"});
    let next = cluster.submit(job.clone()).await;
    let lines = cluster.scratch("jobs.jsonl");
    std::fs::write(&lines, format!("{job}\n").repeat(5_000)).unwrap();
    let submitted = cluster.allot(&["submit", "--lines", &lines.display().to_string()]).await;
    let last: JobId = submitted.out.lines().last().unwrap().parse().unwrap();
    cluster.job_is("queued", last, |view| view.summary.counts.queued == 1).await;
    let expected = async |job: JobId| {
        eventually(&format!("the start of {job} is not worked out"), PATIENCE, || async {
            let shown = told(&cluster, &["job", "show", &job.to_string(), "-o", "json"]).await;
            let because = shown["expected_start"]["because"].as_str()?;
            let is_bounded = because.contains("keeps room") || because.contains("not worked out here");
            is_bounded.then(|| shown["expected_start"].clone())
        })
        .await
    };
    assert_eq!(expected(last).await.get("start"), None, "nothing is kept for the last in line");
    let wait = expected(next).await["start"].as_u64().unwrap() - began;
    assert!(wait.abs_diff(HOUR_US) < 120_000_000, "when the running one is expected to end: {wait} µs");
    std::fs::write(&gate, "").unwrap();
}
