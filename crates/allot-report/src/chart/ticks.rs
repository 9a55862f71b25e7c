//! Where the lines of a scale are, and what stands beside them.

use allot_model::{Span, Time};

use crate::history::{WHOLE_PPM, Window};
use crate::words;

/// How fine places along a scale are: hundredths of a percent.
pub(crate) const PLACES: u64 = 10_000;

/// More lines than these along a scale of time are too many.
const MOST_TIMES: u64 = 8;

/// Lengths of time between lines, in seconds, beyond which it is powers of ten of days.
const STEPS_SECS: [u64; 21] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
    172_800, 432_000, 604_800,
];

const DAY_SECS: u64 = 86_400;

/// A line of a scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Where it is, from 0 to [`PLACES`].
    pub(crate) place: u64,
    /// What stands beside it.
    pub(crate) label: String,
    /// True where a narrow page has no room for the label.
    pub(crate) is_minor: bool,
}

/// The lines of a scale, and the value at its end where the scale says that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    pub(crate) ticks: Vec<Tick>,
    /// The value at the end of the scale.
    pub(crate) top: u64,
}

/// Times at round distances.
pub(crate) fn times(window: Window) -> Vec<Tick> {
    let step = time_step(window.span().as_micros() / MOST_TIMES);
    let first = window.from.as_micros().div_ceil(step);
    let last = window.to.as_micros() / step;
    let at = |number: u64| Time::from_micros(number * step);
    let tick = |number: u64| Tick {
        place: window.place(at(number), PLACES),
        label: words::exact(at(number).since(Time::ZERO)),
        is_minor: last - first > 4 && !(number - first).is_multiple_of(2),
    };
    (first..=last).map(tick).collect()
}

/// The shortest round length that is not below `least`, in microseconds.
fn time_step(least: u64) -> u64 {
    let below = powers([1, 2, 5]).take_while(|step| *step < 1_000_000);
    let seconds = STEPS_SECS.iter().map(|secs| secs * 1_000_000);
    let days = powers([1, 2, 5]).skip(3).map(|days| days.saturating_mul(DAY_SECS * 1_000_000));
    below.chain(seconds).chain(days).find(|step| *step >= least).unwrap_or(u64::MAX)
}

/// These, ten times these, and so on.
fn powers(digits: [u64; 3]) -> impl Iterator<Item = u64> {
    (0..19).flat_map(move |power| digits.map(|digit| digit * 10_u64.pow(power)))
}

/// From 0 to a round number that is at least `most`.
pub(crate) fn counts(most: u64) -> Scale {
    let step = powers([1, 2, 5]).find(|step| step.saturating_mul(4) >= most).unwrap_or(u64::MAX);
    linear(step, most.div_ceil(step).max(1), words::short_count)
}

/// From 0 to a whole, or beyond where there is more.
pub(crate) fn shares(most: u64) -> Scale {
    let step = if most > WHOLE_PPM { WHOLE_PPM / 2 } else { WHOLE_PPM / 4 };
    linear(step, most.max(WHOLE_PPM).div_ceil(step), |ppm| format!("{}%", ppm / 10_000))
}

/// From 0 to a share that is just above the largest, where that is far from a whole.
pub(crate) fn small_shares(most: u64) -> Scale {
    let step = powers([1, 2, 5]).skip_while(|step| *step < 10_000).find(|step| step * 4 >= most);
    match step {
        Some(step) if most * 2 < WHOLE_PPM => {
            linear(step, most.div_ceil(step).max(1), |ppm| format!("{}%", ppm / 10_000))
        }
        _ => shares(most),
    }
}

fn linear(step: u64, count: u64, label: fn(u64) -> String) -> Scale {
    let tick = |number| Tick { place: number * PLACES / count, label: label(number * step), is_minor: false };
    Scale { ticks: (0..=count).map(tick).collect(), top: step.saturating_mul(count) }
}

/// A logarithmic scale: the lines between two values that are lines themselves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Logarithmic {
    pub(crate) ticks: Vec<Tick>,
    lowest: f64,
    /// How many times its beginning its end is, as a natural logarithm.
    reach: f64,
}

/// Round lengths of time, in microseconds, each about as many times the one before.
const ROUND_LENGTHS: [u64; 16] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    36_000_000_000,
    86_400_000_000,
    864_000_000_000,
    8_640_000_000_000,
    86_400_000_000_000,
];

impl Logarithmic {
    /// Lengths of time from 1 s, or what is shorter than all but few, to what is at least `most`, in microseconds.
    pub(crate) fn lengths(least: u64, most: u64) -> Self {
        let least = least.clamp(1, 1_000_000);
        let first = ROUND_LENGTHS.iter().rposition(|length| *length <= least).unwrap_or(0);
        let last = ROUND_LENGTHS.iter().position(|length| *length >= most).unwrap_or(ROUND_LENGTHS.len() - 1);
        let marks = ROUND_LENGTHS.get(first..=last.max(first + 1)).unwrap_or_default();
        Self::of(marks, |micros| words::exact(Span::from_micros(micros)))
    }

    /// Quotients from 1 to what is at least `most`, in hundredths.
    pub(crate) fn quotients(most: u64) -> Self {
        let up_to = |marks: &[u64]| -> Vec<u64> {
            let last = marks.iter().position(|mark| *mark >= most).unwrap_or(marks.len() - 1).max(1);
            marks.iter().copied().take(last + 1).collect()
        };
        let fine: Vec<u64> = powers([1, 2, 5]).filter(|mark| *mark >= 100).collect();
        let mut marks = up_to(&fine);
        if marks.len() > 7 {
            let coarse: Vec<u64> = (2..20).map(|power| 10_u64.pow(power)).collect();
            marks = up_to(&coarse);
        }
        Self::of(&marks, |hundredths| words::count(hundredths / 100))
    }

    #[allow(clippy::cast_precision_loss)]
    fn of(marks: &[u64], label: impl Fn(u64) -> String) -> Self {
        let lowest = marks.first().map_or(1.0, |mark| *mark as f64);
        let highest = marks.last().map_or(10.0, |mark| *mark as f64);
        let mut scale = Self { ticks: Vec::new(), lowest, reach: (highest / lowest).ln() };
        let tick = |(number, mark): (usize, &u64)| Tick {
            place: scale.place(*mark),
            label: label(*mark),
            is_minor: marks.len() > 5 && !number.is_multiple_of(2),
        };
        scale.ticks = marks.iter().enumerate().map(tick).collect();
        scale
    }

    /// Where a value is, from 0 to [`PLACES`], rounded to the nearest; what lies outside is at the edge.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn place(&self, value: u64) -> u64 {
        let place = (value as f64 / self.lowest).ln() / self.reach * PLACES as f64;
        (place.round() as u64).min(PLACES)
    }

    /// The value at a place of `whole`, rounded to the nearest.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn value(&self, place: u64, whole: u64) -> u64 {
        (self.lowest * (self.reach * place as f64 / whole as f64).exp()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<String> {
        ticks.iter().map(|tick| tick.label.replace('\u{a0}', " ")).collect()
    }

    #[test]
    fn times_are_at_round_distances() {
        let cases: [(u64, u64, &[&str]); 5] = [
            (0, 10_000_000, &["0", "2 s", "4 s", "6 s", "8 s", "10 s"]),
            (0, 100, &["0", "20 µs", "40 µs", "60 µs", "80 µs", "100 µs"]),
            (
                50_000_000,
                170_000_000,
                &[
                    "1 min",
                    "1 min 15 s",
                    "1 min 30 s",
                    "1 min 45 s",
                    "2 min",
                    "2 min 15 s",
                    "2 min 30 s",
                    "2 min 45 s",
                ],
            ),
            (
                0,
                7_200_000_000,
                &["0", "15 min", "30 min", "45 min", "1 h", "1 h 15 min", "1 h 30 min", "1 h 45 min", "2 h"],
            ),
            (0, 331 * 86_400_000_000, &["0", "50 d", "100 d", "150 d", "200 d", "250 d", "300 d"]),
        ];
        for (from, to, expected) in cases {
            let window = Window { from: Time::from_micros(from), to: Time::from_micros(to) };
            assert_eq!(labels(&times(window)), expected);
        }
    }

    #[test]
    fn scales_end_with_a_round_value_that_is_large_enough() {
        let cases: [(u64, &[&str], u64); 4] = [
            (0, &["0", "1"], 1),
            (3, &["0", "1", "2", "3"], 3),
            (97, &["0", "50", "100"], 100),
            (1_100, &["0", "500", "1,000", "1,500"], 1_500),
        ];
        for (most, expected, top) in cases {
            let scale = counts(most);
            assert_eq!(
                (labels(&scale.ticks), scale.top),
                (expected.iter().map(|label| (*label).to_owned()).collect(), top)
            );
        }
        assert_eq!(labels(&shares(1_000_000).ticks), ["0%", "25%", "50%", "75%", "100%"]);
        assert_eq!(labels(&shares(1_200_000).ticks), ["0%", "50%", "100%", "150%"]);
        assert_eq!(labels(&small_shares(190_000).ticks), ["0%", "5%", "10%", "15%", "20%"]);
    }

    #[test]
    fn logarithmic_scales_reach_from_line_to_line() {
        let waits = Logarithmic::lengths(1_000_000, 7_000_000_000);
        assert_eq!(labels(&waits.ticks), ["1 s", "10 s", "1 min", "10 min", "1 h", "10 h"]);
        assert_eq!((waits.value(0, 480), waits.value(480, 480)), (1_000_000, 36_000_000_000));
        let cases: [(u64, &[&str]); 3] = [
            (100, &["1", "2"]),
            (1_200, &["1", "2", "5", "10", "20"]),
            (34_500, &["1", "10", "100", "1,000"]),
        ];
        for (most, expected) in cases {
            assert_eq!(labels(&Logarithmic::quotients(most).ticks), expected, "{most}");
        }
    }
}
