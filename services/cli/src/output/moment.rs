//! Points in time and lengths of it, as people read them.

use std::time::{Duration, UNIX_EPOCH};

use allot_model::{Span, Time};

/// How points in time are written.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// What `3m ago` is counted from.
    pub now: Time,
    /// Write the point itself rather than how long ago it was.
    pub exact: bool,
}

impl Clock {
    /// `3m ago`, `in 5s`, or the exact time where that is wanted.
    #[must_use]
    pub fn show(&self, at: Time) -> String {
        if self.exact {
            return timestamp(at);
        }
        let (ago, ahead) = (self.now.since(at), at.since(self.now));
        match (coarse(ago), coarse(ahead)) {
            (Some(text), _) => format!("{text} ago"),
            (None, Some(text)) => format!("in {text}"),
            (None, None) => "now".to_owned(),
        }
    }

    /// As [`Clock::show`], `-` where there is none.
    #[must_use]
    pub fn show_maybe(&self, at: Option<Time>) -> String {
        at.map_or_else(|| "-".to_owned(), |at| self.show(at))
    }

    /// How long it took from `start` to `end`, or takes until now; `-` where it has not begun.
    #[must_use]
    pub fn took(&self, start: Option<Time>, end: Option<Time>) -> String {
        start.map_or_else(|| "-".to_owned(), |start| length(end.unwrap_or(self.now).since(start)))
    }
}

/// `2026-11-22T17:04:31.123Z`.
#[must_use]
pub fn timestamp(at: Time) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_micros(at.as_micros())) {
        // The formatter fails beyond the year 9999.
        Some(moment) if at.as_micros() < 253_402_300_800_000_000 => {
            humantime::format_rfc3339_millis(moment).to_string()
        }
        _ => format!("{}us", at.as_micros()),
    }
}

/// The largest unit alone: `42s`, `3m`, `2h`, `5d`; nothing below a second.
fn coarse(span: Span) -> Option<String> {
    let seconds = span.as_micros() / 1_000_000;
    match seconds {
        0 => None,
        1..60 => Some(format!("{seconds}s")),
        60..3_600 => Some(format!("{}m", seconds / 60)),
        3_600..86_400 => Some(format!("{}h", seconds / 3_600)),
        _ => Some(format!("{}d", seconds / 86_400)),
    }
}

/// Two units at most: `120ms`, `1.5s`, `42s`, `3m12s`, `1h05m`, `2d03h`.
#[must_use]
pub fn length(span: Span) -> String {
    let (millis, seconds) = (span.as_millis(), span.as_micros() / 1_000_000);
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{seconds}.{}s", (millis % 1_000) / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_micros(1_795_367_071_123_456);

    #[test]
    fn times_are_relative_unless_exact_ones_are_wanted() {
        let clock = Clock { now: NOW, exact: false };
        let cases = [(0, "now"), (3, "3s ago"), (200, "3m ago"), (7_300, "2h ago"), (500_000, "5d ago")];
        for (seconds, text) in cases {
            assert_eq!(clock.show(NOW - Span::from_secs(seconds)), text);
        }
        assert_eq!(clock.show(NOW + Span::from_secs(5)), "in 5s");
        assert_eq!(Clock { now: NOW, exact: true }.show(NOW), "2026-11-22T17:04:31.123Z");
        assert_eq!(clock.show_maybe(None), "-");
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        let cases = [
            (0, "0ms"),
            (120, "120ms"),
            (1_560, "1.5s"),
            (42_100, "42s"),
            (192_000, "3m12s"),
            (3_900_000, "1h05m"),
            (183_600_000, "2d03h"),
        ];
        for (millis, text) in cases {
            assert_eq!(length(Span::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_still_written() {
        assert_eq!(timestamp(Time::MAX), "18446744073709551615us");
    }

    #[test]
    fn what_has_not_ended_takes_until_now() {
        let clock = Clock { now: NOW, exact: false };
        assert_eq!(clock.took(Some(NOW - Span::from_secs(70)), None), "1m10s");
        assert_eq!(clock.took(Some(NOW), Some(NOW + Span::from_millis(5))), "5ms");
        assert_eq!(clock.took(None, None), "-");
    }
}
