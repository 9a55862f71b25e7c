//! Looking into the ledger.

use allot_bus::Stream;
use allot_model::ledger::{Batch, Entry};
use allot_shell::ledger::reader::StreamReader;
use allot_shell::{Bus, ledger};

/// Everything that the ledger holds now, append by append.
///
/// # Errors
/// Where it cannot be read.
pub async fn batches(bus: &Bus) -> anyhow::Result<Vec<Batch>> {
    let mut stream = bus.jetstream().get_stream(Stream::Ledger.name()).await?;
    let end = stream.info().await?.state.last_sequence;
    let mut reader = StreamReader::open(bus, Stream::Ledger, 1).await?;
    let mut all = Vec::new();
    while reader.next_sequence() <= end {
        let message = reader.next().await?.message;
        all.extend(ledger::read(message.headers.as_ref(), &message.payload)?);
    }
    Ok(all)
}

/// All records that the ledger holds now, in order.
///
/// # Errors
/// Where it cannot be read.
pub async fn entries(bus: &Bus) -> anyhow::Result<Vec<Entry>> {
    Ok(batches(bus).await?.into_iter().flat_map(|batch| batch.entries).collect())
}
