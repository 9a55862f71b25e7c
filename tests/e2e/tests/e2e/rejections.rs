//! Everything that can be wrong with a submission, as it comes over the bus: each is rejected by its field, and the next
//! job runs.

use allot_model::{JobId, JobState};
use allot_proto::v1;
use allot_testkit::RawClient;
use prost::Message;
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// A wrong submission, and what is said about it.
struct Wrong {
    what: &'static str,
    /// After `allot.v1.submit.`.
    queue: Vec<u8>,
    /// Lines of headers, none where there are none.
    headers: Vec<u8>,
    payload: Vec<u8>,
    field: &'static str,
    says: &'static str,
}

impl Wrong {
    fn json(
        what: &'static str,
        payload: impl Into<Vec<u8>>,
        field: &'static str,
        says: &'static str,
    ) -> Self {
        let (queue, headers) = (b"research".to_vec(), Vec::new());
        Self { what, queue, headers, payload: payload.into(), field, says }
    }

    fn queue(what: &'static str, queue: impl Into<Vec<u8>>, says: &'static str) -> Self {
        Self { queue: queue.into(), ..Self::json(what, GOOD, "queue", says) }
    }

    fn headers(what: &'static str, headers: &[u8], field: &'static str, says: &'static str) -> Self {
        Self { headers: headers.to_vec(), ..Self::json(what, GOOD, field, says) }
    }

    fn protobuf(
        what: &'static str,
        payload: impl Into<Vec<u8>>,
        field: &'static str,
        says: &'static str,
    ) -> Self {
        let headers = b"\r\nContent-Type: application/protobuf".to_vec();
        Self { headers, ..Self::json(what, payload, field, says) }
    }
}

const GOOD: &str = r#"{"command": ["true"]}"#;
const NO_PROTOBUF: &str = "not a protobuf message of type allot.v1.JobSpec";

/// A job that is good but for what is added to it.
fn with(field: &str) -> String {
    format!(r#"{{"command": ["true"], {field}}}"#)
}

fn what_is_no_job() -> Vec<Wrong> {
    vec![
        Wrong::json("empty", "", "", "empty: write a job"),
        Wrong::json("blank", " \n\t", "", "empty: write a job"),
        Wrong::json("binary", b"\x00\xff\xfe\x80".to_vec(), "", "not JSON, which begins with `{`"),
        Wrong::json("cut short", "{", "", "line 1, column 1: EOF"),
        Wrong::json("not UTF-8", b"{\"command\": [\"\xc3\x28\"]}".to_vec(), "", "byte 15 is not UTF-8"),
        Wrong::json("null", "null", "", "write a job such as"),
        Wrong::json("a list", "[1, 2]", "", "write a job such as"),
        Wrong::json("two jobs", format!("{GOOD} {GOOD}"), "", "trailing characters"),
        Wrong::json("deep nesting", format!("{{\"a\": {}", "[".repeat(100_000)), "", "recursion limit"),
        Wrong::json("huge", with(&format!("\"name\": \"{}\"", "x".repeat(1 << 18))), "", "at most 262,144"),
    ]
}

fn wrong_fields() -> Vec<Wrong> {
    vec![
        Wrong::json("an unknown field", with(r#""tsks": 3"#), "tsks", "did you mean `tasks`?"),
        Wrong::json("no command", r#"{"tasks": 3}"#, "command", "missing"),
        Wrong::json("an empty command", r#"{"command": ""}"#, "command", "missing or empty"),
        Wrong::json("a wrong type", with(r#""tasks": "three""#), "tasks", "the text `three` is given"),
        Wrong::json("zero", with(r#""tasks": 0"#), "tasks", "from 1 to 10,000,000"),
        Wrong::json("negative", with(r#""tasks": -1"#), "tasks", "`-1` is given"),
        Wrong::json("a fraction", with(r#""tasks": 1.5"#), "tasks", "`1.5` is given"),
        Wrong::json("overflowing", with(r#""tasks": 99999999999999999999"#), "tasks", "whole number from"),
        Wrong::json("beyond any number", with(r#""priority": 1e999"#), "", "number out of range"),
        Wrong::json("a key twice", with(r#""tasks": 1, "tasks": 2"#), "tasks", "given twice"),
        Wrong::json("an inner key twice", with(r#""env": {"A": "", "A": ""}"#), "env.A", "given twice"),
        Wrong::json("no amount", with(r#""resources": {"cpus": "many"}"#), "resources.cpus", "`many`"),
        Wrong::json("less than nothing", with(r#""resources": {"mem": -5}"#), "resources.mem", "negative"),
        Wrong::json("nothing", with(r#""resources": {"cpus": 0}"#), "resources.cpus", "asks for nothing"),
        Wrong::json("too much", with(r#""resources": {"mem": 1e300}"#), "resources.mem", "too large"),
        Wrong::json("a time before now", with(r#""time_limit": -1"#), "time_limit", "not a length of time"),
        Wrong::json("no time", with(r#""time_limit": 0"#), "time_limit", "more than `0s`"),
        Wrong::json("a constraint", with(r#""constraints": ["zone ="]"#), "constraints[0]", "`=` is not"),
        Wrong::json("a job that is not", with(r#""after": [999999]"#), "after[0]", "there is no job 999999"),
        Wrong::json("a NUL", with(r#""name": "a\u0000""#), "name", "control character"),
        Wrong::json("another queue", with(r#""queue": "finance""#), "queue", "submitted to `research`"),
    ]
}

fn wrong_subjects_and_headers() -> Vec<Wrong> {
    let long_id = [b"\r\nNats-Msg-Id: ".as_slice(), &[b'x'; 4_000]].concat();
    vec![
        Wrong::queue("a queue that is not text", b"a\xff".to_vec(), "is not a queue"),
        Wrong::queue("letters of another script", "é", "is not a queue"),
        Wrong::queue("a deep queue", vec!["a"; 17].join("."), "1 to 16 parts"),
        Wrong::queue("a long queue", "a".repeat(65), "1 to 64 letters"),
        Wrong::headers("a header that is not text", b"\r\nNats-Msg-Id: \xff", "headers", "cannot be read"),
        Wrong::headers("a header without a name", b"\r\nnightly", "headers", "cannot be read"),
        Wrong::headers("a header with half a line break", b"\r\nA: b\rc", "headers", "cannot be read"),
        Wrong::headers("a long message id", &long_id, "Nats-Msg-Id", "4000 bytes are given"),
        Wrong::headers("JSON called protobuf", b"\r\nContent-Type: application/protobuf", "", NO_PROTOBUF),
        Wrong {
            payload: protobuf(v1::JobSpec::default()),
            ..Wrong::headers(
                "protobuf called JSON",
                b"\r\nContent-Type: application/json",
                "",
                "not readable as JSON",
            )
        },
    ]
}

fn protobuf(spec: v1::JobSpec) -> Vec<u8> {
    let argv = v1::job_spec::Command::Argv(v1::Argv { args: vec!["true".to_owned()] });
    v1::JobSpec { command: Some(argv), ..spec }.encode_to_vec()
}

fn wrong_protobuf() -> Vec<Wrong> {
    let good = || protobuf(v1::JobSpec::default());
    let cut = good()[..good().len() - 1].to_vec();
    let zero = v1::JobSpec { tasks: Some(0), ..v1::JobSpec::default() };
    let many = v1::JobSpec { tasks: Some(u32::MAX), ..v1::JobSpec::default() };
    let limit = v1::JobSpec { time_limit_us: Some(u64::MAX), ..v1::JobSpec::default() };
    let word = v1::JobSpec { executor: -7, ..v1::JobSpec::default() };
    let units = [("cpus".to_owned(), u64::MAX)].into();
    let cpus = v1::JobSpec { resources_units: units, ..v1::JobSpec::default() };
    let escapes = [("A".to_owned(), "\u{1}".repeat(100_000))].into();
    let grows = v1::JobSpec { env: escapes, ..v1::JobSpec::default() };
    vec![
        Wrong::protobuf("nothing", "", "command", "missing"),
        Wrong::protobuf("cut short", cut, "", NO_PROTOBUF),
        Wrong::protobuf("another wire type", [good(), b"\x39aaaaaaaa".to_vec()].concat(), "", NO_PROTOBUF),
        Wrong::protobuf("a length beyond the end", b"\x12\xff\xff\xff\xff\x0f".to_vec(), "", NO_PROTOBUF),
        Wrong::protobuf(
            "a length beyond all",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
            "",
            NO_PROTOBUF,
        ),
        Wrong::protobuf("text that is not", b"\x1a\x02\xff\xfe".to_vec(), "", NO_PROTOBUF),
        Wrong::protobuf("zero", protobuf(zero), "tasks", "from 1 to 10,000,000"),
        Wrong::protobuf("too many", protobuf(many), "tasks", "`4294967295` is given"),
        Wrong::protobuf("forever", protobuf(limit), "time_limit", "at most `365d`"),
        Wrong::protobuf("an unknown word", protobuf(word), "executor", "write `process` or `noop`"),
        Wrong::protobuf("too much", protobuf(cpus), "resources.cpus", "too large"),
        Wrong::protobuf("what grows as JSON", protobuf(grows), "command", "bytes of text in a job"),
    ]
}

#[tokio::test]
async fn whatever_is_wrong_with_a_submission_is_said_by_field_and_the_next_job_runs() {
    let cluster = Cluster::start().await;
    let mut client = RawClient::connect(&cluster.programs.nats).await.unwrap();
    let wrong: Vec<Wrong> =
        [what_is_no_job(), wrong_fields(), wrong_subjects_and_headers(), wrong_protobuf()]
            .into_iter()
            .flatten()
            .collect();
    for case in &wrong {
        let subject = [b"allot.v1.submit.".as_slice(), &case.queue].concat();
        let sent = match case.headers.as_slice() {
            [] => client.publish(&subject, &case.payload).await,
            headers => client.publish_with(&subject, headers, &case.payload).await,
        };
        sent.unwrap_or_else(|error| panic!("{}: {error}", case.what));
    }
    let good = cluster.submit(json!({"command": ["true"]})).await;
    assert_eq!(good.0, wrong.len() as u64 + 1, "each is in the inbox");
    assert_eq!(cluster.ends(good).await, JobState::Finished);
    for (case, job) in wrong.iter().zip(1..) {
        let view = cluster.user.show(JobId(job)).await.unwrap();
        assert_eq!(view.summary.state, JobState::Rejected, "{}", case.what);
        let rejection = view.rejection.unwrap();
        assert_eq!(rejection.field, case.field, "{}: {rejection}", case.what);
        assert!(rejection.message.contains(case.says), "{}: {rejection}", case.what);
    }
    let shown = cluster.allot(&["job", "show", "12"]).await;
    assert!(shown.code == 0 && shown.out.contains("command: missing or empty"), "{shown:?}");
    let shown = cluster.allot(&["job", "show", "12", "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["rejection"]["field"], "command");
}

#[tokio::test]
async fn what_is_too_large_for_the_inbox_or_for_the_bus_is_refused_at_once() {
    let cluster = Cluster::start().await;
    let large = |bytes: usize| with(&format!("\"name\": \"{}\"", "x".repeat(bytes))).into_bytes();
    let refused = cluster.user.publish("research", large(280_000), None).await.unwrap_err();
    assert!(format!("{refused:#}").contains("message size exceeds maximum allowed"), "{refused:#}");
    let refused = cluster.user.publish("research", large(2 << 20), None).await.unwrap_err();
    assert!(format!("{refused:#}").contains("max payload"), "{refused:#}");
    let mut client = RawClient::connect(&cluster.programs.nats).await.unwrap();
    // The server closes the connection of whoever says more than it takes.
    client.publish(b"allot.v1.submit.research", &large(2 << 20)).await.unwrap_err();
    let good = cluster.submit(json!({"command": ["true"]})).await;
    assert_eq!((good, cluster.ends(good).await), (JobId(1), JobState::Finished));
}
