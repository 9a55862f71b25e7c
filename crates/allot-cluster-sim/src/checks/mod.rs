//! What is promised, checked after every step.

pub(crate) mod chronicle;
pub(crate) mod effects;
pub(crate) mod preemptions;
pub(crate) mod processes;

use std::fmt;

/// A promise, by its number in docs/guarantees.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// A job that was taken reaches a final state, once.
    OneEnd = 1,
    /// An attempt runs at most once, and another try only follows where it may.
    OneRun = 2,
    /// No agent has more allocated than it has.
    NoOverallocation = 3,
    /// Every allocation is released once.
    OneRelease = 4,
    /// A service rebuilt from the ledger equals the one that lived.
    ReplayEqualsLife = 5,
    /// Nothing leaves a service, or is believed, that is not so: whatever allocators and replaced writers say.
    NoHarm = 6,
    /// What runs is left alone, and its end is delivered.
    TasksDoNotNotice = 7,
    /// When faults stop, everything ends.
    Liveness = 8,
}

/// A promise that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// How.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promise {} ({:?}) is broken: {}", self.promise as u8, self.promise, self.how)
    }
}

pub(crate) type Check = Result<(), Broken>;

/// Broken, unless it holds.
pub(crate) fn hold(promise: Promise, holds: bool, how: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Broken { promise, how: how() }) }
}
