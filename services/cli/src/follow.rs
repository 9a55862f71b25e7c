//! Following the ledger: its batches in order, from any place in it, across interruptions.

use std::time::{Duration, UNIX_EPOCH};

use allot_bus::{Stream, Subject};
use allot_model::{Batch, Epoch, Time, Writer};
use allot_shell::{clock, ledger};
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::failure::Failure;

/// The pause between attempts to follow again after an interruption.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// How many batches are read before they are asked for.
const READ_AHEAD: usize = 64;
/// How many attempts to follow again are made before giving up: 30 seconds of them.
const RETRIES: u32 = 120;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the batch of this number in the ledger, or the first one after it.
    Sequence(u64),
    /// With the first batch appended at this time or later.
    Time(Time),
}

/// A batch and its place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its number in the ledger.
    pub sequence: u64,
    /// How many more were already there when it was sent.
    pub behind: u64,
    /// When the ledger took it, by the clock of its server.
    pub appended_at: Time,
    /// The records.
    pub batch: Batch,
}

/// Batches of the ledger as they come. They are read in a task of their own, so that waiting for the next one can be
/// given up at any moment without losing any.
pub struct Follower {
    batches: mpsc::Receiver<Result<Placed, Failure>>,
    /// How many batches were there when following began.
    waiting: u64,
    /// Ends the reader when it is dropped.
    _reader: JoinSet<()>,
}

impl Client {
    /// The number of the ledger's last batch, 0 where it has none.
    ///
    /// # Errors
    /// Where there is no ledger.
    pub async fn ledger_end(&self) -> Result<u64, Failure> {
        let jetstream = self.bus().jetstream();
        let stream = self.unless_denied(jetstream.get_stream(Stream::Ledger.name())).await;
        let stream = stream.map_err(Failure::Denied)?;
        let missing = |error: &GetStreamError| matches!(error.kind(), GetStreamErrorKind::JetStream(why) if is_missing(&why));
        stream
            .map(|stream| stream.cached_info().state.last_sequence)
            .map_err(|error| no_ledger(&error, missing(&error)))
    }

    /// Follows the ledger, only one writer's part of it where one is named.
    ///
    /// # Errors
    /// Where there is no ledger.
    pub async fn follow(&self, from: From, writer: Option<Writer>) -> Result<Follower, Failure> {
        self.follow_writers(from, writer.map_or_else(|| Writer::ALL.to_vec(), |writer| vec![writer])).await
    }

    /// Follows these writers' parts of the ledger; the server sends nothing else.
    ///
    /// # Errors
    /// Where there is no ledger.
    pub async fn follow_writers(&self, from: From, writers: Vec<Writer>) -> Result<Follower, Failure> {
        let (messages, waiting) = open_soon(self, from, &writers).await?;
        let reader = Reader { client: self.clone(), writers, from, messages };
        let (sender, batches) = mpsc::channel(READ_AHEAD);
        let mut running = JoinSet::new();
        running.spawn(reader.run(sender));
        Ok(Follower { batches, waiting, _reader: running })
    }
}

impl Follower {
    /// How many batches were there to be read when following began.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The next batch, however long it takes to come.
    ///
    /// # Errors
    /// Where the ledger cannot be read for half a minute, or holds what this version of allot does not know.
    pub async fn next(&mut self) -> Result<Placed, Failure> {
        let next = self.batches.recv().await;
        next.unwrap_or_else(|| Err(Failure::failed("the ledger cannot be followed any more")))
    }
}

/// Reads the ledger from a place on, and goes on from there after an interruption.
struct Reader {
    client: Client,
    writers: Vec<Writer>,
    from: From,
    messages: push::Ordered,
}

impl Reader {
    /// Reads until nobody listens, or the ledger cannot be read.
    async fn run(mut self, batches: mpsc::Sender<Result<Placed, Failure>>) {
        loop {
            let next = self.next().await;
            let failed = next.is_err();
            if batches.send(next).await.is_err() || failed {
                return;
            }
        }
    }

    async fn next(&mut self) -> Result<Placed, Failure> {
        loop {
            if let Some(Ok(message)) = self.messages.next().await {
                let placed = read(&message)?;
                self.from = From::Sequence(placed.sequence + 1);
                return Ok(placed);
            }
            self.reopen().await?;
        }
    }

    async fn reopen(&mut self) -> Result<(), Failure> {
        let mut pause = tokio::time::interval(RETRY_EVERY);
        let mut failure = Failure::Unreachable("the connection to the ledger was lost".to_owned());
        for _ in 0..RETRIES {
            pause.tick().await;
            match open(&self.client, self.from, &self.writers).await {
                Ok((messages, _)) => {
                    self.messages = messages;
                    return Ok(());
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Opens it, for a while again where the servers of a cluster may be about to agree who leads the stream.
async fn open_soon(client: &Client, from: From, writers: &[Writer]) -> Result<(push::Ordered, u64), Failure> {
    let since = clock::now();
    loop {
        match open(client, from, writers).await {
            Err(Failure::Unreachable(_)) if client.may_elect(since) => tokio::time::sleep(RETRY_EVERY).await,
            opened => return opened,
        }
    }
}

async fn open(client: &Client, from: From, writers: &[Writer]) -> Result<(push::Ordered, u64), Failure> {
    let config = push::OrderedConfig {
        deliver_subject: client.bus().client().new_inbox(),
        filter_subjects: subjects(writers),
        deliver_policy: policy(from),
        ..push::OrderedConfig::default()
    };
    let jetstream = client.bus().jetstream();
    let created =
        client.unless_denied(jetstream.create_consumer_on_stream(config, Stream::Ledger.name())).await;
    let missing =
        |error: &ConsumerError| matches!(error.kind(), ConsumerErrorKind::JetStream(why) if is_missing(&why));
    let consumer = created.map_err(Failure::Denied)?.map_err(|error| no_ledger(&error, missing(&error)))?;
    let waiting = consumer.cached_info().num_pending;
    let messages = consumer.messages().await.map_err(|error| no_ledger(&error, false))?;
    Ok((messages, waiting))
}

/// What the server is to send: all of it under one pattern, or some writers' parts.
fn subjects(writers: &[Writer]) -> Vec<String> {
    if Writer::ALL.iter().all(|writer| writers.contains(writer)) {
        return vec![Subject::pattern_ledger()];
    }
    writers.iter().map(|writer| Subject::Ledger(*writer).to_string()).collect()
}

fn policy(from: From) -> DeliverPolicy {
    match from {
        From::Sequence(start_sequence) => {
            DeliverPolicy::ByStartSequence { start_sequence: start_sequence.max(1) }
        }
        From::Time(time) => DeliverPolicy::ByStartTime {
            start_time: (UNIX_EPOCH + Duration::from_micros(time.as_micros())).into(),
        },
    }
}

fn read(message: &jetstream::Message) -> Result<Placed, Failure> {
    let info = message.info().map_err(Failure::internal)?;
    let batch = ledger::read(message.headers.as_ref(), &message.payload).map_err(|error| {
        let sequence = info.stream_sequence;
        Failure::failed(format!(
            "entry {sequence} of the ledger is not readable by this version of allot: {error}"
        ))
    })?;
    // What no writer wrote tells nothing, and has its place all the same.
    let writer = Writer::Dispatcher;
    let batch = batch.unwrap_or(Batch { writer, epoch: Epoch(0), entries: Vec::new() });
    let appended_us = u64::try_from(info.published.unix_timestamp_nanos() / 1_000).unwrap_or(0);
    let appended_at = Time::from_micros(appended_us);
    Ok(Placed { sequence: info.stream_sequence, behind: info.pending, appended_at, batch })
}

/// True where JetStream says that there is no such stream.
fn is_missing(why: &jetstream::Error) -> bool {
    why.error_code() == ErrorCode::STREAM_NOT_FOUND
}

fn no_ledger(error: &dyn std::fmt::Display, is_missing: bool) -> Failure {
    let hint = if is_missing { "\nhas a cluster ever run on this NATS server?" } else { "" };
    Failure::Unreachable(format!(
        "the ledger (stream {}) cannot be read: {error}{hint}",
        Stream::Ledger.name()
    ))
}
