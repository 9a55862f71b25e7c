//! How a scheduler did with a workload: the usual measures of the literature.

use allot_model::{Span, Time};
use serde::Serialize;

/// Run times below this count as this in the slowdown, so that very short jobs do not decide it.
pub const SLOWDOWN_BOUND: Span = Span::from_secs(10);

/// When a job was submitted, started and ended, and how much of the machine it held meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// When it was submitted.
    pub submit: Time,
    /// When it started.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// How many processors it held.
    pub procs: u64,
}

/// How a set of jobs was served. Times are seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metrics {
    /// How many jobs ran.
    pub jobs: usize,
    /// From submission to start.
    pub wait_s: Distribution,
    /// Time from submission to end, in run times of at least [`SLOWDOWN_BOUND`]; at least 1.
    pub bounded_slowdown: Distribution,
    /// What part of the machine was held on average, from 0 to 1.
    pub utilisation: f64,
    /// From the first submission to the last end.
    pub makespan_s: f64,
}

/// Of many values, the ones that are told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// Their mean.
    pub mean: f64,
    /// The smallest that half of them do not exceed.
    pub p50: f64,
    /// The smallest that 95 in 100 of them do not exceed.
    pub p95: f64,
    /// The smallest that 99 in 100 of them do not exceed.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Ran {
    /// How long it waited.
    #[must_use]
    pub fn wait(&self) -> Span {
        self.start.since(self.submit)
    }

    /// How long it ran.
    #[must_use]
    pub fn run(&self) -> Span {
        self.end.since(self.start)
    }

    /// How long it took from its submission to its end.
    #[must_use]
    pub fn response(&self) -> Span {
        self.wait() + self.run()
    }

    /// How much longer it took than it ran, at least 1.
    #[must_use]
    pub fn bounded_slowdown(&self) -> f64 {
        bounded_slowdown(self.response(), self.run())
    }
}

/// How much longer something took from its submission to its end than its run time, of at least [`SLOWDOWN_BOUND`]; at
/// least 1.
#[must_use]
pub fn bounded_slowdown(response: Span, run: Span) -> f64 {
    (response.as_secs_f64() / run.max(SLOWDOWN_BOUND).as_secs_f64()).max(1.0)
}

impl Metrics {
    /// Measures jobs that ran on a machine of `machine_procs` processors; nothing where none did.
    #[must_use]
    pub fn of(ran: &[Ran], machine_procs: u64) -> Option<Self> {
        let first = ran.iter().map(|job| job.submit).min()?;
        let last = ran.iter().map(|job| job.end).max()?;
        let makespan = last.since(first);
        Some(Self {
            jobs: ran.len(),
            wait_s: Distribution::of(ran.iter().map(|job| job.wait().as_secs_f64()))?,
            bounded_slowdown: Distribution::of(ran.iter().map(Ran::bounded_slowdown))?,
            utilisation: utilisation(ran, machine_procs, makespan),
            makespan_s: makespan.as_secs_f64(),
        })
    }
}

/// Counted in integers up to the one division.
#[allow(clippy::cast_precision_loss)]
fn utilisation(ran: &[Ran], machine_procs: u64, makespan: Span) -> f64 {
    let held: u128 = ran.iter().map(|job| u128::from(job.procs) * u128::from(job.run().as_micros())).sum();
    let there = u128::from(machine_procs) * u128::from(makespan.as_micros());
    if there == 0 { 0.0 } else { held as f64 / there as f64 }
}

impl Distribution {
    /// What is told of these values; nothing where there are none.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p50: percentile(&sorted, 50)?,
            p95: percentile(&sorted, 95)?,
            p99: percentile(&sorted, 99)?,
            max: *sorted.last()?,
        })
    }
}

/// The smallest of the sorted values that `percent` in 100 of them do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(submit: u64, start: u64, end: u64, procs: u64) -> Ran {
        let at = |secs: u64| Time::from_micros(secs * 1_000_000);
        Ran { submit: at(submit), start: at(start), end: at(end), procs }
    }

    fn is(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-9
    }

    #[test]
    fn nothing_is_told_where_nothing_ran() {
        assert_eq!(Metrics::of(&[], 10), None);
        assert_eq!(Distribution::of([]), None);
    }

    #[test]
    fn a_machine_that_is_full_all_the_time_is_utilised_wholly() {
        let jobs = [ran(100, 100, 200, 4), ran(100, 100, 200, 6), ran(150, 200, 300, 10)];
        let metrics = Metrics::of(&jobs, 10).unwrap();
        assert!(is(metrics.utilisation, 1.0) && is(metrics.makespan_s, 200.0), "{metrics:?}");
        assert!(is(metrics.wait_s.mean, 50.0 / 3.0) && is(metrics.wait_s.max, 50.0), "{metrics:?}");
        assert!(is(metrics.bounded_slowdown.max, 1.5), "{metrics:?}");
        assert!(is(Metrics::of(&jobs, 20).unwrap().utilisation, 0.5));
    }

    #[test]
    fn slowdown_is_bounded_for_short_jobs_and_never_below_one() {
        let cases = [
            (ran(0, 0, 100, 1), 1.0),
            (ran(0, 100, 200, 1), 2.0),
            (ran(0, 20, 21, 1), 2.1),
            (ran(0, 1, 2, 1), 1.0),
            (ran(0, 50, 50, 1), 5.0),
            (ran(0, 10, 20, 1), 2.0),
        ];
        for (job, slowdown) in cases {
            assert!(is(job.bounded_slowdown(), slowdown), "{job:?}: {}", job.bounded_slowdown());
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |values: &[f64]| Distribution::of(values.iter().copied()).unwrap();
        let hundred: Vec<f64> = (1..=100_u32).rev().map(f64::from).collect();
        let cases = [
            (of(&[7.0]), [7.0, 7.0, 7.0, 7.0]),
            (of(&[3.0, 1.0]), [2.0, 1.0, 3.0, 3.0]),
            (of(&[3.0, 1.0, 2.0]), [2.0, 2.0, 3.0, 3.0]),
            (of(&hundred), [50.5, 50.0, 95.0, 100.0]),
        ];
        for (told, [mean, p50, p95, max]) in cases {
            let right = is(told.mean, mean) && is(told.p50, p50) && is(told.p95, p95) && is(told.max, max);
            assert!(right, "{told:?}");
        }
    }

    #[test]
    fn clocks_that_disagree_do_not_make_time_run_backwards() {
        let metrics = Metrics::of(&[ran(10, 9, 8, 1)], 1).unwrap();
        assert!(
            is(metrics.wait_s.max, 0.0)
                && is(metrics.bounded_slowdown.max, 1.0)
                && is(metrics.utilisation, 0.0)
        );
    }
}
