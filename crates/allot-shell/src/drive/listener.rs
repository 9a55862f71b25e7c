//! The subscriptions of a service, over a connection of their own.
//!
//! Anyone may say anything to a service, and the client library gives up its connection, or itself, over a message
//! whose headers have no form. What is lost with this connection is said again; what the service writes and answers
//! does not notice.

use std::task::{Context, Poll, ready};

use async_nats::{Message, Subscriber};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tracing::warn;

use crate::bus::Bus;
use crate::retry::Backoff;

/// Hears what is said on some subjects.
pub(crate) struct Listener {
    bus: Bus,
    subjects: Vec<String>,
    subscriptions: Vec<Subscriber>,
    /// New subscriptions that are being made, where the ones that there were are gone.
    again: Option<BoxFuture<'static, Vec<Subscriber>>>,
}

impl Listener {
    /// Listens from now on: what is said after this has returned is heard.
    ///
    /// # Errors
    /// Where NATS cannot be reached for long.
    pub(crate) async fn start(bus: &Bus, subjects: Vec<String>) -> anyhow::Result<Self> {
        let subscriptions = subscribe(bus, &subjects).await?;
        Ok(Self { bus: bus.clone(), subjects, subscriptions, again: None })
    }

    /// On how many subjects it listens.
    pub(crate) fn count(&self) -> usize {
        self.subjects.len()
    }

    /// The next message on the subject at this place among them.
    pub(crate) fn poll(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Message> {
        loop {
            if let Some(again) = &mut self.again {
                self.subscriptions = ready!(again.poll_unpin(cx));
                self.again = None;
            }
            let Some(subscription) = self.subscriptions.get_mut(place) else { return Poll::Pending };
            if let Some(message) = ready!(subscription.poll_next_unpin(cx)) {
                return Poll::Ready(message);
            }
            warn!("the connection that listens is lost, making another");
            self.again = Some(subscribe_at_last(self.bus.clone(), self.subjects.clone()).boxed());
        }
    }
}

/// Subscribes over a connection of its own, which lives as long as the subscriptions.
async fn subscribe(bus: &Bus, subjects: &[String]) -> anyhow::Result<Vec<Subscriber>> {
    let listening = bus.another("listening").await?;
    let mut subscriptions = Vec::new();
    for subject in subjects {
        subscriptions.push(listening.client().subscribe(subject.clone()).await?);
    }
    listening.client().flush().await?;
    Ok(subscriptions)
}

/// As [`subscribe`], however long it takes.
async fn subscribe_at_last(bus: Bus, subjects: Vec<String>) -> Vec<Subscriber> {
    let mut backoff = Backoff::endless();
    loop {
        match subscribe(&bus, &subjects).await {
            Ok(subscriptions) => return subscriptions,
            Err(error) => backoff.wait("listen again", &error).await,
        };
    }
}
