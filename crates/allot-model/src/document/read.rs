//! Readers of single values. Each error says what was given and what is allowed, and where.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use super::Tree;
use crate::constraint::Constraint;
use crate::resources::Request;
use crate::text::quote;
use crate::time::Span;

/// Something wrong, and where below the value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The way to it, such as `resources.cpus` or `constraints[1]`; empty for the value itself.
    pub path: String,
    /// What was given, what is allowed.
    pub message: String,
}

impl Fault {
    /// A fault of the value itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// The fault of a value of the wrong type or size.
    #[must_use]
    pub fn given(given: impl Display, allowed: impl Display) -> Self {
        Self::new(format!("{given} is given: write {allowed}"))
    }

    /// The fault of an entry that is given twice.
    #[must_use]
    pub fn twice() -> Self {
        Self::new("given twice: give it once")
    }

    /// The fault of an entry that nothing has, such as `tsks` where `what` is `a job`: with the one of `known` that
    /// looks most like it, or all of them.
    #[must_use]
    pub fn unknown(field: &str, what: &str, known: &[&str]) -> Self {
        let nearest = known.iter().map(|name| (strsim::damerau_levenshtein(name, field), name)).min();
        let shown = quote(field);
        Self::new(match nearest {
            Some((distance, name)) if distance <= 2.max(name.len() / 3) => {
                format!("unknown field {shown}: did you mean `{name}`?")
            }
            _ => format!("unknown field {shown}: the fields of {what} are {}", known.join(", ")),
        })
    }

    /// The same fault, seen from one level up.
    #[must_use]
    pub fn within(self, field: &str) -> Self {
        let field: String = field.chars().take(80).collect();
        let joint = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Self { path: format!("{field}{joint}{}", self.path), ..self }
    }

    /// The same fault, seen from the list that holds the value.
    #[must_use]
    pub fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }
}

/// A value that was read, or what is wrong with it.
pub type Read<T> = Result<T, Fault>;

/// A text.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn text<'a>(value: &'a Tree, allowed: &str) -> Read<&'a str> {
    match value {
        Tree::Text(text) => Ok(text),
        number @ (Tree::Whole(_) | Tree::Fraction(_)) => {
            Err(Fault::given(number, format!("{allowed}, in quotes")))
        }
        other => Err(Fault::given(other, allowed)),
    }
}

/// A text that says itself what is wrong with it.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn parsed<T: FromStr<Err: Display>>(value: &Tree, allowed: &str) -> Read<T> {
    text(value, allowed)?.parse().map_err(|error: T::Err| Fault::new(error.to_string()))
}

/// A whole number within the bounds of its type.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn whole<T: TryFrom<i128>>(value: &Tree, allowed: &str) -> Read<T> {
    let number = match value {
        Tree::Whole(number) => T::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| Fault::given(value, allowed))
}

/// One of a few words.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn word<T, const N: usize>(value: &Tree, words: [(&str, T); N]) -> Read<T> {
    let allowed = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let given = text(value, &allowed)?;
    let found = words.into_iter().find_map(|(word, meant)| (word == given).then_some(meant));
    found.ok_or_else(|| Fault::given(value, allowed))
}

/// True or false.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn flag(value: &Tree) -> Read<bool> {
    match value {
        Tree::Bool(value) => Ok(*value),
        other => Err(Fault::given(other, "`true` or `false`")),
    }
}

/// A length of time; a number is one of seconds.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn span(value: &Tree) -> Read<Span> {
    let text = value
        .scalar_text()
        .ok_or_else(|| Fault::given(value, "a length of time such as `10s` or `1h30m`"))?;
    text.parse().map_err(|error: crate::time::InvalidSpan| Fault::new(error.to_string()))
}

/// A list, each value read by `read`.
///
/// # Errors
/// [`Fault`] of the first value that is wrong.
pub fn list<T>(value: &Tree, allowed: &str, read: impl Fn(&Tree) -> Read<T>) -> Read<Vec<T>> {
    let Tree::List(values) = value else { return Err(Fault::given(value, allowed)) };
    values.iter().enumerate().map(|(index, value)| read(value).map_err(|fault| fault.at(index))).collect()
}

/// The entries of an object, of which none is given twice.
///
/// # Errors
/// [`Fault`] where it is no object, or an entry is given twice.
pub fn entries<'a>(value: &'a Tree, allowed: &str) -> Read<&'a [(String, Tree)]> {
    let Tree::Map(entries) = value else { return Err(Fault::given(value, allowed)) };
    let mut seen = BTreeSet::new();
    match entries.iter().find(|(name, _)| !seen.insert(name)) {
        Some((name, _)) => Err(Fault::twice().within(name)),
        None => Ok(entries),
    }
}

/// What a task asks for, beside what `request` asks for already.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn request(mut request: Request, value: &Tree) -> Read<Request> {
    for (name, value) in entries(value, "amounts by name such as {\"cpus\": 2, \"mem\": \"512MiB\"}")? {
        let amount =
            value.scalar_text().ok_or_else(|| Fault::given(value, "an amount such as `2` or `512MiB`"));
        let read = amount
            .and_then(|text| request.read_entry(name, &text).map_err(|error| Fault::new(error.message)));
        read.map_err(|fault| fault.within(name))?;
    }
    Ok(request)
}

/// What an agent must be like.
///
/// # Errors
/// [`Fault`], which says what is allowed.
pub fn constraints(value: &Tree) -> Read<Vec<Constraint>> {
    list(value, "a list of constraints such as [\"zone == b\"]", |item| {
        let source = text(item, "a constraint such as `zone == b`")?;
        Constraint::parse(source)
            .map_err(|error| Fault::new(format!("{} has an error: {error}", quote(source))))
    })
}
