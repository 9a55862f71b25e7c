//! A step function of time.

use allot_model::Time;

use super::Window;

/// A value that keeps until it changes; 0 before it is set first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Series {
    /// In order, each value from its time on; neighbours differ in both.
    points: Vec<(Time, u64)>,
}

/// A piece of time within which only the extremes and the mean count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) low: u64,
    pub(crate) high: u64,
    /// Rounded down.
    pub(crate) mean: u64,
}

impl Series {
    /// 0 all the time.
    pub(crate) const NOTHING: Self = Self { points: Vec::new() };

    /// The value is another from now on. Times must not decrease.
    pub(crate) fn set(&mut self, at: Time, value: u64) {
        if self.points.last().is_some_and(|(last, _)| *last == at) {
            self.points.pop();
        }
        if self.points.last().map_or(0, |(_, last)| *last) != value {
            self.points.push((at, value));
        }
    }

    /// The value at the beginning of the window, and each other one from its time on.
    pub(crate) fn steps(&self, window: Window) -> impl Iterator<Item = (Time, u64)> {
        let first = self.points.partition_point(|(at, _)| *at <= window.from);
        let before = first.checked_sub(1).and_then(|place| self.points.get(place));
        let later = self.points.get(first..).unwrap_or_default();
        let initial = (window.from, before.map_or(0, |(_, value)| *value));
        std::iter::once(initial).chain(later.iter().copied().take_while(move |(at, _)| *at < window.to))
    }

    /// The values within a window, each with how many microseconds it keeps.
    fn stretches(&self, window: Window) -> impl Iterator<Item = (u64, u64)> {
        let mut steps = self.steps(window).peekable();
        std::iter::from_fn(move || {
            let (at, value) = steps.next()?;
            let until = steps.peek().map_or(window.to, |(next, _)| *next);
            Some((value, until.since(at).as_micros()))
        })
    }

    /// The extremes and the mean over a window.
    pub(crate) fn over(&self, window: Window) -> Column {
        let extremes = |(low, high): (u64, u64), (value, _)| (low.min(value), high.max(value));
        let (low, high) = self.stretches(window).fold((u64::MAX, 0), extremes);
        // A mean lies between the extremes, and of no time at all it is the value.
        Column { low, high, mean: self.mean(window, 1).clamp(low, high) }
    }

    /// The mean over a window in tenths, rounded to the nearest.
    pub(crate) fn mean_tenths(&self, window: Window) -> u64 {
        self.mean(window, 100).saturating_add(5) / 10
    }

    /// So many times the mean over a window, rounded down.
    fn mean(&self, window: Window, times: u128) -> u64 {
        let sum: u128 =
            self.stretches(window).map(|(value, micros)| u128::from(value) * u128::from(micros)).sum();
        let mean = sum.saturating_mul(times) / u128::from(window.span().as_micros().max(1));
        u64::try_from(mean).unwrap_or(u64::MAX)
    }

    /// The same for equal parts of the window.
    pub(crate) fn columns(&self, window: Window, count: u64) -> impl Iterator<Item = Column> {
        (0..count).map(move |number| self.over(window.part(number, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    fn series(points: &[(u64, u64)]) -> Series {
        let mut series = Series::default();
        points.iter().for_each(|(time, value)| series.set(at(*time), *value));
        series
    }

    #[test]
    fn values_that_do_not_last_or_do_not_differ_are_not_kept() {
        let series = series(&[(0, 0), (5, 1), (5, 2), (6, 2), (7, 3), (7, 2), (9, 4)]);
        assert_eq!(series.points, [(at(5), 2), (at(9), 4)]);
    }

    #[test]
    fn a_column_has_the_extremes_and_the_mean() {
        let series = series(&[(10, 4), (20, 0), (30, 8)]);
        let cases = [
            ((0, 40), (0, 8, 3)),
            ((0, 10), (0, 0, 0)),
            ((10, 20), (4, 4, 4)),
            ((15, 25), (0, 4, 2)),
            ((35, 99), (8, 8, 8)),
            ((12, 12), (4, 4, 4)),
        ];
        for ((from, to), (low, high, mean)) in cases {
            let window = Window { from: at(from), to: at(to) };
            assert_eq!(series.over(window), Column { low, high, mean }, "{from} to {to}");
        }
    }

    proptest! {
        #[test]
        fn columns_keep_every_extreme(changes in proptest::collection::vec((1_u64..50, 0_u64..9), 0..40), count in 1_u64..20) {
            let (mut series, mut plain, mut now) = (Series::default(), vec![0; 3_000], 0);
            for (after, value) in changes {
                now += after;
                series.set(at(now), value);
                plain.iter_mut().skip(usize::try_from(now).unwrap()).for_each(|slot| *slot = value);
            }
            let window = Window { from: at(100), to: at(2_100) };
            for (number, column) in (0..).zip(series.columns(window, count)) {
                let part = window.part(number, count);
                let slots = usize::try_from(part.from.as_micros()).unwrap()..usize::try_from(part.to.as_micros()).unwrap();
                let values = &plain[slots];
                let expected = Column {
                    low: *values.iter().min().unwrap(),
                    high: *values.iter().max().unwrap(),
                    mean: values.iter().sum::<u64>() / values.len() as u64,
                };
                prop_assert_eq!(column, expected);
            }
        }
    }
}
