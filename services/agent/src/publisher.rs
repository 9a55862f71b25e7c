//! Stores the last of what ended attempts wrote, so that it outlives the agent.
//!
//! What is to be stored stays in the attempts' files until it is: while JetStream is away only the attempts' numbers
//! are in memory.

use std::sync::Arc;
use std::time::Duration;

use allot_bus::{Subject, headers};
use allot_model::AttemptId;
use allot_model::view::LogStream;
use allot_shell::Bus;
use allot_shell::retry::Backoff;
use async_nats::HeaderMap;
use async_nats::connection::State;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel};
use tokio::sync::{Mutex, mpsc::error::TrySendError};
use tokio::task::JoinSet;
use tracing::warn;

use crate::event::Event;
use crate::output::{Chunk, STREAMS, TaskDirs};

/// How much of each output is stored.
pub(crate) const TAIL_BYTES: i64 = 64 << 10;
/// How many attempts' outputs are on their way at a time.
const WORKERS: usize = 8;
/// How many attempts wait for that at most; those beyond are not stored.
const MOST_WAITING: usize = 65_536;
/// How long an answer of JetStream is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes attempts whose output is to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    attempts: Sender<AttemptId>,
}

impl Publisher {
    /// Starts the workers; each attempt whose output they have stored is an event.
    pub(crate) fn start(
        bus: &Bus,
        dirs: &TaskDirs,
        events: &UnboundedSender<Event>,
        beside: &mut JoinSet<()>,
    ) -> Self {
        let (attempts, waiting) = channel(MOST_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..WORKERS {
            let worker = Worker { bus: bus.clone(), dirs: dirs.clone(), events: events.clone() };
            beside.spawn(worker.run(Arc::clone(&waiting)));
        }
        Self { attempts }
    }

    /// Stores the output of an attempt, in its turn.
    pub(crate) fn store(&self, attempt: AttemptId) {
        if let Err(TrySendError::Full(attempt)) = self.attempts.try_send(attempt) {
            warn!(%attempt, "the output is not stored: too many others wait for JetStream");
        }
    }
}

struct Worker {
    bus: Bus,
    dirs: TaskDirs,
    events: UnboundedSender<Event>,
}

impl Worker {
    async fn run(self, waiting: Arc<Mutex<Receiver<AttemptId>>>) {
        loop {
            let next = waiting.lock().await.recv().await;
            let Some(attempt) = next else { return };
            for stream in STREAMS {
                self.store(attempt, stream).await;
            }
            let _ = self.events.send(Event::OutputStored(attempt));
        }
    }

    /// Stores one output, again and again until that succeeds or the file is gone.
    async fn store(&self, attempt: AttemptId, stream: LogStream) {
        let mut backoff = Backoff::endless();
        while let Some(tail) = self.tail(attempt, stream).await {
            let Err(error) = self.publish(attempt, stream, tail).await else { return };
            backoff.wait("store the output of an attempt", &error).await;
        }
    }

    /// The last of an output; nothing where there is none.
    async fn tail(&self, attempt: AttemptId, stream: LogStream) -> Option<Chunk> {
        let dirs = self.dirs.clone();
        let limit = usize::try_from(TAIL_BYTES).unwrap_or(0);
        let read = tokio::task::spawn_blocking(move || dirs.read(attempt, stream, -TAIL_BYTES, limit));
        read.await.ok()?.ok().filter(|tail| tail.size > 0)
    }

    async fn publish(&self, attempt: AttemptId, stream: LogStream, tail: Chunk) -> Result<(), String> {
        // What is published without a connection would pile up in memory.
        if self.bus.client().connection_state() != State::Connected {
            return Err("not connected".to_owned());
        }
        let subject = Subject::Output(attempt, stream).to_string();
        let sent = self.bus.jetstream().publish_with_headers(subject, tail_headers(&tail), tail.bytes.into());
        let acknowledged =
            async { sent.await.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string()) };
        let answer = tokio::time::timeout(PATIENCE, acknowledged).await;
        answer.map_err(|_| "no answer from JetStream".to_owned())?.map(drop)
    }
}

/// Where a part of an output belongs.
pub(crate) fn tail_headers(chunk: &Chunk) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(headers::ALLOT_OFFSET, chunk.offset.to_string());
    map.insert(headers::ALLOT_SIZE, chunk.size.to_string());
    map
}
