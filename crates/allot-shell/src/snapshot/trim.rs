//! Removing what no service needs any more from the ledger and the inbox.

use allot_bus::{Stream, Subject};
use allot_model::Time;
use allot_model::ledger::Writer;
use tracing::debug;

use super::{KEPT, Saved, SnapshotConfig, Store};
use crate::bus::Bus;
use crate::ledger::stored;

/// Removes from the ledger what lies before the second snapshot of every writer and is older than `keep_ledger`, and from
/// the inbox what the dispatcher had decided on by then. The last message of each writer stays: the next one is written
/// as the one that follows it.
///
/// # Errors
/// What JetStream says.
pub(crate) async fn trim(bus: &Bus, store: &Store, config: &SnapshotConfig, now: Time) -> Result<(), String> {
    let Some(Needed { mut ledger_from, inbox_from }) = needed(&store.list().await?) else { return Ok(()) };
    for writer in Writer::ALL {
        let last = stored::last(bus, Stream::Ledger, &Subject::Ledger(writer).to_string()).await?;
        ledger_from = ledger_from.min(last.map_or(0, |last| last.sequence));
    }
    let before = Time::from_micros(now.as_micros().saturating_sub(config.keep_ledger.as_micros()));
    ledger_from = older_than(bus, before, ledger_from).await?;
    purge(bus, Stream::Ledger, ledger_from).await?;
    purge(bus, Stream::Inbox, inbox_from).await
}

/// The first messages that are still needed.
#[derive(Debug, PartialEq, Eq)]
struct Needed {
    ledger_from: u64,
    inbox_from: u64,
}

/// Nothing where a writer has no snapshot to fall back on yet: all of the ledger is needed then. The message that a
/// snapshot ends with is kept, to tell that the snapshot is of this ledger.
fn needed(saved: &[Saved]) -> Option<Needed> {
    let oldest = |writer| saved.iter().filter(move |saved| saved.writer == writer).nth(KEPT - 1);
    let all = Writer::ALL.map(oldest);
    let ledger_from = all.iter().map(|saved| saved.map_or(0, |saved| saved.ledger_sequence)).min()?;
    let inbox_from = oldest(Writer::Dispatcher)?.inbox_sequence + 1;
    (ledger_from > 0).then_some(Needed { ledger_from, inbox_from })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(writer: Writer, ledger_sequence: u64, inbox_sequence: u64) -> Saved {
        Saved { name: String::new(), writer, ledger_sequence, inbox_sequence }
    }

    #[test]
    fn what_every_writer_could_fall_back_on_stays() {
        let all = [
            saved(Writer::Registry, 90, 0),
            saved(Writer::Registry, 80, 0),
            saved(Writer::Offers, 95, 0),
            saved(Writer::Offers, 40, 0),
            saved(Writer::Dispatcher, 99, 30),
            saved(Writer::Dispatcher, 70, 20),
        ];
        assert_eq!(needed(&all), Some(Needed { ledger_from: 40, inbox_from: 21 }));
        assert_eq!(needed(&all[..5]), None, "the dispatcher has one only");
        assert_eq!(needed(&[]), None);
    }
}
