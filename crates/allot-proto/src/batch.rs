//! Batches of the ledger, built record by record, and read no further than needed.

use allot_model::{Batch, Entry, Epoch, Time, Writer};
use prost::Message;
use prost::encoding::message;

use crate::{WireError, v1};

/// The number of [`v1::Batch`]'s field `entries`.
const ENTRIES: u32 = 4;

/// Builds the bytes of a [`Batch`] as its records come, so that its size is known while it grows.
#[derive(Debug, Clone)]
pub struct BatchEncoder {
    head: Batch,
    base: Option<Time>,
    bytes: Vec<u8>,
}

impl BatchEncoder {
    /// A batch without records yet.
    #[must_use]
    pub fn new(writer: Writer, epoch: Epoch) -> Self {
        Self { head: Batch { writer, epoch, entries: Vec::new() }, base: None, bytes: Vec::new() }
    }

    /// Adds a record, unless the batch would grow beyond `most_bytes` by it. A first record always has a place.
    #[must_use]
    pub fn push(&mut self, entry: &Entry, most_bytes: usize) -> bool {
        let Some(base) = self.base else {
            self.begin(entry);
            return true;
        };
        let record = v1::Entry::since(base, entry);
        let fits = self.bytes.len() + message::encoded_len(ENTRIES, &record) <= most_bytes;
        if fits {
            message::encode(ENTRIES, &record, &mut self.bytes);
        }
        fits
    }

    fn begin(&mut self, first: &Entry) {
        self.base = Some(first.at);
        let head = v1::Batch { base_time_us: first.at.as_micros(), ..v1::Batch::from(&self.head) };
        self.bytes = head.encode_to_vec();
        message::encode(ENTRIES, &v1::Entry::since(first.at, first), &mut self.bytes);
    }

    /// How many bytes it has so far; 0 where it has no records.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, the same as those of a [`Batch`] with these records.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self.base {
            Some(_) => self.bytes,
            None => v1::Batch::from(&self.head).encode_to_vec(),
        }
    }
}

impl v1::Entry {
    /// The record as it stands in a batch whose first record was decided at `base`.
    pub(crate) fn since(base: Time, entry: &Entry) -> Self {
        Self {
            after_base_us: entry.at.as_micros().wrapping_sub(base.as_micros()).cast_signed(),
            record: Some((&entry.record).into()),
        }
    }
}

/// What is at the beginning of a [`v1::Batch`].
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

/// The epoch of an encoded [`Batch`], without reading its records.
///
/// # Errors
/// [`WireError`] where the bytes are no batch.
pub fn batch_epoch(bytes: &[u8]) -> Result<Epoch, WireError> {
    let head = Head::decode(bytes).map_err(|source| WireError::Unreadable { message: "Batch", source })?;
    Ok(Epoch(head.epoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wire;
    use allot_model::{DispatcherRecord, JobId, Record};

    #[test]
    fn a_batch_built_record_by_record_has_the_bytes_of_the_whole() {
        let entry = |at, job| Entry {
            at: Time::from_micros(at),
            record: Record::Dispatcher(DispatcherRecord::JobReady { job: JobId(job) }),
        };
        let entries = vec![entry(1_000, 1), entry(1_007, 2), entry(900, 3)];
        let whole = Batch { writer: Writer::Dispatcher, epoch: Epoch(7), entries };
        let mut encoder = BatchEncoder::new(whole.writer, whole.epoch);
        assert_eq!(encoder.size_bytes(), 0);
        for entry in &whole.entries {
            assert!(encoder.push(entry, usize::MAX));
        }
        assert_eq!(encoder.size_bytes(), whole.encode().len());
        let bytes = encoder.finish();
        assert_eq!(bytes, whole.encode());
        assert_eq!(batch_epoch(&bytes), Ok(Epoch(7)));
    }

    #[test]
    fn a_batch_without_records_still_says_whose_it_is() {
        let bytes = BatchEncoder::new(Writer::Offers, Epoch(7)).finish();
        let whole = Batch { writer: Writer::Offers, epoch: Epoch(7), entries: Vec::new() };
        assert_eq!((bytes == whole.encode(), batch_epoch(&bytes)), (true, Ok(Epoch(7))));
    }

    #[test]
    fn a_record_that_would_make_the_batch_too_large_is_left_out() {
        let record = Record::Dispatcher(DispatcherRecord::JobReady { job: JobId(1) });
        let entry = Entry { at: Time::from_micros(1_000), record };
        let mut encoder = BatchEncoder::new(Writer::Dispatcher, Epoch(1));
        assert!(encoder.push(&entry, 0), "a first record always has a place");
        let size = encoder.size_bytes();
        assert!(!encoder.push(&entry, size));
        assert_eq!(encoder.size_bytes(), size);
        assert!(encoder.push(&entry, 2 * size));
    }
}
