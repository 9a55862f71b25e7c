//! What should not be said, on every subject: services answer or ignore it with a warning, and go on.

use std::collections::BTreeMap;

use allot_bus::Subject;
use allot_model::view::{AgentState, LogQuery, LogStream};
use allot_model::{
    AgentFacts, AgentId, AgentOrder, Amount, AttemptId, Attributes, Beat, Command, Epoch, Feed,
    FromAllocator, Hello, Incarnation, JobId, JobSpec, JobState, OrderBatch, Outcome, PoolName, QueueName,
    Reason, Report, ReportBatch, ResourceName, TaskState, Time, Welcome, Writer,
};
use allot_proto::Wire;
use allot_testkit::{RawClient, entries, within};
use serde_json::{Value, json};

use crate::cluster::{Cluster, agent_id};

fn pool() -> PoolName {
    PoolName::default_pool()
}

/// Subjects of questions and commands in JSON, to which everything said gets an answer.
fn asked() -> Vec<Subject> {
    let ghost = || agent_id("ghost");
    vec![
        Subject::AgentDrain(ghost()),
        Subject::AgentUndrain(ghost()),
        Subject::AgentGone(ghost()),
        Subject::AgentGone(agent_id("a1")),
        Subject::AgentLogs(agent_id("a1")),
        Subject::AgentsList,
        Subject::AgentsUsage,
        Subject::JobsList,
        Subject::JobShow(JobId(1)),
        Subject::JobCancel(JobId(1)),
        Subject::QueuesList,
        Subject::QueuesSet,
        Subject::PoolPolicy(pool()),
        Subject::PoolUse(pool()),
    ]
}

/// Subjects on which services and agents talk among themselves, and streams.
fn talked() -> Vec<Subject> {
    let own = || agent_id("a1");
    vec![
        Subject::AgentHello(own()),
        Subject::AgentHello(agent_id("ghost")),
        Subject::AgentBeat(own()),
        Subject::AgentBeat(agent_id("ghost")),
        Subject::AgentOrders(own()),
        Subject::AgentReports(own()),
        Subject::AgentReports(agent_id("ghost")),
        Subject::PoolOffers(pool()),
        Subject::PoolGrants(pool()),
        Subject::Output(AttemptId::new(JobId(1), 0, 1), LogStream::Stdout),
        Subject::Ledger(Writer::Registry),
        Subject::Ledger(Writer::Offers),
        Subject::Ledger(Writer::Dispatcher),
    ]
}

/// What is neither a question nor a message.
fn garbage() -> Vec<Vec<u8>> {
    let deep = format!("{{\"a\": {}", "[".repeat(10_000));
    let long = format!("{{\"{}\": 1}}", "x".repeat(500_000));
    let mut all: Vec<Vec<u8>> = ["hello", "[[]]", "5", "\"x\"", "{\"surprise\": 1}", "{", &deep, &long]
        .map(|text| text.as_bytes().to_vec())
        .into();
    all.push(b"\x00\xff\xfe\x80".to_vec());
    all.push(vec![0xff; 500_000]);
    // A field of a length beyond all.
    all.push(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec());
    all
}

fn facts(id: &str, incarnation: u64) -> AgentFacts {
    AgentFacts {
        id: agent_id(id),
        incarnation: Incarnation(incarnation),
        host: "h".into(),
        resources: [(ResourceName::cpus(), Amount::Scalar(1_000))].into_iter().collect(),
        attributes: Attributes::new(),
        program_version: "0".into(),
    }
}

/// Messages that can be read and make no sense, and where they are said.
fn nonsense() -> Vec<(Subject, Vec<u8>)> {
    let ghost = || agent_id("ghost");
    let run = "1.0-4294967295#1".parse().unwrap();
    let beat =
        |agent: AgentId| Beat { agent, incarnation: Incarnation(7), leaving: false, trouble: None }.encode();
    let hello = |facts: AgentFacts| Hello { facts: facts.into(), ended: Vec::new() }.encode();
    let mut wild = facts("ghost", 1);
    wild.resources.set(ResourceName::cpus(), Amount::Scalar(u64::MAX));
    let mut long = facts("ghost", 1);
    long.attributes.insert("x".into(), "y".repeat(900_000));
    let outcome = Outcome { message: Some("x".repeat(500_000).into()), ..Outcome::default() };
    let (state, reason, ended_at) = (TaskState::Queued, Reason::Granted, Time::MAX);
    let ended = Report::Ended { run, state, reason, started_at: None, ended_at, outcome };
    let reports = |agent: AgentId| {
        let reports = vec![Report::Started { run, at: Time::MAX }, ended.clone()];
        ReportBatch { agent, incarnation: Incarnation(7), sequence: u64::MAX, allocations: 0, reports }
            .encode()
    };
    let orders = |epoch, incarnation| {
        let kill = AgentOrder::Kill { run, grace: allot_model::Span::ZERO, reason: Reason::NotWanted };
        let launch = AgentOrder::Launch(allot_model::Launch {
            run,
            spec: JobSpec::new(Command::Shell("true".into())).into(),
            queue: QueueName::new("x").unwrap(),
            slice: allot_model::Resources::new(),
            slots: 1,
        });
        let orders = vec![kill, launch, AgentOrder::Acknowledge { sequence: u64::MAX }];
        OrderBatch { epoch: Epoch(epoch), incarnation: Incarnation(incarnation), allocations: 0, orders }
            .encode()
    };
    let feed = |session, sequence| {
        Feed { session: Epoch(session), sequence, sync: None, part: 0, items: vec![] }.encode()
    };
    let said =
        |instance: &str, messages| FromAllocator { instance: instance.parse().unwrap(), messages }.encode();
    let grant = allot_model::Grant {
        epoch: Epoch(u64::MAX),
        grant: allot_model::GrantId(u64::MAX),
        placements: Vec::new(),
    };
    let revive = allot_model::AllocatorMessage::Revive { epoch: Epoch(1) };
    vec![
        (Subject::AgentHello(agent_id("a1")), hello(facts("ghost", 1))),
        (Subject::AgentHello(ghost()), hello(wild)),
        (Subject::AgentHello(ghost()), hello(long)),
        (Subject::AgentBeat(agent_id("a1")), beat(ghost())),
        (Subject::AgentBeat(agent_id("a1")), beat(agent_id("a1"))),
        (Subject::AgentBeat(ghost()), beat(ghost())),
        (Subject::AgentReports(agent_id("a1")), reports(ghost())),
        (Subject::AgentReports(agent_id("a1")), reports(agent_id("a1"))),
        (Subject::AgentReports(ghost()), reports(ghost())),
        (Subject::AgentOrders(agent_id("a1")), orders(0, 7)),
        (Subject::AgentOrders(agent_id("a1")), orders(u64::MAX, 7)),
        (Subject::AgentOrders(agent_id("a1")), Welcome::HelloNeeded.encode()),
        (Subject::PoolOffers(pool()), feed(99, 1)),
        (Subject::PoolOffers(pool()), feed(1, u64::MAX)),
        (Subject::PoolOffers(pool()), feed(0, 0)),
        (Subject::PoolGrants(pool()), said("ghost", vec![allot_model::AllocatorMessage::Grant(grant); 100])),
        (Subject::PoolGrants(pool()), said("ghost", vec![revive; 100])),
        (Subject::PoolGrants(pool()), said("ghost", vec![allot_model::AllocatorMessage::Goodbye])),
    ]
}

/// Questions that can be read and ask for what there is not.
fn out_of_range() -> Vec<(Subject, Value, &'static str)> {
    let logs = |attempt: &str, offset: i64, limit: u32| {
        let query = LogQuery { attempt: attempt.parse().unwrap(), stream: LogStream::Stdout, offset, limit };
        serde_json::to_value(query).unwrap()
    };
    let a1 = || Subject::AgentLogs(agent_id("a1"));
    vec![
        (a1(), logs("1.0#1", i64::MIN, u32::MAX), ""),
        (a1(), logs("1.0#1", i64::MAX, 0), ""),
        (a1(), logs("18446744073709551615.4294967295#4294967295", 0, 1), "not_found"),
        (a1(), json!({"attempt": "1.0#0", "stream": "stdout", "offset": 0, "limit": 1}), "invalid"),
        (a1(), json!({"attempt": "../..", "stream": "stdout", "offset": 0, "limit": 1}), "invalid"),
        (a1(), json!({"attempt": "1.0#1", "stream": "journal", "offset": 0, "limit": 1}), "invalid"),
        (Subject::JobShow(JobId(u64::MAX)), json!({}), "not_found"),
        (Subject::JobShow(JobId(0)), json!({}), "not_found"),
        (Subject::JobShow(JobId(1)), json!({"tasks": "5-3"}), "invalid"),
        (Subject::JobShow(JobId(1)), json!({"tasks": "0-4294967295", "limit": 4_294_967_295_u32}), ""),
        (Subject::JobCancel(JobId(u64::MAX)), json!({}), "not_found"),
        (Subject::JobsList, json!({"limit": 0}), ""),
        (Subject::JobsList, json!({"limit": -1}), "invalid"),
        (Subject::JobsList, json!({"limit": 1e300}), "invalid"),
        (Subject::JobsList, json!({"before": 0, "limit": 4_294_967_295_u32}), ""),
        (Subject::QueuesSet, json!({"queue": "q", "weight": 0}), "invalid"),
        (Subject::QueuesSet, json!({"queue": "q", "weight": 4_294_967_295_u32}), "invalid"),
        (Subject::QueuesSet, json!({"queue": "q", "weight": -1}), "invalid"),
        (Subject::QueuesSet, json!({"queue": "a..b", "weight": 1}), "invalid"),
        (Subject::QueuesSet, json!({"queue": "q", "weight": 1, "weight2": 1}), "invalid"),
        (Subject::PoolUse(pool()), json!({"policy": "a b"}), "invalid"),
        (Subject::AgentDrain(agent_id("ghost")), json!({}), "not_found"),
        (Subject::AgentUndrain(agent_id("ghost")), json!({}), "not_found"),
        (Subject::AgentGone(agent_id("ghost")), json!({}), "not_found"),
    ]
}

/// The code of a refusal; empty where it was none.
fn code(payload: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(payload).unwrap_or_default();
    answer["error"]["code"].as_str().unwrap_or_default().to_owned()
}

async fn ask(cluster: &Cluster, subject: &Subject, payload: Vec<u8>) -> async_nats::Message {
    let shown = String::from_utf8_lossy(&payload[..payload.len().min(60)]).into_owned();
    let request = cluster.user.bus().client().request(subject.to_string(), payload.into());
    within(&format!("{subject} answers {shown:?}"), request).await.unwrap()
}

#[tokio::test]
async fn what_makes_no_sense_on_any_subject_changes_nothing_and_stops_nobody() {
    let mut cluster = Cluster::start().await;
    let gate = cluster.scratch("gate");
    let running = cluster.wait_for(&gate, json!({})).await;
    cluster.runs(running, 1).await;
    for subject in asked() {
        for payload in garbage() {
            let answer = ask(&cluster, &subject, payload).await;
            assert_eq!(code(&answer.payload), "invalid", "{subject}: {:?}", answer.payload);
            assert!(answer.payload.len() < 2_000, "{subject}: an answer is no echo");
        }
    }
    for (subject, query, expected) in out_of_range() {
        let answer = ask(&cluster, &subject, query.to_string().into_bytes()).await;
        assert_eq!(code(&answer.payload), expected, "{subject} {query}: {:?}", answer.payload);
    }
    let mut client = RawClient::connect(&cluster.programs.nats).await.unwrap();
    for subject in asked().into_iter().chain(talked()) {
        let subject = subject.to_string();
        for payload in garbage() {
            client.publish(subject.as_bytes(), &payload).await.unwrap();
        }
    }
    for (subject, payload) in nonsense() {
        client.ask(subject.to_string().as_bytes(), b"_INBOX.nobody", &payload).await.unwrap();
    }
    for strange in [
        "allot.v1.agent.a b.hello",
        "allot.v1.agent.é.hello",
        "allot.v1.job.x.show",
        "allot.v1.job.07.cancel",
    ] {
        client.ask(strange.replace(' ', "\t").as_bytes(), b"_INBOX.nobody", b"{}").await.ok();
    }

    cluster.agent_is("a1", AgentState::Ready).await;
    let next = cluster.shell("true", json!({"resources": {"cpus": 3}})).await;
    assert_eq!(cluster.ends(next).await, JobState::Finished);
    std::fs::write(&gate, "").unwrap();
    assert_eq!(cluster.ends(running).await, JobState::Finished);
    assert_eq!(cluster.programs.ended(), Vec::<String>::new());
    let mut lives: BTreeMap<Writer, u64> = BTreeMap::new();
    for entry in entries(cluster.user.bus()).await.unwrap() {
        if let allot_model::Record::Writer(started) = entry.record {
            *lives.entry(started.writer).or_default() += 1;
        }
    }
    assert!(lives.len() == 3 && lives.values().all(|count| *count == 1), "{lives:?}");
    let agents = cluster.allot(&["agents"]).await;
    assert!(agents.code == 0 && !agents.out.contains("ghost"), "{agents:?}");
}
