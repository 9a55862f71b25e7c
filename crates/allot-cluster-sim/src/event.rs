//! What is going to happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use allot_model::{AgentFacts, AttemptId, SnapshotHead, Time};
use allot_writer::Needed;
use slab::Slab;

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

/// What is going to happen: the earlier first, then in the order of being planned.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// When, which of all that was planned, and where in `events` it stands: a heap moves these about, and not the events.
    heap: BinaryHeap<Reverse<(Time, u64, usize)>>,
    events: Slab<Event>,
    planned: u64,
}

impl Agenda {
    pub(crate) fn plan(&mut self, at: Time, event: Event) {
        self.planned += 1;
        let place = self.events.insert(event);
        self.heap.push(Reverse((at, self.planned, place)));
    }

    /// The next event and when it is due.
    pub(crate) fn next(&mut self) -> Option<(Time, Event)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        Some((at, self.events.remove(place)))
    }
}
