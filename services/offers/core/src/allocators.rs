//! Which allocators there are and which one decides.

use std::collections::BTreeMap;

use allot_model::{
    AllocatorMode, AllocatorView, Epoch, InstanceId, OfferCounts, PolicyName, PolicyView, PreemptRules,
    Presence, SILENT_AFTER, Time,
};

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
    presence: Presence,
    since: Time,
    heard_at: Time,
}

impl Seen {
    fn may_decide(&self) -> bool {
        self.presence.mode == AllocatorMode::Standby
    }
}

/// Who is there of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    /// An allocator that may decide.
    Standby,
    /// None but such as never decide.
    Shadow,
    /// None.
    Nobody,
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
            let presence = Presence::of(active.policy.clone());
            let seen = Seen { presence, since: now, heard_at: now };
            self.seen.insert(active.instance.clone(), seen);
        }
    }

    pub(crate) fn heard(&mut self, now: Time, instance: &InstanceId, presence: Presence) {
        let since = self.seen.get(instance).map_or(now, |seen| seen.since);
        self.seen.insert(instance.clone(), Seen { presence, since, heard_at: now });
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
    /// chosen and an allocator that runs it is there. Among several the one that came first. Never a shadow.
    pub(crate) fn successor(&self) -> Option<(InstanceId, PolicyName)> {
        let wanted = |policy: &PolicyName| self.chosen.as_ref().is_none_or(|chosen| chosen == policy);
        let (best, policy) = self
            .seen
            .iter()
            .filter(|(_, seen)| seen.may_decide())
            .min_by_key(|(instance, seen)| (!wanted(&seen.presence.policy), seen.since, (*instance).clone()))
            .map(|(instance, seen)| (instance, &seen.presence.policy))?;
        let stays = self.active.as_ref().is_some_and(|active| {
            let is_there = self.seen.get(&active.instance).is_some_and(Seen::may_decide);
            is_there && (wanted(&active.policy) || !wanted(policy))
        });
        (!stays).then(|| (best.clone(), policy.clone()))
    }

    /// Who is there of a policy.
    pub(crate) fn runs(&self, policy: &PolicyName) -> Runs {
        let of_policy = self.seen.values().filter(|seen| seen.presence.policy == *policy);
        match of_policy.map(Seen::may_decide).max() {
            None => Runs::Nobody,
            Some(true) => Runs::Standby,
            Some(false) => Runs::Shadow,
        }
    }

    pub(crate) fn view(&self, counts: OfferCounts, preemption: PreemptRules) -> PolicyView {
        let is_active = |instance: &InstanceId| self.active.as_ref().is_some_and(|a| a.instance == *instance);
        let mut allocators: Vec<AllocatorView> = self
            .seen
            .iter()
            .map(|(instance, seen)| AllocatorView {
                instance: instance.clone(),
                policy: seen.presence.policy.clone(),
                mode: seen.presence.mode,
                described: seen.presence.described.clone(),
                active: is_active(instance),
                since: seen.since,
                heard_at: seen.heard_at,
            })
            .collect();
        allocators.sort_by_key(|allocator| (!allocator.active, allocator.since));
        PolicyView { chosen: self.chosen.clone(), epoch: self.epoch(), allocators, counts, preemption }
    }
}
