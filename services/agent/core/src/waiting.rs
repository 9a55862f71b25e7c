//! Launches that wait until there is room for them, or until it is their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Launch, Span, Time};

use crate::attempts::AttemptSet;
use crate::hold::Hold;

/// How long tasks wait for their turn before those are handed back that have none yet. Turns are given to tasks of which
/// many are over in a moment: where that turns out wrong, they are better off elsewhere.
const TURN_WITHIN: Span = Span::from_millis(250);

/// The line of an attempt that came from no line of this life of the agent.
pub(crate) const NO_LINE: u64 = u64::MAX;

/// Launches that wait for attempts of before to let go of what they hold. Not remembered by the next life of the
/// agent: to the dispatcher they look as if they had not arrived.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// By the order of arrival.
    lines: BTreeMap<u64, Line>,
    next_line: u64,
    runs: AttemptSet,
    /// The lines whose tasks take turns, by when they are to have had it.
    turns: BTreeSet<(Time, u64)>,
}

/// What waits of one launch.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) launch: Arc<Launch>,
    pub(crate) hold: Arc<Hold>,
    /// How many allocations the dispatcher had read of that launched it.
    pub(crate) allocations: u64,
    runs: AttemptSet,
    /// How many more may run at the same time.
    slots: u64,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The parts of `run` that do not wait.
    pub(crate) fn missing(&self, run: AttemptRun) -> Vec<AttemptRun> {
        self.runs.missing(run)
    }

    /// All that waits and that a dispatcher knows of which has read of so many allocations, in order of arrival.
    pub(crate) fn known(&self, allocations: u64) -> Vec<AttemptRun> {
        let known = self.lines.values().filter(|line| line.allocations <= allocations);
        known.flat_map(|line| line.runs.iter()).collect()
    }

    /// Has these attempts of a launch wait, so many of whose slots are taken. Returns the number of their line.
    /// `allocations` is how many of them the dispatcher had read of that launched it.
    pub(crate) fn push(
        &mut self,
        now: Time,
        runs: Vec<AttemptRun>,
        launch: Arc<Launch>,
        allocations: u64,
        slots_taken: u64,
    ) -> u64 {
        let number = self.next_line;
        runs.iter().for_each(|run| self.runs.insert(*run));
        let hold = Arc::new(Hold::of(&launch));
        if hold.turns.is_some() {
            self.turns.insert((now + TURN_WITHIN, number));
        }
        let slots = launch.slots.saturating_sub(slots_taken);
        let line = Line { slots, runs: runs.into_iter().collect(), hold, launch, allocations };
        self.lines.insert(number, line);
        self.next_line += 1;
        number
    }

    /// Takes out the attempts of `run` that wait.
    pub(crate) fn remove(&mut self, run: AttemptRun) -> Vec<AttemptRun> {
        let removed: Vec<AttemptRun> = self.runs.within(run).collect();
        if !removed.is_empty() {
            self.runs.remove(run);
            self.lines.values_mut().for_each(|line| line.runs.remove(run));
            self.drop_empty();
        }
        removed
    }

    /// Takes out the first attempts that `start` says yes to, launch by launch, and returns them as runs, each with what
    /// its attempts hold. A launch that has to wait does not hold up the ones behind it. `start` is told the line, for
    /// [`Waiting::give_back`].
    pub(crate) fn start(
        &mut self,
        mut start: impl FnMut(AttemptId, u64, &Line) -> bool,
    ) -> Vec<(AttemptRun, Arc<Hold>)> {
        let mut begun = Vec::new();
        for (number, line) in &mut self.lines {
            let attempts = line.runs.iter().flat_map(AttemptRun::attempts);
            let in_turn = attempts.take(usize::try_from(line.slots).unwrap_or(usize::MAX));
            let started: AttemptSet =
                in_turn.take_while(|attempt| start(*attempt, *number, line)).map(AttemptRun::one).collect();
            for run in started.iter() {
                line.runs.remove(run);
                line.slots -= run.tasks.count();
                begun.push((run, Arc::clone(&line.hold)));
            }
        }
        if !begun.is_empty() {
            begun.iter().for_each(|(run, _)| self.runs.remove(*run));
            self.drop_empty();
        }
        begun
    }

    /// An attempt that was started from this line is over: the next one may have its turn.
    pub(crate) fn give_back(&mut self, line: u64) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.slots += 1;
        }
    }

    /// True while tasks of this line wait.
    pub(crate) fn goes_on(&self, line: u64) -> bool {
        self.lines.contains_key(&line)
    }

    /// When tasks are to be handed back that have not had their turn.
    pub(crate) fn hand_back_at(&self) -> Option<Time> {
        self.turns.first().map(|(at, _)| *at)
    }

    /// Takes out the tasks that have waited for their turn for too long. Those that have a free slot stay.
    pub(crate) fn hand_back(&mut self, now: Time) -> Vec<AttemptRun> {
        let mut handed_back = Vec::new();
        while let Some((at, number)) = self.turns.first().copied()
            && at <= now
        {
            self.turns.pop_first();
            let Some(line) = self.lines.get_mut(&number) else { continue };
            let stay = usize::try_from(line.slots).unwrap_or(usize::MAX);
            let late = line.runs.iter().flat_map(AttemptRun::attempts).skip(stay);
            let late: AttemptSet = late.map(AttemptRun::one).collect();
            for run in late.iter() {
                line.runs.remove(run);
                self.runs.remove(run);
                handed_back.push(run);
            }
        }
        self.drop_empty();
        handed_back
    }

    /// Forgets all of it.
    pub(crate) fn clear(&mut self) {
        *self = Self { next_line: self.next_line, ..Self::default() };
    }

    fn drop_empty(&mut self) {
        self.lines.retain(|_, line| !line.runs.is_empty());
        self.turns.retain(|(_, number)| self.lines.contains_key(number));
    }
}
