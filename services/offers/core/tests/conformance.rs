//! What the offers service must do, row by row: `docs/conformance.md` lists all rows. Amounts are in the smallest units, so
//! 2 cpus are 2,000 thousandths; `mem` is in units of one byte where the rows say MB.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use allot_model::*;
use allot_offers_core::{Minimum, Options};
use harness::*;

const TWO: &[(&str, u64)] = &[("cpus", 2_000), ("mem", 1_024)];
const ONE: &[(&str, u64)] = &[("cpus", 1_000), ("mem", 512)];

fn decline(pool: &mut Pool, agent: &str, filter: Span) {
    let version = pool.version(agent);
    let (agent, reason) = (agent_id(agent), "nothing fits".to_owned());
    pool.say("a1", AllocatorMessage::Decline { epoch: Epoch(1), agent, version, filter, reason });
}

fn filters(pool: &Pool) -> u64 {
    pool.core.counts().filters_active
}

#[test]
fn a8_a_declined_agent_is_offered_again_when_its_filter_ends() {
    for (secs, agent) in [(2, ONE), (5, TWO), (1_000, ONE)] {
        let mut pool = Pool::new();
        pool.agent("m1", agent);
        let before = pool.version("m1");
        decline(&mut pool, "m1", Span::from_secs(secs));
        assert_eq!((pool.offered("m1"), filters(&pool)), (None, 1), "{secs} s");
        pool.pass(Span::from_micros(secs * 1_000_000 - 1));
        assert_eq!((pool.offered("m1"), filters(&pool)), (None, 1), "{secs} s");
        pool.pass(Span::from_micros(1));
        assert_eq!((pool.offered("m1"), filters(&pool)), (Some(resources(agent)), 0), "{secs} s");
        assert!(pool.version("m1") > before, "it is another offer");
    }
}

#[test]
fn a8_a_filter_that_ends_while_nothing_is_free_is_not_active_any_more() {
    let mut pool = Pool::new();
    pool.agent("m1", ONE);
    pool.job(1, "a", spec(1, ONE));
    decline(&mut pool, "m1", Span::from_secs(2));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()), "a filter forbids nothing");
    assert_eq!(filters(&pool), 1);
    pool.pass(Span::from_secs(2));
    assert_eq!((pool.offered("m1"), filters(&pool)), (None, 0));
}

#[test]
fn a10_revive_ends_every_filter_at_once() {
    let mut pool = Pool::new();
    for agent in ["m1", "m2"] {
        pool.agent(agent, ONE);
        decline(&mut pool, agent, Span::from_secs(1_000));
    }
    pool.pass(Span::from_secs(900));
    assert_eq!((pool.offered("m1"), pool.offered("m2"), filters(&pool)), (None, None, 2));
    pool.say("a1", AllocatorMessage::Revive { epoch: Epoch(1) });
    assert_eq!(pool.offered("m1"), Some(resources(ONE)));
    assert_eq!((pool.offered("m2"), filters(&pool)), (Some(resources(ONE)), 0));
}

#[test]
fn a10_only_the_allocator_that_decides_can_revive_or_decline() {
    let mut pool = Pool::new();
    pool.agent("m1", ONE);
    pool.hello("a2", "fifo");
    let version = pool.version("m1");
    let (agent, filter) = (agent_id("m1"), Span::from_secs(9));
    let decline_of_another =
        AllocatorMessage::Decline { epoch: Epoch(1), agent, version, filter, reason: String::new() };
    pool.say("a2", decline_of_another);
    assert_eq!(pool.offered("m1"), Some(resources(ONE)));
    decline(&mut pool, "m1", Span::from_secs(9));
    pool.say("a2", AllocatorMessage::Revive { epoch: Epoch(1) });
    pool.say("a1", AllocatorMessage::Revive { epoch: Epoch(7) });
    assert_eq!(pool.offered("m1"), None);
}

/// What is offered of an agent that has so much, where the least is 0.01 cpus or 32 of memory.
fn offered_of(free: &[(&str, u64)]) -> bool {
    let enough = |name, units| spec(1, &[(name, units)]).resources.clone();
    let minimum = Minimum::any_of(vec![enough("cpus", 10), enough("mem", 32)]);
    let mut pool = Pool::with(Options { minimum, ..Options::default() });
    pool.agent("m1", free);
    pool.offered("m1").is_some()
}

#[test]
fn a16_less_than_the_minimum_is_not_offered() {
    for (cpus, mem, offered) in
        [(5, 16, false), (10, 16, true), (5, 32, true), (9, 31, false), (0, 32, true), (2_000, 0, true)]
    {
        let free: Vec<(&str, u64)> =
            [("cpus", cpus), ("mem", mem)].into_iter().filter(|(_, units)| *units > 0).collect();
        assert_eq!(offered_of(&free), offered, "{free:?}");
    }
    assert!(!offered_of(&[("gpus", 8_000)]), "what the minimum does not name does not count");
    let mut unset = Pool::new();
    unset.agent("m1", &[("cpus", 1)]);
    assert!(unset.offered("m1").is_some(), "where there is no minimum whatever is free is offered");
}

#[test]
fn a16_what_is_too_small_in_two_parts_is_offered_when_it_is_enough_together() {
    let part: &[(&str, u64)] = &[("cpus", 5), ("mem", 16)];
    let minimum = Minimum::any_of(vec![spec(1, &[("cpus", 10)]).resources.clone()]);
    let mut pool = Pool::with(Options { minimum, ..Options::default() });
    pool.agent("m1", &[("cpus", 10), ("mem", 32)]);
    pool.job(1, "a", spec(2, part));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), part)]), Ok(()));
    assert_eq!(pool.offered("m1"), None, "half of it is too small");
    assert_eq!(pool.grant(&[("m1", run(1, 1, 1, 1), part)]), Ok(()), "and can be granted all the same");
    pool.ended("m1", run(1, 0, 0, 1));
    assert_eq!(pool.offered("m1"), None);
    pool.ended("m1", run(1, 1, 1, 1));
    assert_eq!(pool.offered("m1"), Some(resources(&[("cpus", 10), ("mem", 32)])));
}

#[test]
fn a20_what_an_agent_gains_is_offered_and_what_it_lost_is_not_owed() {
    let cpus = |whole: u64| -> [(&str, u64); 1] { [("cpus", whole * 1_000)] };
    let offered =
        |pool: &Pool| pool.offered("m1").map_or(0, |free| free.total(&"cpus".parse().unwrap()) / 1_000);
    for (size, gain, shrunk) in [(100, 12, 50), (8, 1, 3), (64, 64, 1)] {
        let mut pool = Pool::new();
        pool.agent("m1", &cpus(size));
        pool.job(1, "a", spec(1_000, &cpus(1)));
        let all = u32::try_from(size).unwrap();
        assert_eq!(pool.grant(&[("m1", run(1, 0, all - 1, 1), &cpus(1))]), Ok(()));
        pool.agent("m1", &cpus(size + gain));
        assert_eq!(offered(&pool), gain, "only what it gained");
        pool.agent("m1", &cpus(shrunk));
        assert_eq!(offered(&pool), 0, "it has less than is used");
        pool.ended("m1", run(1, 0, all - 1, 1));
        assert_eq!(offered(&pool), shrunk);
        let more = u32::try_from(shrunk).unwrap();
        assert_eq!(pool.grant(&[("m1", run(1, all, all + more - 1, 1), &cpus(1))]), Ok(()));
        assert_eq!(offered(&pool), 0);
        pool.agent("m1", &cpus(size));
        assert_eq!(offered(&pool), size - shrunk, "what it regained");
    }
}

#[test]
fn t1_an_offer_without_an_answer_is_renewed_as_it_is() {
    let mut pool = Pool::with(Options { offer_ttl: Span::from_secs(30), ..Options::default() });
    pool.agent("m1", TWO);
    let version = pool.version("m1");
    pool.pass(Span::from_secs(30));
    assert_eq!((pool.offered("m1"), pool.version("m1")), (Some(resources(TWO)), version));
    let expected = OfferCounts { offers_sent: 1, offers_renewed: 2, ..OfferCounts::default() };
    assert_eq!(
        pool.core.counts(),
        expected,
        "sent once, renewed at 15 s and at 30 s, rescinded and accepted never"
    );
}

#[test]
fn t2_an_offer_that_is_used_or_declined_is_not_renewed() {
    let thirty = || Pool::with(Options { offer_ttl: Span::from_secs(30), ..Options::default() });
    let mut used = thirty();
    used.agent("m1", ONE);
    used.job(1, "a", spec(1, ONE));
    assert_eq!(used.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()));
    used.pass(Span::from_secs(40));
    let counts = used.core.counts();
    assert_eq!((counts.grants_accepted, counts.offers_renewed, counts.offers_rescinded), (1, 0, 0));

    let mut declined = thirty();
    declined.agent("m1", ONE);
    decline(&mut declined, "m1", Span::from_secs(60));
    declined.pass(Span::from_secs(40));
    let counts = declined.core.counts();
    assert_eq!((counts.offers_declined, counts.offers_renewed, counts.offers_rescinded), (1, 0, 0));
}

#[test]
fn t3_what_was_freed_in_two_parts_takes_a_task_of_both() {
    let mut pool = Pool::new();
    pool.agent("m1", TWO);
    pool.job(1, "a", spec(2, ONE));
    pool.job(2, "b", spec(1, TWO));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 1, 1), ONE)]), Ok(()));
    pool.ended("m1", run(1, 0, 0, 1));
    assert_eq!(pool.grant(&[("m1", run(2, 0, 0, 1), TWO)]), Err(RefusalCode::NotFree));
    pool.ended("m1", run(1, 1, 1, 1));
    assert_eq!(pool.offered("m1"), Some(resources(TWO)), "one agent has one offer");
    assert_eq!(pool.grant(&[("m1", run(2, 0, 0, 1), TWO)]), Ok(()));
}

#[test]
fn t4_a_task_over_two_agents_or_a_part_named_twice_is_refused_and_everything_stays_free() {
    let cases: [(&str, &[Part<'_>], RefusalCode); 4] = [
        (
            "half here, half there",
            &[("m1", run(1, 0, 0, 1), ONE), ("m2", run(1, 0, 0, 1), ONE)],
            RefusalCode::DoesNotFit,
        ),
        (
            "the same part twice",
            &[("m1", run(2, 0, 0, 1), ONE), ("m1", run(2, 0, 0, 1), ONE)],
            RefusalCode::Malformed,
        ),
        (
            "a part within another",
            &[("m1", run(2, 0, 1, 1), ONE), ("m2", run(2, 1, 1, 1), ONE)],
            RefusalCode::Malformed,
        ),
        ("of an agent that there is not", &[("m9", run(2, 0, 0, 1), ONE)], RefusalCode::AgentUnavailable),
    ];
    for (what, parts, code) in cases {
        let mut pool = Pool::new();
        pool.agent("m1", TWO);
        pool.agent("m2", ONE);
        pool.job(1, "a", spec(1, TWO));
        pool.job(2, "b", spec(2, ONE));
        let before = pool.core.clone();
        assert_eq!(pool.grant(parts), Err(code), "{what}");
        assert!(pool.core.same_state(&before), "{what}");
        assert_eq!(
            (pool.offered("m1"), pool.offered("m2")),
            (Some(resources(TWO)), Some(resources(ONE))),
            "{what}"
        );
        assert_eq!(
            pool.grant(&[("m1", run(2, 0, 0, 1), ONE), ("m2", run(2, 1, 1, 1), ONE)]),
            Ok(()),
            "{what}"
        );
    }
}

#[test]
fn t5_what_a_task_leaves_of_an_offer_is_offered_to_the_next() {
    let mut pool = Pool::new();
    pool.agent("m1", TWO);
    pool.job(1, "a", spec(1, ONE));
    pool.job(2, "b", spec(1, ONE));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()));
    assert_eq!(pool.offered("m1"), Some(resources(ONE)));
    assert_eq!(pool.grant(&[("m1", run(2, 0, 0, 1), ONE)]), Ok(()));
    assert_eq!(pool.offered("m1"), None);
}

#[test]
fn t6_a_task_that_cannot_be_launched_is_refused_and_its_resources_are_offered_as_before() {
    let cases: [(&str, &[Part<'_>], RefusalCode); 6] = [
        (
            "asks for more than the offer has",
            &[("m1", run(1, 0, 0, 1), &[("cpus", 3_000)])],
            RefusalCode::NotFree,
        ),
        ("gets something else than it asks for", &[("m1", run(2, 0, 0, 1), TWO)], RefusalCode::DoesNotFit),
        ("gets nothing", &[("m1", run(2, 0, 0, 1), &[])], RefusalCode::DoesNotFit),
        ("a job that there is not", &[("m1", run(9, 0, 0, 1), ONE)], RefusalCode::NotPending),
        ("a task that there is not", &[("m1", run(2, 5, 5, 1), ONE)], RefusalCode::NotPending),
        ("no task at all", &[], RefusalCode::Malformed),
    ];
    for (what, parts, code) in cases {
        let mut pool = Pool::new();
        pool.agent("m1", TWO);
        pool.job(1, "a", spec(1, &[("cpus", 3_000)]));
        pool.job(2, "b", spec(2, ONE));
        assert_eq!(pool.grant(parts), Err(code), "{what}");
        assert_eq!(pool.offered("m1"), Some(resources(TWO)), "{what}");
        assert_eq!(pool.core.counts().grants_refused, 1, "{what}");
        assert_eq!(pool.grant(&[("m1", run(2, 0, 1, 1), ONE)]), Ok(()), "{what}");
        assert_eq!(
            pool.grant(&[("m1", run(2, 0, 0, 1), ONE)]),
            Err(RefusalCode::NotPending),
            "launched already"
        );
    }
}
