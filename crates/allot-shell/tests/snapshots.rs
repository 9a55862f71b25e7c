//! Snapshots and trimming over a real nats-server.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use allot_bus::Stream;
use allot_bus::stream::SNAPSHOTS;
use allot_model::{Epoch, Span};
use allot_shell::{Bus, NatsConfig, SnapshotConfig, StandbyConfig, WriterConfig};
use allot_testkit::{NatsServer, PATIENCE, eventually, within};
use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::State;
use futures::TryStreamExt;

use support::{COUNT, Counter, READ, Running, ask, counted};

/// The three writers; the last one counts, the others follow it.
struct House {
    others: [Running; 2],
    counting: Running,
}

/// A snapshot after every 20 records, and nothing kept for people.
fn often() -> WriterConfig {
    let snapshots =
        SnapshotConfig { every_records: 20, keep_ledger: Span::ZERO, ..SnapshotConfig::default() };
    let standby = StandbyConfig { takeover_after: Span::from_millis(200) };
    WriterConfig { standby, snapshots }
}

async fn counting(config: &NatsConfig) -> Running {
    Running::start_as::<2>(config, Counter::with_inbox(), often()).await
}

impl House {
    async fn start(config: &NatsConfig) -> Self {
        let registry = Running::start_as::<0>(config, Counter::default(), often()).await;
        let offers = Running::start_as::<1>(config, Counter::default(), often()).await;
        Self { others: [registry, offers], counting: counting(config).await }
    }

    async fn stop(self) {
        let Self { others, counting } = self;
        counting.stop().await;
        for other in others {
            other.stop().await;
        }
    }
}

async fn state(bus: &Bus, stream: Stream) -> State {
    bus.jetstream().get_stream(stream.name()).await.unwrap().cached_info().state.clone()
}

async fn snapshots_of(bus: &Bus, writer: &str) -> Vec<ObjectInfo> {
    let Ok(bucket) = bus.jetstream().get_object_store(SNAPSHOTS).await else { return Vec::new() };
    let infos: Vec<ObjectInfo> = bucket.list().await.unwrap().try_collect().await.unwrap();
    let mut infos: Vec<_> = infos.into_iter().filter(|info| info.name.starts_with(writer)).collect();
    infos.sort_by(|a, b| b.name.cmp(&a.name));
    infos
}

/// Counts and submits until the ledger and the inbox have been trimmed; returns the state after all of it.
async fn count_until_trimmed(bus: &Bus) -> String {
    let rounds = AtomicU64::new(0);
    eventually("the ledger and the inbox are trimmed", PATIENCE, || async {
        rounds.fetch_add(1, Ordering::Relaxed);
        for _ in 0..10 {
            bus.jetstream().publish("allot.v1.submit.a", "".into()).await.unwrap().await.unwrap();
            ask(bus, COUNT, "x").await;
        }
        let (ledger, inbox) = (state(bus, Stream::Ledger).await, state(bus, Stream::Inbox).await);
        (ledger.first_sequence > 50 && inbox.first_sequence > 20).then_some(())
    })
    .await;
    counted(bus, 20 * rounds.load(Ordering::Relaxed)).await
}

/// Puts something into the newest snapshot that was not there.
async fn damage(bus: &Bus, writer: &str, which: usize) {
    let info = &snapshots_of(bus, writer).await[which];
    let chunks = format!("$O.{SNAPSHOTS}.C.{}", info.nuid);
    let stream = bus.jetstream().get_stream(format!("OBJ_{SNAPSHOTS}")).await.unwrap();
    let chunk = stream.get_last_raw_message_by_subject(&chunks).await.unwrap();
    stream.delete_message(chunk.sequence).await.unwrap();
    let mut bytes = chunk.payload.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bus.jetstream().publish(chunks, bytes.into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_service_goes_on_from_its_snapshot_where_the_ledger_has_been_trimmed() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let House { others, counting: first } = House::start(&server.config()).await;
    let before = count_until_trimmed(&bus).await;
    first.kill().await;
    let second = counting(&server.config()).await;
    assert_eq!(ask(&bus, READ, "").await, before);
    assert!(ask(&bus, COUNT, "x").await.starts_with("2 "));
    eventually("the newest and one to fall back on are kept", PATIENCE, || async {
        ask(&bus, COUNT, "x").await;
        (snapshots_of(&bus, "dispatcher").await.len() == 2).then_some(())
    })
    .await;
    House { others, counting: second }.stop().await;
}

#[tokio::test]
async fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let House { others, counting: first } = House::start(&server.config()).await;
    let before = count_until_trimmed(&bus).await;
    first.kill().await;
    damage(&bus, "dispatcher", 0).await;
    let second = counting(&server.config()).await;
    assert_eq!(ask(&bus, READ, "").await, before);
    House { others, counting: second }.stop().await;
}

#[tokio::test]
async fn without_any_snapshot_that_is_whole_a_trimmed_ledger_is_not_taken_for_all_there_was() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let House { others, counting: first } = House::start(&server.config()).await;
    count_until_trimmed(&bus).await;
    first.stop().await;
    let count = snapshots_of(&bus, "dispatcher").await.len();
    for which in 0..count {
        damage(&bus, "dispatcher", which).await;
    }
    let second = counting(&server.config()).await;
    let error = within("it stops", second.task).await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains(&format!("none of the {count} snapshots of the dispatcher can be used")),
        "{error}"
    );
    for other in others {
        other.stop().await;
    }
}

#[tokio::test]
async fn a_snapshot_of_another_ledger_is_not_used() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let house = House::start(&server.config()).await;
    eventually("there is a snapshot", PATIENCE, || async {
        ask(&bus, COUNT, "x").await;
        (!snapshots_of(&bus, "dispatcher").await.is_empty()).then_some(())
    })
    .await;
    house.stop().await;
    bus.jetstream().delete_stream(Stream::Ledger.name()).await.unwrap();
    bus.ensure_streams().await.unwrap();
    let only = Running::start_as::<2>(&server.config(), Counter::default(), often()).await;
    for count in 1..100 {
        assert_eq!(ask(&bus, COUNT, "y").await, format!("{} {count}", Epoch(1)));
    }
    only.stop().await;
}
