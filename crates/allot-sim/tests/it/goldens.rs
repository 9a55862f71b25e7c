//! Worked examples from the papers as scenario files.

use crate::support::{file, grants, queues, run, starts, states};

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

/// Of the table of order and backfill, the rows whose policies there are.
#[test]
fn b_jobs_start_when_the_table_says() {
    let cases = [("fifo:backfill=none", [0, 11, 19, 19, 22]), ("fifo:backfill=skip", [0, 12, 0, 9, 0])];
    for (policy, expected) in cases {
        let outcome = run(&file("backfill.yaml").workload, policy);
        assert_eq!(starts(&outcome), expected.map(Some), "{policy}");
    }
}
