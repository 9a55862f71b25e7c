//! `shortest`: the job whose tasks are expected to run for the shortest time first; those that say nothing last.

use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::Never;

pub(super) fn score(job: &Traits, _: At) -> i64 {
    job.estimate.map_or(i64::MAX, |estimate| i64::try_from(estimate.as_micros()).unwrap_or(i64::MAX))
}
