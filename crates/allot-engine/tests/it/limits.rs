//! K. Within limits: what is held back, by which limit, and when it goes on. That no grant exceeds one, and that each pass
//! equals the reference with limits, the laws check at every step.

use allot_engine::{Backfill, Policy};
use allot_model::{FeedItem, GrantId, JobId, LimitReached, PoolJob, QueueName, RefusalCode, Span};
use serde_json::json;

use crate::support::{Cluster, EPOCH, job, policy, queue};

/// One agent of 8 cpus.
fn cluster(name: &str) -> Cluster {
    let mut cluster = Cluster::new(policy(name));
    cluster.agent("m", "cpus=8000 mem=8000");
    cluster
}

const ALL: [&str; 7] = ["fifo", "priority", "fair", "drf", "hdrf", "asset", "karma"];

#[test]
fn q2_a_limit_of_nothing_gives_nothing_and_leaves_all_to_others() {
    for name in ALL {
        let mut cluster = Cluster::new(policy(name));
        cluster.limit("rq", "cpus=0").agent("s1", "cpus=2000 mem=1024");
        cluster.job(1, "rq", 1, "cpus=1000 mem=512").job(2, "other", 1, "cpus=2000 mem=1024");
        assert_eq!(cluster.pass_as_queues(), "other", "{name}");
        cluster.limit("rq", "cpus=1000 mem=512").agent("s2", "cpus=2000 mem=1024");
        cluster.job(3, "rq", 5, "cpus=1000 mem=512").job(4, "other", 5, "cpus=1000 mem=512");
        cluster.pass();
        assert_eq!(cluster.running(1) + cluster.running(3), 1, "{name}: half of the second agent");
        assert_eq!((cluster.running(4), cluster.used("cpus")), (1, 4_000), "{name}: the other half");
    }
}

/// Queue `rq` may have .5/200, and both queues want more than an agent of 1/512 has.
fn limited(name: &str) -> Cluster {
    let mut cluster = Cluster::new(policy(name));
    cluster.limit("rq", "cpus=500 mem=200").agent("s", "cpus=1000 mem=512");
    cluster.job(1, "rq", 9, "cpus=250 mem=100").job(2, "other", 9, "cpus=250 mem=156");
    cluster.pass();
    cluster
}

#[test]
fn q5_exactly_the_limit_is_given_and_the_rest_goes_to_others() {
    for name in ALL {
        let cluster = limited(name);
        assert_eq!((cluster.running(1), cluster.running(2)), (2, 2), "{name}: .5/200 and .5/312");
    }
}

#[test]
fn q9_when_a_limit_is_used_up_the_next_agent_goes_to_others_whole() {
    for name in ALL {
        let mut cluster = limited(name);
        cluster.agent("t", "cpus=1000 mem=512");
        cluster.pass();
        assert_eq!((cluster.running(1), cluster.running(2)), (2, 5), "{name}");
    }
}

#[test]
fn a_limit_counts_running_tasks_too_and_goes_on_when_one_ends() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.limit("a", "tasks=2").job(1, "a", 1, "cpus=1000").job(2, "a", 5, "cpus=1000");
        assert_eq!(cluster.pass_as_queues(), "aa", "{name}");
        assert_eq!(cluster.pass(), []);
        cluster.end_oldest(1);
        assert_eq!(cluster.pass_as_queues(), "a", "{name}");
        assert_eq!(cluster.running(2), 2);
    }
}

#[test]
fn a_child_never_escapes_the_limit_of_its_parent() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.limit("a", "cpus=3000").limit("a.b.c", "cpus=2000 tasks=9");
        cluster.job(1, "a.b.c", 9, "cpus=1000").job(2, "a.d", 9, "cpus=1000").job(3, "ab", 9, "cpus=1000");
        cluster.pass();
        let held = |of: &str| cluster.holding(of).of(&"cpus".parse().unwrap());
        assert_eq!((held("a"), held("ab")), (3_000, 5_000), "K {name}");
        assert!(held("a.b.c") <= 2_000, "K {name}");
    }
}

#[test]
fn a_limit_set_while_tasks_run_counts_them_and_kills_none() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.job(1, "a.x", 4, "cpus=1000").job(2, "b", 1, "cpus=8000");
        cluster.pass();
        assert_eq!(cluster.running(1), 4, "{name}");
        cluster.limit("a", "cpus=2000").job(3, "a", 9, "cpus=1000");
        assert_eq!(cluster.pass(), [], "{name}: it holds twice that");
        cluster.limit("a", "cpus=5000");
        assert_eq!(cluster.pass_as_queues(), "a", "{name}: raised by one more than it has");
        cluster.limit("a", "none");
        assert_eq!(cluster.pass_as_queues(), "aaa", "{name}: taken away");
    }
}

#[test]
fn only_what_a_task_asks_for_is_held_against_it() {
    let mut cluster = cluster("drf");
    cluster.limit("a", "mem=1000").job(1, "a", 9, "cpus=1000 mem=1000").job(2, "a", 3, "cpus=1000");
    cluster.pass();
    assert_eq!((cluster.running(1), cluster.running(2)), (1, 3));
}

#[test]
fn a_small_job_goes_ahead_of_a_large_one_that_the_limit_holds_back() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.limit("a", "cpus=3000");
        cluster.job(1, "a", 1, "cpus=2000").job(2, "a", 1, "cpus=2000").job(3, "a", 1, "cpus=1000");
        cluster.pass();
        let running: Vec<u64> = (1..=3).map(|id| cluster.running(id)).collect();
        assert_eq!(running, [1, 0, 1], "{name}");
    }
}

#[test]
fn where_nobody_goes_ahead_a_job_over_its_limit_holds_up_those_under_the_same_limit_only() {
    for name in ALL {
        let mut cluster = Cluster::new(Policy { backfill: Backfill::None, ..policy(name) });
        cluster.agent("m", "cpus=8000").limit("a", "cpus=3000");
        cluster.job(1, "a", 1, "cpus=2000").job(2, "a", 1, "cpus=2000").job(3, "a", 1, "cpus=1000");
        cluster.job(4, "b", 1, "cpus=1000");
        cluster.pass();
        let running: Vec<u64> = (1..=4).map(|id| cluster.running(id)).collect();
        assert_eq!(running, [1, 0, 0, 1], "{name}");
    }
}

#[test]
fn many_queues_at_one_limit_are_served_by_their_shares_when_there_is_room() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("m", "cpus=100000").limit("org", "tasks=3");
    for id in 1..=50 {
        cluster.job(id, &format!("org.q{id:02}"), 2, &format!("cpus={}", 1_000 + id));
    }
    cluster.job(99, "other", 1, "cpus=1000");
    assert_eq!(cluster.pass_as_queues(), "org.q01otherorg.q02org.q03");
    cluster.end_oldest(2);
    assert_eq!(cluster.pass_as_queues(), "org.q02", "it has nothing now, and is the first such by name");
    cluster.end_oldest(1).end_oldest(3);
    cluster.withdraw(1, allot_model::TaskRange::one(1));
    assert_eq!(cluster.pass_as_queues(), "org.q03org.q04");
}

fn reached(cluster: &mut Cluster, job: u64) -> Option<LimitReached> {
    cluster.engine.explain(JobId(job)).unwrap().limit
}

#[test]
fn the_limit_that_holds_a_job_back_is_named_with_whose_it_is() {
    for name in ALL {
        let mut cluster = cluster(name);
        cluster.limit("a", "cpus=3000 tasks=9").limit("a.b", "tasks=2");
        cluster.job(1, "a.b", 5, "cpus=1000").job(2, "a.c", 1, "cpus=2500").job(3, "b", 1, "cpus=9000");
        cluster.pass();
        let limit = |of: &str, limited: &str, limit, held, asked| LimitReached {
            queue: queue(of),
            limited: limited.to_owned(),
            limit,
            held,
            asked,
        };
        assert_eq!(cluster.running(1), if cluster.running(2) == 0 { 2 } else { 0 }, "{name}");
        if cluster.running(2) == 0 {
            assert_eq!(reached(&mut cluster, 1), Some(limit("a.b", "tasks", json!(2), json!(2), json!(1))));
            assert_eq!(reached(&mut cluster, 2), Some(limit("a", "cpus", json!(3), json!(2), json!(2.5))));
        } else {
            assert_eq!(reached(&mut cluster, 1), Some(limit("a", "cpus", json!(3), json!(2.5), json!(1))));
        }
        assert_eq!(reached(&mut cluster, 3), None, "it is too large, and no limit is in its way");
        assert_eq!(cluster.engine.explain(JobId(1)).unwrap().reasons_in_words(), "1 agent with room");
    }
}

#[test]
fn queues_with_limits_are_told_apart_where_all_stand_in_one_line() {
    let mut cluster = cluster("fifo");
    cluster.job(1, "a", 2, "cpus=1000").job(2, "b", 2, "cpus=7000").job(3, "a", 2, "cpus=8000");
    cluster.pass();
    assert_eq!(cluster.engine.queue_order(), [None], "one line");
    cluster.limit("a", "tasks=5");
    cluster.pass();
    let order: Vec<Option<QueueName>> = ["b", "a"].map(|name| Some(queue(name))).into();
    assert_eq!(cluster.engine.queue_order(), order, "in the order of their first jobs");
    let line = cluster.engine.explain(JobId(3)).unwrap().line.unwrap();
    assert_eq!((line.queue, line.jobs_ahead, line.first), (None, 1, Some(JobId(2))), "and still one line");
}

#[test]
fn a_refusal_for_a_limit_that_is_not_known_sets_the_job_aside() {
    let refused = |cluster: &mut Cluster, number| {
        let (grant, code) = (GrantId(number), RefusalCode::OverLimit);
        cluster.items.push(FeedItem::Refused { epoch: EPOCH, grant, code, message: String::new() });
    };
    let mut unknown = cluster("drf");
    unknown.job(1, "a", 1, "cpus=1000").flush();
    assert_eq!(unknown.decide().len(), 1);
    refused(&mut unknown, 1);
    unknown.flush();
    let held = unknown.engine.explain(JobId(1)).unwrap().held.unwrap();
    assert_eq!((held.refused, held.until), (RefusalCode::OverLimit, unknown.now + Span::from_secs(5)));

    let mut known = cluster("drf");
    known.job(1, "a", 1, "cpus=1000").flush();
    assert_eq!(known.decide().len(), 1);
    known.limit("a", "cpus=0");
    refused(&mut known, 1);
    known.flush();
    assert_eq!(known.decide(), [], "it came while the grant was on its way");
    assert_eq!(known.engine.explain(JobId(1)).unwrap().held, None);
    known.limit("a", "cpus=1000").flush();
    assert_eq!(known.decide().len(), 1, "and goes on at once when there is room");
}

/// Under a limit of four tasks of which two run: a job of four, and small ones behind it.
fn one_held_back(backfill: Backfill) -> Cluster {
    let mut cluster = Cluster::new(Policy { backfill, ..policy("fifo") });
    cluster.agent("m", "cpus=10000").limit("a", "tasks=4");
    let runs = |id, secs| PoolJob { estimate: Some(Span::from_secs(secs)), ..job(id, "a", 1, "cpus=1000") };
    cluster.add_job(runs(1, 10)).add_job(runs(2, 20));
    cluster.pass();
    cluster.add_job(PoolJob {
        min_tasks: 4,
        estimate: Some(Span::from_secs(5)),
        ..job(3, "a", 4, "cpus=1000")
    });
    cluster.add_job(runs(4, 30)).add_job(runs(5, 20));
    cluster
}

#[test]
fn where_room_is_kept_nobody_delays_the_first_that_a_limit_holds_back() {
    for backfill in [Backfill::Easy, Backfill::EasyShortest, Backfill::Conservative] {
        let mut cluster = one_held_back(backfill);
        cluster.job(6, "b", 1, "cpus=1000");
        cluster.pass();
        let running: Vec<u64> = (1..=6).map(|id| cluster.running(id)).collect();
        assert_eq!(
            running,
            [1, 1, 0, 0, 1, 1],
            "{backfill:?}: the fifth has ended by then, and the limit is not the sixth's"
        );
        cluster.end_oldest(5).end_oldest(1).end_oldest(2);
        cluster.pass();
        assert_eq!(cluster.running(3), 4, "{backfill:?}");
    }
}
