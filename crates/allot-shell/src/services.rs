//! The services of a cluster as they answer: who runs, where, since when, and what it has cost.
//!
//! Every service is listed with NATS ([`crate::health::list`]) and answers to `$SRV.STATS`, for `nats micro stats` as
//! for [`running`].

use std::time::Duration;

use async_nats::service::Stats;
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::bus::Bus;
use crate::standing::Standing;
use crate::usage::Usage;

/// What the name of every service of allot begins with.
pub(crate) const OURS: &str = "allot-";
/// The endpoint under which a service tells what it has cost.
pub(crate) const PROCESS: &str = "process";
/// How long the first answer to a question that goes to all is waited for.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// Once nobody has answered for so long, all have. An idle service answers within a millisecond.
const SILENCE: Duration = Duration::from_millis(250);
/// How long answers are gathered at most.
const AT_MOST: Duration = Duration::from_secs(3);

/// A service that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningService {
    /// Its name, such as `allot-dispatcher`.
    pub name: String,
    /// What tells it from others of the same name.
    pub id: String,
    /// Its version.
    pub version: String,
    /// What its process has cost.
    #[serde(flatten)]
    pub usage: Usage,
    /// What it is among the instances of its kind, where only one of them is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// What a service tells of itself in its statistics.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    #[serde(flatten)]
    pub(crate) usage: Usage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) standing: Option<Standing>,
}

/// Asks which services of allot run, wherever they are, and what each has cost; by name, then by id. Takes a quarter of
/// a second, because nobody knows how many will answer.
///
/// # Errors
/// Where the connection is closed.
pub async fn running(bus: &Bus) -> anyhow::Result<Vec<RunningService>> {
    let answers = ask_all(bus, "$SRV.STATS").await?;
    let mut running: Vec<_> = answers.iter().filter_map(|message| read(&message.payload)).collect();
    running.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(running)
}

/// What a service of allot answers; nothing for any other that lists itself with NATS.
fn read(payload: &[u8]) -> Option<RunningService> {
    let Stats { name, id, version, endpoints, .. } = serde_json::from_slice(payload).ok()?;
    let process = endpoints.into_iter().find(|endpoint| endpoint.name == PROCESS)?;
    let Told { usage, standing } = serde_json::from_value(process.data?).ok()?;
    name.starts_with(OURS).then_some(RunningService { name, id, version, usage, standing })
}

/// Asks whoever listens on a subject, and returns all that answer.
///
/// # Errors
/// Where the connection is closed.
pub async fn ask_all(bus: &Bus, subject: &str) -> anyhow::Result<Vec<Message>> {
    let client = bus.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await?;
    client.publish_with_reply(subject.to_owned(), inbox, Bytes::new()).await?;
    let begun = Instant::now();
    let (mut all, mut until) = (Vec::new(), begun + FIRST_WITHIN);
    while let Ok(Some(answer)) = timeout_at(until.min(begun + AT_MOST), answers.next()).await {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        all.push(answer);
        until = Instant::now() + SILENCE;
    }
    Ok(all)
}
