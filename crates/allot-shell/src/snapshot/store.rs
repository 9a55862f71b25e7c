//! Where snapshots are: an object store bucket, which keeps a digest of each and checks it when it is read.

use std::cmp::Reverse;

use allot_bus::stream::SNAPSHOTS;
use allot_model::SnapshotHead;
use allot_model::ledger::Writer;
use allot_writer::{Covered, KEPT};
use async_nats::jetstream::context::ObjectStoreErrorKind;
use async_nats::jetstream::object_store::{Config, ObjectInfo, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream;
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::io::AsyncReadExt;

use crate::bus::Bus;

/// Of a snapshot: the last message of the inbox that was decided on.
const INBOX_SEQUENCE: &str = "inbox-sequence";
/// How much of it goes into a message.
const CHUNK_BYTES: usize = 512 * 1024;
/// Digits enough for every sequence number, so that names sort as numbers do.
const DIGITS: usize = 20;

/// A snapshot in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) name: String,
    pub(crate) covers: Covered,
}

/// The bucket.
#[derive(Clone)]
pub(crate) struct Store {
    bucket: ObjectStore,
}

impl Store {
    /// Opens the bucket, and makes it where it is missing.
    ///
    /// # Errors
    /// What JetStream says.
    pub(crate) async fn open(bus: &Bus) -> Result<Self, String> {
        let jetstream = bus.jetstream();
        let bucket = match jetstream.get_object_store(SNAPSHOTS).await {
            Err(error) if error.kind() == ObjectStoreErrorKind::GetStore => {
                let config = Config {
                    bucket: SNAPSHOTS.to_owned(),
                    description: Some("snapshots of the services' states".to_owned()),
                    num_replicas: bus.replicas(),
                    ..Config::default()
                };
                jetstream.create_object_store(config).await.map_err(|error| error.to_string())
            }
            found => found.map_err(|error| error.to_string()),
        };
        let store = Self { bucket: bucket? };
        keep_on(bus, bus.replicas()).await?;
        Ok(store)
    }

    /// All that there are, the newest of each writer first.
    ///
    /// # Errors
    /// What JetStream says.
    pub(crate) async fn list(&self) -> Result<Vec<Saved>, String> {
        let list = self.bucket.list().await.map_err(|error| error.to_string())?;
        let infos: Vec<ObjectInfo> = list.try_collect().await.map_err(|error| error.to_string())?;
        let mut saved: Vec<Saved> = infos.iter().filter_map(Saved::read).collect();
        saved.sort_by_key(|Saved { covers, .. }| (covers.writer, Reverse(covers.ledger_sequence)));
        Ok(saved)
    }

    /// The bytes of one, which are as they were written.
    ///
    /// # Errors
    /// What JetStream says, or that the bytes have another digest than they had.
    pub(crate) async fn load(&self, name: &str) -> Result<Vec<u8>, String> {
        let mut object = self.bucket.get(name).await.map_err(|error| error.to_string())?;
        let mut bytes = Vec::with_capacity(object.info().size);
        // Where the digest is another one the client says so beside the last bytes, which `read_to_end` does not expect.
        while object.read_buf(&mut bytes).await.map_err(|error| error.to_string())? > 0 {}
        if bytes.len() != object.info().size {
            return Err(format!("it has {} bytes of {}", bytes.len(), object.info().size));
        }
        Ok(bytes)
    }

    /// Saves one, and removes those of its writer that are not needed any more.
    ///
    /// # Errors
    /// What JetStream says.
    pub(crate) async fn save(&self, head: &SnapshotHead, bytes: Bytes) -> Result<(), String> {
        let metadata = [(INBOX_SEQUENCE.to_owned(), head.inbox_sequence.to_string())];
        let object = ObjectMetadata {
            name: name(head.writer, head.ledger_sequence),
            chunk_size: Some(CHUNK_BYTES),
            metadata: metadata.into(),
            ..ObjectMetadata::default()
        };
        self.bucket.put(object, &mut &*bytes).await.map_err(|error| error.to_string())?;
        let of_this = |saved: &Saved| saved.covers.writer == head.writer;
        for old in self.list().await?.into_iter().filter(of_this).skip(KEPT) {
            self.bucket.delete(&old.name).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Has the bucket kept on so many servers, as the streams are.
async fn keep_on(bus: &Bus, replicas: usize) -> Result<(), String> {
    let stream =
        bus.jetstream().get_stream(format!("OBJ_{SNAPSHOTS}")).await.map_err(|error| error.to_string())?;
    let config = &stream.cached_info().config;
    if config.num_replicas == replicas {
        return Ok(());
    }
    let config = stream::Config { num_replicas: replicas, ..config.clone() };
    bus.jetstream().update_stream(config).await.map(|_| ()).map_err(|error| error.to_string())
}

fn name(writer: Writer, ledger_sequence: u64) -> String {
    format!("{}.{ledger_sequence:0DIGITS$}", writer.as_str())
}

impl Saved {
    fn read(info: &ObjectInfo) -> Option<Self> {
        let (writer, sequence) = info.name.split_once('.')?;
        let writer = Writer::ALL.into_iter().find(|known| known.as_str() == writer)?;
        let inbox_sequence = info.metadata.get(INBOX_SEQUENCE)?.parse().ok()?;
        let covers = Covered { writer, ledger_sequence: sequence.parse().ok()?, inbox_sequence };
        Some(Self { name: info.name.clone(), covers })
    }
}
