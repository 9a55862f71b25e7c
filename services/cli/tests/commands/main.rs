//! The `allot` binary against a real nats-server, with services that answer what a test makes them say.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod doctor;
mod events;
mod jobs;
mod submit;

use std::process::{Output, Stdio};

use allot_bus::{Stream, Subject, headers};
use allot_model::view::{Answer, LogStream, Refusal, RefusalKind};
use allot_model::{
    AgentId, AttemptId, Batch, DispatcherRecord, Entry, Epoch, JobId, JobState, PoolName, Record, Time,
    Writer,
};
use allot_proto::Wire;
use allot_shell::Bus;
use allot_testkit::NatsServer;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::process::Command;

/// A nats-server, and a connection to it.
struct World {
    server: NatsServer,
    bus: Bus,
}

impl World {
    async fn without_streams() -> Self {
        let server = NatsServer::start().await.unwrap();
        let bus = server.bus().await.unwrap();
        Self { server, bus }
    }

    async fn new() -> Self {
        let world = Self::without_streams().await;
        world.bus.ensure_streams().await.unwrap();
        world
    }

    /// Answers every request to `subject` with the same payload.
    async fn answering(&self, subject: &Subject, answer: Value) {
        self.answering_with(subject, move |_| answer.clone()).await;
    }

    /// Answers every request to `subject` with what `answer` makes of it.
    async fn answering_with(&self, subject: &Subject, answer: impl Fn(Value) -> Value + Send + 'static) {
        let client = self.bus.client().clone();
        let mut requests = client.subscribe(subject.to_string()).await.unwrap();
        client.flush().await.unwrap();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    let answer = answer(serde_json::from_slice(&request.payload).unwrap_or_default());
                    client.publish(reply, answer.to_string().into()).await.unwrap();
                }
            }
        });
    }

    /// Appends records to the ledger as the dispatcher would.
    async fn happened(&self, records: impl IntoIterator<Item = DispatcherRecord>) {
        self.wrote(Writer::Dispatcher, records.into_iter().map(Record::Dispatcher)).await;
    }

    /// Appends records to the ledger as their writer would, one second after 1970.
    async fn wrote(&self, writer: Writer, records: impl IntoIterator<Item = Record>) {
        let entry = |record| Entry { at: Time::from_micros(1_000_000), record };
        let entries = records.into_iter().map(entry).collect();
        let batch = Batch { writer, epoch: Epoch(1), entries };
        let subject = Subject::Ledger(writer).to_string();
        self.bus.jetstream().publish(subject, batch.encode().into()).await.unwrap().await.unwrap();
    }

    async fn allot(&self, words: &[&str]) -> Said {
        allot(&self.server.url(), words).await
    }
}

/// What the command said, and its exit code.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn command(url: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_allot"));
    command.args(words).env("ALLOT_NATS", url).stdin(Stdio::null());
    command
}

async fn allot(url: &str, words: &[&str]) -> Said {
    said(command(url, words).output().await.unwrap())
}

fn said(Output { status, stdout, stderr }: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_code_3_with_what_to_do() {
    let said = allot("nats://127.0.0.1:1", &["jobs"]).await;
    assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
    assert!(said.err.contains("nats://127.0.0.1:1") && said.err.contains("allot up"), "{said:?}");
}

#[tokio::test]
async fn an_address_that_is_none_is_exit_code_2() {
    let said = allot("nats://h:port", &["jobs"]).await;
    assert_eq!(said.code, 2, "{said:?}");
}

#[tokio::test]
async fn a_variable_that_is_set_to_nothing_is_as_good_as_none() {
    let said =
        said(command("", &["jobs"]).env("ALLOT_NATS_URL", "nats://127.0.0.1:1").output().await.unwrap());
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("nats://127.0.0.1:1"), "{said:?}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_exit_code_3_and_named() {
    let world = World::new().await;
    for (words, who) in
        [(vec!["jobs"], "dispatcher"), (vec!["agents"], "registry"), (vec!["policy"], "offers")]
    {
        let said = world.allot(&words).await;
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.err.contains(who), "{said:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_exit_code_1_with_the_services_own_words() {
    let world = World::new().await;
    let refusal = Refusal { code: RefusalKind::NotFound, message: "there is no job 7".into() };
    let answer = serde_json::to_value(Answer::<Value>::Error(refusal)).unwrap();
    world.answering(&Subject::JobShow(JobId(7)), answer.clone()).await;
    world.answering(&Subject::JobCancel(JobId(7)), answer).await;
    let done = json!({"ok": {"message": "job 8 is cancelled"}});
    world.answering(&Subject::JobCancel(JobId(8)), done).await;
    let said = world.allot(&["job", "show", "7"]).await;
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (1, "", "allot: there is no job 7\n"));
    let said = world.allot(&["cancel", "7", "8"]).await;
    assert_eq!(
        (said.code, said.out.as_str()),
        (1, "job 8 is cancelled\n"),
        "the other job is cancelled: {said:?}"
    );
    let said = world.allot(&["cancel", "7", "8", "-o", "json"]).await;
    assert_eq!(said.json()[0], json!({"job": 7, "error": "there is no job 7"}));
}

#[tokio::test]
async fn the_same_message_id_twice_is_one_job() {
    let world = World::new().await;
    let first = world.allot(&["submit", "--id", "nightly", "--", "true"]).await;
    let again = world.allot(&["submit", "--id", "nightly", "--", "true"]).await;
    let other = world.allot(&["submit", "-o", "json", "--", "true"]).await;
    assert_eq!((first.code, first.out.as_str(), first.err.as_str()), (0, "1\n", ""));
    assert_eq!((again.code, again.out.as_str()), (0, "1\n"));
    assert!(again.err.contains("already"), "{again:?}");
    assert_eq!(other.json(), json!({"job": 2, "duplicate": false}));
}

#[tokio::test]
async fn a_message_id_that_the_inbox_has_forgotten_is_known_to_the_dispatcher() {
    let world = World::new().await;
    world
        .answering_with(&Subject::JobsList, |query| match query["message_id"].as_str() {
            Some("nightly") => json!({"ok": {"jobs": [{
                "job": 7, "name": null, "queue": "default", "state": "finished", "reason": null, "tasks": 1,
                "counts": {"finished": 1}, "submitted_at": 1, "started_at": 2, "ended_at": 3,
            }], "next": null, "looked_at": 1}}),
            _ => json!({"ok": {"jobs": [], "next": null, "looked_at": 0}}),
        })
        .await;
    let again = world.allot(&["submit", "-o", "json", "--id", "nightly", "--", "true"]).await;
    assert_eq!((again.code, again.json()), (0, json!({"job": 7, "duplicate": true})), "{again:?}");
    let other = world.allot(&["submit", "-o", "json", "--id", "weekly", "--", "true"]).await;
    assert_eq!((other.code, other.json()), (0, json!({"job": 1, "duplicate": false})), "{other:?}");
}

#[tokio::test]
async fn what_is_submitted_is_the_job_as_json_on_the_subject_of_its_queue() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("job.toml");
    std::fs::write(&file, "queue = 'research.vision'\ncommand = ['echo', 'x']\n[resources]\ncpus = 2\n")
        .unwrap();
    let said = world.allot(&["submit", &file.display().to_string(), "--tasks", "3"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let stream = world.bus.jetstream().get_stream(Stream::Inbox.name()).await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!(message.subject.as_str(), "allot.v1.submit.research.vision");
    assert_eq!(message.headers.get(headers::CONTENT_TYPE).map(|value| value.as_str()), Some(headers::JSON));
    let job: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!((&job["command"], &job["tasks"]), (&json!(["echo", "x"]), &json!(3)));
    assert!(allot_model::job_file::parse_submission(&message.payload).is_ok());
}

#[tokio::test]
async fn a_job_that_is_not_well_formed_is_exit_code_2_and_never_sent() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let cases = [
        (write("a.toml", "command = ['true']\ntsks = 3\n"), "a.toml:2:1: tsks"),
        (write("b.yaml", "command: ['true']\ntasks: [\n"), "b.yaml:"),
        (write("c.json", "{\"command\": [\"true\"], \"tasks\": 0}"), "tasks"),
        (dir.path().join("none.toml").display().to_string(), "none.toml cannot be read"),
    ];
    for (file, part) in cases {
        let said = world.allot(&["submit", &file]).await;
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    let mut stream = world.bus.jetstream().get_stream(Stream::Inbox.name()).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 0);
}

#[tokio::test]
async fn a_submission_without_an_inbox_is_exit_code_3() {
    let world = World::without_streams().await;
    let said = world.allot(&["submit", "--", "true"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("ALLOT_INBOX"), "{said:?}");
}

#[tokio::test]
async fn waiting_for_a_job_ends_with_the_record_of_its_end() {
    let world = World::new().await;
    let mut inbox = world.bus.client().subscribe(Subject::pattern_submit()).await.unwrap();
    world.bus.client().flush().await.unwrap();
    for (state, code) in [(JobState::Finished, 0), (JobState::Failed, 1)] {
        let waiting = command(&world.server.url(), &["submit", "--wait", "--", "true"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        inbox.next().await.unwrap();
        let job = JobId(if code == 0 { 1 } else { 2 });
        let ended = |job| DispatcherRecord::JobEnded { job, state, reason: None };
        world.happened([ended(JobId(99)), ended(job)]).await;
        let said = said(waiting.wait_with_output().await.unwrap());
        assert_eq!((said.code, said.out.as_str()), (code, format!("{job}\n").as_str()), "{said:?}");
        assert_eq!(said.err.contains("job 2 failed"), code == 1, "{said:?}");
    }
}

/// A job of one task that ran on an agent that is not there any more.
fn ran_on_a_lost_agent(job: u64) -> Value {
    json!({"ok": {
        "job": job, "name": null, "queue": "default", "state": "finished", "reason": null, "tasks": 1,
        "counts": {"finished": 1}, "submitted_at": 1, "started_at": 2, "ended_at": 3,
        "spec": null, "rejection": null, "more_runs": false,
        "runs": [{
            "tasks": "0", "attempt": 1, "state": "finished", "reason": "exited_zero", "agent": "lost",
            "queued_at": 1, "allocated_at": 1, "started_at": 2, "ended_at": 3,
        }],
    }})
}

#[tokio::test]
async fn the_output_of_a_task_outlives_its_agent() {
    let world = World::new().await;
    world.answering(&Subject::JobShow(JobId(5)), ran_on_a_lost_agent(5)).await;
    let said = world.allot(&["logs", "5"]).await;
    assert_eq!(said.code, 3, "nothing was kept: {said:?}");
    assert!(said.err.contains("agent lost"), "{said:?}");
    let subject = Subject::Output(AttemptId::new(JobId(5), 0, 1), LogStream::Stdout).to_string();
    world.bus.jetstream().publish(subject, "abcdef".into()).await.unwrap().await.unwrap();
    let said = world.allot(&["logs", "5.0", "-f"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "abcdef"), "{said:?}");
    let said = world.allot(&["logs", "5", "--tail", "2"]).await;
    assert_eq!(said.out, "ef", "{said:?}");
    let said = world.allot(&["logs", "5", "-o", "json"]).await;
    assert_eq!(said.json(), json!({"offset": 0, "size": 6, "ended": true, "text": "abcdef"}));
}

#[tokio::test]
async fn a_log_is_followed_until_its_end() {
    let world = World::new().await;
    world.answering(&Subject::JobShow(JobId(5)), ran_on_a_lost_agent(5)).await;
    let agent = AgentId::new("lost").unwrap();
    let client = world.bus.client().clone();
    let mut requests = client.subscribe(Subject::AgentLogs(agent).to_string()).await.unwrap();
    client.flush().await.unwrap();
    let following = command(&world.server.url(), &["logs", "5", "-f"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What is asked for, where the answer begins, and what it holds.
    let answers = [(0, 0, "one ", false), (4, 4, "", false), (4, 7, "two", false), (10, 10, "", true)];
    for (wanted, offset, bytes, ended) in answers {
        let request = requests.next().await.unwrap();
        let query: Value = serde_json::from_slice(&request.payload).unwrap();
        assert_eq!((&query["attempt"], &query["offset"]), (&json!("5.0#1"), &json!(wanted)));
        let mut found = async_nats::HeaderMap::new();
        found.insert(headers::ALLOT_OFFSET, offset.to_string());
        found.insert(headers::ALLOT_SIZE, (offset + bytes.len()).to_string());
        found.insert(headers::ALLOT_ENDED, ended.to_string());
        client.publish_with_headers(request.reply.unwrap(), found, bytes.into()).await.unwrap();
    }
    let said = said(following.wait_with_output().await.unwrap());
    assert_eq!((said.code, said.out.as_str()), (0, "one two"), "{said:?}");
    assert_eq!(said.err, "allot: 3 bytes of the output are not kept any more\n");
}

#[tokio::test]
async fn completions_need_no_cluster() {
    for shell in ["bash", "zsh", "fish"] {
        let said = allot("nats://127.0.0.1:1", &["completions", shell]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("allot"), "{shell}");
    }
}

#[tokio::test]
async fn why_tells_what_others_know_where_the_allocator_does_not_tell() {
    let world = World::new().await;
    let view = json!({"ok": {
        "job": 5, "name": null, "queue": "web", "state": "queued", "reason": null, "tasks": 1,
        "counts": {"queued": 1}, "submitted_at": 1, "started_at": null, "ended_at": null,
        "spec": null, "rejection": null, "more_runs": false,
        "runs": [{"tasks": "0", "attempt": 1, "state": "queued", "reason": "admitted", "agent": null, "queued_at": 1,
            "allocated_at": null, "started_at": null, "ended_at": null}],
    }});
    world.answering(&Subject::JobShow(JobId(5)), view).await;
    let said = world.allot(&["why", "5"]).await;
    assert!(said.code == 0 && said.out.contains("nobody tells why"), "{said:?}");
    let allocator =
        json!({"instance": "mine-1", "policy": "mine", "active": true, "since": 1, "heard_at": 2});
    let policy = json!({"ok": {"chosen": null, "epoch": 1, "allocators": [allocator]}});
    world.answering(&Subject::PoolPolicy(PoolName::default_pool()), policy).await;
    let queue = json!({"queue": "web", "weight": 2, "jobs": 1, "running": 3, "pending": 1, "allocated": {"cpus": 3},
        "dominant_resource": "cpus", "dominant_share": [3, 8]});
    world.answering(&Subject::QueuesList, json!({"ok": [queue]})).await;
    let said = world.allot(&["why", "5"]).await;
    for part in
        ["allocator mine-1 decides, by policy mine, and does not tell why", "web has 37.5% of cpus, weight 2"]
    {
        assert!(said.code == 0 && said.out.contains(part), "{part}: {said:?}");
    }
}
