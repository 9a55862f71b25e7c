//! The agent's standing with the registry: greet until welcomed, then beat.

use allot_model::{Span, Time, Welcome};

/// How often to say hello until it is answered.
const HELLO_EVERY: Span = Span::from_secs(1);
/// How long to wait after having been refused.
const REFUSED_PAUSE: Span = Span::from_secs(30);
/// The least time between beats, whatever the registry asks for.
const LEAST_BEAT: Span = Span::from_millis(10);

/// The agent's standing with the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Nothing was said yet.
    Silent,
    /// Not welcomed yet.
    Greeting {
        /// When to say hello.
        again_at: Time,
    },
    /// Welcomed.
    Beating {
        /// Time between beats.
        every: Span,
        /// When the next one is due.
        next_at: Time,
    },
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Hello,
    Beat,
}

impl Link {
    /// When something is due next.
    pub(crate) fn next(self) -> Option<(Time, &'static str)> {
        match self {
            Self::Silent => None,
            Self::Greeting { again_at } => Some((again_at, "hello")),
            Self::Beating { next_at, .. } => Some((next_at, "beat")),
        }
    }

    /// What is due by now, which then counts as done.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Due> {
        match self {
            Self::Greeting { again_at } if *again_at <= now => {
                *again_at = now + HELLO_EVERY;
                Some(Due::Hello)
            }
            Self::Beating { every, next_at } if *next_at <= now => {
                *next_at = now + *every;
                Some(Due::Beat)
            }
            _ => None,
        }
    }

    /// Begins to greet, unless that is under way.
    pub(crate) fn greet(&mut self, now: Time) {
        if !matches!(self, Self::Greeting { .. }) {
            *self = Self::Greeting { again_at: now };
        }
    }

    /// Makes what comes next due now: the way to the registry may have opened.
    pub(crate) fn hurry(&mut self, now: Time) {
        match self {
            Self::Silent => {}
            Self::Greeting { again_at } => *again_at = now,
            Self::Beating { next_at, .. } => *next_at = now,
        }
    }

    pub(crate) fn welcome(&mut self, now: Time, welcome: &Welcome) {
        match welcome {
            Welcome::Admitted { beat_every } => {
                let every = (*beat_every).max(LEAST_BEAT);
                *self = Self::Beating { every, next_at: now + every };
            }
            Welcome::HelloNeeded => self.greet(now),
            Welcome::Refused { .. } => *self = Self::Greeting { again_at: now + REFUSED_PAUSE },
        }
    }
}
