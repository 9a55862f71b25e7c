//! Reports that the dispatcher has not committed yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Time};
use serde::{Deserialize, Serialize};

use crate::attempts::AttemptSet;
use crate::journal::{End, Note};

/// A batch holds about this many bytes at most, well under what NATS takes in one message.
const BATCH_BYTES: usize = 512 * 1024;

/// Reports on their way: some gather, one batch of them is in flight until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// What gathers, by the order in which it happened.
    gathering: BTreeMap<u64, Note>,
    /// The place of the next note in `gathering`.
    next_place: u64,
    /// Where in `gathering` the start of an attempt stands, to take it out should the end come before it is sent.
    starts: BTreeMap<AttemptId, u64>,
    /// Ends that wait until the attempt's output is stored.
    held: BTreeMap<AttemptId, Arc<End>>,
    /// The batch that is in flight.
    in_flight: Option<Batch>,
    /// The number of the last batch.
    sequence: u64,
    /// Attempts whose end is in here.
    ended: AttemptSet,
}

/// Reports that travel together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Its number.
    pub sequence: u64,
    /// What it says.
    pub notes: Vec<Note>,
}

impl Outbox {
    /// True where there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gathering.is_empty() && self.held.is_empty() && self.in_flight.is_none()
    }

    /// How many notes gather or wait for output.
    pub(crate) fn waiting(&self) -> usize {
        self.gathering.len() + self.held.len()
    }

    /// The batch that is in flight.
    pub(crate) fn in_flight(&self) -> Option<&Batch> {
        self.in_flight.as_ref()
    }

    /// The number of the batch to be formed now, where there is something to send and nothing in flight.
    pub(crate) fn next_batch(&self) -> Option<u64> {
        (self.in_flight.is_none() && !self.gathering.is_empty()).then_some(self.sequence.saturating_add(1))
    }

    /// Attempts whose end is on its way.
    #[must_use]
    pub fn ended(&self) -> &AttemptSet {
        &self.ended
    }

    /// True where the end of this attempt waits for its output.
    pub(crate) fn holds(&self, attempt: AttemptId) -> bool {
        self.held.contains_key(&attempt)
    }

    /// Attempts whose end waits for their output.
    pub(crate) fn held(&self) -> impl Iterator<Item = AttemptId> {
        self.held.keys().copied()
    }

    pub(crate) fn started(&mut self, attempt: AttemptId, at: Time) {
        self.starts.insert(attempt, self.next_place);
        self.gather(Note::Started { run: AttemptRun::one(attempt), at });
    }

    pub(crate) fn ended_now(&mut self, end: End, held: bool) {
        self.forget_starts(end.run);
        self.ended.insert(end.run);
        let end = Arc::new(end);
        if held {
            self.held.extend(end.run.attempts().map(|attempt| (attempt, Arc::clone(&end))));
        } else {
            self.gather(Note::Ended(end));
        }
    }

    pub(crate) fn release(&mut self, attempt: AttemptId) {
        if let Some(end) = self.held.remove(&attempt) {
            self.gather(Note::Ended(end));
        }
    }

    /// Puts what gathers into flight, as far as it fits into a message.
    pub(crate) fn batch(&mut self, sequence: u64) {
        let mut notes: Vec<Note> = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some((_, note)) = self.gathering.pop_first()
        {
            if let Note::Started { run, .. } = note {
                run.attempts().for_each(|attempt| {
                    self.starts.remove(&attempt);
                });
            }
            if !notes.last_mut().is_some_and(|last| last.join(&note)) {
                bytes += note.size_bytes();
                notes.push(note);
            }
        }
        self.sequence = sequence;
        self.in_flight = Some(Batch { sequence, notes });
    }

    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        let Some(batch) = self.in_flight.take_if(|batch| batch.sequence <= sequence) else { return };
        for note in batch.notes {
            if let Note::Ended(end) = note {
                self.ended.remove(end.run);
            }
        }
    }

    /// Adds a note, to the last one where that says the same of the tasks before.
    fn gather(&mut self, note: Note) {
        let joined = matches!(note, Note::Ended(_))
            && self.gathering.last_entry().is_some_and(|mut last| last.get_mut().join(&note));
        if !joined {
            self.gathering.insert(self.next_place, note);
            self.next_place += 1;
        }
    }

    /// Takes the starts of these attempts out: their ends say when they started.
    fn forget_starts(&mut self, run: AttemptRun) {
        let (first, last) = (run.tasks.first, run.tasks.last);
        let (low, high) = (AttemptId::new(run.job, first, 0), AttemptId::new(run.job, last, u32::MAX));
        let found = self.starts.range(low..=high).filter(|(attempt, _)| attempt.attempt == run.attempt);
        let found: Vec<(AttemptId, u64)> = found.map(|(attempt, place)| (*attempt, *place)).collect();
        for (attempt, place) in found {
            self.starts.remove(&attempt);
            self.gathering.remove(&place);
        }
    }

    /// The starts that wait for the next batch.
    pub(crate) fn gathered_starts(&self) -> impl Iterator<Item = AttemptRun> {
        self.gathering.values().filter_map(|note| match note {
            Note::Started { run, .. } => Some(*run),
            Note::Ended(_) => None,
        })
    }

    /// Panics in tests and simulation where its parts do not agree.
    pub(crate) fn sanity_check(&self) {
        let in_flight = self.in_flight.iter().flat_map(|batch| &batch.notes);
        let notes = in_flight.chain(self.gathering.values()).filter_map(|note| match note {
            Note::Ended(end) => Some(end.run),
            Note::Started { .. } => None,
        });
        let ends: AttemptSet = notes.chain(self.held().map(AttemptRun::one)).collect();
        assert_eq!(ends, self.ended, "the ends that are on their way");
        let at = |place| self.gathering.get(place);
        let starts = self.starts.values().all(|place| matches!(at(place), Some(Note::Started { .. })));
        assert!(starts, "every remembered start gathers");
    }
}
