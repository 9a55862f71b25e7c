//! `deadline`: the job that is to be done first goes first; those that may take as long as they like last.

use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::Never;

pub(super) fn score(job: &Traits, _: At) -> i64 {
    job.deadline.map_or(i64::MAX, |deadline| i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX))
}
