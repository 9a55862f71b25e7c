//! A policy is separable choices: how queues rank, how jobs rank within a queue, where a task goes, and what
//! happens behind a job that does not fit.

mod parse;

use std::fmt;
use std::str::FromStr;

use allot_model::{JobId, PolicyName, PreemptRules, Span, Time};
use serde::{Deserialize, Serialize};

use crate::name::NameKey;
use crate::order::Order;
pub use crate::placement::Placement;
use crate::rank::Rank;
use crate::share::Share;

pub(crate) use parse::listed;
pub use parse::{InvalidPolicy, PolicyChoices};

/// How an allocator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What it calls itself to the offers service.
    pub name: PolicyName,
    /// How queues rank.
    pub rank: Rank,
    /// How jobs rank within a queue.
    pub order: Order,
    /// Under [`Order::Priority`]: after how long a wait a job counts as one more urgent, and after as long again as one
    /// more. Not at all unless set.
    pub ageing: Option<Span>,
    /// Which of the agents that fit a task gets it.
    pub placement: Placement,
    /// What happens behind a job that does not fit.
    pub backfill: Backfill,
    /// What tasks are stopped for where nothing fits: nothing unless set.
    pub preempt: PreemptRules,
}

/// What happens behind a job that does not fit anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backfill {
    /// Every job behind it in its queue (or in the one line) waits too.
    None,
    /// Those that fit go ahead; nothing is reserved for it.
    Skip,
    /// Room is kept for the first that does not fit, for when it will be there by the estimates of what runs; behind it
    /// goes ahead what does not delay it. [Lifka, JSSPP 1995; Mu'alem and Feitelson, TPDS 12(6), 2001]
    Easy,
    /// The same, where of those that may go ahead the ones with the shortest estimates do.
    /// [Tsafrir, Etsion and Feitelson, TPDS 18(6), 2007]
    EasyShortest,
    /// Room is kept for each job from its arrival on, and the time for which it is kept only ever moves ahead.
    /// [Mu'alem and Feitelson, TPDS 12(6), 2001]
    Conservative,
}

impl Backfill {
    /// True where room is kept for one job at a time, and others may go ahead that do not delay it.
    pub(crate) fn is_easy(self) -> bool {
        matches!(self, Self::Easy | Self::EasyShortest)
    }

    /// True where it matters when what runs will end.
    pub(crate) fn looks_ahead(self) -> bool {
        self.is_easy() || self == Self::Conservative
    }
}

macro_rules! words {
    ($type:ident, $what:literal, $allowed:literal, $($word:literal => $value:ident),*) => {
        impl FromStr for $type {
            type Err = InvalidPolicy;
            fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
                match text {
                    $($word => Ok(Self::$value),)*
                    _ => Err(InvalidPolicy::unknown($what, text, $allowed)),
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

words!(
    Backfill, "backfill", "`none`, `skip`, `easy`, `easy-shortest`, `conservative`",
    "none" => None, "skip" => Skip, "easy" => Easy, "easy-shortest" => EasyShortest,
    "conservative" => Conservative
);

/// A queue's place among queues: smaller goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct LaneKey {
    pub(crate) share: Share,
    pub(crate) name: NameKey,
}

/// A job's place among the jobs of its queue: smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct JobKey {
    /// What its [`Order`] says of it.
    score: i64,
    submitted_at: Time,
    job: JobId,
}

/// An agent's place among those that could take a task: smaller goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct AgentKey {
    /// What decides before the name does: how much is free there under best fit, 0 under first fit.
    pub(crate) free: u64,
    pub(crate) name: NameKey,
}

impl JobKey {
    pub(crate) fn new(score: i64, submitted_at: Time, job: JobId) -> Self {
        Self { score, submitted_at, job }
    }

    pub(crate) fn job(&self) -> JobId {
        self.job
    }

    /// The same job with another score.
    pub(crate) fn scored(self, score: i64) -> Self {
        Self { score, ..self }
    }

    /// The place of a queue that goes by this job alone: such keys are ordered as the jobs are. It takes the form of a share
    /// and a name, so that queues which go by their shares need not compare more than these.
    pub(crate) fn as_lane_key(&self) -> LaneKey {
        let share = Share::of(self.score.abs_diff(i64::MIN), 1, 1);
        let rest = u128::from(self.submitted_at.as_micros()) << 64 | u128::from(self.job.0);
        LaneKey { share, name: NameKey::of_number(rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn queues_that_go_by_their_jobs_are_ordered_as_these_are(
            left in (-2..3_i64, 0..3_u64, 0..3_u64),
            right in (prop_oneof![Just(i64::MIN), Just(i64::MAX), -2..3_i64], prop_oneof![0..3_u64, any::<u64>()], 0..3_u64),
        ) {
            let key = |(score, at, job): (i64, u64, u64)| JobKey::new(score, Time::from_micros(at), JobId(job));
            let (left, right) = (key(left), key(right));
            prop_assert_eq!(left.as_lane_key().cmp(&right.as_lane_key()), left.cmp(&right));
        }
    }

    #[test]
    fn choices_are_read_as_they_are_written() {
        assert_eq!("best-fit".parse(), Ok(Placement::BestFit));
        assert_eq!(Backfill::None.to_string().parse(), Ok(Backfill::None));
        assert!("bestfit".parse::<Placement>().is_err());
    }
}
