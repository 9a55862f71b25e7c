//! Every service answers to `nats micro ls`, and to its own `--health`.

use std::time::Duration;

use async_nats::service::{Service, ServiceExt};
use futures::StreamExt;
use serde::Deserialize;

use crate::bus::Bus;
use crate::identity::{host_name, instance_id};

/// How long a health check waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
pub(crate) const HOST: &str = "host";
const INSTANCE: &str = "instance";

/// Keeps the service listed for as long as it lives.
#[derive(Debug)]
pub struct Listed {
    _service: Service,
}

/// Lists the service on the bus under this name.
///
/// # Errors
/// Where the name or the version is not one that NATS takes.
pub async fn list(bus: &Bus, name: &str, version: &str, about: &str) -> anyhow::Result<Listed> {
    let about_us = [(HOST, host_name()), (INSTANCE, instance_id().to_string())];
    let metadata = about_us.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    let builder = bus.client().service_builder().description(about).metadata(metadata);
    let service =
        builder.start(name, version).await.map_err(|error| anyhow::anyhow!("cannot list {name}: {error}"))?;
    Ok(Listed { _service: service })
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
