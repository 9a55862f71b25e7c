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

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::ledger::{Batch, DispatcherRecord, Record, Rejection};
    use allot_model::{JobId, Time};
    use allot_proto::Wire;

    fn record(job: u64, bytes: usize) -> Entry {
        let record = Record::Dispatcher(DispatcherRecord::JobRejected {
            job: JobId(job),
            queue: "x".repeat(bytes).into(),
            submitted_at: Time::ZERO,
            rejection: Rejection { field: String::new(), message: String::new() },
        });
        Entry { at: Time::from_micros(job), record }
    }

    fn message(subject: &str) -> Outgoing {
        Outgoing { subject: subject.to_owned(), headers: None, payload: Bytes::new(), is_reply: false }
    }

    fn outbox() -> Outbox {
        Outbox::new(Writer::Dispatcher, Epoch(1))
    }

    /// The jobs of the next append.
    fn next(outbox: &mut Outbox) -> Option<Vec<u64>> {
        let batch = Batch::decode(&outbox.next_append()?).unwrap();
        let job = |entry: Entry| match entry.record {
            Record::Dispatcher(DispatcherRecord::JobRejected { job, .. }) => job.0,
            other => panic!("{other:?}"),
        };
        Some(batch.entries.into_iter().map(job).collect())
    }

    fn subjects(messages: Vec<Outgoing>) -> Vec<String> {
        messages.into_iter().map(|message| message.subject).collect()
    }

    #[test]
    fn with_nothing_before_it_a_message_leaves_at_once() {
        assert!(outbox().send(message("a")).is_some());
    }

    #[test]
    fn a_message_leaves_with_the_append_of_the_last_record_before_it() {
        let mut outbox = outbox();
        outbox.append(&record(1, 0));
        assert!(outbox.send(message("after 1")).is_none());
        assert_eq!(next(&mut outbox), Some(vec![1]));
        assert!(outbox.send(message("also after 1")).is_none());
        outbox.append(&record(2, 0));
        assert!(outbox.send(message("after 2")).is_none());
        outbox.append(&record(3, 0));
        assert_eq!(next(&mut outbox), None, "one append in flight at a time");
        assert_eq!(subjects(outbox.acknowledged()), ["after 1", "also after 1"]);
        assert_eq!(next(&mut outbox), Some(vec![2, 3]));
        assert_eq!(subjects(outbox.acknowledged()), ["after 2"]);
        assert!(outbox.is_empty() && outbox.waiting_bytes() == 0);
    }

    #[test]
    fn what_is_too_much_for_one_append_goes_into_the_next() {
        let mut outbox = outbox();
        for job in 1..=5 {
            outbox.append(&record(job, MOST_BATCH_BYTES / 2 - 1_000));
        }
        outbox.append(&record(6, 2 * MOST_BATCH_BYTES));
        assert!(outbox.waiting_bytes() > 4 * MOST_BATCH_BYTES);
        for jobs in [vec![1, 2], vec![3, 4], vec![5], vec![6]] {
            assert_eq!(next(&mut outbox), Some(jobs));
            outbox.acknowledged();
        }
        assert!(outbox.is_empty() && outbox.waiting_bytes() == 0);
    }
}
