//! Fair share on past use: what counts is the time integral of a queue's dominant share, where use from a half-life ago
//! counts half.
//!
//! Decay is the same for all, so it is use that grows instead, and the sum is halved at each half-life: within one, use at a
//! time counts by 2 to the power of the part of the half-life that is over. What is summed up is the same however often it
//! is looked at. Queues are compared by what was so at the start of the first pass of a second.

use allot_model::{Span, Time};

use crate::share::Share;

/// What a queue has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Up to `until`.
    sum: u128,
    until: Moment,
    /// The sum that it ranks by.
    told: u64,
}

/// A point in time on the scale of decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// How many half-lives are over.
    age: u64,
    /// 2 to the power of the part of the present one that is over, in parts of 2^62.
    factor: u64,
}

const ONE: u64 = 1 << 62;

/// What is held is counted in parts of 2 to this power.
pub(crate) const BITS: u32 = 60;

/// Of what is told, in parts of 2^60 of a half-life of all there is, so much is rounded.
const ROUNDED: u64 = 1 << 20;

impl Default for Moment {
    fn default() -> Self {
        Self { age: 0, factor: ONE }
    }
}

/// 2 to the powers of 1/2, 1/4, 1/8, … in parts of 2^62, rounded down.
const ROOTS: [u64; 62] = roots();

#[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)]
const fn roots() -> [u64; 62] {
    let mut roots = [0; 62];
    let (mut root, mut place) = (2_u128 << 62, 0);
    while place < 62 {
        root = (root << 62).isqrt();
        roots[place] = root as u64;
        place += 1;
    }
    roots
}

impl Moment {
    pub(crate) fn of(now: Time, half_life: Span) -> Self {
        let (now, life) = (now.as_micros(), half_life.as_micros().max(1));
        let part = (u128::from(now % life) << 62) / u128::from(life);
        let mut factor = u128::from(ONE);
        for (place, root) in ROOTS.iter().enumerate() {
            if part >> (61 - place) & 1 == 1 {
                factor = (factor * u128::from(*root)) >> 62;
            }
        }
        Self { age: now / life, factor: u64::try_from(factor).unwrap_or(2 * ONE - 1).max(ONE) }
    }
}

impl Usage {
    /// Nothing used so far.
    pub(crate) fn since(moment: Moment) -> Self {
        Self { until: moment, ..Self::default() }
    }

    /// Since it was last looked at, this much was held, in parts of 2^[`BITS`].
    pub(crate) fn accrue(&mut self, held: u64, now: Moment) {
        if now <= self.until {
            return;
        }
        let (held, one) = (u128::from(held), u128::from(ONE));
        let mut from = u128::from(self.until.factor);
        // After some hundred half-lives another one changes nothing.
        for _ in self.until.age..now.age.min(self.until.age.saturating_add(300)) {
            self.sum = (self.sum + held * (2 * one - from)) >> 1;
            from = one;
        }
        self.sum += held * (u128::from(now.factor) - from.min(u128::from(now.factor)));
        self.until = now;
    }

    /// From now on it ranks by what it has used up to the moment it was last looked at.
    pub(crate) fn tell(&mut self) {
        self.told = u64::try_from(self.sum >> 62).unwrap_or(u64::MAX);
    }

    /// True where nothing is left of it.
    pub(crate) fn is_nothing(&self) -> bool {
        self.sum == 0 && self.told == 0
    }

    /// Its place: what is the same but for rounding is the same. With a half-life of a week the last digit stands for
    /// half a microsecond of all there is.
    pub(crate) fn share(&self, weight: u32) -> Share {
        let over_weight = self.told / u64::from(weight.max(1));
        Share::of((over_weight + ROUNDED / 2) / ROUNDED, 1, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Span = Span::from_secs(100);
    const ALL: u64 = 1 << BITS;

    fn at(seconds: u64) -> Moment {
        Moment::of(Time::ZERO + Span::from_secs(seconds), LIFE)
    }

    fn told(mut usage: Usage) -> u64 {
        usage.tell();
        usage.told
    }

    #[test]
    fn what_was_used_a_half_life_ago_counts_half() {
        let mut early = Usage::since(at(0));
        early.accrue(ALL, at(10));
        let before = told(early);
        early.accrue(0, at(100));
        assert_eq!(told(early), before / 2);
        let mut late = Usage::since(at(100));
        late.accrue(ALL, at(110));
        assert_eq!(told(late), before, "the same a half-life later");
        assert!(told(early).abs_diff(told(late) / 2) <= 1);
    }

    #[test]
    fn it_does_not_matter_how_often_it_is_looked_at() {
        let (mut once, mut often) = (Usage::since(at(0)), Usage::since(at(0)));
        once.accrue(ALL / 3, at(1_234));
        (1..=1_234).for_each(|second| often.accrue(ALL / 3, at(second)));
        assert_eq!(once, often);
    }

    #[test]
    fn steady_use_is_as_much_as_a_half_life_of_it_can_be_and_idle_queues_forget_all() {
        let mut usage = Usage::since(at(0));
        usage.accrue(ALL, at(1_000_000));
        let all = (u128::from(ALL) * u128::from(ONE)) >> 62;
        assert!(all.abs_diff(usage.sum >> 62) <= 1, "the sum of 1/2, 1/4, …");
        usage.accrue(0, at(2_000_000));
        usage.tell();
        assert!(usage.is_nothing());
    }

    #[test]
    fn twice_the_use_with_twice_the_weight_is_the_same_place() {
        for parts in 1..2_000 {
            let (mut half, mut whole) = (Usage::since(at(3)), Usage::since(at(3)));
            half.accrue(ALL / parts / 2, at(47));
            whole.accrue(ALL / parts, at(47));
            half.tell();
            whole.tell();
            assert_eq!(half.share(1), whole.share(2), "1/{parts}");
            assert!(half.share(1) < whole.share(1), "1/{parts}");
        }
    }

    #[test]
    fn factors_double_over_a_half_life() {
        assert_eq!((at(0).factor, at(100)), (ONE, Moment { age: 1, factor: ONE }));
        let half = at(50).factor;
        assert_eq!(half, ROOTS[0]);
        assert!((0..100).all(|second| at(second) < at(second + 1)));
    }
}
