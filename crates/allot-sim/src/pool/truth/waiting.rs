//! The tasks of a job that wait, small where they are one run, which they nearly always are.

use allot_model::{TaskRange, TaskSet};

/// A set of tasks.
#[derive(Debug, Clone, Default)]
pub(super) enum Waiting {
    #[default]
    None,
    Run(TaskRange),
    Many(Box<TaskSet>),
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Adds tasks.
    pub(super) fn insert(&mut self, tasks: TaskRange) {
        let mut set = self.set();
        set.insert(tasks);
        *self = Self::of(set);
    }

    /// Takes tasks out; false where not all of them were in.
    pub(super) fn remove(&mut self, tasks: TaskRange) -> bool {
        if let Self::Run(run) = self {
            if *run == tasks {
                *self = Self::None;
                return true;
            }
            if tasks.first == run.first && tasks.last < run.last {
                run.first = tasks.last + 1;
                return true;
            }
        }
        let mut set = self.set();
        let removed: u64 = set.remove(tasks).into_iter().map(TaskRange::count).sum();
        *self = Self::of(set);
        removed == tasks.count()
    }

    /// The tasks as runs.
    pub(super) fn ranges(&self) -> Vec<TaskRange> {
        match self {
            Self::None => Vec::new(),
            Self::Run(run) => vec![*run],
            Self::Many(set) => set.ranges().collect(),
        }
    }

    fn set(&self) -> TaskSet {
        self.ranges().into_iter().collect()
    }

    fn of(set: TaskSet) -> Self {
        let mut ranges = set.ranges();
        match (ranges.next(), ranges.next()) {
            (None, _) => Self::None,
            (Some(run), None) => Self::Run(run),
            _ => {
                drop(ranges);
                Self::Many(Box::new(set))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waiting_tasks_equal_a_plain_set(ops in proptest::collection::vec((any::<bool>(), 0_u32..20, 0_u32..6), 0..40)) {
            let (mut waiting, mut plain) = (Waiting::None, TaskSet::new());
            for (insert, first, more) in ops {
                let tasks = TaskRange { first, last: first + more };
                if insert {
                    waiting.insert(tasks);
                    plain.insert(tasks);
                } else {
                    let removed: u64 = plain.remove(tasks).into_iter().map(TaskRange::count).sum();
                    prop_assert_eq!(waiting.remove(tasks), removed == tasks.count());
                }
                prop_assert_eq!(waiting.ranges(), plain.ranges().collect::<Vec<_>>());
            }
        }
    }
}
