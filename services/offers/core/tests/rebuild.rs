//! A service rebuilt from the ledger equals the one that lived through it, whatever order records came in live.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use allot_model::*;
use allot_offers_core::{Input, Options};
use harness::*;
use proptest::prelude::*;

const ONE: &[(&str, u64)] = &[("cpus", 1_000)];

/// Jobs are in the first three.
const QUEUES: [&str; 5] = ["q", "q.r.s", "q-r", "q.r", "t"];

#[derive(Debug, Clone)]
enum Step {
    Agent(u8, u64),
    Away(u8),
    Job(u8, u32),
    Grant(u8, u8, u32, u32),
    End(usize),
    Preempt(usize, u8),
    Cancel(u8),
    EndJob(u8),
    Weight(u8, u32, Option<u64>),
    Pass(u64),
    Beat(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..4, 0_u64..6).prop_map(|(a, n)| Step::Agent(a, n)),
        (0_u8..4).prop_map(Step::Away),
        (0_u8..6, 1_u32..8).prop_map(|(j, n)| Step::Job(j, n)),
        (0_u8..4, 0_u8..6, 0_u32..8, 0_u32..3).prop_map(|(a, j, f, n)| Step::Grant(a, j, f, n)),
        any::<usize>().prop_map(Step::End),
        (any::<usize>(), 0_u8..6).prop_map(|(n, j)| Step::Preempt(n, j)),
        (0_u8..6).prop_map(Step::Cancel),
        (0_u8..6).prop_map(Step::EndJob),
        (0_u8..5, 1_u32..9, prop::option::of(0_u64..6)).prop_map(|(q, w, t)| Step::Weight(q, w, t)),
        (0_u64..4_000).prop_map(Step::Pass),
        (1_u8..3).prop_map(Step::Beat),
    ]
}

fn allocations(pool: &Pool) -> Vec<Placement> {
    let of = |entry: &Entry| match &entry.record {
        Record::Offers(OffersRecord::Allocated { placements, .. }) => placements.clone(),
        _ => Vec::new(),
    };
    pool.ledger.iter().flat_map(of).collect()
}

fn active(pool: &Pool) -> (Epoch, InstanceId) {
    let active = pool.ledger.iter().rev().find_map(|entry| match &entry.record {
        Record::Offers(OffersRecord::AllocatorActivated { epoch, instance, .. }) => {
            Some((*epoch, instance.clone()))
        }
        _ => None,
    });
    active.unwrap()
}

fn take(pool: &mut Pool, step: Step, admitted: &mut [bool; 6]) {
    let agent = |n: u8| format!("m{n}");
    match step {
        Step::Agent(a, n) => pool.agent(&agent(a), &[("cpus", n * 1_000)]),
        Step::Away(a) => {
            pool.record(Record::Registry(RegistryRecord::AgentUnreachable { agent: agent_id(&agent(a)) }));
        }
        Step::Job(j, tasks) if !admitted[usize::from(j)] => {
            admitted[usize::from(j)] = true;
            let priority = i32::from(j);
            let spec = JobSpec { priority, retries: 1, ..(*spec(tasks, ONE)).clone() };
            pool.job(u64::from(j), QUEUES[usize::from(j % 3)], spec.into());
        }
        Step::Grant(a, j, first, more) => {
            let (epoch, from) = active(pool);
            let _ = pool.grant_as(
                from.as_str(),
                epoch,
                &[(&agent(a), run(j.into(), first, first + more, 1), ONE)],
            );
        }
        Step::End(n) => {
            let placed = allocations(pool);
            if let Some(placement) = placed.get(n % placed.len().max(1)) {
                pool.ended(placement.agent.as_str(), placement.run);
            }
        }
        Step::Preempt(n, j) => {
            let (epoch, from) = active(pool);
            let placed = allocations(pool);
            if let Some(Placement { agent, run, .. }) = placed.get(n % placed.len().max(1)).cloned() {
                let (grant, job, cause) =
                    (GrantId(1_000 + n as u64), JobId(j.into()), PreemptCause::Priority);
                let victims = vec![Victim { agent: agent.clone(), run }];
                let asked = Preemption { epoch, grant, job, agent, cause, victims };
                pool.say(from.as_str(), AllocatorMessage::Preempt(asked));
            }
        }
        Step::Cancel(j) => {
            pool.record(Record::Dispatcher(DispatcherRecord::JobCancelled { job: JobId(j.into()) }))
        }
        Step::EndJob(j) => {
            let record =
                DispatcherRecord::JobEnded { job: JobId(j.into()), state: JobState::Killed, reason: None };
            pool.record(Record::Dispatcher(record));
        }
        Step::Weight(q, weight, tasks) => {
            let queue = queue(QUEUES[usize::from(q)]);
            let limit = QueueLimit { tasks, ..QueueLimit::default() };
            let least = QueueLimit { tasks: tasks.filter(|_| weight > 1), ..QueueLimit::default() };
            let guarantee = QueueGuarantee { least, ..QueueGuarantee::default() };
            pool.record(Record::Dispatcher(DispatcherRecord::QueueSet { queue, weight, limit, guarantee }));
        }
        Step::Pass(ms) => pool.pass(Span::from_millis(ms)),
        Step::Beat(a) => pool.beat(&format!("a{a}"), "drf"),
        Step::Job(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn replay_equals_life(steps in proptest::collection::vec(step(), 0..80)) {
        let preempt = PreemptRules { preempt: Preempt::Both, min_run: Span::ZERO, rate: 20 };
        let mut pool = Pool::with(Options { preempt, ..Options::default() });
        let mut admitted = [false; 6];
        for step in steps {
            take(&mut pool, step, &mut admitted);
        }
        let rebuilt = pool.rebuilt();
        rebuilt.sanity_check();
        prop_assert!(rebuilt.same_state(&pool.core));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_snapshot_and_the_records_after_it_equal_all_records(
        steps in proptest::collection::vec(step(), 0..80),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut pool = Pool::new();
        let mut admitted = [false; 6];
        for step in steps {
            take(&mut pool, step, &mut admitted);
        }
        let restored = pool.restored_at(cut.index(pool.ledger.len() + 1));
        restored.sanity_check();
        prop_assert!(restored.same_state(&pool.core));
        prop_assert!(restored.snapshot().eq(pool.core.snapshot()));
    }
}

#[test]
fn a_cancellation_that_stands_before_an_allocation_in_the_ledger_may_be_read_after_it() {
    let part: &[Part<'_>] = &[("m1", run(1, 0, 0, 1), ONE)];
    let mut pool = Pool::new();
    pool.agent("m1", &[("cpus", 2_000)]);
    pool.job(1, "a", spec(2, ONE));
    let cancelled =
        Entry { at: pool.now, record: Record::Dispatcher(DispatcherRecord::JobCancelled { job: JobId(1) }) };
    let ended = DispatcherRecord::JobEnded { job: JobId(1), state: JobState::Killed, reason: None };
    let ended = Entry { at: pool.now, record: Record::Dispatcher(ended) };
    // In the ledger both stand before the allocation; this instance reads them after it has allocated.
    pool.ledger.extend([cancelled.clone(), ended.clone()]);
    assert_eq!(pool.grant(part), Ok(()));
    pool.give(Input::Ledger(cancelled));
    pool.give(Input::Ledger(ended));
    assert!(pool.rebuilt().same_state(&pool.core));
    assert_eq!(pool.offered("m1"), Some(resources(ONE)), "the allocation stands until it is returned");
    let returned = DispatcherRecord::AllocationReturned { agent: agent_id("m1"), run: run(1, 0, 0, 1) };
    pool.record(Record::Dispatcher(returned));
    assert_eq!(pool.offered("m1"), Some(resources(&[("cpus", 2_000)])));
    assert!(pool.rebuilt().same_state(&pool.core));
}
