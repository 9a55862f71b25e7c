//! How an instance takes snapshots, as `allot_shell::drive` does: at rest, between two messages of the ledger.

use std::collections::VecDeque;

use allot_model::{SnapshotHead, Span, Time};
use allot_proto::encode_snapshot;
use allot_writer::{Schedule, SnapshotConfig};

use super::{Instance, Lead};
use crate::marks::Mark;
use crate::process::{Act, Heard, Process};
use crate::services::Service;

/// How long it may take until all that was decided is durable and has come back. Where that takes longer, a snapshot is put off.
const SETTLES_WITHIN: Span = Span::from_millis(500);

/// When an instance that leads takes snapshots.
pub(super) struct Snapshots {
    config: SnapshotConfig,
    schedule: Schedule,
    /// Records that were decided and have not come back.
    unread: usize,
    /// Where one is due and waits for what is under way, until when. Nothing but the ledger is read meanwhile.
    settling: Option<Time>,
    /// What was heard meanwhile.
    held: VecDeque<Heard>,
}

impl Snapshots {
    pub(super) fn new(config: SnapshotConfig) -> Self {
        let schedule = Schedule::new(config, Time::ZERO, 0);
        Self { config, schedule, unread: 0, settling: None, held: VecDeque::new() }
    }

    /// The instance leads from now on, and has read so many records.
    pub(super) fn begin(&mut self, now: Time, records: usize) {
        self.schedule = Schedule::new(self.config, now, records as u64);
    }

    /// A record was decided.
    pub(super) fn wrote(&mut self) {
        self.unread += 1;
    }

    /// The last one was saved, or could not be.
    pub(super) fn saved(&mut self) {
        self.schedule.saved();
    }

    /// Something was heard that has to wait.
    pub(super) fn hold(&mut self, heard: Heard) {
        self.held.push_back(heard);
    }

    pub(super) fn next_wake(&self) -> Option<Time> {
        self.settling.or(self.schedule.due())
    }
}

impl<S: Service> Instance<S> {
    /// Records have come from the ledger.
    pub(super) fn note_read(&mut self, are_own: bool, count: usize) {
        let Some(snapshots) = &mut self.snapshots else { return };
        let count = if are_own { std::mem::take(&mut snapshots.unread) } else { count };
        snapshots.schedule.note(count);
    }

    /// Takes a snapshot where one is due, once all that was decided is durable and everything before it is read.
    pub(super) fn try_snapshot(&mut self, now: Time, acts: &mut Vec<Act>) {
        let Some(snapshots) = &mut self.snapshots else { return };
        if self.lead != Lead::Taken
            || self.ended
            || self.stopping
            || snapshots.schedule.due().is_none_or(|due| due > now)
        {
            return;
        }
        if self.outbox.is_empty() && self.appending.is_none() && self.read >= self.last {
            self.take_snapshot(now, acts);
        } else if snapshots.settling.is_some_and(|until| until <= now) {
            acts.push(Act::Saw(Mark::SnapshotPutOff));
            snapshots.schedule.put_off(now);
        } else {
            snapshots.settling.get_or_insert(now + SETTLES_WITHIN);
            return;
        }
        let Some(snapshots) = &mut self.snapshots else { return };
        snapshots.settling = None;
        for heard in std::mem::take(&mut snapshots.held) {
            self.hear(now, heard, acts);
        }
    }

    fn take_snapshot(&mut self, now: Time, acts: &mut Vec<Act>) {
        let head = SnapshotHead {
            writer: S::WRITER,
            epoch: self.epoch,
            ledger_sequence: self.read,
            ledger_at: self.read_at,
            own_sequence: self.last,
            inbox_sequence: S::inbox_from(&self.core).map_or(0, |from| from - 1),
            taken_at: now,
            items: 0,
        };
        let mut parts = 0;
        let bytes = encode_snapshot(&head, S::snapshot(&self.core).inspect(|_| parts += 1));
        acts.push(Act::Save { head, bytes: bytes.into() });
        self.snapshots.iter_mut().for_each(|snapshots| snapshots.schedule.taken(now, parts));
        self.outbox.append_nothing();
        self.start_append(now, acts);
    }

    /// True while a snapshot waits for what is under way.
    pub(super) fn is_settling(&self) -> bool {
        self.snapshots.as_ref().is_some_and(|snapshots| snapshots.settling.is_some())
    }
}
