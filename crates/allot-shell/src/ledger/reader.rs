//! Reading a stream in order and without gaps, through restarts of the server.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use allot_bus::Stream;
use allot_model::Time;
use anyhow::Context as _;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig, OrderedErrorKind};
use async_nats::jetstream::message::Message;
use futures::StreamExt;
use tracing::{debug, warn};

use crate::bus::Bus;
use crate::retry::retry;

/// A message of a stream.
#[derive(Debug)]
pub struct Delivered {
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream took it.
    pub published_at: Time,
    /// How many messages are in the stream after it.
    pub pending: u64,
    /// The message itself.
    pub message: async_nats::Message,
}

/// A reader of a whole stream, from some sequence number on.
pub struct StreamReader {
    stream: Stream,
    next: u64,
    messages: Ordered,
}

impl StreamReader {
    /// A reader whose first message is the one with this sequence number, or the first after it that there is.
    ///
    /// # Errors
    /// Where JetStream does not answer for long.
    pub async fn open(bus: &Bus, stream: Stream, from: u64) -> anyhow::Result<Self> {
        let next = from.max(1);
        let messages = retry("read a stream", || consume(bus, stream, next)).await;
        let messages =
            messages.map_err(anyhow::Error::msg).with_context(|| format!("cannot read {}", stream.name()))?;
        Ok(Self { stream, next, messages })
    }

    /// The sequence number that the next message has, unless messages were deleted.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// Where the connection was closed for good.
    pub async fn next(&mut self) -> anyhow::Result<Delivered> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// Where the connection was closed for good.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<anyhow::Result<Delivered>> {
        loop {
            match ready!(self.messages.poll_next_unpin(cx)) {
                Some(Ok(message)) => match self.accept(message)? {
                    Some(delivered) => return Poll::Ready(Ok(delivered)),
                    None => continue,
                },
                Some(Err(error)) if error.kind() == OrderedErrorKind::MissingHeartbeat => {
                    debug!(stream = self.stream.name(), "the server has gone quiet, asking it again");
                }
                Some(Err(error)) => {
                    warn!(stream = self.stream.name(), %error, "reading was interrupted, going on");
                }
                None => return Poll::Ready(Err(anyhow::anyhow!("the connection to NATS was closed"))),
            }
        }
    }

    /// The message, unless it has been seen: a consumer that is made anew before it has delivered anything begins
    /// with the first message of the stream.
    fn accept(&mut self, message: Message) -> anyhow::Result<Option<Delivered>> {
        let info = message.info().map_err(anyhow::Error::from_boxed)?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        if sequence < self.next {
            return Ok(None);
        }
        self.check_gap(sequence)?;
        let published_us = u64::try_from(info.published.unix_timestamp_nanos() / 1_000).unwrap_or(0);
        self.next = sequence + 1;
        Ok(Some(Delivered {
            sequence,
            pending,
            published_at: Time::from_micros(published_us),
            message: message.message,
        }))
    }

    /// Messages of the inbox and of outputs may be deleted; a hole in the ledger would make another state of it.
    fn check_gap(&self, sequence: u64) -> anyhow::Result<()> {
        if sequence == self.next || self.stream != Stream::Ledger {
            return Ok(());
        }
        if self.next > 1 {
            let (from, to) = (self.next, sequence - 1);
            anyhow::bail!("messages {from} to {to} of the ledger are gone: restore the stream from a backup");
        }
        warn!(
            first = sequence,
            "the ledger does not begin with its first message: what was before is not known"
        );
        Ok(())
    }
}

async fn consume(bus: &Bus, stream: Stream, from: u64) -> Result<Ordered, String> {
    let config = OrderedConfig {
        deliver_subject: bus.client().new_inbox(),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        ..OrderedConfig::default()
    };
    let consumer =
        bus.jetstream().create_consumer_on_stream(config, stream.name()).await.map_err(|e| e.to_string())?;
    consumer.messages().await.map_err(|error| error.to_string())
}
