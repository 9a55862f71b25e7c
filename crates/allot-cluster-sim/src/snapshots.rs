//! The bucket of snapshots: what was saved last of each writer, and what is trimmed from the streams behind that.

use std::sync::Arc;

use allot_model::{Core, Epoch, SnapshotHead, Span, Time, Writer};
use allot_proto::SnapshotReader;
use allot_writer::{Covered, KEPT, Needed, needed};

use crate::checks::{Promise, hold};
use crate::cluster::Cluster;
use crate::event::Event;
use crate::marks::Mark;
use crate::message::Party;
use crate::process::Heard;
use crate::services::Service;

/// Of a thousand snapshots, how many are damaged where they lie. The one to fall back on never is.
const DAMAGED: u32 = 150;
/// Of a thousand snapshots, how many are not taken by the bucket.
const NOT_TAKEN: u32 = 50;

/// A snapshot in the bucket.
#[derive(Debug)]
pub(crate) struct Kept {
    covers: Covered,
    bytes: Arc<[u8]>,
    is_damaged: bool,
}

/// What an instance begins with.
pub(crate) struct Restored<C> {
    pub(crate) core: C,
    /// The last message of the ledger that is in it; 0 where none is.
    pub(crate) ledger_sequence: u64,
    /// The last message of the writer's own that is in it.
    pub(crate) own_sequence: u64,
    /// The generation that wrote it.
    pub(crate) epoch: Epoch,
}

impl Cluster<'_> {
    /// The newest snapshot of a service that is whole; an empty core where there is none.
    pub(crate) fn restore<S: Service>(&mut self, now: Time, options: &S::Options) -> Restored<S::Core> {
        let mut core = S::core(options);
        let of_this = |kept: &&Kept| kept.covers.writer == S::WRITER;
        if self.snapshots.iter().find(of_this).is_some_and(|newest| newest.is_damaged) {
            self.marks.see(Mark::SnapshotDamaged);
        }
        let Some(kept) = self.snapshots.iter().filter(of_this).find(|kept| !kept.is_damaged) else {
            let first = self.ledger.first();
            self.check(hold(Promise::ReplayEqualsLife, first == 1, || {
                format!("the {} has no snapshot and the ledger begins with {first}", S::WRITER.as_str())
            }));
            return Restored { core, ledger_sequence: 0, own_sequence: 0, epoch: Epoch(0) };
        };
        let reader = SnapshotReader::new(&kept.bytes).expect("it was written so");
        let SnapshotHead { ledger_sequence, own_sequence, epoch, .. } = reader.head();
        let mut outputs = Vec::new();
        for item in reader {
            core.handle(now, S::restore(item.expect("it was written so")), &mut outputs);
        }
        assert!(outputs.is_empty(), "a snapshot has no outputs");
        self.marks.see(Mark::SnapshotRestored);
        Restored { core, ledger_sequence, own_sequence, epoch }
    }

    /// A snapshot reaches the bucket. The oldest goes, and what nobody needs any more is found out.
    pub(crate) fn on_save(&mut self, from: Party, head: &SnapshotHead, bytes: &Arc<[u8]>) {
        let SnapshotHead { writer, ledger_sequence, inbox_sequence, .. } = *head;
        if !self.net.chance(NOT_TAKEN) {
            let covers = Covered { writer, ledger_sequence, inbox_sequence };
            self.snapshots.retain(|kept| kept.covers != covers);
            let of_this = |kept: &&Kept| kept.covers.writer == writer;
            let may_fail = self.snapshots.iter().find(of_this).is_some_and(|before| !before.is_damaged);
            let is_damaged = may_fail && self.fate.chance(DAMAGED);
            let place = self.snapshots.partition_point(|kept| kept.covers.ledger_sequence > ledger_sequence);
            self.snapshots.insert(place, Kept { covers, bytes: bytes.clone(), is_damaged });
            let mut count = 0;
            self.snapshots.retain(|kept| {
                count += usize::from(kept.covers.writer == writer);
                kept.covers.writer != writer || count <= KEPT
            });
            let lasts = Writer::ALL.map(|writer| self.ledger.last_of(writer));
            let saved: Vec<Covered> = self.snapshots.iter().map(|kept| kept.covers).collect();
            if let Some(needed) = needed(&saved, &lasts) {
                let at = self.now + self.hop();
                self.plan(at, Event::Trim(needed));
            }
        }
        self.leave_bus(from, Heard::Saved);
    }

    /// The streams are trimmed.
    pub(crate) fn on_trim(&mut self, needed: Needed) {
        let keep = self.options.snapshots.map_or(Span::ZERO, |snapshots| snapshots.keep_ledger);
        let before = Time::from_micros(self.now.as_micros().saturating_sub(keep.as_micros()));
        let first = self.ledger.first();
        self.ledger.trim(needed.ledger_from, before);
        self.inbox.trim(needed.inbox_from);
        if self.ledger.first() > first {
            self.marks.see(Mark::LedgerTrimmed);
            self.write(|| format!("trimmed: {needed:?}"));
        }
    }
}
