//! Offers are made, renewed, declined and taken back.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use allot_model::*;
use allot_offers_core::Options;
use harness::*;

const BIG: &[(&str, u64)] = &[("cpus", 2_000), ("mem", 1_024)];
const ONE: &[(&str, u64)] = &[("cpus", 1_000), ("mem", 512)];

fn registry(record: RegistryRecord) -> Record {
    Record::Registry(record)
}

#[test]
fn what_a_new_agent_has_is_offered_whole() {
    let mut pool = Pool::new();
    pool.agent("m1", BIG);
    assert_eq!(pool.offered("m1"), Some(resources(BIG)));
}

#[test]
fn every_change_of_an_agent_raises_the_version() {
    let mut pool = Pool::new();
    pool.agent("m1", BIG);
    pool.job(1, "a", spec(2, ONE));
    let first = pool.version("m1");
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()));
    assert!(pool.version("m1") > first);
}

#[test]
fn a_larger_offer_passes_a_filter_and_a_smaller_one_does_not() {
    let mut pool = Pool::new();
    pool.agent("m1", BIG);
    pool.job(1, "a", spec(2, ONE));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]), Ok(()));
    let decline = |pool: &Pool| AllocatorMessage::Decline {
        epoch: Epoch(1),
        agent: agent_id("m1"),
        version: pool.version("m1"),
        filter: Span::from_secs(1_000),
        reason: "too small".into(),
    };
    pool.say("a1", decline(&pool));
    pool.agent("m1", BIG);
    assert_eq!(pool.offered("m1"), None, "the same again does not pass");
    pool.ended("m1", run(1, 0, 0, 1));
    assert_eq!(pool.offered("m1"), Some(resources(BIG)));
}

#[test]
fn nothing_is_offered_of_an_agent_that_is_silent_draining_drained_or_gone() {
    let id = || agent_id("m1");
    let cases = [
        (RegistryRecord::AgentUnreachable { agent: id() }, RegistryRecord::AgentReturned { agent: id() }),
        (
            RegistryRecord::AgentDraining { agent: id(), kill: false },
            RegistryRecord::AgentUndrained { agent: id() },
        ),
        (RegistryRecord::AgentDrained { agent: id() }, RegistryRecord::AgentUndrained { agent: id() }),
    ];
    for (away, back) in cases {
        let mut pool = Pool::new();
        pool.agent("m1", ONE);
        pool.job(1, "a", spec(1, ONE));
        pool.record(registry(away.clone()));
        assert_eq!(pool.offered("m1"), None, "{away:?}");
        assert_eq!(
            pool.grant(&[("m1", run(1, 0, 0, 1), ONE)]),
            Err(RefusalCode::AgentUnavailable),
            "{away:?}"
        );
        pool.record(registry(back));
        assert_eq!(pool.offered("m1"), Some(resources(ONE)), "{away:?}");
    }
    let mut pool = Pool::new();
    pool.agent("m1", ONE);
    pool.record(registry(RegistryRecord::AgentGone { agent: id() }));
    assert_eq!(pool.offered("m1"), None);
}

#[test]
fn allocators_are_told_which_agents_drain() {
    let mut pool = Pool::new();
    pool.agent("m1", ONE);
    let told = |items: &[FeedItem]| {
        items.iter().rev().find_map(|item| match item {
            FeedItem::Agent(agent) => Some(agent.draining),
            _ => None,
        })
    };
    assert_eq!(told(&pool.heard), Some(false));
    pool.record(registry(RegistryRecord::AgentDraining { agent: agent_id("m1"), kill: false }));
    assert_eq!(told(&pool.heard), Some(true));
    pool.hello("a2", "fifo");
    assert_eq!(told(&pool.synced), Some(true), "and in a full account");
    pool.record(registry(RegistryRecord::AgentUndrained { agent: agent_id("m1") }));
    assert_eq!(told(&pool.heard), Some(false));
}

#[test]
fn a_draining_agent_stays_draining_when_it_comes_back() {
    let mut pool = Pool::new();
    pool.agent("m1", ONE);
    pool.record(registry(RegistryRecord::AgentDraining { agent: agent_id("m1"), kill: false }));
    pool.record(registry(RegistryRecord::AgentUnreachable { agent: agent_id("m1") }));
    pool.agent("m1", ONE);
    assert_eq!(pool.offered("m1"), None);
}

#[test]
fn the_feed_goes_on_when_nothing_happens() {
    let mut core = allot_offers_core::OffersCore::new(Options::default());
    let mut out = Vec::new();
    let mut now = Time::from_micros(5);
    core.handle(now, allot_offers_core::Input::Resume { epoch: EPOCH }, &mut out);
    for _ in 0..5 {
        let (at, _) = core.next_wake().unwrap();
        now = now.max(at);
        core.wake(now, &mut out);
    }
    let numbers: Vec<u64> = out
        .iter()
        .filter_map(|output| match output {
            allot_offers_core::Output::Feed(feed) => Some(feed.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(now.since(Time::from_micros(5)), Span::from_secs(5));
}
