//! How NATS is reached.

use std::fmt;
use std::path::PathBuf;

use allot_model::Span;
use serde::{Deserialize, Serialize, Serializer};

/// Where NATS is and how to get in. Part of every service's configuration, under `nats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// One or more addresses, joined by commas.
    pub url: String,
    /// The user's name, where one is asked for.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token in place of user and password.
    pub token: Option<Secret>,
    /// A file with certificates by which servers are trusted, beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// A file with the certificate that we show; `key_file` goes with it.
    pub certificate_file: Option<PathBuf>,
    /// A file with the key of that certificate.
    pub key_file: Option<PathBuf>,
    /// Where answers are sent; one of its own where permissions keep others from hearing them.
    pub inbox_prefix: String,
    /// On how many servers each stream is kept: 1, 3 or 5.
    pub replicas: usize,
    /// How long the first connection is tried for.
    pub connect_timeout: Span,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            user: None,
            password: None,
            token: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            inbox_prefix: "_INBOX".to_owned(),
            replicas: 1,
            connect_timeout: Span::from_secs(60),
        }
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one who has to use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let config = NatsConfig { password: Some(Secret::new("hunter2".into())), ..NatsConfig::default() };
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
