//! What runs on the bus: a state machine that hears and acts.

use std::sync::Arc;

use allot_agent_core::{JournalEntry, ProcessId, Signal};
use allot_dispatcher_core::Submission;
use allot_model::{AttemptId, Launch, SnapshotHead, Time};

use crate::marks::Mark;
use crate::message::{Message, NodeId, Party, To};
use crate::streams::{Fate, Lease, Ledger, Publication, Stored};
use crate::writer::Rebuilt;

/// Something that a process is told.
#[derive(Debug, Clone)]
pub(crate) enum Heard {
    /// A message from another process.
    Message(Party, Arc<Message>),
    /// The next message of the ledger.
    Ledger(Arc<Stored>),
    /// The next message of the inbox.
    Submission(Submission),
    /// What became of an append: its sequence number, or the last message of the subject, which is not the expected one.
    Appended { number: u64, result: Result<u64, u64> },
    /// What the stream says about an append.
    Looked { number: u64, fate: Fate },
    /// What stands in the bucket, and where the ledger ended then: told to all that watch, and to who has written or asked.
    Lease { lease: Lease, end: u64 },
    /// The bucket has taken a snapshot, or could not.
    Saved,
    /// The inbox took a publication, as this job.
    Published { number: u64, job: u64 },
    /// The journal has been written.
    Written,
    /// A process was started.
    Started { attempt: AttemptId, process: ProcessId },
    /// A process could not be started.
    NotStarted { attempt: AttemptId },
    /// A process ended.
    Exited { attempt: AttemptId, exit_code: Option<i32>, signal: Option<i32>, has_output: bool },
    /// The output of an attempt is stored.
    OutputStored { attempt: AttemptId },
    /// The link is there again after it was not.
    Reconnected,
    /// It is to end.
    Stop,
}

/// Something that a process wants done, in order.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Send a message.
    Send(To, Message),
    /// Append to the ledger.
    Append { number: u64, expected: u64, payload: Arc<[u8]> },
    /// Ask what became of an append.
    Look { number: u64, expected: u64, payload: Arc<[u8]> },
    /// Write the lease as the revision after that one: it is held, or given up.
    Lease { expected: u64, holds: bool },
    /// Ask what stands in the bucket.
    LookAtLease,
    /// Save a snapshot.
    Save { head: SnapshotHead, bytes: Arc<[u8]> },
    /// Publish to the inbox.
    Publish { number: u64, publication: Publication },
    /// Write to the journal; [`Heard::Written`] follows.
    Journal(Vec<JournalEntry>),
    /// Write the journal anew, as this.
    Rewrite(Box<JournalEntry>),
    /// Start a process.
    Spawn(AttemptId, Arc<Launch>),
    /// Send a signal to the process of an attempt.
    Signal(AttemptId, Signal),
    /// Take back the processes of these attempts that an earlier process of the agent began, and kill all others.
    TakeBack(Vec<AttemptId>),
    /// End: another is the writer, or the work is done.
    End(Ending),
    /// Something rare was seen.
    Saw(Mark),
}

/// Why a process ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Another instance took over.
    Fenced,
    /// The ledger was trimmed before this one had read it.
    LeftBehind,
    /// Others kept taking over.
    Contended,
    /// It was told to, and is done.
    Stopped,
}

/// A process.
pub(crate) trait Process {
    /// Begins.
    fn boot(&mut self, now: Time, acts: &mut Vec<Act>);

    /// Is told something.
    fn hear(&mut self, now: Time, heard: Heard, acts: &mut Vec<Act>);

    /// Does what is due.
    fn wake(&mut self, now: Time, acts: &mut Vec<Act>);

    /// When something is due next.
    fn next_wake(&self) -> Option<Time>;

    /// Panics where its parts do not agree.
    fn sanity_check(&self) {}

    /// Whether it is the writer of its subject, as far as it knows.
    fn leads(&self) -> bool {
        false
    }

    /// The first message of the ledger that it has not seen, where it reads the ledger.
    fn reads_ledger(&self) -> Option<u64> {
        None
    }

    /// The first message of the inbox that it has not seen, where it reads the inbox.
    fn reads_inbox(&self) -> Option<u64> {
        None
    }

    /// What is different from what the ledger amounts to.
    ///
    /// # Errors
    /// Where anything is.
    fn compare(&self, _ledger: &Ledger, _rebuilt: &mut Rebuilt, _now: Time) -> Result<(), String> {
        Ok(())
    }

    /// What is still under way where nothing should be.
    ///
    /// # Errors
    /// Where anything is.
    fn at_rest(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Which process of the cluster a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Registry,
    Offers,
    Dispatcher,
    Allocator,
    Adversary,
    Agent,
    User,
}

impl Role {
    /// True for the services that write to the ledger.
    pub(crate) fn is_writer(self) -> bool {
        matches!(self, Self::Registry | Self::Offers | Self::Dispatcher)
    }
}

/// Names a node.
pub(crate) fn name_of(role: Role, node: NodeId) -> String {
    format!("{role:?}-{}", node.0).to_lowercase()
}
