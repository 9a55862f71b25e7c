//! How fast the driver is. Measures, decides nothing: `cargo nextest run -p allot-shell --run-ignored only --no-capture`.
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]
#![allow(clippy::print_stdout, reason = "figures are for people")]

mod support;

use allot_bus::{Stream, Subject};
use allot_model::{QueueName, Span, Time};
use allot_shell::{Bus, clock};
use allot_testkit::NatsServer;

use support::{COUNT, Counter, READ, Running, ask, counted};

fn report(what: &str, count: u64, started: Time) {
    let took = clock::now().since(started);
    let rate = count.saturating_mul(1_000_000) / took.as_micros().max(1);
    println!("{what}: {count} in {took}, {rate} a second");
}

async fn fill_inbox(bus: &Bus, count: u64) {
    let subject = Subject::Submit(QueueName::new("q").unwrap()).to_string();
    let mut inbox = bus.jetstream().get_stream(Stream::Inbox.name()).await.unwrap();
    let before = inbox.info().await.unwrap().state.last_sequence;
    for n in 1..=count {
        if n % 500 == 0 {
            bus.jetstream().publish(subject.clone(), "{}".into()).await.unwrap().await.unwrap();
        } else {
            bus.client().publish(subject.clone(), "{}".into()).await.unwrap();
        }
    }
    assert_eq!(inbox.info().await.unwrap().state.last_sequence, before + count);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_many_records_a_second_and_how_soon_an_answer() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;

    let mut latencies: Vec<Span> = Vec::new();
    for _ in 0..2_000 {
        let started = clock::now();
        bus.client().request(COUNT, "".into()).await.unwrap();
        latencies.push(clock::now().since(started));
    }
    latencies.sort();
    println!("request, append, reply, idle: p50 {}, p99 {}", latencies[1_000], latencies[1_980]);

    let count = 200_000;
    let started = clock::now();
    for _ in 0..count {
        bus.client().publish(COUNT, "".into()).await.unwrap();
    }
    counted(&bus, 2_000 + count).await;
    report("records from a flood of messages", count, started);
    let appends = allot_testkit::batches(&bus).await.unwrap().len();
    println!("in {appends} appends");
    service.kill().await;

    let started = clock::now();
    let service = Running::start(&server.config(), Counter::default()).await;
    counted(&bus, 2_000 + count).await;
    report("records replayed", 2_000 + count, started);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn how_fast_the_inbox_is_read() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let count = 10_000;
    let started = clock::now();
    fill_inbox(&bus, count).await;
    report("submissions stored", count, started);
    let started = clock::now();
    let service = Running::start(&server.config(), Counter::with_inbox()).await;
    counted(&bus, count).await;
    report("records from the inbox", count, started);
    service.stop().await;
}
