//! Why a job waits, against what is really so.

use std::sync::Arc;

use allot_engine::{Backfill, Policy, Rank};
use allot_model::view::lowest_terms;
use allot_model::{
    FeedItem, Hindrance, JobId, NearMiss, OfferVersion, PlaceInLine, PoolAgent, PoolJob, QueueShare, Span,
    WhyView,
};
use proptest::prelude::*;

use crate::laws::{any_policy, apply, some_events};
use crate::support::reference::{allows, comes_before, fits, limit_on, share, takes_what_is_kept};
use crate::support::{Cluster, TTL, agent_id, constraints, items, job, policy, pool_agent, queue, resources};

fn why(cluster: &mut Cluster, job: u64) -> WhyView {
    cluster.engine.explain(JobId(job)).unwrap()
}

/// The nearest agent and what it lacks, such as `m1: busy in cpus, 1 of 4 cpus`.
fn nearest(cluster: &mut Cluster, job: u64) -> String {
    match why(cluster, job).nearest {
        None => "none".to_owned(),
        Some(NearMiss::Constraint { constraint, agents }) => format!("{agents} excluded by `{constraint}`"),
        Some(NearMiss::Agent { agent, hindrance, short }) => {
            let lack = |s: allot_model::Shortage| format!(", {} of {} {}", s.short, s.asked, s.resource);
            let lacks: String = short.into_iter().map(lack).collect();
            format!("{agent}: {hindrance}{lacks}")
        }
    }
}

/// Agents of 4 cpus: one with nothing on it, one with 3 free, one draining, one too small, one in another zone.
fn mixed() -> Cluster {
    let mut cluster = Cluster::new(policy("drf"));
    for (name, total, zone) in [
        ("busy1", "cpus=4000 mem=8", "a"),
        ("busy3", "cpus=4000 mem=8", "a"),
        ("large", "cpus=9000 mem=9", "b"),
        ("leaving", "cpus=4000 mem=8", "a"),
        ("small", "cpus=1000 mem=8", "a"),
    ] {
        let draining = name == "leaving";
        cluster.add_agent(PoolAgent { draining, ..pool_agent(name, resources(total), &[("zone", zone)]) });
    }
    cluster.items.push(FeedItem::Rescinded { agent: agent_id("leaving") });
    let only = |agent: &str| constraints(&[&format!("agent.id == {agent}")]);
    cluster.add_job(PoolJob { constraints: only("busy1"), ..job(1, "q", 1, "cpus=3000") });
    cluster.add_job(PoolJob { constraints: only("busy3"), ..job(2, "q", 1, "cpus=1000") });
    cluster.pass();
    cluster
}

#[test]
fn every_agent_is_counted_once_under_the_first_thing_that_is_in_the_way() {
    let mut cluster = mixed();
    cluster
        .add_job(PoolJob { constraints: constraints(&["zone == a"]), ..job(3, "q", 2, "cpus=4000 mem=4") });
    assert_eq!(cluster.pass(), []);
    let view = why(&mut cluster, 3);
    assert_eq!((view.waiting, view.granted, view.held), (2, 0, None));
    assert_eq!(view.policy.as_str(), "drf");
    assert_eq!(
        view.reasons_in_words(),
        "2 agents busy in cpus, 1 too small in cpus, 1 excluded by `zone == a`, 1 draining"
    );
    assert_eq!(view.agents(&Hindrance::Draining), 1);
    let busy = why(&mut cluster, 1);
    assert_eq!((busy.waiting, busy.line), (0, None), "all of it is placed");
    assert_eq!(cluster.engine.explain(JobId(9)), None, "there is no such job");
}

#[test]
fn the_nearest_agent_is_the_one_that_lacks_the_smallest_part() {
    let cases = [
        (&["zone == a"][..], "cpus=4000 mem=4", "busy3: busy in cpus, 1 of 4 cpus"),
        (&["zone == a"], "cpus=2000", "none"),
        (&["zone == a", "agent.id != busy3"], "cpus=4000", "busy1: busy in cpus, 3 of 4 cpus"),
        (&["zone == a"], "cpus=5000 mem=9", "busy1: too small in cpus, 1 of 5 cpus, 1 of 9 mem"),
        (&["agent.id == leaving"], "cpus=4000", "leaving: draining"),
        (&["agent.id == small"], "cpus=2000", "small: too small in cpus, 1 of 2 cpus"),
        (&["zone != b", "zone == b"], "cpus=1000", "4 excluded by `zone == b`"),
        (&["zone == c"], "cpus=9999000", "5 excluded by `zone == c`"),
        (&[], "cpus=4000 licenses=2000", "busy1: too small in licenses, 2 of 2 licenses"),
        (&[], "cpus=9000 mem=10", "large: too small in mem, 1 of 10 mem"),
    ];
    for (limits, asks, expected) in cases {
        let mut cluster = mixed();
        cluster.add_job(PoolJob { constraints: constraints(limits), ..job(3, "q", 1, asks) });
        cluster.flush();
        assert_eq!(nearest(&mut cluster, 3), expected, "{limits:?} {asks}");
    }
}

#[test]
fn of_two_agents_that_lack_as_much_the_first_by_name_is_the_nearest() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("b", "cpus=2000 mem=4").agent("a", "cpus=2000 mem=4").agent("c", "cpus=2000 mem=5");
    cluster.job(1, "q", 1, "cpus=4000 mem=8");
    cluster.flush();
    assert_eq!(nearest(&mut cluster, 1), "a: too small in cpus, 2 of 4 cpus, 4 of 8 mem");
}

#[test]
fn an_agent_that_is_used_up_is_busy_and_one_that_fell_silent_is_not_on_offer() {
    let mut cluster = Cluster::new(policy("fifo"));
    cluster.agent("full", "cpus=2000").job(1, "q", 3, "cpus=1000");
    cluster.pass();
    cluster.items.push(FeedItem::Rescinded { agent: agent_id("full") });
    cluster.flush();
    assert_eq!(nearest(&mut cluster, 1), "full: busy in cpus, 1 of 1 cpus");
    let (free, version) = (resources("cpus=500"), OfferVersion(2));
    cluster.items.push(FeedItem::Offer { agent: agent_id("full"), version, free, ttl: TTL });
    cluster.flush();
    assert_eq!(nearest(&mut cluster, 1), "full: busy in cpus, 0.5 of 1 cpus");
    cluster.now = cluster.now + TTL;
    cluster.wake();
    assert_eq!(nearest(&mut cluster, 1), "full: not on offer");
}

#[test]
fn items_count_only_in_pieces_that_suit() {
    let mut cluster = Cluster::new(policy("fifo"));
    let mut total = resources("cpus=9000");
    total.add(&items("gpus", &["0", "1"])).unwrap();
    cluster.add_agent(pool_agent("m", total, &[]));
    cluster.job(1, "q", 1, "cpus=1000 gpus=500").job(2, "q", 1, "cpus=1000 gpus=2000");
    cluster.pass();
    assert_eq!(nearest(&mut cluster, 2), "m: busy in gpus, 1 of 2 gpus", "half a device is no whole one");
    cluster.job(3, "q", 1, "cpus=1000 gpus=3000");
    cluster.pass();
    assert_eq!(nearest(&mut cluster, 3), "m: too small in gpus, 1 of 3 gpus");
}

#[test]
fn grants_on_their_way_are_counted_apart_and_hold_their_room() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("m", "cpus=2000").job(1, "a", 3, "cpus=1000");
    cluster.flush();
    assert_eq!(cluster.decide().len(), 1);
    let view = why(&mut cluster, 1);
    assert_eq!((view.waiting, view.granted), (1, 2));
    assert_eq!(view.reasons_in_words(), "1 agent busy in cpus");
    assert_eq!(view.share.unwrap().share, [1, 1]);
}

fn line(cluster: &mut Cluster, job: u64) -> PlaceInLine {
    why(cluster, job).line.unwrap()
}

#[test]
fn the_place_in_line_is_that_of_the_policys_order() {
    let tell = |name: &str| {
        let mut cluster = Cluster::new(policy(name));
        cluster.agent("m", "cpus=1000").job(1, "b", 2, "cpus=1000").job(2, "a", 30, "cpus=2000").job(
            3,
            "a",
            4,
            "cpus=1000",
        );
        cluster.add_job(PoolJob { priority: 1, ..job(4, "a", 5, "cpus=3000") });
        cluster.pass();
        line(&mut cluster, 3)
    };
    let place = |of: Option<&str>, jobs_ahead, tasks_ahead, first| PlaceInLine {
        queue: of.map(queue),
        jobs_ahead,
        tasks_ahead,
        first: Some(JobId(first)),
        strict: false,
    };
    assert_eq!(tell("fifo"), place(None, 2, 31, 1), "one line, and job 1 has one task running");
    assert_eq!(tell("priority"), place(None, 3, 36, 4));
    assert_eq!(tell("drf"), place(Some("a"), 2, 35, 4));
}

#[test]
fn behind_a_job_that_blocks_there_may_be_room() {
    let mut cluster = Cluster::new(Policy { backfill: Backfill::None, ..policy("fifo") });
    cluster.agent("m", "cpus=2000").job(1, "q", 1, "cpus=3000").job(2, "q", 1, "cpus=1000");
    assert_eq!(cluster.pass(), []);
    let view = why(&mut cluster, 2);
    assert_eq!(view.reasons_in_words(), "1 agent with room");
    assert_eq!(view.nearest, None);
    let line = view.line.unwrap();
    assert_eq!((line.jobs_ahead, line.first, line.strict), (1, Some(JobId(1)), true));
    assert_eq!(nearest(&mut cluster, 1), "m: too small in cpus, 1 of 3 cpus");
}

#[test]
fn a_queue_waits_behind_the_first_with_a_smaller_share_that_has_something_that_fits() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("m1", "cpus=9000 mem=18").job(1, "A", 100, "cpus=1000 mem=4").job(
        2,
        "B",
        100,
        "cpus=3000 mem=1",
    );
    cluster.pass();
    let of = |name: &str, resource: &str, share| {
        Some(QueueShare { queue: queue(name), weight: 1, resource: resource.parse().ok(), share })
    };
    let view = why(&mut cluster, 2);
    assert_eq!(view.share, of("B", "cpus", [2, 3]));
    assert_eq!(
        (view.behind, view.queues_ahead),
        (of("A", "mem", [2, 3]), 1),
        "of equal shares A is first by name"
    );
    assert_eq!((why(&mut cluster, 1).behind, why(&mut cluster, 1).queues_ahead), (None, 0));
    cluster.job(3, "C", 1, "cpus=9000").job(4, "D", 1, "mem=1").weight("D", 7);
    cluster.agent("m2", "cpus=1000 mem=1");
    cluster.flush();
    let view = why(&mut cluster, 2);
    assert_eq!((view.share.unwrap().share, view.queues_ahead), ([3, 5], 2), "6 of 10 cpus");
    let behind = view.behind.unwrap();
    assert_eq!(
        (behind.queue.as_str(), behind.weight, behind.share),
        ("D", 7, [0, 1]),
        "C is first, and does not fit"
    );
}

#[test]
fn a_fair_queue_is_told_what_it_has_of_the_resource_that_is_shared() {
    let mut cluster = Cluster::new(policy("fair"));
    cluster.agent("m1", "cpus=8000 mem=8").job(1, "a", 8, "cpus=1000 mem=4");
    cluster.pass();
    let share = why(&mut cluster, 1).share.unwrap();
    assert_eq!((share.resource.unwrap().as_str(), share.share), ("cpus", [1, 4]));
    let mut line = Cluster::new(policy("fifo"));
    line.agent("m1", "cpus=1000").job(1, "a", 2, "cpus=1000");
    line.pass();
    assert_eq!(why(&mut line, 1).share, None, "under fifo queues do not rank");
}

#[test]
fn a_gang_is_told_how_many_of_it_have_room_on_the_agents_that_have_room_for_the_most() {
    let mut cluster = Cluster::new(policy("fifo"));
    for (name, cpus, rack) in [("m1", 3, "r1"), ("m2", 2, "r2"), ("m3", 3, "r2"), ("m4", 9, "")] {
        let rack = Some(("rack", rack)).filter(|(_, rack)| !rack.is_empty());
        cluster.add_agent(pool_agent(name, resources(&format!("cpus={cpus}")), rack.as_slice()));
    }
    let gang = |same: Option<&str>| PoolJob {
        min_tasks: 20,
        same: same.map(str::to_owned),
        ..job(if same.is_some() { 1 } else { 2 }, "q", 20, "cpus=1")
    };
    cluster.add_job(gang(Some("rack"))).add_job(gang(None));
    assert_eq!(cluster.pass(), []);
    let told = |cluster: &mut Cluster, job| {
        let gang = why(cluster, job).gang.unwrap();
        (gang.tasks, gang.room, gang.value, gang.most)
    };
    assert_eq!(told(&mut cluster, 1), (20, 5, Some("r2".to_owned()), Some(5)));
    assert_eq!(told(&mut cluster, 2), (20, 17, None, Some(17)));
    cluster.add_job(job(3, "q", 4, "cpus=1"));
    assert_eq!(cluster.pass().len(), 4);
    assert_eq!(
        told(&mut cluster, 2),
        (20, 13, None, Some(17)),
        "what runs is no matter to the most there can be"
    );
}

#[test]
fn it_is_told_for_whom_room_is_kept_and_from_when_on() {
    let cases = [
        (Backfill::Easy, [Some((2, Some(10))), Some((2, Some(10)))]),
        (Backfill::Conservative, [Some((2, Some(10))), Some((3, Some(13)))]),
        (Backfill::Skip, [None, None]),
    ];
    for (backfill, expected) in cases {
        let mut cluster = Cluster::new(Policy { backfill, ..policy("fifo") });
        cluster.agent("m1", "cpus=3");
        for (id, cpus, secs) in [(1, 2, 10), (2, 3, 3), (3, 2, 30)] {
            let estimate = Some(Span::from_secs(secs));
            cluster.add_job(PoolJob { estimate, ..job(id, "q", 1, &format!("cpus={cpus}")) });
        }
        let start = cluster.now;
        cluster.pass();
        let told = [2, 3].map(|job| {
            let kept = why(&mut cluster, job).reservation?;
            Some((kept.job.0, kept.at.map(|at| at.since(start).as_micros() / 1_000_000)))
        });
        assert_eq!(told, expected, "{backfill}");
        let expected_start = why(&mut cluster, 2).expected_start();
        assert_eq!(expected_start.is_some(), backfill != Backfill::Skip);
    }
}

#[test]
fn an_empty_pool_has_no_agents_to_count() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.job(1, "q", 1, "cpus=1000");
    cluster.pass();
    let view = why(&mut cluster, 1);
    assert_eq!((view.reasons_in_words().as_str(), view.nearest), ("there are no agents", None));
}

#[test]
fn an_agent_that_drains_and_is_let_work_again_is_told_as_it_is() {
    let mut cluster = Cluster::new(policy("fifo"));
    let agent = |draining| Arc::new(PoolAgent { draining, ..pool_agent("m", resources("cpus=1000"), &[]) });
    cluster.items = vec![FeedItem::Agent(agent(true))];
    cluster.job(1, "q", 1, "cpus=1000");
    cluster.flush();
    assert_eq!(nearest(&mut cluster, 1), "m: draining");
    cluster.items = vec![FeedItem::Agent(agent(false))];
    let (free, version) = (resources("cpus=1000"), OfferVersion(2));
    cluster.items.push(FeedItem::Offer { agent: agent_id("m"), version, free, ttl: Span::from_secs(1) });
    cluster.flush();
    assert_eq!(why(&mut cluster, 1).reasons_in_words(), "1 agent with room");
}

proptest! {
    #![proptest_config(crate::support::cases(300))]

    #[test]
    fn what_is_told_is_so(policy in any_policy(), events in some_events()) {
        let mut cluster = Cluster::new(policy.clone());
        events.iter().for_each(|event| apply(&mut cluster, event));
        cluster.pass();
        for id in cluster.jobs.keys().copied().collect::<Vec<_>>() {
            let view = cluster.engine.explain(id).unwrap();
            let job = &cluster.jobs[&id];
            prop_assert_eq!((view.waiting, view.granted), (job.pending.count(), 0));
            let counted: u64 = view.reasons.iter().map(|count| count.agents).sum();
            prop_assert_eq!(counted, cluster.agents.len() as u64, "every agent is counted once");
            let has_room = |agent: &&crate::support::AgentTruth| fits(agent, &job.facts.resources) && allows(&agent.facts, &job.facts);
            let with_room = cluster.agents.values().filter(has_room).count() as u64;
            prop_assert_eq!(view.agents(&Hindrance::Room), with_room);
            let limited = limit_on(&cluster, &job.facts).filter(|_| !job.pending.is_empty());
            prop_assert_eq!(view.limit.map(|limit| limit.queue), limited.clone());
            let kept = takes_what_is_kept(&cluster, &job.facts) && !job.pending.is_empty();
            prop_assert_eq!(view.kept.is_some(), kept);
            let explained = kept || limited.is_some() || job.pending.is_empty() || policy.backfill == Backfill::None;
            prop_assert!(with_room == 0 || explained, "B: {id} would fit");
            prop_assert_eq!(view.nearest.is_none(), with_room > 0 || cluster.agents.is_empty());
            prop_assert_eq!(view.line.is_some(), !job.pending.is_empty());
            if let Some(line) = view.line {
                let ahead: Vec<_> = cluster.jobs.values().filter(|other| comes_before(&policy, cluster.now, other, job)).collect();
                let tasks: u64 = ahead.iter().map(|other| other.pending.count()).sum();
                prop_assert_eq!((line.jobs_ahead, line.tasks_ahead), (ahead.len() as u64, tasks));
                let is_first = |first: JobId| ahead.iter().all(|other| !comes_before(&policy, cluster.now, other, &cluster.jobs[&first]));
                prop_assert!(line.first.map_or(ahead.is_empty(), is_first), "{:?} is the first", line.first);
            }
            if policy.rank != Rank::Line {
                let expected = share(&policy, &cluster, &job.facts.queue);
                let told = view.share.unwrap();
                let of_queue = u128::from(told.share[0]) * expected.1;
                prop_assert_eq!(of_queue, expected.0 * u128::from(told.share[1]) * u128::from(told.weight));
                prop_assert_eq!(told.share, lowest_terms(told.share[0], told.share[1]));
            }
        }
    }
}
