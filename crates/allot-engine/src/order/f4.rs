//! `f4` [Carastan-Santos and de Camargo, SC'17]: the least estimate · √size + 530,000 · log10(submitted) first.

use super::fixed::{Terms, signed};
use super::{At, Moves, Traits};

pub(super) const MOVES: Moves = Moves::Never;

pub(super) fn score(job: &Traits, _: At) -> i64 {
    // The root of the whole term squared.
    let first = |of: &Terms| {
        let run = u128::from(of.run_us);
        (run.saturating_mul(run).saturating_mul(of.size_milli.into()) / 1_000).isqrt()
    };
    Terms::of(job).map_or(i64::MAX, |of| of.score(signed(first(&of)), 530_000))
}
