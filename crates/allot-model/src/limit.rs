//! Limits of queues: the most that the tasks of a queue, and of all queues below it, may hold together, and how many of
//! their jobs may wait.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::id::ResourceName;
use crate::resources::{Amount, InvalidAmount, Resources};

mod change;

pub use change::LimitChange;

/// The most that tasks may hold together. What is not named is not limited; the default limits nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueueLimit {
    /// How many tasks may run at a time. Of tasks that take turns, those count that have a slot.
    pub tasks: Option<u64>,
    /// How much of each resource they may hold, in the units of [`Amount::Scalar`]. Nothing at all is a limit too.
    pub resources: BTreeMap<ResourceName, u64>,
    /// How many jobs may have tasks that wait. Not for tasks to hold: what is submitted beyond it is rejected.
    pub pending_jobs: Option<u64>,
}

/// Something that a limit can limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limited {
    /// The number of tasks that run at a time.
    Tasks,
    /// What they hold of a resource.
    Resource(ResourceName),
    /// The number of jobs of which tasks wait.
    PendingJobs,
}

/// The word for the number of tasks, where resources are named.
const TASKS: &str = "tasks";

/// The word for the number of jobs of which tasks wait.
const PENDING_JOBS: &str = "pending_jobs";

/// What stands in the place of an amount where there is no limit.
const NONE: &str = "none";

impl QueueLimit {
    /// The most resources that a limit can name.
    pub const MOST_RESOURCES: usize = 32;

    /// True where nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.tasks.is_none() && self.resources.is_empty() && self.pending_jobs.is_none()
    }

    /// What of it limits what tasks hold.
    #[must_use]
    pub fn of_tasks(self) -> Self {
        Self { pending_jobs: None, ..self }
    }

    /// To how much something is limited, where it is.
    #[must_use]
    pub fn most(&self, what: &Limited) -> Option<u64> {
        match what {
            Limited::Tasks => self.tasks,
            Limited::Resource(name) => self.resources.get(name).copied(),
            Limited::PendingJobs => self.pending_jobs,
        }
    }

    /// All that this or the other names; where both do, as this does.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut resources = other.resources.clone();
        resources.extend(self.resources.iter().map(|(name, units)| (name.clone(), *units)));
        let pending_jobs = self.pending_jobs.or(other.pending_jobs);
        Self { tasks: self.tasks.or(other.tasks), resources, pending_jobs }
    }

    /// All that is limited, and to how much; tasks first.
    pub fn iter(&self) -> impl Iterator<Item = (Limited, u64)> {
        let tasks = self.tasks.map(|count| (Limited::Tasks, count));
        let resources = self.resources.iter().map(|(name, units)| (Limited::Resource(name.clone()), *units));
        let pending = self.pending_jobs.map(|count| (Limited::PendingJobs, count));
        tasks.into_iter().chain(resources).chain(pending)
    }

    /// The first thing of which so many tasks more, each with this, would be too much, where they hold `tasks` and
    /// `held` already. Only what they ask for counts: a limit that was lowered below what is held keeps nobody from
    /// other things.
    #[must_use]
    pub fn exceeded(&self, held: &Holding, slice: &Resources, count: u64) -> Option<Limited> {
        let over = |held: u64, more: u64, most: u64| more > 0 && held.saturating_add(more) > most;
        if self.tasks.is_some_and(|most| over(held.tasks, count, most)) {
            return Some(Limited::Tasks);
        }
        let too_much = |(name, most): &(&ResourceName, &u64)| {
            over(held.of(name), slice.total(name).saturating_mul(count), **most)
        };
        self.resources.iter().find(too_much).map(|(name, _)| Limited::Resource(name.clone()))
    }

    /// Reads a limit such as `{"cpus": 4, "mem": "16GB", "tasks": 10}`.
    ///
    /// # Errors
    /// [`InvalidAmount`] for the first that cannot be read.
    pub fn from_json(value: &Value) -> Result<Self, InvalidAmount> {
        LimitChange::from_json(value).map(|change| change.applied_to(Self::default()))
    }

    /// The form that [`QueueLimit::from_json`] reads as the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let words = |(what, most): (Limited, u64)| (what.to_string(), what.to_json(most));
        Value::Object(self.iter().map(words).collect::<Map<_, _>>())
    }

    /// As `limit tasks 10, cpus 4`, or `no limit`.
    #[must_use]
    pub fn in_words(&self) -> String {
        if self.is_none() { "no limit".to_owned() } else { format!("limit {self}") }
    }
}

impl fmt::Display for QueueLimit {
    /// As `tasks 10, cpus 4, mem 16GB`; `none` where nothing is limited.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> =
            self.iter().map(|(what, most)| format!("{what} {}", what.text(most))).collect();
        f.pad(&if words.is_empty() { NONE.to_owned() } else { words.join(", ") })
    }
}

impl Limited {
    /// Reads the name of a resource, or `tasks` or `pending_jobs`.
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            TASKS => Ok(Self::Tasks),
            PENDING_JOBS => Ok(Self::PendingJobs),
            _ => ResourceName::parse_known(name).map(Self::Resource),
        }
    }

    /// Reads an amount of it as people write it.
    fn parse_amount(&self, text: &str) -> Result<u64, String> {
        let counted = match self {
            Self::Resource(name) => return Amount::parse_scalar(name, text),
            Self::Tasks => "tasks",
            Self::PendingJobs => "jobs",
        };
        let count = text.parse().ok().filter(|count| *count <= Amount::MOST);
        let allowed = format!("write a whole number of at most {}", Amount::MOST);
        count.ok_or_else(|| format!("{text:?} is not a number of {counted}: {allowed}"))
    }

    /// An amount of it as people write it.
    #[must_use]
    pub fn text(&self, units: u64) -> String {
        match self {
            Self::Tasks | Self::PendingJobs => units.to_string(),
            Self::Resource(name) => Amount::scalar_text(name, units),
        }
    }

    /// An amount of it as people write it, in JSON.
    #[must_use]
    pub fn to_json(&self, units: u64) -> Value {
        match self {
            Self::Tasks | Self::PendingJobs => Value::from(units),
            Self::Resource(name) => Amount::Scalar(units).to_json(name),
        }
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tasks => f.pad(TASKS),
            Self::Resource(name) => name.fmt(f),
            Self::PendingJobs => f.pad(PENDING_JOBS),
        }
    }
}

/// What the tasks of a queue, and of all queues below it, hold together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// How many they are.
    pub tasks: u64,
    /// How much of each resource they have, in the units of [`Amount::Scalar`].
    pub resources: BTreeMap<ResourceName, u64>,
}

impl Holding {
    /// How much of a resource they have.
    #[must_use]
    pub fn of(&self, name: &ResourceName) -> u64 {
        self.resources.get(name).copied().unwrap_or(0)
    }

    /// What of it a limit limits, in the form of a limit.
    #[must_use]
    pub fn beside(&self, limit: &QueueLimit) -> QueueLimit {
        let resources = limit.resources.keys().map(|name| (name.clone(), self.of(name))).collect();
        QueueLimit { tasks: limit.tasks.map(|_| self.tasks), resources, pending_jobs: None }
    }

    /// So many tasks more hold this each.
    pub fn add(&mut self, slice: &Resources, count: u64) {
        self.tasks = self.tasks.saturating_add(count);
        for (name, amount) in slice.iter() {
            let held = self.resources.entry(name.clone()).or_insert(0);
            *held = held.saturating_add(amount.total().saturating_mul(count));
        }
    }

    /// So many tasks less hold this each, down to nothing.
    pub fn subtract(&mut self, slice: &Resources, count: u64) {
        self.tasks = self.tasks.saturating_sub(count);
        for (name, amount) in slice.iter() {
            if let Some(held) = self.resources.get_mut(name) {
                *held = held.saturating_sub(amount.total().saturating_mul(count));
            }
        }
        self.resources.retain(|_, held| *held > 0);
    }

    /// All of the other as well.
    pub fn add_all(&mut self, other: &Self) {
        self.tasks = self.tasks.saturating_add(other.tasks);
        for (name, more) in &other.resources {
            let held = self.resources.entry(name.clone()).or_insert(0);
            *held = held.saturating_add(*more);
        }
    }
}

impl Serialize for QueueLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for QueueLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn name(text: &str) -> ResourceName {
        ResourceName::new(text).unwrap()
    }

    fn limit(text: &str) -> QueueLimit {
        text.parse::<LimitChange>().unwrap().applied_to(QueueLimit::default())
    }

    #[test]
    fn limits_are_read_as_people_write_them() {
        let limit = limit("cpus=4, mem=16GB,tasks=10,licenses=0,pending_jobs=100");
        assert_eq!(limit.tasks, Some(10));
        assert_eq!(limit.resources[&name("cpus")], 4_000);
        assert_eq!(limit.resources[&name("mem")], 16_000_000_000);
        assert_eq!(limit.in_words(), "limit tasks 10, cpus 4, licenses 0, mem 16GB, pending_jobs 100");
        let json = json!({"tasks": 10, "cpus": 4, "licenses": 0, "mem": "16GB", "pending_jobs": 100});
        assert_eq!(limit.clone().of_tasks().in_words(), "limit tasks 10, cpus 4, licenses 0, mem 16GB");
        assert_eq!((limit.to_json(), QueueLimit::from_json(&json)), (json, Ok(limit)));
        let none = QueueLimit::default();
        assert_eq!((none.to_string(), none.in_words()), ("none".to_owned(), "no limit".to_owned()));
        assert_eq!(QueueLimit::from_json(&json!({})), Ok(none));
        // Programs differ in how they write the number that this would be.
        let long = self::limit("aaaa=8910424594955.313").to_json();
        assert_eq!(
            (&long, QueueLimit::from_json(&long).map(|read| read.to_json())),
            (&json!({"aaaa": "8910424594955.313"}), Ok(long.clone()))
        );
    }

    #[test]
    fn only_what_is_asked_for_can_be_too_much() {
        let limit = limit("cpus=4,mem=8,tasks=3");
        let slice =
            |amounts: &[(&str, u64)]| amounts.iter().map(|(n, a)| (name(n), Amount::Scalar(*a))).collect();
        let mut held = Holding::default();
        held.add(&slice(&[("cpus", 3_000), ("mem", 9)]), 1);
        let cpu: Resources = slice(&[("cpus", 1_000)]);
        assert_eq!(limit.exceeded(&held, &cpu, 1), None, "mem is over, and nobody asks for more of it");
        assert_eq!(limit.exceeded(&held, &cpu, 2), Some(Limited::Resource(name("cpus"))));
        assert_eq!(limit.exceeded(&held, &cpu, 3), Some(Limited::Tasks));
        assert_eq!(limit.exceeded(&held, &slice(&[("mem", 1)]), 1), Some(Limited::Resource(name("mem"))));
        assert_eq!(held.beside(&limit).to_string(), "tasks 1, cpus 3, mem 9");
        held.subtract(&slice(&[("cpus", 3_000), ("mem", 9)]), 1);
        assert_eq!(held, Holding::default());
    }

    proptest! {
        #[test]
        fn limits_are_read_as_they_are_written(
            tasks in proptest::option::of(0..Amount::MOST),
            pending_jobs in proptest::option::of(0..Amount::MOST),
            resources in proptest::collection::btree_map("[a-z]{4,6}|cpus|mem", 0..Amount::MOST, 0..4),
        ) {
            let resources = resources.into_iter().filter(|(n, _)| ResourceName::parse_known(n).is_ok() && n != "tasks");
            let resources = resources.map(|(n, units)| (name(&n), units)).collect();
            let written = QueueLimit { tasks, resources, pending_jobs };
            prop_assert_eq!(QueueLimit::from_json(&written.to_json()), Ok(written.clone()));
            if !written.is_none() {
                prop_assert_eq!(limit(&written.to_string().replace(", ", ",").replace(' ', "=")), written);
            }
        }
    }
}
