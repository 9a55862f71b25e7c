//! Whether agents could be heard: the registry says something to itself now and then, by the way that their words come.
//!
//! A registry that stood still, or that NATS was out of reach for, has heard nobody. Were that taken for the agents' silence, all of
//! them would be lost at once, and tasks tried elsewhere that run where they are.

use allot_model::{Epoch, Span, Time};
use serde::{Deserialize, Serialize};

/// In the time that an agent may be silent, the registry speaks to itself so often.
const ECHOES: u64 = 8;
/// It takes itself for deaf when so many were not heard.
const MISSED: u64 = 2;

/// What the registry says to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The generation of the instance that says it.
    pub epoch: Epoch,
    /// When, by its clock.
    pub at: Time,
}

/// When this instance last heard itself.
#[derive(Debug, Clone)]
pub(crate) struct Hearing {
    every: Span,
    /// When that was said which it heard last. What others said before that has arrived too.
    heard: Time,
    next: Time,
}

impl Hearing {
    pub(crate) fn new(agent_timeout: Span) -> Self {
        let every = Span::from_micros((agent_timeout.as_micros() / ECHOES).max(1));
        Self { every, heard: Time::ZERO, next: Time::ZERO }
    }

    /// Somebody is to be heard from now on.
    pub(crate) fn begin(&mut self, now: Time) {
        (self.heard, self.next) = (now, now + self.every);
    }

    /// True where agents that spoke before this time have been heard, as far as is known now.
    pub(crate) fn reaches(&self, at: Time) -> bool {
        self.is_soon(self.heard, at)
    }

    fn is_soon(&self, from: Time, to: Time) -> bool {
        to.since(from).as_micros() <= MISSED * self.every.as_micros()
    }

    /// When it is to speak next.
    pub(crate) fn speaks_at(&self) -> Time {
        self.next
    }

    /// True where it is to speak now.
    pub(crate) fn speaks(&mut self, now: Time) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + self.every;
        }
        due
    }

    /// Hears what was said at that time. True where nothing had been heard for long. What comes late has waited for the connection,
    /// on our side of it, and tells nothing of what others said meanwhile.
    pub(crate) fn hears_again(&mut self, now: Time, said: Time) -> bool {
        if said > now || said <= self.heard || !self.is_soon(said, now) {
            return false;
        }
        let was_deaf = !self.reaches(said);
        self.heard = said;
        was_deaf
    }
}
