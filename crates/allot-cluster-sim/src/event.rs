//! What is going to happen.

use std::cmp::Ordering;
use std::sync::Arc;

use allot_model::{AgentFacts, AttemptId, SnapshotHead, Time};
use allot_writer::Needed;

use crate::message::{NodeId, Party};
use crate::process::Heard;
use crate::streams::Publication;

/// What happens at some time.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A process is told something.
    Tell(Party, Heard),
    /// A process is woken, unless another time was agreed on since.
    Wake(Party, u64),
    /// A process reads on in the streams.
    Read(Party),
    /// An append reaches the bus.
    Append { from: Party, number: u64, expected: u64, payload: Arc<[u8]> },
    /// A question about an append reaches the bus.
    Look { from: Party, number: u64, expected: u64, payload: Arc<[u8]> },
    /// The bucket of leases is asked, or told.
    Lease { from: Party, written: Option<(u64, bool)> },
    /// A snapshot reaches the bucket.
    Save { from: Party, head: SnapshotHead, bytes: Arc<[u8]> },
    /// The streams are trimmed.
    Trim(Needed),
    /// A publication reaches the inbox.
    Publish { from: Party, number: u64, publication: Publication },
    /// A process begins another life.
    Boot(NodeId),
    /// A disk has taken what was written.
    Disk(Party),
    /// Something happens to the process of an attempt, if it is still that one.
    Process { node: NodeId, attempt: AttemptId, number: u64, deed: Deed },
    /// Somebody says to be the agent of this machine.
    Stranger { node: NodeId, facts: Arc<AgentFacts> },
    /// Something breaks.
    Fault(Fault),
    /// Nobody reaches the bus for a while.
    Outage,
    /// Services are compared with what the ledger amounts to.
    Compare,
    /// Faults stop.
    Heal,
    /// Machines that were declared gone come back as others.
    Revive,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Start,
    End { exit_code: Option<i32>, signal: Option<i32> },
    Stored,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Cut,
    Crash,
    Agent,
    Disk,
}

/// An event in the queue: the earlier first, then in the order of being planned.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) at: Time,
    pub(crate) order: u64,
    pub(crate) event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    /// The greatest is the next: a heap gives that out first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}
