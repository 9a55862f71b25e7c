//! `allot jobs` before a dispatcher that answers page by page.

use allot_bus::Subject;
use allot_model::{JobId, PoolName};
use serde_json::{Value, json};

use crate::World;

/// A dispatcher with 2,500 jobs, of which it puts at most 1,000 on a page, and looks at no more than 700 for one.
fn answer(query: &Value) -> Value {
    let before = query["before"].as_u64().unwrap_or(2_501);
    let limit = query["limit"].as_u64().unwrap().min(700);
    let first = before.saturating_sub(limit).max(1);
    let job = |job: u64| {
        json!({
            "job": job, "name": null, "queue": "default", "state": "queued", "reason": null, "tasks": 1,
            "counts": {"queued": 1}, "submitted_at": 1, "started_at": null, "ended_at": null,
        })
    };
    let jobs: Vec<Value> = (first..before).rev().map(job).collect();
    json!({"ok": {"jobs": jobs, "next": (first > 1).then_some(first), "looked_at": before - first}})
}

#[tokio::test]
async fn pages_are_gathered_until_there_are_enough_jobs() {
    let world = World::new().await;
    world.answering_with(&Subject::JobsList, |query| answer(&query)).await;
    let list = async |words: &[&str]| world.allot(&[&["jobs"], words].concat()).await;
    let said = list(&["--limit", "2000", "-o", "json"]).await;
    let found = said.json();
    assert_eq!(found["jobs"].as_array().unwrap().len(), 2_000);
    assert_eq!((&found["next"], &found["looked_at"]), (&json!(501), &json!(2_000)));
    let said = list(&["--limit", "5000"]).await;
    assert_eq!((said.out.lines().count(), said.err.as_str()), (2_501, ""), "{:?}", said.err);
    let said = list(&["--limit", "3", "--before", "10"]).await;
    assert_eq!(said.err, "more: add --before 7\n");
}

#[tokio::test]
async fn filters_are_for_the_dispatcher_to_apply() {
    let world = World::new().await;
    world
        .answering_with(&Subject::JobsList, |query| {
            assert_eq!((&query["queue"], &query["name"]), (&json!("research"), &json!("train-*")));
            assert_eq!(query["states"], json!(["waiting", "queued", "running", "killing"]));
            assert!(query["since"].is_u64() && query["until"].is_null());
            json!({"ok": {"jobs": [], "next": null}})
        })
        .await;
    let words = ["jobs", "--active", "-q", "research", "-n", "train-*", "--since", "1h"];
    let said = world.allot(&words).await;
    assert_eq!((said.code, said.err.as_str()), (0, "no jobs\n"), "{said:?}");
}

#[tokio::test]
async fn a_wait_for_a_queue_that_has_no_job_fails_and_one_whose_jobs_have_ended_is_over() {
    let world = World::new().await;
    let ended = json!({
        "job": 1, "name": null, "queue": "web", "state": "finished", "reason": null, "tasks": 1, "counts": {},
        "submitted_at": 1, "started_at": 2, "ended_at": 3,
    });
    let jobs = move |query: Value| {
        let found = query["queue"] == "web" && query["states"].as_array().is_none_or(Vec::is_empty);
        let jobs = if found { vec![ended.clone()] } else { Vec::new() };
        json!({"ok": {"jobs": jobs, "next": null, "looked_at": 1}})
    };
    world.answering_with(&Subject::JobsList, jobs).await;
    let said = world.allot(&["wait", "--queue", "nope"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("no job of queue nope"), "{said:?}");
    let said = world.allot(&["wait", "--queue", "web"]).await;
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (0, "", "no job to wait for\n"),
        "{said:?}"
    );
    let said = world.allot(&["wait", "--state", "running"]).await;
    assert_eq!(said.code, 0, "no name was given that could be wrong: {said:?}");
}

#[tokio::test]
async fn tasks_that_a_job_does_not_have_are_refused() {
    let world = World::new().await;
    let view = json!({"ok": {
        "job": 1, "name": null, "queue": "web", "state": "finished", "reason": null, "tasks": 1, "counts": {"finished": 1},
        "submitted_at": 1, "started_at": 2, "ended_at": 3, "spec": null, "rejection": null, "more_runs": false, "runs": [],
    }});
    world.answering(&Subject::JobShow(JobId(1)), view).await;
    for (words, task) in [(vec!["job", "show", "1.5"], 5), (vec!["job", "show", "1", "--tasks", "9"], 9)] {
        let said = world.allot(&words).await;
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        assert_eq!(said.err, format!("allot: job 1 has no task {task}: its only one is 1.0\n"));
    }
    assert_eq!(world.allot(&["job", "show", "1.0"]).await.code, 0);
}

#[tokio::test]
async fn a_policy_that_nobody_runs_is_not_chosen_by_who_would_wait_for_it() {
    let world = World::new().await;
    let allocator = json!({"instance": "drf-1", "policy": "drf", "active": true, "since": 1, "heard_at": 2});
    let policy = json!({"ok": {"chosen": null, "epoch": 1, "allocators": [allocator]}});
    world.answering(&Subject::PoolPolicy(PoolName::default_pool()), policy).await;
    // Nobody answers who would be asked to choose it.
    let said = world.allot(&["policy", "use", "zz", "--wait"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    for part in ["nothing was changed", "start allot-allocator-zz", "systemctl start allot@allocator-zz"] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
}
