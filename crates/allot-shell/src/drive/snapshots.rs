//! Taking snapshots while a service runs.

use std::time::Duration;

use allot_model::{SnapshotHead, Time};
use allot_writer::Schedule;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::timeout;
use tracing::{info, warn};

use super::sources::Sources;
use super::{Driver, appended};
use crate::bus::Bus;
use crate::clock;
use crate::service::LedgerService;
use crate::shutdown::Shutdown;
use crate::snapshot::{SnapshotConfig, Store, trim};

/// How long a service may take until all that it decided is durable and has come back. Where that takes longer, the
/// snapshot is put off.
const SETTLES_WITHIN: Duration = Duration::from_millis(500);

/// When a snapshot is due, and the one that is being saved.
pub(super) struct Snapshots {
    bus: Bus,
    config: SnapshotConfig,
    schedule: Schedule,
    /// Records that were decided and have not come back from the ledger.
    unread: usize,
    saving: Option<BoxFuture<'static, Result<(), String>>>,
}

impl Snapshots {
    pub(super) fn new(bus: Bus, config: SnapshotConfig, records: u64) -> Self {
        let schedule = Schedule::new(config, clock::now(), records);
        Self { bus, config, schedule, unread: 0, saving: None }
    }

    /// A record was decided.
    pub(super) fn wrote(&mut self) {
        self.unread += 1;
    }

    /// Records of others were read.
    pub(super) fn read(&mut self, records: usize) {
        self.schedule.note(records);
    }

    /// What this service wrote has come back.
    pub(super) fn read_own(&mut self) {
        self.schedule.note(std::mem::take(&mut self.unread));
    }

    /// When one is due, and what for.
    pub(super) fn due(&self) -> Option<(Time, &'static str)> {
        self.schedule.due().map(|due| (due, "a snapshot is due"))
    }

    /// Waits until the one that is being saved is; forever where none is.
    pub(super) async fn saving(&mut self) -> Result<(), String> {
        match &mut self.saving {
            Some(saving) => saving.await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn saved(&mut self, outcome: Result<(), String>) {
        self.saving = None;
        self.schedule.saved();
        if let Err(error) = outcome {
            warn!(error, "a snapshot could not be saved; the ledger is kept meanwhile");
        }
    }

    fn save(&mut self, head: SnapshotHead, bytes: Bytes) {
        let (bus, config) = (self.bus.clone(), self.config);
        let save = async move {
            let store = Store::open(&bus).await?;
            store.save(&head, bytes).await?;
            trim(&bus, &store, &config, clock::now()).await
        };
        self.saving = Some(save.boxed());
    }
}

impl<S: LedgerService> Driver<S> {
    /// True where a snapshot is due and may be taken: all that was decided is durable, and everything is read that stands
    /// in the ledger before the last of it. Then the state is what the ledger amounts to up to there, for whoever reads it in
    /// order. Until then nothing but the ledger is read.
    pub(super) async fn settles_for_snapshot(
        &mut self,
        sources: &mut Sources,
        shutdown: &Shutdown,
    ) -> anyhow::Result<bool> {
        if self.snapshots.due().is_none_or(|(due, _)| due > clock::now()) {
            return Ok(false);
        }
        let settled = tokio::select! {
            settled = timeout(SETTLES_WITHIN, self.settle(sources)) => settled,
            () = shutdown.wait() => return Ok(false),
        };
        match settled {
            Ok(settled) => settled.map(|()| true),
            Err(_) => {
                self.snapshots.schedule.put_off(clock::now());
                Ok(false)
            }
        }
    }

    async fn settle(&mut self, sources: &mut Sources) -> anyhow::Result<()> {
        while !self.outbox.is_empty() || sources.ledger_position().0 < self.last {
            tokio::select! {
                outcome = appended(&mut self.appending) => self.on_appended(outcome)?,
                delivered = sources.next_of_ledger() => {
                    self.on_ledger(&delivered?)?;
                    self.start_append();
                }
            }
        }
        Ok(())
    }

    /// Takes a snapshot, and begins to save it.
    pub(super) fn take_snapshot(&mut self, sources: &Sources) {
        let (head, bytes) = self.snapshot(sources);
        self.snapshots.save(head, bytes);
        // The last message of each writer stays in the ledger: it is not to hold up the trimming of all before it.
        if self.last <= head.ledger_sequence {
            self.outbox.append_nothing();
            self.start_append();
        }
    }

    fn snapshot(&mut self, sources: &Sources) -> (SnapshotHead, Bytes) {
        let now = clock::now();
        let (ledger_sequence, ledger_at) = sources.ledger_position();
        let head = SnapshotHead {
            writer: S::WRITER,
            epoch: self.epoch,
            ledger_sequence,
            ledger_at,
            own_sequence: self.last,
            inbox_sequence: S::inbox_from(&self.core).map_or(0, |from| from - 1),
            taken_at: now,
            items: 0,
        };
        let mut parts = 0;
        let items = S::snapshot(&self.core).inspect(|_| parts += 1);
        let bytes = allot_proto::encode_snapshot(&head, items);
        self.snapshots.schedule.taken(now, parts);
        let took = clock::now().since(now);
        info!(ledger_sequence, parts, bytes = bytes.len(), %took, "took a snapshot");
        (head, bytes.into())
    }
}
