//! Grants are checked one by one against what is really free and wanted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::sync::Arc;

use allot_model::*;
use harness::*;

const ONE: &[(&str, u64)] = &[("cpus", 1_000), ("mem", 512)];

fn pool() -> Pool {
    let mut pool = Pool::new();
    pool.agent("m1", &[("cpus", 2_000), ("mem", 1_024)]);
    pool.agent("m2", &[("cpus", 1_000), ("mem", 512)]);
    pool.job(1, "a", spec(10, ONE));
    pool
}

#[test]
fn a_good_grant_is_committed_and_the_rest_is_offered_again() {
    let mut pool = pool();
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()));
    assert_eq!(pool.offered("m1"), Some(resources(ONE)));
    assert!(matches!(pool.ledger.last().unwrap().record, Record::Offers(OffersRecord::Allocated { .. })));
}

#[test]
fn a_grant_that_would_be_too_large_a_record_is_refused_and_in_parts_it_is_committed() {
    let mut pool = Pool::new();
    let agents: Vec<String> = (0..3_000).map(|n| format!("m{n}")).collect();
    agents.iter().for_each(|agent| pool.agent(agent, ONE));
    pool.job(1, "a", spec(3_000, ONE));
    let parts: Vec<Part<'_>> =
        (0..).zip(&agents).map(|(n, agent)| (agent.as_str(), run(1, n, n, 1), ONE)).collect();
    assert_eq!(pool.grant(&parts), Err(RefusalCode::Malformed));
    for part in parts.chunks(1_500) {
        assert_eq!(pool.grant(part), Ok(()));
    }
}

#[test]
fn an_agent_that_is_used_up_is_not_on_offer_until_something_ends() {
    let mut pool = pool();
    assert_eq!(pool.grant(&[("m1", run(1, 0, 1, 1), ONE)]), Ok(()));
    assert_eq!(pool.offered("m1"), None);
    pool.ended("m1", run(1, 1, 1, 1));
    assert_eq!(pool.offered("m1"), Some(resources(ONE)));
}

#[test]
fn a_gang_is_placed_together_once_and_one_by_one_from_then_on() {
    let mut pool = pool();
    let gang = |same: Option<&str>| {
        Arc::new(JobSpec { min_tasks: 3, same: same.map(str::to_owned), ..(*spec(10, ONE)).clone() })
    };
    pool.job(2, "a", gang(None));
    let two: &[Part<'_>] = &[("m1", run(2, 0, 1, 1), ONE)];
    assert_eq!(pool.grant(two), Err(RefusalCode::GangTooSmall));
    let three: &[Part<'_>] = &[("m1", run(2, 0, 1, 1), ONE), ("m2", run(2, 2, 2, 1), ONE)];
    assert_eq!(pool.grant(three), Ok(()));
    pool.ended("m2", run(2, 2, 2, 1));
    assert_eq!(pool.grant(&[("m2", run(2, 3, 3, 1), ONE)]), Ok(()), "the others follow one by one");
}

#[test]
fn the_agents_of_a_gang_have_the_attribute_that_it_wants_to_be_the_same() {
    for (same, expected) in [("zone", Ok(())), ("rack", Err(RefusalCode::DoesNotFit))] {
        let mut pool = pool();
        let gang = JobSpec { min_tasks: 3, same: Some(same.to_owned()), ..(*spec(3, ONE)).clone() };
        pool.job(2, "a", Arc::new(gang));
        let grant: &[Part<'_>] = &[("m1", run(2, 0, 1, 1), ONE), ("m2", run(2, 2, 2, 1), ONE)];
        assert_eq!(pool.grant(grant), expected, "{same}");
    }
}

#[test]
fn a_wrong_grant_is_refused_with_the_reason_and_changes_nothing() {
    let more: &[(&str, u64)] = &[("cpus", 2_000), ("mem", 512)];
    let cases: Vec<(&str, Vec<Part<'_>>, RefusalCode)> = vec![
        ("nothing in it", vec![], RefusalCode::Malformed),
        ("no such agent", vec![("m9", run(1, 0, 0, 1), ONE)], RefusalCode::AgentUnavailable),
        ("no such job", vec![("m1", run(7, 0, 0, 1), ONE)], RefusalCode::NotPending),
        ("no such task", vec![("m1", run(1, 10, 10, 1), ONE)], RefusalCode::NotPending),
        ("another size", vec![("m1", run(1, 0, 0, 1), more)], RefusalCode::DoesNotFit),
        ("less than asked for", vec![("m1", run(1, 0, 0, 1), &[("cpus", 1_000)])], RefusalCode::DoesNotFit),
        ("more than is free", vec![("m2", run(1, 0, 1, 1), ONE)], RefusalCode::NotFree),
        (
            "free for each but not for both",
            vec![("m2", run(1, 0, 0, 1), ONE), ("m2", run(1, 1, 1, 1), ONE)],
            RefusalCode::NotFree,
        ),
        (
            "a task twice",
            vec![("m1", run(1, 0, 0, 1), ONE), ("m2", run(1, 0, 0, 1), ONE)],
            RefusalCode::Malformed,
        ),
        (
            "good and bad together",
            vec![("m1", run(1, 0, 0, 1), ONE), ("m9", run(1, 1, 1, 1), ONE)],
            RefusalCode::AgentUnavailable,
        ),
    ];
    for (what, parts, code) in cases {
        let mut pool = pool();
        let before = pool.core.clone();
        assert_eq!(pool.grant(&parts), Err(code), "{what}");
        assert!(pool.core.same_state(&before), "{what}");
        assert_eq!(pool.core.counts().grants_refused, 1, "{what}");
    }
}

#[test]
fn tasks_that_were_placed_or_cancelled_are_not_placed_again() {
    let mut pool = pool();
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()));
    assert_eq!(pool.grant(&[("m2", run(1, 0, 0, 1), ONE)]), Err(RefusalCode::NotPending));
    pool.record(Record::Dispatcher(DispatcherRecord::JobCancelled { job: JobId(1) }));
    assert_eq!(pool.grant(&[("m2", run(1, 5, 5, 1), ONE)]), Err(RefusalCode::NotPending));
}

#[test]
fn only_the_allocator_that_decides_can_grant() {
    let mut pool = pool();
    pool.hello("a2", "fifo");
    let part: &[Part<'_>] = &[("m1", run(1, 0, 0, 1), ONE)];
    assert_eq!(pool.grant_as("a2", Epoch(1), part), Err(RefusalCode::NotActive));
    assert_eq!(pool.grant_as("a1", Epoch(0), part), Err(RefusalCode::NotActive));
    assert_eq!(pool.grant_as("a1", Epoch(2), part), Err(RefusalCode::NotActive));
    assert_eq!(pool.grant_as("a1", Epoch(1), part), Ok(()));
}

#[test]
fn a_gang_over_several_agents_is_committed_as_a_whole() {
    let mut pool = pool();
    assert_eq!(pool.grant(&[("m1", run(1, 0, 1, 1), ONE), ("m2", run(1, 2, 2, 1), ONE)]), Ok(()));
    let Record::Offers(OffersRecord::Allocated { placements, .. }) = &pool.ledger.last().unwrap().record
    else {
        panic!("no allocation");
    };
    assert_eq!(placements.len(), 2);
}

#[test]
fn devices_and_ports_are_given_out_by_name_and_only_once() {
    let mut pool = Pool::new();
    let name = |text| ResourceName::new(text).unwrap();
    let devices =
        |ids: &[(&str, u64)]| Amount::Items(ids.iter().map(|(id, u)| ((*id).to_owned(), *u)).collect());
    let ports = |first, last| Amount::Ranges([(first, last)].into_iter().collect());
    let total =
        [(name("gpus"), devices(&[("0", 1_000), ("1", 1_000)])), (name("ports"), ports(31_000, 31_001))];
    pool.join("m1", total.into_iter().collect());
    pool.job(1, "a", spec(4, &[("gpus", 1_000), ("ports", 1_000)]));
    let propose = |pool: &mut Pool, task: u32, gpus: Amount, port: u64| {
        let slice = [(name("gpus"), gpus), (name("ports"), ports(port, port))].into_iter().collect();
        let tasks = TaskRange::one(task);
        let part = ProposedPlacement {
            agent: agent_id("m1"),
            version: OfferVersion(0),
            job: JobId(1),
            tasks,
            slice,
            slots: 1,
        };
        pool.propose("a1", Epoch(1), vec![part])
    };
    assert_eq!(propose(&mut pool, 0, devices(&[("0", 1_000)]), 31_000), Ok(()));
    assert_eq!(propose(&mut pool, 1, devices(&[("0", 1_000)]), 31_001), Err(RefusalCode::NotFree));
    assert_eq!(propose(&mut pool, 1, devices(&[("1", 1_000)]), 31_000), Err(RefusalCode::NotFree));
    assert_eq!(
        propose(&mut pool, 1, devices(&[("0", 500), ("1", 500)]), 31_001),
        Err(RefusalCode::DoesNotFit)
    );
    assert_eq!(propose(&mut pool, 1, Amount::Scalar(1_000), 31_001), Err(RefusalCode::DoesNotFit));
    assert_eq!(propose(&mut pool, 1, devices(&[("1", 1_000)]), 31_001), Ok(()));
    pool.ended("m1", run(1, 0, 0, 1));
    assert_eq!(propose(&mut pool, 2, devices(&[("0", 1_000)]), 31_000), Ok(()));
}

#[test]
fn a_constraint_that_does_not_hold_refuses_the_grant() {
    let mut pool = pool();
    let mut picky = (*spec(1, ONE)).clone();
    picky.constraints = vec![Constraint::parse("zone == b").unwrap()];
    pool.job(2, "a", picky.into());
    assert_eq!(pool.grant(&[("m1", run(2, 0, 0, 1), ONE)]), Err(RefusalCode::DoesNotFit));
}

#[test]
fn a_retried_task_is_allocated_under_its_new_number() {
    let mut pool = pool();
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()));
    pool.ended("m1", run(1, 0, 0, 1));
    pool.record(Record::Dispatcher(DispatcherRecord::TasksQueued { run: run(1, 0, 0, 2) }));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 1, 1), ONE)]), Ok(()));
    let Record::Offers(OffersRecord::Allocated { placements, .. }) = &pool.ledger.last().unwrap().record
    else {
        panic!("no allocation");
    };
    let runs: Vec<AttemptRun> = placements.iter().map(|placement| placement.run).collect();
    assert_eq!(runs, [run(1, 0, 0, 2), run(1, 1, 1, 1)]);
}

#[test]
fn an_end_of_an_attempt_that_holds_nothing_releases_nothing() {
    let mut pool = pool();
    assert_eq!(pool.grant(&[("m1", run(1, 0, 1, 1), ONE)]), Ok(()));
    pool.ended("m1", run(1, 0, 0, 2));
    pool.ended("m2", run(1, 0, 0, 1));
    assert_eq!(pool.offered("m1"), None);
    pool.ended("m1", run(1, 0, 0, 1));
    pool.ended("m1", run(1, 0, 0, 1));
    assert_eq!(pool.offered("m1"), Some(resources(ONE)));
}

#[test]
fn tasks_that_share_a_device_give_it_back_though_they_end_together() {
    let gpus = |units| -> Resources {
        let items = Amount::Items([("0".to_owned(), units)].into());
        [(ResourceName::new("gpus").unwrap(), items)].into_iter().collect()
    };
    let mut pool = Pool::new();
    pool.join("m1", gpus(1_000));
    pool.job(1, "a", spec(2, &[("gpus", 500)]));
    let place = |task| ProposedPlacement {
        agent: agent_id("m1"),
        version: OfferVersion(0),
        job: JobId(1),
        tasks: TaskRange::one(task),
        slice: gpus(500),
        slots: 1,
    };
    assert_eq!(pool.propose("a1", Epoch(1), vec![place(0), place(1)]), Ok(()));
    assert_eq!(pool.offered("m1"), None);
    pool.hello("a2", "drf");
    let told: Vec<TaskRange> = pool.synced.iter().flat_map(placed).collect();
    assert_eq!(told, [TaskRange::one(0), TaskRange::one(1)], "a slice that names a device is of one task");
    pool.ended("m1", run(1, 0, 1, 1));
    assert_eq!(pool.offered("m1"), Some(gpus(1_000)));
}

fn placed(item: &FeedItem) -> Vec<TaskRange> {
    match item {
        FeedItem::Allocated { placements, .. } => {
            placements.iter().map(|placement| placement.run.tasks).collect()
        }
        _ => Vec::new(),
    }
}
