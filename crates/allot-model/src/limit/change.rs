//! Changes of limits: only what is named becomes another, so that two people who each change a part do not undo each
//! other's.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Limited, NONE, QueueLimit};
use crate::resources::{InvalidAmount, number_text};

/// What each thing is to be limited to from now on, or that it is not to be limited any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitChange(BTreeMap<Limited, Option<u64>>);

impl LimitChange {
    /// True where nothing becomes another.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the limit is once it is changed.
    #[must_use]
    pub fn applied_to(&self, mut limit: QueueLimit) -> QueueLimit {
        for (what, most) in &self.0 {
            match (what, most) {
                (Limited::Tasks, most) => limit.tasks = *most,
                (Limited::PendingJobs, most) => limit.pending_jobs = *most,
                (Limited::Resource(name), Some(most)) => {
                    limit.resources.insert(name.clone(), *most);
                }
                (Limited::Resource(name), None) => {
                    limit.resources.remove(name);
                }
            }
        }
        limit
    }

    /// Both changes in one.
    ///
    /// # Errors
    /// [`InvalidAmount`] where both name the same thing.
    pub fn and(mut self, other: Self) -> Result<Self, InvalidAmount> {
        other.0.into_iter().try_for_each(|(what, most)| self.name(what, most))?;
        Ok(self)
    }

    /// Reads a change such as `{"cpus": 4, "mem": "none", "tasks": 10}`.
    ///
    /// # Errors
    /// [`InvalidAmount`] for the first that cannot be read.
    pub fn from_json(value: &Value) -> Result<Self, InvalidAmount> {
        let entries = value.as_object().ok_or_else(|| InvalidAmount {
            name: "limit".to_owned(),
            message: format!(
                "{value} is given: write amounts by name, such as {{\"cpus\": 4, \"tasks\": 10}}, or \"{NONE}\" in the \
                 place of an amount"
            ),
        })?;
        let mut change = Self::default();
        for (name, value) in entries {
            change.read_entry(name, &number_text(value))?;
        }
        Ok(change)
    }

    /// The form that [`LimitChange::from_json`] reads as the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let words = |(what, most): (&Limited, &Option<u64>)| {
            (what.to_string(), most.map_or_else(|| Value::from(NONE), |most| what.to_json(most)))
        };
        Value::Object(self.0.iter().map(words).collect::<Map<_, _>>())
    }

    fn read_entry(&mut self, name: &str, text: &str) -> Result<(), InvalidAmount> {
        let wrong = |message| InvalidAmount { name: name.to_owned(), message };
        let what = Limited::parse(name).map_err(wrong)?;
        let most = match text.trim() {
            NONE => None,
            text => Some(what.parse_amount(text).map_err(wrong)?),
        };
        self.name(what, most)
    }

    fn name(&mut self, what: Limited, most: Option<u64>) -> Result<(), InvalidAmount> {
        let name = what.to_string();
        match self.0.insert(what, most) {
            None => Ok(()),
            Some(_) => Err(InvalidAmount { name, message: "it is named twice: name it once".to_owned() }),
        }
    }
}

impl FromStr for LimitChange {
    type Err = String;

    /// Reads `cpus=4,mem=none`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut change = Self::default();
        for part in text.split(',') {
            let (name, amount) = part.split_once('=').ok_or_else(|| {
                format!(
                    "{part:?} is given: write NAME=AMOUNT, such as `cpus=4`, `mem=16GB` or `tasks=10`, or \
                     NAME={NONE} to take it away"
                )
            })?;
            change.read_entry(name.trim(), amount).map_err(|error| error.to_string())?;
        }
        Ok(change)
    }
}

impl Serialize for LimitChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LimitChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn change(text: &str) -> LimitChange {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_is_named_becomes_another() {
        let before = change("cpus=4,mem=16GB,tasks=10,pending_jobs=9").applied_to(QueueLimit::default());
        let after = change("cpus=none,mem=8GB,gpus=0").applied_to(before.clone());
        assert_eq!(after.to_string(), "tasks 10, gpus 0, mem 8GB, pending_jobs 9");
        assert_eq!(
            change("tasks=none,licenses=none,pending_jobs=none").applied_to(after).to_string(),
            "gpus 0, mem 8GB"
        );
        assert_eq!(LimitChange::default().applied_to(before.clone()), before);
    }

    #[test]
    fn changes_are_read_as_they_are_written() {
        let json = json!({"tasks": "none", "cpus": 0.5, "mem": "16GB"});
        let read = LimitChange::from_json(&json).unwrap();
        assert_eq!((read.to_json(), &read), (json, &change("cpus=.5,mem=16GB,tasks=none")));
        assert_eq!(change("cpus=.5").and(change("mem=16GB, tasks=none")), Ok(read));
        assert_eq!(LimitChange::from_json(&json!({})), Ok(LimitChange::default()));
    }

    #[test]
    fn what_is_no_limit_is_said_with_what_is_allowed() {
        let cases = [
            ("", "write NAME=AMOUNT"),
            ("cpus", "write NAME=AMOUNT"),
            ("cpu=4", "did you mean `cpus`"),
            ("cpu=none", "did you mean `cpus`"),
            ("cpus=-1", "negative"),
            ("cpus=four", "a number with at most 3 decimals"),
            ("mem=16G", "unknown unit"),
            ("tasks=1.5", "not a number of tasks: write a whole number"),
            ("tasks=-1", "not a number of tasks"),
            ("pending_jobs=some", "not a number of jobs"),
            ("tasks=99999999999999999999", "not a number of tasks"),
            ("none,cpus=1", "write NAME=AMOUNT"),
            ("cpus=1,cpus=2", "it is named twice"),
        ];
        for (text, part) in cases {
            let message = text.parse::<LimitChange>().unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert!(change("cpus=1").and(change("cpus=none")).is_err());
        for value in [json!(4), json!({"tasks": null}), json!({"cpus": [1]}), json!("none")] {
            assert!(LimitChange::from_json(&value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_change_or_refused(text in prop_oneof!["\\PC{0,12}", "(cpus|mem|tasks|gpus)=(none|[0-9.]{1,5}|1GB)(,[a-z]{1,5}=[0-9a-z.]{0,4})?"]) {
            match text.parse::<LimitChange>() {
                Ok(read) => {
                    prop_assert_eq!(LimitChange::from_json(&read.to_json()), Ok(read.clone()));
                    let limit = read.applied_to(QueueLimit::default());
                    prop_assert_eq!(read.applied_to(limit.clone()), limit);
                }
                Err(message) => prop_assert!(!message.is_empty()),
            }
        }
    }
}
