//! Backfilling on a log of a real machine, beside what the literature's simulators give for it.

use allot_engine::{Backfill, Policy};
use allot_model::Time;

use crate::support::policy;
use crate::support::replay::{Play, figures, jobs_of, logs, starts};

const KTH: Play = Play { procs: 100, gangs: false, exact: false };

/// The figures of a policy on KTH-SP2, and when each job starts; nothing where the log is not at hand.
fn kth(backfill: Backfill, play: Play) -> Option<((f64, f64), Vec<Time>)> {
    let jobs = jobs_of(&logs()?, "KTH-SP2-1996-2.swf.gz", play.procs);
    assert_eq!(jobs.len(), 28_481);
    let starts = starts(Policy { backfill, ..policy("fifo") }, &jobs, play);
    Some((figures(&jobs, &starts), starts))
}

fn is_near(found: f64, expected: f64, percent: f64) -> bool {
    (found - expected).abs() <= expected * percent / 100.0
}

#[test]
fn easy_on_kth_sp2_is_as_in_the_literature() {
    let Some(((slowdown, response), _)) = kth(Backfill::Easy, KTH) else { return };
    assert!(is_near(slowdown, 92.58, 1.0), "mean bounded slowdown {slowdown}");
    assert!(is_near(response, 15_696.8, 0.1), "mean response {response} s");
}

#[test]
fn easy_with_exact_estimates_on_kth_sp2_is_as_in_the_literature() {
    let Some(((slowdown, response), _)) = kth(Backfill::Easy, Play { exact: true, ..KTH }) else { return };
    assert!(is_near(slowdown, 71.7224, 0.1), "mean bounded slowdown {slowdown}");
    assert!(is_near(response, 15_187.61, 0.1), "mean response {response} s");
}

#[test]
fn easy_with_the_shortest_first_on_kth_sp2_is_as_in_the_literature() {
    let Some(((slowdown, _), _)) = kth(Backfill::EasyShortest, KTH) else { return };
    assert!(is_near(slowdown, 69.41, 1.0), "mean bounded slowdown {slowdown}");
}

#[test]
fn conservative_on_kth_sp2_is_as_in_the_literature() {
    let Some(((slowdown, _), _)) = kth(Backfill::Conservative, KTH) else { return };
    assert!(is_near(slowdown, 89.0, 2.0), "mean bounded slowdown {slowdown}");
}

#[test]
fn gangs_over_many_small_agents_start_when_tasks_on_one_large_agent_do() {
    let Some((_, together)) = kth(Backfill::Easy, KTH) else { return };
    let Some((_, apart)) = kth(Backfill::Easy, Play { gangs: true, ..KTH }) else { return };
    let differs = together.iter().zip(&apart).position(|(one, other)| one != other);
    assert_eq!(differs, None, "the first job that starts at another time");
}
