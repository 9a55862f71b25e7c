//! Worked examples from the papers, bit for bit.

use std::collections::BTreeMap;

use crate::support::{Cluster, job, policy};
use allot_engine::{Backfill, Placement, Policy};
use allot_model::{Span, TaskRange, Time};

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
fn g2_priority_of_one_queues_jobs_over_the_others() {
    let with = |a, b| {
        let mut cluster = Cluster::new(policy("priority"));
        cluster.agent("m1", "cpus=9 mem=18");
        cluster.add_job(allot_model::PoolJob { priority: a, ..job(1, "A", 100, "cpus=1 mem=4") });
        cluster.add_job(allot_model::PoolJob { priority: b, ..job(2, "B", 100, "cpus=3 mem=1") });
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
    let run = |capacity: u64, divide: u64, a: (u64, u64), b: (u64, u64)| {
        let mut cluster = Cluster::new(policy("drf"));
        cluster.agent("m1", &format!("cpus={} mem={}", capacity * divide, capacity * divide));
        cluster.job(1, "A", 10_000, &format!("cpus={} mem={}", a.0, a.1));
        cluster.job(2, "B", 10_000, &format!("cpus={} mem={}", b.0, b.1));
        cluster.pass();
        (cluster.running(1), cluster.running(2))
    };
    assert_eq!(run(30, 1, (1, 3), (1, 1)), (5, 15));
    assert_eq!(run(21, 8, (3, 2), (4, 1)), (28, 21), "tasks an eighth as large: 7/2 and 21/8");
}

/// J1 to J5 of the backfill example: processors and run time, all submitted at 0.
const JOBS: [(u64, u64); 5] = [(4, 11), (8, 8), (4, 3), (6, 3), (2, 9)];

/// When each of the five jobs starts on ten processors.
fn starts(backfill: Backfill) -> Vec<u64> {
    let mut cluster = Cluster::new(Policy { backfill, ..policy("fifo") });
    cluster.agent("m1", "cpus=10");
    for (id, (cpus, _)) in (1..).zip(JOBS) {
        cluster.job(id, "q", 1, &format!("cpus={cpus}"));
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
    assert_eq!(starts(Backfill::None), [0, 11, 19, 19, 22]);
    assert_eq!(starts(Backfill::Skip), [0, 12, 0, 9, 0]);
}

#[test]
fn p_first_fit_goes_by_name_and_best_fit_by_what_is_left() {
    for (placement, agents) in [(Placement::FirstFit, ["1", "2"]), (Placement::BestFit, ["1", "3"])] {
        let mut cluster = Cluster::new(Policy { placement, ..policy("fifo") });
        cluster.agent("1", "cpus=4").agent("2", "cpus=8").agent("3", "cpus=6");
        cluster.job(1, "q", 1, "cpus=4").job(2, "q", 1, "cpus=5");
        let placed: Vec<String> = cluster.pass().iter().map(|placed| placed.agent.to_string()).collect();
        assert_eq!(placed, agents, "{placement}");
    }
}

/// The order of queues whose jobs hold this much and want more than there is.
struct Sorter(Cluster);

impl Sorter {
    fn new(total: &str) -> Self {
        let mut cluster = Cluster::new(policy("drf"));
        cluster.agent("pool", total);
        Self(cluster)
    }

    fn id(name: &str) -> u64 {
        u64::from(name.as_bytes()[0])
    }

    /// A queue that holds this and has one more task waiting, too large for any agent.
    fn add(&mut self, name: &str, holds: &str) -> &mut Self {
        self.0.job(Self::id(name), name, 2, "cpus=1000000000").hold(Self::id(name), 0, holds);
        self
    }

    fn order(&mut self) -> String {
        self.0.flush();
        let queues = self.0.engine.queue_order();
        queues.into_iter().flatten().map(|queue| queue.to_string()).collect()
    }
}

#[test]
fn f1_to_f5_queues_are_ordered_by_dominant_share() {
    let mut sorter = Sorter::new("cpus=100 mem=100");
    assert_eq!(sorter.add("a", "cpus=5 mem=5").add("b", "cpus=6 mem=6").order(), "ab");
    assert_eq!(sorter.add("c", "cpus=1 mem=1").add("d", "cpus=3 mem=1").order(), "cdab");
    sorter.0.end_oldest(Sorter::id("a")).forget_job(Sorter::id("a"));
    sorter.0.end_oldest(Sorter::id("b")).hold(Sorter::id("b"), 0, "cpus=2 mem=2");
    assert_eq!(sorter.order(), "cbd");
    sorter.0.agent("pool", "cpus=50 mem=100");
    assert_eq!(sorter.add("e", "cpus=1 mem=5").order(), "cbed");
    sorter.0.agent("pool", "cpus=50 mem=200").end_oldest(Sorter::id("c")).hold(
        Sorter::id("c"),
        0,
        "cpus=1 mem=16",
    );
    assert_eq!(sorter.add("f", "cpus=5 mem=1").order(), "ebdcf");
    sorter.0.withdraw(Sorter::id("d"), TaskRange::one(1));
    assert_eq!(sorter.order(), "ebcf", "a queue with nothing to place is not in line");
    sorter.0.pending(Sorter::id("d"), TaskRange::one(1));
    assert_eq!(sorter.order(), "ebdcf");
}

#[test]
fn f6_weights_divide_shares() {
    let mut sorter = Sorter::new("cpus=100 mem=100");
    sorter.add("a", "cpus=5 mem=5").add("b", "cpus=6 mem=6").0.weight("b", 2);
    assert_eq!(sorter.order(), "ba");
    assert_eq!(sorter.add("c", "cpus=4 mem=4").order(), "bca");
}

#[test]
fn a1_agents_go_to_the_queue_with_the_least() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("s1", "cpus=2 mem=1024").job(1, "r1", 1, "cpus=2 mem=1024");
    assert_eq!(cluster.pass_as_queues(), "r1");
    cluster.job(2, "r2", 1, "cpus=1 mem=512").agent("s2", "cpus=1 mem=512");
    assert_eq!(cluster.pass_as_queues(), "r2");
    cluster
        .job(3, "r1", 1, "cpus=3 mem=2048")
        .job(4, "r2", 1, "cpus=3 mem=2048")
        .agent("s3", "cpus=3 mem=2048");
    assert_eq!(cluster.pass_as_queues(), "r2", "r2 has 0.16 of the pool, r1 0.33");
}

#[test]
fn a31_whole_agents_are_shared_by_weight() {
    for (weights, expected) in [(&[1, 1][..], &[3, 3][..]), (&[1, 2], &[2, 4]), (&[1, 2, 3], &[1, 2, 3])] {
        let mut cluster = Cluster::new(policy("drf"));
        for (place, weight) in (1_u64..).zip(weights) {
            cluster
                .job(place, &format!("q{place}"), 10, "cpus=2 mem=1024")
                .weight(&format!("q{place}"), *weight);
        }
        for agent in 1..=6 {
            cluster.agent(&format!("s{agent}"), "cpus=2 mem=1024");
        }
        cluster.pass();
        let got: Vec<u64> = (1_u64..).zip(weights).map(|(place, _)| cluster.running(place)).collect();
        assert_eq!(got, expected);
        cluster.weight("q1", 100);
        assert_eq!(cluster.pass(), [], "a change of weight alone moves nothing");
    }
}
