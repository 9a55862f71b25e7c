//! The machine that an agent is on: its disk, and the processes that outlive the agent's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_agent_core::{JournalEntry, ProcessId};
use allot_model::{AgentFacts, AttemptId, Incarnation, JobSpec, Span, Time};

use crate::dice::Dice;
use crate::digest::Digest;
use crate::process::Heard;

/// Incarnations above this are of strangers: agents that say that they are another.
pub(crate) const STRANGERS: u64 = u64::MAX / 2;

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) facts: Arc<AgentFacts>,
    /// Its lives before, as far as its disk knows.
    pub(crate) ended: Vec<Incarnation>,
    /// What is on the disk of the journal.
    pub(crate) journal: Vec<JournalEntry>,
    /// What the agent's process is about to write.
    pub(crate) writing: Option<Vec<JournalEntry>>,
    pub(crate) running: BTreeMap<AttemptId, Running>,
    /// The disk takes nothing before this.
    pub(crate) full_until: Time,
    /// How long a write takes at most.
    pub(crate) slow: Span,
    /// True while the agent was told to stop.
    pub(crate) stopping: bool,
}

/// A process, or one that is about to be.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Unique among all processes.
    pub(crate) number: u64,
    pub(crate) plan: Plan,
    /// When it began, once it has.
    pub(crate) since: Option<Time>,
}

impl Running {
    pub(crate) fn process(&self) -> ProcessId {
        let pid = i32::try_from(self.number).unwrap_or(i32::MAX);
        ProcessId { pid, not_before_ticks: self.number, not_after_ticks: self.number }
    }
}

/// What a process is going to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) starts_after: Span,
    pub(crate) starts: bool,
    pub(crate) runs: Span,
    pub(crate) exit_code: i32,
    /// How long after SIGTERM it ends; not at all where absent.
    pub(crate) ends_when_asked: Option<Span>,
    pub(crate) has_output: bool,
    /// How long its output takes to be stored; for ever where absent.
    pub(crate) stored_after: Option<Span>,
}

impl Plan {
    /// What this attempt does, whenever it is drawn.
    pub(crate) fn of(seed: u64, attempt: AttemptId, spec: &JobSpec) -> Self {
        let mut digest = Digest::new();
        let numbers = [seed, attempt.task.job.0, attempt.task.index.into(), attempt.attempt.into()];
        numbers.into_iter().for_each(|number| digest.mix(number));
        let mut dice = Dice::new(digest.value());
        // Jobs with many tries fail often: the others want to be done.
        let fails = if spec.retries > 0 { 350 } else { 60 };
        let most = spec.estimate.map_or(Span::from_secs(8), |estimate| estimate.times(3));
        Self {
            starts_after: dice.span(Span::from_micros(50), Span::from_millis(20)),
            starts: !dice.chance(20),
            runs: dice.span(Span::from_millis(1), most),
            exit_code: i32::from(dice.chance(fails)),
            ends_when_asked: (!dice.chance(200))
                .then(|| dice.span(Span::from_millis(1), Span::from_millis(300))),
            has_output: dice.chance(400),
            stored_after: (!dice.chance(100))
                .then(|| dice.span(Span::from_millis(1), Span::from_millis(800))),
        }
    }
}

impl Machine {
    pub(crate) fn new(facts: AgentFacts) -> Self {
        Self {
            facts: Arc::new(facts),
            ended: Vec::new(),
            journal: Vec::new(),
            writing: None,
            running: BTreeMap::new(),
            full_until: Time::ZERO,
            slow: Span::from_micros(200),
            stopping: false,
        }
    }

    /// The machine restarts: what ran is gone, and so is what the agent knew of it. With a new disk it does not know either
    /// that it lived before.
    pub(crate) fn restart(&mut self, incarnation: Incarnation, has_new_disk: bool) -> Vec<AttemptId> {
        let facts = AgentFacts { incarnation, ..(*self.facts).clone() };
        let before = std::mem::replace(self, Self::new(facts));
        if !has_new_disk {
            self.ended = before.ended;
            self.ended.push(before.facts.incarnation);
        }
        before.running.into_keys().collect()
    }

    /// What an agent that is started again is told of an attempt; nothing while its process is still being started.
    pub(crate) fn found(&self, attempt: AttemptId) -> Option<Heard> {
        match self.running.get(&attempt) {
            Some(running) if running.since.is_none() => None,
            Some(running) => Some(Heard::Started { attempt, process: running.process() }),
            None => Some(Heard::Exited { attempt, exit_code: None, signal: None, has_output: false }),
        }
    }

    /// The disk has taken these.
    pub(crate) fn written(&mut self, entries: Vec<JournalEntry>) {
        self.journal.extend(entries);
    }
}
