//! The streams of the bus: what they have taken they keep, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_dispatcher_core::Submission;
use allot_model::{Batch, JobId, JobSpec, QueueName, Rejection, Span, Time, Writer};
use allot_proto::Wire;

use crate::message::Party;

/// For how long the inbox knows a `Nats-Msg-Id` again: shorter than in life, so that it ends.
const DUPLICATE_WINDOW: Span = Span::from_secs(15);

/// A message of the ledger.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    /// When the stream took it.
    pub(crate) at: Time,
    pub(crate) batch: Batch,
    pub(crate) payload: Arc<[u8]>,
}

/// What became of an append whose acknowledgement did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there, at this sequence number.
    Stored(u64),
    /// It is not, nor is anything else new.
    Missing(u64),
    /// Something else is, at this sequence number.
    Replaced(u64),
}

/// The ledger: one subject a writer. What was trimmed is still there for who checks, and for nobody else.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    messages: Vec<Arc<Stored>>,
    /// The first message that was not trimmed.
    first: u64,
}

impl Ledger {
    /// The sequence number of the last message, 0 where there is none.
    pub(crate) fn end(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The messages from this sequence number on.
    pub(crate) fn from(&self, sequence: u64) -> &[Arc<Stored>] {
        let start = usize::try_from(sequence.saturating_sub(1)).unwrap_or(usize::MAX);
        self.messages.get(start..).unwrap_or_default()
    }

    /// What a reader is given that wants this message next: the first from there on that was not trimmed.
    pub(crate) fn read(&self, sequence: u64) -> Option<&Arc<Stored>> {
        self.from(sequence.max(self.first)).first()
    }

    /// The first message that was not trimmed.
    pub(crate) fn first(&self) -> u64 {
        self.first.max(1)
    }

    /// Removes what is before this message and older than that.
    pub(crate) fn trim(&mut self, from: u64, before: Time) {
        let old = self.messages.partition_point(|stored| stored.at < before);
        self.first = self.first.max(from.min(old as u64 + 1));
    }

    /// The last message of a writer's subject, 0 where there is none.
    pub(crate) fn last_of(&self, writer: Writer) -> u64 {
        let mut newest_first = self.from(self.first).iter().rev();
        newest_first.find(|stored| stored.batch.writer == writer).map_or(0, |stored| stored.sequence)
    }

    /// Appends, where `expected` is the last message of the writer's subject.
    ///
    /// # Errors
    /// The last one, where it is another; or that the bytes are no batch.
    pub(crate) fn append(
        &mut self,
        now: Time,
        writer: Writer,
        expected: u64,
        payload: &Arc<[u8]>,
    ) -> Result<Arc<Stored>, u64> {
        let last = self.last_of(writer);
        let Some(batch) = (last == expected).then(|| Batch::decode(payload).ok()).flatten() else {
            return Err(last);
        };
        let sequence = self.end() + 1;
        let stored = Arc::new(Stored { sequence, at: now, batch, payload: payload.clone() });
        self.messages.push(stored.clone());
        Ok(stored)
    }

    /// What follows message `expected` of the subject, for a writer that does not know what became of its append.
    pub(crate) fn fate(&self, writer: Writer, expected: u64, payload: &Arc<[u8]>) -> Fate {
        let next =
            self.from(self.first.max(expected + 1)).iter().find(|stored| stored.batch.writer == writer);
        match next {
            Some(stored) if stored.payload == *payload => Fate::Stored(stored.sequence),
            Some(stored) => Fate::Replaced(stored.sequence),
            None => Fate::Missing(expected),
        }
    }
}

/// How long a lease stands without being renewed.
const LEASE_TTL: Span = Span::from_secs(3);

/// Who tries to be the writer: a key of a bucket, with a time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lease {
    pub(crate) revision: u64,
    pub(crate) holder: Option<Party>,
    written_at: Time,
}

impl Lease {
    /// What stands there now.
    pub(crate) fn at(self, now: Time) -> Self {
        let is_over = now.since(self.written_at) >= LEASE_TTL;
        Self { holder: self.holder.filter(|_| !is_over), ..self }
    }

    /// Writes it as the revision after `expected`; false where something else was written since.
    pub(crate) fn write(&mut self, now: Time, expected: u64, holder: Option<Party>) -> bool {
        let is_next = self.revision == expected;
        if is_next {
            *self = Self { revision: expected + 1, holder, written_at: now };
        }
        is_next
    }
}

/// What a user publishes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publication {
    pub(crate) queue: QueueName,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) message_id: Option<Arc<str>>,
    /// True where it is no job that can be admitted.
    pub(crate) is_bad: bool,
}

/// The inbox.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    submissions: Vec<Submission>,
    /// The first that was not trimmed.
    first: u64,
    known: BTreeMap<Arc<str>, (u64, Time)>,
}

impl Inbox {
    pub(crate) fn end(&self) -> u64 {
        self.submissions.len() as u64
    }

    /// What a reader is given that wants this submission next: the first from there on that was not trimmed.
    pub(crate) fn read(&self, sequence: u64) -> Option<&Submission> {
        let place = usize::try_from(sequence.max(self.first).saturating_sub(1)).ok()?;
        self.submissions.get(place)
    }

    /// Removes what is before this one.
    pub(crate) fn trim(&mut self, from: u64) {
        self.first = self.first.max(from);
    }

    /// Takes a publication, or knows it again; returns its sequence number, and whether it is new.
    pub(crate) fn take(&mut self, now: Time, publication: &Publication) -> (u64, bool) {
        let Publication { queue, spec, message_id, is_bad } = publication.clone();
        let known = message_id.as_ref().and_then(|id| self.known.get(id));
        if let Some((sequence, at)) = known
            && now.since(*at) < DUPLICATE_WINDOW
        {
            return (*sequence, false);
        }
        let sequence = self.end() + 1;
        self.known.extend(message_id.clone().map(|id| (id, (sequence, now))));
        self.submissions.push(Submission {
            job: JobId(sequence),
            queue: queue.as_str().into(),
            submitted_at: now,
            message_id,
            content: if is_bad { Err(rejection()) } else { Ok((queue, spec)) },
        });
        (sequence, true)
    }
}

/// What is wrong with a submission that cannot be read.
fn rejection() -> Rejection {
    Rejection { field: "tasks".to_owned(), message: "nothing is given: write a whole number".to_owned() }
}
