//! `f2` [Carastan-Santos and de Camargo, SC'17]: the least √estimate · size + 25,600 · log10(submitted) first.

use super::fixed::{Terms, signed};
use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::Never;

pub(super) fn score(job: &Traits, _: At) -> i64 {
    // The root of the whole term squared.
    let first = |of: &Terms| {
        let size = u128::from(of.size_milli);
        size.saturating_mul(size).saturating_mul(of.run_us.into()).isqrt()
    };
    Terms::of(job).map_or(i64::MAX, |of| of.score(signed(first(&of)), 25_600))
}
