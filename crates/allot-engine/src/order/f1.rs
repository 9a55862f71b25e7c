//! `f1` [Carastan-Santos and de Camargo, SC'17]: the least log10(estimate) · size + 870 · log10(submitted) first.

use super::fixed::{Terms, log10_of_millionths};
use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::Never;

pub(super) fn score(job: &Traits, _: At) -> i64 {
    let first = |of: &Terms| log10_of_millionths(of.run_us, of.size_milli) / 1_000;
    Terms::of(job).map_or(i64::MAX, |of| of.score(first(&of), 870))
}
