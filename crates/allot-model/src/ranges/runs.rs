//! Runs by their first index. Most jobs are one run at most times, which takes no memory of its own: a hundred thousand jobs
//! of one task are a hundred thousand of these.

use std::collections::BTreeMap;

use super::TaskRange;

/// Runs that do not overlap. One alone is always [`Runs::One`], so that equal runs are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Runs<V> {
    #[default]
    None,
    One(TaskRange, V),
    /// Two or more: the last index and the value, by the first index.
    Many(BTreeMap<u32, (u32, V)>),
}

fn to_run<'a, V>((first, (last, value)): (&u32, &'a (u32, V))) -> (TaskRange, &'a V) {
    (TaskRange { first: *first, last: *last }, value)
}

impl<V> Runs<V> {
    /// The last run that begins at `index` or before.
    pub(super) fn up_to(&self, index: u32) -> Option<(TaskRange, &V)> {
        match self {
            Self::None => None,
            Self::One(run, value) => (run.first <= index).then_some((*run, value)),
            Self::Many(runs) => runs.range(..=index).next_back().map(to_run),
        }
    }

    /// The runs that begin at `index` or later, in order.
    pub(super) fn from(&self, index: u32) -> impl Iterator<Item = (TaskRange, &V)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(run, value) => (Some((*run, value)).filter(|(run, _)| run.first >= index), None),
            Self::Many(runs) => (None, Some(runs.range(index..).map(to_run))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Adds a run, which overlaps none that is there unless it begins where that does, and then replaces it.
    pub(super) fn insert(&mut self, run: TaskRange, value: V) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(run, value),
            Self::One(other, _) if other.first == run.first => Self::One(run, value),
            Self::One(other, others) => {
                Self::Many([(other.first, (other.last, others)), (run.first, (run.last, value))].into())
            }
            Self::Many(mut runs) => {
                runs.insert(run.first, (run.last, value));
                Self::Many(runs)
            }
        };
    }

    /// Takes out the run that begins at `first`.
    pub(super) fn remove(&mut self, first: u32) -> Option<V> {
        match self {
            Self::None => None,
            Self::One(run, _) if run.first != first => None,
            Self::One(..) => match std::mem::take(self) {
                Self::One(_, value) => Some(value),
                Self::None | Self::Many(_) => None,
            },
            Self::Many(runs) => {
                let (_, value) = runs.remove(&first)?;
                if runs.len() == 1
                    && let Some((first, (last, rest))) = runs.pop_first()
                {
                    *self = Self::One(TaskRange { first, last }, rest);
                }
                Some(value)
            }
        }
    }
}
