//! Who holds a cluster still while the events of an instant happen: an allocator that grants nothing, and lets another
//! one decide when all of them are known.

use std::time::Duration;

use allot_bus::Subject;
use allot_model::view::{Done, PolicyUseCommand};
use allot_model::{
    AllocatorMessage, BEAT_EVERY, Feed, FromAllocator, InstanceId, PolicyName, PoolName, Presence, SyncPart,
};
use allot_proto::Wire;
use async_nats::Subscriber;
use futures::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::known::Known;
use crate::client::Client;
use crate::failure::Failure;

/// The policy by which the conductor is chosen.
const POLICY: &str = "scenario";
/// How long what should happen at once may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many beats of the allocator that decides have to come, after nothing more has happened, until it has nothing more
/// to say: the first may have been on its way before it knew of the last thing that happened.
const QUIET_BEATS: u32 = 2;

/// The conductor of a scenario.
pub(super) struct Conductor {
    client: Client,
    me: InstanceId,
    policy: PolicyName,
    /// What all allocators are told.
    feed: Subscriber,
    /// What all allocators say.
    said: Subscriber,
    /// Beats on its own, so that nobody takes over while something else takes long.
    beating: JoinHandle<()>,
    /// What is known of the pool.
    pub(super) known: Known,
}

impl Conductor {
    /// Joins the allocators of the pool, and learns everything.
    ///
    /// # Errors
    /// Where the offers service does not answer.
    pub(super) async fn join(client: &Client) -> Result<Self, Failure> {
        let nats = client.bus().client();
        let pool = PoolName::default_pool();
        let subscribe = async |subject: Subject| nats.subscribe(subject.to_string()).await;
        let feed = subscribe(Subject::PoolOffers(pool.clone())).await.map_err(Failure::internal)?;
        let said = subscribe(Subject::PoolGrants(pool)).await.map_err(Failure::internal)?;
        let me = allot_shell::instance_id();
        let policy: PolicyName = POLICY.parse().map_err(Failure::internal)?;
        let beat = signed(&me, AllocatorMessage::Beat(Presence::of(policy.clone())));
        let mut conductor = Self {
            client: client.clone(),
            me,
            policy,
            feed,
            said,
            beating: tokio::spawn(beat_on(nats.clone(), beat)),
            known: Known::default(),
        };
        conductor.ask().await?;
        Ok(conductor)
    }

    /// Says hello and takes the account.
    async fn ask(&mut self) -> Result<(), Failure> {
        let nats = self.client.bus().client().clone();
        let inbox = nats.new_inbox();
        let mut answers = nats.subscribe(inbox.clone()).await.map_err(Failure::internal)?;
        let hello = signed(&self.me, AllocatorMessage::Hello(Presence::of(self.policy.clone())));
        nats.publish_with_reply(grants(), inbox, hello.into()).await.map_err(Failure::internal)?;
        loop {
            let part = timeout(PATIENCE, answers.next()).await.ok().flatten();
            let part = part.filter(|part| part.status.is_none()).ok_or_else(|| {
                Failure::Unreachable("the offers service does not answer: `allot doctor` tells more".into())
            })?;
            let part = Feed::decode(&part.payload).map_err(Failure::internal)?;
            let is_last = matches!(part.sync, Some(SyncPart::Last | SyncPart::Only));
            self.known.learn(part);
            if is_last {
                return Ok(());
            }
        }
    }

    /// From now on nobody grants anything.
    ///
    /// # Errors
    /// As [`Conductor::until`].
    pub(super) async fn hold(&mut self) -> Result<(), Failure> {
        let me = self.me.clone();
        self.choose(&self.policy.clone()).await?;
        self.until("the scenario decides", |known| known.decides(&me)).await
    }

    /// Lets an allocator of this policy decide until it has nothing more to say, and all that it said was answered.
    ///
    /// # Errors
    /// As [`Conductor::until`].
    pub(super) async fn let_decide(&mut self, policy: &PolicyName) -> Result<(), Failure> {
        let me = self.me.clone();
        self.choose(policy).await?;
        self.until(&format!("an allocator of policy {policy} decides"), |known| !known.decides(&me)).await?;
        self.known.beats = 0;
        self.until(&format!("{policy} has nothing more to grant"), |known| known.beats >= QUIET_BEATS).await
    }

    /// Chooses a policy.
    ///
    /// # Errors
    /// Where the offers service refuses or does not answer.
    pub(super) async fn choose(&mut self, policy: &PolicyName) -> Result<(), Failure> {
        let command = PolicyUseCommand { policy: policy.clone() };
        let subject = Subject::PoolUse(PoolName::default_pool());
        let client = self.client.clone();
        let asked = client.ask::<Done>(&subject, &command);
        // What is heard meanwhile waits in the subscriptions.
        asked.await.map(drop)
    }

    /// Follows until what is known is so.
    ///
    /// # Errors
    /// Where it is not after half a minute, or the feed is interrupted.
    pub(super) async fn until(&mut self, what: &str, so: impl Fn(&Known) -> bool) -> Result<(), Failure> {
        let follows = async {
            while !so(&self.known) {
                self.step().await?;
            }
            Ok(())
        };
        timeout(PATIENCE, follows).await.unwrap_or_else(|_| {
            Err(Failure::failed(format!("after {} s still not so: {what}", PATIENCE.as_secs())))
        })
    }

    /// Takes whatever comes next.
    async fn step(&mut self) -> Result<(), Failure> {
        // A grant is heard before its answer: it came over the connection first.
        tokio::select! {
            biased;
            message = self.said.next() => {
                let message = message.ok_or_else(interrupted)?;
                // What cannot be read is nothing to the offers service either.
                if let Ok(said) = FromAllocator::decode(&message.payload) {
                    self.known.overhear(&said);
                }
            }
            message = self.feed.next() => {
                let message = message.ok_or_else(interrupted)?;
                let feed = Feed::decode(&message.payload).map_err(Failure::internal)?;
                if !self.known.hear(feed) {
                    return Err(interrupted());
                }
            }
        }
        Ok(())
    }

    /// Leaves the allocators.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(super) async fn leave(&self) -> Result<(), Failure> {
        self.beating.abort();
        let nats = self.client.bus().client();
        let goodbye = signed(&self.me, AllocatorMessage::Goodbye);
        nats.publish(grants(), goodbye.into()).await.map_err(Failure::internal)?;
        nats.flush().await.map_err(Failure::internal)
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

async fn beat_on(nats: async_nats::Client, beat: Vec<u8>) {
    let mut due = interval(BEAT_EVERY.to_std());
    loop {
        due.tick().await;
        if nats.publish(grants(), beat.clone().into()).await.is_err() {
            return;
        }
    }
}

fn signed(me: &InstanceId, message: AllocatorMessage) -> Vec<u8> {
    FromAllocator { instance: me.clone(), messages: vec![message] }.encode()
}

fn grants() -> String {
    Subject::PoolGrants(PoolName::default_pool()).to_string()
}

fn interrupted() -> Failure {
    Failure::failed("the feed of the offers service was interrupted: run the scenario again")
}
