//! A set of attempts, kept as runs.

use std::collections::BTreeMap;

use allot_model::{AttemptId, AttemptRun, JobId, TaskRange};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of attempts. One flat map of runs: a hundred thousand jobs of one task cost a few megabytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptSet {
    /// The last task of each run, by job, number of the try, and first task.
    runs: BTreeMap<(JobId, u32, u32), u32>,
}

impl AttemptSet {
    /// How many runs it is kept in, which is what it costs.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// True where it holds no attempt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// True where it holds this attempt.
    #[must_use]
    pub fn contains(&self, attempt: AttemptId) -> bool {
        self.within(AttemptRun::one(attempt)).next().is_some()
    }

    /// Its runs in order of job, number of the try, and task.
    pub fn iter(&self) -> impl Iterator<Item = AttemptRun> {
        self.runs.iter().map(|(key, last)| to_run(*key, *last))
    }

    /// The parts of its runs that lie within `run`, in order.
    pub fn within(&self, run: AttemptRun) -> impl Iterator<Item = AttemptRun> {
        let AttemptRun { job, tasks, attempt } = run;
        let key = |first| (job, attempt, first);
        let before = self.runs.range(key(0)..=key(tasks.first)).next_back();
        let start = before.map_or(tasks.first, |((_, _, first), _)| *first);
        self.runs.range(key(start)..=key(tasks.last)).filter_map(move |((_, _, first), last)| {
            let part = TaskRange { first: *first, last: *last }.overlap(tasks)?;
            Some(AttemptRun { job, tasks: part, attempt })
        })
    }

    /// The parts of `run` that it does not hold, in order.
    #[must_use]
    pub fn missing(&self, run: AttemptRun) -> Vec<AttemptRun> {
        let mut gaps = Vec::new();
        let mut next = Some(run.tasks.first);
        for held in self.within(run) {
            let gap_end = held.tasks.first.checked_sub(1);
            gaps.extend(next.zip(gap_end).and_then(|(first, last)| TaskRange::new(first, last)));
            next = held.tasks.last.checked_add(1);
        }
        gaps.extend(next.and_then(|first| TaskRange::new(first, run.tasks.last)));
        gaps.into_iter().map(|tasks| AttemptRun { tasks, ..run }).collect()
    }

    /// Adds a run; attempts already there stay.
    pub fn insert(&mut self, run: AttemptRun) {
        let AttemptRun { job, tasks, attempt } = run;
        let touching = TaskRange { first: tasks.first.saturating_sub(1), last: tasks.last.saturating_add(1) };
        let mut joined = tasks;
        for key in self.keys_within(AttemptRun { tasks: touching, ..run }) {
            if let Some(last) = self.runs.remove(&key) {
                joined = TaskRange { first: joined.first.min(key.2), last: joined.last.max(last) };
            }
        }
        self.runs.insert((job, attempt, joined.first), joined.last);
    }

    /// Takes a run out.
    pub fn remove(&mut self, run: AttemptRun) {
        for key in self.keys_within(run) {
            let Some(last) = self.runs.remove(&key) else { continue };
            if key.2 < run.tasks.first {
                self.runs.insert(key, run.tasks.first - 1);
            }
            if run.tasks.last < last {
                self.runs.insert((run.job, run.attempt, run.tasks.last + 1), last);
            }
        }
    }

    /// The keys of the runs that overlap `run`.
    fn keys_within(&self, run: AttemptRun) -> Vec<(JobId, u32, u32)> {
        let key = |first| (run.job, run.attempt, first);
        let before = self.runs.range(key(0)..key(run.tasks.first)).next_back();
        let before = before.filter(|(_, last)| **last >= run.tasks.first);
        let inside = self.runs.range(key(run.tasks.first)..=key(run.tasks.last));
        before.into_iter().chain(inside).map(|(key, _)| *key).collect()
    }
}

fn to_run((job, attempt, first): (JobId, u32, u32), last: u32) -> AttemptRun {
    AttemptRun { job, tasks: TaskRange { first, last }, attempt }
}

impl Extend<AttemptRun> for AttemptSet {
    fn extend<I: IntoIterator<Item = AttemptRun>>(&mut self, runs: I) {
        runs.into_iter().for_each(|run| self.insert(run));
    }
}

impl FromIterator<AttemptRun> for AttemptSet {
    fn from_iter<I: IntoIterator<Item = AttemptRun>>(runs: I) -> Self {
        let mut set = Self::default();
        set.extend(runs);
        set
    }
}

impl Serialize for AttemptSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for AttemptSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<AttemptRun>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn run(job: u64, first: u32, last: u32) -> AttemptRun {
        AttemptRun { job: JobId(job), tasks: TaskRange { first, last }, attempt: 1 }
    }

    fn flat<I: IntoIterator<Item = AttemptRun>>(runs: I) -> BTreeSet<AttemptId> {
        runs.into_iter().flat_map(AttemptRun::attempts).collect()
    }

    proptest! {
        #[test]
        fn an_attempt_set_equals_a_plain_set(
            ops in proptest::collection::vec((1_u64..3, 0_u32..30, 0_u32..8, any::<bool>()), 0..60),
            probe in (0_u32..30, 0_u32..8),
        ) {
            let mut runs = AttemptSet::default();
            let mut plain = BTreeSet::new();
            for (job, first, length, adds) in ops {
                let part = run(job, first, first + length);
                if adds {
                    runs.insert(part);
                    plain.extend(part.attempts());
                } else {
                    runs.remove(part);
                    part.attempts().for_each(|attempt| { plain.remove(&attempt); });
                }
                prop_assert_eq!(&flat(runs.iter()), &plain);
            }
            let probe = run(1, probe.0, probe.0 + probe.1);
            let (held, missing): (BTreeSet<_>, BTreeSet<_>) = probe.attempts().partition(|a| plain.contains(a));
            prop_assert_eq!(flat(runs.within(probe)), held);
            prop_assert_eq!(flat(runs.missing(probe)), missing);
            prop_assert!(probe.attempts().all(|a| runs.contains(a) == plain.contains(&a)));
            let all: Vec<AttemptRun> = runs.iter().collect();
            prop_assert!(all.windows(2).all(|w| w[0].job != w[1].job || w[0].tasks.last + 1 < w[1].tasks.first));
        }
    }

    #[test]
    fn the_whole_range_of_tasks_is_held_without_overflow() {
        let mut set = AttemptSet::default();
        set.insert(run(1, 0, u32::MAX));
        set.insert(run(1, u32::MAX, u32::MAX));
        assert_eq!(set.runs(), 1);
        assert!(set.missing(run(1, 0, u32::MAX)).is_empty());
        set.remove(run(1, 5, u32::MAX));
        assert_eq!(set.missing(run(1, 0, u32::MAX)), [run(1, 5, u32::MAX)]);
    }
}
