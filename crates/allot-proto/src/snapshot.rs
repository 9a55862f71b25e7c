//! Snapshots as bytes: a head, and as many items as it says, each preceded by its length.

use allot_model::{SnapshotHead, StateItem};
use prost::Message;

use crate::{WireError, v1};

/// The bytes of a snapshot.
#[must_use]
pub fn encode_snapshot(head: &SnapshotHead, items: impl Iterator<Item = StateItem>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut count = 0;
    for item in items {
        push(&mut body, &v1::StateItem::from(&item));
        count += 1;
    }
    let mut bytes = Vec::with_capacity(body.len() + 64);
    push(&mut bytes, &v1::SnapshotHead::from(&SnapshotHead { items: count, ..*head }));
    bytes.append(&mut body);
    bytes
}

fn push(bytes: &mut Vec<u8>, message: &impl Message) {
    // A vector takes as much as there is memory, so that this cannot fail.
    let _ = message.encode_length_delimited(bytes);
}

/// Reads the head of a snapshot, and then its items one by one: a snapshot may be as large as the memory it came from.
#[derive(Debug)]
pub struct SnapshotReader<'a> {
    head: SnapshotHead,
    rest: &'a [u8],
    left: u64,
}

impl<'a> SnapshotReader<'a> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`WireError`] where the bytes do not begin with one.
    pub fn new(mut bytes: &'a [u8]) -> Result<Self, WireError> {
        let head: v1::SnapshotHead = read(&mut bytes, "SnapshotHead")?;
        let head = SnapshotHead::try_from(head)?;
        Ok(Self { head, rest: bytes, left: head.items })
    }

    /// What it is of.
    #[must_use]
    pub fn head(&self) -> SnapshotHead {
        self.head
    }
}

impl Iterator for SnapshotReader<'_> {
    type Item = Result<StateItem, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let item = read::<v1::StateItem>(&mut self.rest, "StateItem").and_then(StateItem::try_from);
        if item.is_err() {
            self.left = 0;
        }
        Some(item)
    }
}

fn read<M: Message + Default>(bytes: &mut &[u8], message: &'static str) -> Result<M, WireError> {
    let unreadable = |source| WireError::Unreadable { message, source };
    M::decode_length_delimited(bytes).map_err(unreadable)
}
