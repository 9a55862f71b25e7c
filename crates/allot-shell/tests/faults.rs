//! The driver when the bus fails.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

mod support;

use allot_model::QueueName;
use allot_shell::{Bus, NatsConfig};
use allot_testkit::{NatsServer, PATIENCE, Proxy, eventually, within};
use futures::StreamExt;

use support::{COUNT, Counter, READ, Running, arrived, ask, counted, counts, read_answer};

/// Submits a job that is not one; repeats it until the inbox has it.
async fn submit(bus: &Bus, id: u64) {
    let subject = allot_bus::Subject::Submit(QueueName::new("q").unwrap()).to_string();
    eventually("the inbox takes the submission", PATIENCE, || async {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(allot_bus::headers::NATS_MSG_ID, id.to_string());
        let sent = bus.jetstream().publish_with_headers(subject.clone(), headers, "{}".into()).await.ok()?;
        tokio::time::timeout(std::time::Duration::from_secs(1), sent.into_future()).await.ok()?.ok()
    })
    .await;
}

#[tokio::test]
async fn a_restart_of_the_server_in_a_flood_loses_nothing_and_repeats_nothing() {
    let mut server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::with_inbox()).await;
    ask(&bus, READ, "").await;
    let total = 3_000;
    let flood = tokio::spawn({
        let bus = bus.clone();
        async move {
            for id in 0..total {
                submit(&bus, id).await;
            }
        }
    });
    for restart_at in [500, 1_500] {
        eventually("the flood is under way", PATIENCE, || async {
            let text = ask(&bus, READ, "").await;
            let count: u64 = text.split(' ').nth(1)?.parse().ok()?;
            (count >= restart_at).then_some(())
        })
        .await;
        server.restart().await.unwrap();
    }
    within("the flood ends", flood).await.unwrap();
    counted(&bus, total).await;
    let ledger: Vec<u64> = counts(&bus).await.into_iter().map(|(_, n)| n).collect();
    assert_eq!(ledger, (1..=total).collect::<Vec<_>>());
    service.stop().await;
}

#[tokio::test]
async fn every_answer_that_arrived_is_in_the_ledger_when_the_server_dies() {
    let mut server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    ask(&bus, READ, "").await;
    let inbox = bus.client().new_inbox();
    let mut answers = bus.client().subscribe(inbox.clone()).await.unwrap();
    let (first, second) = (2_000, 2_000);
    for _ in 0..first {
        bus.client().publish_with_reply(COUNT, inbox.clone(), "".into()).await.unwrap();
    }
    within("the first answer", answers.next()).await.unwrap();
    server.restart().await.unwrap();
    for _ in 0..second {
        bus.client().publish_with_reply(COUNT, inbox.clone(), "".into()).await.unwrap();
    }
    let last = ask(&bus, COUNT, "").await;
    let ledger = counts(&bus).await;
    assert_eq!(ledger.last(), Some(&read_answer(&last)));
    for answer in arrived(&mut answers).await {
        assert_eq!(ledger.get(usize::try_from(answer.1).unwrap() - 1), Some(&answer));
    }
    assert_eq!(
        ledger.iter().map(|(_, n)| *n).collect::<Vec<_>>(),
        (1..=ledger.len() as u64).collect::<Vec<_>>()
    );
    service.stop().await;
}

#[tokio::test]
async fn an_append_whose_acknowledgement_is_lost_is_found_and_not_repeated() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let proxy = Proxy::before(&server).await.unwrap();
    let config = NatsConfig { url: proxy.url(), ..NatsConfig::default() };
    let service = Running::start(&config, Counter::default()).await;
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    // Large, so that it also shows that a full batch can be read back.
    let text = "x".repeat(890_000);
    let inbox = bus.client().new_inbox();
    let mut answers = bus.client().subscribe(inbox.clone()).await.unwrap();
    proxy.mute_after("allot.v1.ledger.dispatcher");
    bus.client().publish_with_reply(COUNT, inbox, text.into()).await.unwrap();
    eventually("the append is in the ledger", PATIENCE, || async {
        (counts(&bus).await.len() == 2).then_some(())
    })
    .await;
    proxy.heal();
    let answer = within("the answer", answers.next()).await.unwrap();
    assert_eq!(answer.payload, "1 2");
    assert_eq!(ask(&bus, COUNT, "").await, "1 3");
    assert_eq!(counts(&bus).await.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), [1, 2, 3]);
    service.stop().await;
}
