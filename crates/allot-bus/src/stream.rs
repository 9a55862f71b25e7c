//! The streams: their subjects, and the settings that correctness rests on.

use allot_model::Span;

use crate::kind::Kind;

/// The object store bucket of the services' snapshots. NATS keeps it as a stream, `OBJ_ALLOT_SNAPSHOTS`.
pub const SNAPSHOTS: &str = "ALLOT_SNAPSHOTS";

/// The durable streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// What users submit. A message's sequence number is the job's id.
    Inbox,
    /// Everything that happened.
    Ledger,
    /// The last of what ended attempts wrote.
    Output,
    /// Which instance of each writer is active: a key-value bucket.
    Leases,
}

/// What a stream does when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// It refuses the new message, so that the publisher knows.
    New,
    /// It forgets the oldest.
    Old,
}

/// A stream's settings. Messages are kept in files, until a limit removes them. What is `None` has no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// The stream's name.
    pub name: &'static str,
    /// What it keeps, for people who list streams.
    pub description: &'static str,
    /// The subjects it stores.
    pub subjects: Vec<String>,
    /// The largest message it takes, headers included.
    pub max_message_bytes: Option<u32>,
    /// The most it keeps of one subject.
    pub max_messages_per_subject: Option<u64>,
    /// The most it keeps in all.
    pub max_bytes: Option<u64>,
    /// How long it keeps a message.
    pub max_age: Option<Span>,
    /// What it does when it is full.
    pub discard: Discard,
    /// How long it knows a message again by its `Nats-Msg-Id`.
    pub duplicate_window: Span,
    /// Whether it takes many messages as one atomic batch.
    pub takes_batches: bool,
    /// Whether a message may say itself after how long it is forgotten.
    pub takes_ttls: bool,
    /// Whether any replica may answer a read. A reader that has to see the newest message needs the leader.
    pub read_from_any_replica: bool,
}

impl Stream {
    /// All streams.
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Ledger, Self::Output, Self::Leases];

    /// The largest submission: a job of [`allot_model::JobSpec::MOST_BYTES`], and 16 KiB for headers. An admitted job has to fit
    /// into one ledger message beside other records, and those are bounded by the server's `max_payload` of 1 MiB.
    pub const MAX_SUBMISSION_BYTES: u32 = (256 + 16) * 1024;

    /// The stream's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbox => "ALLOT_INBOX",
            Self::Ledger => "ALLOT_LEDGER",
            Self::Output => "ALLOT_OUTPUT",
            Self::Leases => "KV_ALLOT_LEASES",
        }
    }

    /// The kind of subject it stores.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Inbox => Kind::Submit,
            Self::Ledger => Kind::Ledger,
            Self::Output => Kind::Output,
            Self::Leases => Kind::Lease,
        }
    }

    /// How it is to be created.
    #[must_use]
    pub fn settings(self) -> StreamSettings {
        let plain = self.unlimited();
        match self {
            Self::Inbox => StreamSettings {
                max_message_bytes: Some(Self::MAX_SUBMISSION_BYTES),
                takes_batches: true,
                ..plain
            },
            Self::Ledger => plain,
            Self::Output => StreamSettings {
                max_messages_per_subject: Some(1),
                max_bytes: Some(1 << 30),
                max_age: Some(Span::from_secs(7 * 24 * 3600)),
                discard: Discard::Old,
                read_from_any_replica: true,
                ..plain
            },
            // In files like all others: a server that restarts forgets a stream in memory, with its sequence numbers.
            Self::Leases => StreamSettings {
                max_message_bytes: Some(4 * 1024),
                max_messages_per_subject: Some(1),
                takes_ttls: true,
                ..plain
            },
        }
    }

    /// A stream that refuses rather than forgets, and is read from its leader.
    fn unlimited(self) -> StreamSettings {
        StreamSettings {
            name: self.name(),
            description: self.description(),
            subjects: vec![self.kind().pattern()],
            max_message_bytes: None,
            max_messages_per_subject: None,
            max_bytes: None,
            max_age: None,
            discard: Discard::New,
            duplicate_window: Span::from_secs(120),
            takes_batches: false,
            takes_ttls: false,
            read_from_any_replica: false,
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Inbox => "submitted jobs; a message's sequence number is the job's id",
            Self::Ledger => "everything that happened, in order",
            Self::Output => "the last 64 KiB of what each ended attempt wrote",
            Self::Leases => "which instance of each service is active; the key-value bucket ALLOT_LEASES",
        }
    }
}
