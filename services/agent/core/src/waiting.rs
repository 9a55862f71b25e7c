//! Launches that wait until there is room for them.

use std::collections::VecDeque;
use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Launch, TaskRange};

use crate::attempts::AttemptSet;

/// Launches that wait for attempts of before to let go of what they hold. Not remembered by the next life of the
/// agent: to the dispatcher they look as if they had not arrived.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    launches: VecDeque<(AttemptRun, Arc<Launch>)>,
    runs: AttemptSet,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.launches.is_empty()
    }

    /// The parts of `run` that do not wait.
    pub(crate) fn missing(&self, run: AttemptRun) -> Vec<AttemptRun> {
        self.runs.missing(run)
    }

    /// All that waits, in order of arrival.
    pub(crate) fn runs(&self) -> Vec<AttemptRun> {
        self.launches.iter().map(|(run, _)| *run).collect()
    }

    pub(crate) fn push(&mut self, run: AttemptRun, launch: Arc<Launch>) {
        self.runs.insert(run);
        self.launches.push_back((run, launch));
    }

    /// Takes out the attempts of `run` that wait.
    pub(crate) fn remove(&mut self, run: AttemptRun) -> Vec<AttemptRun> {
        let removed: Vec<AttemptRun> = self.runs.within(run).collect();
        if !removed.is_empty() {
            self.runs.remove(run);
            let launches = std::mem::take(&mut self.launches).into_iter();
            self.launches = launches.flat_map(|(part, launch)| rest(part, run, launch)).collect();
        }
        removed
    }

    /// Takes out the first attempts that `start` says yes to, launch by launch, and returns them as runs. A launch
    /// that has to wait does not hold up the ones behind it.
    pub(crate) fn start(
        &mut self,
        mut start: impl FnMut(AttemptId, &Arc<Launch>) -> bool,
    ) -> Vec<AttemptRun> {
        let mut begun = Vec::new();
        for (run, launch) in std::mem::take(&mut self.launches) {
            let count = run.attempts().take_while(|attempt| start(*attempt, &launch)).count();
            let (started, waits) = split(run, count);
            begun.extend(started);
            self.launches.extend(waits.map(|run| (run, launch)));
        }
        begun.iter().for_each(|run| self.runs.remove(*run));
        begun
    }

    /// Forgets all of it.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The first `count` attempts of a run, and the others.
fn split(run: AttemptRun, count: usize) -> (Option<AttemptRun>, Option<AttemptRun>) {
    let Some(middle) = u32::try_from(count).ok().and_then(|count| run.tasks.first.checked_add(count)) else {
        return (Some(run), None);
    };
    let before = middle.checked_sub(1).and_then(|last| TaskRange::new(run.tasks.first, last));
    let after = TaskRange::new(middle, run.tasks.last);
    (before.map(|tasks| AttemptRun { tasks, ..run }), after.map(|tasks| AttemptRun { tasks, ..run }))
}

/// What is left of `part` without `taken`.
fn rest(
    part: AttemptRun,
    taken: AttemptRun,
    launch: Arc<Launch>,
) -> impl Iterator<Item = (AttemptRun, Arc<Launch>)> {
    let taken: AttemptSet = [taken].into_iter().collect();
    taken.missing(part).into_iter().map(move |run| (run, Arc::clone(&launch)))
}
