//! The lease of a writer: which of several instances is active, and who is to try when it is not.
//!
//! A key of a bucket that the active instance renews. It decides who tries to become the writer and nothing else: that
//! there is one writer is the doing of the ledger, which refuses every append of one that has been replaced.

mod candidacy;
mod keeper;

use std::time::Duration;

use allot_bus::{Stream, Subject, headers};
use allot_model::ledger::Writer;
use allot_model::{InstanceId, Span, Time};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::bus::Bus;
use crate::ledger::reader::{Delivered, StreamReader};
use crate::ledger::stored;

pub(crate) use candidacy::Candidacy;
pub(crate) use keeper::Keeper;

/// How many renewals may be lost before a standby takes over.
const RENEWALS: u64 = 4;
/// How long an answer about the lease is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it can be read that a lease was given up: the least that the server knows.
const REMOVAL_TTL: Duration = Duration::from_secs(1);

/// How standbys take over. Part of the configuration of every service that writes to the ledger, under `standby`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StandbyConfig {
    /// How long the active instance may be silent before a standby takes its place.
    pub takeover_after: Span,
}

impl Default for StandbyConfig {
    fn default() -> Self {
        Self { takeover_after: Span::from_secs(1) }
    }
}

impl StandbyConfig {
    /// The shortest time that is worth waiting for: renewals go through JetStream.
    const LEAST: Span = Span::from_millis(100);

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Where the time is too short.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.takeover_after >= Self::LEAST,
            "standby.takeover_after = {} is too short: write at least {}",
            self.takeover_after,
            Self::LEAST
        );
        Ok(())
    }
}

/// Who holds a lease, as it stands in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) instance: InstanceId,
    /// Since when it has held it.
    pub(crate) since: Time,
    /// How long it may be silent.
    pub(crate) takeover_after: Span,
}

impl Holder {
    /// How often it renews its lease.
    pub(crate) fn renews_every(&self) -> Duration {
        Duration::from_micros(self.takeover_after.as_micros() / RENEWALS)
    }

    /// When the server removes a lease that is not renewed, in whole seconds as it wants them. Long after standbys have
    /// noticed: it is for the instance that is started where there is none.
    fn ttl(&self) -> Duration {
        Duration::from_secs((3 * self.takeover_after.as_micros()).div_ceil(1_000_000))
    }
}

/// What stands in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// What the next write has to expect: 0 where nothing was ever written, or all of it has expired.
    pub(crate) revision: u64,
    /// Who holds the lease; nothing where it was given up, or cannot be read.
    pub(crate) holder: Option<Holder>,
}

impl Found {
    const NOTHING: Self = Self { revision: 0, holder: None };
}

/// What came of writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It stands there, with this revision.
    At(u64),
    /// Something else was written since.
    Overtaken,
    /// Nobody knows: no answer came.
    Unknown(String),
}

/// The key of one writer.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    bus: Bus,
    subject: String,
}

impl Lease {
    pub(crate) fn of(bus: &Bus, writer: Writer) -> Self {
        Self { bus: bus.clone(), subject: Subject::Lease(writer).to_string() }
    }

    /// What stands there now.
    ///
    /// # Errors
    /// What JetStream says, or that it says nothing.
    pub(crate) async fn look(&self) -> Result<Found, String> {
        let asked = timeout(PATIENCE, stored::last(&self.bus, Stream::Leases, &self.subject)).await;
        let found = asked.map_err(|_| "no answer".to_owned())??;
        Ok(found.map_or(Found::NOTHING, |message| read(message.sequence, &message.payload)))
    }

    /// Everything that is written there from now on, and what stands there now.
    ///
    /// # Errors
    /// Where JetStream does not answer for long.
    pub(crate) async fn watch(&self) -> anyhow::Result<Watch> {
        Ok(Watch(StreamReader::latest(&self.bus, Stream::Leases, &self.subject).await?))
    }

    /// Takes or renews the lease, if nothing was written since that revision.
    pub(crate) async fn take(&self, revision: u64, holder: &Holder) -> Written {
        // A plain update would drop the time to live, so that it goes with every write.
        let payload = serde_json::to_vec(holder).unwrap_or_default();
        self.write(revision, PublishMessage::build().payload(payload.into()).ttl(holder.ttl())).await
    }

    /// Gives the lease up, if nothing was written since that revision.
    pub(crate) async fn give_up(&self, revision: u64) -> Written {
        let removal = PublishMessage::build().header(headers::KV_OPERATION, headers::KV_DELETE);
        self.write(revision, removal.ttl(REMOVAL_TTL)).await
    }

    async fn write(&self, revision: u64, message: PublishMessage) -> Written {
        let message = message.expected_last_subject_sequence(revision);
        let publish = async {
            let sent = self.bus.jetstream().send_publish(self.subject.clone(), message).await?;
            sent.await
        };
        match timeout(PATIENCE, publish).await {
            Ok(Ok(stored)) => Written::At(stored.sequence),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Written::Overtaken,
            Ok(Err(error)) => Written::Unknown(error.to_string()),
            Err(_) => Written::Unknown("no answer".to_owned()),
        }
    }
}

fn read(revision: u64, payload: &[u8]) -> Found {
    Found { revision, holder: serde_json::from_slice(payload).ok() }
}

/// Hears of every write.
pub(crate) struct Watch(StreamReader);

impl Watch {
    /// Waits for the next one.
    ///
    /// # Errors
    /// Where the connection was closed for good.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Found> {
        let Delivered { sequence, message, .. } = self.0.next().await?;
        Ok(read(sequence, &message.payload))
    }
}
