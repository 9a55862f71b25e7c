//! Numbers and names as people read them.

use allot_model::Span;

/// Keeps a number and its unit on one line.
const SPACE: char = '\u{a0}';

/// Units of time, each with its microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("µs", 1),
];

/// A whole number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with so many decimals, given in units of the last of them.
pub(crate) fn decimal(units: u64, decimals: u32) -> String {
    let scale = 10_u64.pow(decimals);
    let whole = count(units / scale);
    if decimals == 0 {
        whole
    } else {
        format!("{whole}.{:0width$}", units % scale, width = decimals as usize)
    }
}

/// A count in few characters, such as `12,500` or `1.2M`.
pub(crate) fn short_count(number: u64) -> String {
    let scaled = |scale: u64, unit: &str| {
        let tenths = number / (scale / 10);
        let decimals = u32::from(!tenths.is_multiple_of(10));
        decimal(if decimals == 0 { tenths / 10 } else { tenths }, decimals) + unit
    };
    match number {
        0..100_000 => count(number),
        100_000..1_000_000 => scaled(1_000, "k"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "M"),
        _ => scaled(1_000_000_000, "G"),
    }
}

/// Parts per million as a percentage with a decimal.
pub(crate) fn percent(ppm: u64) -> String {
    decimal(nearest(ppm, 1_000), 1) + "%"
}

/// A length of time in its two largest units, rounded to the nearest.
pub(crate) fn length(span: Span) -> String {
    let micros = span.as_micros();
    if micros == 0 {
        return format!("0{SPACE}s");
    }
    let place = UNITS.iter().position(|(_, scale)| micros >= *scale).unwrap_or(UNITS.len() - 1);
    let (Some((unit, scale)), larger) =
        (UNITS.get(place), place.checked_sub(1).and_then(|one| UNITS.get(one)))
    else {
        return String::new();
    };
    let (next, fine) = match UNITS.get(place + 1) {
        // Beyond three digits nobody reads the smaller unit.
        Some((next, fine)) if *scale > 1_000_000 && micros < 100 * scale => (*next, *fine),
        _ => ("", if micros < 100 * scale { (scale / 10).max(1) } else { *scale }),
    };
    let rounded = nearest(micros, fine) * fine;
    if larger.is_some_and(|(_, larger)| rounded >= *larger) {
        return length(Span::from_micros(rounded));
    }
    let (whole, rest) = (count(rounded / scale), rounded % scale / fine);
    match rest {
        0 => format!("{whole}{SPACE}{unit}"),
        tenths if next.is_empty() => format!("{whole}.{tenths}{SPACE}{unit}"),
        rest => format!("{whole}{SPACE}{unit} {rest}{SPACE}{next}"),
    }
}

/// A length of time in all its units, exactly, for ticks.
pub(crate) fn exact(span: Span) -> String {
    let mut rest = span.as_micros();
    let mut parts = Vec::new();
    for (unit, scale) in UNITS {
        if rest >= scale {
            parts.push(format!("{}{SPACE}{unit}", rest / scale));
            rest %= scale;
        }
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(&SPACE.to_string()) }
}

/// The quotient, rounded to the nearest.
pub(crate) fn nearest(number: u64, by: u64) -> u64 {
    number.saturating_add(by / 2) / by.max(1)
}

/// A name without characters that do not print or that change the direction of what follows.
pub(crate) fn name(name: &str) -> String {
    let misleading =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.chars().map(|c| if c.is_control() || misleading(c) { '\u{fffd}' } else { c }).collect()
}

/// Names in a sentence.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(SPACE, " ")
    }

    #[test]
    fn lengths_have_the_units_that_people_read() {
        let cases = [
            (0, "0 s"),
            (7, "7 µs"),
            (2_500, "2.5 ms"),
            (1_000_000, "1 s"),
            (59_940_000, "59.9 s"),
            (60_000_000, "1 min"),
            (90_000_000, "1 min 30 s"),
            (59_960_000, "1 min"),
            (3_599_700_000, "1 h"),
            (999_960, "1 s"),
            (250_400, "250 ms"),
            (3_661_000_000, "1 h 1 min"),
            (86_400_000_000, "1 d"),
            (90_000_000_000, "1 d 1 h"),
            (30_000_000_000_000, "347 d"),
        ];
        for (micros, expected) in cases {
            assert_eq!(plain(&length(Span::from_micros(micros))), expected, "{micros}");
        }
        assert_eq!(plain(&exact(Span::from_micros(90_061_500_000))), "1 d 1 h 1 min 1 s 500 ms");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (99_999, "99,999"),
            (123_400, "123.4k"),
            (2_000_000, "2M"),
        ];
        for (number, expected) in cases {
            assert_eq!(short_count(number), expected);
        }
        assert_eq!(decimal(1_234_567, 2), "12,345.67");
        assert_eq!(percent(712_499), "71.2%");
        assert_eq!(percent(1_000_000), "100.0%");
    }

    #[test]
    fn names_cannot_turn_what_follows_around() {
        assert_eq!(name("a\u{202e}b\n<c>"), "a\u{fffd}b\u{fffd}<c>");
    }
}
