//! Points in time and spans of it, as integers.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::{self, DecimalFault};

/// A point in time: microseconds since 1970-01-01T00:00:00Z, or since the start of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

/// A length of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Time {
    /// The beginning.
    pub const ZERO: Self = Self(0);
    /// Later than anything.
    pub const MAX: Self = Self(u64::MAX);

    /// The time that many microseconds after the beginning.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; nothing if it was not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of that many microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A span of that many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// A span of that many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Its length in microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Its length in whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Its length in seconds, for people to read.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The span `factor` times as long, at most the longest there is.
    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// The same length for tokio and the standard library.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}

impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl fmt::Display for Span {
    /// The form that [`Span::from_str`] reads, such as `1h30m` or `250ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, micros) in UNITS {
            if rest >= micros {
                text.push_str(&format!("{}{unit}", rest / micros));
                rest %= micros;
            }
        }
        f.pad(&text)
    }
}

/// Why a text is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a length of time: write a number and a unit, such as `250ms`, `5s`, `10m`, `1h30m` or `2d`"
)]
pub struct InvalidSpan {
    /// The text as given.
    pub given: String,
}

impl FromStr for Span {
    type Err = InvalidSpan;

    /// Reads `5s`, `1.5h`, `1h30m`, `250ms`, `10us`, `2d`, or a plain number of seconds, which is rounded to microseconds.
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        read_span(text.trim()).ok_or_else(|| InvalidSpan { given: text.chars().take(80).collect() })
    }
}

fn read_span(text: &str) -> Option<Span> {
    match decimal::scaled(text, 1_000_000) {
        Ok(micros) => return Some(Span(micros)),
        // Programs write 27.380000000000003 where they mean 27.38.
        Err(DecimalFault::TooFine) => return text.parse().ok().and_then(nearest_micros).map(Span),
        Err(_) => {}
    }
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        total = total.checked_add(decimal::scaled(number, *micros).ok()?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(Span(total))
}

/// The microseconds that are nearest to so many seconds, where they can be told exactly.
fn nearest_micros(seconds: f64) -> Option<u64> {
    const MOST: f64 = 9_007_199_254.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within bounds")]
    (0.0..=MOST).contains(&seconds).then(|| (seconds * 1e6).round() as u64)
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn seconds_with_more_digits_than_they_mean_are_rounded() {
        for (text, micros) in
            [("27.380000000000003", 27_380_000), ("0.30000000000000004", 300_000), ("0.0000004", 0)]
        {
            assert_eq!(text.parse(), Ok(Span::from_micros(micros)), "{text}");
        }
        assert!("99999999999999.0000001".parse::<Span>().is_err());
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        let cases = [
            ("5s", 5_000_000),
            ("1h30m", 5_400_000_000),
            ("250ms", 250_000),
            ("1.5h", 5_400_000_000),
            ("10", 10_000_000),
            ("0.5", 500_000),
            ("0s", 0),
            ("2d", 172_800_000_000),
        ];
        for (text, micros) in cases {
            assert_eq!(text.parse::<Span>().unwrap().as_micros(), micros, "{text}");
        }
        for text in ["", "s", "-5s", "5 parsecs", "1..5s", "99999999999999999999s", "1e3s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for text in ["1h30m", "250ms", "2d3h", "0s", "1s500ms", "7us"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn any_span_is_read_as_it_is_written(micros in prop_oneof![any::<u64>(), 0_u64..100_000_000]) {
            let span = Span(micros);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn any_text_is_a_span_or_refused(text in "\\PC{0,12}|([0-9.]{1,21}(d|h|m|s|ms|us|parsecs)?){0,4}") {
            if let Ok(span) = text.parse::<Span>() {
                prop_assert_eq!(span.to_string().parse(), Ok(span));
            }
        }
    }
}
