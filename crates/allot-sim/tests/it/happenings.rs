//! Each thing that can happen in a scenario, and that it happens when it should.

use allot_model::QueueLimit;
use allot_sim::Measures;

use crate::support::{grants, json, run, starts, states, yaml};

fn check(text: &str, policy: &str, expected: &[&str]) {
    let workload = yaml(text).workload;
    assert_eq!(grants(&workload, &run(&workload, policy)), expected);
}

#[test]
fn ends_come_before_agents_and_those_before_submissions_within_an_instant() {
    check(
        "
events:
  - {at: 5, submit: late, run: 1s}
  - {at: 5, agent: m2, resources: {cpus: 1}}
  - {at: 0, agent: m1, resources: {cpus: 1}}
  - {at: 0, submit: first, run: 5s}
  - {at: 0, submit: second, run: 1s}
",
        "fifo:placement=first-fit",
        &["0 first.0 m1", "5 second.0 m1", "5 late.0 m2"],
    );
}

#[test]
fn the_oldest_running_tasks_end_and_make_room() {
    check(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 3}}
  - {at: 0, submit: J1, tasks: 5, run: forever}
  - {at: 4, end: J1, tasks: 1}
  - {at: 6, end: J1}
",
        "fifo",
        &["0 J1.0 m1", "0 J1.1 m1", "0 J1.2 m1", "4 J1.3 m1", "6 J1.4 m1"],
    );
}

#[test]
fn tasks_whose_end_was_told_early_do_not_end_again() {
    let workload = yaml(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: J1, tasks: 4, run: 10s}
  - {at: 3, end: J1, tasks: 1}
",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    assert_eq!(grants(&workload, &outcome), ["0 J1.0 m1", "0 J1.1 m1", "3 J1.2 m1", "10 J1.3 m1"]);
    assert_eq!(outcome.jobs[0].end.unwrap().as_micros(), 20_000_000);
}

#[test]
fn tasks_of_an_agent_that_leaves_wait_again() {
    check(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: J1, tasks: 2, run: 10s}
  - {at: 4, agent: m1, leaves: true}
  - {at: 5, agent: m2, resources: {cpus: 1}}
  - {at: 6, agent: m1, resources: {cpus: 1}}
",
        "fifo",
        &["0 J1.0 m1", "0 J1.1 m1", "5 J1.0 m2", "6 J1.1 m1"],
    );
}

#[test]
fn a_draining_agent_gets_nothing_new_until_it_is_not() {
    check(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 1}}
  - {at: 0, submit: J1, tasks: 2, run: 2s}
  - {at: 1, agent: m1, drains: true}
  - {at: 9, agent: m1, drains: false}
",
        "fifo",
        &["0 J1.0 m1", "9 J1.1 m1"],
    );
}

/// A20 of the conformance list: only what is really free is offered.
#[test]
fn an_agent_that_shrinks_below_what_is_held_offers_nothing_until_it_recovers() {
    check(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: old, tasks: 4, run: forever}
  - {at: 1, agent: m1, resources: {cpus: 2}}
  - {at: 1, submit: new, tasks: 9, run: forever}
  - {at: 2, end: old, tasks: 2}
  - {at: 3, end: old, tasks: 1}
  - {at: 4, agent: m1, resources: {cpus: 4}}
",
        "fifo",
        &["0 old.0 m1", "0 old.1 m1", "0 old.2 m1", "0 old.3 m1", "3 new.0 m1", "4 new.1 m1", "4 new.2 m1"],
    );
}

#[test]
fn a_cancelled_job_neither_waits_nor_runs() {
    let workload = yaml(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: J1, tasks: 9, run: forever}
  - {at: 0, submit: J2, tasks: 1, run: 1s}
  - {at: 3, cancel: J1}
",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    assert_eq!(starts(&outcome), [Some(0), Some(3)]);
    assert_eq!(outcome.jobs[0].end.unwrap().as_micros(), 3_000_000);
    assert_eq!(states(&workload, &outcome), ["default 0 0/1"]);
}

#[test]
fn weights_and_limits_change_in_the_middle() {
    let text = "
queues: {A: {}, B: {}}
events:
  - {at: 0, agent: m1, resources: {cpus: 6}}
  - {at: 0, submit: J1, queue: A, tasks: 50, run: 2s}
  - {at: 0, submit: J2, queue: B, tasks: 50, run: 2s}
  - {at: 1.5, queue: A, weight: 2}
  - {at: 3.5, queue: A, limit: {cpus: 1}}
until: 5
";
    let workload = yaml(text).workload;
    let running = |until: &str| {
        let workload = yaml(&text.replace("until: 5", until)).workload;
        states(&workload, &run(&workload, "drf"))
    };
    assert_eq!(running("until: 1"), ["A 3 1/2", "B 3 1/2"]);
    assert_eq!(running("until: 3"), ["A 4 2/3", "B 2 1/3"]);
    assert_eq!(running("until: 5"), ["A 1 1/6", "B 5 5/6"]);
    let fifo = run(&workload, "fifo");
    assert_eq!(states(&workload, &fifo), ["A 1 1/6", "B 5 5/6"], "limits hold where queues do not rank, too");
}

#[test]
fn a_limit_above_holds_for_all_queues_below() {
    let workload = yaml(
        "
queues: {org: {limit: {cpus: 3}}}
events:
  - {at: 0, agent: m1, resources: {cpus: 9}}
  - {at: 0, submit: J1, queue: org.a, tasks: 9, run: forever}
  - {at: 0, submit: J2, queue: org.b, tasks: 9, run: forever}
  - {at: 0, submit: J3, queue: other, tasks: 9, run: forever}
",
    )
    .workload;
    assert_eq!(
        states(&workload, &run(&workload, "drf")),
        ["org 3 1/3", "org.a 2 2/9", "org.b 1 1/9", "other 6 2/3"]
    );
}

#[test]
fn jobs_that_would_wait_beside_too_many_are_rejected() {
    let workload = yaml(
        "
queues: {org: {limit: {pending_jobs: 3}}, org.a: {limit: {pending_jobs: 2}}}
events:
  - {at: 0, agent: m1, resources: {cpus: 1}}
  - {at: 0, submit: J1, queue: org.a, tasks: 2, run: 10s}
  - {at: 0, submit: J2, queue: org.a, run: 10s}
  - {at: 0, submit: J3, queue: org.a, run: 10s}
  - {at: 1, submit: J4, queue: org.b, run: 10s}
  - {at: 1, submit: J5, queue: org.b, run: 10s}
  - {at: 5, cancel: J2}
  - {at: 5, submit: J6, queue: org.a, run: 10s}
  - {at: 6, queue: org, limit: {pending_jobs: none}}
  - {at: 6, submit: J7, queue: org.b, run: 10s}
  - {at: 6, submit: J8, queue: other, run: 10s}
until: 100
",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    let rejected: Vec<bool> = outcome.jobs.iter().map(|job| job.rejected).collect();
    assert_eq!(rejected, [false, false, true, false, true, false, false, false]);
    let started = [Some(0), None, None, Some(20), None, Some(30), Some(40), Some(50)];
    assert_eq!(starts(&outcome), started);
    let measures = Measures::of(&workload, &outcome);
    assert_eq!((measures.submitted, measures.started, measures.rejected), (8, 5, 2));
}

#[test]
fn constraints_and_devices_are_kept() {
    let workload = yaml(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 8, gpus: ['0', '1']}, attributes: {zone: a}}
  - {at: 0, agent: m2, resources: {cpus: 8, gpus: 4}, attributes: {zone: b}}
  - {at: 0, submit: J1, tasks: 3, resources: {gpus: 0.5}, constraints: ['zone == a'], run: forever}
  - {at: 0, submit: J2, tasks: 2, resources: {cpus: 1, gpus: 1}, constraints: ['zone == a'], run: forever}
",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    assert_eq!(
        grants(&workload, &outcome),
        ["0 J1.0 m1", "0 J1.1 m1", "0 J1.2 m1"],
        "no device is left whole"
    );
    let json: serde_json::Value = serde_json::from_str(&json(&workload, "fifo")).unwrap();
    assert_eq!(json["metrics"]["gpu_allocation"], 0.25);
    // Of two kinds of tasks of equal weight (3 and 2 tasks): m1 has half a device, useless to J2; m2 is useless to both.
    let fragmented = json["metrics"]["gpu_fragmentation"].as_f64().unwrap();
    assert!((fragmented - (0.5 * 2.0 / 5.0 + 4.0) / 6.0).abs() < 1e-9, "{fragmented}");
}

#[test]
fn tasks_that_take_no_time_start_and_end_in_the_same_instant() {
    let workload = yaml(
        "
events:
  - {at: 1, agent: m1, resources: {cpus: 1}}
  - {at: 1, submit: J1, tasks: 3, run: 0}
",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    assert_eq!(grants(&workload, &outcome), ["1 J1.0 m1", "1 J1.1 m1", "1 J1.2 m1"]);
    assert_eq!(outcome.jobs[0].end, outcome.jobs[0].start);
}

#[test]
fn nothing_happens_after_the_end_and_the_queues_are_told_as_they_are_then() {
    let workload = yaml(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: J1, queue: A, run: 10s}
  - {at: 7, submit: J2, queue: A, run: 10s}
until: 6.5s
",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    assert_eq!(
        (starts(&outcome), states(&workload, &outcome)),
        (vec![Some(0), None], vec!["A 1 1/2".to_owned()])
    );
    let json: serde_json::Value = serde_json::from_str(&json(&workload, "fifo")).unwrap();
    assert_eq!((&json["ended_at"], json["jobs"].as_array().unwrap().len()), (&serde_json::json!(6.5), 1));
    assert_eq!(json["metrics"]["utilisation"], 0.5);
}

#[test]
fn a_gang_starts_when_all_of_it_has_room_and_under_easy_it_gets_that() {
    let workload = yaml(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}, attributes: {rack: a}}
  - {at: 0, agent: m2, resources: {cpus: 2}, attributes: {rack: a}}
  - {at: 0, agent: m3, resources: {cpus: 9}, attributes: {rack: b}}
  - {at: 0, submit: J1, tasks: 1, run: 10s, estimate: 10s, constraints: [agent.id == m1]}
  - {at: 1, submit: J2, tasks: 4, gang: true, same: rack, run: 1s, estimate: 1s, constraints: [rack == a]}
  - {at: 2, submit: J3, tasks: 1, run: 20s, estimate: 20s, constraints: [rack == a]}
  - {at: 2, submit: J4, tasks: 1, run: 5s, estimate: 5s, constraints: [rack == a]}
  - {at: 3, submit: J5, tasks: 10, gang: true, run: 1s, estimate: 1s}
",
    )
    .workload;
    let cases = [("fifo", [0, 22, 2, 2, 3]), ("fifo:backfill=easy", [0, 10, 11, 2, 3])];
    for (policy, expected) in cases {
        assert_eq!(starts(&run(&workload, policy)), expected.map(Some), "{policy}");
    }
}

#[test]
fn a_quota_is_held_back_and_what_is_guaranteed_otherwise_is_lent_until_it_is_wanted() {
    let text = |settings: &str| {
        format!(
            "
queues: {{rq: {{{settings}}}, other: {{}}}}
events:
  - {{at: 0, agent: s1, resources: {{cpus: 2}}}}
  - {{at: 0, agent: s2, resources: {{cpus: 2}}}}
  - {{at: 0, submit: J1, queue: other, tasks: 4, resources: {{cpus: 2}}, run: 10s}}
  - {{at: 5, submit: J2, queue: rq, tasks: 1, resources: {{cpus: 2}}, run: 10s}}
  - {{at: 30, queue: rq, guarantee: {{}}}}
"
        )
    };
    // J2's task starts at once where it was held back for, else when the first of the others end.
    for (settings, start, others) in [
        ("limit: {cpus: 2}, guarantee: {cpus: 2}", "5", "0 10 20 30"),
        ("guarantee: {cpus: 2}, hold_back: always", "5", "0 10 20 30"),
        ("limit: {cpus: 2}, guarantee: {cpus: 2}, hold_back: never", "10", "0 0 10 20"),
        ("guarantee: {cpus: 2}", "10", "0 0 10 20"),
        ("limit: {cpus: 2}", "20", "0 0 10 10"),
    ] {
        let outcome: serde_json::Value =
            serde_json::from_str(&json(&yaml(&text(settings)).workload, "fifo")).unwrap();
        let of = |job: &str| {
            let grants = outcome["grants"].as_array().unwrap().iter().filter(|grant| grant["job"] == job);
            grants.map(|grant| grant["t"].as_f64().unwrap().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((of("J2"), of("J1")), (start.to_owned(), others.to_owned()), "{settings}");
    }
}

#[test]
fn unequal_queues_are_told_by_jains_index() {
    let text = "
queues: {A: {weight: 1}, B: {weight: 1}}
events:
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: J1, queue: A, tasks: 400, run: 1s}
  - {at: 0, submit: J2, queue: B, tasks: 400, run: 1s}
until: 50
";
    let jain = |policy: &str| {
        let json: serde_json::Value = serde_json::from_str(&json(&yaml(text).workload, policy)).unwrap();
        json["metrics"]["jain_index"].as_f64().unwrap()
    };
    assert!((jain("drf") - 1.0).abs() < 1e-9, "{}", jain("drf"));
    assert!((jain("fifo") - 0.5).abs() < 1e-9, "{}", jain("fifo"));
}

#[test]
fn once_a_gang_was_placed_what_is_left_of_it_goes_one_by_one() {
    let text = "
events:
  - {at: 0, agent: a1, resources: {cpus: 3}}
  - {at: 0, submit: M, tasks: 4, min_tasks: 2, run: 10}
";
    for policy in ["fifo", "drf", "fifo:backfill=easy", "fifo:backfill=conservative"] {
        check(text, policy, &["0 M.0 a1", "0 M.1 a1", "0 M.2 a1", "10 M.3 a1"]);
    }
    check(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: L, tasks: 2, gang: true}
  - {at: 5, agent: m1, leaves: true}
  - {at: 6, agent: m2, resources: {cpus: 1}}
",
        "fifo",
        &["0 L.0 m1", "0 L.1 m1", "6 L.0 m2"],
    );
}

#[test]
fn a_gang_that_was_stopped_for_others_goes_on_one_by_one() {
    let text = "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, agent: m2, resources: {cpus: 2}}
  - {at: 0, submit: L, tasks: 4, gang: true}
  - {at: 1, submit: H, resources: {cpus: 2}, priority: 1}
";
    let workload = yaml(text).workload;
    let granted = grants(&workload, &run(&workload, "priority:placement=worst-fit,preempt=priority"));
    assert_eq!(granted[4..], ["1 H.0 m1", "1 L.0 m2", "1 L.1 m2"], "after the four of L at 0");
}

#[test]
fn tasks_that_were_placed_one_by_one_are_stopped_together() {
    let text = "
events:
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: L, queue: A, tasks: 2}
  - {at: 0, submit: K, queue: B, tasks: 2}
  - {at: 5, submit: H, queue: A, resources: {cpus: 2}, priority: 1}
";
    let workload = yaml(text).workload;
    let outcome = run(&workload, "drf:preempt=priority");
    assert_eq!(grants(&workload, &outcome), ["0 L.0 m1", "0 K.0 m1", "0 L.1 m1", "0 K.1 m1", "5 H.0 m1"]);
    let measures = Measures::of(&workload, &outcome);
    assert_eq!((measures.preempted, measures.lost), (2, 10.0));
}

#[test]
fn gpus_that_are_counted_are_devices() {
    check(
        "
events:
  - {at: 0, agent: m0, resources: {cpus: 64, gpus: 2}}
  - {at: 0, submit: j0, resources: {gpus: 0.6}, run: 10}
  - {at: 1, submit: j1, resources: {gpus: 0.6}, run: 10}
  - {at: 2, submit: j2, resources: {gpus: 0.6}, run: 10}
",
        "fifo",
        &["0 j0.0 m0", "1 j1.0 m0", "10 j2.0 m0"],
    );
}

#[test]
fn fragments_are_counted_anew_once_nobody_asks_for_gpus_any_more() {
    let text = "
events:
  - {at: 0, agent: n1, resources: {cpus: 8, gpus: 2}}
  - {at: 0, submit: b, resources: {gpus: 1}, run: 5}
  - {at: 12, submit: c, run: 3}
  - {at: 20, submit: d, resources: {gpus: 2}, run: 3}
";
    for policy in ["fifo:placement=fgd", "drf:placement=fgd", "shortest:placement=fgd"] {
        check(text, policy, &["0 b.0 n1", "12 c.0 n1", "20 d.0 n1"]);
    }
}

#[test]
fn no_more_than_its_limit_is_kept_for_a_queue() {
    let text = "
queues: {A: {guarantee: {cpus: 3}}}
events:
  - {at: 0, agent: m, resources: {cpus: 4}}
  - {at: 0, submit: b, queue: B, tasks: 9}
";
    for text in [text.to_owned(), text.replace("guarantee", "hold_back: always, guarantee")] {
        let mut workload = yaml(&text).workload;
        // Neither scenarios nor services let a limit be lower than the guarantee.
        workload.queues[0].limit = QueueLimit::from_json(&serde_json::json!({"cpus": 2})).unwrap();
        assert_eq!(grants(&workload, &run(&workload, "drf")), ["0 b.0 m", "0 b.1 m"]);
    }
}

#[test]
fn a_slowdown_is_in_run_times_of_a_task() {
    let slowdown = |text: &str, policy: &str| {
        let workload = yaml(text).workload;
        Measures::of(&workload, &run(&workload, policy)).bounded_slowdown.unwrap().max
    };
    let three = "
events:
  - {at: 0, agent: m, resources: {cpus: 1}}
  - {at: 0, submit: a, tasks: 3, run: 10}
";
    let stopped = "
events:
  - {at: 0, agent: m, resources: {cpus: 1}}
  - {at: 0, submit: a, run: 10}
  - {at: 5, submit: b, run: 3, priority: 1}
";
    assert!((slowdown(three, "fifo") - 3.0).abs() < 1e-9);
    assert!((slowdown(stopped, "priority:preempt=priority") - 1.8).abs() < 1e-9);
}

#[test]
fn equal_credits_are_equal_in_pools_of_any_round_size() {
    for slices in [6, 12, 30, 42] {
        let of = |part: u32| slices / 6 * part;
        let text = format!(
            "
queues: {{A: {{}}, B: {{}}, C: {{}}}}
events:
  - {{at: 0, agent: m, resources: {{cpus: {slices}}}}}
  - {{at: 0, submit: B0, queue: B, tasks: {one}, run: 10}}
  - {{at: 0, submit: C0, queue: C, tasks: {two}, run: 10}}
  - {{at: 10, submit: A1, queue: A, tasks: {four}, run: 10}}
  - {{at: 10, submit: B1, queue: B, tasks: {one}, run: 10}}
  - {{at: 10, submit: C1, queue: C, tasks: {four}, run: 10}}
until: 15
",
            one = of(1),
            two = of(2),
            four = of(4),
        );
        // Credits at 10 are 2, 1 and 0 sixths; A borrows two, and is first by name where it has as many as C.
        let workload = yaml(&text).workload;
        let granted = grants(&workload, &run(&workload, "karma:alpha=0.5,quantum=10s"));
        let counts = ["A1", "B1", "C1"]
            .map(|job| granted.iter().filter(|grant| grant.contains(&format!(" {job}."))).count());
        let total: usize = counts.iter().sum();
        assert_eq!((counts[1], total), (of(1) as usize, slices as usize), "{slices}: {counts:?}");
        assert!(slices > 6 || counts == [4, 1, 1], "{counts:?}");
    }
}

#[test]
fn agents_with_as_much_left_over_in_other_parts_are_equal() {
    let text = "
events:
  - {at: 0, agent: m0, resources: {cpus: 3}}
  - {at: 0, agent: m1, resources: {cpus: 1, mem: 4GiB}}
  - {at: 0, agent: z, resources: {mem: 6GiB}}
  - {at: 0, submit: j}
";
    check(text, "fifo:placement=best-fit", &["0 j.0 m0"]);
    let swapped = text.replace("m0", "m2").replace("m1", "m0").replace("m2", "m1");
    check(&swapped, "fifo:placement=worst-fit", &["0 j.0 m0"]);
}

#[test]
fn what_outruns_its_estimate_for_ever_does_not_hold_up_others_for_ever() {
    for policy in ["fifo:backfill=easy", "fifo:backfill=conservative"] {
        check(
            "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: A, run: forever, estimate: 10s}
  - {at: 1, submit: H, resources: {cpus: 2}, run: 5s, estimate: 5s}
  - {at: 2, submit: B, run: 15s, estimate: 15s}
until: 200
",
            policy,
            &["0 A.0 m1", "25 B.0 m1"],
        );
    }
}

#[test]
fn a_gang_that_was_placed_is_none_any_more_whatever_is_set_later() {
    for policy in
        ["fifo", "fifo:backfill=easy", "fifo:backfill=conservative", "shortest:backfill=none", "drf"]
    {
        check(
            "
events:
  - {at: 0, agent: m0, resources: {cpus: 10}}
  - {at: 0, submit: J1, tasks: 4, resources: {cpus: 3}, run: 1, min_tasks: 3}
  - {at: 1, queue: other, limit: {cpus: 10}}
until: 100
",
            policy,
            &["0 J1.0 m0", "0 J1.1 m0", "0 J1.2 m0", "1 J1.3 m0"],
        );
    }
}

#[test]
fn what_is_planned_stays_planned_when_a_queue_gets_its_first_limit() {
    check(
        "
events:
  - {at: 0, agent: m1, resources: {cpus: 10}}
  - {at: 0, submit: R, resources: {cpus: 10}, run: 10, estimate: 10}
  - {at: 1, submit: L, resources: {cpus: 10}, run: 20, estimate: 20}
  - {at: 2, submit: S, resources: {cpus: 10}, run: 5, estimate: 5}
  - {at: 5, queue: other, limit: {cpus: 1}}
",
        "shortest:backfill=conservative",
        &["0 R.0 m1", "10 L.0 m1", "30 S.0 m1"],
    );
}

#[test]
fn where_no_job_may_wait_none_is_taken() {
    let workload = yaml(
        "
queues: {A: {limit: {pending_jobs: 0}}}
events:
  - {at: 0, agent: m1, resources: {cpus: 10}}
  - {at: 0, submit: J1, queue: A, run: 4}
  - {at: 10, submit: J2, queue: A, run: 4}
",
    )
    .workload;
    let outcome = run(&workload, "fifo");
    assert_eq!(starts(&outcome), [None, None]);
    assert!(outcome.jobs.iter().all(|fate| fate.rejected));
}
