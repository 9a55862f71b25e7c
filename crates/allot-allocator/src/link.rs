//! The two subjects of a pool, as an allocator sees them.

use allot_bus::Subject;
use allot_model::{AllocatorMessage, Feed, FromAllocator, InstanceId, PoolName, Presence};
use allot_proto::{Wire, WireError};
use allot_shell::Bus;
use async_nats::{Client, Message, StatusCode, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::task::unconstrained;

/// Messages in one publication at most.
const MOST_MESSAGES: usize = 500;
/// Bytes in one publication at most, unless a single message has more. NATS takes 1 MiB.
const MOST_BYTES: usize = 512 << 10;

/// The connection of one allocator to its pool.
pub(crate) struct Link {
    client: Client,
    me: InstanceId,
    grants: String,
    inbox: String,
    /// What all allocators of the pool are told.
    feed: Subscriber,
    /// What this one is told in answer to its hello.
    answers: Subscriber,
}

/// What was heard.
pub(crate) type Heard = Result<Feed, WireError>;

impl Link {
    /// Subscribes. The feed comes before any hello, so that nothing is missed between the answer and what follows.
    pub(crate) async fn open(bus: &Bus, pool: &PoolName, me: InstanceId) -> anyhow::Result<Self> {
        let client = bus.client().clone();
        let inbox = client.new_inbox();
        let feed = client.subscribe(Subject::PoolOffers(pool.clone()).to_string()).await?;
        let answers = client.subscribe(inbox.clone()).await?;
        let grants = Subject::PoolGrants(pool.clone()).to_string();
        Ok(Self { client, me, grants, inbox, feed, answers })
    }

    /// The next message of either subject; nothing once the connection is closed for good.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        loop {
            let message = tokio::select! {
                message = self.feed.next() => message,
                message = self.answers.next() => message,
            };
            if let Some(heard) = read(&message?) {
                return Some(heard);
            }
        }
    }

    /// A message that is there already.
    pub(crate) fn ready(&mut self) -> Option<Heard> {
        unconstrained(self.next()).now_or_never().flatten()
    }

    /// Asks for a full account.
    pub(crate) async fn hello(&self, presence: Presence) -> anyhow::Result<()> {
        let payload = self.signed(vec![AllocatorMessage::Hello(presence)]).encode();
        let (to, reply) = (self.grants.clone(), self.inbox.clone());
        Ok(self.client.publish_with_reply(to, reply, payload.into()).await?)
    }

    /// Tells the offers service, in as few publications as NATS takes.
    pub(crate) async fn say(&self, mut messages: Vec<AllocatorMessage>) -> anyhow::Result<()> {
        while !messages.is_empty() {
            let rest = messages.split_off(messages.len().min(MOST_MESSAGES));
            for payload in self.in_parts(messages) {
                self.client.publish(self.grants.clone(), payload.into()).await?;
            }
            messages = rest;
        }
        Ok(())
    }

    /// Says goodbye, so that another may take over at once.
    pub(crate) async fn goodbye(&self) -> anyhow::Result<()> {
        self.say(vec![AllocatorMessage::Goodbye]).await?;
        Ok(self.client.flush().await?)
    }

    fn signed(&self, messages: Vec<AllocatorMessage>) -> FromAllocator {
        FromAllocator { instance: self.me.clone(), messages }
    }

    fn in_parts(&self, mut messages: Vec<AllocatorMessage>) -> Vec<Vec<u8>> {
        let half = messages.len() / 2;
        let whole = self.signed(messages.clone()).encode();
        if whole.len() <= MOST_BYTES || half == 0 {
            return vec![whole];
        }
        let second = messages.split_off(half);
        [messages, second].into_iter().flat_map(|part| self.in_parts(part)).collect()
    }
}

/// Nothing where it only says that the offers service is not there.
fn read(message: &Message) -> Option<Heard> {
    (message.status != Some(StatusCode::NO_RESPONDERS)).then(|| Feed::decode(&message.payload))
}
