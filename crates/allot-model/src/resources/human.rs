//! Resources as people write and read them: `0.5`, `"512MiB"`, `["0", "1"]`, `"31000-32000"`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Amount, Ranges, Request, Resources, WHOLE};
use crate::decimal::{self, DecimalFault};
use crate::id::ResourceName;
use crate::text::quote;

/// Units of `mem` and `disk`, the ones preferred in writing first.
const BYTE_UNITS: [(&str, u64); 10] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("PB", 1_000_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

/// Names that look like those of well known resources, which nothing would ever offer.
const LOOKALIKES: [(&str, &str); 6] = [
    ("cpu", "cpus"),
    ("gpu", "gpus"),
    ("memory", "mem"),
    ("ram", "mem"),
    ("port", "ports"),
    ("disks", "disk"),
];

const COUNT: &str = "write a number with at most 3 decimals, such as `2` or `0.5`";
const BYTES: &str = "write bytes as a whole number, or a number and one of the units KiB, MiB, GiB, TiB, PiB, KB, MB, GB, \
                     TB and PB, such as `512MiB`, `1.5GiB` or `18GB`";
const LIST: &str = "write a list of names such as [\"0\", \"1\"]";

/// Why a value is not an amount of a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: {message}")]
pub struct InvalidAmount {
    /// The resource, as it was named.
    pub name: String,
    /// What was given, what is allowed.
    pub message: String,
}

impl Amount {
    /// The largest amount that can be read, in bytes or thousandths: large enough for any machine, and small
    /// enough that the sum over a thousand of them is exact.
    pub const MOST: u64 = 1 << 53;

    /// Reads one number of `name`: `0.5`, or `512MiB` for `mem` and `disk`.
    ///
    /// # Errors
    /// A message that says what was given and what is allowed.
    pub fn parse_scalar(name: &ResourceName, text: &str) -> Result<u64, String> {
        let text = text.trim();
        let (number, scale) = if name.is_bytes() { bytes_and_unit(text)? } else { (text, WHOLE) };
        let units = decimal::scaled(number, scale);
        let too_large =
            || format!("{} is too large: at most {}", quote(text), Self::scalar_text(name, Self::MOST));
        let allowed = if name.is_bytes() { BYTES } else { COUNT };
        match units {
            Ok(units) if units <= Self::MOST => Ok(units),
            Ok(_) | Err(DecimalFault::TooLarge) => Err(too_large()),
            Err(DecimalFault::Negative) => Err(format!("{} is negative: {allowed}", quote(text))),
            Err(DecimalFault::TooFine) if name.is_bytes() => {
                Err(format!("{} is not a whole number of bytes", quote(text)))
            }
            Err(DecimalFault::TooFine) => Err(format!("{} has more than 3 decimals: {allowed}", quote(text))),
            Err(DecimalFault::NotANumber) => {
                Err(format!("{} is not an amount of it: {allowed}", quote(text)))
            }
        }
    }

    /// Writes one number of `name` as it is read, exactly and as short as it gets.
    #[must_use]
    pub fn scalar_text(name: &ResourceName, units: u64) -> String {
        if !name.is_bytes() {
            return count_text(units);
        }
        let with_unit = BYTE_UNITS.iter().filter(|(_, scale)| units >= *scale);
        let texts =
            with_unit.filter_map(|(unit, scale)| ratio_text(units, *scale).map(|number| number + unit));
        texts.chain([units.to_string()]).min_by_key(String::len).unwrap_or_default()
    }

    fn from_json(name: &ResourceName, value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(_) | Value::Object(_) if name.is_bytes() => {
                Err(format!("{} is not an amount of it: {BYTES}", quote(&value.to_string())))
            }
            Value::Array(items) => items_of_list(items),
            Value::Object(items) => items_of_map(items),
            Value::String(text) if is_ranges(name, text) => read_ranges(name, text).map(Self::Ranges),
            Value::Number(_) if is_ports(name) => {
                Err(format!("{value} is a plain number: write runs such as `31000-32000`"))
            }
            Value::String(_) | Value::Number(_) => {
                Self::parse_scalar(name, &number_text(value)).map(Self::Scalar)
            }
            Value::Null | Value::Bool(_) => Err(format!("{value} is not an amount: {COUNT}")),
        }
    }

    /// This amount of `name` in the words that people write.
    #[must_use]
    pub fn to_json(&self, name: &ResourceName) -> Value {
        match self {
            Self::Scalar(units) => text_json(Self::scalar_text(name, *units)),
            Self::Items(items) if items.values().all(|units| *units == WHOLE) => {
                Value::Array(items.keys().map(|item| Value::from(item.as_str())).collect())
            }
            Self::Items(items) => Value::Object(
                items.iter().map(|(item, units)| (item.clone(), text_json(count_text(*units)))).collect(),
            ),
            Self::Ranges(ranges) => Value::from(ranges_text(name, ranges)),
        }
    }

    fn text(&self, name: &ResourceName) -> String {
        let item = |(item, units): (&String, &u64)| match *units {
            WHOLE => item.clone(),
            share => format!("{item}:{}", count_text(share)),
        };
        match self {
            Self::Scalar(units) => Self::scalar_text(name, *units),
            Self::Items(items) => format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(",")),
            Self::Ranges(ranges) => format!("{{{ranges}}}"),
        }
    }
}

impl ResourceName {
    /// True for `mem` and `disk`, which are counted in bytes; all others are counted in thousandths.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        matches!(self.as_str(), "mem" | "disk")
    }

    /// Reads a resource's name; refuses one that is easily taken for a well known one.
    ///
    /// # Errors
    /// A message that says what is allowed.
    pub fn parse_known(text: &str) -> Result<Self, String> {
        if let Some((_, meant)) =
            LOOKALIKES.iter().find(|(lookalike, _)| text.eq_ignore_ascii_case(lookalike))
        {
            return Err(format!("there is no resource `{text}`: did you mean `{meant}`?"));
        }
        Self::new(text).map_err(|error| error.to_string())
    }
}

impl Resources {
    /// Reads what an agent has, such as `{"cpus": 4, "mem": "16GiB", "gpus": ["0", "1"], "ports": "31000-32000"}`.
    ///
    /// # Errors
    /// [`InvalidAmount`] for the first resource that cannot be read.
    pub fn from_json(value: &Value) -> Result<Self, InvalidAmount> {
        let mut resources = Self::new();
        for (name, value) in entries(value)? {
            let wrong = |message| InvalidAmount { name: name.clone(), message };
            let name = ResourceName::parse_known(name).map_err(wrong)?;
            let amount = Amount::from_json(&name, value).map_err(wrong)?;
            resources.set(name, amount);
        }
        Ok(resources)
    }

    /// The form that [`Resources::from_json`] reads as the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.iter().map(|(name, amount)| (name.to_string(), amount.to_json(name))).collect())
    }
}

impl Request {
    /// Reads what a task asks for, such as `{"cpus": 0.5, "mem": "512MiB", "gpus": 1}`.
    ///
    /// # Errors
    /// [`InvalidAmount`] for the first resource that cannot be read or cannot be asked for.
    pub fn from_json(value: &Value) -> Result<Self, InvalidAmount> {
        let mut request = Self::new();
        for (name, value) in entries(value)? {
            request.read_entry(name, &number_text(value))?;
        }
        Ok(request)
    }

    /// The form that [`Request::from_json`] reads as the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(
            self.iter()
                .map(|(name, units)| (name.to_string(), text_json(Amount::scalar_text(name, units))))
                .collect(),
        )
    }

    /// Asks for the amount in `text` of the resource in `name`.
    pub(crate) fn read_entry(&mut self, name: &str, text: &str) -> Result<(), InvalidAmount> {
        let wrong = |message| InvalidAmount { name: name.to_owned(), message };
        let name = ResourceName::parse_known(name).map_err(wrong)?;
        let units = Amount::parse_scalar(&name, text).map_err(wrong)?;
        if units == 0 {
            return Err(wrong(format!("{} asks for nothing: ask for more, or leave it out", quote(text))));
        }
        Self::check_entry(&name, units).map_err(wrong)?;
        self.set(name, units);
        Ok(())
    }

    /// Refuses amounts that no agent can ever give.
    pub(crate) fn check_entry(name: &ResourceName, units: u64) -> Result<(), String> {
        let text = || quote(&Amount::scalar_text(name, units));
        if units > Amount::MOST {
            return Err(format!(
                "{} is too large: at most {}",
                text(),
                Amount::scalar_text(name, Amount::MOST)
            ));
        }
        match name.as_str() {
            "ports" if !units.is_multiple_of(WHOLE) => {
                Err(format!("{} is not whole: ports cannot be shared", text()))
            }
            "gpus" if units > WHOLE && !units.is_multiple_of(WHOLE) => Err(format!(
                "{} is neither whole nor a part of one: ask for less than 1, or for whole ones",
                text()
            )),
            _ => Ok(()),
        }
    }
}

fn entries(value: &Value) -> Result<&Map<String, Value>, InvalidAmount> {
    let message =
        || format!("{value} is given: write amounts by name, such as {{\"cpus\": 2, \"mem\": \"512MiB\"}}");
    value.as_object().ok_or_else(|| InvalidAmount { name: "resources".to_owned(), message: message() })
}

/// Splits `512MiB` and says how many bytes the unit has.
fn bytes_and_unit(text: &str) -> Result<(&str, u64), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    if unit.is_empty() || unit == "B" {
        return Ok((number, 1));
    }
    if number.is_empty() {
        return Err(format!("{} is not an amount of it: {BYTES}", quote(text)));
    }
    match BYTE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, scale)) => Ok((number.trim(), *scale)),
        None => Err(format!("{} has an unknown unit: {BYTES}", quote(text))),
    }
}

/// `units / scale` as a decimal number, where three decimals are enough for it.
fn ratio_text(units: u64, scale: u64) -> Option<String> {
    let thousandths = u128::from(units) * 1_000;
    if !thousandths.is_multiple_of(u128::from(scale)) {
        return None;
    }
    let thousandths = thousandths / u128::from(scale);
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Thousandths as a decimal number.
fn count_text(units: u64) -> String {
    ratio_text(units, WHOLE).unwrap_or_default()
}

/// So many digits every program reads, and writes again, as they are. With more than these two numbers may be equally
/// near to one that is kept in binary, and programs differ in which of them they write.
const SURE_DIGITS: usize = f64::DIGITS as usize;

/// A number where a program reads it as exactly this, a text otherwise.
fn text_json(text: String) -> Value {
    let is_sure = text.bytes().filter(u8::is_ascii_digit).count() <= SURE_DIGITS;
    let decimal = || text.parse::<f64>().ok().filter(|_| is_sure).map(Value::from);
    let number = text.parse::<u64>().ok().map(Value::from).or_else(decimal);
    number.filter(|number| number_text(number) == text).unwrap_or_else(|| Value::from(text))
}

/// The text of a value that may be a number: never with an exponent.
pub(crate) fn number_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        other => other.to_string(),
    }
}

fn is_ports(name: &ResourceName) -> bool {
    name.as_str() == "ports"
}

/// `ports` are always runs; of others a text is one where it has the marks of one.
fn is_ranges(name: &ResourceName, text: &str) -> bool {
    let marked = text.trim().char_indices().any(|(at, c)| c == ',' || (c == '-' && at > 0));
    is_ports(name) || (marked && !name.is_bytes())
}

fn read_ranges(name: &ResourceName, text: &str) -> Result<Ranges, String> {
    let ranges: Ranges = text.parse().map_err(|error: super::InvalidRanges| error.to_string())?;
    let outside = ranges.iter().find(|(first, last)| is_ports(name) && (*first == 0 || *last > 65_535));
    if ranges.count() > Amount::MOST / WHOLE {
        return Err(format!("{} holds too many numbers: at most {}", quote(text), Amount::MOST / WHOLE));
    }
    outside.map_or(Ok(ranges), |_| {
        Err(format!("{} holds numbers that are no ports: ports are 1 to 65535", quote(text)))
    })
}

/// A single number is written as a run where it would be read as an amount.
fn ranges_text(name: &ResourceName, ranges: &Ranges) -> String {
    let text = ranges.to_string();
    if is_ranges(name, &text) { text } else { format!("{text}-{text}") }
}

fn items_of_list(list: &[Value]) -> Result<Amount, String> {
    let mut items = BTreeMap::new();
    for value in list {
        let item = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_u64() => number.to_string(),
            other => return Err(format!("{other} is not the name of an item: {LIST}")),
        };
        add_item(&mut items, &item, WHOLE)?;
    }
    Ok(Amount::Items(items))
}

fn items_of_map(map: &Map<String, Value>) -> Result<Amount, String> {
    let mut items = BTreeMap::new();
    for (item, value) in map {
        let units = decimal::scaled(&number_text(value), WHOLE).ok().filter(|units| *units <= WHOLE);
        let units = units.ok_or_else(|| {
            format!("{value} of item `{item}` is not a part of one: write a number from 0 to 1")
        })?;
        add_item(&mut items, item, units)?;
    }
    Ok(Amount::Items(items))
}

fn add_item(items: &mut BTreeMap<String, u64>, item: &str, units: u64) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b);
    if item.is_empty() || item.len() > 64 || !item.bytes().all(allowed) {
        return Err(format!(
            "{} is not the name of an item: 1 to 64 letters, digits and `_-.:/`",
            quote(item)
        ));
    }
    match items.insert(item.to_owned(), units) {
        None => Ok(()),
        Some(_) => Err(format!("item {} is given twice", quote(item))),
    }
}

/// As `cpus 0.5, gpus {0,1}, mem 512MiB`.
fn write_line<'a>(
    f: &mut fmt::Formatter<'_>,
    parts: impl Iterator<Item = (&'a ResourceName, String)>,
) -> fmt::Result {
    let line: Vec<String> = parts.map(|(name, text)| format!("{name} {text}")).collect();
    if line.is_empty() { f.pad("nothing") } else { f.pad(&line.join(", ")) }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, self.iter().map(|(name, amount)| (name, amount.text(name))))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, self.iter().map(|(name, units)| (name, Amount::scalar_text(name, units))))
    }
}

macro_rules! human_serde {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.to_json().serialize(serializer)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
human_serde!(Resources, Request);

#[cfg(test)]
mod tests;
