//! Sets of small numbers that are walked often.

/// A set of slots as bits, walked in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// Puts a slot in or takes it out.
    pub(crate) fn set(&mut self, slot: u32, is_in: bool) {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if self.0.len() <= word {
            if !is_in {
                return;
            }
            self.0.resize(word + 1, 0);
        }
        if is_in {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
    }

    /// The first slot from `from` on.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        let first = from as usize / 64;
        let mut mask = u64::MAX << (from % 64);
        for (word, bits) in (0_u32..).zip(&self.0).skip(first) {
            if bits & mask != 0 {
                return Some(word * 64 + (bits & mask).trailing_zeros());
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn bits_equal_a_plain_set(ops in proptest::collection::vec((0_u32..200, any::<bool>()), 0..60)) {
            let (mut bits, mut plain) = (Bits::default(), BTreeSet::new());
            for (slot, is_in) in ops {
                bits.set(slot, is_in);
                if is_in { plain.insert(slot); } else { plain.remove(&slot); }
            }
            let walked: Vec<u32> =
                std::iter::successors(bits.next(0), |slot| bits.next(slot + 1)).collect();
            prop_assert_eq!(walked, plain.into_iter().collect::<Vec<_>>());
        }
    }
}
