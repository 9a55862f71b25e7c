//! `allot events` over a ledger that a test writes.

use allot_bus::Subject;
use allot_model::view::{Refusal, RefusalKind};
use allot_model::{
    AgentId, DispatcherRecord, Epoch, JobId, JobState, Record, RegistryRecord, Writer, WriterStarted,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{Said, World, command};

fn ended(job: u64, state: JobState) -> DispatcherRecord {
    DispatcherRecord::JobEnded { job: JobId(job), state, reason: None }
}

fn finished(job: u64) -> DispatcherRecord {
    ended(job, JobState::Finished)
}

/// The jobs of the events that were told as JSON.
fn jobs(said: &Said) -> Vec<u64> {
    assert_eq!(said.code, 0, "{said:?}");
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    said.out.lines().filter_map(|line| event(line)["job"].as_u64()).collect()
}

#[tokio::test]
async fn events_are_told_in_lines_and_as_json() {
    let world = World::new().await;
    let said = world.allot(&["events"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert_eq!(said.err, "no such events in the ledger\n");
    world.happened([finished(1), finished(2)]).await;
    world.happened([finished(3)]).await;
    let said = world.allot(&["events"]).await;
    let line = "1970-01-01T00:00:01.000Z  dispatcher  job 1 finished";
    assert_eq!((said.out.lines().next(), said.out.lines().count()), (Some(line), 3), "{said:?}");
    let said = world.allot(&["events", "--job", "3", "-o", "json"]).await;
    let event = said.json();
    assert_eq!(
        (&event["event"], &event["job"], &event["sequence"]),
        (&json!("job_ended"), &json!(3), &json!(2))
    );
}

#[tokio::test]
async fn the_last_events_are_found_however_they_are_spread_over_the_ledger() {
    let world = World::new().await;
    for batch in 0..30 {
        world.happened((1..=10).map(|job| finished(batch * 10 + job))).await;
        let agent = AgentId::new("a1").unwrap();
        world.wrote(Writer::Registry, [Record::Registry(RegistryRecord::AgentUnreachable { agent })]).await;
    }
    let last = async |words: &[&str]| jobs(&world.allot(&[words, &["-o", "json"]].concat()).await);
    assert_eq!(last(&["events", "-n", "3", "-e", "job_ended"]).await, [298, 299, 300]);
    assert_eq!(last(&["events"]).await.len(), 100 - 10, "ten of the last hundred are of an agent");
    assert_eq!(last(&["events", "-n", "1000"]).await.len(), 300);
    assert_eq!(
        last(&["events", "--job", "17"]).await,
        [17],
        "the dispatcher is not there to say when it began"
    );
    let said = world.allot(&["events", "-n", "2", "-e", "agent_*"]).await;
    assert_eq!(said.out.lines().filter(|line| line.ends_with("agent a1 is silent")).count(), 2, "{said:?}");
    assert_eq!(
        last(&["events", "--since", "start", "-n", "1"]).await,
        Vec::<u64>::new(),
        "it is of an agent"
    );
    assert_eq!(last(&["events", "--since", "1h"]).await, Vec::<u64>::new(), "the records are of 1970");
    assert_eq!(
        last(&["events", "--since", "start", "--until", "2100-01-01", "-n", "1", "-s", "finished"]).await,
        [300]
    );
    assert_eq!(last(&["events", "--until", "1970-01-01T00:00:00.5Z", "-n", "5"]).await, Vec::<u64>::new());
}

#[tokio::test]
async fn events_are_picked_by_the_queue_and_name_of_their_job() {
    let world = World::new().await;
    world.happened([finished(1), ended(2, JobState::Failed), finished(3)]).await;
    let job = |job: u64, queue: &str, name: &str| {
        json!({"ok": {
            "job": job, "name": name, "queue": queue, "state": "finished", "reason": null, "tasks": 1, "counts": {},
            "submitted_at": 1, "started_at": 2, "ended_at": 3, "spec": null, "rejection": null, "more_runs": false, "runs": [],
        }})
    };
    world.answering(&Subject::JobShow(JobId(1)), job(1, "research.vision", "train-1")).await;
    world.answering(&Subject::JobShow(JobId(2)), job(2, "research", "train-2")).await;
    let gone = Refusal { code: RefusalKind::NotFound, message: "job 3 is not known any more".into() };
    world.answering(&Subject::JobShow(JobId(3)), json!({"error": gone})).await;
    let picked =
        async |words: &[&str]| jobs(&world.allot(&[&["events", "-o", "json"], words].concat()).await);
    assert_eq!(picked(&["-q", "research"]).await, [1, 2]);
    assert_eq!(picked(&["-q", "research.vision"]).await, [1]);
    assert_eq!(picked(&["--name", "train-?", "-s", "failed"]).await, [2]);
    assert_eq!(picked(&["--name", "other"]).await, Vec::<u64>::new());
    let wrong = world.allot(&["events", "-e", "ended"]).await;
    assert!(wrong.code == 2 && wrong.err.contains("job_ended"), "{wrong:?}");
}

#[tokio::test]
async fn events_are_followed_from_the_last_ones_on() {
    let world = World::new().await;
    world.happened([finished(1), finished(2)]).await;
    let mut following = command(&world.server.url(), &["events", "-n", "1", "-f"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().ends_with("job 2 finished"));
    world.happened([finished(3)]).await;
    assert!(lines.next_line().await.unwrap().unwrap().ends_with("job 3 finished"));
    following.kill().await.unwrap();
}

#[tokio::test]
async fn nothing_to_tell_is_said_with_the_names_that_were_given() {
    let world = World::new().await;
    world.happened([finished(1)]).await;
    for (words, names) in [
        (vec!["events", "--job", "999"], "job 999"),
        (vec!["events", "--agent", "zz", "--since", "start"], "agent zz"),
        (vec!["events", "--agent", "zz", "-n", "3"], "agent zz"),
    ] {
        let said = world.allot(&words).await;
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
        assert_eq!(said.err, format!("no such events of {names} in the ledger\n"));
        let said = world.allot(&[&words[..], &["-o", "json"]].concat()).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    }
    let said = world.allot(&["events", "--job", "1"]).await;
    assert_eq!((said.out.lines().count(), said.err.as_str()), (1, ""), "{said:?}");
}

#[tokio::test]
async fn a_line_of_the_dump_names_nothing_twice() {
    let world = World::new().await;
    let started =
        WriterStarted { writer: Writer::Dispatcher, epoch: Epoch(7), instance: "d".parse().unwrap() };
    world.wrote(Writer::Dispatcher, [Record::Writer(started)]).await;
    let said = world.allot(&["ledger", "dump"]).await;
    assert_eq!(said.out.matches("\"epoch\":").count(), 1, "{said:?}");
    assert_eq!((&said.json()["epoch"], &said.json()["writer_epoch"]), (&json!(7), &json!(1)), "{said:?}");
}
