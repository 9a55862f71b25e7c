//! Where tasks go: worked examples, and laws that are those of placements alone.

use std::collections::BTreeMap;

use allot_engine::{Placement, Policy};
use allot_model::{Amount, FeedItem, RefusalCode, Resources};
use proptest::prelude::*;

use crate::laws::{Event, apply};
use crate::support::reference::place_all;
use crate::support::{Cluster, Random, items, policy, pool_agent, resources};

fn cluster(placement: Placement) -> Cluster {
    Cluster::new(Policy { placement, ..policy("fifo") })
}

/// The agents that get the tasks of the next pass, in order.
fn agents_of(cluster: &mut Cluster) -> Vec<String> {
    cluster.pass().iter().map(|placed| placed.agent.to_string()).collect()
}

/// Submits one task after the other, each with a pass of its own.
fn each_alone(cluster: &mut Cluster, asks: &[&str]) -> Vec<String> {
    let mut agents = Vec::new();
    for asks in asks {
        let id = cluster.jobs.len() as u64 + 1;
        agents.extend(agents_of(cluster.job(id, "q", 1, asks)));
    }
    agents
}

/// `cpus=8 gpus=1000,250`: a device of each so much.
fn with_gpus(text: &str) -> Resources {
    let (plain, devices) = text.split_once(" gpus=").unwrap_or((text, ""));
    let mut all = resources(plain);
    let devices = devices.split(',').filter(|left| !left.is_empty());
    let left = (0..).zip(devices).map(|(id, left): (u32, _)| (id.to_string(), left.parse().unwrap()));
    all.set("gpus".parse().unwrap(), Amount::Items(left.collect()));
    all
}

/// An agent that has more than is free there.
fn used(cluster: &mut Cluster, name: &str, total: &str, free: &str) {
    cluster.add_agent(pool_agent(name, with_gpus(total), &[]));
    cluster.agents.get_mut(&name.parse().unwrap()).unwrap().free = with_gpus(free);
    cluster.renew_offers();
}

#[test]
fn p_first_best_and_worst_fit_differ_in_what_they_leave_over() {
    let cases = [
        (Placement::FirstFit, ["1", "2"]),
        (Placement::BestFit, ["1", "3"]),
        (Placement::WorstFit, ["2", "3"]),
    ];
    for (placement, agents) in cases {
        for together in [true, false] {
            let mut cluster = cluster(placement);
            cluster.agent("1", "cpus=4").agent("2", "cpus=8").agent("3", "cpus=6");
            let got = if together {
                agents_of(cluster.job(1, "q", 1, "cpus=4").job(2, "q", 1, "cpus=5"))
            } else {
                each_alone(&mut cluster, &["cpus=4", "cpus=5"])
            };
            assert_eq!(got, agents, "{placement}");
        }
    }
}

#[test]
fn p_alignment_takes_the_agent_whose_free_resources_lie_in_the_direction_of_the_task() {
    let mut cluster = cluster(Placement::Alignment);
    used(&mut cluster, "M1", "cpus=16 mem=64", "cpus=8 mem=16");
    used(&mut cluster, "M2", "cpus=16 mem=64", "cpus=4 mem=48");
    assert_eq!(each_alone(&mut cluster, &["cpus=2 mem=16"]), ["M2"], "0.21875 is more than 0.125");
}

#[test]
fn tasks_of_an_array_are_spread_by_worst_fit_and_kept_together_by_best_fit() {
    for (placement, agents) in [(Placement::WorstFit, "babcabcab"), (Placement::BestFit, "aaaaccccb")] {
        let mut cluster = cluster(placement);
        cluster.agent("a", "cpus=4").agent("b", "cpus=5").agent("c", "cpus=4").job(1, "q", 9, "cpus=1");
        assert_eq!(agents_of(&mut cluster).concat(), agents, "{placement}");
    }
}

#[test]
fn the_placements_of_the_study_look_at_cpus_and_gpus_alone() {
    // Memory would have best fit take the other, and so would the dot product.
    let mut best = cluster(Placement::GpuBestFit);
    best.agent("a", "cpus=8 gpus=2000 mem=900").agent("b", "cpus=9 gpus=2000 mem=1");
    assert_eq!(each_alone(&mut best, &["cpus=1 gpus=1000 mem=1"]), ["a"]);
    // Of 10 cpus and 4 gpus at most: a: 8/10 * 1/10 + 2/4 * 2/4 = 0.33, b: 10/10 * 1/10 + 1/4 * ... has no room,
    // c: 4/10 * 1/10 + 4/4 * 2/4 = 0.54.
    let mut dot = cluster(Placement::DotProduct);
    dot.agent("a", "cpus=8 gpus=2000").agent("b", "cpus=10 gpus=1000").agent("c", "cpus=4 gpus=4000");
    assert_eq!(each_alone(&mut dot, &["cpus=1 gpus=2000"]), ["a"]);
    // Without gpus it is the agent with the fewest cpus.
    assert_eq!(each_alone(&mut dot, &["cpus=1"]), ["c"]);
}

#[test]
fn packing_prefers_shared_devices_then_used_agents_then_small_idle_ones() {
    let mut cluster = cluster(Placement::Packing);
    used(&mut cluster, "idle-4", "cpus=9 gpus=1000,1000,1000,1000", "cpus=9 gpus=1000,1000,1000,1000");
    used(&mut cluster, "idle-2", "cpus=9 gpus=1000,1000", "cpus=9 gpus=1000,1000");
    used(&mut cluster, "half", "cpus=9 gpus=1000,1000,1000", "cpus=9 gpus=1000,1000,500");
    used(&mut cluster, "third", "cpus=9 gpus=1000,1000,1000", "cpus=9 gpus=1000,1000,300");
    let asks = ["gpus=200", "gpus=200", "gpus=700", "gpus=2000", "gpus=2000", "gpus=2000", "cpus=1"];
    let got = each_alone(&mut cluster, &asks);
    assert_eq!(got, ["third", "half", "half", "third", "idle-2", "idle-4", "half"]);
}

#[test]
fn clustering_brings_tasks_with_as_many_gpus_together() {
    let mut cluster = cluster(Placement::Clustering);
    for agent in ["a", "b", "c"] {
        cluster.add_agent(pool_agent(agent, with_gpus("cpus=9 gpus=1000,1000,1000,1000"), &[]));
    }
    let asks = ["gpus=200", "gpus=1000", "gpus=300", "gpus=1000", "gpus=2000", "gpus=1000", "gpus=1000"];
    assert_eq!(each_alone(&mut cluster, &asks), ["a", "b", "a", "b", "c", "b", "b"]);
    // b is full, and the others have other tasks: the one with the fewest gpus free, then the one with room.
    assert_eq!(each_alone(&mut cluster, &["gpus=1000", "gpus=2000"]), ["c", "a"]);
    assert_eq!(each_alone(&mut cluster, &["gpus=200"]), ["a"], "shares are there beside others");
    // What has ended does not count.
    [1, 3, 8, 9, 10].into_iter().for_each(|job| {
        cluster.end_oldest(job);
    });
    assert_eq!(each_alone(&mut cluster, &["gpus=1000"]), ["a"], "nobody is there, and on c others are");
}

#[test]
fn clustering_forgets_tasks_whose_grant_was_refused_and_knows_those_that_others_placed() {
    let mut cluster = cluster(Placement::Clustering);
    for agent in ["a", "b", "c"] {
        cluster.add_agent(pool_agent(agent, with_gpus("cpus=9 gpus=1000,1000"), &[]));
    }
    cluster.job(1, "q", 1, "gpus=1000").flush();
    let grant = cluster.decide().remove(0);
    assert_eq!(grant.placements[0].agent.as_str(), "a");
    let (epoch, grant, code) = (grant.epoch, grant.grant, RefusalCode::DoesNotFit);
    cluster.items.push(FeedItem::Refused { epoch, grant, code, message: String::new() });
    assert_eq!(each_alone(&mut cluster, &["gpus=200"]), ["a"], "nobody is there");
    cluster.withdraw(1, allot_model::TaskRange::one(0)).pass();
    cluster.start_over();
    assert_eq!(each_alone(&mut cluster, &["gpus=2000", "gpus=200", "gpus=1000"]), ["b", "a", "c"]);
}

#[test]
fn fgd_leaves_over_what_tasks_like_those_submitted_can_use() {
    let run = |others: &str| {
        let mut cluster = cluster(Placement::Fgd);
        used(&mut cluster, "a", "cpus=9 gpus=1000,1000", "cpus=9 gpus=1000,1000");
        used(&mut cluster, "b", "cpus=9 gpus=1000,1000", "cpus=9 gpus=600");
        // Their job has not ended, so they count, but none waits for a place.
        cluster.job(1, "q", 9, others).withdraw(1, allot_model::TaskRange { first: 0, last: 8 });
        cluster.pass();
        each_alone(&mut cluster, &["cpus=1 gpus=500"])
    };
    assert_eq!(run("gpus=1000"), ["b"], "what is left there is a fragment to them already");
    assert_eq!(run("gpus=500"), ["a"], "on b a tenth would be left, which nobody can use");
    assert_eq!(run("cpus=9 gpus=500"), ["b"], "on a, where they fit, they would not any more");
    assert_eq!(
        run("cpus=99 gpus=500"),
        ["a"],
        "all is a fragment to them everywhere; b has nothing for one like it"
    );
}

#[test]
fn the_same_seed_draws_the_same_agents_and_each_as_often() {
    let draw = |seed: u64| {
        let mut cluster = cluster(Placement::Random { seed });
        for agent in 0..10 {
            let cpus = if agent == 3 { 1 } else { 1_000_000 };
            cluster.agent(&format!("agent-{agent}"), &format!("cpus={cpus}"));
        }
        agents_of(cluster.job(1, "q", 9_000, "cpus=2"))
    };
    let drawn = draw(7);
    assert_eq!(drawn, draw(7));
    assert_ne!(drawn, draw(8));
    let mut counts: BTreeMap<&String, u64> = BTreeMap::new();
    drawn.iter().for_each(|agent| *counts.entry(agent).or_insert(0) += 1);
    assert!(counts.len() == 9 && counts.values().all(|count| (880..1_120).contains(count)), "{counts:?}");
}

#[test]
fn a_device_is_shared_before_another_is_begun_and_whole_ones_are_empty() {
    let mut cluster = cluster(Placement::BestFit);
    cluster.add_agent(pool_agent("m", items("gpus", &["0", "1", "2"]), &[]));
    let mut given = |asks: &str| {
        let id = cluster.jobs.len() as u64 + 1;
        cluster.job(id, "q", 1, asks).pass();
        cluster.jobs.values().last().and_then(|job| job.running.first()).map(|run| run.2.to_string())
    };
    let expected = [
        ("gpus=300", Some("gpus {0:0.3}")),
        ("gpus=800", Some("gpus {1:0.8}")),
        ("gpus=200", Some("gpus {1:0.2}")),
        ("gpus=700", Some("gpus {0:0.7}")),
        ("gpus=2000", None),
        ("gpus=1000", Some("gpus {2}")),
        ("gpus=1", None),
    ];
    for (asks, gpus) in expected {
        assert_eq!(given(asks).as_deref(), gpus, "{asks}");
    }
}

/// A cluster large enough that contests are caught up with rather than begun anew, and searches are long.
fn large(placement: Placement, seed: u64) -> (Cluster, Random) {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::new(Policy { placement, ..policy("drf") });
    for agent in 0..48 {
        let (cpus, mem) = (4 + random.below(12), 4 + random.below(12));
        let mut total = resources(&format!("cpus={cpus} mem={mem}"));
        let ids: Vec<String> = (0..random.below(4)).map(|id| id.to_string()).collect();
        total.add(&items("gpus", &ids.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        let zone = if random.below(3) == 0 { "a" } else { "b" };
        cluster.add_agent(pool_agent(&format!("agent-{agent}"), total, &[("zone", zone)]));
    }
    (cluster, random)
}

fn some_job(random: &mut Random) -> Event {
    let gpus = [0, 300, 500, 700, 1_000, 2_000][usize::try_from(random.below(6)).unwrap()];
    Event::Job {
        queue: usize::try_from(random.below(3)).unwrap(),
        tasks: u32::try_from(1 + random.below(12)).unwrap(),
        cpus: 1 + random.below(3),
        mem: random.below(4),
        gpus,
        estimate: 0,
        priority: 0,
        zone: u8::try_from(random.below(6)).unwrap(),
        submitted: random.below(4),
    }
}

#[test]
fn every_placement_decides_as_the_plain_reference_on_larger_clusters() {
    for (seed, placement) in (1..).zip(Placement::ALL) {
        let (mut cluster, mut random) = large(placement, seed);
        for round in 0..6 {
            (0..10).for_each(|_| apply(&mut cluster, &some_job(&mut random)));
            for _ in 0..15 * round {
                apply(&mut cluster, &Event::Ends { place: usize::try_from(random.below(1_000)).unwrap() });
            }
            if round == 4 {
                apply(&mut cluster, &Event::AgentLeaves { place: 7 });
            }
            let expected = place_all(cluster.engine.policy(), &cluster);
            assert_eq!(cluster.pass(), expected, "{placement}, round {round}");
        }
    }
}

proptest! {
    #![proptest_config(crate::support::cases(60))]

    #[test]
    fn c_where_tasks_go_does_not_depend_on_the_order_of_input(
        placement in proptest::sample::select(&Placement::ALL[..]),
        seed in 1_u64..1_000_000,
        order in any::<u64>(),
    ) {
        let run = |order: Option<u64>| {
            let (mut cluster, mut random) = large(placement, seed);
            (0..12).for_each(|_| apply(&mut cluster, &some_job(&mut random)));
            order.into_iter().for_each(|order| cluster.retell(order));
            cluster.pass()
        };
        prop_assert_eq!(run(None), run(Some(order)));
    }
}
