//! The ledger: one subject a writer, one append in flight, and everything read back in order.

use allot_model::ledger::Batch;
use allot_proto::{Wire, WireError};
use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;

pub(crate) mod appender;
pub(crate) mod inbox;
pub mod reader;
pub(crate) mod stored;

/// Reads a message of the ledger; nothing where no writer wrote it. Writers say with each append what they expect to be
/// the last message before it: what can neither be read nor says so was put there by someone who should not, and means
/// nothing.
///
/// # Errors
/// [`WireError`] where a writer wrote it and it cannot be read: it must not be passed over, for the state would be
/// another one.
pub fn read(headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Option<Batch>, WireError> {
    match Batch::decode(payload) {
        Ok(batch) => Ok(Some(batch)),
        Err(error) if is_by_a_writer(headers) => Err(error),
        Err(_) => Ok(None),
    }
}

fn is_by_a_writer(headers: Option<&HeaderMap>) -> bool {
    headers.is_some_and(|headers| headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE).is_some())
}
