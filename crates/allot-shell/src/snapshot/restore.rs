//! A core from the newest snapshot that can be used.

use allot_bus::Stream;
use allot_model::{Core, Epoch, SnapshotHead};
use allot_proto::SnapshotReader;
use tracing::{info, warn};

use super::{Saved, Store};
use crate::bus::Bus;
use crate::clock;
use crate::ledger::stored;
use crate::retry::retry;
use crate::service::LedgerService;

/// A core, and how far into the ledger it knows everything.
#[derive(Debug)]
pub(crate) struct Restored<C> {
    pub(crate) core: C,
    /// The last message of the ledger that is in it; 0 where none is.
    pub(crate) ledger_sequence: u64,
    /// The last message of the writer's own that is in it.
    pub(crate) own_sequence: u64,
    /// The generation that wrote it.
    pub(crate) epoch: Epoch,
}

/// Reads the newest snapshot that is whole and of this ledger; an empty core where there is none.
///
/// # Errors
/// Where JetStream does not answer for long, or there are snapshots and none can be used though the ledger does not go
/// back to its beginning.
pub(crate) async fn restore<S: LedgerService>(bus: &Bus, service: &S) -> anyhow::Result<Restored<S::Core>> {
    let listed = retry("look for snapshots", || async {
        let store = Store::open(bus).await?;
        let saved = store.list().await?;
        Ok::<_, String>((store, saved))
    });
    let (store, mut saved) = listed.await.map_err(anyhow::Error::msg)?;
    saved.retain(|saved| saved.covers.writer == S::WRITER);
    for saved in &saved {
        match restore_from(bus, service, &store, saved).await {
            Ok(restored) => return Ok(restored),
            Err(why) => {
                warn!(snapshot = saved.name, why, "a snapshot cannot be used, looking for an older one");
            }
        }
    }
    let begins_at = first_of_ledger(bus).await?;
    anyhow::ensure!(
        saved.is_empty() || begins_at <= 1,
        "none of the {} snapshots of the {} can be used, and the ledger begins with message {begins_at}: restore the \
         streams and the bucket of snapshots from a backup",
        saved.len(),
        S::WRITER.as_str(),
    );
    Ok(Restored { core: service.core(), ledger_sequence: 0, own_sequence: 0, epoch: Epoch(0) })
}

async fn restore_from<S: LedgerService>(
    bus: &Bus,
    service: &S,
    store: &Store,
    saved: &Saved,
) -> Result<Restored<S::Core>, String> {
    let started = clock::now();
    let bytes = store.load(&saved.name).await?;
    let reader = SnapshotReader::new(&bytes).map_err(|error| error.to_string())?;
    let head = reader.head();
    is_of_this(bus, &head, saved).await?;
    let (mut core, mut outputs) = (service.core(), Vec::new());
    for item in reader {
        let item = item.map_err(|error| error.to_string())?;
        core.handle(started, S::restore(item), &mut outputs);
        debug_assert!(outputs.is_empty(), "a snapshot has no outputs");
    }
    let took = clock::now().since(started);
    info!(snapshot = saved.name, parts = head.items, bytes = bytes.len(), %took, "read a snapshot");
    let SnapshotHead { ledger_sequence, own_sequence, epoch, .. } = head;
    Ok(Restored { core, ledger_sequence, own_sequence, epoch })
}

/// A ledger that was made anew, or restored from a backup, has other messages at the same places.
async fn is_of_this(bus: &Bus, head: &SnapshotHead, saved: &Saved) -> Result<(), String> {
    if (head.writer, head.ledger_sequence) != (saved.covers.writer, saved.covers.ledger_sequence) {
        return Err("it is not what its name says".to_owned());
    }
    let pattern = Stream::Ledger.kind().pattern();
    let there = stored::first(bus, Stream::Ledger, &pattern, head.ledger_sequence).await?;
    let place = there.map(|there| (there.sequence, there.published_at));
    if place != Some((head.ledger_sequence, head.ledger_at)) {
        return Err("it is of another ledger, or of one that was cut".to_owned());
    }
    Ok(())
}

async fn first_of_ledger(bus: &Bus) -> anyhow::Result<u64> {
    let pattern = Stream::Ledger.kind().pattern();
    let first =
        retry("read the ledger's beginning", || stored::first(bus, Stream::Ledger, &pattern, 1)).await;
    Ok(first.map_err(anyhow::Error::msg)?.map_or(0, |first| first.sequence))
}
