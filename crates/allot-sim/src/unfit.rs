//! Policies that make no sense for a workload.

use std::collections::BTreeSet;

use allot_engine::{Policy, Rank};
use allot_model::ResourceName;

use crate::workload::{Happening, Workload};

/// Why a policy is not for a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy {policy}: {message}")]
pub struct UnfitPolicy {
    /// The policy.
    pub policy: String,
    /// What is wrong with it, and what is allowed.
    pub message: String,
}

impl Workload {
    /// Sees to it that what the policy goes by is there at some time.
    ///
    /// # Errors
    /// [`UnfitPolicy`] where queues rank by a resource that no agent ever has.
    pub fn check(&self, policy: &Policy) -> Result<(), UnfitPolicy> {
        let Rank::Fair { resource } = &policy.rank else { return Ok(()) };
        let ever = self.changes.iter().filter_map(|change| match &change.what {
            Happening::Agent { facts, .. } => Some(facts.total.iter().map(|(name, _)| name)),
            _ => None,
        });
        let there: BTreeSet<&ResourceName> = ever.flatten().collect();
        if there.is_empty() || there.contains(resource) {
            return Ok(());
        }
        let names = || there.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let absent = |_| {
            format!("no agent ever has `{resource}`, by which queues are to rank: choose from {}", names())
        };
        let message = ResourceName::parse_known(resource.as_str()).map_or_else(|message| message, absent);
        Err(UnfitPolicy { policy: policy.to_string(), message })
    }
}
