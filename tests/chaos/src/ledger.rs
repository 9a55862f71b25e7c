//! The ledger, read by someone who has no part in it.

use allot_bus::Stream;
use allot_model::ledger::Batch;
use allot_shell::ledger::reader::StreamReader;
use allot_shell::{Bus, ledger};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Reads along from the beginning, so that it does not matter what is trimmed later.
pub(crate) struct Scribe {
    read_up_to: watch::Receiver<u64>,
    reading: JoinHandle<()>,
    written: std::sync::Arc<std::sync::Mutex<Vec<Batch>>>,
}

impl Scribe {
    /// Reads along from here on.
    pub(crate) fn follow(bus: &Bus) -> Self {
        let (progress, read_up_to) = watch::channel(0);
        let written = std::sync::Arc::<std::sync::Mutex<Vec<Batch>>>::default();
        let (bus, all) = (bus.clone(), written.clone());
        let reading = tokio::spawn(async move {
            while let Err(error) = read(&bus, &all, &progress).await {
                eprintln!("reading the ledger was interrupted: {error:#}");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        });
        Self { read_up_to, reading, written }
    }

    /// All that the ledger held until now.
    pub(crate) async fn until_now(mut self, bus: &Bus) -> anyhow::Result<Vec<Batch>> {
        let mut stream = bus.jetstream().get_stream(Stream::Ledger.name()).await?;
        let end = stream.info().await?.state.last_sequence;
        self.read_up_to.wait_for(|sequence| *sequence >= end).await?;
        self.reading.abort();
        Ok(std::mem::take(&mut *self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }
}

async fn read(
    bus: &Bus,
    all: &std::sync::Mutex<Vec<Batch>>,
    progress: &watch::Sender<u64>,
) -> anyhow::Result<()> {
    let from = *progress.borrow() + 1;
    let mut reader = StreamReader::open(bus, Stream::Ledger, from).await?;
    loop {
        let delivered = reader.next().await?;
        let batches = ledger::read(delivered.message.headers.as_ref(), &delivered.message.payload)?;
        all.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(batches);
        progress.send_replace(delivered.sequence);
    }
}
