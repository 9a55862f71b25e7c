//! `priority`: the largest priority first. With ageing a job counts as one more urgent for each whole `ageing` it has waited:
//! its priority is what was given + floor((now - submitted) / ageing).

use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::WithAge;

pub(super) fn score(job: &Traits, at: At) -> i64 {
    let waited = at.now.since(job.submitted_at).as_micros();
    let steps = at.ageing.map_or(0, |step| waited / step.as_micros().max(1));
    (-i64::from(job.priority)).saturating_sub_unsigned(steps)
}
