//! The start of a writer's life: replay the ledger, then become the writer of its subject.

use allot_bus::{Stream, Subject};
use allot_model::ledger::{Batch, Entry, Record, Writer, WriterStarted};
use allot_model::{Core, Epoch, InstanceId};
use allot_proto::Wire;
use anyhow::Context;
use bytes::Bytes;
use tracing::{debug, error, info};

use super::replaced;
use crate::bus::Bus;
use crate::clock;
use crate::ledger;
use crate::ledger::appender::{AppendError, Appender};
use crate::ledger::reader::{Delivered, StreamReader};
use crate::retry::retry;
use crate::service::{LedgerService, Output};
use crate::snapshot::Restored;
use crate::standing::StandingCell;

/// How often it is tried again where another instance has written in between: the one that is being replaced may be at
/// it still.
const TRIES: usize = 10;

/// What a writer has once it has taken over.
pub(crate) struct Lead {
    /// Reads on from where the replay ended.
    pub(crate) ledger: StreamReader,
    pub(crate) appender: Appender,
    pub(crate) epoch: Epoch,
    /// The last message of the writer's subject.
    pub(crate) last: u64,
    /// How many records were read since the snapshot that the core began with.
    pub(crate) records: u64,
}

/// The ledger as far as it has been read.
pub(crate) struct Replay<'a, S: LedgerService> {
    core: &'a mut S::Core,
    pub(super) ledger: StreamReader,
    own_subject: String,
    epoch: Epoch,
    last: u64,
    records: u64,
    outputs: Vec<Output<S>>,
    standing: StandingCell,
}

fn announcement(writer: Writer, epoch: Epoch, instance: &InstanceId) -> Bytes {
    let record = Record::Writer(WriterStarted { writer, epoch, instance: instance.clone() });
    Batch { writer, epoch, entries: vec![Entry { at: clock::now(), record }] }.encode().into()
}

/// The sequence number of the ledger's last message, 0 where it is empty.
async fn end_of_ledger(bus: &Bus) -> anyhow::Result<u64> {
    let info = retry("read the ledger's state", || async {
        let mut stream =
            bus.jetstream().get_stream(Stream::Ledger.name()).await.map_err(|error| error.to_string())?;
        stream.info().await.map(|info| info.state.clone()).map_err(|error| error.to_string())
    });
    let state = info.await.map_err(anyhow::Error::msg).context("cannot read the ledger's state")?;
    Ok(if state.messages == 0 { 0 } else { state.last_sequence })
}

impl<'a, S: LedgerService> Replay<'a, S> {
    /// Reads into the core what the ledger has beyond it.
    pub(crate) async fn of_rest(bus: &Bus, restored: &'a mut Restored<S::Core>) -> anyhow::Result<Self> {
        let Restored { core, ledger_sequence, own_sequence, epoch } = restored;
        let mut replay = Self {
            core,
            ledger: StreamReader::open(bus, Stream::Ledger, *ledger_sequence + 1).await?,
            own_subject: Subject::Ledger(S::WRITER).to_string(),
            epoch: *epoch,
            last: *own_sequence,
            records: 0,
            outputs: Vec::new(),
            standing: bus.standing_cell().clone(),
        };
        let started = clock::now();
        replay.read_on(bus).await?;
        let took = clock::now().since(started);
        info!(records = replay.records, %took, "replayed the ledger");
        Ok(replay)
    }

    /// Becomes the writer. Where another instance is faster, its records are read first.
    pub(crate) async fn take_lead(mut self, bus: &Bus, instance: &InstanceId) -> anyhow::Result<Lead> {
        let appender = Appender::new(bus.clone(), S::WRITER);
        for _ in 0..TRIES {
            let epoch = Epoch(self.epoch.0 + 1);
            match appender.clone().append(self.last, announcement(S::WRITER, epoch, instance)).await {
                Ok(last) => {
                    info!(%epoch, writer = S::WRITER.as_str(), "took the lead");
                    return Ok(Lead { ledger: self.ledger, appender, epoch, last, records: self.records });
                }
                Err(AppendError::Fenced { last }) => {
                    debug!(last, "another instance has written, reading on");
                    self.read_to(last).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(replaced::<S>())
    }

    /// Folds everything that is there by now.
    pub(super) async fn read_on(&mut self, bus: &Bus) -> anyhow::Result<()> {
        self.read_to(end_of_ledger(bus).await?).await
    }

    /// Folds everything up to the message with this number.
    async fn read_to(&mut self, end: u64) -> anyhow::Result<()> {
        while self.ledger.next_sequence() <= end {
            let delivered = self.ledger.next().await?;
            let is_last = delivered.pending == 0;
            self.fold(&delivered)?;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn fold(&mut self, delivered: &Delivered) -> anyhow::Result<()> {
        self.standing.has_read(delivered.sequence);
        let is_own = *delivered.message.subject == *self.own_subject;
        if is_own {
            self.last = delivered.sequence;
        }
        let Some(batch) = decode(delivered)? else { return Ok(()) };
        if is_own {
            self.epoch = self.epoch.max(batch.epoch);
        }
        self.records += batch.entries.len() as u64;
        let now = clock::now();
        for entry in batch.entries {
            self.core.handle(now, S::replay(entry), &mut self.outputs);
            debug_assert!(self.outputs.is_empty(), "a replay only folds");
            self.outputs.clear();
        }
        Ok(())
    }
}

/// Reads a message of the ledger; nothing where it is none of a writer's.
pub(crate) fn decode(delivered: &Delivered) -> anyhow::Result<Option<Batch>> {
    let Delivered { sequence, message, .. } = delivered;
    let subject = message.subject.as_str();
    let batch = ledger::read(message.headers.as_ref(), &message.payload).with_context(|| {
        format!(
            "message {sequence} of the ledger ({subject}) cannot be read: was it written by a newer version?"
        )
    })?;
    if batch.is_none() {
        error!(sequence, subject, "a message of the ledger is none of its writers', and is passed over");
    }
    Ok(batch)
}
