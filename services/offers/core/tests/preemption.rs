//! Tasks are stopped for others only where an operator allows it, and never those that must not be.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::sync::Arc;

use allot_model::*;
use allot_offers_core::Options;
use harness::*;

const ONE: &[(&str, u64)] = &[("cpus", 1_000)];

fn job_spec(priority: i32, retries: u32) -> Arc<JobSpec> {
    Arc::new(JobSpec { priority, retries, ..(*spec(8, ONE)).clone() })
}

fn allowed(preempt: Preempt) -> Pool {
    let rules = PreemptRules { preempt, min_run: Span::from_secs(10), rate: 3 };
    Pool::with(Options { preempt: rules, ..Options::default() })
}

/// An agent of 4 cpus that runs 4 tasks of job 1, in `low`, for which job 2, in `high`, is more urgent; job 3, in `once`, must
/// not run twice and has one task on another agent. All got their places long ago.
fn full(preempt: Preempt) -> Pool {
    let mut pool = allowed(preempt);
    pool.agent("m1", &[("cpus", 4_000)]);
    pool.agent("m2", &[("cpus", 1_000)]);
    pool.job(1, "low", job_spec(0, 1));
    pool.job(2, "high", job_spec(5, 0));
    pool.job(3, "once", job_spec(0, 0));
    pool.grant(&[("m1", run(1, 0, 3, 1), ONE)]).unwrap();
    pool.grant(&[("m2", run(3, 0, 0, 1), ONE)]).unwrap();
    pool.pass(Span::from_secs(20));
    pool.beat("a1", "drf");
    pool
}

fn of(cause: PreemptCause, job: u64, victims: &[(&str, AttemptRun)]) -> Preemption {
    let victim = |(agent, run): &(&str, AttemptRun)| Victim { agent: agent_id(agent), run: *run };
    Preemption {
        epoch: Epoch(1),
        grant: GrantId(90),
        job: JobId(job),
        agent: agent_id("m1"),
        cause,
        victims: victims.iter().map(victim).collect(),
    }
}

fn preempt(pool: &mut Pool, preemption: Preemption) -> Result<(), (RefusalCode, String)> {
    let (mark, number) = (pool.heard.len(), preemption.grant);
    pool.say("a1", AllocatorMessage::Preempt(preemption));
    let answer = |item: &FeedItem| match item {
        FeedItem::Preempted(preemption) if preemption.grant == number => Some(Ok(())),
        FeedItem::Refused { grant, code, message, .. } if *grant == number => {
            Some(Err((*code, message.clone())))
        }
        _ => None,
    };
    pool.heard[mark..].iter().find_map(answer).expect("every preemption is answered")
}

#[test]
fn what_is_allowed_is_committed_and_places_are_free_once_the_victims_have_ended() {
    let mut pool = full(Preempt::Priority);
    let asked = of(PreemptCause::Priority, 2, &[("m1", run(1, 2, 3, 1))]);
    assert_eq!(preempt(&mut pool, asked.clone()), Ok(()));
    let last = pool.ledger.last().unwrap();
    assert_eq!(last.record, Record::Offers(OffersRecord::Preempted(asked.clone())));
    assert_eq!(pool.offered("m1"), None, "nothing is free yet");
    assert_eq!((pool.view("high").preempting, pool.view("high").preempted), (2, 0));
    assert_eq!((pool.view("low").preempting, pool.view("low").preempted), (0, 2));

    pool.hello("a2", "drf");
    let told = pool.synced.iter().filter(|item| matches!(item, FeedItem::Preempted(_)));
    assert_eq!(told.cloned().collect::<Vec<_>>(), [FeedItem::Preempted(asked.clone())]);
    pool.ended("m1", run(1, 2, 2, 1));
    pool.synced.clear();
    pool.hello("a2", "drf");
    let left =
        Preemption { victims: of(PreemptCause::Priority, 2, &[("m1", run(1, 3, 3, 1))]).victims, ..asked };
    assert!(pool.synced.contains(&FeedItem::Preempted(left)), "{:?}", pool.synced);
    pool.ended("m1", run(1, 3, 3, 1));
    assert_eq!(pool.offered("m1"), Some(resources(&[("cpus", 2_000)])));
    assert_eq!((pool.view("high").preempting, pool.view("low").preempted), (0, 0));
    assert!(pool.rebuilt().same_state(&pool.core));
}

#[test]
fn what_must_not_be_stopped_is_refused_with_why_and_changes_nothing() {
    use PreemptCause::{Guarantee, Priority};
    use RefusalCode::*;
    type Row<'a> = (Preempt, PreemptCause, u64, &'a [(&'a str, AttemptRun)], RefusalCode, &'a str);
    let table: &[Row<'_>] = &[
        (
            Preempt::None,
            Priority,
            2,
            &[("m1", run(1, 0, 0, 1))],
            PreemptionOff,
            "may not be stopped for priority",
        ),
        (Preempt::Guarantee, Priority, 2, &[("m1", run(1, 0, 0, 1))], PreemptionOff, "is `guarantee`"),
        (Preempt::Priority, Guarantee, 2, &[("m1", run(1, 0, 0, 1))], PreemptionOff, "stopped for guarantee"),
        (Preempt::Both, Priority, 9, &[("m1", run(1, 0, 0, 1))], NotPending, "job 9 is not known"),
        (Preempt::Both, Priority, 2, &[], Malformed, "names 0 runs"),
        (
            Preempt::Both,
            Priority,
            2,
            &[("m1", run(1, 0, 1, 1)), ("m1", run(1, 1, 1, 1))],
            Malformed,
            "stands twice",
        ),
        (Preempt::Both, Priority, 2, &[("m1", run(1, 0, 3, 1))], TooManyPreempted, "over 3 would be stopped"),
        (
            Preempt::Both,
            Priority,
            2,
            &[("m1", run(1, 3, 4, 1))],
            NotPreemptible,
            "does not hold a place on m1",
        ),
        (
            Preempt::Both,
            Priority,
            2,
            &[("m1", run(1, 0, 0, 2))],
            NotPreemptible,
            "does not hold a place on m1",
        ),
        (
            Preempt::Both,
            Priority,
            2,
            &[("m9", run(1, 0, 0, 1))],
            NotPreemptible,
            "does not hold a place on m9",
        ),
        (Preempt::Both, Priority, 2, &[("m2", run(3, 0, 0, 1))], NotPreemptible, "its job has no `retries`"),
        (
            Preempt::Both,
            Priority,
            1,
            &[("m1", run(1, 0, 0, 1))],
            NotPreemptible,
            "has priority 0, and job 1 has 0",
        ),
        (
            Preempt::Both,
            Guarantee,
            2,
            &[("m1", run(1, 0, 0, 1))],
            NotPreemptible,
            "guaranteed to its queue high beside",
        ),
    ];
    for (allowed, cause, job, victims, code, words) in table {
        let mut pool = full(*allowed);
        let before = pool.core.clone();
        let (refused, message) = preempt(&mut pool, of(*cause, *job, victims)).unwrap_err();
        assert_eq!(refused, *code, "{message}");
        assert!(message.contains(words), "{message}");
        assert!(pool.core.same_state(&before), "{message}");
    }
}

#[test]
fn an_allocator_that_does_not_decide_stops_nothing() {
    let mut pool = full(Preempt::Both);
    let asked = of(PreemptCause::Priority, 2, &[("m1", run(1, 0, 0, 1))]);
    let (code, _) = preempt(&mut pool, Preemption { epoch: Epoch(7), ..asked }).unwrap_err();
    assert_eq!(code, RefusalCode::NotActive);
}

#[test]
fn a_task_is_left_alone_for_a_while_and_is_stopped_once() {
    let mut pool = full(Preempt::Both);
    pool.ended("m1", run(1, 0, 0, 1));
    pool.grant(&[("m1", run(1, 4, 4, 1), ONE)]).unwrap();
    let young = of(PreemptCause::Priority, 2, &[("m1", run(1, 4, 4, 1))]);
    let (code, message) = preempt(&mut pool, young.clone()).unwrap_err();
    assert_eq!(
        (code, message.as_str()),
        (RefusalCode::NotPreemptible, "1.4#1 got its place less than 10s ago")
    );
    pool.pass(Span::from_secs(10));
    pool.beat("a1", "drf");
    assert_eq!(preempt(&mut pool, young.clone()), Ok(()));
    let (code, message) = preempt(&mut pool, Preemption { grant: GrantId(91), ..young }).unwrap_err();
    assert_eq!((code, message.as_str()), (RefusalCode::NotPreemptible, "1.4#1 is being stopped already"));
}

#[test]
fn no_more_are_stopped_within_a_minute_than_are_allowed() {
    let mut pool = full(Preempt::Both);
    let one = |task, grant| {
        let asked = of(PreemptCause::Priority, 2, &[("m1", run(1, task, task, 1))]);
        Preemption { grant: GrantId(grant), ..asked }
    };
    assert_eq!(preempt(&mut pool, of(PreemptCause::Priority, 2, &[("m1", run(1, 0, 1, 1))])), Ok(()));
    pool.pass(Span::from_secs(30));
    pool.hello("a1", "drf");
    assert_eq!(preempt(&mut pool, one(2, 91)), Ok(()));
    let (code, _) = preempt(&mut pool, one(3, 92)).unwrap_err();
    assert_eq!(code, RefusalCode::TooManyPreempted);
    pool.pass(Span::from_secs(30));
    pool.hello("a1", "drf");
    assert_eq!(preempt(&mut pool, one(3, 93)), Ok(()));
}

#[test]
fn no_queue_is_left_with_less_than_is_guaranteed_to_it() {
    let mut pool = full(Preempt::Both);
    pool.guarantee("low", "cpus=3", HoldBack::Never);
    pool.guarantee("high", "cpus=1", HoldBack::Never);
    let victims: &[(&str, AttemptRun)] = &[("m1", run(1, 2, 3, 1))];
    for cause in [PreemptCause::Priority, PreemptCause::Guarantee] {
        let (code, message) = preempt(&mut pool, of(cause, 2, victims)).unwrap_err();
        assert_eq!(code, RefusalCode::NotPreemptible);
        assert_eq!(message, "queue low would be left with less than is guaranteed to it");
    }
    let one = of(PreemptCause::Guarantee, 2, &[("m1", run(1, 3, 3, 1))]);
    assert_eq!(preempt(&mut pool, one), Ok(()), "what it has beyond");
    pool.ended("m1", run(1, 3, 3, 1));
    pool.grant(&[("m1", run(2, 0, 0, 1), ONE)]).unwrap();
    let beyond = of(PreemptCause::Guarantee, 2, &[("m1", run(1, 2, 2, 1))]);
    let (_, message) = preempt(&mut pool, Preemption { grant: GrantId(91), ..beyond }).unwrap_err();
    assert_eq!(message, "no more of job 2 is guaranteed to its queue high beside queue low");
}

#[test]
fn what_is_being_stopped_already_counts_as_ended_and_whom_it_is_for_as_started() {
    let asks = |grant, cause, task| {
        let asked = of(cause, 2, &[("m1", run(1, task, task, 1))]);
        Preemption { grant: GrantId(grant), ..asked }
    };
    let mut pool = full(Preempt::Both);
    pool.guarantee("low", "cpus=3", HoldBack::Never);
    assert_eq!(preempt(&mut pool, asks(90, PreemptCause::Priority, 3)), Ok(()));
    let (_, message) = preempt(&mut pool, asks(91, PreemptCause::Priority, 2)).unwrap_err();
    assert_eq!(message, "queue low would be left with less than is guaranteed to it", "it has 4, and 1 ends");

    let mut pool = full(Preempt::Both);
    pool.guarantee("high", "cpus=1", HoldBack::Never);
    assert_eq!(preempt(&mut pool, asks(90, PreemptCause::Guarantee, 3)), Ok(()));
    let (_, message) = preempt(&mut pool, asks(91, PreemptCause::Guarantee, 2)).unwrap_err();
    assert!(message.starts_with("no more of job 2 is guaranteed"), "it is to have 1: {message}");

    let mut pool = full(Preempt::Both);
    pool.job(4, "high", Arc::new(JobSpec { tasks: 1, ..(*job_spec(5, 0)).clone() }));
    let one = |grant, task| Preemption { job: JobId(4), ..asks(grant, PreemptCause::Priority, task) };
    assert_eq!(preempt(&mut pool, one(90, 3)), Ok(()));
    let (code, message) = preempt(&mut pool, one(91, 2)).unwrap_err();
    assert_eq!(code, RefusalCode::NotPending);
    assert_eq!(message, "as many places are being made for job 4 as tasks of it wait for one");
}

#[test]
fn a_guarantee_is_no_reason_to_stop_who_is_in_the_queue_that_has_it() {
    let mut pool = allowed(Preempt::Both);
    pool.agent("m1", &[("cpus", 4_000)]);
    pool.guarantee("r", "cpus=8", HoldBack::Never);
    pool.job(1, "r.t", job_spec(0, 1));
    pool.job(2, "r.v", job_spec(0, 1));
    pool.grant(&[("m1", run(1, 0, 3, 1), ONE)]).unwrap();
    pool.pass(Span::from_secs(20));
    pool.beat("a1", "drf");
    let asked = of(PreemptCause::Guarantee, 2, &[("m1", run(1, 0, 0, 1))]);
    let (_, message) = preempt(&mut pool, asked.clone()).unwrap_err();
    assert_eq!(message, "no more of job 2 is guaranteed to its queue r.v beside queue r.t");
    pool.guarantee("r.v", "cpus=1", HoldBack::Never);
    assert_eq!(
        preempt(&mut pool, Preemption { grant: GrantId(91), ..asked }),
        Ok(()),
        "within r it has its own"
    );
}

#[test]
fn tasks_that_take_turns_are_over_in_a_moment_and_are_not_stopped() {
    let mut pool = allowed(Preempt::Both);
    pool.agent("m1", &[("cpus", 4_000)]);
    pool.job(1, "low", job_spec(0, 1));
    pool.job(2, "high", job_spec(5, 0));
    let turns = ProposedPlacement {
        agent: agent_id("m1"),
        version: OfferVersion(0),
        job: JobId(1),
        tasks: TaskRange { first: 0, last: 7 },
        slice: resources(ONE),
        slots: 2,
    };
    pool.propose("a1", Epoch(1), vec![turns]).unwrap();
    pool.pass(Span::from_secs(20));
    pool.hello("a1", "drf");
    let asked = of(PreemptCause::Priority, 2, &[("m1", run(1, 0, 0, 1))]);
    let (code, message) = preempt(&mut pool, asked).unwrap_err();
    assert_eq!(code, RefusalCode::NotPreemptible);
    assert!(message.contains("takes turns"), "{message}");
}
