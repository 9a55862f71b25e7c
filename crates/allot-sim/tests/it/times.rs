//! Times so long that their sums would be cut off, and what is done instead.

use allot_engine::Policy;
use allot_sim::{Measures, SimulationError, simulate};

use crate::support::{run, seconds, starts, yaml};

/// One after the other on one processor, as many jobs as that, each as long as anything may run.
fn in_a_row(jobs: u32) -> String {
    let job = |number| format!("  - {{at: 0, submit: J{number}, run: 365000d}}\n");
    let jobs: String = (0..jobs).map(job).collect();
    format!("events:\n  - {{at: 0, agent: m1, resources: {{cpus: 1}}}}\n{jobs}")
}

#[test]
fn what_would_end_after_the_clock_does_is_an_error_and_not_cut_off() {
    let workload = yaml(&in_a_row(10)).workload;
    for policy in ["fifo", "fifo:backfill=easy", "fifo:backfill=conservative", "drf"] {
        let outcome = run(&workload, policy);
        assert_eq!(outcome.jobs.last().unwrap().end.map(seconds), Some(315_360_000_000), "{policy}");
    }
    let one_more = simulate(&yaml(&in_a_row(11)).workload, &Policy::parse("fifo").unwrap());
    let error = one_more.unwrap_err();
    assert!(matches!(error, SimulationError::PastTheEnd { .. }));
    let told = error.to_string();
    assert!(
        told.contains("what starts at 315360000000s would end after 315360000000s, 10000 years"),
        "{told}"
    );
    assert!(told.contains("stop before with `until`"), "{told}");
    let stopped = yaml(&format!("until: 1000d\n{}", in_a_row(11))).workload;
    assert_eq!(run(&stopped, "fifo").ended_at, allot_model::Time::from_micros(86_400_000_000_000));
}

#[test]
fn the_longest_estimates_at_the_latest_time_still_make_plans() {
    let text = "events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 364999d, submit: A, run: 1d, estimate: 365000d}
  - {at: 364999d, submit: B, resources: {cpus: 2}, run: 1d, estimate: 365000d}
  - {at: 364999d, submit: C, run: 1h, estimate: 365000d}
  - {at: 364999d, submit: D, run: 1h, estimate: 364999d}";
    for policy in ["fifo:backfill=easy", "fifo:backfill=conservative"] {
        let day = 86_400;
        let expected = [364_999 * day, 365_000 * day, 364_999 * day, 364_999 * day + 3_600];
        assert_eq!(starts(&run(&yaml(text).workload, policy)), expected.map(Some), "{policy}");
    }
}

#[test]
fn the_run_times_that_were_lost_add_up_beyond_what_a_clock_counts() {
    let text = "events:
  - {at: 0, agent: m1, resources: {cpus: 1000}}
  - {at: 0, submit: low, tasks: 1000, run: 365000d}
  - {at: 364999d, submit: high, priority: 1, resources: {cpus: 1000}, run: 1}
until: 365000d";
    let workload = yaml(text).workload;
    let measures = Measures::of(&workload, &run(&workload, "priority:preempt=priority:preempt_rate=1000"));
    assert_eq!((measures.preempted, measures.lost), (1_000, 364_999.0 * 86_400.0 * 1_000.0));
}
