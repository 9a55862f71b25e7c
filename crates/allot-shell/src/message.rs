//! What comes from the bus, and what a core's outputs mean on it.

use allot_bus::{Subject, headers};
use allot_model::ledger::Record;
use allot_model::view::{Answer, Refusal, RefusalKind};
use allot_model::{AgentId, ReplyTo, Time};
use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How much is said about a message that cannot be read, in characters.
const MOST_CHARACTERS: usize = 400;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Where it was published.
    pub subject: String,
    /// Where an answer is wanted, if one is, and one may be sent there.
    pub reply: Option<ReplyTo>,
    /// Its headers, if it has any.
    pub headers: Option<HeaderMap>,
    /// What is wrong with its headers, where they cannot be read; then it is given without them.
    pub fault: Option<String>,
    /// What it says.
    pub payload: Bytes,
    /// Its place in the stream it was read from, for messages of the inbox.
    pub stream: Option<StreamInfo>,
}

/// A message's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its sequence number.
    pub sequence: u64,
    /// When the stream took it.
    pub published_at: Time,
}

/// A message that cannot be read. Where an answer is wanted, it says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl Malformed {
    /// A message that is wrong for this reason.
    pub fn new(reason: impl std::fmt::Display) -> Self {
        let mut message = reason.to_string();
        // What was given may stand in it, and be of any length.
        if let Some((end, _)) = message.char_indices().nth(MOST_CHARACTERS) {
            message.truncate(end);
            message.push('…');
        }
        Self { message }
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format_args!("the request is not the JSON that is expected here: {error}"))
    }
}

impl From<allot_bus::InvalidSubject> for Malformed {
    fn from(error: allot_bus::InvalidSubject) -> Self {
        Self::new(error)
    }
}

impl Incoming {
    /// The payload as JSON; an empty one counts as `{}`.
    ///
    /// # Errors
    /// [`Malformed`] where it is not, or where fields are missing, unknown or of another type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        let bytes: &[u8] = if self.payload.is_empty() { b"{}" } else { &self.payload };
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Where the answer goes to a request that takes no arguments: one that comes with some was meant otherwise.
    ///
    /// # Errors
    /// [`Malformed`] where the payload is neither empty nor `{}`, or the message is no request.
    pub fn bare_request(&self) -> Result<ReplyTo, Malformed> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields, expecting = "nothing, or an empty object")]
        struct Nothing {}
        self.json().and_then(|Nothing {}| self.reply_to())
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str)
    }

    /// The submitter's id of the message, if it was given one.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.header(headers::NATS_MSG_ID).filter(|id| !id.is_empty())
    }

    /// Where the answer goes.
    ///
    /// # Errors
    /// [`Malformed`] where the message is no request.
    pub fn reply_to(&self) -> Result<ReplyTo, Malformed> {
        self.reply
            .clone()
            .ok_or_else(|| Malformed::new("a request needs a reply subject, and one that is the asker's own"))
    }
}

impl From<async_nats::Message> for Incoming {
    fn from(message: async_nats::Message) -> Self {
        Self {
            subject: message.subject.to_string(),
            reply: message
                .reply
                .filter(|subject| Subject::takes_answers(subject))
                .map(|subject| ReplyTo(subject.as_str().into())),
            headers: message.headers,
            fault: None,
            payload: message.payload,
            stream: None,
        }
    }
}

/// Checks that an agent speaks for itself: NATS permissions bind it to its own subjects, and so what it says must
/// name the same agent.
///
/// # Errors
/// [`Malformed`] where it names another.
pub fn speaks_for(subject: &AgentId, named: &AgentId) -> Result<(), Malformed> {
    if subject == named {
        return Ok(());
    }
    Err(Malformed::new(format!("a message on a subject of agent {subject} speaks for agent {named}")))
}

/// What an output of a core means on the bus.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A record for the ledger. Everything that follows waits until it is durable.
    Append(Record),
    /// A message.
    Publish {
        /// Where.
        subject: String,
        /// What.
        payload: Vec<u8>,
    },
    /// A message with headers.
    PublishWithHeaders {
        /// Where.
        subject: String,
        /// The headers.
        headers: HeaderMap,
        /// What.
        payload: Vec<u8>,
    },
    /// An answer to a request.
    Reply {
        /// Where.
        to: ReplyTo,
        /// What.
        payload: Vec<u8>,
    },
    /// Several, in order.
    Many(Vec<Effect>),
    /// Nothing.
    None,
}

impl Effect {
    /// An answer in JSON.
    pub fn answer<T: Serialize>(to: ReplyTo, answer: &Answer<T>) -> Self {
        let payload =
            serde_json::to_vec(answer).unwrap_or_else(|error| refusal(RefusalKind::Unavailable, error));
        Self::Reply { to, payload }
    }
}

/// The JSON of an answer that says no.
pub(crate) fn refusal(code: RefusalKind, message: impl std::fmt::Display) -> Vec<u8> {
    let answer: Answer<()> = Answer::Error(Refusal { code, message: message.to_string() });
    serde_json::to_vec(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::view::DrainCommand;

    fn incoming(payload: &'static [u8]) -> Incoming {
        Incoming {
            subject: "a".into(),
            reply: None,
            headers: None,
            fault: None,
            payload: Bytes::from_static(payload),
            stream: None,
        }
    }

    #[test]
    fn an_empty_payload_counts_as_an_empty_object() {
        assert_eq!(incoming(b"").json::<DrainCommand>().unwrap(), DrainCommand { kill: false });
    }

    #[test]
    fn a_command_without_arguments_that_has_some_is_refused() {
        let to = || ReplyTo("r".into());
        let request = |payload| Incoming { reply: Some(to()), ..incoming(payload) };
        for payload in [b"".as_slice(), b"{}", b" {} "] {
            assert_eq!(request(payload).bare_request(), Ok(to()));
            incoming(payload).bare_request().unwrap_err();
        }
        for payload in [b"x".as_slice(), b"null", b"0", br#"{"agent": "a2"}"#, b"{} {}"] {
            request(payload).bare_request().unwrap_err();
        }
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        let error = incoming(br#"{"kil":true}"#).json::<DrainCommand>().unwrap_err();
        assert!(error.message.contains("kil") && error.message.contains("kill"), "{error}");
    }

    #[test]
    fn what_is_said_about_a_message_does_not_grow_with_it() {
        let long = format!("{{\"{}\": 1}}", "é".repeat(100_000));
        let message = Incoming { payload: long.into(), ..incoming(b"") };
        let error = message.json::<DrainCommand>().unwrap_err();
        assert_eq!(error.message.chars().count(), MOST_CHARACTERS + 1);
    }

    #[test]
    fn a_message_id_of_nothing_is_none() {
        let mut empty = HeaderMap::new();
        empty.insert(headers::NATS_MSG_ID, "");
        assert_eq!(Incoming { headers: Some(empty), ..incoming(b"") }.message_id(), None);
    }

    #[test]
    fn a_refusal_is_an_answer_that_says_why() {
        let text = String::from_utf8(refusal(RefusalKind::Invalid, "no")).unwrap();
        assert_eq!(text, r#"{"error":{"code":"invalid","message":"no"}}"#);
    }
}
