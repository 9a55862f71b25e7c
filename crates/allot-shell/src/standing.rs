//! What a service that writes to the ledger is just now: active, or following another instance that is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use allot_model::{Epoch, Time};
use serde::{Deserialize, Serialize};

use crate::clock;

/// What an instance is among those of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It reads the ledger to know what it has to.
    Starting,
    /// It follows the ledger and takes over when the active one is gone.
    Standby,
    /// It is the writer.
    Active,
}

/// What an instance tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// What it is.
    pub role: Role,
    /// Since when.
    pub since: Time,
    /// Its generation, where it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The last message of the ledger that it has folded.
    pub ledger_sequence: u64,
}

/// Where a service writes down its standing, and its listing reads it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct StandingCell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Nothing where the service does not write to the ledger.
    role: Mutex<Option<(Role, Time, Option<Epoch>)>>,
    ledger_sequence: AtomicU64,
}

impl StandingCell {
    /// It is something else from now on.
    pub(crate) fn set(&self, role: Role, epoch: Option<Epoch>) {
        let mut place = self.0.role.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some((role, clock::now(), epoch));
    }

    /// The ledger is folded up to this message.
    pub(crate) fn has_read(&self, sequence: u64) {
        self.0.ledger_sequence.store(sequence, Ordering::Relaxed);
    }

    /// What it is now.
    pub(crate) fn read(&self) -> Option<Standing> {
        let (role, since, epoch) = (*self.0.role.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(Standing { role, since, epoch, ledger_sequence: self.0.ledger_sequence.load(Ordering::Relaxed) })
    }
}
