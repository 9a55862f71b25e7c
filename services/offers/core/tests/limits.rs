//! No grant is committed that would have a queue hold more than its limit, or than that of a queue above it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use allot_model::*;
use harness::*;

const ONE: &[(&str, u64)] = &[("cpus", 1_000)];

/// An agent of 16 cpus, and jobs 1, 2 and 3 in `a`, `a.b` and `ab`.
fn pool() -> Pool {
    let mut pool = Pool::new();
    pool.agent("m1", &[("cpus", 16_000)]);
    for (id, queue) in [(1, "a"), (2, "a.b"), (3, "ab")] {
        pool.job(id, queue, spec(16, ONE));
    }
    pool
}

fn give(pool: &mut Pool, job: u64, first: u32, last: u32) -> Result<(), RefusalCode> {
    pool.grant(&[("m1", run(job, first, last, 1), ONE)])
}

fn last_refusal(pool: &Pool) -> String {
    let words = |item: &FeedItem| match item {
        FeedItem::Refused { message, .. } => Some(message.clone()),
        _ => None,
    };
    pool.heard.iter().rev().find_map(words).unwrap()
}

#[test]
fn a_grant_over_a_limit_is_refused_with_the_amounts_and_changes_nothing() {
    let mut pool = pool();
    pool.limit("a", "cpus=3");
    assert_eq!(give(&mut pool, 1, 0, 1), Ok(()));
    let before = pool.core.clone();
    assert_eq!(give(&mut pool, 1, 2, 3), Err(RefusalCode::OverLimit));
    assert_eq!(
        last_refusal(&pool),
        "queue a and those below it may hold 3 cpus, and with this they would hold more: they hold 2 now"
    );
    assert!(pool.core.same_state(&before));
    assert_eq!(give(&mut pool, 1, 2, 2), Ok(()), "exactly the limit");
    assert_eq!(give(&mut pool, 3, 0, 9), Ok(()), "another queue has the rest");
}

#[test]
fn the_limit_of_a_queue_holds_for_all_below_it_together() {
    let mut pool = pool();
    pool.limit("a", "tasks=3");
    pool.limit("a.b", "tasks=5");
    assert_eq!(give(&mut pool, 1, 0, 1), Ok(()));
    assert_eq!(give(&mut pool, 2, 0, 1), Err(RefusalCode::OverLimit), "2 of a and 2 of a.b are 4");
    assert!(last_refusal(&pool).starts_with("queue a and those below it may run 3 tasks at a time"));
    let together: &[Part<'_>] = &[("m1", run(2, 0, 0, 1), ONE), ("m1", run(1, 2, 2, 1), ONE)];
    assert_eq!(pool.grant(together), Err(RefusalCode::OverLimit), "each would do, and both do not");
    assert_eq!(give(&mut pool, 2, 0, 0), Ok(()));
    assert_eq!(give(&mut pool, 3, 0, 0), Ok(()), "ab is not below a");
}

#[test]
fn what_ends_makes_room_and_so_does_a_limit_that_is_raised_or_taken_away() {
    let mut pool = pool();
    pool.limit("a", "cpus=2");
    assert_eq!(give(&mut pool, 2, 0, 1), Ok(()));
    assert_eq!(give(&mut pool, 2, 2, 2), Err(RefusalCode::OverLimit));
    pool.ended("m1", run(2, 0, 0, 1));
    assert_eq!(give(&mut pool, 2, 2, 2), Ok(()));
    pool.limit("a", "cpus=3");
    assert_eq!(give(&mut pool, 2, 3, 4), Err(RefusalCode::OverLimit));
    pool.limit("a", "cpus=none");
    assert_eq!(give(&mut pool, 2, 3, 9), Ok(()));
    assert!(pool.rebuilt().same_state(&pool.core));
}

#[test]
fn a_limit_below_what_is_held_takes_nothing_away() {
    let mut pool = pool();
    assert_eq!(give(&mut pool, 2, 0, 3), Ok(()));
    pool.limit("a", "cpus=1");
    let view = pool.view("a");
    assert_eq!((view.limit.to_string(), view.held.to_string()), ("cpus 1".into(), "cpus 4".into()));
    assert_eq!(
        (view.running, pool.view("a.b").running),
        (0, 4),
        "its own tasks are counted apart from the limit"
    );
    for task in 0..3 {
        assert_eq!(give(&mut pool, 1, 0, 0), Err(RefusalCode::OverLimit));
        pool.ended("m1", run(2, task, task, 1));
    }
    assert_eq!(give(&mut pool, 1, 0, 0), Err(RefusalCode::OverLimit), "it holds 1, which is the limit");
    pool.ended("m1", run(2, 3, 3, 1));
    assert_eq!(give(&mut pool, 1, 0, 0), Ok(()));
}

#[test]
fn a_limit_that_stands_before_an_allocation_in_the_ledger_may_be_read_after_it() {
    let mut pool = pool();
    let limit = QueueLimit { tasks: Some(2), ..QueueLimit::default() };
    let record = DispatcherRecord::QueueSet {
        queue: queue("a"),
        weight: 1,
        limit,
        guarantee: QueueGuarantee::default(),
    };
    let set = Entry { at: pool.now, record: Record::Dispatcher(record) };
    pool.ledger.push(set.clone());
    assert_eq!(give(&mut pool, 2, 0, 3), Ok(()), "not read yet");
    pool.give(allot_offers_core::Input::Ledger(set));
    assert!(pool.rebuilt().same_state(&pool.core));
    assert_eq!(pool.view("a").held.to_string(), "tasks 4");
    assert_eq!(give(&mut pool, 2, 4, 4), Err(RefusalCode::OverLimit));
}

#[test]
fn an_allocator_hears_of_limits_before_jobs_and_whenever_they_change() {
    let mut pool = pool();
    pool.limit("a", "cpus=2");
    let told = |items: &[FeedItem]| {
        let limit = |item: &FeedItem| match item {
            FeedItem::Queue { queue, limit, .. } => Some(format!("{queue}: {limit}")),
            _ => None,
        };
        items.iter().filter_map(limit).collect::<Vec<_>>()
    };
    assert_eq!(told(&pool.heard), ["a: cpus 2"]);
    pool.limit("a", "tasks=7");
    pool.synced.clear();
    pool.hello("a2", "fair");
    assert_eq!(told(&pool.synced), ["a: tasks 7"]);
    let first = |is: fn(&FeedItem) -> bool| pool.synced.iter().position(is).unwrap();
    let queue = first(|item| matches!(item, FeedItem::Queue { .. }));
    assert!(queue < first(|item| matches!(item, FeedItem::Job(_))));
}

#[test]
fn a_guarantee_is_told_and_shown_and_refuses_nothing() {
    let mut pool = pool();
    pool.guarantee("a", "cpus=2", HoldBack::Always);
    let told = pool.heard.iter().any(|item| match item {
        FeedItem::Queue { queue, guarantee, .. } => {
            queue.as_str() == "a" && guarantee.in_words() == "guarantee cpus 2 (always held back)"
        }
        _ => false,
    });
    assert!(told);
    assert_eq!(give(&mut pool, 2, 0, 3), Ok(()), "more than is guaranteed");
    assert_eq!(give(&mut pool, 3, 0, 11), Ok(()), "the allocator sees to it that guarantees are kept");
    let view = pool.view("a");
    assert_eq!((view.guarantee.to_string(), view.held.to_string()), ("cpus 2".into(), "cpus 4".into()));
    assert_eq!(view.hold_back, HoldBack::Always);
    assert!(pool.rebuilt().same_state(&pool.core));
}
