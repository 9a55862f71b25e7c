//! Which services are on the bus: what `nats micro ls` shows, of allot's own.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::StatusCode;
use futures::StreamExt;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::bus::Bus;

/// What the names of allot's services begin with.
const OURS: &str = "allot-";
/// Where all services are asked.
const ALL: &str = "$SRV.PING";
/// Once nobody has answered for so long, nobody else is expected to.
const QUIET: Duration = Duration::from_millis(250);
/// How long answers are gathered at most.
const AT_MOST: Duration = Duration::from_secs(3);

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
    let inbox = bus.client().new_inbox();
    let mut answers = bus.client().subscribe(inbox.clone()).await?;
    bus.client().publish_with_reply(ALL, inbox, bytes::Bytes::new()).await?;
    let end = Instant::now() + AT_MOST;
    let mut found: Vec<Listing> = Vec::new();
    let mut quiet = Instant::now() + QUIET;
    while let Ok(Some(answer)) = timeout_at(quiet.min(end), answers.next()).await {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        let listing = serde_json::from_slice::<Listing>(&answer.payload).ok();
        found.extend(listing.filter(|listing| listing.name.starts_with(OURS)));
        quiet = Instant::now() + QUIET;
    }
    found.sort_by(|a, b| (&a.name, &a.metadata).cmp(&(&b.name, &b.metadata)));
    Ok(found)
}
