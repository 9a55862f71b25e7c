//! The subscriptions of a service, over a connection of their own.
//!
//! Anyone may say anything to a service, and the client library gives up its connection, or itself, over a message
//! whose headers have no form. What is lost with this connection is said again; what the service writes does not notice.
//! Answers leave over it too: where NATS allows a service to answer and nothing else, it does so on the connection that
//! the question came over.

use std::task::{Context, Poll, ready};

use async_nats::{Client, Message, Subscriber};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tracing::warn;

use crate::bus::Bus;
use crate::retry::Backoff;

/// Hears what is said on some subjects.
pub(crate) struct Listener {
    bus: Bus,
    subjects: Vec<String>,
    listening: Listening,
    /// Another connection that is being made, where the one that there was is gone.
    again: Option<BoxFuture<'static, Listening>>,
}

/// A connection, and the subscriptions that live as long as it does.
struct Listening {
    client: Client,
    subscriptions: Vec<Subscriber>,
}

/// What comes of listening.
pub(crate) enum Listened {
    /// A message.
    Message(Message),
    /// The connection was lost and there is another, over which answers leave from now on.
    Again(Client),
}

impl Listener {
    /// Listens from now on: what is said after this has returned is heard.
    ///
    /// # Errors
    /// Where NATS cannot be reached for long.
    pub(crate) async fn start(bus: &Bus, subjects: Vec<String>) -> anyhow::Result<Self> {
        let listening = listen(bus, &subjects).await?;
        Ok(Self { bus: bus.clone(), subjects, listening, again: None })
    }

    /// What answers leave over.
    pub(crate) fn client(&self) -> &Client {
        &self.listening.client
    }

    /// On how many subjects it listens.
    pub(crate) fn count(&self) -> usize {
        self.subjects.len()
    }

    /// The next message on the subject at this place among them.
    pub(crate) fn poll(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Listened> {
        if self.again.is_none() {
            let Some(subscription) = self.listening.subscriptions.get_mut(place) else {
                return Poll::Pending;
            };
            if let Some(message) = ready!(subscription.poll_next_unpin(cx)) {
                return Poll::Ready(Listened::Message(message));
            }
            warn!("the connection that listens is lost, making another");
        }
        let again =
            self.again.get_or_insert_with(|| listen_at_last(self.bus.clone(), self.subjects.clone()).boxed());
        self.listening = ready!(again.poll_unpin(cx));
        self.again = None;
        Poll::Ready(Listened::Again(self.listening.client.clone()))
    }
}

/// Subscribes over a connection of its own.
async fn listen(bus: &Bus, subjects: &[String]) -> anyhow::Result<Listening> {
    let client = bus.another("listening").await?.client().clone();
    let mut subscriptions = Vec::new();
    for subject in subjects {
        subscriptions.push(client.subscribe(subject.clone()).await?);
    }
    client.flush().await?;
    Ok(Listening { client, subscriptions })
}

/// As [`listen`], however long it takes.
async fn listen_at_last(bus: Bus, subjects: Vec<String>) -> Listening {
    let mut backoff = Backoff::endless();
    loop {
        match listen(&bus, &subjects).await {
            Ok(listening) => return listening,
            Err(error) => backoff.wait("listen again", &error).await,
        };
    }
}
