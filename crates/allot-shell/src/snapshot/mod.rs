//! Snapshots: a service need not read the ledger from its beginning, and so the ledger need not be kept from there.

mod restore;
mod store;
mod trim;

pub use allot_writer::SnapshotConfig;

use crate::lease::StandbyConfig;

pub(crate) use restore::{Restored, restore};
pub(crate) use store::{Saved, Store};
pub(crate) use trim::trim;

/// What may be set of every service that writes to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriterConfig {
    /// How a standby takes over.
    pub standby: StandbyConfig,
    /// When snapshots are taken, and how long the ledger is kept.
    pub snapshots: SnapshotConfig,
}
