//! An attempt that the agent starts, runs or stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Launch, Outcome, Reason, TaskState, Time};

use crate::Exit;
use crate::hold::{Hold, StopOrder};
use crate::journal::End;
use crate::memory::Begun;
use crate::waiting::NO_LINE;

/// What is said of an end that nobody saw.
const UNKNOWN_END: &str = "it ended while the agent's process was away, and nobody is left who knows how";

/// An attempt that holds resources: its process is being started, runs, or has been asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// What its process is to run, until that is being started.
    pub(crate) launch: Option<Arc<Launch>>,
    /// What it holds.
    pub(crate) hold: Arc<Hold>,
    /// The line in which it waited.
    pub(crate) line: u64,
    /// How many allocations the dispatcher had read of that launched it.
    pub(crate) allocations: u64,
    /// When its process started, as reported; absent while that is under way.
    pub(crate) started_at: Option<Time>,
    /// When its process started by the clock of this life, which need not agree with that of an earlier one; absent
    /// until the process is there, or is found again.
    pub(crate) runs_since: Option<Time>,
    /// Why it is to stop, once it is.
    pub(crate) stop: Option<Stop>,
}

/// Why an attempt is to stop, and how far that is.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Why, and how.
    pub(crate) order: StopOrder,
    /// When SIGKILL is due; absent before SIGTERM and after SIGKILL.
    pub(crate) kill_at: Option<Time>,
}

impl Live {
    pub(crate) fn new(launch: Arc<Launch>, hold: Arc<Hold>, line: u64, allocations: u64) -> Self {
        let launch = Some(launch);
        Self { launch, hold, line, allocations, started_at: None, runs_since: None, stop: None }
    }

    /// One that an earlier life of the agent began, whose process is to be found again. `allocations` are the most of
    /// which a dispatcher had read whose launches that life obeyed.
    pub(crate) fn taken_back(begun: &Begun, hold: Arc<Hold>, allocations: u64) -> Self {
        let stop = begun.stop.map(|order| Stop { order, kill_at: None });
        let started_at = begun.started_at;
        Self { launch: None, hold, line: NO_LINE, allocations, started_at, runs_since: None, stop }
    }

    /// When something is to be done about it.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.stop {
            Some(stop) => stop.kill_at,
            None => self.runs_since.zip(self.hold.time_limit).map(|(start, limit)| start + limit),
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
        let (state, reason) =
            self.stop.as_ref().map_or(natural, |stop| (stop.order.state, stop.order.reason));
        End { run: AttemptRun::one(attempt), state, reason, started_at: self.started_at, ended_at, outcome }
    }

    /// What is known of how its process ended.
    pub(crate) fn outcome(&self, exit: &Exit) -> Outcome {
        let start = self.runs_since.or(self.started_at);
        Outcome {
            exit_code: exit.exit_code,
            signal: exit.signal,
            wall_us: start.map_or(0, |start| exit.at.since(start).as_micros()),
            cpu_us: exit.cpu_us,
            peak_mem_bytes: exit.peak_mem_bytes,
            message: exit.is_unknown().then(|| UNKNOWN_END.into()),
        }
    }
}

/// What a process that nobody stopped came to.
pub(crate) fn natural_end(exit: &Exit) -> (TaskState, Reason) {
    match (exit.exit_code, exit.signal) {
        (Some(0), _) => (TaskState::Finished, Reason::ExitedZero),
        (Some(_), _) => (TaskState::Failed, Reason::ExitedNonzero),
        (None, Some(_)) => (TaskState::Failed, Reason::Signalled),
        (None, None) => (TaskState::Gone, Reason::AgentRestarted),
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
