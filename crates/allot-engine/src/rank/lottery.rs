//! Lottery scheduling [Waldspurger and Weihl, OSDI 1994]: each decision is drawn among the queues that have something to
//! place, with as many tickets as each has weight; at each node of the queue tree, which is what they call currencies.
//!
//! Rather than to count all tickets for each draw, every queue draws the time of its next turn from an exponential
//! distribution with its weight as the rate, and the earliest is next. The chance to be the earliest is that of holding the
//! drawn ticket, and as the distribution has no memory, every turn is independent of those before. A queue whose turn
//! went by while it had nothing to place draws anew.

/// The draws among the members of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draws {
    /// When the last turn was.
    pub(crate) at: u64,
    /// How often times were counted from the beginning again.
    round: u64,
}

/// Beyond this, times are counted from the beginning again.
const FAR: u64 = 1 << 62;

impl Draws {
    /// The next turn of a member of this name and weight.
    pub(crate) fn next(&self, seed: u64, name: &str, weight: u32) -> u64 {
        let salt = mix(seed ^ mix(self.round)) ^ mix(self.at);
        let random = name.bytes().fold(salt, |hash, byte| mix(hash ^ u64::from(byte))) | 1;
        // -log2 of a number between 0 and 1, in parts of 2^44.
        let wait = (64_u64 << 44) - (crate::order::log2(random) >> 8);
        self.at + (wait / u64::from(weight.max(1))).max(1)
    }

    /// True where times have to be counted from the beginning again.
    pub(crate) fn are_far(&self) -> bool {
        self.at >= FAR
    }

    /// Counts from the beginning again; returns what is to be taken from all times.
    pub(crate) fn rewind(&mut self) -> u64 {
        self.round += 1;
        std::mem::take(&mut self.at)
    }
}

/// A number that looks random and is the same for the same number (splitmix64).
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
