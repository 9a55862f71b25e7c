//! Several instances of one service over a real nats-server: one is active, the others stand by.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

mod support;

use allot_bus::{Stream, Subject};
use allot_model::ledger::Writer;
use allot_model::{Epoch, Span};
use allot_shell::ledger::reader::StreamReader;
use allot_shell::{Bus, NatsConfig, Role, StandbyConfig, WriterConfig, services};
use allot_testkit::{NatsServer, PATIENCE, eventually, within};
use async_nats::HeaderMap;

use support::{BLOCK, COUNT, Counter, READ, Running, arrived, ask, counts, flood, read_answer};

/// What no test waits for.
const NEVER: Span = Span::from_secs(3_600);

async fn start(config: &NatsConfig, takeover_after: Span) -> Running {
    let writer = WriterConfig { standby: StandbyConfig { takeover_after }, ..WriterConfig::default() };
    Running::start_as::<2>(config, Counter::default(), writer).await
}

/// Starts several, the first of which is active.
async fn start_several(config: &NatsConfig, count: usize, takeover_after: Span) -> Vec<Running> {
    let active = start(config, takeover_after).await;
    active.is(Role::Active).await;
    let mut all = vec![active];
    for _ in 1..count {
        let standby = start(config, takeover_after).await;
        standby.is(Role::Standby).await;
        all.push(standby);
    }
    all
}

/// Gives the lease up in the place of who holds it.
async fn take_lease_away(bus: &Bus) {
    let headers = HeaderMap::from_iter([("KV-Operation".parse().unwrap(), "DEL".parse().unwrap())]);
    let subject = Subject::Lease(Writer::Dispatcher).to_string();
    bus.jetstream().publish_with_headers(subject, headers, "".into()).await.unwrap().await.unwrap();
}

/// The message by which the lease is held, if it is.
async fn lease(bus: &Bus) -> Option<async_nats::jetstream::message::StreamMessage> {
    let stream = bus.jetstream().get_stream(Stream::Leases.name()).await.ok()?;
    stream.get_last_raw_message_by_subject(&Subject::Lease(Writer::Dispatcher).to_string()).await.ok()
}

#[tokio::test]
async fn a_standby_takes_over_from_one_that_was_killed_with_all_that_it_knew() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let mut all = start_several(&server.config(), 2, Span::from_secs(1)).await;
    let standby = all.pop().unwrap();
    for text in ["a", "bb"] {
        ask(&bus, COUNT, text).await;
    }
    assert_eq!(standby.bus.standing().unwrap().role, Role::Standby);
    all.pop().unwrap().kill().await;
    assert_eq!(ask(&bus, COUNT, "ccc").await, "2 3");
    assert_eq!(ask(&bus, READ, "").await, "count 3 text 6 foreign 0");
    standby.stop().await;
}

#[tokio::test]
async fn one_that_is_told_to_stop_hands_over_without_a_silence() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let mut all = start_several(&server.config(), 3, NEVER).await;
    for expected in ["1 1", "2 2", "3 3"] {
        assert_eq!(ask(&bus, COUNT, "").await, expected);
        let position = all.iter().position(|one| one.bus.standing().unwrap().role == Role::Active);
        all.remove(position.unwrap()).stop().await;
    }
    assert_eq!(counts(&bus).await, [(Epoch(1), 1), (Epoch(2), 2), (Epoch(3), 3)]);
}

#[tokio::test]
async fn several_that_start_at_once_leave_one_writer_and_the_others_stand_by() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let config = server.config();
    let all = futures::future::join_all((0..4).map(|_| start(&config, NEVER))).await;
    eventually("one is active and three stand by", PATIENCE, || async {
        let mut roles: Vec<Role> = all.iter().filter_map(|one| Some(one.bus.standing()?.role)).collect();
        roles.sort_by_key(|role| *role != Role::Active);
        (roles == [Role::Active, Role::Standby, Role::Standby, Role::Standby]).then_some(())
    })
    .await;
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    for one in all {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_busy_for_long_is_not_taken_for_gone() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let takeover_after = Span::from_millis(200);
    let all = start_several(&server.config(), 2, takeover_after).await;
    let gate = all[0].gate.clone().lock_owned().await;
    let mut renewals =
        StreamReader::latest(&bus, Stream::Leases, &Subject::Lease(Writer::Dispatcher).to_string())
            .await
            .unwrap();
    bus.client().publish(BLOCK, "".into()).await.unwrap();
    // Four of them are the time after which it would be replaced.
    for _ in 0..20 {
        within("a renewal", renewals.next()).await.unwrap();
    }
    assert_eq!(all[1].bus.standing().unwrap().role, Role::Standby);
    drop(gate);
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    for one in all {
        one.stop().await;
    }
}

#[tokio::test]
async fn one_that_is_replaced_stands_by_and_nothing_it_decided_since_has_left_it() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let all = start_several(&server.config(), 2, NEVER).await;
    let inbox = bus.client().new_inbox();
    let mut answers = bus.client().subscribe(inbox.clone()).await.unwrap();
    flood(&bus, &inbox, 5_000).await;
    eventually("the standby is active", PATIENCE, || async {
        take_lease_away(&bus).await;
        flood(&bus, &inbox, 100).await;
        (all[1].bus.standing()?.role == Role::Active).then_some(())
    })
    .await;
    all[0].is(Role::Standby).await;
    flood(&bus, &inbox, 1_000).await;
    let last = ask(&bus, COUNT, "").await;
    assert!(read_answer(&last).0 > Epoch(1), "{last}");
    let ledger = counts(&bus).await;
    let answered = arrived(&mut answers).await;
    assert!(answered.len() >= 1_000, "{} answers", answered.len());
    for answer in answered {
        assert!(ledger.contains(&answer), "{answer:?} was answered and is not in the ledger");
    }
    assert_eq!(read_answer(&last), *ledger.last().unwrap());
    let numbers: Vec<u64> = ledger.iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, (1..=ledger.len() as u64).collect::<Vec<_>>());
    for one in all {
        one.stop().await;
    }
}

#[tokio::test]
async fn one_without_a_lease_that_nobody_takes_renews_it_and_stays() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let only = start(&server.config(), Span::from_millis(200)).await;
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    take_lease_away(&bus).await;
    eventually("it holds the lease again", PATIENCE, || async {
        lease(&bus).await.filter(|message| !message.payload.is_empty())
    })
    .await;
    assert_eq!(ask(&bus, COUNT, "").await, "1 2");
    only.stop().await;
}

#[tokio::test]
async fn a_restart_of_the_server_does_not_change_who_is_active() {
    let mut server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let all = start_several(&server.config(), 2, Span::from_millis(500)).await;
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    server.restart().await.unwrap();
    eventually("the lease is renewed", PATIENCE, || lease(&bus)).await;
    assert_eq!(ask(&bus, COUNT, "").await, "1 2");
    for one in all {
        one.stop().await;
    }
}

#[tokio::test]
async fn the_server_forgets_a_lease_that_nobody_renews_and_one_that_is_given_up() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    for (round, gives_up) in [false, true, false].into_iter().enumerate() {
        let only = start(&server.config(), Span::from_millis(300)).await;
        only.is(Role::Active).await;
        eventually("it is renewed", PATIENCE, || async {
            let held = lease(&bus).await?;
            held.headers.get("Nats-TTL").map(|ttl| ttl.as_str() == "1")
        })
        .await;
        if gives_up {
            only.stop().await
        } else {
            only.kill().await
        }
        let what = format!("the lease of round {round} is gone");
        eventually(&what, PATIENCE, || async { lease(&bus).await.is_none().then_some(()) }).await;
    }
}

#[tokio::test]
async fn instances_tell_who_is_active_and_how_far_each_has_read() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let all = start_several(&server.config(), 2, NEVER).await;
    let mut listed = Vec::new();
    for one in &all {
        listed.push(allot_shell::health::list(&one.bus, "allot-counting", "0.1.0", "tests").await.unwrap());
    }
    ask(&bus, COUNT, "").await;
    eventually("both are told of, and have read all", PATIENCE, || async {
        let told = services::running(&bus).await.unwrap();
        let mut told: Vec<_> = told.into_iter().filter_map(|one| one.standing).collect();
        told.sort_by_key(|standing| standing.role != Role::Active);
        let read: Vec<_> = told.iter().map(|one| (one.role, one.epoch, one.ledger_sequence)).collect();
        (read == [(Role::Active, Some(Epoch(1)), 2), (Role::Standby, None, 2)]).then_some(())
    })
    .await;
    for one in all {
        one.stop().await;
    }
}
