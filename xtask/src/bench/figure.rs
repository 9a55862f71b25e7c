//! What was measured, as a table and as JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// Its row.
    pub(crate) row: &'static str,
    /// What it is of.
    pub(crate) what: String,
    /// How much.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: &'static str,
    /// What is wanted of it, where something is.
    pub(crate) wanted: Option<Wanted>,
    /// All that was measured with it.
    pub(crate) detail: Value,
}

/// What is wanted of a figure.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

impl Wanted {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(least) => format!("at least {}", amount(least, unit)),
            Self::AtMost(most) => format!("at most {}", amount(most, unit)),
        }
    }
}

impl Figure {
    /// A figure of which nothing is wanted.
    pub(crate) fn new(row: &'static str, what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { row, what: what.into(), value, unit, wanted: None, detail: Value::Null }
    }

    /// With what is wanted of it.
    pub(crate) fn wanted(self, wanted: Wanted) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    /// With all that was measured with it.
    pub(crate) fn with(self, detail: Value) -> Self {
        Self { detail, ..self }
    }

    /// In a line.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}{}", self.what, amount(self.value, self.unit), self.verdict())
    }

    fn verdict(&self) -> String {
        let Some(wanted) = self.wanted else { return String::new() };
        let verdict = if wanted.is_met(self.value) { "met" } else { "missed" };
        format!(" ({}: {verdict})", wanted.text(self.unit))
    }
}

/// Three figures and the unit.
pub(crate) fn amount(value: f64, unit: &str) -> String {
    let number = match value.abs() {
        x if x >= 99.95 => grouped(value),
        x if x >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if unit.is_empty() || unit == "%" { format!("{number}{unit}") } else { format!("{number} {unit}") }
}

/// A whole number with commas: `98,039`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let places = digits.len();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (places - place).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The figures as a table in Markdown.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = "| row | what | measured | wanted |\n|---|---|---|---|".to_owned();
    for figure in figures {
        let Figure { row, what, value, unit, wanted, .. } = figure;
        let wanted = wanted.map(|wanted| {
            let missed = if wanted.is_met(*value) { "" } else { " (missed)" };
            format!("{}{missed}", wanted.text(unit))
        });
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n| `{row}` | {what} | {} | {} |",
            amount(*value, unit),
            wanted.unwrap_or_default()
        );
    }
    text
}

/// Writes the figures as JSON.
pub(crate) fn write(path: &Path, figures: &[Figure]) -> Result<()> {
    let text = serde_json::to_string_pretty(figures)?;
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_with_what_is_wanted_of_them() {
        let good = Figure::new("array", "tasks", 100_234.5, "tasks/s").wanted(Wanted::AtLeast(100_000.0));
        let bad = Figure::new("latency", "p50", 2.134, "ms").wanted(Wanted::AtMost(2.0));
        let plain = Figure::new("process", "ratio", 0.25, "");
        assert_eq!(good.line(), "tasks: 100,234 tasks/s (at least 100,000 tasks/s: met)");
        assert_eq!(
            table(&[good, bad, plain]),
            "\
| row | what | measured | wanted |
|---|---|---|---|
| `array` | tasks | 100,234 tasks/s | at least 100,000 tasks/s |
| `latency` | p50 | 2.13 ms | at most 2.00 ms (missed) |
| `process` | ratio | 0.25 |  |"
        );
        assert_eq!([amount(2.5, "%"), amount(570.0, "MB")], ["2.50%", "570 MB"]);
    }
}
