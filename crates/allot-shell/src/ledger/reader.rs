//! Reading a stream in order and without gaps, through restarts of the server.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use allot_bus::Stream;
use allot_model::Time;
use anyhow::Context as _;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig, OrderedErrorKind};
use async_nats::jetstream::message::Message;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::stored;
use crate::bus::Bus;
use crate::retry::{Backoff, retry};
use crate::streams::{Made, made as made_at};

/// How often it is looked whether messages are there, where none come.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many times it is looked before a ledger that is shorter than what was read of it counts as another one.
const MOST_LOOKS: u32 = 10;
/// How long an answer to that is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

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

/// Messages of the ledger that were to be read are not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("messages {from} to {to} of the ledger are gone: restore the stream from a backup")]
pub(crate) struct Gap {
    /// The first of them.
    pub(crate) from: u64,
    /// The last of them.
    pub(crate) to: u64,
}

/// The ledger is not the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger is another one than {read} messages were read of here, and has {last}: its store was lost or put back from a \
     backup; stop all services and agents, and begin as docs/operations.md says under Backing up"
)]
pub(crate) struct Replaced {
    /// How many messages were read.
    pub(crate) read: u64,
    /// The number of the last message that there is.
    pub(crate) last: u64,
}

/// A reader of a stream: of all of it from some sequence number on, or of what is newest on one subject.
pub struct StreamReader {
    bus: Bus,
    stream: Stream,
    /// The subject of which only the newest is wanted; nothing where all is.
    newest_of: Option<String>,
    next: u64,
    /// When the stream was made, where that matters.
    made: Option<Made>,
    /// When the stream took the last message that was read.
    last_at: Time,
    consumer: Consumer,
    reconnected: BoxFuture<'static, ()>,
    quiet: Quiet,
}

/// What the messages come from.
enum Consumer {
    /// It is being set up on the server.
    Opening(BoxFuture<'static, anyhow::Result<Ordered>>),
    /// It delivers.
    Open(Box<Ordered>),
}

impl StreamReader {
    /// A reader whose first message is the one with this sequence number, or the first after it that there is.
    ///
    /// # Errors
    /// Where JetStream does not answer for long.
    pub async fn open(bus: &Bus, stream: Stream, from: u64) -> anyhow::Result<Self> {
        Self::open_as(bus, stream, None, from.max(1)).await
    }

    /// A reader whose first message is the last one on the subject, if there is one, followed by every later one. What
    /// comes while it is interrupted may be passed over, but for the last.
    ///
    /// # Errors
    /// Where JetStream does not answer for long.
    pub async fn latest(bus: &Bus, stream: Stream, subject: &str) -> anyhow::Result<Self> {
        Self::open_as(bus, stream, Some(subject.to_owned()), 1).await
    }

    async fn open_as(
        bus: &Bus,
        stream: Stream,
        newest_of: Option<String>,
        next: u64,
    ) -> anyhow::Result<Self> {
        let reconnected = bus.reconnected().boxed();
        let ordered = retry("read a stream", || consume(bus, stream, newest_of.as_deref(), next)).await;
        let ordered = ordered.with_context(|| format!("cannot read {}", stream.name()))?;
        let made = if newest_of.is_none() && stream == Stream::Ledger {
            is_the_same(bus, next, None).await?
        } else {
            None
        };
        let consumer = Consumer::Open(Box::new(ordered));
        Ok(Self {
            bus: bus.clone(),
            stream,
            newest_of,
            next,
            made,
            last_at: Time::ZERO,
            consumer,
            reconnected,
            quiet: Quiet::new(),
        })
    }

    /// The sequence number that the next message has, unless messages were deleted.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// When the stream took the last message that was read.
    pub(crate) fn last_at(&self) -> Time {
        self.last_at
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
            let ordered = ready!(self.poll_open(cx))?;
            let Poll::Ready(next) = ordered.poll_next_unpin(cx) else {
                ready!(self.poll_quiet(cx));
                continue;
            };
            match next {
                Some(Ok(message)) => match self.accept(message)? {
                    Some(delivered) => return Poll::Ready(Ok(delivered)),
                    None => continue,
                },
                Some(Err(error)) if error.kind() == OrderedErrorKind::MissingHeartbeat => {
                    debug!(stream = self.stream.name(), "the server has gone quiet, asking it again");
                    self.open_anew();
                }
                Some(Err(error)) => {
                    warn!(stream = self.stream.name(), %error, "reading was interrupted, going on");
                    self.open_anew();
                }
                None => return Poll::Ready(Err(anyhow::anyhow!("the connection to NATS was closed"))),
            }
        }
    }

    /// The consumer, once there is one. After a reconnect it is made anew at once: the client's own way of finding
    /// out that it is gone takes many seconds.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<anyhow::Result<&mut Ordered>> {
        while self.reconnected.poll_unpin(cx).is_ready() {
            self.reconnected = self.bus.reconnected().boxed();
            self.open_anew();
        }
        if let Consumer::Opening(opening) = &mut self.consumer {
            self.consumer = Consumer::Open(Box::new(ready!(opening.poll_unpin(cx))?));
        }
        match &mut self.consumer {
            Consumer::Open(ordered) => Poll::Ready(Ok(ordered)),
            Consumer::Opening(_) => Poll::Pending,
        }
    }

    /// Ready, and reading anew, once messages are there that do not come. A consumer lives on one server of a cluster; the
    /// client's own way of finding out that this one is gone takes many seconds.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.newest_of.is_some() {
            // Who wants the newest only looks for itself.
            return Poll::Pending;
        }
        let (bus, stream, next) = (self.bus.clone(), self.stream, self.next);
        ready!(self.quiet.poll_missed(cx, next, || is_there(bus.clone(), stream, next).boxed()));
        debug!(stream = stream.name(), next, "messages are there that do not come, reading anew");
        self.open_anew();
        Poll::Ready(())
    }

    fn open_anew(&mut self) {
        let (bus, stream, newest_of) = (self.bus.clone(), self.stream, self.newest_of.clone());
        let opening = consume_at_last(bus, stream, newest_of, self.next, self.made);
        self.consumer = Consumer::Opening(opening.boxed());
    }

    /// The message, unless it has been seen: a consumer that is made anew before it has delivered anything begins
    /// with the first message of the stream.
    fn accept(&mut self, message: Message) -> anyhow::Result<Option<Delivered>> {
        let info = message.info().map_err(anyhow::Error::from_boxed)?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        if self.newest_of.is_none() {
            if sequence < self.next {
                return Ok(None);
            }
            self.check_gap(sequence)?;
        }
        let published_us = u64::try_from(info.published.unix_timestamp_nanos() / 1_000).unwrap_or(0);
        self.next = sequence + 1;
        self.last_at = Time::from_micros(published_us);
        Ok(Some(Delivered { sequence, pending, published_at: self.last_at, message: message.message }))
    }

    /// Messages of the inbox and of outputs may be deleted; a hole in the ledger would make another state of it.
    fn check_gap(&self, sequence: u64) -> anyhow::Result<()> {
        if sequence == self.next || self.stream != Stream::Ledger {
            return Ok(());
        }
        if self.next > 1 {
            return Err(Gap { from: self.next, to: sequence - 1 }.into());
        }
        warn!(
            first = sequence,
            "the ledger does not begin with its first message: what was before is not known"
        );
        Ok(())
    }
}

/// True where the stream has this message or a later one.
async fn is_there(bus: Bus, stream: Stream, from: u64) -> bool {
    let pattern = stream.kind().pattern();
    let asked = tokio::time::timeout(ANSWER_WITHIN, stored::first(&bus, stream, &pattern, from)).await;
    matches!(asked, Ok(Ok(Some(_))))
}

/// Notices that nothing comes though something is there.
struct Quiet {
    ticks: Interval,
    asking: Option<BoxFuture<'static, bool>>,
    /// The message that was waited for at the last look, where it was there.
    missed: Option<u64>,
}

impl Quiet {
    fn new() -> Self {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, asking: None, missed: None }
    }

    /// Ready once two looks in a row have found that message `next` is there and has not come.
    fn poll_missed(
        &mut self,
        cx: &mut Context<'_>,
        next: u64,
        mut look: impl FnMut() -> BoxFuture<'static, bool>,
    ) -> Poll<()> {
        loop {
            if let Some(asking) = &mut self.asking {
                let is_there = ready!(asking.poll_unpin(cx));
                self.asking = None;
                let again = self.missed == Some(next);
                self.missed = is_there.then_some(next);
                if is_there && again {
                    self.missed = None;
                    return Poll::Ready(());
                }
            }
            ready!(self.ticks.poll_tick(cx));
            self.asking = Some(look());
        }
    }
}

/// Sets up a consumer, however long it takes; fails only where the client has given up for good.
async fn consume_at_last(
    bus: Bus,
    stream: Stream,
    newest_of: Option<String>,
    from: u64,
    made: Option<Made>,
) -> anyhow::Result<Ordered> {
    let mut backoff = Backoff::endless();
    loop {
        match consume(&bus, stream, newest_of.as_deref(), from).await {
            Ok(ordered) if newest_of.is_none() && stream == Stream::Ledger => {
                is_the_same(&bus, from, made).await?;
                return Ok(ordered);
            }
            Ok(ordered) => return Ok(ordered),
            Err(error) if !bus.is_alive().await => return Err(error),
            Err(error) => backoff.wait("read a stream on", &error).await,
        };
    }
}

/// Sees to it that the ledger is the one that was made then, if that is known, and has what was read of it: all before
/// `from`. A server of a cluster that has just come to lead may know a little less for a while. Returns when it was made.
///
/// # Errors
/// [`Replaced`].
async fn is_the_same(bus: &Bus, from: u64, made: Option<Made>) -> Result<Option<Made>, Replaced> {
    let mut looks = 0;
    loop {
        let Ok(stream) = bus.jetstream().get_stream(Stream::Ledger.name()).await else { return Ok(made) };
        let info = stream.cached_info();
        let (read, last) = (from - 1, info.state.last_sequence);
        let found = made_at(&stream);
        let is_another = made.is_some_and(|made| made != found);
        if last >= read && !is_another {
            return Ok(Some(found));
        }
        looks += 1;
        if looks == MOST_LOOKS || is_another {
            return Err(Replaced { read, last });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn consume(bus: &Bus, stream: Stream, newest_of: Option<&str>, from: u64) -> anyhow::Result<Ordered> {
    let config = OrderedConfig {
        deliver_subject: bus.client().new_inbox(),
        deliver_policy: match newest_of {
            Some(_) => DeliverPolicy::LastPerSubject,
            None => DeliverPolicy::ByStartSequence { start_sequence: from },
        },
        filter_subject: newest_of.unwrap_or_default().to_owned(),
        ..OrderedConfig::default()
    };
    let consumer = bus.jetstream().create_consumer_on_stream(config, stream.name()).await?;
    Ok(consumer.messages().await?)
}
