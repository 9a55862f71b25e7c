//! Which services are on the bus: what `nats micro ls` shows, of allot's own.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::bus::Bus;
use crate::services::{OURS, ask_all};

/// A service that answers on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listing {
    /// The name of its program, such as `allot-registry`.
    pub name: String,
    /// The version of its program.
    pub version: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl Listing {
    /// The machine it runs on, as far as it says.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.metadata.get(crate::health::HOST).map(String::as_str)
    }
}

/// Asks all services of allot to answer, and gathers the answers, by name.
///
/// # Errors
/// Where the connection is lost.
pub async fn census(bus: &Bus) -> anyhow::Result<Vec<Listing>> {
    let answers = ask_all(bus, "$SRV.PING").await?;
    let listings =
        answers.iter().filter_map(|answer| serde_json::from_slice::<Listing>(&answer.payload).ok());
    let mut found: Vec<Listing> = listings.filter(|listing| listing.name.starts_with(OURS)).collect();
    found.sort_by(|a, b| (&a.name, &a.metadata).cmp(&(&b.name, &b.metadata)));
    Ok(found)
}
