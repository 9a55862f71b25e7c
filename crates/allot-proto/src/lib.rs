//! The wire: protobuf messages of `allot.v1`, and their conversion to and from the model.
//!
//! [`v1`] is generated from `schemas/allot/v1` by `cargo xtask codegen`. Everything else in allot speaks the types of
//! `allot-model` and meets the wire through [`Wire`] only; a user's submission is read by [`decode_submission`].

mod batch;
mod convert;
mod error;
mod snapshot;
mod submission;
mod wire;

pub use batch::{BatchEncoder, batch_epoch};
pub use error::WireError;
pub use snapshot::{SnapshotReader, encode_snapshot};
pub use submission::decode_submission;
pub use wire::Wire;

/// The messages as they stand on the wire, generated from the schemas.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod v1 {
    include!("generated/allot.v1.rs");
}
