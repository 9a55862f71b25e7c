//! Which allocators there are and which one decides.

use std::collections::BTreeMap;

use allot_model::{AllocatorView, Epoch, InstanceId, PolicyName, PolicyView, SILENT_AFTER, Time};

/// The allocator that decides, by the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) epoch: Epoch,
    pub(crate) instance: InstanceId,
    pub(crate) policy: PolicyName,
}

/// An allocator that was heard from.
#[derive(Debug, Clone)]
struct Seen {
    policy: PolicyName,
    since: Time,
    heard_at: Time,
}

/// Who decides, who was chosen, and who is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allocators {
    pub(crate) active: Option<Active>,
    pub(crate) chosen: Option<PolicyName>,
    /// Soft.
    seen: BTreeMap<InstanceId, Seen>,
}

impl Allocators {
    pub(crate) fn epoch(&self) -> Epoch {
        self.active.as_ref().map_or(Epoch(0), |active| active.epoch)
    }

    pub(crate) fn is_active(&self, epoch: Epoch, instance: &InstanceId) -> bool {
        self.active.as_ref().is_some_and(|active| active.epoch == epoch && active.instance == *instance)
    }

    /// The active one of an earlier life of this service has the benefit of the doubt.
    pub(crate) fn resume(&mut self, now: Time) {
        self.seen.clear();
        if let Some(active) = &self.active {
            let seen = Seen { policy: active.policy.clone(), since: now, heard_at: now };
            self.seen.insert(active.instance.clone(), seen);
        }
    }

    pub(crate) fn heard(&mut self, now: Time, instance: &InstanceId, policy: &PolicyName) {
        let seen = self.seen.entry(instance.clone()).or_insert_with(|| Seen {
            policy: policy.clone(),
            since: now,
            heard_at: now,
        });
        seen.policy = policy.clone();
        seen.heard_at = now;
    }

    pub(crate) fn gone(&mut self, instance: &InstanceId) {
        self.seen.remove(instance);
    }

    /// Forgets the silent ones.
    pub(crate) fn forget_silent(&mut self, now: Time) {
        self.seen.retain(|_, seen| now.since(seen.heard_at) < SILENT_AFTER);
    }

    /// When the next one will have been silent for too long.
    pub(crate) fn next_silence(&self) -> Option<Time> {
        self.seen.values().map(|seen| seen.heard_at + SILENT_AFTER).min()
    }

    /// Who is to take over now, if anyone: the active one stays while it is there, unless another policy was
    /// chosen and an allocator that runs it is there. Among several the one that came first.
    pub(crate) fn successor(&self) -> Option<(InstanceId, PolicyName)> {
        let wanted = |policy: &PolicyName| self.chosen.as_ref().is_none_or(|chosen| chosen == policy);
        let best = self
            .seen
            .iter()
            .min_by_key(|(instance, seen)| (!wanted(&seen.policy), seen.since, (*instance).clone()))?;
        let stays = self.active.as_ref().is_some_and(|active| {
            self.seen.contains_key(&active.instance) && (wanted(&active.policy) || !wanted(&best.1.policy))
        });
        (!stays).then(|| (best.0.clone(), best.1.policy.clone()))
    }

    pub(crate) fn has_policy(&self, policy: &PolicyName) -> bool {
        self.seen.values().any(|seen| seen.policy == *policy)
    }

    pub(crate) fn view(&self) -> PolicyView {
        let is_active = |instance: &InstanceId| self.active.as_ref().is_some_and(|a| a.instance == *instance);
        let mut allocators: Vec<AllocatorView> = self
            .seen
            .iter()
            .map(|(instance, seen)| AllocatorView {
                instance: instance.clone(),
                policy: seen.policy.clone(),
                active: is_active(instance),
                since: seen.since,
                heard_at: seen.heard_at,
            })
            .collect();
        allocators.sort_by_key(|allocator| (!allocator.active, allocator.since));
        PolicyView { chosen: self.chosen.clone(), epoch: self.epoch(), allocators }
    }
}
