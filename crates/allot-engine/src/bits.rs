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

    /// All slots in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        std::iter::successors(self.next(0), |slot| self.next(slot + 1))
    }

    /// The slots that are in one of both and not in the other, in order.
    pub(crate) fn differing(&self, other: &Self) -> impl Iterator<Item = u32> {
        let words = self.0.len().max(other.0.len());
        let word = |bits: &Self, at: usize| bits.0.get(at).copied().unwrap_or(0);
        let mut differing = Self((0..words).map(|at| word(self, at) ^ word(other, at)).collect());
        std::iter::from_fn(move || {
            let first = differing.next(0)?;
            differing.set(first, false);
            Some(first)
        })
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
            prop_assert_eq!(bits.iter().collect::<BTreeSet<_>>(), plain);
        }

        #[test]
        fn what_differs_is_in_one_of_both(
            left in proptest::collection::btree_set(0_u32..200, 0..20),
            right in proptest::collection::btree_set(0_u32..200, 0..20),
        ) {
            let bits = |slots: &BTreeSet<u32>| {
                let mut bits = Bits::default();
                slots.iter().for_each(|slot| bits.set(*slot, true));
                bits
            };
            let differing: BTreeSet<u32> = bits(&left).differing(&bits(&right)).collect();
            prop_assert_eq!(differing, &left ^ &right);
        }
    }
}
