//! How much has to be free on an agent for an offer to be worth making.

use allot_model::{Request, Resources};

/// The least that is offered: all of one of these. Where none is said, whatever is free is offered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Minimum(Vec<Request>);

impl Minimum {
    /// All of one of these is enough.
    #[must_use]
    pub fn any_of(enough: Vec<Request>) -> Self {
        Self(enough)
    }

    /// True where so much is worth an offer. Items and ranges count as how many there are.
    pub(crate) fn is_met(&self, free: &Resources) -> bool {
        let has = |enough: &Request| enough.iter().all(|(name, units)| free.total(name) >= units);
        self.0.is_empty() || self.0.iter().any(has)
    }
}
