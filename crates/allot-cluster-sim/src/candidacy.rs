//! When an instance tries to be the writer: it follows as a standby until the active one gives its lease up or is silent for
//! too long, as `allot_shell::lease` has it. Nothing depends on it but who tries.

use allot_model::{Span, Time};

use crate::marks::Mark;
use crate::message::Party;
use crate::process::Act;
use crate::streams::Lease;

/// How long the active one may be silent.
const TAKEOVER_AFTER: Span = Span::from_secs(1);
/// How often it is to be heard from.
const RENEW_EVERY: Span = Span::from_millis(250);
/// How long an answer is waited for.
const PATIENCE: Span = Span::from_secs(1);

/// What an instance knows of the lease of its service.
#[derive(Debug)]
pub(crate) struct Candidacy {
    me: Party,
    lease: Lease,
    heard_at: Time,
    /// Until when an answer is waited for.
    asked_until: Option<Time>,
    /// When to renew, once it is ours.
    renews_at: Option<Time>,
}

impl Candidacy {
    /// An instance that begins, and finds this.
    pub(crate) fn new(me: Party, now: Time, lease: Lease) -> Self {
        Self { me, lease, heard_at: now, asked_until: None, renews_at: None }
    }

    /// Hears what stands in the bucket. True where that makes it ours.
    pub(crate) fn hear(&mut self, now: Time, lease: Lease) -> bool {
        if lease.revision < self.lease.revision {
            return false;
        }
        if lease.revision > self.lease.revision {
            self.heard_at = now;
        }
        (self.lease, self.asked_until) = (lease, None);
        let is_ours = lease.holder == Some(self.me);
        let was_ours = self.renews_at.is_some();
        self.renews_at = is_ours.then(|| self.renews_at.unwrap_or(now + RENEW_EVERY));
        is_ours && !was_ours
    }

    /// When there is something to do.
    pub(crate) fn next_wake(&self) -> Time {
        let silent_at = match self.lease.holder {
            Some(_) => self.heard_at + TAKEOVER_AFTER,
            None => Time::ZERO,
        };
        self.asked_until.or(self.renews_at).unwrap_or(silent_at)
    }

    /// Renews the lease, tries to take it, or asks again.
    pub(crate) fn wake(&mut self, now: Time, acts: &mut Vec<Act>) {
        if self.next_wake() > now {
            return;
        }
        if self.renews_at.is_some() {
            self.renews_at = Some(now + RENEW_EVERY);
        } else if self.asked_until.replace(now + PATIENCE).is_some() {
            acts.push(Act::LookAtLease);
            return;
        } else if self.lease.holder.is_some() {
            acts.push(Act::Saw(Mark::TakenOverSilence));
        }
        acts.push(Act::Lease { expected: self.lease.revision, holds: true });
    }

    /// Lets the next one take over at once.
    pub(crate) fn give_up(&self, acts: &mut Vec<Act>) {
        if self.renews_at.is_some() {
            acts.push(Act::Saw(Mark::HandedOver));
            acts.push(Act::Lease { expected: self.lease.revision, holds: false });
        }
    }
}
