//! Sending messages without ever making the caller wait.

use std::collections::VecDeque;

use allot_model::view::RefusalKind;
use allot_writer::Weigh;
use async_nats::client::PublishErrorKind;
use async_nats::{Client, HeaderMap, PublishError};
use bytes::Bytes;
use futures::FutureExt;
use tokio::task::unconstrained;
use tracing::{debug, error};

use crate::message::refusal;

/// A message that may leave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) payload: Bytes,
    /// True for an answer: someone waits for it, so that it is worth saying why it cannot be given.
    pub(crate) is_reply: bool,
}

impl Weigh for Outgoing {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.payload.len()
    }
}

/// What leaves a service: messages over its own connection, answers over the one that the questions came over.
#[derive(Debug)]
pub(crate) struct Publishers {
    pub(crate) messages: Publisher,
    pub(crate) answers: Publisher,
}

impl Publishers {
    /// Sends the message, or keeps it until its connection takes more.
    pub(crate) fn send(&mut self, message: Outgoing) {
        if message.is_reply { self.answers.send(message) } else { self.messages.send(message) }
    }

    /// How much waits for a connection.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.messages.backlog_bytes + self.answers.backlog_bytes
    }

    /// Waits until a connection takes one more of those that wait; forever where none does.
    pub(crate) async fn work_off(&mut self) {
        tokio::select! {
            () = self.messages.work_off() => {}
            () = self.answers.work_off() => {}
        }
    }

    /// Sends all that waits and sees it out of the process.
    pub(crate) async fn flush(&mut self) {
        tokio::join!(self.messages.flush(), self.answers.flush());
    }
}

/// Hands messages to the connection in order. Those that it does not take at once wait here.
#[derive(Debug)]
pub(crate) struct Publisher {
    client: Client,
    backlog: VecDeque<Outgoing>,
    backlog_bytes: usize,
}

impl Publisher {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, backlog: VecDeque::new(), backlog_bytes: 0 }
    }

    /// Sends the message, or keeps it until the connection takes more.
    pub(crate) fn send(&mut self, message: Outgoing) {
        if self.backlog.is_empty() && self.sent_at_once(&message) {
            return;
        }
        self.backlog_bytes += message.size_bytes();
        self.backlog.push_back(message);
    }

    fn sent_at_once(&self, message: &Outgoing) -> bool {
        let attempt = unconstrained(publish(&self.client, message.clone())).now_or_never();
        attempt.map(|outcome| self.note(message, outcome)).is_some()
    }

    /// Waits until the connection takes one more of those that wait; forever where none does.
    pub(crate) async fn work_off(&mut self) {
        let Some(message) = self.backlog.front() else { return std::future::pending().await };
        let outcome = publish(&self.client, message.clone()).await;
        if let Some(message) = self.backlog.pop_front() {
            self.backlog_bytes -= message.size_bytes();
            self.note(&message, outcome);
        }
    }

    /// Sends all that waits and sees it out of the process.
    pub(crate) async fn flush(&mut self) {
        while !self.backlog.is_empty() {
            self.work_off().await;
        }
        if let Err(error) = self.client.flush().await {
            debug!(%error, "cannot flush the connection");
        }
    }

    fn note(&self, message: &Outgoing, outcome: Result<(), PublishError>) {
        let Err(failure) = outcome else { return };
        let bytes = message.payload.len();
        error!(subject = message.subject, bytes, error = %failure, "a message could not be sent");
        if message.is_reply && failure.kind() == PublishErrorKind::MaxPayloadExceeded {
            self.refuse(message);
        }
    }

    /// Tells who waits for an answer that it would be too large.
    fn refuse(&self, message: &Outgoing) {
        let most = self.client.max_payload();
        let text = format!(
            "the answer has {} bytes, more than the {most} that NATS carries: ask for less at a time",
            message.payload.len()
        );
        let payload = refusal(RefusalKind::Invalid, text).into();
        // Where the connection takes nothing just now, the asker's own timeout tells the same.
        let _ = self.client.publish(message.subject.clone(), payload).now_or_never();
    }
}

async fn publish(client: &Client, message: Outgoing) -> Result<(), PublishError> {
    match message.headers {
        Some(headers) => client.publish_with_headers(message.subject, headers, message.payload).await,
        None => client.publish(message.subject, message.payload).await,
    }
}
