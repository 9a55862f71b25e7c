//! Guarantees of queues: who goes first, what may be borrowed, and what is held back.

use allot_engine::{Backfill, Policy};
use allot_model::{HoldBack, JobId};
use serde_json::json;

use crate::support::{Cluster, policy, queue};

const ALL: [&str; 4] = ["fifo", "priority", "fair", "drf"];

/// One agent of 8 cpus.
fn cluster(name: &str) -> Cluster {
    let mut cluster = Cluster::new(policy(name));
    cluster.agent("m", "cpus=8000 mem=8000");
    cluster
}

/// A queue with a quota: its limit is what is guaranteed to it.
fn quota(cluster: &mut Cluster, of: &str, amounts: &str) {
    cluster.limit(of, amounts).guarantee(of, amounts, HoldBack::Fixed);
}

#[test]
fn q1_what_is_guaranteed_goes_first_and_declined_amounts_are_not_given_to_others() {
    for name in ALL {
        let mut cluster = Cluster::new(policy(name));
        quota(&mut cluster, "rq", "cpus=2000 mem=1024");
        cluster.agent("s1", "cpus=1000 mem=512").agent("s2", "cpus=1000 mem=512");
        cluster.job(1, "other", 2, "cpus=1000 mem=512").job(2, "rq", 1, "cpus=1000 mem=512");
        assert_eq!(cluster.pass_as_queues(), "rq", "{name}: the second agent is held back");
        cluster.job(3, "rq", 1, "cpus=1000 mem=512");
        assert_eq!(cluster.pass_as_queues(), "rq", "{name}");
    }
}

#[test]
fn q5_exactly_the_quota_is_given_and_the_rest_goes_to_others() {
    for name in ALL {
        let mut cluster = Cluster::new(policy(name));
        quota(&mut cluster, "rq", "cpus=500 mem=200");
        cluster.agent("s", "cpus=1000 mem=512");
        cluster.job(1, "rq", 9, "cpus=250 mem=100").job(2, "other", 9, "cpus=250 mem=156");
        cluster.pass();
        assert_eq!((cluster.running(1), cluster.running(2)), (2, 2), "{name}: .5/200 and .5/312");
    }
}

#[test]
fn q9_a_quota_in_use_holds_nothing_back() {
    for name in ALL {
        let mut cluster = Cluster::new(policy(name));
        quota(&mut cluster, "rq", "cpus=250 mem=128");
        cluster.agent("s", "cpus=1000 mem=512");
        cluster.job(1, "rq", 3, "cpus=250 mem=128").job(2, "other", 7, "cpus=250 mem=128");
        cluster.pass();
        assert_eq!((cluster.running(1), cluster.running(2)), (1, 3), "{name}");
        cluster.agent("t", "cpus=1000 mem=512");
        cluster.pass();
        assert_eq!((cluster.running(1), cluster.running(2)), (1, 7), "{name}: the next agent, whole");
    }
}

#[test]
fn q11_a_quota_without_jobs_is_held_back() {
    for name in ALL {
        let mut cluster = Cluster::new(policy(name));
        quota(&mut cluster, "rq", "cpus=2000 mem=1024");
        cluster.agent("s1", "cpus=2000 mem=1024").agent("s2", "cpus=2000 mem=1024");
        cluster.job(1, "other", 9, "cpus=2000 mem=1024");
        assert_eq!(cluster.pass_as_queues(), "other", "{name}");
        let kept = cluster.engine.explain(JobId(1)).unwrap().kept.unwrap();
        assert_eq!(
            (kept.resource.as_str(), kept.free, kept.kept, kept.asked),
            ("cpus", json!(2), json!(2), json!(2))
        );
        cluster.job(2, "rq", 1, "cpus=2000 mem=1024");
        assert_eq!(cluster.pass_as_queues(), "rq", "{name}: it was there for it");
        cluster.end_oldest(2);
        assert_eq!(cluster.pass_as_queues(), "", "{name}: and is held back again");
        cluster.limit("rq", "cpus=2001 mem=1024");
        assert_eq!(cluster.pass_as_queues(), "other", "{name}: who may borrow lends");
    }
}

#[test]
fn q_with_other_numbers_a_quota_is_kept_and_no_more_than_that() {
    for (name, quota, agents) in ALL
        .into_iter()
        .flat_map(|name| (0..5).flat_map(move |quota| (1..5).map(move |agents| (name, quota, agents))))
    {
        for wants in 0..6 {
            let mut cluster = Cluster::new(policy(name));
            self::quota(&mut cluster, "rq", &format!("cpus={} mem={}", 500 * quota, 256 * quota));
            (0..agents).for_each(|agent| _ = cluster.agent(&format!("s{agent}"), "cpus=500 mem=256"));
            cluster.job(1, "other", 9, "cpus=500 mem=256");
            if wants > 0 {
                cluster.job(2, "rq", wants, "cpus=500 mem=256");
            }
            cluster.pass();
            let got = (cluster.holding("rq").tasks, cluster.running(1));
            let expected = (u64::from(wants).min(quota).min(agents), agents.saturating_sub(quota));
            assert_eq!(got, expected, "{name}: quota {quota}, {agents} agents, {wants} wanted");
        }
    }
}

#[test]
fn what_a_queue_leaves_of_its_guarantee_is_borrowed_and_comes_back_as_tasks_end() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.guarantee("a", "cpus=4000", HoldBack::Fixed);
        for id in 1..=12 {
            cluster.job(id, "b", 1, "cpus=1000");
        }
        assert_eq!(cluster.pass_as_queues(), "bbbbbbbb", "{name}: nobody else wants it");
        cluster.job(20, "a", 20, "cpus=1000");
        for ended in 1..=4 {
            assert_eq!(cluster.end_oldest(ended).pass_as_queues(), "a", "{name}: {ended}");
        }
        assert_eq!(
            cluster.end_oldest(5).pass_as_queues(),
            "b",
            "{name}: beyond its guarantee a is as any other"
        );
    }
}

#[test]
fn a_queue_takes_more_than_its_guarantee_up_to_its_limit_when_others_are_idle() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.guarantee("a", "cpus=2000", HoldBack::Fixed).limit("a", "cpus=5000").job(
            1,
            "a",
            20,
            "cpus=1000",
        );
        cluster.pass();
        assert_eq!(cluster.running(1), 5, "{name}");
    }
}

#[test]
fn a_task_that_would_be_more_than_the_guarantee_is_not_guaranteed() {
    let mut cluster = cluster("fifo");
    cluster.guarantee("a", "cpus=3000", HoldBack::Never);
    cluster.job(1, "b", 8, "cpus=1000").job(2, "a", 2, "cpus=2000").job(3, "a", 1, "mem=10");
    assert_eq!(
        cluster.pass_as_queues(),
        "abbbbbba",
        "one is within 3 cpus, and what asks for none is as any other"
    );
}

#[test]
fn the_guarantee_of_a_child_counts_within_that_of_its_parent() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.guarantee("org", "cpus=4000", HoldBack::Never).guarantee(
            "org.a",
            "cpus=2000",
            HoldBack::Never,
        );
        cluster.job(1, "org.b", 8, "cpus=1000").job(2, "org.a", 8, "cpus=1000").job(3, "x", 8, "cpus=1000");
        let order = cluster.pass_as_queues().replace("org.", "");
        assert!(order.starts_with("aabb"), "{name}: {order}");
        assert_eq!(cluster.holding("org").tasks, cluster.running(1) + cluster.running(2));
        assert!(
            cluster.running(3) > 0 || name == "fifo" || name == "priority",
            "{name}: no more than 4 go first"
        );
    }
}

#[test]
fn guarantees_beyond_what_there_is_are_shared_by_the_policy() {
    let mut cluster = cluster("drf");
    for of in ["a", "b"] {
        cluster.guarantee(of, "cpus=8000", HoldBack::Never);
    }
    cluster.job(1, "a", 20, "cpus=1000").job(2, "b", 20, "cpus=1000").job(3, "0", 20, "cpus=1000");
    assert_eq!(cluster.pass_as_queues(), "abababab");
}

#[test]
fn a_guarantee_that_is_taken_away_counts_no_longer() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.guarantee("rq", "cpus=8000", HoldBack::Always).job(1, "b", 8, "cpus=1000");
        assert_eq!(cluster.pass_as_queues(), "", "{name}");
        cluster.guarantee("rq", "cpus=3000", HoldBack::Always);
        assert_eq!(cluster.pass_as_queues(), "bbbbb", "{name}");
        cluster.guarantee("rq", "none", HoldBack::Always);
        assert_eq!(cluster.pass_as_queues(), "bbb", "{name}");
    }
}

#[test]
fn where_nobody_goes_ahead_of_the_first_guarantees_move_nobody() {
    let mut cluster = Cluster::new(Policy { backfill: Backfill::None, ..policy("fifo") });
    cluster.agent("m", "cpus=3000").guarantee("a", "cpus=3000", HoldBack::Always);
    cluster.job(1, "b", 1, "cpus=1000").job(2, "a", 9, "cpus=1000");
    assert_eq!(cluster.pass_as_queues(), "baa");
}

#[test]
fn queues_with_something_guaranteed_are_preferred_in_what_is_told() {
    let mut cluster = cluster("drf");
    cluster.guarantee("z", "cpus=1000", HoldBack::Never).job(1, "a", 1, "cpus=9000").job(
        2,
        "z",
        1,
        "cpus=9000",
    );
    cluster.job(3, "z", 1, "cpus=1000 mem=9000");
    cluster.pass();
    assert_eq!(cluster.engine.queue_order(), [Some(queue("z")), Some(queue("a"))]);
    assert_eq!(cluster.engine.explain(JobId(1)).unwrap().queues_ahead, 1);
    assert_eq!(cluster.engine.explain(JobId(3)).unwrap().queues_ahead, 0);
}
