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

    /// This share by a fraction. Exact as long as that can be told in a [`Share`]; beyond, the last digits of both
    /// numbers are left out, one by one.
    pub(crate) fn times(self, by: u128, over: u128) -> Self {
        if self.amount == 0 || by == 0 {
            return Self::ZERO;
        }
        if self.whole == 0 || over == 0 {
            return Self { whole: 0, ..self };
        }
        let common = divisor(by, over);
        let (by, over) = (by / common, over / common);
        let common = divisor(u128::from(self.amount), over);
        let (amount, over) = (u128::from(self.amount) / common, over / common);
        let common = divisor(by, self.whole);
        let (above, above_bits) = shortened(by / common, amount);
        let (below, below_bits) = shortened(over, self.whole / common);
        // What the numerator is still too long by.
        let excess = (128 - above.leading_zeros()).saturating_sub(64);
        let (above, cut) = (above >> excess, above_bits + excess);
        let (above, below) = match cut.checked_sub(below_bits) {
            Some(cut) => (above, below.checked_shr(cut).unwrap_or(0)),
            None => (above.checked_shr(below_bits - cut).unwrap_or(0), below),
        };
        Self { amount: u64::try_from(above).unwrap_or(u64::MAX).max(1), whole: below.max(1) }
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

/// A product without as many of its last binary digits as make it too long, and how many those are.
fn shortened(left: u128, right: u128) -> (u128, u32) {
    let bits = |number: u128| 128 - number.leading_zeros();
    let excess = (bits(left) + bits(right)).saturating_sub(128);
    let (large, small) = if left > right { (left, right) } else { (right, left) };
    ((large >> excess) * small, excess)
}

/// The greatest common divisor of two numbers that are not 0.
fn divisor(mut left: u128, mut right: u128) -> u128 {
    while right != 0 {
        (left, right) = (right, left % right);
        if let (Ok(small), Ok(rest)) = (u64::try_from(left), u64::try_from(right)) {
            return u128::from(small_divisor(small, rest));
        }
    }
    left
}

fn small_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
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

    #[allow(clippy::cast_precision_loss)]
    fn log(number: u128) -> f64 {
        (number as f64).log2()
    }

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

    #[test]
    fn a_share_by_a_fraction_is_exact_where_it_can_be() {
        assert_eq!(Share::of(2, 480, 1).times(5, 2).parts(), (1, 96));
        assert_eq!(Share::of(2, 480, 3).times(7 << 60, 7 << 62).parts(), (1, 2_880));
        assert_eq!(Share::of(7, 0, 1).times(1, 2), Share::of(1, 0, 1));
        assert_eq!(Share::of(7, 9, 1).times(0, 2), Share::ZERO);
    }

    proptest! {
        #[test]
        fn long_fractions_lose_their_last_digits_only(a in 1..=u64::MAX, b in 1..=u64::MAX, w in 1..=u32::MAX, n in 1..=1_u128 << 90, m in 1_u128 << 40..=1 << 52) {
            let (amount, whole) = Share::of(a, b, w).times(n, m).parts();
            let expected = log(u128::from(a)) + log(n) - log(u128::from(b)) - log(u128::from(w)) - log(m);
            prop_assert!((log(u128::from(amount)) - log(whole) - expected).abs() < 1e-6);
        }

        #[test]
        fn small_shares_are_ordered_as_their_cross_products(a in 0_u32..50, b in 1_u32..50, c in 0_u32..50, d in 1_u32..50) {
            let expected = (u64::from(a) * u64::from(d)).cmp(&(u64::from(c) * u64::from(b)));
            prop_assert_eq!(Share::of(a.into(), b.into(), 1).cmp(&Share::of(c.into(), d.into(), 1)), expected);
        }
    }
}
