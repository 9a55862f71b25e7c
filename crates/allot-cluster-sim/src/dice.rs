//! What is drawn, all of it from the seed.

use allot_model::Span;
use allot_workload::SplitMix64;

/// Draws.
#[derive(Debug, Clone)]
pub(crate) struct Dice(SplitMix64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// Dice of their own for a part of the world, so that what one part draws does not change what another does.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.0.next())
    }

    /// A number below `bound`; 0 where that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        let bound = usize::try_from(most.saturating_sub(least) + 1).unwrap_or(usize::MAX);
        least + self.0.below(bound) as u64
    }

    /// A count from `least` to `most`, both included.
    pub(crate) fn count(&mut self, least: usize, most: usize) -> usize {
        least + self.0.below(most.saturating_sub(least) + 1)
    }

    /// True in so many of a thousand cases.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.0.below(1_000) < permille as usize
    }

    /// A span up to `most`; short ones are more likely, as spans of many sizes are wanted.
    pub(crate) fn span(&mut self, least: Span, most: Span) -> Span {
        let (least, most) = (least.as_micros().max(1), most.as_micros().max(1));
        let mut bound = most;
        for _ in 0..self.0.below(4) {
            bound = (bound / 8).max(least);
        }
        Span::from_micros(self.between(least.min(bound), bound))
    }

    /// One of them, if there is any.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.0.below(list.len()))
    }
}
