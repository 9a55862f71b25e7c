//! Readers of single values. Each error says what was given and what is allowed, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use super::{FIELDS, Tree};
use crate::constraint::Constraint;
use crate::id::JobId;
use crate::job::Command;
use crate::resources::Request;
use crate::text::quote;
use crate::time::Span;

/// Something wrong, and where below the value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) path: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// The fault of a value of the wrong type or size.
    pub(super) fn given(given: impl Display, allowed: impl Display) -> Self {
        Self::new(format!("{given} is given: write {allowed}"))
    }

    pub(super) fn twice() -> Self {
        Self::new("given twice: give it once")
    }

    pub(super) fn unknown(field: &str) -> Self {
        let known = FIELDS.map(|name| (strsim::damerau_levenshtein(name, field), name));
        let shown = quote(field);
        Self::new(match known.into_iter().min() {
            Some((distance, name)) if distance <= 2.max(name.len() / 3) => {
                format!("unknown field {shown}: did you mean `{name}`?")
            }
            _ => format!("unknown field {shown}: the fields of a job are {}", FIELDS.join(", ")),
        })
    }

    /// The same fault, seen from one level up.
    pub(super) fn within(self, field: &str) -> Self {
        let field: String = field.chars().take(80).collect();
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Self { path: format!("{field}{joint}{}", self.path), ..self }
    }

    /// The same fault, seen from the list that holds the value.
    pub(super) fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }
}

type Read<T> = Result<T, Fault>;

pub(super) fn text<'a>(value: &'a Tree, allowed: &str) -> Read<&'a str> {
    match value {
        Tree::Text(text) => Ok(text),
        number @ (Tree::Whole(_) | Tree::Fraction(_)) => {
            Err(Fault::given(number, format!("{allowed}, in quotes")))
        }
        other => Err(Fault::given(other, allowed)),
    }
}

/// A text that says itself what is wrong with it.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: &Tree, allowed: &str) -> Read<T> {
    text(value, allowed)?.parse().map_err(|error: T::Err| Fault::new(error.to_string()))
}

pub(super) fn whole<T: TryFrom<i128>>(value: &Tree, allowed: &str) -> Read<T> {
    let number = match value {
        Tree::Whole(number) => T::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| Fault::given(value, allowed))
}

pub(super) fn word<T, const N: usize>(value: &Tree, words: [(&str, T); N]) -> Read<T> {
    let allowed = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let given = text(value, &allowed)?;
    let found = words.into_iter().find_map(|(word, meant)| (word == given).then_some(meant));
    found.ok_or_else(|| Fault::given(value, allowed))
}

pub(super) fn flag(value: &Tree) -> Read<()> {
    match value {
        Tree::Bool(_) => Ok(()),
        other => Err(Fault::given(other, "`true` or `false`")),
    }
}

/// A number is one of seconds.
pub(super) fn span(value: &Tree) -> Read<Span> {
    let text = value
        .scalar_text()
        .ok_or_else(|| Fault::given(value, "a length of time such as `10s` or `1h30m`"))?;
    text.parse().map_err(|error: crate::time::InvalidSpan| Fault::new(error.to_string()))
}

fn list<T>(value: &Tree, allowed: &str, read: impl Fn(&Tree) -> Read<T>) -> Read<Vec<T>> {
    let Tree::List(values) = value else { return Err(Fault::given(value, allowed)) };
    values.iter().enumerate().map(|(index, value)| read(value).map_err(|fault| fault.at(index))).collect()
}

/// The entries of an object, of which none is given twice.
fn entries<'a>(value: &'a Tree, allowed: &str) -> Read<&'a [(String, Tree)]> {
    let Tree::Map(entries) = value else { return Err(Fault::given(value, allowed)) };
    let mut seen = BTreeSet::new();
    match entries.iter().find(|(name, _)| !seen.insert(name)) {
        Some((name, _)) => Err(Fault::twice().within(name)),
        None => Ok(entries),
    }
}

pub(super) fn command(value: &Tree) -> Read<Command> {
    const ALLOWED: &str = "a program and its arguments such as [\"sleep\", \"5\"], or a line for the shell";
    match value {
        Tree::Text(line) => Ok(Command::Shell(line.clone())),
        Tree::List(_) => {
            list(value, ALLOWED, |item| text(item, "a text").map(str::to_owned)).map(Command::Argv)
        }
        other => Err(Fault::given(other, ALLOWED)),
    }
}

pub(super) fn env(value: &Tree) -> Read<BTreeMap<String, String>> {
    let variable = |(name, value): &(String, Tree)| match text(value, "a text") {
        Ok(text) => Ok((name.clone(), text.to_owned())),
        Err(fault) => Err(fault.within(name)),
    };
    entries(value, "texts by name such as {\"LANG\": \"C\"}")?.iter().map(variable).collect()
}

/// `cpus` is 1 where it is not given.
pub(super) fn request(value: &Tree) -> Read<Request> {
    let mut request = Request::one_cpu();
    for (name, value) in entries(value, "amounts by name such as {\"cpus\": 2, \"mem\": \"512MiB\"}")? {
        let amount =
            value.scalar_text().ok_or_else(|| Fault::given(value, "an amount such as `2` or `512MiB`"));
        let read = amount
            .and_then(|text| request.read_entry(name, &text).map_err(|error| Fault::new(error.message)));
        read.map_err(|fault| fault.within(name))?;
    }
    Ok(request)
}

pub(super) fn constraints(value: &Tree) -> Read<Vec<Constraint>> {
    list(value, "a list of constraints such as [\"zone == b\"]", |item| {
        let source = text(item, "a constraint such as `zone == b`")?;
        Constraint::parse(source)
            .map_err(|error| Fault::new(format!("{} has an error: {error}", quote(source))))
    })
}

pub(super) fn jobs(value: &Tree) -> Read<Vec<JobId>> {
    list(value, "a list of job ids such as [12, 13]", |item| {
        whole(item, "the id of a job, such as 12").map(JobId)
    })
}
