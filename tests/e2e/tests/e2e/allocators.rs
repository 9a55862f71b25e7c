//! What docs/allocator-protocol.md asks of an allocator, whatever it is written in: here the test is the offers service,
//! and what runs is the allocator. Another one than that in Python is asked with
//! `ALLOT_ALLOCATOR='PROGRAM ARGUMENT…'`, in which `{nats}` stands for the address of the server.

use allot_model::{AllocatorMessage, Epoch, FeedItem, JobId, QueueName, RefusalCode, TaskRange};
use allot_proto::v1;
use prost::Message;

use crate::cluster::agent_id;
use crate::offers::{EPOCH, Offers, agents_of, cpus_of, pool_agent};

/// Each of these is asked of an allocator in Rust and of the one in Python.
macro_rules! allocators {
    ($($name:ident)*) => {
        mod rust {$(
            #[tokio::test]
            async fn $name() {
                super::$name("rust").await;
            }
        )*}
        mod python {$(
            #[tokio::test]
            async fn $name() {
                super::$name("python").await;
            }
        )*}
    };
}

allocators! {
    hello_is_said_until_it_is_answered_and_then_beats
    only_the_one_that_is_named_grants
    grants_without_an_answer_count_as_taken
    an_account_with_a_lost_part_is_asked_for_again
    a_gap_and_a_new_session_are_mended_by_a_hello
    what_is_newer_than_the_allocator_is_skipped
    an_agent_that_had_less_is_left_alone_until_its_next_offer
    a_job_whose_grant_made_no_sense_is_set_aside
    a_refusal_in_the_present_epoch_is_cleared_up_with_a_hello
    grants_that_nobody_answers_are_cleared_up_with_a_hello
}

async fn hello_is_said_until_it_is_answered_and_then_beats(kind: &str) {
    let mut offers = Offers::of(kind).await;
    offers.hello().await;
    offers.account(vec![Vec::new()]).await;
    for _ in 0..2 {
        while !matches!(offers.next().await, AllocatorMessage::Beat { .. }) {}
    }
}

async fn only_the_one_that_is_named_grants(kind: &str) {
    let mut offers = Offers::deciding(kind, &[("a1", 1)], &[]).await;
    let other = FeedItem::Active { epoch: Epoch(8), instance: "other".parse().unwrap() };
    let mut items = vec![other];
    items.extend(offers.job(1, 1));
    offers.tell(items).await;
    for _ in 0..2 {
        let said = offers.next().await;
        assert!(matches!(said, AllocatorMessage::Beat { .. }), "another decides: {said:?}");
    }
    let again = offers.names_it(Epoch(9));
    offers.tell(vec![again]).await;
    assert_eq!(offers.grants(1).await[0].epoch, Epoch(9));
}

async fn grants_without_an_answer_count_as_taken(kind: &str) {
    let mut offers = Offers::deciding(kind, &[("a1", 2)], &[(1, 4)]).await;
    let grants = offers.grants(2).await;
    let same = offers.offer("a1", 2);
    offers.tell(vec![same]).await;
    assert_eq!(offers.all_grants().await, [], "the offer says what is free beside what was committed");
    offers.commit(&grants, "a1", 0).await;
    assert_eq!(offers.all_grants().await, []);
    let released = FeedItem::Released {
        agent: agent_id("a1"),
        job: JobId(1),
        tasks: TaskRange { first: 0, last: 0 },
        queue: QueueName::new("q").unwrap(),
        slice: cpus_of(1),
        slots: 1,
        ran: None,
    };
    let free = offers.offer("a1", 1);
    offers.tell(vec![released, free]).await;
    let next = offers.grants(1).await;
    assert_eq!(next[0].placements[0].tasks, TaskRange { first: 2, last: 2 });
}

async fn an_account_with_a_lost_part_is_asked_for_again(kind: &str) {
    let mut offers = Offers::of(kind).await;
    let mut parts = vec![vec![offers.names_it(EPOCH)], vec![pool_agent("a1", 1), offers.offer("a1", 1)]];
    parts.push(offers.job(1, 1).into());
    offers.part(&parts, 0).await;
    offers.part(&parts, 2).await;
    offers.hello().await;
    offers.account(parts).await;
    assert_eq!(agents_of(&offers.grants(1).await), [agent_id("a1")]);
}

async fn a_gap_and_a_new_session_are_mended_by_a_hello(kind: &str) {
    let mut offers = Offers::deciding(kind, &[("a1", 1)], &[]).await;
    for new_session in [false, true] {
        offers.sequence = if new_session { 0 } else { offers.sequence + 1 };
        offers.session = Epoch(offers.session.0 + u64::from(new_session));
        offers.tell(Vec::new()).await;
        offers.hello().await;
        let mut items = vec![offers.names_it(EPOCH), pool_agent("a2", 1), offers.offer("a2", 1)];
        items.extend(offers.job(1, 1));
        offers.account(vec![items]).await;
        assert_eq!(agents_of(&offers.grants(1).await), [agent_id("a2")], "a1 is forgotten");
    }
}

async fn what_is_newer_than_the_allocator_is_skipped(kind: &str) {
    let mut offers = Offers::deciding(kind, &[("a1", 1)], &[]).await;
    offers.sequence += 1;
    let mut feed = v1::Feed { session: offers.session.0, sequence: offers.sequence, ..v1::Feed::default() };
    let [job, pending] = offers.job(1, 1);
    let known = [job, pending].map(|item| v1::FeedItem { change: Some((&item).into()) });
    feed.items = vec![v1::FeedItem { change: None }];
    feed.items.extend(known);
    offers.publish(feed.encode_to_vec()).await;
    offers.grants(1).await;
}

async fn an_agent_that_had_less_is_left_alone_until_its_next_offer(kind: &str) {
    for code in [RefusalCode::NotFree, RefusalCode::AgentUnavailable] {
        let mut offers = Offers::deciding(kind, &[("a1", 1), ("a2", 1)], &[(1, 1)]).await;
        let grants = offers.grants(1).await;
        assert_eq!(agents_of(&grants), [agent_id("a1")]);
        offers.refuse(&grants, code).await;
        let grants = offers.grants(1).await;
        assert_eq!(agents_of(&grants), [agent_id("a2")], "{code:?}");
        let (renewed, job) = (offers.offer("a1", 1), offers.job(2, 1));
        offers.tell([vec![renewed], job.into()].concat()).await;
        assert_eq!(agents_of(&offers.grants(1).await), [agent_id("a1")], "{code:?}");
    }
}

async fn a_job_whose_grant_made_no_sense_is_set_aside(kind: &str) {
    for code in
        [RefusalCode::NotPending, RefusalCode::DoesNotFit, RefusalCode::Malformed, RefusalCode::OverLimit]
    {
        let mut offers = Offers::deciding(kind, &[("a1", 2)], &[(1, 1)]).await;
        let grants = offers.grants(1).await;
        offers.refuse(&grants, code).await;
        let job = offers.job(2, 1);
        offers.tell(job.into()).await;
        let next = offers.grants(1).await;
        assert_eq!(next[0].placements[0].job, JobId(2), "{code:?}");
        assert_eq!(offers.all_grants().await, [], "{code:?}");
    }
}

async fn a_refusal_in_the_present_epoch_is_cleared_up_with_a_hello(kind: &str) {
    let mut offers = Offers::deciding(kind, &[("a1", 1)], &[(1, 1)]).await;
    let grants = offers.grants(1).await;
    offers.refuse(&grants, RefusalCode::NotActive).await;
    offers.hello().await;
}

async fn grants_that_nobody_answers_are_cleared_up_with_a_hello(kind: &str) {
    let mut offers = Offers::deciding(kind, &[("a1", 1)], &[(1, 1)]).await;
    offers.grants(1).await;
    offers.hello().await;
    let items = vec![offers.names_it(EPOCH), pool_agent("a1", 1), offers.offer("a1", 1)];
    let waits = offers.job(1, 1);
    offers.account(vec![items, waits.into()]).await;
    offers.grants(1).await;
}
