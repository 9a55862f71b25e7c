//! What a process takes for the time. It never goes back while the process lives; another life may begin with another
//! clock.

use allot_model::{Span, Time};

use crate::dice::Dice;

/// When virtual time begins, so that clocks may be behind.
pub(crate) const START: Time = Time::from_micros(1_000_000_000_000);

/// A clock: ahead by some time, and faster or slower by some parts in a million.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    ahead_us: i64,
    faster_ppm: i64,
}

impl Clock {
    pub(crate) fn drawn(dice: &mut Dice, skew: Span) -> Self {
        let (far, drift) = (skew.as_micros(), if skew == Span::ZERO { 0 } else { 200 });
        let signed = |n: u64, half: u64| i64::try_from(n).unwrap_or(0) - i64::try_from(half).unwrap_or(0);
        Self {
            ahead_us: signed(dice.between(0, 2 * far), far),
            faster_ppm: signed(dice.between(0, 2 * drift), drift),
        }
    }

    /// What it shows at that time.
    pub(crate) fn at(self, time: Time) -> Time {
        let passed = i64::try_from(time.since(START).as_micros()).unwrap_or(0);
        let off = self.ahead_us + passed * self.faster_ppm / 1_000_000;
        Time::from_micros(time.as_micros().saturating_add_signed(off))
    }

    /// When it shows that time or a later one.
    pub(crate) fn when(self, shown: Time) -> Time {
        let mut time = Time::from_micros(shown.as_micros().saturating_add_signed(-self.ahead_us));
        for _ in 0..3 {
            let error = shown.as_micros().abs_diff(self.at(time).as_micros());
            time = if self.at(time) < shown {
                time + Span::from_micros(error)
            } else {
                time - Span::from_micros(error)
            };
        }
        while self.at(time) < shown {
            time = time + Span::from_micros(1);
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_backwards_as_it_is_read() {
        let mut dice = Dice::new(1);
        for _ in 0..1_000 {
            let clock = Clock::drawn(&mut dice, Span::from_secs(20));
            let shown = START + Span::from_micros(dice.between(30_000_000, 3_000_000_000));
            let time = clock.when(shown);
            assert!(clock.at(time) >= shown && clock.at(time).since(shown) <= Span::from_micros(2));
        }
    }
}
