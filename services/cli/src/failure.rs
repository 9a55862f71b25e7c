//! Why a command did not do what it was asked to, and the exit code that says so to scripts.

use std::io;

use allot_model::view::{Refusal, RefusalKind};
use allot_shell::Denial;

/// The exit codes of every command; `allot run` otherwise exits with the code of the command it ran.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused, or what was waited for failed
  2  the command line or the job is not well-formed
  3  the cluster cannot be reached";

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A service refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The NATS server does not let this user say or hear something.
    #[error("{0}\n`allot doctor` shows what this connection may do; docs/operations.md tells of permissions")]
    Denied(Denial),
    /// What was given is not well-formed.
    #[error("{0}")]
    Usage(String),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
    /// The cluster, or the service that was asked, does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// All has been said: exit with this code.
    #[error("exit code {0}")]
    Exit(u8),
    /// Whoever read the output has gone.
    #[error("the output was closed")]
    OutputClosed,
}

impl Failure {
    /// A failure in words.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// A failure that no input should cause.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::Failed(format!("unexpected: {error}"))
    }

    /// True where there is no such thing as was asked about.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(Refusal { code: RefusalKind::NotFound, .. }))
    }

    /// The same failure, with what came before it.
    #[must_use]
    pub fn after(self, before: &str) -> Self {
        match self {
            Self::Usage(text) => Self::Usage(format!("{before}: {text}")),
            Self::Unreachable(text) => Self::Unreachable(format!("{before}: {text}")),
            Self::Refused(_) | Self::Denied(_) | Self::Failed(_) => Self::Failed(format!("{before}: {self}")),
            Self::Exit(_) | Self::OutputClosed => self,
        }
    }

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Denied(_) | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Exit(code) => *code,
            Self::OutputClosed => 0,
        }
    }

    /// What is to be told to the person, if anything is.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Exit(_) | Self::OutputClosed => None,
            _ => Some(self.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_the_exit_code_that_is_documented() {
        let refusal = Refusal { code: RefusalKind::NotFound, message: "there is no job 7".into() };
        let cases = [
            (Failure::Refused(refusal), 1, Some("there is no job 7")),
            (Failure::failed("the job failed"), 1, Some("the job failed")),
            (Failure::Usage("no command".into()), 2, Some("no command")),
            (Failure::Unreachable("no server".into()), 3, Some("no server")),
            (Failure::Exit(42), 42, None),
            (Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)), 0, None),
        ];
        for (failure, code, message) in cases {
            assert_eq!((failure.exit_code(), failure.message().as_deref()), (code, message));
        }
    }
}
