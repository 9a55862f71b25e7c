//! Numbers that are drawn for a task: the same for the same seed and task, on every machine.

use allot_model::JobId;

/// `SplitMix64` [Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014], begun anew for each
/// task, so that what is drawn for one does not depend on which others were placed before.
#[derive(Debug, Clone)]
pub(crate) struct Draws(u64);

impl Draws {
    /// The numbers of a task: the first number of the seed, mixed with the job's id, is the seed of a number that, mixed with
    /// the task's index, is the seed of what is drawn.
    pub(crate) fn new(seed: u64, job: JobId, task: u32) -> Self {
        let mut draws = Self(seed);
        draws.0 = draws.next() ^ job.0;
        draws.0 = draws.next() ^ u64::from(task);
        draws
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// The next number below `bound`: the upper half of the product. 0 where `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }
}
