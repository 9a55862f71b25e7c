//! `wfp3` [Tang et al., Cluster 2009]: the largest (wait / estimate)^3 · size first; those without an estimate last.
//!
//! Scores are compared as logarithms to the base of 2, in parts of 2^40, rounded to the nearest.

use super::fixed::{LOG_BITS, log2};
use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::WithTime;

pub(super) fn score(job: &Traits, at: At) -> i64 {
    let waited = at.now.since(job.submitted_at).as_micros();
    let Some(estimate) = job.estimate else { return i64::MAX };
    if waited == 0 {
        return i64::MAX - 1;
    }
    let log = |number: u64| i128::from(log2(number));
    let exact = 3 * (log(waited) - log(estimate.as_micros())) + log(job.size_milli);
    let half = 1_i128 << (LOG_BITS - 41);
    i64::try_from(-((exact + half) >> (LOG_BITS - 40))).unwrap_or(i64::MAX)
}
