//! Sets of task indexes, and maps from them, kept as runs: a job of a million alike tasks is one entry.

mod runs;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use runs::Runs;

/// A run of task indexes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskRange {
    /// The first index.
    pub first: u32,
    /// The last index, at least `first`.
    pub last: u32,
}

impl TaskRange {
    /// The run from `first` to `last`, both included; nothing where `last` comes before `first`.
    #[must_use]
    pub fn new(first: u32, last: u32) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The run of one index.
    #[must_use]
    pub fn one(index: u32) -> Self {
        Self { first: index, last: index }
    }

    /// How many indexes it holds. At least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        u64::from(self.last) - u64::from(self.first) + 1
    }

    /// The indexes in both runs.
    #[must_use]
    pub fn overlap(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The runs of its indexes that are not in the other.
    pub fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let gone = self.overlap(other);
        let before = gone.and_then(|gone| Self::new(self.first, gone.first.checked_sub(1)?));
        let after = gone.and_then(|gone| Self::new(gone.last.checked_add(1)?, self.last));
        gone.is_none().then_some(self).into_iter().chain(before).chain(after)
    }

    /// Its indexes in order.
    pub fn indexes(self) -> impl Iterator<Item = u32> {
        self.first..=self.last
    }
}

impl fmt::Display for TaskRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A map from task indexes to values that keeps neighbours with equal values as one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMap<V> {
    runs: Runs<V>,
    count: u64,
}

impl<V> Default for RunMap<V> {
    fn default() -> Self {
        Self { runs: Runs::default(), count: 0 }
    }
}

impl<V: Clone + PartialEq> RunMap<V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many indexes have a value.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// True where no index has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value at `index`.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&V> {
        let (run, value) = self.runs.up_to(index)?;
        (index <= run.last).then_some(value)
    }

    /// The runs in order of their indexes.
    pub fn iter(&self) -> impl Iterator<Item = (TaskRange, &V)> {
        self.runs.from(0)
    }

    /// The parts of the runs that lie within `range`, in order.
    pub fn within(&self, range: TaskRange) -> impl Iterator<Item = (TaskRange, &V)> {
        let start = self.runs.up_to(range.first).map_or(range.first, |(run, _)| run.first);
        let runs = self.runs.from(start).take_while(move |(run, _)| run.first <= range.last);
        runs.filter_map(move |(run, value)| run.overlap(range).map(|part| (part, value)))
    }

    /// Gives every index of `range` this value, whatever it had.
    pub fn set(&mut self, range: TaskRange, value: V) {
        self.remove(range);
        self.count += range.count();
        let mut joined = range;
        if let Some(before) = range.first.checked_sub(1)
            && let Some((left, same)) = self.runs.up_to(before)
            && left.last == before
            && *same == value
        {
            joined.first = left.first;
        }
        if let Some(next) = range.last.checked_add(1)
            && let Some((right, same)) = self.runs.up_to(next)
            && right.first == next
            && *same == value
        {
            joined.last = right.last;
            self.runs.remove(next);
        }
        self.runs.insert(joined, value);
    }

    /// Takes the values out of `range` and returns the runs that were there.
    pub fn remove(&mut self, range: TaskRange) -> Vec<(TaskRange, V)> {
        let found: Vec<(TaskRange, V)> =
            self.within(range).map(|(part, value)| (part, value.clone())).collect();
        for (part, _) in &found {
            self.cut(*part);
        }
        found
    }

    /// Takes `part`, which lies within one run, out of that run.
    fn cut(&mut self, part: TaskRange) {
        let Some((run, _)) = self.runs.up_to(part.first) else { return };
        let Some(value) = self.runs.remove(run.first) else { return };
        self.count -= part.count();
        if run.first < part.first {
            self.runs.insert(TaskRange { first: run.first, last: part.first - 1 }, value.clone());
        }
        if part.last < run.last {
            self.runs.insert(TaskRange { first: part.last + 1, last: run.last }, value);
        }
    }
}

/// A set of task indexes, kept as runs: `0-99,105`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSet(RunMap<()>);

impl TaskSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The indexes from 0 up to, not including, `count`.
    #[must_use]
    pub fn first(count: u32) -> Self {
        count.checked_sub(1).map(|last| TaskRange { first: 0, last }).into_iter().collect()
    }

    /// How many indexes it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// True where it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True where it holds `index`.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        self.0.get(index).is_some()
    }

    /// Its runs in order.
    pub fn ranges(&self) -> impl Iterator<Item = TaskRange> {
        self.0.iter().map(|(range, ())| range)
    }

    /// The parts of its runs that lie within `range`, in order.
    pub fn within(&self, range: TaskRange) -> impl Iterator<Item = TaskRange> {
        self.0.within(range).map(|(part, ())| part)
    }

    /// Its indexes in order.
    pub fn indexes(&self) -> impl Iterator<Item = u32> {
        self.ranges().flat_map(TaskRange::indexes)
    }

    /// Adds a run; indexes already there stay.
    pub fn insert(&mut self, range: TaskRange) {
        self.0.set(range, ());
    }

    /// Takes a run out and returns what of it was there.
    pub fn remove(&mut self, range: TaskRange) -> Vec<TaskRange> {
        self.0.remove(range).into_iter().map(|(part, ())| part).collect()
    }

    /// Takes the first `count` indexes out, fewer where it holds fewer, and returns them.
    pub fn take_first(&mut self, count: u64) -> Vec<TaskRange> {
        let mut taken = Vec::new();
        let mut wanted = count;
        while wanted > 0 {
            let Some(run) = self.ranges().next() else { break };
            let last = u32::try_from(u64::from(run.first) + wanted - 1).unwrap_or(u32::MAX).min(run.last);
            let part = TaskRange { first: run.first, last };
            self.0.remove(part);
            wanted -= part.count();
            taken.push(part);
        }
        taken
    }
}

impl FromIterator<TaskRange> for TaskSet {
    fn from_iter<I: IntoIterator<Item = TaskRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

impl fmt::Display for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            range.fmt(f)?;
        }
        Ok(())
    }
}

/// Why a text is not a set of task indexes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a set of tasks: write indexes and ranges such as `0-99,105`")]
pub struct InvalidTaskSet {
    /// The text as given.
    pub given: String,
}

impl FromStr for TaskSet {
    type Err = InvalidTaskSet;
    fn from_str(text: &str) -> Result<Self, InvalidTaskSet> {
        let read = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            TaskRange::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
        };
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(read).collect::<Option<Self>>().ok_or_else(|| InvalidTaskSet { given: text.to_owned() })
    }
}

impl Serialize for TaskSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_run_without_another_is_what_lies_before_and_after_it() {
        let run = |first, last| TaskRange { first, last };
        let table = [
            (run(2, 6), run(4, 5), vec![run(2, 3), run(6, 6)]),
            (run(2, 6), run(0, 3), vec![run(4, 6)]),
            (run(2, 6), run(6, u32::MAX), vec![run(2, 5)]),
            (run(0, u32::MAX), run(0, u32::MAX), vec![]),
            (run(2, 6), run(7, 9), vec![run(2, 6)]),
        ];
        for (of, other, expected) in table {
            assert_eq!(of.without(other).collect::<Vec<_>>(), expected, "{of} without {other}");
        }
    }

    proptest! {
        #[test]
        fn a_run_map_equals_a_plain_map(ops in proptest::collection::vec((0_u32..40, 0_u32..12, 0_u8..4), 0..60)) {
            let mut runs = RunMap::new();
            let mut plain = BTreeMap::new();
            for (first, len, value) in ops {
                let range = TaskRange { first, last: first + len };
                if value == 3 {
                    let out: Vec<(u32, u8)> =
                        runs.remove(range).into_iter().flat_map(|(r, v)| r.indexes().map(move |i| (i, v))).collect();
                    let expected: Vec<(u32, u8)> =
                        range.indexes().filter_map(|i| plain.remove(&i).map(|v| (i, v))).collect();
                    prop_assert_eq!(out, expected);
                } else {
                    runs.set(range, value);
                    range.indexes().for_each(|i| { plain.insert(i, value); });
                }
                prop_assert_eq!(runs.count(), plain.len() as u64);
                let flat: BTreeMap<u32, u8> = runs.iter().flat_map(|(r, v)| r.indexes().map(move |i| (i, *v))).collect();
                prop_assert_eq!(&flat, &plain);
                let neighbours: Vec<_> = runs.iter().collect();
                prop_assert!(neighbours.windows(2).all(|w| w[0].0.last + 1 < w[1].0.first || w[0].1 != w[1].1));
            }
        }
    }

    #[test]
    fn the_first_indexes_are_taken_across_runs() {
        let mut set: TaskSet = "0-2,5-9,20".parse().unwrap();
        let taken: TaskSet = set.take_first(5).into_iter().collect();
        assert_eq!((taken.to_string(), set.to_string()), ("0-2,5-6".into(), "7-9,20".into()));
        assert_eq!(set.take_first(100).len(), 2);
        assert!(set.is_empty());
    }

    #[test]
    fn the_whole_range_of_indexes_is_held_without_overflow() {
        let mut set = TaskSet::new();
        set.insert(TaskRange { first: 0, last: u32::MAX });
        set.insert(TaskRange::one(u32::MAX));
        assert_eq!(set.count(), 1 << 32);
    }

    proptest! {
        #[test]
        fn any_set_is_read_as_it_is_written(runs in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..20)) {
            let set: TaskSet = runs.into_iter().filter_map(|(first, last)| TaskRange::new(first, last)).collect();
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }

        #[test]
        fn any_text_is_a_set_or_refused(text in "\\PC{0,10}|([0-9]{0,11}-?[0-9]{0,11},? ?){0,5}") {
            if let Ok(set) = text.parse::<TaskSet>() {
                prop_assert_eq!(set.to_string().parse(), Ok(set.clone()));
                prop_assert_eq!(set.ranges().map(TaskRange::count).sum::<u64>(), set.count());
            }
        }
    }
}
