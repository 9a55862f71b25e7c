//! Logarithms and roots in whole numbers, alike on every machine.

use super::Traits;

/// The digits of [`log2`] after the point, in bits.
pub(super) const LOG_BITS: u32 = 52;

/// The logarithm of 2 to the base of 10, in parts of 2^64, rounded down.
const LOG10_OF_2: u128 = 5_553_023_288_523_357_132;

/// The logarithm to the base of 2, in parts of 2^[`LOG_BITS`], rounded down; that of 0 counts as that of 1.
pub(crate) fn log2(number: u64) -> u64 {
    let number = number.max(1);
    let whole = number.ilog2();
    // Between 1 and 2 in parts of 2^63; its square is at least 2 where the next digit is 1.
    let mut rest = u128::from(number) << (63 - whole);
    let mut digits = u64::from(whole);
    for _ in 0..LOG_BITS {
        rest = (rest * rest) >> 63;
        let digit = rest >> 64 & 1;
        rest >>= digit;
        digits = digits << 1 | u64::from(digit != 0);
    }
    digits
}

/// The logarithm to the base of 10 of a number of millionths by a factor, in millionths, rounded to the nearest. That of 0
/// counts as that of one millionth.
pub(super) fn log10_of_millionths(millionths: u64, factor: u64) -> i128 {
    // In millionths, in parts of 2^44, so that only the end is rounded.
    let log = (((u128::from(log2(millionths)) * LOG10_OF_2) >> LOG_BITS) * 1_000_000) >> 20;
    let scaled = log.saturating_mul(u128::from(factor)).saturating_add(1 << 43) >> 44;
    signed(scaled) - 6_000_000 * i128::from(factor)
}

/// What the formulas of Carastan-Santos and de Camargo (SC'17) are made of. Their terms are in millionths, each rounded.
pub(super) struct Terms {
    /// The estimate in microseconds.
    pub(super) run_us: u64,
    /// The size in thousandths.
    pub(super) size_milli: u64,
    /// When it was submitted, in microseconds.
    submitted_us: u64,
}

impl Terms {
    /// Nothing for a job without an estimate.
    pub(super) fn of(job: &Traits) -> Option<Self> {
        let run_us = job.estimate?.as_micros().max(1);
        // The logarithm of the time of submission, in seconds, is defined from the first second on.
        let submitted_us = job.submitted_at.as_micros().max(1_000_000);
        Some(Self { run_us, size_milli: job.size_milli, submitted_us })
    }

    /// The sum of the first term, in millionths, and the logarithm of the time of submission by `factor`.
    pub(super) fn score(&self, first: i128, factor: u64) -> i64 {
        let score = first + log10_of_millionths(self.submitted_us, factor);
        i64::try_from(score).unwrap_or(i64::MAX - 1)
    }
}

/// A product as a signed number, as far as there are any.
pub(super) fn signed(number: u128) -> i128 {
    i128::try_from(number).unwrap_or(i128::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_of_powers_are_exact_and_others_close() {
        for power in 0..64_u32 {
            assert_eq!(log2(1 << power), u64::from(power) << LOG_BITS);
        }
        assert_eq!(log10_of_millionths(1_000_000, 1), 0);
        assert_eq!(log10_of_millionths(2_000_000, 1), 301_030);
        assert_eq!(log10_of_millionths(1, 1), -6_000_000);
    }
}
