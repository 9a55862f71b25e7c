//! Numbers that look random and follow from a seed.

/// Draws numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Equal seed, equal numbers, on every machine.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The numbers of this seed from the first on.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[must_use]
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, each as likely as the others (Lemire's multiplication, without its rejection: the error
    /// is below `bound` in 2^64). 0 where `bound` is.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a product of two words, shifted by one, is a word")]
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }

    /// Puts the items into another order, each order as likely as the others (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_seed_as_they_did_before() {
        let mut seed = Seed::new(1);
        assert_eq!([seed.draw(), seed.draw()], [10_451_216_379_200_822_465, 13_757_245_211_066_428_519]);
        assert_eq!(Seed::new(5).below(0), 0);
        assert!((0..100).all(|_| seed.below(7) < 7));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        Seed::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
