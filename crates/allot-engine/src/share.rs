//! Exact shares: what a queue has of what there is, over its weight.

use std::cmp::Ordering;

/// A fraction that is compared exactly, whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    amount: u64,
    whole: u128,
}

impl Share {
    /// Nothing at all.
    pub const ZERO: Self = Self { amount: 0, whole: 1 };

    /// `amount` of a whole of `whole`, over `weight`. Having some of what does not exist is more than any other
    /// share; having none of it is no share at all.
    #[must_use]
    pub fn of(amount: u64, whole: u64, weight: u32) -> Self {
        match (amount, u128::from(whole) * u128::from(weight)) {
            (0, _) => Self::ZERO,
            (amount, whole) => Self { amount, whole },
        }
    }

    /// Numerator and denominator, not reduced. The denominator is 0 for a share of what does not exist.
    #[must_use]
    pub fn parts(self) -> (u64, u128) {
        (self.amount, self.whole)
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::ZERO
    }
}

/// The product as its bits above the lowest 64, and the lowest 64.
fn product(left: u64, right: u128) -> (u128, u64) {
    let left = u128::from(left);
    let low = left * (right & u128::from(u64::MAX));
    let high = left * (right >> 64) + (low >> 64);
    #[allow(clippy::cast_possible_truncation)]
    (high, low as u64)
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        product(self.amount, other.whole).cmp(&product(other.amount, self.whole))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_compared_as_fractions_with_their_weights() {
        assert_eq!(Share::of(1, 3, 1), Share::of(2, 6, 1));
        assert_eq!(Share::of(1, 3, 2), Share::of(1, 6, 1));
        assert!(Share::of(2, 9, 1) < Share::of(1, 3, 1));
        assert!(Share::of(1, 0, 1) > Share::of(u64::MAX, 1, 1));
        assert_eq!(Share::of(0, 0, 1), Share::ZERO);
    }

    #[test]
    fn the_largest_numbers_are_compared_without_rounding() {
        let most = u64::MAX;
        assert!(Share::of(most - 1, most, 1_000_000) < Share::of(most, most, 1_000_000));
        assert!(Share::of(most - 1, most, u32::MAX) > Share::of(most - 2, most - 1, u32::MAX));
    }

    proptest! {
        #[test]
        fn small_shares_are_ordered_as_their_cross_products(a in 0_u32..50, b in 1_u32..50, c in 0_u32..50, d in 1_u32..50) {
            let expected = (u64::from(a) * u64::from(d)).cmp(&(u64::from(c) * u64::from(b)));
            prop_assert_eq!(Share::of(a.into(), b.into(), 1).cmp(&Share::of(c.into(), d.into(), 1)), expected);
        }
    }
}
