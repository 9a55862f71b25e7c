//! Decimal numbers of any length, compared exactly.

use std::cmp::Ordering;
use std::fmt;

/// A decimal number, kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(String);

impl Number {
    /// Reads `3`, `-1.5` or the like; nothing where the text has another form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Decimal::read(text).map(|_| Self(text.to_owned()))
    }

    /// How the number in `text` compares with this one; nothing where `text` is no number.
    pub(super) fn compared_with(&self, text: &str) -> Option<Ordering> {
        Some(Decimal::read(text)?.compare(&Decimal::read(&self.0)?))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A decimal number's digits without the zeros that do not count. Zero has no digits and no sign.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (sign, magnitude) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        Some(Self { negative: sign && !(whole.is_empty() && fraction.is_empty()), whole, fraction })
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.compare_magnitude(other),
            (true, true) => other.compare_magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    /// A longer whole part is larger; digits of equal places compare as text does.
    fn compare_magnitude(&self, other: &Self) -> Ordering {
        let length = self.whole.len().cmp(&other.whole.len());
        length.then_with(|| (self.whole, self.fraction).cmp(&(other.whole, other.fraction)))
    }
}
