//! `largest`: the job whose tasks ask for the most processors together first.

use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::Never;

pub(super) fn score(job: &Traits, _: At) -> i64 {
    0_i64.saturating_sub_unsigned(job.size_milli)
}
