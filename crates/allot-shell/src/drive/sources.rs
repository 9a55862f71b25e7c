//! Everything that a service hears, taken in turn so that a flood of one kind does not drown the others.

use std::future::poll_fn;
use std::task::{Context, Poll};

use allot_model::Time;
use async_nats::{Client, Message};
use futures::FutureExt;
use tokio::task::unconstrained;

use super::listener::{Listened, Listener};
use crate::ledger::inbox::{InboxReader, Submitted};
use crate::ledger::reader::{Delivered, StreamReader};
use crate::standing::StandingCell;

/// How many messages are taken from one source before the next has its turn.
const TURN: usize = 64;

/// A message, by where it came from.
#[derive(Debug)]
pub(crate) enum Heard {
    /// From the ledger.
    Ledger(Delivered),
    /// From the inbox.
    Inbox(Submitted),
    /// From a subscription.
    Message(Message),
    /// Nothing: there is another connection for answers.
    Listening(Client),
}

impl From<Listened> for Heard {
    fn from(listened: Listened) -> Self {
        match listened {
            Listened::Message(message) => Self::Message(message),
            Listened::Again(client) => Self::Listening(client),
        }
    }
}

/// The ledger, the inbox where it is read, and the subscriptions.
pub(crate) struct Sources {
    ledger: StreamReader,
    inbox: Option<InboxReader>,
    listener: Listener,
    standing: StandingCell,
    turn: usize,
    taken: usize,
}

/// The places of the ledger and the inbox in the order of turns; subscriptions follow.
const LEDGER: usize = 0;
const INBOX: usize = 1;
const FIRST_SUBSCRIPTION: usize = 2;

impl Sources {
    pub(crate) fn new(
        ledger: StreamReader,
        inbox: Option<InboxReader>,
        listener: Listener,
        standing: StandingCell,
    ) -> Self {
        Self { ledger, inbox, listener, standing, turn: LEDGER, taken: 0 }
    }

    /// The last message of the ledger that was taken from here, and when the ledger took it.
    pub(crate) fn ledger_position(&self) -> (u64, Time) {
        (self.ledger.next_sequence() - 1, self.ledger.last_at())
    }

    /// Waits for the next message of the ledger.
    pub(crate) async fn next_of_ledger(&mut self) -> anyhow::Result<Delivered> {
        let delivered = self.ledger.next().await?;
        self.standing.has_read(delivered.sequence);
        Ok(delivered)
    }

    /// Waits for the next message; one of the inbox only where `with_inbox` says so.
    pub(crate) async fn next(&mut self, with_inbox: bool) -> anyhow::Result<Heard> {
        poll_fn(|cx| self.poll_next(cx, with_inbox)).await
    }

    /// The next message, if one is there.
    pub(crate) fn ready(&mut self, with_inbox: bool) -> Option<anyhow::Result<Heard>> {
        unconstrained(self.next(with_inbox)).now_or_never()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, with_inbox: bool) -> Poll<anyhow::Result<Heard>> {
        let count = FIRST_SUBSCRIPTION + self.listener.count();
        if self.taken >= TURN {
            self.pass_on(count);
        }
        for _ in 0..count {
            if let Poll::Ready(heard) = self.poll_source(self.turn, cx, with_inbox) {
                self.taken += 1;
                return Poll::Ready(heard);
            }
            self.pass_on(count);
        }
        Poll::Pending
    }

    fn pass_on(&mut self, count: usize) {
        self.turn = (self.turn + 1) % count;
        self.taken = 0;
    }

    fn poll_source(
        &mut self,
        place: usize,
        cx: &mut Context<'_>,
        with_inbox: bool,
    ) -> Poll<anyhow::Result<Heard>> {
        match (place, &mut self.inbox) {
            (LEDGER, _) => self.ledger.poll_next(cx).map_ok(|delivered| {
                self.standing.has_read(delivered.sequence);
                Heard::Ledger(delivered)
            }),
            (INBOX, Some(inbox)) if with_inbox => inbox.poll_next(cx).map(|found| Ok(Heard::Inbox(found))),
            (INBOX, _) => Poll::Pending,
            _ => self.listener.poll(place - FIRST_SUBSCRIPTION, cx).map(|heard| Ok(heard.into())),
        }
    }
}
