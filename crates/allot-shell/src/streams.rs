//! Creates the streams, and brings their settings up to date.

use allot_bus::{Discard, Stream, StreamSettings};
use allot_model::Span;
use async_nats::jetstream;
use async_nats::jetstream::context::{CreateStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use tracing::{error, info, warn};

use crate::bus::Bus;
use crate::retry::retry;

/// The largest message that a server has to take; nats-server takes a little more unless it is told otherwise.
const LEAST_PAYLOAD_BYTES: usize = 1_000_000;
/// The error code of JetStream for a stream that does not exist.
const STREAM_NOT_FOUND: u64 = 10_059;

impl Bus {
    /// Creates the streams that are missing and updates those whose settings have changed. Harmless however often and
    /// by however many services it is done. An inbox that is missing beside a ledger was lost: where it has to go on counting only
    /// the dispatcher knows ([`Bus::ensure_inbox`]).
    ///
    /// # Errors
    /// Where JetStream does not answer for long, or refuses, or the server takes small messages only.
    pub async fn ensure_streams(&self) -> anyhow::Result<()> {
        let most = self.client().server_info().max_payload;
        anyhow::ensure!(
            most >= LEAST_PAYLOAD_BYTES,
            "nats-server takes messages of at most {most} bytes and allot's have up to {LEAST_PAYLOAD_BYTES}: set \
             `max_payload: 1MB` in its configuration"
        );
        for stream in Stream::ALL {
            retry("set up a stream on as many servers as `nats.replicas` says", || self.ensure_stream(stream)).await.map_err(|error| {
                anyhow::anyhow!(
                    "cannot set up the stream {} on {} servers (`nats.replicas`): {error}; is JetStream enabled in nats-server?",
                    stream.name(), self.replicas()
                )
            })?;
        }
        Ok(())
    }

    async fn ensure_stream(&self, stream: Stream) -> Result<(), String> {
        let wanted = stream_config(&stream.settings(), self.replicas());
        let present = match self.jetstream().get_stream(stream.name()).await {
            Ok(present) => present,
            Err(error) if is_missing(&error.kind()) => {
                if stream == Stream::Inbox && self.has_ledger().await? {
                    return Ok(());
                }
                return self.create_stream(wanted).await.map_err(|e| e.to_string());
            }
            Err(error) => return Err(error.to_string()),
        };
        let present = &present.cached_info().config;
        if present.num_replicas > wanted.num_replicas {
            warn!(
                stream = stream.name(),
                "the stream is kept on {} servers and `nats.replicas` is {}: it stays on them; where it is to be on fewer, \
                 `nats stream edit` changes that",
                present.num_replicas,
                wanted.num_replicas
            );
        }
        let merged = merge(present, wanted);
        if merged != *present {
            self.jetstream().update_stream(&merged).await.map_err(|error| error.to_string())?;
            info!(stream = stream.name(), "updated the stream's settings");
        }
        Ok(())
    }

    /// True where something was ever written to the ledger.
    async fn has_ledger(&self) -> Result<bool, String> {
        match self.jetstream().get_stream(Stream::Ledger.name()).await {
            Ok(ledger) => Ok(ledger.cached_info().state.last_sequence > 0),
            Err(error) if is_missing(&error.kind()) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Sees to it that the inbox is there and counts on at `from` or later: the number of a message in it is a job's id, and
    /// those before have been given. One that was lost had messages beyond that which nobody has read, so that another one begins
    /// well above. Returns when it was made. One that was `known` before is left as it is: a server of a
    /// cluster that has just come to lead may know a little less for a while.
    ///
    /// # Errors
    /// Where JetStream does not answer, or refuses.
    pub(crate) async fn ensure_inbox(&self, from: u64, known: Option<Made>) -> Result<Made, String> {
        let name = Stream::Inbox.name();
        let inbox = match self.jetstream().get_stream(name).await {
            Ok(inbox) => inbox,
            Err(error) if is_missing(&error.kind()) => {
                let first = if from > 1 { unused_after(from) } else { from };
                if from > 1 {
                    error!(
                        from,
                        first,
                        "the inbox was lost, and submissions in it that nobody had decided on with it: it is made anew, and ids \
                         of jobs go on well above"
                    );
                }
                let config = stream_config(&Stream::Inbox.settings(), self.replicas());
                let config = Config { first_sequence: Some(first), ..config };
                self.create_stream(config).await.map_err(|error| error.to_string())?;
                self.jetstream().get_stream(name).await.map_err(|error| error.to_string())?
            }
            Err(error) => return Err(error.to_string()),
        };
        let (made, last) = (made(&inbox), inbox.cached_info().state.last_sequence);
        if last + 1 < from && known != Some(made) {
            let first = unused_after(from);
            error!(
                last,
                from,
                first,
                "the inbox is another one than jobs were taken from: what was submitted to it has ids of earlier jobs and cannot be \
                 taken; ids go on well above now"
            );
            inbox.purge().sequence(first).await.map_err(|error| error.to_string())?;
        }
        Ok(made)
    }

    async fn create_stream(&self, config: Config) -> Result<(), CreateStreamError> {
        let name = config.name.clone();
        self.jetstream().create_stream(config).await?;
        info!(stream = name, "created the stream");
        Ok(())
    }
}

/// The first id that no submission had which nobody has read: at least so many are passed over.
fn unused_after(from: u64) -> u64 {
    const PASSED_OVER: u64 = 1_000_000;
    (from / PASSED_OVER + 2) * PASSED_OVER
}

/// When a stream was made, nanoseconds since 1970: another one of the same name was made at another time.
pub(crate) type Made = i128;

/// When this stream was made.
pub(crate) fn made(stream: &jetstream::stream::Stream) -> Made {
    stream.cached_info().created.unix_timestamp_nanos()
}

/// A setting of a stream that is not as allot expects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The setting, as NATS names it.
    pub field: &'static str,
    /// What it is.
    pub present: String,
    /// What it has to be.
    pub wanted: String,
    /// What puts it right.
    pub mend: Mend,
}

/// What puts a setting of a stream right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// Any service that starts.
    Start,
    /// An operator, with `nats stream edit`: services leave it as it is.
    Edit,
    /// Nothing: the stream has to be made anew.
    Anew,
}

/// How a stream's settings differ from those that allot rests on. On how many servers it is kept is left to operators.
#[must_use]
pub fn differences(stream: Stream, present: &Config) -> Vec<Difference> {
    let wanted = stream_config(&stream.settings(), present.num_replicas);
    let settings = |config: &Config| {
        [
            ("subjects", config.subjects.join(" "), Mend::Start),
            ("retention", format!("{:?}", config.retention).to_lowercase(), Mend::Anew),
            ("storage", format!("{:?}", config.storage).to_lowercase(), Mend::Anew),
            ("max_msgs", most(config.max_messages), Mend::Edit),
            ("max_bytes", most(config.max_bytes), Mend::Start),
            ("max_msgs_per_subject", most(config.max_messages_per_subject), Mend::Start),
            ("max_msg_size", most(config.max_message_size.into()), Mend::Start),
            ("max_age", age(config.max_age), Mend::Start),
            ("discard", format!("{:?}", config.discard).to_lowercase(), Mend::Start),
            ("duplicate_window", age(config.duplicate_window), Mend::Start),
            ("allow_direct", config.allow_direct.to_string(), Mend::Start),
            ("allow_atomic", config.allow_atomic_publish.to_string(), Mend::Start),
            ("allow_msg_ttl", config.allow_message_ttl.to_string(), Mend::Start),
        ]
    };
    let pairs = settings(present).into_iter().zip(settings(&wanted));
    pairs
        .filter(|((_, present, _), (_, wanted, _))| present != wanted)
        .map(|((field, present, mend), (_, wanted, _))| Difference { field, present, wanted, mend })
        .collect()
}

fn most(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "unlimited".to_owned() }
}

fn age(length: std::time::Duration) -> String {
    if length.is_zero() {
        "unlimited".to_owned()
    } else {
        Span::from_micros(u64::try_from(length.as_micros()).unwrap_or(u64::MAX)).to_string()
    }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code().0 == STREAM_NOT_FOUND)
}

fn stream_config(settings: &StreamSettings, replicas: usize) -> Config {
    Config {
        name: settings.name.to_owned(),
        description: Some(settings.description.to_owned()),
        subjects: settings.subjects.clone(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: replicas,
        max_messages: -1,
        max_bytes: limit(settings.max_bytes),
        max_messages_per_subject: limit(settings.max_messages_per_subject),
        max_message_size: settings
            .max_message_bytes
            .map_or(-1, |bytes| i32::try_from(bytes).unwrap_or(i32::MAX)),
        max_age: settings.max_age.map(allot_model::Span::to_std).unwrap_or_default(),
        discard: match settings.discard {
            Discard::New => DiscardPolicy::New,
            Discard::Old => DiscardPolicy::Old,
        },
        duplicate_window: settings.duplicate_window.to_std(),
        allow_atomic_publish: settings.takes_batches,
        allow_direct: settings.read_from_any_replica,
        allow_message_ttl: settings.takes_ttls,
        ..Config::default()
    }
}

/// JetStream writes "no limit" as -1.
fn limit(most: Option<u64>) -> i64 {
    most.map_or(-1, |most| i64::try_from(most).unwrap_or(i64::MAX))
}

/// The present settings with those that allot rests on as wanted; all else stays as the operator has it. On fewer servers than
/// now a stream is kept only where an operator says so: a service that is set up otherwise than the others must not.
fn merge(present: &Config, wanted: Config) -> Config {
    Config {
        description: wanted.description,
        subjects: wanted.subjects,
        num_replicas: present.num_replicas.max(wanted.num_replicas),
        max_bytes: wanted.max_bytes,
        max_messages_per_subject: wanted.max_messages_per_subject,
        max_message_size: wanted.max_message_size,
        max_age: wanted.max_age,
        discard: wanted.discard,
        duplicate_window: wanted.duplicate_window,
        allow_atomic_publish: wanted.allow_atomic_publish,
        allow_direct: wanted.allow_direct,
        allow_message_ttl: wanted.allow_message_ttl,
        ..present.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_services_made_is_as_expected() {
        for stream in Stream::ALL {
            let made = stream_config(&stream.settings(), 3);
            assert_eq!(differences(stream, &made), []);
        }
    }

    #[test]
    fn what_differs_is_named_field_by_field_with_what_mends_it() {
        let made = stream_config(&Stream::Ledger.settings(), 1);
        let present = Config {
            storage: StorageType::Memory,
            max_messages: 10,
            max_age: std::time::Duration::from_secs(3_600),
            ..made
        };
        let said: Vec<String> = differences(Stream::Ledger, &present)
            .into_iter()
            .map(|Difference { field, present, wanted, mend }| format!("{field} {present} {wanted} {mend:?}"))
            .collect();
        assert_eq!(
            said,
            ["storage memory file Anew", "max_msgs 10 unlimited Edit", "max_age 1h unlimited Start"]
        );
    }
}
