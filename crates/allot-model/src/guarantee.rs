//! Guarantees of queues: how much the tasks of a queue, and of all queues below it, get before others get more than
//! theirs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limit::{Holding, QueueLimit};
use crate::resources::Resources;

/// What a queue and those below it are to have together, where they want it. The default guarantees nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct QueueGuarantee {
    /// How much, in the form of a limit: up to so much, a task goes before those that are not guaranteed.
    pub least: QueueLimit,
    /// Whether others may have what is not used of it.
    pub hold_back: HoldBack,
}

/// When what a queue does not use of its guarantee is kept free for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldBack {
    /// Where the queue may have no more than is guaranteed to it: who never borrows does not lend either.
    #[default]
    Fixed,
    /// Always, so that a task of the queue finds it free.
    Always,
    /// Never: others have the use of it until it ends or is preempted.
    Never,
}

impl QueueGuarantee {
    /// True where nothing is guaranteed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.least.is_none()
    }

    /// True where so many tasks more, each with this, are within the guarantee of a queue that holds this already. A
    /// task that asks for nothing of what is guaranteed is not.
    #[must_use]
    pub fn covers(&self, held: &Holding, slice: &Resources, count: u64) -> bool {
        let asked =
            self.least.tasks.is_some() || self.least.resources.keys().any(|name| slice.total(name) > 0);
        asked && self.least.exceeded(held, slice, count).is_none()
    }

    /// True where resources that the queue does not use are kept free for it, where this is its limit.
    #[must_use]
    pub fn is_held_back(&self, limit: &QueueLimit) -> bool {
        let mut resources = self.least.resources.iter();
        match self.hold_back {
            HoldBack::Always => true,
            HoldBack::Never => false,
            HoldBack::Fixed => {
                !self.is_none()
                    && resources
                        .all(|(name, least)| limit.resources.get(name).is_some_and(|most| most <= least))
            }
        }
    }

    /// What is guaranteed of it to a queue with this limit, which may be less.
    #[must_use]
    pub fn within(&self, limit: &QueueLimit) -> QueueLimit {
        let mut least = self.least.clone();
        for (name, units) in &mut least.resources {
            *units = limit.resources.get(name).map_or(*units, |most| (*most).min(*units));
        }
        least.tasks = least.tasks.map(|tasks| limit.tasks.map_or(tasks, |most| tasks.min(most)));
        least
    }

    /// All that a queue is set to, as `weight 3, limit cpus 4 and guarantee cpus 2`; without a guarantee none is mentioned.
    #[must_use]
    pub fn with_settings_in_words(&self, weight: u32, limit: &QueueLimit) -> String {
        let limit = limit.in_words();
        if *self == Self::default() {
            return format!("weight {weight} and {limit}");
        }
        format!("weight {weight}, {limit} and {}", self.in_words())
    }

    /// As `guarantee cpus 4`, `guarantee cpus 4 (always held back)`, or `no guarantee`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match (self.is_none(), self.hold_back) {
            (true, _) => "no guarantee".to_owned(),
            (false, HoldBack::Fixed) => format!("guarantee {}", self.least),
            (false, when) => format!("guarantee {} ({when} held back)", self.least),
        }
    }
}

/// The words for [`HoldBack`].
const WORDS: [(&str, HoldBack); 3] =
    [("fixed", HoldBack::Fixed), ("always", HoldBack::Always), ("never", HoldBack::Never)];

impl FromStr for HoldBack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = WORDS.iter().find(|(word, _)| *word == text).map(|(_, when)| *when);
        known.ok_or_else(|| format!("{text:?}: choose one of `fixed`, `always`, `never`"))
    }
}

impl fmt::Display for HoldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(WORDS.iter().find(|(_, when)| when == self).map_or("", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LimitChange;

    fn amounts(text: &str) -> QueueLimit {
        text.parse::<LimitChange>().unwrap().applied_to(QueueLimit::default())
    }

    fn guarantee(text: &str, hold_back: HoldBack) -> QueueGuarantee {
        QueueGuarantee { least: amounts(text), hold_back }
    }

    #[test]
    fn a_task_is_covered_up_to_the_guarantee_and_only_where_it_asks_for_some_of_it() {
        let one = |name: &str| Resources::from_iter([(name.parse().unwrap(), crate::Amount::Scalar(1_000))]);
        let (cpus, mem) =
            (guarantee("cpus=2", HoldBack::Fixed), guarantee("tasks=1,mem=1500", HoldBack::Fixed));
        let mut held = Holding::default();
        assert!(cpus.covers(&held, &one("cpus"), 2) && !cpus.covers(&held, &one("cpus"), 3));
        assert!(!cpus.covers(&held, &one("mem"), 1), "it asks for nothing that is guaranteed");
        assert!(mem.covers(&held, &one("gpus"), 1), "it is a task");
        held.add(&one("mem"), 1);
        assert!(cpus.covers(&held, &one("cpus"), 1) && !mem.covers(&held, &one("mem"), 1));
        assert!(!QueueGuarantee::default().covers(&held, &one("cpus"), 1));
    }

    #[test]
    fn what_is_also_the_limit_is_held_back_unless_it_is_said() {
        let fixed = guarantee("cpus=2,mem=4GB", HoldBack::Fixed);
        for (limit, held_back) in [
            ("cpus=2,mem=4GB,tasks=9", true),
            ("cpus=1,mem=4GB", true),
            ("cpus=2", false),
            ("cpus=3,mem=4GB", false),
            ("gpus=1", false),
        ] {
            assert_eq!(fixed.is_held_back(&amounts(limit)), held_back, "{limit}");
        }
        assert!(!QueueGuarantee::default().is_held_back(&QueueLimit::default()));
        assert!(guarantee("cpus=2", HoldBack::Always).is_held_back(&QueueLimit::default()));
        assert!(!guarantee("cpus=2", HoldBack::Never).is_held_back(&amounts("cpus=2")));
    }

    #[test]
    fn guarantees_are_told_in_words() {
        assert_eq!(QueueGuarantee::default().in_words(), "no guarantee");
        let (limit, two) = (amounts("cpus=4"), guarantee("cpus=2", HoldBack::Fixed));
        assert_eq!(two.in_words(), "guarantee cpus 2");
        assert_eq!(two.with_settings_in_words(3, &limit), "weight 3, limit cpus 4 and guarantee cpus 2");
        assert_eq!(QueueGuarantee::default().with_settings_in_words(1, &limit), "weight 1 and limit cpus 4");
        assert_eq!(guarantee("cpus=2", HoldBack::Never).in_words(), "guarantee cpus 2 (never held back)");
        for (word, when) in WORDS {
            assert_eq!((word.parse(), when.to_string()), (Ok(when), word.to_owned()));
        }
        assert_eq!("no".parse::<HoldBack>(), Err("\"no\": choose one of `fixed`, `always`, `never`".into()));
    }
}
