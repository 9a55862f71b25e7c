//! When a snapshot is due: by records and by time.

use allot_model::{Span, Time};
use serde::{Deserialize, Serialize};

/// When snapshots are taken, and how long the ledger is kept. Part of the configuration of every service that writes to
/// the ledger, under `snapshots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotConfig {
    /// After how many records a snapshot is taken; after as many as the last one had parts, where these are more.
    pub every_records: u64,
    /// How long after the last one a snapshot is taken where anything has happened since.
    pub at_least_every: Span,
    /// How long records stay in the ledger, for `allot events`, once no service needs them any more.
    pub keep_ledger: Span,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            every_records: 100_000,
            at_least_every: Span::from_secs(600),
            keep_ledger: Span::from_secs(24 * 3_600),
        }
    }
}

/// How long one is put off that could not be taken.
const PUT_OFF_FOR: Span = Span::from_secs(1);

/// What has happened since the last snapshot. It has no clock.
#[derive(Debug, Clone)]
pub struct Schedule {
    config: SnapshotConfig,
    /// How many records of any writer were folded since.
    records: u64,
    /// How many parts the last one had: what it costs to take one.
    parts: u64,
    taken_at: Time,
    /// True while one is being saved.
    is_saving: bool,
    /// Not before this.
    put_off_until: Time,
}

impl Schedule {
    /// One that begins now, so many records after the last snapshot.
    #[must_use]
    pub fn new(config: SnapshotConfig, now: Time, records: u64) -> Self {
        Self { config, records, parts: 0, taken_at: now, is_saving: false, put_off_until: Time::ZERO }
    }

    /// So many records were folded.
    pub fn note(&mut self, records: usize) {
        self.records += records as u64;
    }

    /// A snapshot of so many parts was taken, and is being saved.
    pub fn taken(&mut self, now: Time, parts: u64) {
        *self = Self { records: 0, parts, taken_at: now, is_saving: true, ..self.clone() };
    }

    /// The last one was saved, or could not be.
    pub fn saved(&mut self) {
        self.is_saving = false;
    }

    /// One was due and could not be taken.
    pub fn put_off(&mut self, now: Time) {
        self.put_off_until = now + PUT_OFF_FOR;
    }

    /// When the next one is due; nothing where none will be unless more happens.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        let due = match self.records {
            _ if self.is_saving => None,
            0 => None,
            records if records >= self.config.every_records.max(self.parts) => Some(Time::ZERO),
            _ => Some(self.taken_at + self.config.at_least_every),
        };
        due.map(|due| due.max(self.put_off_until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_micros(1_000_000);
    const LATE: Time = Time::from_micros(61_000_000);

    fn schedule() -> Schedule {
        let at_least_every = Span::from_secs(60);
        let config = SnapshotConfig { every_records: 10, at_least_every, ..SnapshotConfig::default() };
        Schedule::new(config, START, 0)
    }

    #[test]
    fn none_is_due_where_nothing_has_happened() {
        assert_eq!(schedule().due(), None);
    }

    #[test]
    fn one_is_due_after_so_many_records_and_otherwise_after_a_while() {
        let mut schedule = schedule();
        schedule.note(9);
        assert_eq!(schedule.due(), Some(LATE));
        schedule.note(1);
        assert_eq!(schedule.due(), Some(Time::ZERO));
    }

    #[test]
    fn a_large_state_is_saved_after_as_many_records_as_it_has_parts() {
        let mut schedule = schedule();
        schedule.taken(START, 1_000);
        schedule.saved();
        schedule.note(999);
        assert_eq!(schedule.due(), Some(LATE));
        schedule.note(1);
        assert_eq!(schedule.due(), Some(Time::ZERO));
    }

    #[test]
    fn one_that_could_not_be_taken_is_tried_again_a_little_later() {
        let mut schedule = schedule();
        schedule.note(10);
        schedule.put_off(START);
        assert_eq!(schedule.due(), Some(START + PUT_OFF_FOR));
    }

    #[test]
    fn none_is_taken_while_one_is_being_saved() {
        let mut schedule = schedule();
        schedule.taken(START, 1);
        schedule.note(100);
        assert_eq!(schedule.due(), None);
        schedule.saved();
        assert_eq!(schedule.due(), Some(Time::ZERO));
    }
}
