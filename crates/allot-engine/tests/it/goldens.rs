//! Worked examples from the papers, bit for bit.

use std::collections::BTreeMap;

use crate::support::{Cluster, job, policy};
use allot_engine::Policy;
use allot_model::{PoolJob, Span, TaskRange, Time};

/// The pool and demands of [Ghodsi et al., NSDI 2011, §4.1]: A's tasks need 1 cpu and 4 GB, B's 3 cpus and 1 GB.
fn nsdi(policy: Policy) -> Cluster {
    let mut cluster = Cluster::new(policy);
    cluster.agent("m1", "cpus=9 mem=18").job(1, "A", 100, "cpus=1 mem=4").job(2, "B", 100, "cpus=3 mem=1");
    cluster
}

fn check(mut cluster: Cluster, grants: &str, tasks: (u64, u64), used: (u64, u64)) {
    assert_eq!(cluster.pass_as_queues(), grants);
    assert_eq!((cluster.running(1), cluster.running(2)), tasks);
    assert_eq!((cluster.used("cpus"), cluster.used("mem")), used);
    assert_eq!(cluster.pass(), [], "nothing more fits");
}

#[test]
fn g1_drf_grants_as_in_the_paper() {
    check(nsdi(policy("drf")), "ABABA", (3, 2), (9, 14));
}

#[test]
fn g2_weights_tilt_drf() {
    let mut cluster = nsdi(policy("drf"));
    cluster.weight("A", 2);
    check(cluster, "ABAAA", (4, 1), (7, 17));
}

#[test]
fn g2_fair_looks_at_cpus_alone() {
    check(nsdi(policy("fair")), "ABAAA", (4, 1), (7, 17));
}

#[test]
fn fifo_serves_the_job_that_came_first_and_skips_what_does_not_fit() {
    check(nsdi(policy("fifo")), "AAAAB", (4, 1), (7, 17));
}

#[test]
fn g2_asset_fairness_looks_at_the_sum_of_shares() {
    check(nsdi(policy("asset")), "ABABA", (3, 2), (9, 14));
}

#[test]
fn g2_priority_of_one_queues_jobs_over_the_others() {
    let with = |a, b| {
        let mut cluster = Cluster::new(policy("priority"));
        cluster.agent("m1", "cpus=9 mem=18");
        cluster.add_job(PoolJob { priority: a, ..job(1, "A", 100, "cpus=1 mem=4") });
        cluster.add_job(PoolJob { priority: b, ..job(2, "B", 100, "cpus=3 mem=1") });
        cluster
    };
    check(with(1, 0), "AAAAB", (4, 1), (7, 17));
    check(with(0, 1), "BBB", (0, 3), (9, 3));
}

/// Runs one queue a demand, all of one resource, in tasks of one unit; returns what each gets.
fn max_min(name: &str, capacity: u64, demands: &[(u32, u32)]) -> Vec<u64> {
    let mut cluster = Cluster::new(policy(name));
    cluster.agent("m1", &format!("cpus={capacity}"));
    for (place, (demand, weight)) in (1_u64..).zip(demands) {
        cluster.job(place, &format!("q{place}"), *demand, "cpus=1").weight(&format!("q{place}"), *weight);
    }
    cluster.pass();
    (1_u64..).zip(demands).map(|(place, _)| cluster.running(place)).collect()
}

#[test]
fn g3_max_min_on_one_resource() {
    for name in ["fair", "drf"] {
        let demands = [(20, 1), (26, 1), (40, 1), (50, 1)];
        assert_eq!(max_min(name, 100, &demands), [20, 26, 27, 27], "{name}");
        let weighted = [(40, 25), (20, 40), (100, 5), (40, 10)];
        assert_eq!(max_min(name, 160, &weighted), [40, 20, 60, 40], "{name}");
    }
}

#[test]
fn g4_drf_equalises_dominant_shares_not_sums() {
    let run = |name: &str, capacity: u64, divide: u64, a: (u64, u64), b: (u64, u64)| {
        let mut cluster = Cluster::new(policy(name));
        cluster.agent("m1", &format!("cpus={} mem={}", capacity * divide, capacity * divide));
        cluster.job(1, "A", 10_000, &format!("cpus={} mem={}", a.0, a.1));
        cluster.job(2, "B", 10_000, &format!("cpus={} mem={}", b.0, b.1));
        cluster.pass();
        (cluster.running(1), cluster.running(2))
    };
    assert_eq!(run("drf", 30, 1, (1, 3), (1, 1)), (5, 15));
    assert_eq!(run("asset", 30, 1, (1, 3), (1, 1)), (6, 12));
    assert_eq!(run("drf", 21, 8, (3, 2), (4, 1)), (28, 21), "tasks an eighth as large: 7/2 and 21/8");
}

/// J1 to J5 of the backfill example: processors and run time, all submitted at 0.
const JOBS: [(u64, u64); 5] = [(4, 11), (8, 8), (4, 3), (6, 3), (2, 9)];

/// When each of the five jobs starts on ten processors.
fn starts(name: &str) -> Vec<u64> {
    let mut cluster = Cluster::new(policy(name));
    cluster.agent("m1", "cpus=10");
    for (id, (cpus, run)) in (1..).zip(JOBS) {
        let estimate = Some(Span::from_secs(run));
        cluster.add_job(PoolJob { estimate, ..job(id, "q", 1, &format!("cpus={cpus}")) });
    }
    let mut started: BTreeMap<u64, u64> = BTreeMap::new();
    for second in 0..60 {
        cluster.now = Time::ZERO + Span::from_secs(second);
        for (id, (_, run)) in (1..).zip(JOBS) {
            if started.get(&id).is_some_and(|start| start + run == second) {
                cluster.end_oldest(id);
            }
        }
        cluster.renew_offers();
        started.extend(cluster.pass().iter().map(|placed| (placed.job.0, second)));
    }
    started.into_values().collect()
}

#[test]
fn b_fifo_blocks_or_skips_what_does_not_fit() {
    assert_eq!(starts("fifo:backfill=none"), [0, 11, 19, 19, 22]);
    assert_eq!(starts("fifo"), [0, 12, 0, 9, 0]);
}

#[test]
fn b_the_shortest_first_blocks_what_is_longer() {
    assert_eq!(starts("shortest:backfill=none"), [11, 3, 0, 0, 3]);
    assert_eq!(starts("drf:order=shortest,backfill=none"), [11, 3, 0, 0, 3]);
}

/// Two queues side by side, and one with parts that weigh 1, 2 and 2.
fn slots(last_wants: u32) -> Vec<u64> {
    let mut cluster = Cluster::new(policy("hdrf"));
    cluster.agent("m", "cpus=480").job(1, "n1", 480, "cpus=1");
    for (id, name, weight, tasks) in [(2, "n2.1", 1, 480), (3, "n2.2", 2, 480), (4, "n2.3", 2, last_wants)] {
        cluster.job(id, name, tasks.max(1), "cpus=1").weight(name, weight);
    }
    if last_wants == 0 {
        cluster.withdraw(4, TaskRange::one(0));
    }
    cluster.pass();
    (1..=4).map(|id| cluster.running(id)).collect()
}

#[test]
fn h1_weights_count_at_every_level_and_what_one_leaves_stays_in_its_part() {
    assert_eq!(slots(480), [240, 48, 96, 96]);
    assert_eq!(slots(0), [240, 80, 160, 0]);
}

#[test]
fn h2_side_by_side_it_is_plain_drf() {
    for name in ["drf", "hdrf"] {
        let mut cluster = Cluster::new(policy(name));
        cluster.agent("m", "cpus=100 mem=100").job(1, "n1", 90, "cpus=3 mem=2").job(
            2,
            "n2",
            90,
            "cpus=2 mem=3",
        );
        cluster.pass();
        assert_eq!((cluster.running(1), cluster.running(2)), (20, 20), "{name}");
    }
}

/// Ten of each: n1 wants cpus, and so does one part of n2; another wants gpus.
fn starved(name: &str) -> Cluster {
    let mut cluster = Cluster::new(policy(name));
    cluster.agent("m", "cpus=10 gpus=10").job(1, "n1.1", 9_000, "cpus=1");
    cluster.job(2, "n2.1", 9_000, "cpus=1").job(3, "n2.2", 9_000, "gpus=1");
    cluster.pass();
    cluster
}

#[test]
fn h3_nobody_is_starved_for_what_another_part_of_the_same_queue_holds() {
    let count = |cluster: &Cluster| [1, 2, 3].map(|id| cluster.running(id));
    let run = |name: &str, ends: &[u64]| {
        let mut cluster = starved(name);
        for id in ends.iter().cycle().take(60) {
            if cluster.running(*id) > 0 {
                cluster.end_one(*id);
            }
            cluster.pass();
        }
        count(&cluster)
    };
    assert_eq!(count(&starved("hdrf")), [5, 5, 10]);
    for ends in [&[1][..], &[2], &[3], &[1, 2, 3], &[3, 2, 1], &[2, 2, 1, 3, 3]] {
        assert_eq!(run("hdrf", ends), [5, 5, 10], "{ends:?}");
    }
    assert_eq!(run("drf", &[2]), [10, 0, 10], "the naive sum drifts there");
}

#[test]
fn h3_holds_when_several_tasks_end_at_once() {
    let mut cluster = starved("hdrf");
    for round in 1..40_u64 {
        for id in [1, 2, 3] {
            for _ in 0..(round * id * 7 + round / 3) % 4 {
                cluster.end_one(id);
            }
        }
        cluster.pass();
        assert_eq!([1, 2, 3].map(|id| cluster.running(id)), [5, 5, 10], "round {round}");
    }
}

#[test]
fn h4_a_queue_that_wants_both_is_beside_one_whose_parts_want_one_each() {
    let mut cluster = Cluster::new(policy("hdrf"));
    cluster.agent("m", "cpus=10 gpus=10").job(1, "n1", 90, "cpus=1 gpus=1");
    cluster.job(2, "n2.1", 90, "cpus=1").job(3, "n2.2", 90, "gpus=1");
    cluster.pass();
    assert_eq!([1, 2, 3].map(|id| cluster.running(id)), [5, 5, 5]);
}

#[test]
fn s_with_ageing_a_job_counts_as_more_urgent_with_each_whole_step() {
    let mut cluster = Cluster::new(policy("priority:ageing=60s"));
    let at = |second| Time::ZERO + Span::from_secs(second);
    let add = |cluster: &mut Cluster, id, second, priority| {
        let submitted_at = at(second);
        cluster.add_job(PoolJob { priority, submitted_at, ..job(id, "q", 1, "cpus=1") });
    };
    add(&mut cluster, 1, 0, 5);
    cluster.now = at(149);
    assert_eq!(cluster.pass(), [], "no agent, and A alone");
    cluster.now = at(150);
    add(&mut cluster, 2, 150, 7);
    let first = |cluster: &Cluster, second: u64| {
        let mut cluster =
            Cluster { engine: cluster.engine.clone(), jobs: cluster.jobs.clone(), ..cluster_at(cluster) };
        cluster.now = at(second);
        cluster.agent("m", "cpus=1");
        cluster.pass()[0].job.0
    };
    cluster.flush();
    assert_eq!(first(&cluster, 151), 1, "7 and 7, and A was submitted first");
    assert_eq!(first(&cluster, 180), 1, "8 and 7");
    add(&mut cluster, 3, 120, 8);
    cluster.flush();
    assert_eq!(first(&cluster, 179), 3, "8 against 7");
    assert_eq!(first(&cluster, 180), 3, "9 against 8: a step each, at the same moment");
    assert_eq!(first(&cluster, 359), 3, "11 against 10");
}

/// A cluster that goes on where this one is, with no past of its own.
fn cluster_at(other: &Cluster) -> Cluster {
    let mut cluster = Cluster::new(other.engine.policy().clone());
    (cluster.now, cluster.sequence) = (other.now, other.sequence);
    cluster
}

/// One server and jobs that arrive and run for so long: how long each waits.
fn waits(name: &str, jobs: &[(u64, u64, u64)]) -> Vec<u64> {
    let mut cluster = Cluster::new(policy(name));
    cluster.agent("m", "cpus=1");
    let at = |second| Time::ZERO + Span::from_secs(second);
    let mut started: BTreeMap<u64, u64> = BTreeMap::new();
    for second in 0..60 {
        cluster.now = at(second);
        for (id, (arrives, run, due)) in (1..).zip(jobs) {
            if started.get(&id).is_some_and(|start| start + run == second) {
                cluster.end_oldest(id);
            }
            if *arrives == second {
                let (estimate, deadline) = (Some(Span::from_secs(*run)), Some(at(*due)));
                cluster.add_job(PoolJob {
                    estimate,
                    deadline,
                    submitted_at: at(second),
                    ..job(id, "q", 1, "cpus=1")
                });
            }
        }
        cluster.renew_offers();
        started.extend(cluster.pass().iter().map(|placed| (placed.job.0, second)));
    }
    jobs.iter().zip(started.values()).map(|((arrives, ..), start)| start - arrives).collect()
}

#[test]
fn s_the_shortest_goes_first() {
    let jobs = [(0, 8, 99), (1, 4, 99), (2, 9, 99), (3, 5, 99)];
    assert_eq!(waits("shortest", &jobs), [0, 7, 15, 9]);
    assert_eq!(waits("fifo", &jobs), [0, 7, 10, 18]);
}

#[test]
fn s_the_earliest_deadline_goes_first() {
    let jobs = [(0, 4, 99), (1, 4, 30), (2, 4, 20), (3, 4, 40), (4, 4, 10)];
    assert_eq!(waits("deadline", &jobs), [0, 11, 6, 13, 0]);
    assert_eq!(waits("drf:order=deadline", &jobs), [0, 11, 6, 13, 0]);
}
