//! A policy is separable choices: how queues rank, how jobs rank within a queue, where a task goes, and what
//! happens behind a job that does not fit.

mod parse;

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use allot_model::{JobId, PolicyName, ResourceName, Time};
use serde::{Deserialize, Serialize};

use crate::name::NameKey;
use crate::share::Share;
pub use parse::{InvalidPolicyText, PolicyChoices};

/// How an allocator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What it calls itself to the offers service.
    pub name: PolicyName,
    /// How queues rank.
    pub rank: Rank,
    /// How jobs rank within a queue.
    pub order: Order,
    /// Which of the agents that fit a task gets it.
    pub placement: Placement,
    /// What happens behind a job that does not fit.
    pub backfill: Backfill,
}

/// How queues rank. Ties go to the queue's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rank {
    /// Not at all: all jobs of all queues stand in one line.
    Line,
    /// The least of one resource over its weight goes first: weighted max-min on that resource.
    Fair {
        /// Which resource.
        resource: ResourceName,
    },
    /// The least dominant share over its weight goes first: weighted dominant resource fairness.
    Drf,
}

/// How jobs rank within a queue, or in the one line. Ties go to the job submitted first, then to the smaller id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// As submitted.
    Fifo,
    /// The largest priority first.
    Priority,
}

/// Which of the agents that fit a task gets it. Ties go to the agent's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The first by name.
    FirstFit,
    /// The one with the least left over: the sum over all resources of what is free there, each measured against
    /// the largest agent's.
    BestFit,
}

/// What happens behind a job that does not fit anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backfill {
    /// Every job behind it in its queue (or in the one line) waits too.
    None,
    /// Those that fit go ahead; nothing is reserved for it.
    Skip,
}

/// Why a policy cannot be made from its settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {given:?}: choose one of {allowed}")]
pub struct InvalidPolicy {
    what: &'static str,
    given: String,
    allowed: &'static str,
}

impl Policy {
    /// The names of the policies that [`Policy::named`] knows.
    pub const NAMES: [&str; 4] = ["fifo", "priority", "fair", "drf"];

    /// The policy of that name with its defaults: best fit, skipping what does not fit, `fair` on `cpus`.
    ///
    /// # Errors
    /// [`InvalidPolicy`], which lists the names there are.
    pub fn named(name: &str) -> Result<Self, InvalidPolicy> {
        let cpus = || ResourceName::new("cpus").ok();
        let (rank, order) = match name {
            "fifo" => (Some(Rank::Line), Order::Fifo),
            "priority" => (Some(Rank::Line), Order::Priority),
            "fair" => (cpus().map(|resource| Rank::Fair { resource }), Order::Priority),
            "drf" => (Some(Rank::Drf), Order::Priority),
            _ => (None, Order::Fifo),
        };
        let unknown = || InvalidPolicy {
            what: "policy",
            given: name.to_owned(),
            allowed: "`fifo`, `priority`, `fair`, `drf`",
        };
        let (rank, name) = rank.zip(PolicyName::new(name).ok()).ok_or_else(unknown)?;
        Ok(Self { name, rank, order, placement: Placement::BestFit, backfill: Backfill::Skip })
    }
}

macro_rules! words {
    ($type:ident, $what:literal, $allowed:literal, $($word:literal => $value:ident),*) => {
        impl FromStr for $type {
            type Err = InvalidPolicy;
            fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
                match text {
                    $($word => Ok(Self::$value),)*
                    _ => Err(InvalidPolicy { what: $what, given: text.to_owned(), allowed: $allowed }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$value => $word,)* })
            }
        }
    };
}

words!(Order, "job order", "`fifo`, `priority`", "fifo" => Fifo, "priority" => Priority);
words!(Placement, "placement", "`first-fit`, `best-fit`", "first-fit" => FirstFit, "best-fit" => BestFit);
words!(Backfill, "backfill", "`none`, `skip`", "none" => None, "skip" => Skip);

/// A queue's place among queues: smaller goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct LaneKey {
    pub(crate) share: Share,
    pub(crate) name: NameKey,
}

/// A job's place among the jobs of its queue: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobKey {
    priority: Reverse<i32>,
    submitted_at: Time,
    job: JobId,
}

/// An agent's place among those that could take a task: smaller goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct AgentKey {
    /// How much is free there under best fit, 0 under first fit.
    pub(crate) free: u64,
    pub(crate) name: NameKey,
}

impl Order {
    pub(crate) fn key(self, priority: i32, submitted_at: Time, job: JobId) -> JobKey {
        let priority = match self {
            Self::Fifo => 0,
            Self::Priority => priority,
        };
        JobKey { priority: Reverse(priority), submitted_at, job }
    }
}

impl JobKey {
    pub(crate) fn job(&self) -> JobId {
        self.job
    }

    /// The place of a queue that goes by this job alone: such keys are ordered as the jobs are. It takes the form of a share
    /// and a name, so that queues which go by their shares need not compare more than these.
    pub(crate) fn as_lane_key(&self) -> LaneKey {
        let below_most = i64::from(i32::MAX) - i64::from(self.priority.0);
        let share = Share::of(below_most.unsigned_abs(), 1, 1);
        let rest = u128::from(self.submitted_at.as_micros()) << 64 | u128::from(self.job.0);
        LaneKey { share, name: NameKey::of_number(rest) }
    }
}

impl Default for JobKey {
    fn default() -> Self {
        Order::Fifo.key(0, Time::ZERO, JobId(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_policy_named_is_there_and_others_are_refused_with_the_list() {
        for name in Policy::NAMES {
            assert_eq!(Policy::named(name).unwrap().name.as_str(), name);
        }
        let message = Policy::named("dfr").unwrap_err().to_string();
        assert_eq!(message, r#"there is no policy "dfr": choose one of `fifo`, `priority`, `fair`, `drf`"#);
    }

    proptest! {
        #[test]
        fn queues_that_go_by_their_jobs_are_ordered_as_these_are(
            left in (-2..3_i32, 0..3_u64, 0..3_u64),
            right in (prop_oneof![Just(i32::MIN), Just(i32::MAX), -2..3_i32], prop_oneof![0..3_u64, any::<u64>()], 0..3_u64),
        ) {
            let key = |(priority, at, job): (i32, u64, u64)| Order::Priority.key(priority, Time::from_micros(at), JobId(job));
            let (left, right) = (key(left), key(right));
            prop_assert_eq!(left.as_lane_key().cmp(&right.as_lane_key()), left.cmp(&right));
        }
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        assert_eq!("best-fit".parse(), Ok(Placement::BestFit));
        assert_eq!(Backfill::None.to_string().parse(), Ok(Backfill::None));
        assert_eq!(Order::Priority.to_string().parse(), Ok(Order::Priority));
        assert!("bestfit".parse::<Placement>().is_err());
    }
}
