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

    /// Adds a record.
    pub fn push(&mut self, entry: &Entry) {
        let base = match self.base {
            Some(base) => base,
            None => self.begin(entry.at),
        };
        message::encode(ENTRIES, &v1::Entry::since(base, entry), &mut self.bytes);
    }

    fn begin(&mut self, base: Time) -> Time {
        self.base = Some(base);
        let head = v1::Batch { base_time_us: base.as_micros(), ..v1::Batch::from(&self.head) };
        self.bytes = head.encode_to_vec();
        base
    }

    /// How many bytes it has so far; 0 where it has no records.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, the same as those of a [`Batch`] with these records.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
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
        whole.entries.iter().for_each(|entry| encoder.push(entry));
        assert_eq!(encoder.size_bytes(), whole.encode().len());
        let bytes = encoder.finish();
        assert_eq!(bytes, whole.encode());
        assert_eq!(batch_epoch(&bytes), Ok(Epoch(7)));
    }
}
