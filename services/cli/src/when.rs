//! Points in time as people give them.

use std::str::FromStr;
use std::time::UNIX_EPOCH;

use allot_model::{Span, Time};

/// A point in time, as it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The beginning of everything.
    Start,
    /// So long ago.
    Ago(Span),
    /// Then.
    At(Time),
}

impl When {
    /// The point that is meant, by the time now.
    #[must_use]
    pub fn at(self, now: Time) -> Time {
        match self {
            Self::Start => Time::ZERO,
            Self::Ago(span) => now - span,
            Self::At(time) => time,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "start" {
            return Ok(Self::Start);
        }
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        let whole =
            if text.len() == "2026-11-22".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
        let moment = humantime::parse_rfc3339_weak(&whole).ok();
        let since_1970 = moment.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let micros = since_1970.and_then(|since| u64::try_from(since.as_micros()).ok());
        micros.map(|micros| Self::At(Time::from_micros(micros))).ok_or_else(|| {
            "write how long ago, such as `10m` or `2h`, a time in UTC, such as `2026-11-22` or `2026-11-22T17:00:00Z`, \
             or `start`"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_given_as_a_length_a_day_or_a_time() {
        let second = |seconds: u64| Ok(When::At(Time::from_micros(seconds * 1_000_000)));
        assert_eq!("start".parse(), Ok(When::Start));
        assert_eq!("10m".parse(), Ok(When::Ago(Span::from_secs(600))));
        assert_eq!("1970-01-01T00:00:02Z".parse(), second(2));
        assert_eq!("1970-01-01 00:00:02".parse(), second(2));
        assert_eq!("1970-01-02".parse(), second(86_400));
        assert!("yesterday".parse::<When>().unwrap_err().contains("such as"));
        assert!("1969-01-01T00:00:00Z".parse::<When>().is_err());
    }

    #[test]
    fn a_length_is_counted_back_from_now() {
        let now = Time::from_micros(100_000_000);
        assert_eq!(When::Ago(Span::from_secs(60)).at(now), Time::from_micros(40_000_000));
        assert_eq!(When::Ago(Span::from_secs(600)).at(now), Time::ZERO, "before everything is the beginning");
    }
}
