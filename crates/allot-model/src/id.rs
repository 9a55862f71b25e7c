//! Identifiers: one newtype each, parsed and displayed here and nowhere else.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an identifier: says what was given and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {what}: {allowed}")]
pub struct InvalidId {
    /// The kind of identifier that was expected, with its article.
    pub what: &'static str,
    /// The text as given.
    pub given: String,
    /// What would have been allowed.
    pub allowed: &'static str,
}

fn invalid(what: &'static str, given: &str, allowed: &'static str) -> InvalidId {
    InvalidId { what, given: given.chars().take(80).collect(), allowed }
}

/// True for a text that can stand as one token of a NATS subject: letters, digits, `_` and `-`.
fn is_token(text: &str, longest: usize) -> bool {
    !text.is_empty()
        && text.len() <= longest
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($repr:ty), $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self).map_err(|_| invalid($what, text, "a whole number"))
            }
        }
    };
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes the name of it.
            ///
            /// # Errors
            /// [`InvalidId`] where the text has another form.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(invalid($what, text, $allowed)) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

number_id!(
    /// A job: the sequence number of its submission in the inbox stream.
    JobId(u64),
    "a job id"
);
number_id!(
    /// Generation of a ledger writer, or of the active allocator: a larger one replaces a smaller one.
    Epoch(u64),
    "an epoch"
);
number_id!(
    /// How often an agent's offer has changed: a larger version replaces a smaller one.
    OfferVersion(u64),
    "an offer version"
);
number_id!(
    /// A grant, numbered by the allocator that made it, unique within its epoch.
    GrantId(u64),
    "a grant id"
);
number_id!(
    /// One life of an agent's memory: an agent that has forgotten which attempts it started has a new one.
    Incarnation(u64),
    "an incarnation"
);

name_id!(
    /// A machine or container that runs tasks.
    AgentId, "an agent id", |text| is_token(text, 64),
    "1 to 64 letters, digits, `-` and `_`"
);
name_id!(
    /// One running process of a service, such as one replica of an allocator.
    InstanceId, "an instance id", |text| is_token(text, 64),
    "1 to 64 letters, digits, `-` and `_`"
);
name_id!(
    /// The name of a policy, such as `drf`.
    PolicyName, "a policy name", |text| is_token(text, 64),
    "1 to 64 letters, digits, `-` and `_`"
);
name_id!(
    /// A set of agents with one active allocator. There is one, `default`, for now.
    PoolName, "a pool name", |text| is_token(text, 64),
    "1 to 64 letters, digits, `-` and `_`"
);
name_id!(
    /// Who shares: a path such as `research.vision`.
    QueueName, "a queue", |text| text.len() <= 255 && text.split('.').count() <= 16 && text.split('.').all(|t| is_token(t, 64)),
    "1 to 16 parts joined by dots, each of 1 to 64 letters, digits, `-` and `_`, such as `research.vision`"
);
name_id!(
    /// The name of a resource, such as `cpus`.
    ResourceName, "a resource name", |text| is_token(text, 64),
    "1 to 64 letters, digits, `-` and `_`, such as `cpus`, `mem` or `licenses`"
);

impl PoolName {
    /// The pool that every agent belongs to.
    #[must_use]
    pub fn default_pool() -> Self {
        Self("default".into())
    }
}

impl ResourceName {
    /// The processors of a machine, in parts of one.
    #[must_use]
    pub fn cpus() -> Self {
        Self("cpus".into())
    }

    /// `gpus`.
    #[must_use]
    pub fn gpus() -> Self {
        Self("gpus".into())
    }
}

/// Ordered and hashed as its text is.
impl Borrow<str> for QueueName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl QueueName {
    /// The queue and all above it, from itself up.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |path| path.rsplit_once('.').map(|(above, _)| above))
    }

    /// True for the queue itself and for all below it.
    #[must_use]
    pub fn is_within(&self, above: &str) -> bool {
        self.0.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The path's parts from the root down.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The queue one level up, if this one is not at the top.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rfind('.').map(|dot| Self(self.0[..dot].into()))
    }
}

/// One task of a job, counted from 0: `12.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job it belongs to.
    pub job: JobId,
    /// Its place in the job, from 0.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

impl FromStr for TaskId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fail = || invalid("a task", text, "a job id, a dot and the task's index from 0, such as `12.3`");
        let (job, index) = text.split_once('.').ok_or_else(fail)?;
        Ok(Self { job: job.parse().map_err(|_| fail())?, index: index.parse().map_err(|_| fail())? })
    }
}

/// One try at a task, counted from 1: `12.3#2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The task that is tried.
    pub task: TaskId,
    /// The number of the try, from 1.
    pub attempt: u32,
}

impl AttemptId {
    /// The `attempt`th try (from 1) at task `index` of `job`.
    #[must_use]
    pub fn new(job: JobId, index: u32, attempt: u32) -> Self {
        Self { task: TaskId { job, index }, attempt }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.attempt)
    }
}

impl FromStr for AttemptId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fail =
            || invalid("an attempt", text, "a task, `#` and the number of the try from 1, such as `12.3#2`");
        let (task, attempt) = text.split_once('#').ok_or_else(fail)?;
        let attempt = attempt.parse().ok().filter(|n| *n > 0).ok_or_else(fail)?;
        Ok(Self { task: task.parse().map_err(|_| fail())?, attempt })
    }
}

macro_rules! text_serde {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_serde!(TaskId, AttemptId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tasks_and_attempts_are_read_as_they_are_written() {
        for text in ["12.3#2", "1.0#1"] {
            assert_eq!(text.parse::<AttemptId>().unwrap().to_string(), text);
        }
        for text in ["12", "12.x", "12.3#0", "12.3#", "-1.2#1", ""] {
            assert!(text.parse::<AttemptId>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_would_break_a_subject_are_refused() {
        for text in ["", "a b", "a.*", "a..b", ".a", "a.", ">", "é", "a/b"] {
            assert!(QueueName::new(text).is_err(), "{text}");
        }
        assert!(AgentId::new("a.b").is_err());
        assert_eq!(QueueName::new("a.b.c").unwrap().parent().unwrap().as_str(), "a.b");
    }

    proptest! {
        #[test]
        fn any_attempt_is_read_as_it_is_written(job in any::<u64>(), index in any::<u32>(), attempt in 1..=u32::MAX) {
            let id = AttemptId::new(JobId(job), index, attempt);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.task.to_string().parse(), Ok(id.task));
        }

        #[test]
        fn any_text_is_an_identifier_or_refused(text in "\\PC{0,8}|[0-9+-]{0,21}[.#]?[0-9+]{0,11}[.#]?[0-9+]{0,11}|[a-z0-9_.-]{0,300}") {
            if let Ok(id) = text.parse::<AttemptId>() {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
            if let Ok(queue) = text.parse::<QueueName>() {
                prop_assert_eq!(queue.as_str(), text.as_str());
            }
            if let Err(invalid) = text.parse::<TaskId>() {
                prop_assert!(invalid.to_string().len() < 1_000);
            }
        }
    }

    #[test]
    fn a_queue_is_within_itself_and_all_above_it() {
        let queue = QueueName::new("a.b.c").unwrap();
        assert_eq!(queue.lineage().collect::<Vec<_>>(), ["a.b.c", "a.b", "a"]);
        assert!(queue.lineage().all(|above| queue.is_within(above)));
        assert!(!queue.is_within("a.b.c.d") && !queue.is_within("a.") && !queue.is_within("b"));
        assert!(!QueueName::new("a-b").unwrap().is_within("a"));
    }
}
