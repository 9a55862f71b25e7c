//! How long things may take, so that no sum of times is ever cut off.

use allot_model::{Span, Time};

/// The longest that a length of time in a scenario or a log may be: 1000 years.
pub const LONGEST: Span = Span::from_secs(365_000 * 86_400);

/// Where the clock of a simulation ends: after 10000 years. What the engine adds to a time before it, such as estimates, stays
/// within what it can plan for.
pub(crate) const CLOCK_ENDS: Time = Time::from_micros(10 * LONGEST.as_micros());

/// Reads a length of time that is not longer than [`LONGEST`].
///
/// # Errors
/// A message that says what is allowed.
pub fn length(text: &str) -> Result<Span, String> {
    let too_long = || {
        let given: String = text.chars().take(80).collect();
        format!("{given:?} is too long: write at most `{LONGEST}`, which is 1000 years")
    };
    match text.parse::<Span>() {
        Ok(span) if span <= LONGEST => Ok(span),
        Ok(_) => Err(too_long()),
        // It is a length of time but for how many digits its numbers have.
        Err(_) if with_short_numbers(text).parse::<Span>().is_ok() => Err(too_long()),
        Err(error) => Err(error.to_string()),
    }
}

/// The text with one digit of each number left, before its point.
fn with_short_numbers(text: &str) -> String {
    let mut last = ' ';
    let mut in_fraction = false;
    let keep = |c: &char| {
        in_fraction = *c == '.' || in_fraction && c.is_ascii_digit();
        let follows = std::mem::replace(&mut last, *c).is_ascii_digit();
        in_fraction || !follows || !c.is_ascii_digit()
    };
    text.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_up_to_the_longest_and_what_is_longer_is_told_apart_from_what_is_none() {
        assert_eq!(length("365000d"), Ok(LONGEST));
        assert_eq!(length("1h30m"), Ok(Span::from_secs(5_400)));
        for text in [
            "365000d1us",
            "31536000001",
            "18446744073710",
            "99999999999999999999s",
            "9999999999999999d12h",
            "99999999999999.0000001",
        ] {
            assert!(length(text).unwrap_err().contains("is too long: write at most `365000d`"), "{text}");
        }
        for text in ["", "soon", "-5", "1.00000001us", "18446744073710 parsecs"] {
            assert!(length(text).unwrap_err().contains("is not a length of time"), "{text}");
        }
    }
}
