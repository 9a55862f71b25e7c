//! The driver over a real nats-server.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

mod support;

use allot_bus::Subject;
use allot_model::ledger::{Batch, Entry, Record, RegistryRecord, Writer};
use allot_model::{AgentId, Epoch, Time};
use allot_proto::Wire;
use allot_shell::{Bus, NatsConfig, Secret};
use allot_testkit::{NatsServer, PATIENCE, eventually, within};
use futures::StreamExt;

use support::{BLOCK, COUNT, Counter, HUGE, RANG, READ, RING, Running, ask, counted, counts, flood};

#[tokio::test]
async fn requests_are_answered_and_everything_decided_is_in_the_ledger() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    assert_eq!(ask(&bus, COUNT, "a").await, "1 1");
    assert_eq!(ask(&bus, COUNT, "bc").await, "1 2");
    assert_eq!(ask(&bus, READ, "").await, "count 2 text 3 foreign 0");
    assert_eq!(counts(&bus).await, [(Epoch(1), 1), (Epoch(1), 2)]);
    service.stop().await;
}

#[tokio::test]
async fn a_service_answers_where_nats_lets_it_do_nothing_but_answer() {
    let users = r#"authorization { users: [
        { user: asker, password: x }
        { user: service, password: x, permissions: {
            publish: ["allot.v1.ledger.>", "$KV.ALLOT_LEASES.>", "$JS.API.>", "$JS.FC.>"]
            subscribe: ["test.>", "_INBOX.>"]
            allow_responses: { max: -1, expires: "1m" }
        } }
    ] }"#;
    let server = NatsServer::start_with(users).await.unwrap();
    let as_user = |user: &str| {
        let (user, password) = (Some(user.to_owned()), Some(Secret::new("x".to_owned())));
        NatsConfig { user, password, ..server.config() }
    };
    let asker = Bus::connect(&as_user("asker"), "asker").await.unwrap();
    asker.ensure_streams().await.unwrap();
    let service = Running::start(&as_user("service"), Counter::default()).await;
    assert_eq!(ask(&asker, COUNT, "a").await, "1 1");
    assert_eq!(ask(&asker, READ, "").await, "count 1 text 1 foreign 0");
    service.stop().await;
}

#[tokio::test]
async fn records_gather_while_an_append_is_in_flight() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;
    let count = 20_000;
    flood(&bus, "nobody", count).await;
    counted(&bus, count).await;
    assert_eq!(counts(&bus).await, (1..=count).map(|n| (Epoch(1), n)).collect::<Vec<_>>());
    let appends = allot_testkit::batches(&bus).await.unwrap().len() as u64;
    assert!(appends < count / 10, "{count} records took {appends} appends");
    service.stop().await;
}

#[tokio::test]
async fn a_batch_stays_below_what_the_server_takes() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;
    let text = "x".repeat(100_000);
    for _ in 0..100 {
        bus.client().publish(COUNT, text.clone().into()).await.unwrap();
    }
    assert!(counted(&bus, 100).await.contains("text 10000000 "));
    let batches = allot_testkit::batches(&bus).await.unwrap();
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.encode().len()).collect();
    assert!(
        sizes.iter().any(|size| *size > 500_000) && sizes.iter().all(|size| *size < 1_000_000),
        "{sizes:?}"
    );
    service.stop().await;
}

#[tokio::test]
async fn an_effect_does_not_leave_before_its_record_is_durable() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    let mut ledger = bus.jetstream().get_stream(allot_bus::Stream::Ledger.name()).await.unwrap();
    let config = ledger.info().await.unwrap().config.clone();
    let closed = async_nats::jetstream::stream::Config { max_message_size: 1, ..config.clone() };
    bus.jetstream().update_stream(closed).await.unwrap();
    let inbox = bus.client().new_inbox();
    let mut answers = bus.client().subscribe(inbox.clone()).await.unwrap();
    flood(&bus, &inbox, 1).await;
    // A question that needs no record waits all the same: answers leave in the order of decisions.
    let early = bus
        .client()
        .send_request(READ, async_nats::Request::new().timeout(Some(std::time::Duration::from_millis(500))));
    assert!(early.await.is_err(), "an answer left before the record");
    bus.jetstream().update_stream(config).await.unwrap();
    let answer = within("the answer", answers.next()).await.unwrap();
    assert_eq!(answer.payload, "1 2");
    service.stop().await;
}

#[tokio::test]
async fn a_restarted_service_has_the_state_it_had() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    for text in ["a", "bb", "ccc"] {
        ask(&bus, COUNT, text).await;
    }
    append_as_registry(&bus).await;
    let state = "count 3 text 6 foreign 1";
    eventually("the other writer's record is folded", PATIENCE, || async {
        (ask(&bus, READ, "").await == state).then_some(())
    })
    .await;
    service.kill().await;
    let service = Running::start(&server.config(), Counter::default()).await;
    assert_eq!(ask(&bus, READ, "").await, state);
    assert_eq!(ask(&bus, COUNT, "").await, "2 4");
    service.stop().await;
}

async fn append_as_registry(bus: &Bus) {
    let record = Record::Registry(RegistryRecord::AgentReturned { agent: AgentId::new("a1").unwrap() });
    let entries = vec![Entry { at: Time::ZERO, record }];
    let batch = Batch { writer: Writer::Registry, epoch: Epoch(1), entries };
    let subject = Subject::Ledger(Writer::Registry).to_string();
    bus.jetstream().publish(subject, batch.encode().into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_answered_and_the_next_one_too() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;
    let answer = bus.client().request(COUNT, vec![0xff, 0xfe].into()).await.unwrap();
    assert!(answer.payload.starts_with(br#"{"error":{"code":"invalid""#), "{answer:?}");
    bus.client().publish(COUNT, vec![0xff].into()).await.unwrap();
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    service.stop().await;
}

#[tokio::test]
async fn an_answer_that_nats_cannot_carry_becomes_one_that_says_so() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    let answer = ask(&bus, HUGE, "").await;
    assert!(answer.contains("ask for less"), "{answer}");
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    service.stop().await;
}

#[tokio::test]
async fn a_core_is_woken_when_it_asked_to_be() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let mut rang = bus.client().subscribe(RANG).await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;
    bus.client().publish(RING, "".into()).await.unwrap();
    within("the alarm", rang.next()).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn what_was_decided_before_the_end_is_seen_out() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;
    let inbox = bus.client().new_inbox();
    let mut answers = bus.client().subscribe(inbox.clone()).await.unwrap();
    flood(&bus, &inbox, 3_000).await;
    within("the first answer", answers.next()).await.unwrap();
    service.stop().await;
    let in_ledger = counts(&bus).await.len();
    for n in 1..in_ledger {
        within(&format!("answer {n} of {in_ledger}"), answers.next()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_kind_does_not_keep_others_waiting() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;
    let heard = || service.bus.messages_heard();
    let (before, total) = (heard(), 20_000);
    let gate = service.gate.clone().lock_owned().await;
    // The question comes last, behind the whole flood.
    bus.client().publish(BLOCK, "".into()).await.unwrap();
    flood(&bus, "nobody", total).await;
    let inbox = bus.client().new_inbox();
    let mut answers = bus.client().subscribe(inbox.clone()).await.unwrap();
    bus.client().publish_with_reply(READ, inbox, "".into()).await.unwrap();
    eventually("all of it waits in the service", PATIENCE, || async {
        (heard() >= before + total + 2).then_some(())
    })
    .await;
    drop(gate);
    let answer = within("the answer", answers.next()).await.unwrap();
    let answer = String::from_utf8(answer.payload.to_vec()).unwrap();
    let count: u64 = answer.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(count < total / 10, "the question waited for {count} of {total}");
    counted(&bus, total).await;
    service.stop().await;
}
