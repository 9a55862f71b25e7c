//! What any of the formats is read into before the fields are looked at: entries stay in their order, and twice
//! where they are given twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Format, InvalidFile, whole};
use crate::ledger::Rejection;

/// A key under which the TOML reader gives dates.
const TOML_DATE: &str = "$__toml_private_datetime";

/// A value of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// Any other number.
    Fraction(f64),
    /// A text.
    Text(String),
    /// Values in order.
    List(Vec<Tree>),
    /// Entries in the order of the text, twice where they are given twice.
    Map(Vec<(String, Tree)>),
    /// A date of TOML, which nothing takes.
    Date,
}

impl Tree {
    /// Reads a document.
    ///
    /// # Errors
    /// [`InvalidFile::Syntax`] with the place where it is not written in its format.
    pub fn parse(text: &str, format: Format) -> Result<Self, InvalidFile> {
        match format {
            Format::Toml => toml::from_str(text).map_err(|error| toml_syntax(text, &error)),
            Format::Yaml => serde_norway::from_str(text).map_err(|error| yaml_syntax(&error)),
            Format::Json => serde_json::from_str(text).map_err(|error| json_syntax(&error)),
        }
    }

    /// The same of a JSON value.
    ///
    /// # Errors
    /// [`Rejection`] where a number is too large.
    pub fn from_json(value: &Value) -> Result<Self, Rejection> {
        Self::deserialize(value).map_err(|error| whole(error.to_string()))
    }

    /// The same as a JSON value; a date, and a number that JSON has none for, as nothing.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null | Self::Date => Value::Null,
            Self::Bool(value) => Value::from(*value),
            Self::Whole(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(number)) => Value::from(number),
                _ => Value::from(number.to_string()),
            },
            Self::Fraction(number) => Value::from(*number),
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(entries) => {
                entries.iter().map(|(name, value)| (name.clone(), value.to_json())).collect()
            }
        }
    }

    /// The text of a number or a text.
    #[must_use]
    pub fn scalar_text(&self) -> Option<String> {
        match self {
            Self::Whole(number) => Some(number.to_string()),
            Self::Fraction(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl fmt::Display for Tree {
    /// Names what was given, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("`null`"),
            Self::Bool(value) => write!(f, "`{value}`"),
            Self::Whole(number) => write!(f, "the number `{number}`"),
            Self::Fraction(number) => write!(f, "the number `{number}`"),
            Self::Text(text) => write!(f, "the text {}", crate::text::quote(text)),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("an object"),
            Self::Date => f.write_str("a date"),
        }
    }
}

fn toml_syntax(text: &str, error: &toml::de::Error) -> InvalidFile {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    let line = before.matches('\n').count() + 1;
    InvalidFile::Syntax { line, column, message: error.message().to_owned() }
}

fn yaml_syntax(error: &serde_norway::Error) -> InvalidFile {
    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
    syntax(line, column, &error.to_string())
}

fn json_syntax(error: &serde_json::Error) -> InvalidFile {
    syntax(error.line(), error.column(), &error.to_string())
}

/// Takes the place out of the message, as it is told beside it.
fn syntax(line: usize, column: usize, message: &str) -> InvalidFile {
    let message = message.replace(&format!(" at line {line} column {column}"), "");
    InvalidFile::Syntax { line: line.max(1), column: column.max(1), message }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a list or an object")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Whole(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Whole(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(i128::try_from(value).map_or_else(|_| Tree::Text(value.to_string()), Tree::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Fraction(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Tree::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        let is_date = matches!(entries.as_slice(), [(key, _)] if key == TOML_DATE);
        Ok(if is_date { Tree::Date } else { Tree::Map(entries) })
    }
}
