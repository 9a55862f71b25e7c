//! The ledger, read by someone who has no part in it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allot_bus::Stream;
use allot_model::ledger::{Batch, DispatcherRecord, Record};
use allot_shell::ledger::reader::{Delivered, StreamReader};
use allot_shell::{Bus, ledger};
use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The pause before reading is begun again.
const PAUSE: Duration = Duration::from_millis(200);

/// How far the ledger has been read.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The last message.
    sequence: u64,
    /// How many jobs have ended by then.
    ended_jobs: usize,
}

/// Reads along from the beginning, so that it does not matter what is trimmed later.
pub(crate) struct Scribe {
    progress: watch::Receiver<Progress>,
    reading: JoinHandle<()>,
    written: Arc<Mutex<Vec<Batch>>>,
}

impl Scribe {
    /// Reads along from here on, and copies every record to a file, for people.
    pub(crate) fn follow(bus: &Bus, copy: &Path) -> std::io::Result<Self> {
        let mut copy = BufWriter::new(File::create(copy)?);
        let (told, progress) = watch::channel(Progress::default());
        let written = Arc::<Mutex<Vec<Batch>>>::default();
        let (bus, all) = (bus.clone(), written.clone());
        let reading = tokio::spawn(async move {
            while let Err(error) = read(&bus, &all, &mut copy, &told).await {
                eprintln!("reading the ledger was interrupted: {error:#}");
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { progress, reading, written })
    }

    /// Waits until so many jobs have ended.
    pub(crate) fn ended(&self, jobs: usize) -> impl Future<Output = ()> + use<> {
        let mut progress = self.progress.clone();
        async move {
            // Fails only where nobody reads any more, and then nothing is worth waiting for.
            let _ = progress.wait_for(|read| read.ended_jobs >= jobs).await;
        }
    }

    /// All that the ledger held until now.
    pub(crate) async fn until_now(&self, bus: &Bus, patience: Duration) -> anyhow::Result<Vec<Batch>> {
        let end = bus.jetstream().get_stream(Stream::Ledger.name()).await?.cached_info().state.last_sequence;
        let mut progress = self.progress.clone();
        let all = progress.wait_for(|read| read.sequence >= end);
        tokio::time::timeout(patience, all).await.context("the ledger cannot be read to its end")??;
        Ok(std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(
    bus: &Bus,
    all: &Mutex<Vec<Batch>>,
    copy: &mut impl Write,
    progress: &watch::Sender<Progress>,
) -> anyhow::Result<()> {
    let mut read = *progress.borrow();
    let mut reader = StreamReader::open(bus, Stream::Ledger, read.sequence + 1).await?;
    loop {
        let Delivered { sequence, published_at, message, .. } = reader.next().await?;
        if let Some(batch) = ledger::read(message.headers.as_ref(), &message.payload)? {
            for entry in &batch.entries {
                writeln!(copy, "{} {sequence} {} {:?}", published_at.as_micros(), batch.epoch, entry.record)?;
            }
            copy.flush()?;
            read.ended_jobs += batch.entries.iter().filter(|entry| is_end(&entry.record)).count();
            all.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        }
        read.sequence = sequence;
        progress.send_replace(read);
    }
}

fn is_end(record: &Record) -> bool {
    matches!(
        record,
        Record::Dispatcher(DispatcherRecord::JobEnded { .. } | DispatcherRecord::JobRejected { .. })
    )
}
