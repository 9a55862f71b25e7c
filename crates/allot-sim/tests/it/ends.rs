//! Jobs that end without running to their end, and that what is measured counts them as they are told.

use allot_sim::{Measures, Outcome, Workload};

use crate::support::{run, seconds, yaml};

fn measured(text: &str) -> (Workload, Outcome, Measures) {
    let workload = yaml(text).workload;
    let outcome = run(&workload, "fifo");
    let measures = Measures::of(&workload, &outcome);
    (workload, outcome, measures)
}

/// When each job ended, how many did, and how long it took until the last of them had.
fn ends(text: &str) -> (Vec<Option<u64>>, usize, f64) {
    let (_, outcome, measures) = measured(text);
    (outcome.jobs.iter().map(|fate| fate.end.map(seconds)).collect(), measures.ended, measures.makespan)
}

#[test]
fn a_job_that_is_cancelled_before_it_starts_has_ended_then() {
    let text = "events:
  - {at: 0, agent: a, resources: {cpus: 1}}
  - {at: 0, submit: A, run: 5}
  - {at: 0, submit: B, resources: {cpus: 2}, run: 5}
  - {at: 20, cancel: B}";
    assert_eq!(ends(text), (vec![Some(5), Some(20)], 2, 20.0));
    let (_, _, measures) = measured(text);
    assert_eq!((measures.started, measures.response.unwrap().max), (1, 20.0));
    assert_eq!((measures.utilisation, measures.jobs_per_hour), (Some(0.25), 360.0));
    assert!(measures.bounded_slowdown.unwrap().max <= 1.0, "only what started was slowed down");
}

#[test]
fn a_job_that_is_cancelled_when_nothing_of_it_runs_any_more_ends_with_that() {
    let text = "events:
  - {at: 0, agent: a, resources: {cpus: 1}}
  - {at: 1, submit: A, tasks: 9, run: forever}
  - {at: 7, agent: a, leaves: true}
  - {at: 8, cancel: A}
until: 100";
    assert_eq!(ends(text), (vec![Some(8)], 1, 7.0));
}

#[test]
fn what_still_waits_has_not_ended_and_what_ran_of_it_counts() {
    let text = "events:
  - {at: 0, agent: a, resources: {cpus: 1}}
  - {at: 0, submit: A, tasks: 2, run: 5}
  - {at: 4, agent: a, drains: true}
until: 9";
    assert_eq!(ends(text), (vec![None], 0, 5.0));
    let rejected = "queues: {default: {limit: {pending_jobs: 0}}}
events:
  - {at: 3, submit: A, run: 5}";
    assert_eq!(ends(rejected), (vec![None], 0, 0.0));
}
