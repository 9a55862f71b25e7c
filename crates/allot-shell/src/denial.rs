//! What the server does not let this connection say or hear: it answers the sender of neither.

use std::fmt;

/// Something that the connection's user has no permission for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What was tried.
    pub act: Act,
    /// On which subject.
    pub subject: String,
}

/// What permissions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Saying something.
    Publish,
    /// Hearing it.
    Subscribe,
}

impl Denial {
    /// Reads an error of the server; nothing where it is about something else.
    #[must_use]
    pub fn read(error: &str) -> Option<Self> {
        let rest = error.strip_prefix("Permissions Violation for ")?;
        let (act, rest) = match rest.split_once(" to \"")? {
            ("Publish", rest) => (Act::Publish, rest),
            ("Subscription", rest) => (Act::Subscribe, rest),
            _ => return None,
        };
        let subject = rest.split('"').next()?.to_owned();
        Some(Self { act, subject })
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match self.act {
            Act::Publish => "publish",
            Act::Subscribe => "subscribe",
        };
        write!(f, "NATS does not let this user {act} to {}", self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_are_told_from_other_errors() {
        let read = |text: &str| Denial::read(text).map(|denial| denial.to_string());
        let cases = [
            ("Permissions Violation for Publish to \"a.b\"", Some("publish to a.b")),
            ("Permissions Violation for Subscription to \"a.>\"", Some("subscribe to a.>")),
            ("Permissions Violation for Subscription to \"a\" using queue \"q\"", Some("subscribe to a")),
            ("Maximum Payload Violation", None),
            ("Permissions Violation for Thinking to \"a\"", None),
        ];
        for (text, end) in cases {
            let end = end.map(|end| format!("NATS does not let this user {end}"));
            assert_eq!(read(text), end, "{text}");
        }
    }
}
