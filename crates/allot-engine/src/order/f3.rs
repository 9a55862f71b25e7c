//! `f3` [Carastan-Santos and de Camargo, SC'17]: the least estimate · size + 6,860,000 · log10(submitted) first.

use super::fixed::{Terms, signed};
use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::Never;

pub(super) fn score(job: &Traits, _: At) -> i64 {
    let first = |of: &Terms| u128::from(of.run_us) * u128::from(of.size_milli) / 1_000;
    Terms::of(job).map_or(i64::MAX, |of| of.score(signed(first(&of)), 6_860_000))
}
