//! When a standby is to try: decided from what it hears of the lease, and by its own clock.

use allot_model::Time;

use super::{Found, Holder};

/// What a standby has heard of the lease. It has no clock and does nothing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidacy {
    revision: u64,
    holder: Option<Holder>,
    /// When the holder was last heard from, or might have been without our hearing it.
    heard_at: Time,
}

impl Candidacy {
    /// A candidacy that begins with what stands in the bucket.
    pub(crate) fn new(now: Time, found: Found) -> Self {
        let Found { revision, holder } = found;
        Self { revision, holder, heard_at: now }
    }

    /// Takes note of what stands in the bucket. What was known already is no sign of life.
    pub(crate) fn hear(&mut self, now: Time, found: Found) {
        let Found { revision, holder } = found;
        if revision != self.revision {
            self.heard_at = now;
        }
        self.revision = revision;
        self.holder = holder;
    }

    /// Nothing could be heard until now: the silence begins anew. Otherwise every standby would try after each restart
    /// of NATS.
    pub(crate) fn was_deaf(&mut self, now: Time) {
        self.heard_at = now;
    }

    /// When to try.
    pub(crate) fn due(&self) -> Time {
        match &self.holder {
            Some(holder) => self.heard_at + holder.takeover_after,
            None => Time::ZERO,
        }
    }

    /// What the try has to expect, so that a renewal that is not heard yet makes it fail.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::{InstanceId, Span};

    fn at(ms: u64) -> Time {
        Time::from_micros(1_000_000 + ms * 1_000)
    }

    fn held(revision: u64) -> Found {
        let instance = InstanceId::new("a").unwrap();
        let holder = Holder { instance, since: at(0), takeover_after: Span::from_millis(1_000) };
        Found { revision, holder: Some(holder) }
    }

    #[test]
    fn a_lease_that_nobody_holds_is_tried_at_once() {
        assert!(Candidacy::new(at(0), Found::NOTHING).due() <= at(0));
        let mut candidacy = Candidacy::new(at(0), held(7));
        candidacy.hear(at(100), Found { revision: 8, holder: None });
        assert!(candidacy.due() <= at(100));
        assert_eq!(candidacy.revision(), 8);
    }

    #[test]
    fn a_holder_is_given_the_time_it_asked_for_from_each_sign_of_life() {
        let mut candidacy = Candidacy::new(at(0), held(7));
        assert_eq!(candidacy.due(), at(1_000));
        candidacy.hear(at(250), held(8));
        assert_eq!((candidacy.due(), candidacy.revision()), (at(1_250), 8));
    }

    #[test]
    fn to_look_again_at_an_old_renewal_is_no_sign_of_life() {
        let mut candidacy = Candidacy::new(at(0), held(7));
        candidacy.hear(at(900), held(7));
        assert_eq!(candidacy.due(), at(1_000));
    }

    #[test]
    fn who_could_not_hear_does_not_take_it_for_silence() {
        let mut candidacy = Candidacy::new(at(0), held(7));
        candidacy.was_deaf(at(5_000));
        assert_eq!(candidacy.due(), at(6_000));
    }
}
