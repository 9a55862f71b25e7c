//! Constraints: what an agent must be like for a job.

mod number;
mod parser;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use regex::Regex;

use crate::agent::Attributes;
use crate::id::AgentId;
use number::Number;

/// One condition over an agent's attributes, such as `zone == b`.
///
/// An agent without the attribute fails the positive forms (`==`, `in`, `exists`, `=~`, `<` and the like) and
/// passes the negative ones (`!=`, `not in`, `not exists`). Equal constraints are those that read the same when
/// displayed, whatever spaces and quotes they were written with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    subject: Subject,
    test: Test,
}

/// Why a text is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at column {column}")]
pub struct InvalidConstraint {
    /// Where it went wrong, counted in characters from 1.
    pub column: usize,
    /// What was expected.
    pub message: String,
}

/// The agent that a constraint is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Found under `agent.id`.
    pub id: &'a AgentId,
    /// Found under `agent.host`.
    pub host: &'a str,
    /// Found under their own names.
    pub attributes: &'a Attributes,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subject {
    AgentId,
    AgentHost,
    Attribute(String),
}

/// What it must be like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Test {
    Equals(String),
    Differs(String),
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    Exists,
    Absent,
    Matches(Pattern),
    Compares(Comparison, Number),
}

/// How a number must compare with the one that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A regular expression, compiled once. It is what its text is.
#[derive(Debug, Clone)]
struct Pattern(Regex);

impl Constraint {
    /// The longest text of a constraint, in characters.
    pub const MOST_CHARACTERS: usize = 4_096;

    /// Reads a constraint: an attribute's name (or `agent.id`, `agent.host`), an operator, and what it is compared
    /// with; or `exists NAME`, `not exists NAME`.
    ///
    /// ```
    /// # use allot_model::Constraint;
    /// for text in ["zone == b", "rack not in (a, \"c d\")", "agent.host =~ \"^node-[0-9]+$\"", "exists gpu_model"] {
    ///     assert_eq!(Constraint::parse(text).unwrap().to_string(), text);
    /// }
    /// assert_eq!(Constraint::parse("zone = b").unwrap_err().column, 6);
    /// ```
    ///
    /// # Errors
    /// [`InvalidConstraint`], which names the column and what is allowed there.
    pub fn parse(source: &str) -> Result<Self, InvalidConstraint> {
        parser::parse(source)
    }

    /// True where the agent is as wanted.
    #[must_use]
    pub fn holds(&self, candidate: Candidate<'_>) -> bool {
        self.test.holds(self.subject.of(candidate))
    }
}

impl Subject {
    fn of<'a>(&self, candidate: Candidate<'a>) -> Option<&'a str> {
        match self {
            Self::AgentId => Some(candidate.id.as_str()),
            Self::AgentHost => Some(candidate.host),
            Self::Attribute(name) => candidate.attributes.get(name).map(String::as_str),
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Equals(wanted) => value == Some(wanted),
            Self::Differs(unwanted) => value != Some(unwanted),
            Self::OneOf(wanted) => value.is_some_and(|v| wanted.iter().any(|w| w == v)),
            Self::NoneOf(unwanted) => value.is_none_or(|v| unwanted.iter().all(|u| u != v)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Matches(pattern) => value.is_some_and(|v| pattern.0.is_match(v)),
            Self::Compares(comparison, bound) => {
                value.and_then(|v| bound.compared_with(v)).is_some_and(|ordering| comparison.allows(ordering))
            }
        }
    }
}

impl Comparison {
    fn allows(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::More => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match &self.test {
            Test::Equals(value) => write!(f, "{subject} == {}", Value(value)),
            Test::Differs(value) => write!(f, "{subject} != {}", Value(value)),
            Test::OneOf(values) => write!(f, "{subject} in {}", List(values)),
            Test::NoneOf(values) => write!(f, "{subject} not in {}", List(values)),
            Test::Exists => write!(f, "exists {subject}"),
            Test::Absent => write!(f, "not exists {subject}"),
            Test::Matches(pattern) => write!(f, "{subject} =~ {}", Quoted(pattern.0.as_str())),
            Test::Compares(comparison, bound) => write!(f, "{subject} {} {bound}", comparison.as_str()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentId => f.write_str("agent.id"),
            Self::AgentHost => f.write_str("agent.host"),
            Self::Attribute(name) if parser::KEYWORDS.contains(&name.as_str()) => Quoted(name).fmt(f),
            Self::Attribute(name) => Value(name).fmt(f),
        }
    }
}

/// A value as a bare word where it can stand as one, in quotes otherwise.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = !self.0.is_empty() && self.0.chars().all(parser::is_word_character);
        if bare { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", parser::escape(self.0))
    }
}

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "(" } else { ", " }, Value(value))?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests;
