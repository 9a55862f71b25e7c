//! Tasks that are stopped for others lose what they had done and run again.

use serde_json::Value;

use crate::support::{grants, json, run, yaml};

/// The golden S of preemption: L1 and L2 fill the agent, H asks for so many cpus.
fn golden(asks: u64) -> String {
    format!(
        "
preempt: priority
queues: {{q: {{}}}}
events:
  - {{at: 0, agent: m1, resources: {{cpus: 4}}}}
  - {{at: 0, submit: L1, queue: q, priority: 1, resources: {{cpus: 2}}, run: 100s}}
  - {{at: 0, submit: L2, queue: q, priority: 2, resources: {{cpus: 2}}, run: 100s}}
  - {{at: 10, submit: H, queue: q, priority: 10, resources: {{cpus: {asks}}}, run: 30s}}
"
    )
}

#[test]
fn s_preemption_stops_the_least_important_who_runs_again_from_the_start() {
    let policy = "priority:preempt=priority";
    let workload = yaml(&golden(2)).workload;
    let outcome = run(&workload, policy);
    assert_eq!(grants(&workload, &outcome), ["0 L2.0 m1", "0 L1.0 m1", "10 H.0 m1", "40 L1.0 m1"]);
    assert_eq!(outcome.jobs[0].end.unwrap().as_micros(), 140_000_000, "all of its 100 s once more");
    let workload = yaml(&golden(4)).workload;
    let outcome = run(&workload, policy);
    assert_eq!(
        grants(&workload, &outcome),
        ["0 L2.0 m1", "0 L1.0 m1", "10 H.0 m1", "40 L2.0 m1", "40 L1.0 m1"]
    );
}

#[test]
fn what_was_stopped_and_lost_is_measured() {
    let text: Value =
        serde_json::from_str(&json(&yaml(&golden(4)).workload, "priority:preempt=priority")).unwrap();
    assert_eq!((&text["preempt"], &text["metrics"]["preempted"]), (&"priority".into(), &2.into()));
    assert_eq!(text["metrics"]["lost"], 20.0);
    let without: Value = serde_json::from_str(&json(&yaml(&golden(4)).workload, "priority")).unwrap();
    assert_eq!((&without["preempt"], &without["metrics"]["preempted"]), (&"none".into(), &0.into()));
    assert_eq!(without["metrics"]["lost"], 0.0);
}

#[test]
fn a_scenario_says_what_tasks_are_stopped_for_where_its_policy_does_not() {
    let scenario = yaml(&golden(2));
    let choices = scenario.choices;
    let policy = allot_engine::Policy::parse_over("priority", &choices).unwrap();
    assert_eq!(policy.to_string(), "priority:preempt=priority");
}

#[test]
fn a_job_without_retries_is_never_stopped() {
    let once = golden(2).replace("priority: 1,", "priority: 1, retries: 0,");
    let workload = yaml(&once).workload;
    let outcome = run(&workload, "priority:preempt=priority");
    assert_eq!(grants(&workload, &outcome), ["0 L2.0 m1", "0 L1.0 m1", "10 H.0 m1", "40 L2.0 m1"]);
}

#[test]
fn a_guarantee_is_taken_back_from_who_borrowed_it() {
    let workload = yaml(
        "
queues: {a: {guarantee: {cpus: 2}}, b: {}}
events:
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: B, queue: b, tasks: 4, run: 100s}
  - {at: 5, submit: A, queue: a, tasks: 4, run: 100s}
until: 50
",
    )
    .workload;
    let told = |policy: &str| {
        let outcome = run(&workload, policy);
        crate::support::states(&workload, &outcome)
    };
    assert_eq!(told("drf"), ["a 0 0/1", "b 4 1/1"]);
    assert_eq!(told("drf:preempt=guarantee"), ["a 2 1/2", "b 2 1/2"]);
    assert_eq!(told("drf:preempt=guarantee:preempt_min_run=1m"), ["a 0 0/1", "b 4 1/1"], "not within 50 s");
    assert_eq!(told("drf:preempt=guarantee:preempt_rate=1"), ["a 1 1/4", "b 3 3/4"], "one a minute");
}

#[test]
fn equal_queues_do_not_stop_each_other_in_turns() {
    let workload = yaml(
        "
queues: {a: {guarantee: {cpus: 2}}, b: {guarantee: {cpus: 2}}}
events:
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: B, queue: b, tasks: 50, run: 100s}
  - {at: 5, submit: A, queue: a, tasks: 50, run: 100s}
until: 90
",
    )
    .workload;
    for policy in ["drf:preempt=both", "priority:preempt=both", "fifo:preempt=guarantee"] {
        let outcome = run(&workload, policy);
        let stopped: u64 = outcome.preempted.iter().map(|stopped| stopped.tasks.count()).sum();
        assert_eq!(stopped, 2, "{policy}: once, to 2 each");
    }
}

#[test]
fn tasks_are_stopped_when_they_may_be_and_for_whom_the_policy_says() {
    let one = "{at: 0, agent: m1, resources: {cpus: 1}}";
    let two = "{at: 0, agent: m1, resources: {cpus: 2}, attributes: {rack: a}}";
    let impossible: String = (0..40)
        .map(|n| format!("\n  - {{at: 1, submit: X{n}, priority: 9, resources: {{cpus: {}}}}}", 100 + n))
        .collect();
    let guaranteed = "queues: {A: {guarantee: {cpus: 2}}, B: {}}";
    let cases = [
        (
            "once it has run for long enough, though nothing else happens",
            "priority:preempt=priority,preempt_min_run=30s",
            "",
            format!(
                "
  - {one}
  - {{at: 0, submit: low, run: forever}}
  - {{at: 5, submit: high, priority: 1, run: 10s}}"
            ),
            vec!["0 low.0 m1", "30 high.0 m1", "40 low.0 m1"],
        ),
        (
            "once the rate allows it, though nothing else happens",
            "priority:preempt=priority,preempt_rate=1",
            "",
            format!(
                "
  - {two}
  - {{at: 0, submit: L, tasks: 2, run: forever}}
  - {{at: 10, submit: H, tasks: 2, priority: 2, run: forever}}"
            ),
            vec!["0 L.0 m1", "0 L.1 m1", "10 H.0 m1", "70 H.1 m1"],
        ),
        (
            "one that has had its place for no time at all",
            "priority:preempt=priority",
            "",
            format!(
                "
  - {two}
  - {{at: 0, submit: low1, run: 100s}}
  - {{at: 5, submit: high, priority: 3, resources: {{cpus: 2}}, run: 10s}}
  - {{at: 5, submit: low2, run: 100s}}"
            ),
            vec!["0 low1.0 m1", "5 low2.0 m1", "5 high.0 m1", "15 low1.0 m1", "15 low2.0 m1"],
        ),
        (
            "for the first in order, also where they ask for the same",
            "drf:preempt=guarantee",
            guaranteed,
            format!(
                "
  - {two}
  - {{at: 0, submit: L, queue: B, tasks: 2, run: 100s}}
  - {{at: 5, submit: H1, queue: A, priority: 3, run: 50s}}
  - {{at: 5, submit: H2, queue: A, priority: 3, run: 50s}}
  - {{at: 5, submit: M, queue: A, priority: 1, run: 50s, constraints: [\"rack == a\"]}}"
            ),
            vec!["0 L.0 m1", "0 L.1 m1", "5 H1.0 m1", "5 H2.0 m1", "55 M.0 m1", "55 L.0 m1", "105 L.1 m1"],
        ),
        (
            "for who is behind many that no agent could ever have",
            "priority:preempt=priority",
            "",
            format!(
                "
  - {one}
  - {{at: 0, submit: low, run: 100s}}{impossible}
  - {{at: 2, submit: high, priority: 5, run: 10s}}"
            ),
            vec!["0 low.0 m1", "2 high.0 m1", "12 low.0 m1"],
        ),
        (
            "for a gang on several agents",
            "priority:preempt=priority",
            "",
            format!(
                "
  - {one}
  - {{at: 0, agent: m2, resources: {{cpus: 1}}}}
  - {{at: 0, submit: low, tasks: 2, run: 100s}}
  - {{at: 5, submit: gang, tasks: 2, gang: true, priority: 1, run: 10s}}"
            ),
            vec!["0 low.0 m1", "0 low.1 m2", "5 gang.0 m1", "5 gang.1 m2", "15 low.0 m1", "15 low.1 m2"],
        ),
    ];
    check_all(cases);
}

#[test]
fn what_is_made_free_is_for_whom_it_was_made() {
    let priority = "priority:preempt=priority";
    let kept =
        |cpus: u32| format!("queues: {{G: {{guarantee: {{cpus: {cpus}}}, hold_back: always}}, Q: {{}}}}");
    let (kept_one, kept_two) = (kept(1), kept(2));
    let cases = [
        (
            "each place has devices of its own",
            priority,
            "",
            "
  - {at: 0, agent: m1, resources: {gpus: 2}}
  - {at: 0, submit: a, tasks: 2, resources: {gpus: 0.6}, run: 100}
  - {at: 1, submit: g, tasks: 2, gang: true, priority: 5, resources: {gpus: 0.6}, run: 10}"
                .to_owned(),
            vec!["0 a.0 m1", "0 a.1 m1", "1 g.0 m1", "1 g.1 m1", "11 a.0 m1", "11 a.1 m1"],
        ),
        (
            "nobody is stopped where too few whole devices can be made free",
            priority,
            "",
            "
  - {at: 0, agent: m1, resources: {gpus: 4}}
  - {at: 0, submit: y, priority: 9, resources: {gpus: 0.4}, run: 100}
  - {at: 0, submit: z, tasks: 2, priority: 8, resources: {gpus: 0.7}, run: 100}
  - {at: 0, submit: x, priority: 1, resources: {gpus: 0.5}, run: 100}
  - {at: 1, submit: g, tasks: 2, gang: true, priority: 5, resources: {gpus: 1}, run: 10}"
                .to_owned(),
            vec!["0 y.0 m1", "0 z.0 m1", "0 z.1 m1", "0 x.0 m1", "100 g.0 m1", "100 g.1 m1"],
        ),
        (
            "two places leave what is held back",
            priority,
            &kept_one,
            "
  - {at: 0, agent: m1, resources: {cpus: 5}}
  - {at: 0, submit: low, queue: Q, tasks: 3, run: 100}
  - {at: 1, submit: high, queue: Q, tasks: 2, resources: {cpus: 2}, priority: 5, run: 400}
  - {at: 2, submit: g, queue: G, run: 10}"
                .to_owned(),
            vec!["0 low.0 m1", "0 low.1 m1", "0 low.2 m1", "1 high.0 m1", "1 high.1 m1", "2 g.0 m1"],
        ),
        (
            "a gang leaves what is held back",
            priority,
            &kept_two,
            "
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: low, queue: Q, run: 300}
  - {at: 1, submit: high, queue: Q, tasks: 4, gang: true, priority: 5, run: 50}
  - {at: 2, submit: g, queue: G, tasks: 2, run: 300}"
                .to_owned(),
            vec!["0 low.0 m1", "2 g.0 m1", "2 g.1 m1"],
        ),
        (
            "a gang leaves alone what a job before it is about to get",
            priority,
            "",
            "
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, agent: m2, resources: {cpus: 1}}
  - {at: 0, submit: L, tasks: 2, gang: true, priority: 0, run: 100}
  - {at: 0, submit: X, tasks: 1, priority: 1, run: 100}
  - {at: 1, submit: s, tasks: 2, priority: 5, run: 10}
  - {at: 1, submit: g, tasks: 2, gang: true, priority: 4, run: 10}"
                .to_owned(),
            vec![
                "0 X.0 m2",
                "0 L.0 m1",
                "0 L.1 m1",
                "1 s.0 m1",
                "1 s.1 m1",
                "11 g.0 m1",
                "11 g.1 m1",
                "21 L.0 m1",
                "21 L.1 m1",
            ],
        ),
        (
            "who has just got a place is the first to lose it, and at once",
            priority,
            "",
            "
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: X, priority: 5, run: 10}
  - {at: 0, submit: Y, priority: 5, run: 20}
  - {at: 1, submit: J, priority: 2, resources: {cpus: 2}, run: 10}
  - {at: 2, submit: L, tasks: 2, priority: 0, run: 50}"
                .to_owned(),
            vec!["0 X.0 m1", "0 Y.0 m1", "10 L.0 m1", "20 L.1 m1", "20 J.0 m1", "30 L.0 m1", "30 L.1 m1"],
        ),
    ];
    check_all(cases);
}

/// What each is about, the policy, the queues, the events, and the grants that come of them.
type Case<'a> = (&'a str, &'a str, &'a str, String, Vec<&'a str>);

fn check_all<'a>(cases: impl IntoIterator<Item = Case<'a>>) {
    for (name, policy, queues, events, expected) in cases {
        let workload = yaml(&format!("{queues}\nevents:{events}\nuntil: 300\n")).workload;
        assert_eq!(grants(&workload, &run(&workload, policy)), expected, "{name}");
    }
}
