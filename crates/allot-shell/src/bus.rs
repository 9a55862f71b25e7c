//! The connection to NATS.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allot_bus::Subject;
use allot_model::Span;
use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError, Statistics};
use tokio::sync::{broadcast, watch};
use tracing::{debug, error, info, warn};

use crate::denial::Denial;
use crate::nats_config::{NatsConfig, Secret};
use crate::retry::Backoff;
use crate::standing::{Standing, StandingCell};

/// How many messages a subscription holds that nobody has looked at yet. What comes beyond is lost.
const SUBSCRIPTION_CAPACITY: usize = 1 << 18;
/// How many messages wait for the connection before a publisher has to.
const CLIENT_CAPACITY: usize = 1 << 14;
/// How long an answer of JetStream is waited for before the question is asked again.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection over which nothing is heard for two of these is given up and made anew.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How many denials are kept for someone who does not look at them at once.
const DENIALS_KEPT: usize = 64;
/// The longest pause between two tries to connect again.
const LONGEST_RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailed {
    /// The address is not one.
    #[error(
        "{given:?} is not the address of a NATS server: write `nats://HOST:4222`, or several joined by commas"
    )]
    Address {
        /// The address as given.
        given: String,
    },
    /// Answers cannot be sent there.
    #[error(
        "inbox_prefix = {given:?} is not the beginning of a subject: write letters, digits, `_` and `-`, such as `_INBOX_research`"
    )]
    InboxPrefix {
        /// The prefix as given.
        given: String,
    },
    /// The server does not let us in.
    #[error("NATS at {url} refuses us: check user, password, token and certificate_file under `nats`")]
    Refused {
        /// Where.
        url: String,
        /// What it said.
        source: async_nats::ConnectError,
    },
    /// Nothing answered in time.
    #[error(
        "cannot reach NATS at {url} within {patience}: start nats-server, or give its address with --nats or ALLOT_NATS_URL"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// For how long it was tried.
        patience: Span,
        /// What came of the last try.
        source: async_nats::ConnectError,
    },
}

/// A connection to NATS that outlives its servers' restarts. Clones share it.
#[derive(Debug, Clone)]
pub struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    connections: watch::Receiver<u64>,
    denials: broadcast::Sender<Denial>,
    origin: Arc<Origin>,
    /// What the service behind it tells of itself.
    standing: StandingCell,
    /// What was counted on the connections that were made from this one.
    others: Arc<Mutex<Vec<Arc<Statistics>>>>,
}

/// What a connection was made with.
#[derive(Debug)]
struct Origin {
    config: NatsConfig,
    name: String,
}

impl Bus {
    /// Connects under a name that `nats server report connections` shows. Waits for a server that is not up yet.
    ///
    /// # Errors
    /// [`ConnectFailed`], which says what to do.
    pub async fn connect(config: &NatsConfig, name: &str) -> Result<Self, ConnectFailed> {
        let addresses = addresses(&config.url)?;
        let (counter, connections) = watch::channel(0);
        let (denials, _) = broadcast::channel(DENIALS_KEPT);
        let options = options(config, name, counter, denials.clone())?;
        let mut backoff = Backoff::new(config.connect_timeout);
        loop {
            let failed = match options.clone().connect(addresses.clone()).await {
                Ok(client) => {
                    let origin = Origin { config: config.clone(), name: name.to_owned() };
                    return Ok(Self::new(client, origin, connections, denials));
                }
                Err(failed) => failed,
            };
            let url = config.url.clone();
            if is_final(failed.kind()) {
                return Err(ConnectFailed::Refused { url, source: failed });
            }
            if !backoff.wait("connect to NATS", &failed).await {
                return Err(ConnectFailed::Unreachable {
                    url,
                    patience: config.connect_timeout,
                    source: failed,
                });
            }
        }
    }

    fn new(
        client: Client,
        origin: Origin,
        connections: watch::Receiver<u64>,
        denials: broadcast::Sender<Denial>,
    ) -> Self {
        let jetstream = ContextBuilder::new().timeout(API_TIMEOUT).build(client.clone());
        Self {
            client,
            jetstream,
            connections,
            denials,
            origin: Arc::new(origin),
            standing: StandingCell::default(),
            others: Arc::default(),
        }
    }

    /// Another connection to the same NATS, for one purpose alone: what happens to it does not happen to this one.
    pub(crate) async fn another(&self, purpose: &str) -> Result<Self, ConnectFailed> {
        let Origin { config, name } = &*self.origin;
        let other = Self::connect(config, &format!("{name} ({purpose})")).await?;
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds any more were given up.
        others.retain(|counted| Arc::strong_count(counted) > 1);
        others.push(other.client.statistics());
        Ok(other)
    }

    /// How many messages have arrived, over this connection and the present ones that were made from it.
    #[must_use]
    pub fn messages_heard(&self) -> u64 {
        let heard = |counted: &Arc<Statistics>| counted.in_messages.load(Ordering::Relaxed);
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        heard(&self.client.statistics()) + others.iter().map(heard).sum::<u64>()
    }

    /// False once the client has given up for good.
    pub(crate) async fn is_alive(&self) -> bool {
        // Without a connection this waits for one, and that too is a sign of life.
        !matches!(tokio::time::timeout(API_TIMEOUT, self.client.flush()).await, Ok(Err(_)))
    }

    /// What the server denies us from now on. It answers nothing to the message itself.
    #[must_use]
    pub fn denials(&self) -> broadcast::Receiver<Denial> {
        self.denials.subscribe()
    }

    /// Waits until there is another connection than there was when this was called: what was asked over the old one
    /// may never be answered.
    pub(crate) fn reconnected(&self) -> impl Future<Output = ()> + use<> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        async move {
            if connections.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// For publishing, subscribing and requests.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// For streams.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// What the service behind it is just now; nothing where it does not write to the ledger.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.standing.read()
    }

    /// Where the service behind it writes that down.
    pub(crate) fn standing_cell(&self) -> &StandingCell {
        &self.standing
    }

    pub(crate) fn replicas(&self) -> usize {
        self.origin.config.replicas
    }
}

fn addresses(url: &str) -> Result<Vec<async_nats::ServerAddr>, ConnectFailed> {
    let parse =
        |part: &str| part.trim().parse().map_err(|_| ConnectFailed::Address { given: part.to_owned() });
    url.split(',').map(parse).collect()
}

/// Waiting does not help against a server that knows us not.
fn is_final(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation)
}

fn inbox_prefix(given: &str) -> Result<String, ConnectFailed> {
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    let valid = given.split('.').all(is_token) && Subject::takes_answers(&format!("{given}."));
    valid.then(|| given.to_owned()).ok_or_else(|| ConnectFailed::InboxPrefix { given: given.to_owned() })
}

fn options(
    config: &NatsConfig,
    name: &str,
    connections: watch::Sender<u64>,
    denials: broadcast::Sender<Denial>,
) -> Result<ConnectOptions, ConnectFailed> {
    let watcher = Watcher { connections, denials, lost: AtomicU64::new(0) };
    let options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(inbox_prefix(&config.inbox_prefix)?)
        .max_reconnects(None)
        .ping_interval(PING_EVERY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(CLIENT_CAPACITY)
        .reconnect_delay_callback(reconnect_pause)
        .event_callback(move |event| {
            watcher.note(&event);
            std::future::ready(())
        });
    Ok(identify(options, config))
}

/// Adds what the server is to know us by, and we it.
fn identify(mut options: ConnectOptions, config: &NatsConfig) -> ConnectOptions {
    if let Some(user) = &config.user {
        let password = config.password.as_ref().map_or("", Secret::reveal);
        options = options.user_and_password(user.clone(), password.to_owned());
    }
    if let Some(token) = &config.token {
        options = options.token(token.reveal().to_owned());
    }
    if let Some(path) = &config.ca_file {
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    options
}

fn reconnect_pause(tries: usize) -> Duration {
    let doubled = Duration::from_millis(10) * 2_u32.pow(u32::try_from(tries.min(10)).unwrap_or(10));
    doubled.min(LONGEST_RECONNECT_PAUSE)
}

/// Hears of what happens to the connection.
struct Watcher {
    connections: watch::Sender<u64>,
    denials: broadcast::Sender<Denial>,
    /// How many messages were lost because nobody took them in time.
    lost: AtomicU64,
}

impl Watcher {
    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connections.send_modify(|count| *count += 1);
                info!("connected to NATS");
            }
            Event::Disconnected => warn!("lost the connection to NATS, trying to get it back"),
            Event::SlowConsumer(subscription) => self.note_lost(*subscription),
            Event::LameDuckMode => info!("the NATS server is about to stop"),
            Event::ServerError(failure) => self.note_error(failure),
            Event::ClientError(failure) => warn!(error = %failure, "the NATS client reports an error"),
            Event::Draining | Event::Closed => debug!(%event, "NATS"),
        }
    }

    fn note_error(&self, failure: &ServerError) {
        error!(error = %failure, "NATS reports an error");
        if let ServerError::Other(text) = failure
            && let Some(denial) = Denial::read(text)
        {
            // Mostly nobody listens.
            let _ = self.denials.send(denial);
        }
    }

    /// Each lost message is an event; the log has one line for each doubling.
    fn note_lost(&self, subscription: u64) {
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        if lost.is_power_of_two() {
            warn!(
                subscription,
                lost, "a subscription is full: messages are lost until this process catches up"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_are_given_with_commas() {
        assert_eq!(addresses("nats://a:4222, nats://b:4222").unwrap().len(), 2);
        assert!(addresses("nats://a:x").unwrap_err().to_string().contains("nats://HOST:4222"));
    }

    #[test]
    fn an_inbox_prefix_that_would_break_a_subject_is_refused() {
        assert!(inbox_prefix("_INBOX.research").is_ok());
        for given in ["", "a b", "a.", "a.>", "*", "allot"] {
            assert!(inbox_prefix(given).unwrap_err().to_string().contains("_INBOX_research"), "{given}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_what_to_do() {
        let config = NatsConfig {
            url: "nats://127.0.0.1:1".into(),
            connect_timeout: Span::from_millis(50),
            ..NatsConfig::default()
        };
        let error = Bus::connect(&config, "test").await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:1") && error.contains("--nats"), "{error}");
    }
}
