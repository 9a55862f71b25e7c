//! Messages of a stream, asked for one at a time. They come as data, so that any can be read, whatever it holds.

use allot_bus::Stream;
use allot_model::Time;
use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bus::Bus;

/// The error code of JetStream for a message that is not there.
const NO_MESSAGE_FOUND: u64 = 10_037;

/// A message as the stream's leader has it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) published_at: Time,
    /// Where it was published; what of it is not text is replaced.
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    /// What is wrong with its headers, which are left out then.
    pub(crate) fault: Option<String>,
    pub(crate) payload: Bytes,
}

#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_by_subj: Option<&'a str>,
}

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

/// The first message on a subject (or a pattern of subjects) with this sequence number or a later one, if there is one.
///
/// # Errors
/// What JetStream says, or that it says nothing.
pub(crate) async fn first(
    bus: &Bus,
    stream: Stream,
    subject: &str,
    from: u64,
) -> Result<Option<Stored>, String> {
    ask(bus, stream, Wanted { seq: Some(from), next_by_subj: Some(subject), last_by_subj: None }).await
}

/// The last message on a subject, if there is one.
///
/// # Errors
/// As [`first`].
pub(crate) async fn last(bus: &Bus, stream: Stream, subject: &str) -> Result<Option<Stored>, String> {
    ask(bus, stream, Wanted { seq: None, next_by_subj: None, last_by_subj: Some(subject) }).await
}

async fn ask(bus: &Bus, stream: Stream, wanted: Wanted<'_>) -> Result<Option<Stored>, String> {
    let subject = format!("STREAM.MSG.GET.{}", stream.name());
    match bus.jetstream().request(subject, &wanted).await {
        Ok(Response::Ok(Got { message })) => Ok(Some(read(message))),
        Ok(Response::Err { error }) if error.error_code().0 == NO_MESSAGE_FOUND => Ok(None),
        Ok(Response::Err { error }) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn read(raw: RawMessage) -> Stored {
    let (sequence, subject) = (raw.sequence, raw.subject.clone());
    let published_us = u64::try_from(raw.time.unix_timestamp_nanos() / 1_000).unwrap_or(0);
    let whole = StreamMessage::try_from(raw.clone());
    let fault = whole.as_ref().err().map(ToString::to_string);
    let readable = whole.or_else(|_| StreamMessage::try_from(RawMessage { headers: None, ..raw }));
    let (payload, headers) = readable.map(|message| (message.payload, message.headers)).unwrap_or_default();
    Stored { sequence, published_at: Time::from_micros(published_us), subject, headers, fault, payload }
}
