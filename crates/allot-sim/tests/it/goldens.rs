//! Worked examples from the papers as scenario files.

use crate::support::{file, grants, queues, run, starts, states, yaml};

#[test]
fn g1_drf_grants_as_in_the_paper() {
    let scenario = file("nsdi.yaml");
    let outcome = run(&scenario.workload, &scenario.policy().unwrap().to_string());
    let expected = ["0 J1.0 m1", "0 J2.0 m1", "0 J1.1 m1", "0 J2.1 m1", "0 J1.2 m1"];
    assert_eq!(grants(&scenario.workload, &outcome), expected);
    assert_eq!(states(&scenario.workload, &outcome), ["A 3 2/3", "B 2 2/3"]);
}

#[test]
fn g2_one_input_under_several_policies() {
    let cases = [
        ("nsdi.yaml", "drf", "ABABA"),
        ("nsdi-weighted.json", "drf", "ABAAA"),
        ("nsdi.yaml", "fair:resource=cpus", "ABAAA"),
        ("nsdi-priority.toml", "priority", "AAAAB"),
        ("nsdi.yaml", "asset", "ABABA"),
        ("nsdi.yaml", "hdrf", "ABABA"),
        ("nsdi.yaml", "fifo", "AAAAB"),
    ];
    for (name, policy, expected) in cases {
        let scenario = file(name);
        let outcome = run(&scenario.workload, policy);
        assert_eq!(queues(&scenario.workload, &outcome), expected, "{name} {policy}");
    }
}

#[test]
fn g2_priority_the_other_way_round() {
    let text = include_str!("../scenarios/nsdi-priority.toml").replace("priority = 1", "priority = -1");
    let scenario = allot_sim::Scenario::parse(text.as_bytes(), allot_model::Format::Toml).unwrap();
    let outcome = run(&scenario.workload, "priority");
    assert_eq!(queues(&scenario.workload, &outcome), "BBB");
    assert_eq!(states(&scenario.workload, &outcome), ["A 0 0/1", "B 3 1/1"]);
}

#[test]
fn b_jobs_start_when_the_table_says() {
    let cases = [
        ("fifo:backfill=none", [0, 11, 19, 19, 22]),
        ("fifo:backfill=skip", [0, 12, 0, 9, 0]),
        ("fifo:backfill=easy", [0, 11, 0, 19, 0]),
        ("fifo:backfill=conservative", [0, 11, 0, 3, 6]),
        ("shortest:backfill=none", [11, 3, 0, 0, 3]),
    ];
    for (policy, expected) in cases {
        let outcome = run(&file("backfill.yaml").workload, policy);
        assert_eq!(starts(&outcome), expected.map(Some), "{policy}");
    }
}

#[test]
fn h3_a_part_is_not_starved_for_what_another_part_of_its_queue_holds() {
    let scenario = yaml(
        "policy: hdrf
events:
  - {at: 0, agent: m1, resources: {cpus: 10, gpus: 10}}
  - {at: 0, submit: J1, queue: n1.a, tasks: 1000, resources: {cpus: 1}, run: 3s}
  - {at: 0, submit: J2, queue: n2.a, tasks: 1000, resources: {cpus: 1}, run: 2s}
  - {at: 0, submit: J3, queue: n2.b, tasks: 1000, resources: {gpus: 1}, run: 5s}
until: 97",
    );
    let outcome = run(&scenario.workload, "hdrf");
    assert_eq!(
        states(&scenario.workload, &outcome),
        ["n1 5 1/2", "n1.a 5 1/2", "n2 15 1/1", "n2.a 5 1/2", "n2.b 10 1/1"]
    );
}

#[test]
fn s_ageing_counts_in_whole_steps_and_wakes_a_strict_line() {
    let scenario = yaml(
        "events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: R, queue: q, tasks: 1, resources: {cpus: 1}, run: 1000s, priority: 99}
  - {at: 0, submit: A, queue: q, tasks: 1, resources: {cpus: 1}, run: 10s, priority: 5}
  - {at: 0, submit: B, queue: q, tasks: 1, resources: {cpus: 2}, run: 10s, priority: 7}
  - {at: 30, submit: C, queue: q, tasks: 1, resources: {cpus: 1}, run: 10s, priority: 7}",
    );
    let order = |policy: &str| starts(&run(&scenario.workload, policy));
    let strict = order("priority:ageing=60s,backfill=none");
    assert_eq!(strict, [Some(0), Some(1_010), Some(1_000), Some(1_010)], "B is never less urgent than C");
    let line = order("priority:ageing=60s");
    assert_eq!(line, [Some(0), Some(0), Some(1_000), Some(30)]);
}

#[test]
fn a_strict_line_goes_on_when_a_priority_ages_though_nothing_happens() {
    let scenario = yaml(
        "events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: A, queue: q, tasks: 1, resources: {cpus: 2}, run: 30s, priority: 9}
  - {at: 0, submit: B, queue: q, tasks: 1, resources: {cpus: 1}, run: 10s, priority: 0}
  - {at: 10, submit: C, queue: q, tasks: 1, resources: {cpus: 9}, run: 10s, priority: 1}",
    );
    let starts = starts(&run(&scenario.workload, "priority:ageing=60s,backfill=none"));
    assert_eq!(starts, [Some(0), Some(60), None], "at 60 B is as urgent as C, and older");
}
