//! The clock. Nothing else in allot reads it.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use allot_model::Time;

/// The time now: the wall clock as it stood when the process first asked, moved on by the monotonic clock.
///
/// It never goes back and never jumps, so that a step of the wall clock cannot make every agent look silent.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> Time {
    static START: OnceLock<(u64, Instant)> = OnceLock::new();
    let (wall_us, started) = START.get_or_init(|| (wall_us(), Instant::now()));
    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    Time::from_micros(wall_us.saturating_add(elapsed_us))
}

#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn wall_us() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_wall_clock_and_never_goes_back() {
        let times: Vec<Time> = (0..1_000).map(|_| now()).collect();
        assert!(times.is_sorted());
        assert!(times[999].as_micros().abs_diff(wall_us()) < 60_000_000);
    }
}
