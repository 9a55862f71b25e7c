//! The one way from the model to bytes and back.

use allot_model::{
    Batch, Beat, Feed, FromAllocator, Hello, JobSpec, OrderBatch, ReportBatch, SnapshotHead, StateItem,
    Welcome,
};
use prost::Message;

use crate::{WireError, v1};

/// A message that crosses the bus.
pub trait Wire: Sized {
    /// The message as bytes. Equal messages have equal bytes.
    fn encode(&self) -> Vec<u8>;

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`] where the bytes are no such message, or a field holds what the model does not allow.
    fn decode(bytes: &[u8]) -> Result<Self, WireError>;
}

macro_rules! wire {
    ($($message:ident),*) => {$(
        impl Wire for $message {
            fn encode(&self) -> Vec<u8> {
                v1::$message::from(self).encode_to_vec()
            }

            fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let unreadable = |source| WireError::Unreadable { message: stringify!($message), source };
                <v1::$message as Message>::decode(bytes).map_err(unreadable)?.try_into()
            }
        }
    )*};
}

wire!(
    Batch,
    Beat,
    Feed,
    FromAllocator,
    Hello,
    JobSpec,
    OrderBatch,
    ReportBatch,
    SnapshotHead,
    StateItem,
    Welcome
);
