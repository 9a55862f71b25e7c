//! Placements whose tasks take turns in fewer slots.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use allot_model::*;
use harness::*;

const ONE: &[(&str, u64)] = &[("cpus", 1_000)];

fn pool() -> Pool {
    let mut pool = Pool::new();
    pool.agent("m1", &[("cpus", 4_000)]);
    pool.job(1, "a", spec(100, ONE));
    pool
}

fn grant(pool: &mut Pool, first: u32, last: u32, slots: u64) -> Result<(), RefusalCode> {
    let part = ProposedPlacement {
        agent: agent_id("m1"),
        version: OfferVersion(0),
        job: JobId(1),
        tasks: TaskRange { first, last },
        slice: resources(ONE),
        slots,
    };
    pool.propose("a1", Epoch(1), vec![part])
}

fn free(pool: &Pool) -> u64 {
    pool.offered("m1").map_or(0, |free| free.total(&ResourceName::new("cpus").unwrap()))
}

#[test]
fn they_hold_their_slots_until_fewer_tasks_are_left() {
    let mut pool = pool();
    assert_eq!(grant(&mut pool, 0, 9, 2), Ok(()));
    assert_eq!(free(&pool), 2_000);
    pool.ended("m1", run(1, 0, 3, 1));
    pool.ended("m1", run(1, 6, 7, 1));
    assert_eq!(free(&pool), 2_000, "four are left");
    pool.ended("m1", run(1, 9, 9, 1));
    pool.ended("m1", run(1, 4, 4, 1));
    assert_eq!(free(&pool), 2_000, "two are left");
    pool.ended("m1", run(1, 8, 8, 1));
    assert_eq!(free(&pool), 3_000);
    pool.ended("m1", run(1, 5, 5, 1));
    assert_eq!(free(&pool), 4_000);
    pool.ended("m1", run(1, 5, 5, 1));
    assert_eq!(free(&pool), 4_000, "once and no more");
}

#[test]
fn many_ends_at_once_free_what_none_of_the_others_needs() {
    let mut pool = pool();
    assert_eq!(grant(&mut pool, 0, 9, 4), Ok(()));
    assert_eq!(free(&pool), 0);
    pool.ended("m1", run(1, 0, 8, 1));
    assert_eq!(free(&pool), 3_000);
}

#[test]
fn what_is_free_is_told_slot_by_slot_with_how_long_the_tasks_ran() {
    let mut pool = pool();
    assert_eq!(grant(&mut pool, 0, 9, 2), Ok(()));
    pool.heard.clear();
    let released = |pool: &mut Pool| {
        let heard = std::mem::take(&mut pool.heard);
        let slots = heard.into_iter().filter_map(|item| match item {
            FeedItem::Released { slots, .. } => Some(slots),
            _ => None,
        });
        slots.collect::<Vec<_>>()
    };
    pool.ended("m1", run(1, 0, 7, 1));
    assert_eq!(released(&mut pool), Vec::<u64>::new(), "others take their turn in both");
    pool.ended("m1", run(1, 8, 9, 1));
    assert_eq!(released(&mut pool), [2]);
}

#[test]
fn a_wrong_number_of_slots_is_refused() {
    let mut pool = pool();
    assert_eq!(grant(&mut pool, 0, 9, 0), Err(RefusalCode::Malformed));
    assert_eq!(grant(&mut pool, 0, 2, 4), Err(RefusalCode::Malformed));
    assert_eq!(grant(&mut pool, 0, 9, 5), Err(RefusalCode::NotFree));
    assert_eq!(grant(&mut pool, 0, 9, 4), Ok(()));
}

#[test]
fn tasks_at_different_tries_do_not_take_turns() {
    let mut pool = pool();
    assert_eq!(grant(&mut pool, 0, 0, 1), Ok(()));
    pool.ended("m1", run(1, 0, 0, 1));
    pool.record(Record::Dispatcher(DispatcherRecord::TasksQueued { run: run(1, 0, 0, 2) }));
    assert_eq!(grant(&mut pool, 0, 3, 2), Err(RefusalCode::Malformed));
    assert_eq!(grant(&mut pool, 0, 3, 4), Ok(()), "a slot for each");
}

#[test]
fn an_allocator_that_comes_later_is_told_how_many_slots_are_held() {
    let mut pool = pool();
    assert_eq!(grant(&mut pool, 0, 9, 3), Ok(()));
    pool.ended("m1", run(1, 1, 1, 1));
    pool.ended("m1", run(1, 3, 3, 1));
    pool.synced.clear();
    pool.hello("a2", "fifo");
    let placements: Vec<&Placement> = pool
        .synced
        .iter()
        .filter_map(|item| match item {
            FeedItem::Allocated { placements, .. } => Some(placements),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(placements.iter().map(|p| p.run.tasks.count()).sum::<u64>(), 8);
    assert_eq!(placements.iter().map(|p| p.slots).sum::<u64>(), 3);
}
