//! What can be wrong with a message.

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They are not protobuf, or not of this type.
    #[error("not a protobuf message of type allot.v1.{message}: {source}")]
    Unreadable {
        /// The type that was expected.
        message: &'static str,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// A field is missing, or holds what it must not.
    #[error("field `{field}`: {problem}")]
    Field {
        /// The field, as a path such as `orders[2].run`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl WireError {
    pub(crate) fn field(field: impl Into<String>, problem: impl ToString) -> Self {
        Self::Field { field: field.into(), problem: problem.to_string() }
    }

    pub(crate) fn missing(field: impl Into<String>) -> Self {
        Self::field(field, "missing")
    }

    /// The same error, seen from the message that holds the part in which it is.
    pub(crate) fn within(self, outer: impl std::fmt::Display) -> Self {
        match self {
            Self::Field { field, problem } => Self::Field { field: format!("{outer}.{field}"), problem },
            unreadable @ Self::Unreadable { .. } => unreadable,
        }
    }
}
