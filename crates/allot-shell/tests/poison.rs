//! Messages that no client library would send, and that this one cannot read.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

mod support;

use allot_testkit::{NatsServer, PATIENCE, RawClient, eventually, within};
use futures::{FutureExt, StreamExt};

use support::{COUNT, Counter, READ, Running, ask, counted, counts, read_answer};

/// What the client library takes for the end of a connection, of itself, or of nothing: subject, and lines of headers.
const POISON: [(&[u8], Option<&[u8]>); 7] = [
    (b"allot.v1.submit.\xff\xfe", None),
    (b"allot.v1.submit.\xff", Some(b"\r\nA: b")),
    ("allot.v1.submit.a\u{2003}b".as_bytes(), Some(b"\r\nA: b")),
    (b"allot.v1.submit.q", Some(b"\r\nA: \xff")),
    (b"allot.v1.submit.q", Some(b"\r\nno colon")),
    (b"allot.v1.submit.q", Some(b"\r\nA: b\rc")),
    (b"allot.v1.submit.q", Some(b" 100 Idle Heartbeat")),
];

async fn submit(client: &mut RawClient, (subject, lines): (&[u8], Option<&[u8]>)) {
    match lines {
        Some(lines) => client.publish_with(subject, lines, b"{}").await.unwrap(),
        None => client.publish(subject, b"{}").await.unwrap(),
    }
}

#[tokio::test]
async fn a_submission_that_the_client_library_cannot_read_holds_up_nothing_behind_it() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let mut client = RawClient::connect(&server).await.unwrap();
    let good: (&[u8], _) = (b"allot.v1.submit.q", None);
    // Some are there when the service starts, some come one by one, and some among many.
    for poison in POISON {
        submit(&mut client, poison).await;
    }
    let service = Running::start(&server.config(), Counter::with_inbox()).await;
    let mut count = POISON.len() as u64;
    counted(&bus, count).await;
    for poison in POISON {
        submit(&mut client, poison).await;
        submit(&mut client, good).await;
        count += 2;
        counted(&bus, count).await;
    }
    for poison in POISON {
        for _ in 0..100 {
            submit(&mut client, good).await;
        }
        submit(&mut client, poison).await;
        count += 101;
    }
    submit(&mut client, good).await;
    counted(&bus, count + 1).await;
    assert_eq!(ask(&bus, COUNT, "").await, format!("1 {}", count + 2), "the service lived through it all");
    service.stop().await;
}

#[tokio::test]
async fn what_someone_else_says_in_the_ledger_is_passed_over() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let mut client = RawClient::connect(&server).await.unwrap();
    let subjects: [&[u8]; 2] = [b"allot.v1.ledger.dispatcher", b"allot.v1.ledger.registry"];
    let garbage: [&[u8]; 3] = [b"", b"hello", br#"{"ok": {"jobs": []}}"#];
    let mut count = 0;
    for life in 1..=2 {
        let service = Running::start(&server.config(), Counter::default()).await;
        for payload in garbage {
            for subject in subjects {
                client.publish(subject, payload).await.unwrap();
                count += 1;
                assert_eq!(ask(&bus, COUNT, "").await, format!("{life} {count}"));
            }
        }
        let inbox = bus.client().new_inbox();
        let mut answers = bus.client().subscribe(inbox.clone()).await.unwrap();
        for _ in 0..100 {
            bus.client().publish_with_reply(COUNT, inbox.clone(), "".into()).await.unwrap();
            client.publish(subjects[0], b"x").await.unwrap();
        }
        count += 100;
        for _ in 0..100 {
            within("an answer", answers.next()).await.unwrap();
        }
        service.stop().await;
    }
    let ledger: Vec<u64> = counts(&bus).await.into_iter().map(|(_, n)| n).collect();
    assert_eq!(ledger, (1..=count).collect::<Vec<_>>(), "everything is there, once and in order");
}

#[tokio::test]
async fn no_answer_is_sent_where_it_would_be_taken_for_our_own_word() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    let mut client = RawClient::connect(&server).await.unwrap();
    let mut heard = bus.client().subscribe("allot.>").await.unwrap();
    let mut asked = bus.client().subscribe("$JS.API.STREAM.NAMES").await.unwrap();
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    for reply in ["allot.v1.ledger.registry", "allot.v1.submit.finance", "$JS.API.STREAM.NAMES"] {
        client.ask(READ.as_bytes(), reply.as_bytes(), b"").await.unwrap();
    }
    // Answers leave in order: were there any to those before, they would be here by now.
    assert_eq!(ask(&bus, READ, "").await, "count 1 text 0 foreign 0");
    bus.client().flush().await.unwrap();
    while let Some(Some(message)) = heard.next().now_or_never() {
        assert_eq!(message.subject.as_str(), "allot.v1.ledger.dispatcher", "{message:?}");
    }
    assert!(asked.next().now_or_never().is_none());
    service.stop().await;
}

#[tokio::test]
async fn a_question_that_the_client_library_cannot_read_harms_nobody() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let service = Running::start(&server.config(), Counter::default()).await;
    let mut client = RawClient::connect(&server).await.unwrap();
    assert_eq!(ask(&bus, COUNT, "").await, "1 1");
    let mut count = 1;
    for lines in POISON.iter().filter_map(|(_, lines)| *lines) {
        client.publish_with(READ.as_bytes(), lines, b"").await.unwrap();
        client.publish_with(COUNT.as_bytes(), lines, b"").await.unwrap();
        // A question that is lost with the connection is asked again, and may count twice then.
        let answer = eventually("an answer", PATIENCE, || async {
            let asked = bus.client().request(COUNT, "".into());
            let answer =
                tokio::time::timeout(std::time::Duration::from_millis(500), asked).await.ok()?.ok()?;
            Some(String::from_utf8(answer.payload.to_vec()).unwrap())
        })
        .await;
        let (epoch, counted) = read_answer(&answer);
        assert!(epoch.0 == 1 && counted > count, "the service lived through it: {answer}");
        count = counted;
    }
    service.stop().await;
}
