//! When what happened is reported.
//!
//! One batch is in flight at a time, and repeated until it is acknowledged. Each is an append to the ledger, which costs
//! more than a short task does. So what nobody waits for, such as the start of a process, gathers for a moment; what
//! frees a place is reported at once, together with all that gathers.

use std::collections::BTreeMap;

use allot_model::{AttemptId, ReportBatch, Span, Time};

use crate::journal::{JournalEntry, Note};
use crate::{AgentCore, Output};

/// How long a report may gather with others that nobody waits for.
const GATHER: Span = Span::from_millis(10);
/// The first pause before a batch of reports is repeated; it doubles each time.
const FIRST_REPEAT: Span = Span::from_secs(1);
/// The longest pause before a batch of reports is repeated.
const LONGEST_REPEAT: Span = Span::from_secs(30);

/// When reports leave.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// When what gathers is to leave; at once where that is not said.
    due: Option<Time>,
    /// When the batch in flight is to be sent again, and the pause after that.
    repeat: (Time, Span),
    /// The lines of attempts whose end waits for their output.
    held: BTreeMap<AttemptId, u64>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { due: None, repeat: (Time::ZERO, FIRST_REPEAT), held: BTreeMap::new() }
    }
}

impl Schedule {
    /// Sends the batch in flight again at the next opportunity: someone may be there to take it.
    pub(crate) fn repeat_at(&mut self, at: Time) {
        self.repeat = (at, FIRST_REPEAT);
    }

    fn by(&mut self, at: Time) {
        self.due = Some(self.due.map_or(at, |before| before.min(at)));
    }
}

impl AgentCore {
    /// Notes something whose report nobody waits for.
    pub(crate) fn note_at_leisure(&mut self, now: Time, entry: JournalEntry, out: &mut Vec<Output>) {
        self.schedule.by(now + GATHER);
        self.write(entry, out);
    }

    /// Notes something that is reported at once, where there is anything to report of it.
    pub(crate) fn note(&mut self, entry: JournalEntry, out: &mut Vec<Output>) {
        if matches!(entry, JournalEntry::Ended { held: false, .. } | JournalEntry::Released { .. }) {
            self.schedule.by(Time::ZERO);
        }
        self.write(entry, out);
    }

    /// Notes that an attempt of this line has ended. While others wait there for their turn, no place is free, and so
    /// nobody waits to hear of it.
    pub(crate) fn note_end(&mut self, now: Time, line: u64, entry: JournalEntry, out: &mut Vec<Output>) {
        match &entry {
            JournalEntry::Ended { end, held: true } => {
                self.schedule.held.extend(end.run.attempts().map(|attempt| (attempt, line)));
                self.write(entry, out);
            }
            _ if self.waiting.goes_on(line) => self.note_at_leisure(now, entry, out),
            _ => self.note(entry, out),
        }
    }

    /// Notes that the end of an attempt need not wait for its output any more.
    pub(crate) fn note_released(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        let entry = JournalEntry::Released { attempt };
        match self.schedule.held.remove(&attempt) {
            Some(line) => self.note_end(now, line, entry, out),
            None => self.note(entry, out),
        }
    }

    /// Forms a batch of what has gathered where that is due and none is in flight; repeats the one in flight where
    /// that is due.
    pub(crate) fn report(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Some(sequence) = self.memory.outbox().next_batch().filter(|_| self.gathered_by() <= now) {
            self.note(JournalEntry::Batched { sequence }, out);
            // What did not fit into the batch leaves with the next one.
            self.schedule.due = None;
            self.schedule.repeat_at(now);
        } else if self.schedule.repeat.0 > now {
            return;
        }
        if let Some(batch) = self.memory.outbox().in_flight() {
            out.push(Output::Report(ReportBatch {
                agent: self.facts.id.clone(),
                incarnation: self.facts.incarnation,
                sequence: batch.sequence,
                allocations: self.memory.allocations(),
                reports: batch.notes.iter().map(Note::to_report).collect(),
            }));
            let (_, pause) = self.schedule.repeat;
            self.schedule.repeat = (now + pause, pause.times(2).min(LONGEST_REPEAT));
        }
    }

    fn gathered_by(&self) -> Time {
        self.schedule.due.unwrap_or(Time::ZERO)
    }

    /// When a batch is to be formed, or sent again.
    pub(crate) fn next_report(&self) -> Option<(Time, &'static str)> {
        let outbox = self.memory.outbox();
        let repeat = outbox.in_flight().map(|_| (self.schedule.repeat.0, "repeat reports"));
        repeat.or_else(|| outbox.next_batch().map(|_| (self.gathered_by(), "reports have gathered")))
    }
}
