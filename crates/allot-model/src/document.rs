//! Documents that people write: TOML, YAML or JSON with the same fields, checked field by field.
//!
//! Whatever the format, the text becomes a [`Tree`]; the readers in [`read`] make values of it, and each [`Fault`] says
//! where it is and what is allowed there. Jobs and scenarios are such documents.

pub mod read;
mod tree;

use std::str::FromStr;

use crate::ledger::Rejection;
pub use read::Fault;
pub use tree::Tree;

/// More wrong fields than this are counted, not described.
const MOST_DESCRIBED: usize = 5;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `command = ["true"]`
    Toml,
    /// `command: ["true"]`
    Yaml,
    /// `{"command": ["true"]}`
    Json,
}

/// Why a document is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFile {
    /// It is not written in its format.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It can be read, and a field is wrong.
    #[error("{0}")]
    Field(Rejection),
}

impl Format {
    /// The format that a file's ending stands for: `.toml`, `.yaml`, `.yml` or `.json`.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        path.rsplit_once('.').and_then(|(_, ending)| ending.parse().ok())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "toml" => Ok(Self::Toml),
            "yaml" | "yml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a format of files: write `toml`, `yaml` or `json`")),
        }
    }
}

/// A rejection of the whole rather than of one field.
#[must_use]
pub fn whole(message: String) -> Rejection {
    Rejection { field: String::new(), message }
}

/// The bytes as text, where they can be the text of `what`, such as `a job`; `example` says what to write.
///
/// # Errors
/// A message that says why they cannot.
pub fn readable<'a>(bytes: &'a [u8], most: usize, what: &str, example: &str) -> Result<&'a str, String> {
    if bytes.len() > most {
        let (given, most) = (grouped(bytes.len()), grouped(most));
        return Err(format!("{given} bytes are given: {what} has at most {most}"));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("not text: byte {} is not UTF-8: {example}", error.valid_up_to() + 1))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() { Err(format!("empty: {example}")) } else { Ok(text) }
}

/// One rejection for all faults, of the first one's field.
#[must_use]
pub fn joined(mut faults: impl ExactSizeIterator<Item = Fault>) -> Option<Rejection> {
    let Fault { path: field, mut message } = faults.next()?;
    let more = faults.len().saturating_sub(MOST_DESCRIBED);
    for fault in faults.take(MOST_DESCRIBED) {
        message.push_str(&format!("; also `{}`: {}", fault.path, fault.message));
    }
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    Some(Rejection { field, message })
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
