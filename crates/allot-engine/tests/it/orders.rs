//! Orders of jobs from outside: what changes while jobs wait, and what that costs.

use allot_engine::Policy;
use allot_model::{Core, PoolJob, Span, Time};

use crate::support::{Cluster, job, policy};

fn at(second: u64) -> Time {
    Time::ZERO + Span::from_secs(second)
}

/// The order in which jobs of one cpu each are placed, by id.
fn order(mut cluster: Cluster) -> Vec<u64> {
    cluster.agent("m", "cpus=1000000");
    cluster.pass().iter().map(|placed| placed.job.0).collect()
}

#[test]
fn the_largest_goes_first_by_all_its_tasks_together() {
    let mut cluster = Cluster::new(policy("largest"));
    cluster.job(1, "q", 1, "cpus=2000").job(2, "q", 3, "cpus=1000").job(3, "q", 1, "cpus=2500");
    assert_eq!(order(cluster), [2, 2, 2, 3, 1]);
}

#[test]
fn jobs_without_an_estimate_go_last_where_estimates_count() {
    for name in ["shortest", "wfp3", "f1", "f2", "f3", "f4"] {
        let mut cluster = Cluster::new(policy(name));
        cluster.job(1, "q", 1, "cpus=1");
        cluster.add_job(PoolJob { estimate: Some(Span::from_secs(9)), ..job(2, "q", 1, "cpus=1") });
        assert_eq!(order(cluster), [2, 1], "{name}");
    }
}

#[test]
fn wfp3_lets_a_long_job_go_first_once_it_has_waited_long_enough() {
    let first_at = |second: u64| {
        let mut cluster = Cluster::new(policy("wfp3"));
        let long = PoolJob { estimate: Some(Span::from_secs(100)), ..job(1, "q", 1, "cpus=1") };
        cluster.add_job(PoolJob { submitted_at: at(0), ..long });
        let short = PoolJob { estimate: Some(Span::from_secs(10)), ..job(2, "q", 1, "cpus=1") };
        cluster.add_job(PoolJob { submitted_at: at(900), ..short });
        cluster.now = at(900);
        assert_eq!(cluster.pass(), [], "there is no agent yet");
        cluster.now = at(second);
        order(cluster)[0]
    };
    assert_eq!(first_at(900), 1);
    assert_eq!(first_at(999), 1, "9.99 and 9.9");
    assert_eq!(first_at(1_001), 2, "10.01 and 10.1");
}

#[test]
fn behind_a_strict_line_the_engine_wakes_when_a_priority_ages() {
    let mut cluster = Cluster::new(policy("priority:ageing=60s,backfill=none"));
    cluster.agent("m", "cpus=2").add_job(PoolJob { priority: 3, ..job(1, "q", 1, "cpus=9") });
    cluster.now = at(90);
    let small = PoolJob { priority: 3, submitted_at: at(90), ..job(2, "q", 1, "cpus=1") };
    cluster.add_job(PoolJob { priority: 5, ..small });
    cluster.renew_offers();
    assert_eq!(cluster.pass_as_queues(), "q", "5 against 4");
    cluster.add_job(PoolJob { priority: 5, submitted_at: at(91), ..job(3, "q", 1, "cpus=1") });
    cluster.now = at(200);
    cluster.renew_offers();
    assert_eq!(cluster.pass(), [], "6 and 6, and job 1 is older, and too large");
    let wakes = |cluster: &Cluster| cluster.engine.next_wake().map(|(time, why)| (time, why.to_owned()));
    assert!(wakes(&cluster).is_some());
    cluster.now = at(211);
    cluster.renew_offers();
    assert_eq!(cluster.pass_as_queues(), "q", "7 against 6");
}

#[test]
fn where_all_that_fits_goes_ahead_nobody_wakes_for_another_order_alone() {
    let mut cluster = Cluster::new(policy("priority:ageing=1s"));
    cluster.agent("m", "cpus=1").job(1, "q", 2, "cpus=1");
    cluster.pass();
    let (_, why) = cluster.engine.next_wake().unwrap();
    assert_ne!(why, "priority ages");
}

#[test]
fn an_order_is_a_policy_by_its_name_and_an_option_of_others() {
    let line = Policy::parse("shortest").unwrap();
    assert_eq!(line, Policy { name: line.name.clone(), ..Policy::parse("fifo:order=shortest").unwrap() });
}
