//! Task indexes of one job, small where they are one run, which they nearly always are.

use allot_model::{TaskRange, TaskSet};

/// A set of task indexes. One run costs no allocation: a million waiting jobs are a million of these.
#[derive(Debug, Clone, Default)]
pub(crate) enum Tasks {
    #[default]
    None,
    Run(TaskRange),
    Many(Box<TaskSet>),
}

impl Tasks {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Run(run) => run.count(),
            Self::Many(set) => set.count(),
        }
    }

    /// The run of the lowest indexes.
    pub(crate) fn first(&self) -> Option<TaskRange> {
        match self {
            Self::None => None,
            Self::Run(run) => Some(*run),
            Self::Many(set) => set.ranges().next(),
        }
    }

    /// The parts of `range` that are in here.
    pub(crate) fn within(&self, range: TaskRange) -> Vec<TaskRange> {
        match self {
            Self::None => Vec::new(),
            Self::Run(run) => run.overlap(range).into_iter().collect(),
            Self::Many(set) => set.within(range).collect(),
        }
    }

    /// Adds a run.
    pub(crate) fn insert(&mut self, range: TaskRange) {
        if let Self::None = self {
            *self = Self::Run(range);
        } else {
            self.edit(|set| set.insert(range));
        }
    }

    /// Takes a run out.
    pub(crate) fn remove(&mut self, range: TaskRange) {
        match self {
            Self::None => {}
            Self::Run(run) if range.first <= run.first => match range.last.checked_add(1) {
                Some(next) => {
                    *self = TaskRange::new(run.first.max(next), run.last).map_or(Self::None, Self::Run)
                }
                None => *self = Self::None,
            },
            _ => self.edit(|set| {
                set.remove(range);
            }),
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut TaskSet)) {
        let mut set = match std::mem::take(self) {
            Self::None => TaskSet::new(),
            Self::Run(run) => TaskSet::from_iter([run]),
            Self::Many(set) => *set,
        };
        change(&mut set);
        let first = set.ranges().next();
        *self = match first {
            None => Self::None,
            Some(run) if run.count() == set.count() => Self::Run(run),
            Some(_) => Self::Many(Box::new(set)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tasks_equal_a_plain_set(ops in proptest::collection::vec((any::<bool>(), 0_u32..30, 0_u32..8), 0..40)) {
            let mut tasks = Tasks::default();
            let mut plain = TaskSet::new();
            for (insert, first, len) in ops {
                let range = TaskRange { first, last: first + len };
                if insert {
                    tasks.insert(range);
                    plain.insert(range);
                } else {
                    tasks.remove(range);
                    plain.remove(range);
                }
                let all: TaskSet = tasks.within(TaskRange { first: 0, last: u32::MAX }).into_iter().collect();
                prop_assert_eq!(&all, &plain);
                prop_assert_eq!((tasks.count(), tasks.first()), (plain.count(), plain.ranges().next()));
                prop_assert_eq!(tasks.is_empty(), plain.is_empty());
            }
        }
    }
}
