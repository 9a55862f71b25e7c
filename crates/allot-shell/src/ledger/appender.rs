//! Appending to one subject of the ledger, as its only writer.

use std::future::{Future, IntoFuture};

use allot_bus::{Stream, Subject};
use allot_model::ledger::Writer;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use tracing::{debug, error};

use super::stored::{self, Stored};
use crate::bus::Bus;
use crate::retry::Backoff;

/// Why an append did not happen, and never will.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppendError {
    /// Someone else has written to the subject since.
    #[error("another instance has written to the ledger in our place, its message is number {last}")]
    Fenced {
        /// The last message of the subject.
        last: u64,
    },
    /// The server has lost messages that it had acknowledged.
    #[error(
        "message {expected} of the ledger was acknowledged and is gone, {last} is the last: the server lost data"
    )]
    Lost {
        /// What should be the last message of the subject.
        expected: u64,
        /// What is.
        last: u64,
    },
    /// The message is larger than the server takes.
    #[error("a ledger message of {bytes} bytes is larger than nats-server takes: raise its max_payload")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What became of an append whose acknowledgement did not come.
enum Fate {
    /// It is in the ledger, at this sequence number.
    Stored(u64),
    /// It is not there, nor is anything else new of any writer; this is the last message there.
    Missing(u64),
    /// Not even the message before it is there: this is the last one.
    Lost(u64),
    /// Something else is there, at this sequence number.
    Replaced(u64),
}

/// Appends to the subject of one writer.
#[derive(Debug, Clone)]
pub(crate) struct Appender {
    bus: Bus,
    subject: String,
}

impl Appender {
    pub(crate) fn new(bus: Bus, writer: Writer) -> Self {
        Self { bus, subject: Subject::Ledger(writer).to_string() }
    }

    /// Appends a message as the one that follows message `expected` of this subject (0 where there is none), and
    /// returns its sequence number. Takes as long as it takes: an append is never given up while its fate is unknown.
    pub(crate) async fn append(self, mut expected: u64, payload: Bytes) -> Result<u64, AppendError> {
        let mut backoff = Backoff::endless();
        loop {
            let error = match self.publish(expected, payload.clone()).await {
                Ok(sequence) => return Ok(sequence),
                Err(error) => error,
            };
            if error.kind() == PublishErrorKind::MaxPayloadExceeded {
                return Err(AppendError::TooLarge { bytes: payload.len() });
            }
            debug!(%error, subject = self.subject, "an append was not acknowledged, looking whether it is there");
            match self.fate(expected, &payload).await {
                Fate::Stored(sequence) => return Ok(sequence),
                Fate::Replaced(last) => return Err(AppendError::Fenced { last }),
                Fate::Lost(last) => return Err(AppendError::Lost { expected, last }),
                Fate::Missing(last) => expected = last,
            }
            backoff.wait("append to the ledger", &error).await;
        }
    }

    async fn publish(&self, expected: u64, payload: Bytes) -> Result<u64, PublishError> {
        let message = PublishMessage::build().payload(payload).expected_last_subject_sequence(expected);
        let reconnected = self.bus.reconnected();
        let acknowledgement = self.bus.jetstream().send_publish(self.subject.clone(), message).await?;
        tokio::select! {
            acknowledged = acknowledgement.into_future() => Ok(acknowledged?.sequence),
            () = reconnected => Err(PublishError::new(PublishErrorKind::BrokenPipe)),
        }
    }

    /// Looks what is last on the subject. Only this process writes with this epoch, one append at a time: what
    /// follows `expected` is either exactly our bytes or another writer's, or by someone who is no writer.
    async fn fate(&self, expected: u64, payload: &Bytes) -> Fate {
        let last = self.look(|| stored::last(&self.bus, Stream::Ledger, &self.subject)).await;
        let last = last.map_or(0, |message| message.sequence);
        if last < expected {
            return Fate::Lost(last);
        }
        let mut seen = expected;
        while seen < last {
            let next = self.look(|| stored::first(&self.bus, Stream::Ledger, &self.subject, seen + 1)).await;
            let Some(next) = next else { break };
            if next.payload == *payload {
                return Fate::Stored(next.sequence);
            }
            if !matches!(super::read(Some(&next.headers), &next.payload), Ok(None)) {
                return Fate::Replaced(next.sequence);
            }
            error!(
                sequence = next.sequence,
                subject = self.subject,
                "a message of the ledger is not ours, nor any writer's"
            );
            seen = next.sequence;
        }
        Fate::Missing(seen)
    }

    /// What the stream's leader has, however long the answer takes.
    async fn look<F: Future<Output = Result<Option<Stored>, String>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Option<Stored> {
        let mut backoff = Backoff::endless();
        loop {
            match ask().await {
                Ok(found) => return found,
                Err(error) => backoff.wait("read the end of the ledger", &error).await,
            };
        }
    }
}
