//! Reading the inbox, to which anyone may write anything.
//!
//! The client library gives up its connection, or itself, over a message whose subject is not text or whose headers
//! have no form, and passes over one that looks like a word of the server. A stream gives out such a message again and
//! again. So the inbox is read over a connection of its own, and where that brings nothing for a while it is looked
//! whether something is there: asked for one by one, messages come as data, whatever they hold.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use allot_bus::Stream;
use allot_model::Time;
use async_nats::Message;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::reader::StreamReader;
use super::stored::{self, Stored};
use crate::bus::Bus;
use crate::retry::Backoff;
use crate::streams::Made;

/// How long nothing comes before it is looked whether something is there.
const QUIET: Duration = Duration::from_millis(500);
/// So many times it is looked for messages before it is looked for the inbox itself.
const LOOKS_AT_MESSAGES: u32 = 10;
/// How many messages are asked for one by one before it is tried again to read all.
const MOST_ONE_BY_ONE: usize = 512;

/// A message of the inbox.
#[derive(Debug)]
pub(crate) struct Submitted {
    /// Its place in the inbox.
    pub(crate) sequence: u64,
    /// When the inbox took it.
    pub(crate) published_at: Time,
    /// What is wrong with its headers, which are left out then.
    pub(crate) fault: Option<String>,
    pub(crate) message: Message,
}

/// A reader of the inbox, from some message on.
pub(crate) struct InboxReader {
    /// For questions; what is read comes over another one.
    bus: Bus,
    next: u64,
    /// What was asked for one by one.
    found: VecDeque<Submitted>,
    state: State,
    ticks: Interval,
    /// True where something came since the last tick.
    heard: bool,
    /// How many times in a row there was nothing.
    looks: u32,
    /// When the inbox was made.
    made: Made,
}

enum State {
    Reading(Box<StreamReader>),
    Looking(BoxFuture<'static, Looked>),
}

/// What was found by asking, and a reader for what comes after it.
struct Looked {
    found: Vec<Submitted>,
    reader: Box<StreamReader>,
    /// When the inbox was made.
    made: Made,
}

impl InboxReader {
    /// A reader whose first message is the one with this sequence number, or the first after it that there is.
    ///
    /// # Errors
    /// Where NATS does not answer for long.
    pub(crate) async fn open(bus: &Bus, from: u64, made: Made) -> anyhow::Result<Self> {
        let reader = StreamReader::open(&bus.another("inbox").await?, Stream::Inbox, from).await?;
        let mut ticks = interval(QUIET);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let state = State::Reading(Box::new(reader));
        let next = from.max(1);
        Ok(Self { bus: bus.clone(), next, found: VecDeque::new(), state, ticks, heard: true, looks: 0, made })
    }

    /// The next message, if it is there.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Submitted> {
        loop {
            let submitted = match self.found.pop_front() {
                Some(found) => found,
                None => ready!(self.poll_read(cx)),
            };
            if submitted.sequence >= self.next {
                self.next = submitted.sequence + 1;
                (self.heard, self.looks) = (true, 0);
                return Poll::Ready(submitted);
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Submitted> {
        loop {
            match &mut self.state {
                State::Looking(look) => {
                    let Looked { found, reader, made } = ready!(look.poll_unpin(cx));
                    (self.state, self.made) = (State::Reading(reader), made);
                    self.heard = true;
                    self.found.extend(found);
                    if let Some(first) = self.found.pop_front() {
                        return Poll::Ready(first);
                    }
                }
                State::Reading(reader) => match reader.poll_next(cx) {
                    Poll::Ready(Ok(delivered)) => {
                        let (sequence, published_at) = (delivered.sequence, delivered.published_at);
                        let message = delivered.message;
                        return Poll::Ready(Submitted { sequence, published_at, fault: None, message });
                    }
                    Poll::Ready(Err(error)) => {
                        warn!(%error, "the connection that reads the inbox is lost, making another");
                        self.look(None);
                    }
                    Poll::Pending => ready!(self.poll_quiet(cx)),
                },
            }
        }
    }

    /// Ready, and looking, once nothing has come for a while.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.ticks.poll_tick(cx));
            if !std::mem::take(&mut self.heard) {
                let reading =
                    std::mem::replace(&mut self.state, State::Looking(futures::future::pending().boxed()));
                let State::Reading(reader) = reading else { return Poll::Pending };
                self.look(Some(reader));
                return Poll::Ready(());
            }
        }
    }

    fn look(&mut self, reader: Option<Box<StreamReader>>) {
        self.looks += 1;
        let inbox = Inbox { bus: self.bus.clone(), made: self.made };
        let sees_to_it = self.looks.is_multiple_of(LOOKS_AT_MESSAGES);
        self.state = State::Looking(inbox.look(self.next, reader, sees_to_it).boxed());
    }
}

/// The inbox, as it is asked for what it holds.
struct Inbox {
    bus: Bus,
    made: Made,
}

impl Inbox {
    /// Asks for what is there from `next` on. Where there is something that `reader` did not bring, or no reader any more,
    /// another one is made behind it. Where `sees_to_it`, an inbox that was lost is made anew first.
    async fn look(mut self, mut next: u64, reader: Option<Box<StreamReader>>, sees_to_it: bool) -> Looked {
        let made = self.made;
        if sees_to_it {
            self.see_to_it(next).await;
        }
        let mut found = Vec::new();
        while found.len() < MOST_ONE_BY_ONE
            && let Some(submitted) = self.stored(next).await
        {
            next = submitted.sequence + 1;
            found.push(submitted);
        }
        let reader = match reader {
            Some(reader) if found.is_empty() && self.made == made => reader,
            _ => {
                debug!(found = found.len(), next, "reading the inbox anew");
                Box::new(read_at_last(&self.bus, next).await)
            }
        };
        Looked { found, reader, made: self.made }
    }

    /// Has an inbox that was lost made anew.
    async fn see_to_it(&mut self, from: u64) {
        match self.bus.ensure_inbox(from, Some(self.made)).await {
            Ok(made) => self.made = made,
            Err(error) => debug!(error, "the inbox cannot be looked at"),
        }
    }

    /// The message with this sequence number, or the first one after it, if there is one; however long it takes.
    async fn stored(&mut self, from: u64) -> Option<Submitted> {
        let mut backoff = Backoff::endless();
        let pattern = Stream::Inbox.kind().pattern();
        loop {
            match stored::first(&self.bus, Stream::Inbox, &pattern, from).await {
                Ok(found) => return found.map(Submitted::from),
                Err(error) => {
                    self.see_to_it(from).await;
                    backoff.wait("look into the inbox", &error).await
                }
            };
        }
    }
}

/// A reader over a connection of its own, however long it takes.
async fn read_at_last(bus: &Bus, from: u64) -> StreamReader {
    let mut backoff = Backoff::endless();
    loop {
        let opened = async { StreamReader::open(&bus.another("inbox").await?, Stream::Inbox, from).await };
        match opened.await {
            Ok(reader) => return reader,
            Err(error) => backoff.wait("read the inbox anew", &error).await,
        };
    }
}

impl From<Stored> for Submitted {
    fn from(stored: Stored) -> Self {
        let Stored { sequence, published_at, subject, headers, fault, payload } = stored;
        let (reply, status, description, length) = (None, None, None, payload.len());
        let (subject, headers) = (subject.as_str().into(), Some(headers));
        let message = Message { subject, reply, payload, headers, status, description, length };
        Self { sequence, published_at, fault, message }
    }
}
