//! Removing what no service needs any more from the ledger and the inbox.

use allot_bus::{Stream, Subject};
use allot_model::Time;
use allot_model::ledger::Writer;
use allot_writer::{Covered, Needed, needed};
use tracing::debug;

use super::{SnapshotConfig, Store};
use crate::bus::Bus;
use crate::ledger::stored;

/// Removes from the ledger what lies before the second snapshot of every writer and is older than `keep_ledger`, and from
/// the inbox what the dispatcher had decided on by then. The last message of each writer stays: the next one is written
/// as the one that follows it.
///
/// # Errors
/// What JetStream says.
pub(crate) async fn trim(bus: &Bus, store: &Store, config: &SnapshotConfig, now: Time) -> Result<(), String> {
    let mut lasts = [0; Writer::ALL.len()];
    for (last, writer) in lasts.iter_mut().zip(Writer::ALL) {
        let found = stored::last(bus, Stream::Ledger, &Subject::Ledger(writer).to_string()).await?;
        *last = found.map_or(0, |found| found.sequence);
    }
    let saved: Vec<Covered> = store.list().await?.into_iter().map(|saved| saved.covers).collect();
    let Some(Needed { ledger_from, inbox_from }) = needed(&saved, &lasts) else { return Ok(()) };
    let before = Time::from_micros(now.as_micros().saturating_sub(config.keep_ledger.as_micros()));
    let ledger_from = older_than(bus, before, ledger_from).await?;
    purge(bus, Stream::Ledger, ledger_from).await?;
    purge(bus, Stream::Inbox, inbox_from).await
}

/// The first message that is not older than `before`, but `most` at most.
async fn older_than(bus: &Bus, before: Time, most: u64) -> Result<u64, String> {
    let pattern = Stream::Ledger.kind().pattern();
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low) / 2;
        match stored::first(bus, Stream::Ledger, &pattern, middle).await? {
            Some(found) if found.published_at < before => low = found.sequence.min(high - 1) + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Removes all messages before the one with this number.
async fn purge(bus: &Bus, stream: Stream, from: u64) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot trim {}: {error}", stream.name());
    let found = bus.jetstream().get_stream(stream.name()).await.map_err(|error| failed(&error))?;
    if from <= found.cached_info().state.first_sequence {
        return Ok(());
    }
    let purged = found.purge().sequence(from).await.map_err(|error| failed(&error))?;
    debug!(stream = stream.name(), from, removed = purged.purged, "trimmed");
    Ok(())
}
