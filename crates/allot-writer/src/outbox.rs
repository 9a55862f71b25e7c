//! What a service wants to leave it, in order: records gather into the next append, and effects wait for the records
//! before them.

use std::collections::VecDeque;

use allot_model::Epoch;
use allot_model::ledger::{Entry, Writer};
use allot_proto::BatchEncoder;

/// What can wait for an append.
pub trait Weigh {
    /// What it takes in memory, about.
    fn size_bytes(&self) -> usize;
}

/// The most that one append holds: below the server's `max_payload` of 1 MiB, headers included.
const MOST_BATCH_BYTES: usize = 900 * 1024;

/// One append, and the effects that leave once it is acknowledged.
#[derive(Debug, Clone)]
struct Group<E> {
    batch: BatchEncoder,
    effects: Vec<E>,
}

/// The queue of outputs that wait for the ledger; effects are of type `E`.
#[derive(Debug, Clone)]
pub struct Outbox<E> {
    writer: Writer,
    epoch: Epoch,
    /// The first is in flight where `in_flight` is set.
    groups: VecDeque<Group<E>>,
    in_flight: bool,
    waiting_bytes: usize,
}

impl<E: Weigh> Outbox<E> {
    /// Of this writer, in this generation; nothing waits yet.
    #[must_use]
    pub fn new(writer: Writer, epoch: Epoch) -> Self {
        Self { writer, epoch, groups: VecDeque::new(), in_flight: false, waiting_bytes: 0 }
    }

    /// Puts a record at the end of the queue.
    pub fn append(&mut self, entry: &Entry) {
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

    /// Puts an append without records at the end of the queue: it moves the end of the writer's part of the ledger, so
    /// that what is before it can be trimmed.
    pub fn append_nothing(&mut self) {
        let batch = BatchEncoder::new(self.writer, self.epoch);
        self.groups.push_back(Group { batch, effects: Vec::new() });
    }

    /// The group that still takes records.
    fn open_group(&mut self) -> Option<&mut Group<E>> {
        let closed = usize::from(self.in_flight);
        if self.groups.len() > closed { self.groups.back_mut() } else { None }
    }

    /// Puts an effect at the end of the queue; hands it back where nothing is before it, to leave at once.
    pub fn send(&mut self, effect: E) -> Option<E> {
        let Some(last) = self.groups.back_mut() else { return Some(effect) };
        self.waiting_bytes += effect.size_bytes();
        last.effects.push(effect);
        None
    }

    /// The next append, which is in flight from now on; nothing where one is in flight or nothing waits.
    pub fn next_append(&mut self) -> Option<Vec<u8>> {
        if self.in_flight {
            return None;
        }
        let group = self.groups.front_mut()?;
        let batch = std::mem::replace(&mut group.batch, BatchEncoder::new(self.writer, self.epoch));
        self.waiting_bytes -= batch.size_bytes();
        self.in_flight = true;
        Some(batch.finish())
    }

    /// The append in flight is durable: what was waiting for it leaves.
    pub fn acknowledged(&mut self) -> Vec<E> {
        self.in_flight = false;
        let effects = self.groups.pop_front().map(|group| group.effects).unwrap_or_default();
        self.waiting_bytes -= effects.iter().map(Weigh::size_bytes).sum::<usize>();
        effects
    }

    /// How much waits for an append.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// True where nothing waits and nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
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

    impl Weigh for &'static str {
        fn size_bytes(&self) -> usize {
            self.len()
        }
    }

    fn outbox() -> Outbox<&'static str> {
        Outbox::new(Writer::Dispatcher, Epoch(1))
    }

    /// The jobs of the next append.
    fn next(outbox: &mut Outbox<&'static str>) -> Option<Vec<u64>> {
        let batch = Batch::decode(&outbox.next_append()?).unwrap();
        let job = |entry: Entry| match entry.record {
            Record::Dispatcher(DispatcherRecord::JobRejected { job, .. }) => job.0,
            other => panic!("{other:?}"),
        };
        Some(batch.entries.into_iter().map(job).collect())
    }

    #[test]
    fn with_nothing_before_it_an_effect_leaves_at_once() {
        assert!(outbox().send("a").is_some());
    }

    #[test]
    fn an_effect_leaves_with_the_append_of_the_last_record_before_it() {
        let mut outbox = outbox();
        outbox.append(&record(1, 0));
        assert!(outbox.send("after 1").is_none());
        assert_eq!(next(&mut outbox), Some(vec![1]));
        assert!(outbox.send("also after 1").is_none());
        outbox.append(&record(2, 0));
        assert!(outbox.send("after 2").is_none());
        outbox.append(&record(3, 0));
        assert_eq!(next(&mut outbox), None, "one append in flight at a time");
        assert_eq!(outbox.acknowledged(), ["after 1", "also after 1"]);
        assert_eq!(next(&mut outbox), Some(vec![2, 3]));
        assert_eq!(outbox.acknowledged(), ["after 2"]);
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
