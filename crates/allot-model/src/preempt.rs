//! Preemption: tasks that run are stopped, to run again later, so that others get their place.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::agent::AttemptRun;
use crate::id::{AgentId, Epoch, GrantId, JobId, QueueName};
use crate::ranges::TaskRange;
use crate::task::Reason;
use crate::time::{Span, Time};

/// What tasks may be stopped for: nothing unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum Preempt {
    /// Nothing.
    #[default]
    None,
    /// For jobs of a higher priority.
    Priority,
    /// For what is guaranteed to queues that have less than that.
    Guarantee,
    /// For either.
    Both,
}

/// Why tasks are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreemptCause {
    /// The job that gets their place has a higher priority.
    Priority,
    /// The place is guaranteed to the queue of the job that gets it.
    Guarantee,
}

/// What is allowed of preemption, or done of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreemptRules {
    /// What tasks may be stopped for.
    pub preempt: Preempt,
    /// How long a task is left alone from when it got its place.
    pub min_run: Span,
    /// How many tasks may be stopped within a minute.
    pub rate: u32,
}

/// Tasks to be stopped so that one more task of a job has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preemption {
    /// The allocator's generation.
    pub epoch: Epoch,
    /// Its number, of those that it gives to grants.
    pub grant: GrantId,
    /// The job that gets the place.
    pub job: JobId,
    /// Where the place is.
    pub agent: AgentId,
    /// Why.
    pub cause: PreemptCause,
    /// What is to be stopped: all of it or none.
    pub victims: Vec<Victim>,
}

/// Attempts that are stopped for others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Victim {
    /// Where they are.
    pub agent: AgentId,
    /// Which.
    pub run: AttemptRun,
}

/// Whom tasks were stopped for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preemptor {
    /// The job that gets their place.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
}

/// How much of something happened within the last minute, so that it is no more than is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerMinute {
    most: u64,
    spent: VecDeque<(Time, u64)>,
}

const MINUTE: Span = Span::from_secs(60);

impl Default for PreemptRules {
    fn default() -> Self {
        Self { preempt: Preempt::None, min_run: Span::ZERO, rate: 600 }
    }
}

impl Preempt {
    const ALL: [(Self, &'static str); 4] = [
        (Self::None, "none"),
        (Self::Priority, "priority"),
        (Self::Guarantee, "guarantee"),
        (Self::Both, "both"),
    ];

    /// True where tasks may be stopped for this.
    #[must_use]
    pub fn is_for(self, cause: PreemptCause) -> bool {
        match cause {
            PreemptCause::Priority => matches!(self, Self::Priority | Self::Both),
            PreemptCause::Guarantee => matches!(self, Self::Guarantee | Self::Both),
        }
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both = |cause| self.is_for(cause) && other.is_for(cause);
        match (both(PreemptCause::Priority), both(PreemptCause::Guarantee)) {
            (false, false) => Self::None,
            (true, false) => Self::Priority,
            (false, true) => Self::Guarantee,
            (true, true) => Self::Both,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("none", |(_, word)| word)
    }
}

impl fmt::Display for Preempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that says nothing of preemption.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing that tasks can be stopped for: choose `none`, `priority`, `guarantee` or `both`")]
pub struct InvalidPreempt(String);

impl FromStr for Preempt {
    type Err = InvalidPreempt;
    fn from_str(text: &str) -> Result<Self, InvalidPreempt> {
        let found = Self::ALL.iter().find(|(_, word)| *word == text);
        found.map(|(known, _)| *known).ok_or_else(|| InvalidPreempt(text.to_owned()))
    }
}

impl TryFrom<String> for Preempt {
    type Error = InvalidPreempt;
    fn try_from(text: String) -> Result<Self, InvalidPreempt> {
        text.parse()
    }
}

impl PreemptCause {
    /// What is said of the tasks that are stopped.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Priority => Reason::PreemptedForPriority,
            Self::Guarantee => Reason::PreemptedForGuarantee,
        }
    }
}

impl fmt::Display for PreemptCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Priority => "priority",
            Self::Guarantee => "guarantee",
        })
    }
}

impl Preemption {
    /// How many tasks it stops.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.victims.iter().map(|victim| victim.run.tasks.count()).sum()
    }
}

impl Victim {
    /// What is left of it without these tasks of a job on an agent.
    pub fn without(self, agent: &AgentId, job: JobId, tasks: TaskRange) -> impl Iterator<Item = Self> {
        let run = self.run;
        let is_meant = self.agent == *agent && run.job == job;
        let left: Vec<TaskRange> =
            if is_meant { run.tasks.without(tasks).collect() } else { vec![run.tasks] };
        left.into_iter()
            .map(move |tasks| Self { agent: self.agent.clone(), run: AttemptRun { tasks, ..run } })
    }
}

impl PerMinute {
    /// So many a minute are allowed; none has happened yet.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most: most.into(), spent: VecDeque::new() }
    }

    /// The most there may be at once.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// From when on so many more are allowed: now or later. Never where that is more than a minute's.
    #[must_use]
    pub fn allows_at(&self, now: Time, count: u64) -> Option<Time> {
        let mut left = self.most.checked_sub(count)?;
        // The latest that would have to be a minute ago: going back from now, the first that is too much.
        for (at, spent) in self.spent.iter().rev() {
            match left.checked_sub(*spent) {
                Some(rest) => left = rest,
                None => return Some(now.max(*at + MINUTE)),
            }
        }
        Some(now)
    }

    /// So many have happened.
    pub fn spend(&mut self, now: Time, count: u64) {
        while self.spent.front().is_some_and(|(at, _)| *at + MINUTE <= now) {
            self.spent.pop_front();
        }
        self.spent.push_back((now, count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for (known, word) in Preempt::ALL {
            assert_eq!((word.parse(), known.to_string()), (Ok(known), word.to_owned()));
            assert_eq!(serde_json::to_string(&known).unwrap(), format!("{word:?}"));
        }
        let error = "all".parse::<Preempt>().unwrap_err().to_string();
        assert!(error.contains("`priority`, `guarantee` or `both`"), "{error}");
    }

    #[test]
    fn two_allow_together_what_each_does() {
        let table = [
            (Preempt::Both, Preempt::Both, Preempt::Both),
            (Preempt::Both, Preempt::Priority, Preempt::Priority),
            (Preempt::Guarantee, Preempt::Both, Preempt::Guarantee),
            (Preempt::Guarantee, Preempt::Priority, Preempt::None),
            (Preempt::None, Preempt::Both, Preempt::None),
        ];
        for (one, other, expected) in table {
            assert_eq!((one.and(other), other.and(one)), (expected, expected), "{one} and {other}");
        }
    }

    #[test]
    fn within_any_minute_there_are_no_more_than_are_allowed() {
        let mut rate = PerMinute::new(3);
        assert_eq!(rate.allows_at(at(0), 4), None, "more than a minute's");
        rate.spend(at(0), 2);
        rate.spend(at(20), 1);
        for (now, count, allowed) in
            [(20, 0, 20), (20, 1, 60), (59, 2, 60), (60, 2, 60), (60, 3, 80), (80, 3, 80)]
        {
            assert_eq!(rate.allows_at(at(now), count), Some(at(allowed)), "{count} at {now}");
        }
        rate.spend(at(60), 2);
        assert_eq!(rate.allows_at(at(61), 1), Some(at(80)));
        assert_eq!(PerMinute::new(0).allows_at(at(0), 1), None);
    }
}
