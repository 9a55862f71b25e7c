//! Names and values of message headers.

/// Given by whoever submits a job: the inbox takes a message with the same id only once, so that a retry is
/// harmless.
pub const NATS_MSG_ID: &str = "Nats-Msg-Id";

/// Of each message of an atomic batch: which batch, a name that nobody else uses.
pub const NATS_BATCH_ID: &str = "Nats-Batch-Id";
/// Of each message of an atomic batch: its place in it, from 1.
pub const NATS_BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
/// Of the last message of an atomic batch: `1`, which stores all of it.
pub const NATS_BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// Of a message of a key-value bucket that removes a key: [`KV_DELETE`].
pub const KV_OPERATION: &str = "KV-Operation";
/// The value of [`KV_OPERATION`] that removes a key.
pub const KV_DELETE: &str = "DEL";

/// Of a submission: [`JSON`] or [`PROTOBUF`]. Where it is absent the first byte decides.
pub const CONTENT_TYPE: &str = "Content-Type";
/// Of an answer to a log query: the place in the output of the first byte of the payload.
pub const ALLOT_OFFSET: &str = "Allot-Offset";
/// Of an answer to a log query: how long the output is so far, in bytes.
pub const ALLOT_SIZE: &str = "Allot-Size";
/// Of an answer to a log query: `true` where the attempt has ended and nothing more will come.
pub const ALLOT_ENDED: &str = "Allot-Ended";

/// The content type of JSON.
pub const JSON: &str = "application/json";
/// The content type of a protobuf message of `allot.v1`.
pub const PROTOBUF: &str = "application/protobuf";

/// How a submission is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON text.
    Json,
    /// As a protobuf message.
    Protobuf,
}

impl Encoding {
    /// The encoding that the content type names. Where it names none that is known the first byte decides: `{` or
    /// white space, or nothing at all, is JSON.
    #[must_use]
    pub fn of(content_type: Option<&str>, payload: &[u8]) -> Self {
        let named = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        if named.eq_ignore_ascii_case(JSON) {
            Self::Json
        } else if named.eq_ignore_ascii_case(PROTOBUF) {
            Self::Protobuf
        } else {
            let looks_like_json =
                payload.first().is_none_or(|byte| *byte == b'{' || byte.is_ascii_whitespace());
            if looks_like_json { Self::Json } else { Self::Protobuf }
        }
    }
}
