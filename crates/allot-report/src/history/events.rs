//! What happened, one thing after the other.

use std::collections::BTreeMap;

use allot_model::{Span, TaskRange, Time};
use allot_sim::{Outcome, Workload};

/// Tasks of a job that started and ended together on an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The number of the job in the workload.
    pub(crate) job: u32,
    /// The number of the agent in the workload.
    pub(crate) agent: u32,
    /// How many tasks.
    pub(crate) tasks: u64,
    pub(crate) start: Time,
    /// Absent where they still run.
    pub(crate) end: Option<Time>,
}

/// What changes how things stand, in the order in which it is applied within one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// Something of the workload, by its number.
    Changes(u32),
    /// Tasks of a job wait from now on: its number, how many.
    Waits(u32, u64),
    /// Tasks that waited start.
    Starts(u32, u64),
    /// Tasks that ran end.
    Ends(u32, u64),
    /// A job is over: nothing of it waits any more.
    Closes(u32),
}

/// All that ran, in the order in which it started.
pub(crate) fn pieces(outcome: &Outcome) -> Vec<Piece> {
    let mut early: BTreeMap<u32, Vec<(TaskRange, Time)>> = BTreeMap::new();
    for gone in &outcome.early {
        early.entry(gone.stay).or_default().push((gone.tasks, gone.at));
    }
    let mut pieces = Vec::with_capacity(outcome.stays.len());
    for (number, stay) in (0_u32..).zip(&outcome.stays) {
        let piece = |tasks, end| Piece { job: stay.job, agent: stay.agent, tasks, start: stay.start, end };
        let mut left = stay.tasks.count();
        for (tasks, at) in early.get(&number).into_iter().flatten() {
            left = left.saturating_sub(tasks.count());
            pieces.push(piece(tasks.count(), Some(*at)));
        }
        if left > 0 {
            pieces.push(piece(left, stay.end()));
        }
    }
    pieces
}

/// All that happened, in order.
pub(super) fn events(workload: &Workload, outcome: &Outcome) -> Vec<(Time, Event)> {
    let end = outcome.ended_at;
    let mut events = Vec::with_capacity(3 * outcome.stays.len() + 2 * workload.jobs.len());
    let fates = (0..).zip(workload.jobs.iter().zip(&outcome.jobs));
    for (number, (job, fate)) in fates.filter(|(_, (_, fate))| !fate.rejected) {
        events.push((job.submit, Event::Waits(number, job.tasks.into())));
        events.extend(fate.end.map(|at| (at, Event::Closes(number))));
    }
    for piece in pieces(outcome) {
        events.push((piece.start, Event::Starts(piece.job, piece.tasks)));
        events.extend(piece.end.map(|at| (at, Event::Ends(piece.job, piece.tasks))));
    }
    events.extend(outcome.requeued.iter().map(|lost| (lost.at, Event::Waits(lost.job, lost.tasks.count()))));
    events.extend((0..).zip(&workload.changes).map(|(number, change)| (change.at, Event::Changes(number))));
    events.retain(|(at, _)| *at < end + Span::from_micros(1));
    events.sort_unstable();
    events
}
