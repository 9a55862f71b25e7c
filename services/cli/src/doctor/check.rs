//! One thing that was looked at, and how it is told.

use std::fmt::Write;

use serde::Serialize;

use crate::output::{Output, Tone};

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, and wants a look.
    Warning,
    /// It does not work.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) check: String,
    /// How it stands.
    pub(super) state: State,
    /// What was found.
    pub(super) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Check {
    /// All is well.
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Ok, found: found.into(), advice: None }
    }

    /// It works, and wants a look.
    pub(super) fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { state: State::Warning, advice: Some(advice.into()), ..Self::ok(check, found) }
    }

    /// It does not work.
    pub(super) fn error(
        check: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { state: State::Error, advice: Some(advice.into()), ..Self::ok(check, found) }
    }

    fn text(&self, width: usize, output: &Output) -> String {
        let (sign, word, tone) = match self.state {
            State::Ok => ("✓", "ok", Tone::Good),
            State::Warning => ("!", "warning", Tone::Busy),
            State::Error => ("✗", "error", Tone::Bad),
        };
        let state = if output.is_terminal() { sign.to_owned() } else { format!("{word:<7}") };
        let indent = state.chars().count() + 2 + width + 2;
        let mut text = format!("{}  {:<width$}  ", output.paint(&state, tone), self.check);
        let mut lines = self.found.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut advice = self.advice.iter().flat_map(|advice| advice.lines());
        lines.extend(advice.next().map(|first| format!("→ {first}")));
        lines.extend(advice.map(|line| format!("  {line}")));
        // Writing to a string does not fail.
        let _ = write!(text, "{}", lines.join(&format!("\n{:indent$}", "")));
        text
    }
}

/// All that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// False where anything does not work.
    pub(super) ok: bool,
    /// One by one, in the order in which they rest on each other.
    pub(super) checks: Vec<Check>,
}

impl Report {
    pub(super) fn of(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.state != State::Error), checks }
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let width = self.checks.iter().map(|check| check.check.chars().count()).max().unwrap_or(0);
        let mut lines: Vec<String> = self.checks.iter().map(|check| check.text(width, output)).collect();
        lines.push(format!("\n{}", self.summary()));
        lines.join("\n")
    }

    fn summary(&self) -> String {
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        let some = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let found = [some(count(State::Error), "error"), some(count(State::Warning), "warning")];
        let found: Vec<String> = found.into_iter().flatten().collect();
        if found.is_empty() { "all is well".to_owned() } else { found.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::NOW;
    use crate::output::Format;

    fn report() -> Report {
        Report::of(vec![
            Check::ok("server", "nats-server 2.15.1"),
            Check::warning("agents", "1 ready\n1 unreachable: b", "start it,\nor give it up"),
            Check::error("registry", "not there", "start it"),
        ])
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let output = Output::plain(Format::Text, false, NOW);
        assert_eq!(
            report().text(&output),
            "\
ok       server    nats-server 2.15.1
warning  agents    1 ready
                   1 unreachable: b
                   → start it,
                     or give it up
error    registry  not there
                   → start it

1 error, 1 warning"
        );
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        assert!(!report().ok);
        let Report { mut checks, .. } = report();
        checks.pop();
        let better = Report::of(checks);
        assert!(better.ok);
        assert_eq!(better.summary(), "1 warning");
        assert_eq!(Report::of(Vec::new()).summary(), "all is well");
    }
}
