//! Snapshots: a service need not read the ledger from its beginning, and so the ledger need not be kept from there.

mod restore;
mod schedule;
mod store;
mod trim;

use allot_model::Span;
use serde::{Deserialize, Serialize};

use crate::lease::StandbyConfig;

pub(crate) use restore::{Restored, restore};
pub(crate) use schedule::Schedule;
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

/// How many snapshots of each service are kept: the newest, and one to fall back on.
pub(crate) const KEPT: usize = 2;

/// When snapshots are taken, and how long the ledger is kept. Part of the configuration of every service that writes to
/// the ledger, under `snapshots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotConfig {
    /// After how many records a snapshot is taken; after as many as the last one had parts, where these are more.
    pub every_records: u64,
    /// How long after the last one a snapshot is taken where anything has happened since.
    pub at_least_every: Span,
    /// How long records stay in the ledger, for `allot events`, once no service needs them any more.
    pub keep_ledger: Span,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            every_records: 100_000,
            at_least_every: Span::from_secs(600),
            keep_ledger: Span::from_secs(24 * 3_600),
        }
    }
}
