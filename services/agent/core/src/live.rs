//! An attempt that the agent starts, runs or stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Launch, Outcome, Reason, Span, TaskState, Time};

use crate::Exit;
use crate::journal::End;

/// An attempt that holds resources: its process is being started, runs, or has been asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// What it is.
    pub(crate) launch: Arc<Launch>,
    /// The line in which it waited.
    pub(crate) line: u64,
    /// When its process started; absent while that is under way.
    pub(crate) started_at: Option<Time>,
    /// Why it is to stop, once it is.
    pub(crate) stop: Option<Stop>,
}

/// Why an attempt is to stop, and how far that is.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// The state in which it ends.
    pub(crate) state: TaskState,
    /// Why.
    pub(crate) reason: Reason,
    /// The time between SIGTERM and SIGKILL.
    pub(crate) grace: Span,
    /// When SIGKILL is due; absent before SIGTERM and after SIGKILL.
    pub(crate) kill_at: Option<Time>,
}

impl Live {
    pub(crate) fn new(launch: Arc<Launch>, line: u64) -> Self {
        Self { launch, line, started_at: None, stop: None }
    }

    /// When something is to be done about it.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.stop {
            Some(stop) => stop.kill_at,
            None => self.started_at.zip(self.launch.spec.time_limit).map(|(start, limit)| start + limit),
        }
    }

    /// How it ended: as it was asked to, or else of its own.
    pub(crate) fn end(
        &self,
        attempt: AttemptId,
        ended_at: Time,
        natural: (TaskState, Reason),
        outcome: Outcome,
    ) -> End {
        let (state, reason) = self.stop.as_ref().map_or(natural, |stop| (stop.state, stop.reason));
        End { run: AttemptRun::one(attempt), state, reason, started_at: self.started_at, ended_at, outcome }
    }

    /// What is known of how its process ended.
    pub(crate) fn outcome(&self, exit: &Exit) -> Outcome {
        Outcome {
            exit_code: exit.exit_code,
            signal: exit.signal,
            wall_us: self.started_at.map_or(0, |start| exit.at.since(start).as_micros()),
            cpu_us: exit.cpu_us,
            peak_mem_bytes: exit.peak_mem_bytes,
            message: None,
        }
    }
}

/// What a process that nobody stopped came to.
pub(crate) fn natural_end(exit: &Exit) -> (TaskState, Reason) {
    match (exit.exit_code, exit.signal) {
        (Some(0), _) => (TaskState::Finished, Reason::ExitedZero),
        (Some(_), _) => (TaskState::Failed, Reason::ExitedNonzero),
        (None, _) => (TaskState::Failed, Reason::Signalled),
    }
}

/// At most one deadline for each attempt, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    by_time: BTreeSet<(Time, AttemptId)>,
    by_attempt: BTreeMap<AttemptId, Time>,
}

impl Deadlines {
    /// Sets the deadline of an attempt, or takes it away.
    pub(crate) fn set(&mut self, attempt: AttemptId, at: Option<Time>) {
        let before = match at {
            Some(at) => self.by_attempt.insert(attempt, at),
            None => self.by_attempt.remove(&attempt),
        };
        before.map(|before| self.by_time.remove(&(before, attempt)));
        at.map(|at| self.by_time.insert((at, attempt)));
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out an attempt whose deadline is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<AttemptId> {
        let (_, attempt) = self.by_time.first().copied().filter(|(at, _)| *at <= now)?;
        self.set(attempt, None);
        Some(attempt)
    }

    /// The attempts that have one.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.by_attempt.keys().copied()
    }
}
