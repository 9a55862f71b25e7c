//! Protobuf messages.

use std::fmt::Debug;

use allot_model::{Batch, Beat, Feed, FromAllocator, Hello, JobSpec, OrderBatch, ReportBatch, Welcome};
use allot_proto::{Wire, batch_epoch};

/// A byte that says which message, and the message.
pub fn wire(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 9 {
        0 => batch(bytes),
        1 => comes_back::<Beat>(bytes),
        2 => comes_back::<Feed>(bytes),
        3 => comes_back::<FromAllocator>(bytes),
        4 => hello(bytes),
        5 => comes_back::<JobSpec>(bytes),
        6 => comes_back::<OrderBatch>(bytes),
        7 => comes_back::<ReportBatch>(bytes),
        _ => comes_back::<Welcome>(bytes),
    }
}

fn comes_back<M: Wire + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    let written = message.encode();
    let again = M::decode(&written).expect("what was written is read");
    assert_eq!(again, message);
    assert_eq!(again.encode(), written, "equal messages have equal bytes");
}

fn batch(bytes: &[u8]) {
    comes_back::<Batch>(bytes);
    let epoch = batch_epoch(bytes);
    if let Ok(batch) = Batch::decode(bytes) {
        assert_eq!(epoch, Ok(batch.epoch));
    }
}

fn hello(bytes: &[u8]) {
    comes_back::<Hello>(bytes);
    if let Ok(hello) = Hello::decode(bytes) {
        let _ = hello.facts.check();
    }
}
