//! Names as tie breakers: ordered as text, compared as numbers.

use std::sync::Arc;

/// A name in a form that compares without following a pointer, where it has at most 16 bytes. Ordered as the text
/// is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct NameKey {
    head: u128,
    rest: Option<Arc<str>>,
}

impl NameKey {
    /// The key of an identifier, which is ASCII without NUL.
    pub(crate) fn new(name: &str) -> Self {
        let mut head = [0; 16];
        let bytes = name.as_bytes();
        let cut = bytes.len().min(16);
        head[..cut].copy_from_slice(&bytes[..cut]);
        let rest = name.get(cut..).filter(|rest| !rest.is_empty()).map(Arc::from);
        Self { head: u128::from_be_bytes(head), rest }
    }

    /// A key that is ordered as the number is, among keys of numbers.
    pub(crate) fn of_number(number: u128) -> Self {
        Self { head: number, rest: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_ordered_as_their_texts(a in "[a-c]{0,3}[a-c.-]{0,16}", b in "[a-c]{0,3}[a-c.-]{0,16}") {
            prop_assert_eq!(NameKey::new(&a).cmp(&NameKey::new(&b)), a.cmp(&b));
        }
    }
}
