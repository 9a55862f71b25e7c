//! What an agent must not forget: a fold over its journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Epoch, Time};
use serde::{Deserialize, Serialize};

use crate::attempts::AttemptSet;
use crate::hold::{Hold, StopOrder};
use crate::journal::{JournalEntry, ProcessId};
use crate::outbox::Outbox;

/// What an agent must not forget while its machine runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The newest generation of dispatchers that gave orders.
    epoch: Epoch,
    /// The most allocations that a dispatcher had read of whose launches were obeyed.
    #[serde(default)]
    allocations: u64,
    /// Attempts that were begun and have not ended.
    begun: BTreeMap<AttemptId, Begun>,
    /// Attempts that must not be started, because they were before, or because someone asked for their end.
    seen: Seen,
    /// What the dispatcher has yet to commit.
    outbox: Outbox,
}

/// An attempt that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Begun {
    /// Its process, once it is known to run.
    pub process: Option<ProcessId>,
    /// When that was started.
    pub started_at: Option<Time>,
    /// What it holds, where that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Arc<Hold>>,
    /// Why it is to stop, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopOrder>,
}

/// The attempts that are remembered so as not to be started again, in two generations: when the younger one is
/// full, the older one is forgotten.
///
/// A dispatcher that has committed an end orders no start after it, and the late words of one that was replaced are
/// refused by their epoch. What remains is a message that the network repeats or delays; by how much cannot be bounded,
/// memory must be. What is forgotten had ended, was committed, and was followed by thousands of other runs of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    young: AttemptSet,
    old: AttemptSet,
}

impl Seen {
    /// How many runs a generation holds: about 3 MB.
    pub const GENERATION_RUNS: usize = 65_536;

    /// The parts of `run` that it does not hold.
    fn missing(&self, run: AttemptRun) -> Vec<AttemptRun> {
        self.young.missing(run).into_iter().flat_map(|part| self.old.missing(part)).collect()
    }

    fn is_full(&self) -> bool {
        self.young.runs() >= Self::GENERATION_RUNS
    }

    /// Begins a new generation with what is not over yet.
    fn renew(&mut self, alive: impl Iterator<Item = AttemptRun>) {
        self.old = std::mem::replace(&mut self.young, alive.collect());
    }
}

impl Memory {
    /// Remembers one more entry of the journal.
    pub fn fold(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Snapshot(memory) => *self = *memory,
            JournalEntry::Obeying { epoch, allocations } => {
                self.epoch = epoch;
                self.allocations = self.allocations.max(allocations);
            }
            JournalEntry::Starting { run, hold } => {
                self.see(run);
                let begun = Begun { hold, ..Begun::default() };
                self.begun.extend(run.attempts().map(|attempt| (attempt, begun.clone())));
            }
            JournalEntry::Running { attempt, at, process } => {
                let begun = self.begun.entry(attempt).or_default();
                (begun.process, begun.started_at) = (Some(process), Some(at));
                self.outbox.started(attempt, at);
            }
            JournalEntry::Stopping { attempt, order } => {
                self.begun.entry(attempt).or_default().stop = Some(order);
            }
            JournalEntry::Ended { end, held } => {
                self.see(end.run);
                self.forget_begun(end.run);
                self.outbox.ended_now(end, held);
            }
            JournalEntry::Released { attempt } => self.outbox.release(attempt),
            JournalEntry::Batched { sequence } => self.outbox.batch(sequence),
            JournalEntry::Acknowledged { sequence } => self.outbox.acknowledge(sequence),
        }
    }

    /// The newest generation of dispatchers that gave orders.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The most allocations that a dispatcher had read of whose launches were obeyed.
    pub(crate) fn allocations(&self) -> u64 {
        self.allocations
    }

    /// Attempts that were begun and have not ended.
    #[must_use]
    pub fn begun(&self) -> &BTreeMap<AttemptId, Begun> {
        &self.begun
    }

    /// What the dispatcher has yet to commit.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The parts of `run` that may still be started.
    pub(crate) fn unseen(&self, run: AttemptRun) -> Vec<AttemptRun> {
        self.seen.missing(run)
    }

    /// The parts of `run` of which nothing is running and no end is on its way.
    pub(crate) fn unaccounted(&self, run: AttemptRun) -> Vec<AttemptRun> {
        let begun: AttemptSet = begun_within(&self.begun, run).map(AttemptRun::one).collect();
        self.outbox.ended().missing(run).into_iter().flat_map(|part| begun.missing(part)).collect()
    }

    fn see(&mut self, run: AttemptRun) {
        self.seen.young.insert(run);
        if self.seen.is_full() {
            let begun = self.begun.keys().copied().map(AttemptRun::one);
            self.seen.renew(begun.chain(self.outbox.ended().iter()).chain([run]));
        }
    }

    fn forget_begun(&mut self, run: AttemptRun) {
        let over: Vec<AttemptId> = begun_within(&self.begun, run).collect();
        over.iter().for_each(|attempt| {
            self.begun.remove(attempt);
        });
    }

    /// Panics in tests and simulation where its parts do not agree.
    pub(crate) fn sanity_check(&self) {
        self.outbox.sanity_check();
        let alive = self.begun.keys().copied().map(AttemptRun::one).chain(self.outbox.ended().iter());
        alive.for_each(|run| assert!(self.unseen(run).is_empty(), "{run} is not over and was forgotten"));
    }
}

fn begun_within(begun: &BTreeMap<AttemptId, Begun>, run: AttemptRun) -> impl Iterator<Item = AttemptId> {
    let low = AttemptId::new(run.job, run.tasks.first, 0);
    let high = AttemptId::new(run.job, run.tasks.last, u32::MAX);
    begun.range(low..=high).map(|(attempt, _)| *attempt).filter(move |attempt| attempt.attempt == run.attempt)
}
