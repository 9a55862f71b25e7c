//! `ledger.proto`.

mod dispatcher;
mod offers;
mod registry;

use allot_model::{
    Batch, DispatcherRecord, Entry, Epoch, JobId, OffersRecord, Record, RegistryRecord, Time, WriterStarted,
};

use super::read::{self, Word, words};
use crate::WireError;
use crate::v1::{self, entry};

words!(Writer: Registry, Offers, Dispatcher);

impl From<&Batch> for v1::Batch {
    fn from(batch: &Batch) -> Self {
        let base = batch.entries.first().map_or(Time::ZERO, |entry| entry.at);
        Self {
            writer: batch.writer.number(),
            epoch: batch.epoch.0,
            base_time_us: base.as_micros(),
            entries: batch.entries.iter().map(|entry| v1::Entry::since(base, entry)).collect(),
        }
    }
}

impl TryFrom<v1::Batch> for Batch {
    type Error = WireError;

    fn try_from(message: v1::Batch) -> Result<Self, WireError> {
        let base = message.base_time_us;
        let read = |(i, entry): (usize, v1::Entry)| {
            let at = Time::from_micros(base.wrapping_add(entry.after_base_us.cast_unsigned()));
            let record = read::required(entry.record, "record").and_then(Record::try_from);
            Ok(Entry { at, record: record.map_err(|error| error.within(format_args!("entries[{i}]")))? })
        };
        Ok(Self {
            writer: read::word(message.writer, "writer")?,
            epoch: Epoch(message.epoch),
            entries: message.entries.into_iter().enumerate().map(read).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Record> for entry::Record {
    fn from(record: &Record) -> Self {
        match record {
            Record::Writer(started) => Self::WriterStarted(started.into()),
            Record::Registry(record) => record.into(),
            Record::Offers(record) => record.into(),
            Record::Dispatcher(record) => record.into(),
        }
    }
}

impl TryFrom<entry::Record> for Record {
    type Error = WireError;

    fn try_from(message: entry::Record) -> Result<Self, WireError> {
        use entry::Record as Wire;
        let agent = |named: v1::AgentNamed| read::id(&named.agent, "agent");
        Ok(match message {
            Wire::WriterStarted(m) => Self::Writer(m.try_into()?),
            Wire::AgentJoined(m) => Self::Registry(m.try_into()?),
            Wire::AgentUnreachable(m) => {
                Self::Registry(RegistryRecord::AgentUnreachable { agent: agent(m)? })
            }
            Wire::AgentReturned(m) => Self::Registry(RegistryRecord::AgentReturned { agent: agent(m)? }),
            Wire::AgentDraining(m) => Self::Registry(m.try_into()?),
            Wire::AgentDrained(m) => Self::Registry(RegistryRecord::AgentDrained { agent: agent(m)? }),
            Wire::AgentUndrained(m) => Self::Registry(RegistryRecord::AgentUndrained { agent: agent(m)? }),
            Wire::AgentGone(m) => Self::Registry(RegistryRecord::AgentGone { agent: agent(m)? }),
            Wire::Allocated(m) => Self::Offers(m.try_into()?),
            Wire::AllocatorActivated(m) => Self::Offers(m.try_into()?),
            Wire::PolicyChosen(m) => Self::Offers(m.try_into()?),
            Wire::Preempted(m) => Self::Offers(OffersRecord::Preempted(m.try_into()?)),
            Wire::JobAdmitted(m) => Self::Dispatcher(m.try_into()?),
            Wire::JobRejected(m) => Self::Dispatcher(m.try_into()?),
            Wire::JobReady(m) => Self::Dispatcher(DispatcherRecord::JobReady { job: JobId(m.job) }),
            Wire::TasksQueued(m) => Self::Dispatcher(DispatcherRecord::TasksQueued { run: m.try_into()? }),
            Wire::TasksStarted(m) => Self::Dispatcher(m.try_into()?),
            Wire::TasksKilling(m) => Self::Dispatcher(m.try_into()?),
            Wire::TasksEnded(m) => Self::Dispatcher(m.try_into()?),
            Wire::AllocationReturned(m) => Self::Dispatcher(m.try_into()?),
            Wire::JobCancelled(m) => Self::Dispatcher(DispatcherRecord::JobCancelled { job: JobId(m.job) }),
            Wire::JobEnded(m) => Self::Dispatcher(m.try_into()?),
            Wire::QueueSet(m) => Self::Dispatcher(m.try_into()?),
        })
    }
}

impl From<&WriterStarted> for v1::WriterStarted {
    fn from(started: &WriterStarted) -> Self {
        Self {
            writer: started.writer.number(),
            epoch: started.epoch.0,
            instance: started.instance.to_string(),
        }
    }
}

impl TryFrom<v1::WriterStarted> for WriterStarted {
    type Error = WireError;

    fn try_from(message: v1::WriterStarted) -> Result<Self, WireError> {
        Ok(Self {
            writer: read::word(message.writer, "writer")?,
            epoch: Epoch(message.epoch),
            instance: read::id(&message.instance, "instance")?,
        })
    }
}
