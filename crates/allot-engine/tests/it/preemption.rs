//! Who is stopped for whom, and what becomes of the room.

mod gangs;

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{
    FeedItem, HoldBack, JobId, PoolAgent, PoolJob, PreemptCause, RefusalCode, Span, TaskRange,
};
use proptest::prelude::*;

use crate::support::reference::victims as plain;
use gangs::urgent_gang;

use crate::support::{Cluster, EPOCH, cases, job, policy};

fn second(cluster: &mut Cluster) {
    cluster.now = cluster.now + Span::from_secs(1);
}

/// A job of this priority whose tasks may be stopped.
fn soft(id: u64, of: &str, priority: i32, tasks: u32, asks: &str) -> PoolJob {
    PoolJob { priority, preemptible: true, ..job(id, of, tasks, asks) }
}

/// One after the other they get places, a second apart.
fn fill(cluster: &mut Cluster, jobs: Vec<PoolJob>) {
    for facts in jobs {
        cluster.add_job(facts);
        cluster.pass();
        second(cluster);
    }
    assert_eq!(cluster.victims(), "", "what fits stops nobody");
}

#[test]
fn s_preemption_stops_the_least_important_and_no_more_than_it_takes() {
    for name in ["priority:preempt=priority", "drf:preempt=both", "fair:preempt=priority"] {
        for (asks, expected) in [("cpus=2000", "1.0"), ("cpus=4000", "1.0 2.0")] {
            let mut cluster = Cluster::new(policy(name));
            cluster.agent("m", "cpus=4000");
            fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=2000"), soft(2, "q", 2, 1, "cpus=2000")]);
            cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, asks) });
            assert_eq!(cluster.pass(), [], "{name}: nothing is free yet");
            assert_eq!(cluster.victims(), expected, "{name}: it asks for {asks}");
            let made = cluster.engine.explain(JobId(3)).unwrap().room_made;
            assert_eq!((made[0].agent.as_str(), made[0].stopping), ("m", cluster.asked[0].tasks()));
            let placed = cluster.end_victims().pass();
            assert_eq!(placed.iter().map(|placed| placed.job).collect::<Vec<_>>(), [JobId(3)], "{name}");
            second(&mut cluster);
            cluster.pass();
            assert_eq!(cluster.victims(), "", "{name}: those that wait again stop nobody");
        }
    }
}

#[test]
fn victims_are_chosen_by_priority_then_the_youngest_and_only_where_it_helps() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<PoolJob>, &'a str, &'a str);
    let q = |id, priority, tasks, asks| soft(id, "q", priority, tasks, asks);
    let table: [Row<'_>; 10] = [
        (
            "the youngest of equals",
            &[("m", "cpus=2000")],
            vec![q(1, 0, 1, "cpus=1000"), q(2, 0, 1, "cpus=1000")],
            "cpus=1000",
            "2.0",
        ),
        (
            "a small one that is of no use is left",
            &[("m", "cpus=3000")],
            vec![q(1, 0, 1, "cpus=1000"), q(2, 1, 1, "cpus=2000")],
            "cpus=2000",
            "2.0",
        ),
        (
            "some tasks of an array",
            &[("m", "cpus=4000")],
            vec![q(1, 0, 4, "cpus=1000")],
            "cpus=2000",
            "1.0 1.1",
        ),
        (
            "the agent with the least important",
            &[("m", "cpus=1000"), ("n", "cpus=1000")],
            vec![q(1, 2, 1, "cpus=1000"), q(2, 1, 1, "cpus=1000")],
            "cpus=1000",
            "2.0",
        ),
        (
            "one rather than two",
            &[("m", "cpus=2000"), ("n", "cpus=2000")],
            vec![q(1, 0, 1, "cpus=2000"), q(2, 0, 2, "cpus=1000")],
            "cpus=2000",
            "1.0",
        ),
        ("what is free counts", &[("m", "cpus=3000")], vec![q(1, 0, 2, "cpus=1000")], "cpus=2000", "1.0"),
        ("nobody as important", &[("m", "cpus=1000")], vec![q(1, 10, 1, "cpus=1000")], "cpus=1000", ""),
        (
            "nobody where all together are too little",
            &[("m", "cpus=2000")],
            vec![q(1, 0, 1, "cpus=1000"), q(2, 10, 1, "cpus=1000")],
            "cpus=2000",
            "",
        ),
        (
            "nobody on an agent that is too small",
            &[("m", "cpus=1000"), ("n", "cpus=1000")],
            vec![q(1, 0, 2, "cpus=1000")],
            "cpus=2000",
            "",
        ),
        (
            "nobody who must not run twice",
            &[("m", "cpus=1000")],
            vec![job(1, "q", 1, "cpus=1000")],
            "cpus=1000",
            "",
        ),
    ];
    for (name, agents, running, asks, expected) in table {
        let mut cluster = Cluster::new(policy("priority:preempt=priority"));
        agents.iter().for_each(|(name, total)| _ = cluster.agent(name, total));
        fill(&mut cluster, running);
        cluster.add_job(PoolJob { priority: 10, ..job(9, "q", 1, asks) });
        cluster.pass();
        assert_eq!(cluster.victims(), expected, "{name}");
    }
}

#[test]
fn what_becomes_free_is_held_until_all_of_it_is() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=4000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=2000"), soft(2, "q", 2, 1, "cpus=2000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=4000") });
    cluster.pass();
    let victims = cluster.asked.remove(0).victims;
    cluster.end_victim(&victims[0]);
    cluster.add_job(PoolJob { priority: 9, ..job(4, "q", 1, "cpus=1000") });
    assert_eq!(cluster.pass(), [], "half of it is free, and nobody else gets it");
    assert_eq!(cluster.victims(), "", "and nobody else is stopped for it");
    cluster.end_victim(&victims[1]);
    assert_eq!(cluster.pass()[0].job, JobId(3));
}

#[test]
fn places_that_become_free_in_any_order_go_to_who_asked_first_and_nobody_else_is_stopped() {
    let mut cluster = Cluster::new(policy("drf:preempt=guarantee"));
    cluster.agent("m", "cpus=4000").guarantee("a", "cpus=2000", HoldBack::Never);
    cluster.hear();
    fill(&mut cluster, vec![soft(1, "b", 0, 4, "cpus=1000")]);
    cluster.add_job(soft(2, "a", 0, 4, "cpus=1000"));
    cluster.pass();
    let asked = std::mem::take(&mut cluster.asked);
    assert_eq!(asked.len(), 2);
    for preemption in asked.iter().rev() {
        cluster.end_victim(&preemption.victims[0]);
        assert_eq!(cluster.pass().len(), 1, "one place after the other");
        assert_eq!(cluster.victims(), "", "nobody else is stopped");
    }
    assert_eq!((cluster.running(1), cluster.running(2)), (2, 2));
}

#[test]
fn a_job_that_finds_a_place_elsewhere_lets_others_have_what_was_made_for_it() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000").agent("n", "cpus=1000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000"), job(2, "q", 1, "cpus=1000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0");
    assert_eq!(cluster.end_oldest(2).pass()[0].job, JobId(3), "on the other agent");
    let again = cluster.end_victims().pass();
    assert_eq!(
        again.iter().map(|placed| placed.job.0).collect::<Vec<_>>(),
        [1],
        "the victim has its place again"
    );
}

#[test]
fn where_an_agent_is_to_take_no_more_tasks_others_are_stopped_instead() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000").agent("n", "cpus=1000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000"), soft(2, "q", 2, 1, "cpus=1000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000") });
    cluster.pass();
    let agent = cluster.asked.remove(0).agent;
    let facts = PoolAgent { draining: true, ..(*cluster.agents[&agent].facts).clone() };
    cluster.items.extend([FeedItem::Agent(facts.into()), FeedItem::Rescinded { agent }]);
    second(&mut cluster);
    cluster.pass();
    assert_eq!(cluster.victims(), "2.0");
}

#[test]
fn who_is_withdrawn_holds_nothing() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000") });
    cluster.pass();
    cluster.withdraw(3, TaskRange::one(0)).forget_job(3);
    assert_eq!(cluster.end_victims().pass()[0].job, JobId(1));
}

#[test]
fn tasks_are_left_alone_until_they_have_run_for_a_while() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority:preempt_min_run=10s"));
    cluster.agent("m", "cpus=1000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "");
    let next = cluster.engine.next_decision().unwrap();
    assert_eq!(next.since(cluster.now), Span::from_secs(9), "it placed it a second ago");
    cluster.now = next;
    cluster.renew_offers().hear();
    cluster.decide();
    assert_eq!(cluster.victims(), "1.0");
}

#[test]
fn no_more_are_stopped_within_a_minute_than_the_rate_allows() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority:preempt_rate=2"));
    cluster.agent("m", "cpus=4000");
    fill(&mut cluster, vec![soft(1, "q", 1, 4, "cpus=1000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 3, "cpus=1000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0 1.1");
    cluster.end_victims().pass();
    assert_eq!(cluster.running(3), 2);
    let next = cluster.engine.next_decision().unwrap();
    cluster.now = next.max(cluster.now + Span::from_secs(60));
    cluster.renew_offers().hear();
    cluster.decide();
    assert_eq!(cluster.victims(), "1.2");
}

#[test]
fn priorities_count_within_a_queue_where_queues_rank_and_in_one_line_among_all() {
    for (name, expected) in [("priority:preempt=priority", "1.0"), ("drf:preempt=priority", "2.0")] {
        let mut cluster = Cluster::new(policy(name));
        cluster.agent("m", "cpus=2000");
        fill(&mut cluster, vec![soft(1, "a", 0, 1, "cpus=1000"), soft(2, "b", 1, 1, "cpus=1000")]);
        cluster.add_job(PoolJob { priority: 10, ..job(3, "b", 1, "cpus=1000") });
        cluster.pass();
        assert_eq!(cluster.victims(), expected, "{name}");
    }
}

#[test]
fn a_queue_gets_back_what_is_guaranteed_to_it_and_no_more() {
    for name in ["drf:preempt=guarantee", "fifo:preempt=guarantee", "priority:preempt=both"] {
        let mut cluster = Cluster::new(policy(name));
        cluster.agent("m", "cpus=4000").guarantee("a", "cpus=2000", HoldBack::Never);
        cluster.hear();
        fill(&mut cluster, vec![soft(1, "b", 0, 4, "cpus=1000")]);
        cluster.add_job(soft(2, "a", 0, 4, "cpus=1000"));
        cluster.pass();
        assert_eq!(cluster.victims(), "1.0 1.1", "{name}: a is to have two");
        assert_eq!(cluster.asked[0].cause, PreemptCause::Guarantee);
        cluster.end_victims().pass();
        assert_eq!((cluster.running(1), cluster.running(2)), (2, 2), "{name}");
        for _ in 0..3 {
            second(&mut cluster);
            cluster.pass();
            assert_eq!(cluster.victims(), "", "{name}: and it stays so");
        }
    }
}

#[test]
fn no_queue_is_left_with_less_than_is_guaranteed_to_it() {
    let mut cluster = Cluster::new(policy("priority:preempt=both"));
    cluster.agent("m", "cpus=6000").guarantee("a", "cpus=4000", HoldBack::Never);
    cluster.guarantee("b", "cpus=2000", HoldBack::Never).hear();
    fill(&mut cluster, vec![soft(1, "a", 0, 2, "cpus=3000")]);
    cluster.add_job(soft(2, "b", 0, 1, "cpus=1000"));
    cluster.pass();
    assert_eq!(cluster.victims(), "", "without one of its tasks a would have 3 of 4");
    cluster.add_job(PoolJob { priority: 9, ..job(3, "c", 1, "cpus=1000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "", "whatever the priority");
    cluster.add_job(PoolJob { priority: 9, ..job(4, "a", 1, "cpus=3000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0", "for a task of its own it keeps as much");
}

#[test]
fn a_guarantee_is_taken_from_who_is_outside_of_the_queue_that_has_it() {
    let mut cluster = Cluster::new(policy("drf:preempt=guarantee"));
    cluster.agent("m", "cpus=4000").guarantee("r", "cpus=2000", HoldBack::Never);
    cluster.guarantee("r.v", "cpus=1000", HoldBack::Never).hear();
    fill(&mut cluster, vec![soft(1, "r.t", 0, 2, "cpus=1000"), soft(2, "s", 0, 2, "cpus=1000")]);
    cluster.add_job(soft(3, "r.v", 0, 2, "cpus=1000"));
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0", "r has all that is guaranteed to it: within it, v is to have one");
}

#[test]
fn who_only_rehearses_stops_nobody_and_holds_nothing() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000").agent("n", "cpus=2000");
    fill(&mut cluster, vec![soft(1, "q", 1, 2, "cpus=1000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=2000") });
    cluster.add_job(urgent_gang(4, "q", 2)).hear();
    for _ in 0..2 {
        second(&mut cluster);
        assert!(cluster.engine.rehearse(cluster.now).is_empty());
        for id in [3, 4] {
            assert!(cluster.engine.explain(JobId(id)).unwrap().room_made.is_empty(), "{id}");
        }
    }
}

#[test]
fn devices_are_made_free_by_name() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    let mut total = crate::support::items("gpus", &["0", "1"]);
    total.add(&crate::support::resources("cpus=4000")).unwrap();
    cluster.add_agent(crate::support::pool_agent("m", total, &[]));
    fill(
        &mut cluster,
        vec![soft(1, "q", 1, 1, "cpus=1000 gpus=1000"), soft(2, "q", 0, 2, "cpus=1000 gpus=500")],
    );
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000 gpus=1000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "2.0 2.1", "both halves of one device, which count less than the other");
    assert_eq!(cluster.end_victims().pass()[0].job, JobId(3));
}

#[test]
fn what_is_refused_is_given_up_and_tried_again_after_a_while_unless_it_is_not_allowed_at_all() {
    for (code, is_tried_again) in [(RefusalCode::TooManyPreempted, true), (RefusalCode::PreemptionOff, false)]
    {
        let mut cluster = Cluster::new(policy("priority:preempt=priority"));
        cluster.agent("m", "cpus=1000");
        fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000")]);
        cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000") });
        cluster.hear();
        cluster.decide();
        let asked = cluster.asked.remove(0);
        let (epoch, grant, message) = (EPOCH, asked.grant, "no".to_owned());
        cluster.items.push(FeedItem::Refused { epoch, grant, code, message });
        cluster.hear();
        cluster.decide();
        assert_eq!(cluster.victims(), "", "{code:?}");
        assert!(cluster.engine.explain(JobId(3)).unwrap().room_made.is_empty());
        cluster.now = cluster.now + Span::from_secs(5);
        cluster.renew_offers().hear();
        cluster.decide();
        assert_eq!(cluster.victims(), if is_tried_again { "1.0" } else { "" }, "{code:?}");
    }
}

#[test]
fn one_that_takes_over_knows_what_is_being_stopped_for_whom() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=2000");
    fill(&mut cluster, vec![soft(1, "q", 1, 2, "cpus=1000")]);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0");
    cluster.start_over();
    cluster.pass();
    assert_eq!(cluster.asked.len(), 1, "nobody else is stopped");
    cluster.add_job(PoolJob { priority: 20, ..job(4, "q", 1, "cpus=500") });
    let placed = cluster.end_victims().pass();
    assert_eq!(placed.iter().map(|placed| placed.job.0).collect::<Vec<_>>(), [3], "it is held for 3");
}

/// A job of a random case: its queue, its priority, its tasks, how many cpus each takes, and whether these may be stopped.
type Facts = (u8, i32, u32, u64, bool);

fn facts(queues: u8) -> impl Strategy<Value = Facts> {
    (0..queues, 0..4, 1..4_u32, 1..4_u64, proptest::bool::weighted(0.8))
}

fn read(id: u64, (of, priority, tasks, cpus, preemptible): Facts) -> PoolJob {
    let asks = format!("cpus={}", cpus * 1000);
    PoolJob { preemptible, ..soft(id, ["a", "b", "c"][usize::from(of)], priority, tasks, &asks) }
}

/// How many cpus a task of a job takes, in thousandths.
fn cpus(cluster: &Cluster, id: JobId) -> u64 {
    cluster.jobs[&id].facts.resources.get(&"cpus".parse().unwrap())
}

/// Goes through the preemptions that were asked for, in order: each makes just the room that it takes, at no guarantee's cost,
/// for a reason that the policy gives.
fn look_at_asked(
    cluster: &Cluster,
    guaranteed: &BTreeMap<&str, u64>,
    ranks: bool,
) -> Result<(), TestCaseError> {
    let amount = "cpus".parse().unwrap();
    let mut free: BTreeMap<_, u64> =
        cluster.agents.iter().map(|(id, agent)| (id.clone(), agent.free.total(&amount))).collect();
    let mut held: BTreeMap<String, u64> =
        guaranteed.keys().map(|queue| ((*queue).to_owned(), cluster.holding(queue).of(&amount))).collect();
    let mut looked_at = BTreeSet::new();
    for asked in &cluster.asked {
        let (ours, need) = (&cluster.jobs[&asked.job].facts, cpus(cluster, asked.job));
        let victims =
            || asked.victims.iter().flat_map(|victim| victim.run.tasks.indexes().map(|_| victim.run.job));
        let gained: u64 = victims().map(|job| cpus(cluster, job)).sum();
        let there = free[&asked.agent] + gained;
        prop_assert!(there >= need, "{:?}: only {} would be free", asked, there);
        // What the first leaves over on an agent may be for tasks of its job for which nobody has to be stopped.
        let is_first = looked_at.insert(&asked.agent);
        let before = held.clone();
        *held.get_mut(ours.queue.as_str()).unwrap() += need;
        for victim in victims() {
            let theirs = &cluster.jobs[&victim].facts;
            prop_assert!(theirs.preemptible, "{:?}: {} must not run twice", asked, victim);
            let is_needed = there - cpus(cluster, victim) < need;
            prop_assert!(is_needed || !is_first, "{:?}: {} need not be stopped", asked, victim);
            *held.get_mut(theirs.queue.as_str()).unwrap() -= cpus(cluster, victim);
            let is_reason = match asked.cause {
                PreemptCause::Priority => {
                    theirs.priority < ours.priority && (!ranks || theirs.queue == ours.queue)
                }
                PreemptCause::Guarantee => theirs.queue != ours.queue,
            };
            prop_assert!(is_reason, "{:?}: {} is no victim for this", asked, victim);
        }
        for (queue, least) in guaranteed {
            let (before, after) = (before[*queue], held[*queue]);
            prop_assert!(
                after >= before.min(*least),
                "{:?}: {} has {} then, of {}",
                asked,
                queue,
                after,
                least
            );
        }
        let is_within = held[ours.queue.as_str()] <= guaranteed[ours.queue.as_str()];
        prop_assert!(
            asked.cause != PreemptCause::Guarantee || is_within,
            "{:?} is beyond what is guaranteed",
            asked
        );
        *free.get_mut(&asked.agent).unwrap() = there - need;
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn each_preemption_makes_just_the_room_it_takes_and_leaves_guarantees_met(
        agents in proptest::collection::vec(1..7_u64, 1..4),
        guarantees in proptest::collection::vec(0..6_u64, 3),
        jobs in proptest::collection::vec(facts(3), 1..9),
        name in proptest::sample::select(vec![
            "priority:preempt=both", "priority:preempt=priority", "fifo:preempt=guarantee", "drf:preempt=both",
        ]),
    ) {
        let mut cluster = Cluster::new(policy(name));
        for (number, cpus) in agents.iter().enumerate() {
            cluster.agent(&format!("m{number}"), &format!("cpus={}", cpus * 1000));
        }
        let guaranteed: BTreeMap<&str, u64> =
            ["a", "b", "c"].into_iter().zip(guarantees.iter().map(|least| least * 1000)).collect();
        for (queue, least) in guaranteed.iter().filter(|(_, least)| **least > 0) {
            cluster.guarantee(queue, &format!("cpus={least}"), HoldBack::Never);
        }
        cluster.hear();
        for (id, facts) in (1..).zip(jobs) {
            cluster.add_job(read(id, facts)).pass();
            let mut rounds = 0;
            while !cluster.asked.is_empty() {
                look_at_asked(&cluster, &guaranteed, name.starts_with("drf"))?;
                cluster.end_victims().pass();
                rounds += 1;
                prop_assert!(rounds < 100, "{} does not come to an end", name);
            }
            second(&mut cluster);
        }
    }

    #[test]
    fn victims_are_those_of_the_plain_reference(
        agents in proptest::collection::vec(1..6_u64, 1..4),
        running in proptest::collection::vec(facts(1), 1..7),
        asks in (1..5, 1..6_u64),
    ) {
        let mut cluster = Cluster::new(policy("priority"));
        for (number, cpus) in agents.iter().enumerate() {
            cluster.agent(&format!("m{number}"), &format!("cpus={}", cpus * 1000));
        }
        for (id, facts) in (1..).zip(running) {
            cluster.add_job(read(id, facts)).pass();
            second(&mut cluster);
        }
        let left: Vec<(u64, TaskRange)> = cluster.jobs.iter()
            .flat_map(|(id, job)| job.pending.ranges().map(|tasks| (id.0, tasks)).collect::<Vec<_>>()).collect();
        left.into_iter().for_each(|(id, tasks)| _ = cluster.withdraw(id, tasks));
        let (priority, cpus) = asks;
        cluster.add_job(PoolJob { priority, ..job(90, "a", 1, &format!("cpus={}", cpus * 1000)) });
        cluster.hear();
        cluster.engine = allot_engine::Engine::new(crate::support::me(), policy("priority:preempt=priority"));
        cluster.wake();
        cluster.sync();
        let placed = cluster.pass();
        let expected = if placed.is_empty() { plain(&cluster, JobId(90)) } else { String::new() };
        prop_assert_eq!(cluster.victims(), expected);
    }

    #[test]
    fn preemption_comes_to_an_end_and_leaves_guarantees_met_and_nobody_above_stopped(
        cpus in 2..9_u64,
        guarantees in proptest::collection::vec(0..4_u64, 3),
        jobs in proptest::collection::vec(facts(3), 1..8),
        name in proptest::sample::select(vec![
            "priority:preempt=both", "fifo:preempt=guarantee", "drf:preempt=both", "drf:preempt=guarantee",
        ]),
    ) {
        let mut cluster = Cluster::new(policy(name));
        cluster.agent("m", &format!("cpus={}", cpus * 1000));
        for (queue, least) in ["a", "b", "c"].iter().zip(&guarantees).filter(|(_, least)| **least > 0) {
            cluster.guarantee(queue, &format!("cpus={}", least * 1000), HoldBack::Never);
        }
        cluster.hear();
        let mut stopped = 0;
        for (id, (of, priority, tasks, _, _)) in (1..).zip(jobs.iter().copied()) {
            // All alike in size, so that what is guaranteed can always be given.
            cluster.add_job(read(id, (of, priority, tasks, 1, true)));
            let began = stopped;
            loop {
                // What is granted is known to have its place before others are stopped.
                while !cluster.pass().is_empty() && cluster.asked.is_empty() {}
                if cluster.asked.is_empty() {
                    break;
                }
                for asked in cluster.asked.clone() {
                    let ours = cluster.jobs[&asked.job].facts.priority;
                    for victim in &asked.victims {
                        let theirs = cluster.jobs[&victim.run.job].facts.priority;
                        prop_assert!(asked.cause == PreemptCause::Guarantee || theirs < ours);
                    }
                    stopped += asked.tasks();
                }
                let met = |cluster: &Cluster| -> Vec<u64> {
                    let of = ["a", "b", "c"].iter().zip(&guarantees);
                    of.map(|(queue, least)| cluster.holding(queue).tasks.min(*least)).collect()
                };
                let before = met(&cluster);
                cluster.end_victims().pass();
                prop_assert!(met(&cluster).iter().zip(&before).all(|(after, before)| after >= before));
                second(&mut cluster);
                prop_assert!(stopped - began <= cpus * 16, "{} stopped {} tasks for one job", name, stopped - began);
            }
        }
        if guarantees.iter().sum::<u64>() <= cpus {
            for (queue, least) in ["a", "b", "c"].iter().zip(&guarantees) {
                let of = cluster.jobs.values().filter(|job| job.facts.queue.as_str() == *queue);
                let wanted: u64 = of.map(|job| job.pending.count()).sum();
                let held = cluster.holding(queue).tasks;
                prop_assert!(held >= (*least).min(held + wanted), "{}: {} has {} of {}", name, queue, held, least);
            }
        }
    }
}
