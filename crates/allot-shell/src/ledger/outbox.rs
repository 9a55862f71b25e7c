//! What a service wants to leave it, in order: records gather into the next append, and effects wait for the records
//! before them.

use std::collections::VecDeque;

use allot_model::Epoch;
use allot_model::ledger::{Entry, Writer};
use allot_proto::BatchEncoder;
use bytes::Bytes;

use crate::drive::publisher::Outgoing;

/// The most that one append holds: below the server's `max_payload` of 1 MiB, headers included.
const MOST_BATCH_BYTES: usize = 900 * 1024;

/// One append, and the effects that leave once it is acknowledged.
#[derive(Debug)]
struct Group {
    batch: BatchEncoder,
    effects: Vec<Outgoing>,
}

/// The queue of outputs that wait for the ledger.
#[derive(Debug)]
pub(crate) struct Outbox {
    writer: Writer,
    epoch: Epoch,
    /// The first is in flight where `in_flight` is set.
    groups: VecDeque<Group>,
    in_flight: bool,
    waiting_bytes: usize,
}

impl Outbox {
    pub(crate) fn new(writer: Writer, epoch: Epoch) -> Self {
        Self { writer, epoch, groups: VecDeque::new(), in_flight: false, waiting_bytes: 0 }
    }

    /// Puts a record at the end of the queue.
    pub(crate) fn append(&mut self, entry: &Entry) {
        if let Some(last) = self.open_group() {
            let before = last.batch.size_bytes();
            if last.batch.push(entry, MOST_BATCH_BYTES) {
                let grown = last.batch.size_bytes() - before;
                self.waiting_bytes += grown;
                return;
            }
        }
        let mut batch = BatchEncoder::new(self.writer, self.epoch);
        let _ = batch.push(entry, MOST_BATCH_BYTES);
        self.waiting_bytes += batch.size_bytes();
        self.groups.push_back(Group { batch, effects: Vec::new() });
    }

    /// The group that still takes records.
    fn open_group(&mut self) -> Option<&mut Group> {
        let closed = usize::from(self.in_flight);
        if self.groups.len() > closed { self.groups.back_mut() } else { None }
    }

    /// Puts a message at the end of the queue; hands it back where nothing is before it, to leave at once.
    pub(crate) fn send(&mut self, message: Outgoing) -> Option<Outgoing> {
        let Some(last) = self.groups.back_mut() else { return Some(message) };
        self.waiting_bytes += message.size_bytes();
        last.effects.push(message);
        None
    }

    /// The next append, which is in flight from now on; nothing where one is in flight or nothing waits.
    pub(crate) fn next_append(&mut self) -> Option<Bytes> {
        if self.in_flight {
            return None;
        }
        let group = self.groups.front_mut()?;
        let batch = std::mem::replace(&mut group.batch, BatchEncoder::new(self.writer, self.epoch));
        self.waiting_bytes -= batch.size_bytes();
        self.in_flight = true;
        Some(batch.finish().into())
    }

    /// The append in flight is durable: what was waiting for it leaves.
    pub(crate) fn acknowledged(&mut self) -> Vec<Outgoing> {
        self.in_flight = false;
        let effects = self.groups.pop_front().map(|group| group.effects).unwrap_or_default();
        self.waiting_bytes -= effects.iter().map(Outgoing::size_bytes).sum::<usize>();
        effects
    }

    /// How much waits for an append.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// True where nothing waits and nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}
