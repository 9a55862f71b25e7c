//! Every service answers to `nats micro ls`, tells what it has cost, and answers to its own `--health`.

use std::time::Duration;

use async_nats::service::endpoint::Endpoint;
use async_nats::service::{Service, ServiceExt};
use futures::StreamExt;
use serde::Deserialize;

use crate::bus::Bus;
use crate::identity::{host_name, instance_id};
use crate::services::{PROCESS, Told};
use crate::standing::StandingCell;
use crate::usage::Usage;

/// How long a health check waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
pub(crate) const HOST: &str = "host";
const INSTANCE: &str = "instance";

/// Keeps the service listed for as long as it lives.
#[derive(Debug)]
pub struct Listed {
    _service: Service,
}

/// Lists the service on the bus under this name. What its process has cost stands in its statistics, for
/// `nats micro stats` and [`crate::services::running`].
///
/// # Errors
/// Where the name or the version is not one that NATS takes.
pub async fn list(bus: &Bus, name: &str, version: &str, about: &str) -> anyhow::Result<Listed> {
    let about_us = [(HOST, host_name()), (INSTANCE, instance_id().to_string())];
    let metadata = about_us.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    let builder = bus.client().service_builder().description(about).metadata(metadata);
    let standing = bus.standing_cell().clone();
    let told = move || told(&standing);
    let in_statistics = told.clone();
    let builder = builder.stats_handler(move |_endpoint, _stats| in_statistics());
    let failed = |error| anyhow::anyhow!("cannot list {name}: {error}");
    let service = builder.start(name, version).await.map_err(failed)?;
    // NATS has statistics of endpoints only, so there is one; its subject is this process's own, where any may listen.
    let endpoint = service.endpoint_builder().name(PROCESS).add(bus.client().new_inbox()).await;
    tokio::spawn(answer(endpoint.map_err(failed)?, told));
    Ok(Listed { _service: service })
}

/// What the process has cost, and what its service is among others of its kind.
fn told(standing: &StandingCell) -> serde_json::Value {
    let told = Told { usage: Usage::of_this_process(), standing: standing.read() };
    serde_json::to_value(told).unwrap_or_default()
}

/// Tells whoever asks this process alone.
async fn answer(mut endpoint: Endpoint, told: impl Fn() -> serde_json::Value) {
    while let Some(request) = endpoint.next().await {
        // Nobody is left to be told where this fails.
        let _ = request.respond(Ok(told().to_string().into())).await;
    }
}

#[derive(Deserialize)]
struct Pong {
    metadata: std::collections::BTreeMap<String, String>,
}

/// Asks whether a service of this name runs on this machine and answers.
///
/// # Errors
/// Where none does.
pub async fn check(bus: &Bus, name: &str) -> anyhow::Result<()> {
    let host = host_name();
    let inbox = bus.client().new_inbox();
    let mut pongs = bus.client().subscribe(inbox.clone()).await?;
    bus.client().publish_with_reply(format!("$SRV.PING.{name}"), inbox, bytes::Bytes::new()).await?;
    let here = async {
        while let Some(message) = pongs.next().await {
            if is_from(&message.payload, &host) {
                return true;
            }
        }
        false
    };
    match tokio::time::timeout(PATIENCE, here).await {
        Ok(true) => Ok(()),
        _ => anyhow::bail!("no {name} on {host} answers"),
    }
}

fn is_from(payload: &[u8], host: &str) -> bool {
    serde_json::from_slice::<Pong>(payload)
        .is_ok_and(|pong| pong.metadata.get(HOST).is_some_and(|h| h == host))
}
