//! The ledger: one subject a writer, one append in flight, and everything read back in order.

pub(crate) mod appender;
pub(crate) mod outbox;
pub mod reader;
