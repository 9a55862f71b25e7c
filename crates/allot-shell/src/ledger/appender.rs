//! Appending to one subject of the ledger, as its only writer.

use std::cmp::Ordering;
use std::future::IntoFuture;

use allot_bus::{Stream, Subject};
use allot_model::ledger::Writer;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use tracing::debug;

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
    /// It is not there, nor is anything else new.
    Missing,
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
    pub(crate) async fn append(self, expected: u64, payload: Bytes) -> Result<u64, AppendError> {
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
                Fate::Missing => backoff.wait("append to the ledger", &error).await,
            };
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
    /// follows `expected` is either exactly our bytes or another writer's.
    async fn fate(&self, expected: u64, payload: &Bytes) -> Fate {
        let last = self.last().await;
        let sequence = last.as_ref().map_or(0, |message| message.sequence);
        match sequence.cmp(&expected) {
            Ordering::Equal => Fate::Missing,
            Ordering::Less => Fate::Lost(sequence),
            Ordering::Greater if last.is_some_and(|message| message.payload == *payload) => {
                Fate::Stored(sequence)
            }
            Ordering::Greater => Fate::Replaced(sequence),
        }
    }

    /// The last message on the subject, as the stream's leader knows it.
    async fn last(&self) -> Option<StreamMessage> {
        let mut backoff = Backoff::endless();
        loop {
            match self.try_last().await {
                Ok(last) => return last,
                Err(error) => backoff.wait("read the end of the ledger", &error).await,
            };
        }
    }

    async fn try_last(&self) -> anyhow::Result<Option<StreamMessage>> {
        let ledger = self.bus.jetstream().get_stream_no_info(Stream::Ledger.name()).await?;
        match ledger.get_last_raw_message_by_subject(&self.subject).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
