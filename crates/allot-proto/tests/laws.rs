//! What holds for every message.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "helpers of tests are tests")]

mod strategies;

use std::fmt::Debug;
use std::sync::Arc;

use allot_model::job_file::JobFile;
use allot_model::{
    AgentOrder, Batch, Beat, Feed, FromAllocator, Hello, JobSpec, OrderBatch, ReportBatch, SnapshotHead,
    StateItem, Welcome,
};
use allot_proto::{SnapshotReader, Wire, decode_submission};
use proptest::collection::vec;
use proptest::prelude::*;
use strategies::{agent, job, ledger, pool};

fn comes_back<M: Wire + PartialEq + Debug>(message: &M) -> Result<(), TestCaseError> {
    let bytes = message.encode();
    prop_assert_eq!(&M::decode(&bytes).unwrap(), message);
    prop_assert_eq!(M::decode(&bytes).unwrap().encode(), bytes);
    Ok(())
}

/// Reads bytes as every message there is.
fn decode_as_everything(bytes: &[u8]) {
    let _ = Batch::decode(bytes);
    let _ = Beat::decode(bytes);
    let _ = Feed::decode(bytes);
    let _ = FromAllocator::decode(bytes);
    let _ = Hello::decode(bytes);
    let _ = JobSpec::decode(bytes);
    let _ = OrderBatch::decode(bytes);
    let _ = ReportBatch::decode(bytes);
    let _ = Welcome::decode(bytes);
    let _ = SnapshotHead::decode(bytes);
    let _ = StateItem::decode(bytes);
    let _ = SnapshotReader::new(bytes).map(|reader| reader.count());
    let _ = decode_submission(bytes, None);
    let _ = decode_submission(bytes, Some("application/protobuf"));
}

/// A message with some of its bytes changed, and cut short.
fn damaged(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)], end: prop::sample::Index) -> Vec<u8> {
    bytes.truncate(end.index(bytes.len() + 1));
    for (place, byte) in changes {
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was(message in ledger::batch()) {
        comes_back(&message)?;
    }

    #[test]
    fn orders_come_back_as_they_were(message in agent::orders()) {
        comes_back(&message)?;
    }

    #[test]
    fn equal_orders_have_equal_bytes_whatever_they_share_in_memory(message in agent::orders()) {
        let mut apart = message.clone();
        for order in &mut apart.orders {
            if let AgentOrder::Launch(launch) = order {
                launch.spec = Arc::new(JobSpec::clone(&launch.spec));
            }
        }
        prop_assert_eq!(apart.encode(), message.encode());
    }

    #[test]
    fn reports_come_back_as_they_were(message in agent::reports()) {
        comes_back(&message)?;
    }

    #[test]
    fn hello_welcome_and_beat_come_back_as_they_were(
        hello in agent::hello(), welcome in agent::welcome(), beat in agent::beat()
    ) {
        comes_back(&hello)?;
        comes_back(&welcome)?;
        comes_back(&beat)?;
    }

    #[test]
    fn a_feed_comes_back_as_it_was(message in pool::feed()) {
        comes_back(&message)?;
    }

    #[test]
    fn what_an_allocator_says_comes_back_as_it_was(message in pool::said()) {
        comes_back(&message)?;
    }

    #[test]
    fn a_spec_comes_back_as_it_was(message in job::spec()) {
        comes_back(&message)?;
    }

    #[test]
    fn a_job_in_protobuf_is_read_as_the_same_job_in_json(spec in prop_oneof![job::spec(), job::good_spec()]) {
        let in_json = JobFile::from_json(&spec.to_json());
        prop_assert_eq!(decode_submission(&spec.encode(), Some("application/protobuf")), in_json);
    }

    #[test]
    fn a_good_job_in_protobuf_is_admitted_as_it_is(spec in job::good_spec()) {
        let read = decode_submission(&spec.encode(), None).unwrap();
        prop_assert_eq!(read, JobFile { queue: None, spec });
    }

    #[test]
    fn arbitrary_bytes_are_never_too_much(bytes in vec(any::<u8>(), 0..200)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn damaged_messages_are_never_too_much(
        batch in ledger::batch(), orders in agent::orders(), feed in pool::feed(),
        changes in vec(any::<(prop::sample::Index, u8)>(), 0..4), end in any::<prop::sample::Index>()
    ) {
        for bytes in [batch.encode(), orders.encode(), feed.encode()] {
            decode_as_everything(&damaged(bytes, &changes, end));
        }
    }
}
