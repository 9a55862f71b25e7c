//! The cluster as the command line sees it: questions, commands, submissions.

use std::future::Future;
use std::time::Duration;

use allot_bus::{Party, Stream, Subject, headers};
use allot_model::view::{AgentUse, AgentView, AgentsQuery, Answer, LogQuery};
use allot_model::{AgentId, JobId, Span, Time};
use allot_shell::config::{self, Layers, Loaded};
use allot_shell::{Bus, ConnectFailed, Denial, NatsConfig, clock};
use async_nats::HeaderMap;
use async_nats::client::{RequestError, RequestErrorKind};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use crate::failure::Failure;

/// How long a cluster of servers may take to agree who leads a stream.
const ELECTION_WITHIN: Span = Span::from_secs(10);
/// The pause between two tries meanwhile.
const ELECTION_PAUSE: Duration = Duration::from_millis(200);
/// How long a service may take to answer before it counts as not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a standby may take to go on for an active one that stopped or was lost. Nobody answers meanwhile.
const HANDOVER_WITHIN: Duration = Duration::from_secs(2);
/// The pause between two tries meanwhile.
const HANDOVER_PAUSE: Duration = Duration::from_millis(50);

/// How long a server that is not there is waited for.
const CONNECT_WITHIN: Span = Span::from_millis(300);

/// A connection to a cluster.
#[derive(Clone)]
pub struct Client {
    bus: Bus,
    patience: Duration,
    handover: Duration,
}

/// What became of a publication to the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Submitted {
    /// The job it is.
    pub job: JobId,
    /// True where the inbox had this message id already, so that nothing new was submitted.
    pub duplicate: bool,
}

/// A piece of a task's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The place of the first byte in the whole output.
    pub offset: u64,
    /// How long the output is so far.
    pub size: u64,
    /// True where nothing more will come.
    pub ended: bool,
    /// The bytes.
    pub bytes: Bytes,
}

impl Client {
    /// Connects to the cluster at `url`, or where `ALLOT_NATS_URL` says. User, password and the like come from the
    /// environment too, under the names that services know them by.
    ///
    /// # Errors
    /// [`Failure::Unreachable`], which says what to do.
    pub async fn connect(url: Option<&str>) -> Result<Self, Failure> {
        let config = settings(url)?;
        match Bus::connect(&config, "allot-cli").await {
            Ok(bus) => Ok(Self::new(bus)),
            Err(ConnectFailed::Unreachable { url, source, .. }) => Err(Failure::Unreachable(format!(
                "no NATS server answers at {url}: {source}\n\
                 start a cluster with `allot up`, or name another server with --nats URL or ALLOT_NATS"
            ))),
            Err(failed @ ConnectFailed::Refused { .. }) => Err(Failure::Unreachable(in_full(failed))),
            Err(failed) => Err(Failure::Usage(in_full(failed))),
        }
    }

    /// The cluster behind a connection that is there already.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus, patience: PATIENCE, handover: HANDOVER_WITHIN }
    }

    /// The same, which waits only so long for an answer, and not at all where nobody listens.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, handover: Duration::ZERO, ..self }
    }

    /// The connection itself.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Asks the service that `subject` belongs to.
    ///
    /// # Errors
    /// [`Failure::Refused`] with the service's own words, [`Failure::Unreachable`] where it does not answer.
    pub async fn ask<A: DeserializeOwned>(
        &self,
        subject: &Subject,
        query: &(impl Serialize + Sync),
    ) -> Result<A, Failure> {
        let payload = serde_json::to_vec(query).map_err(Failure::internal)?;
        let reply = self.request(subject, payload).await?;
        match serde_json::from_slice(&reply.payload) {
            Ok(Answer::Ok(answer)) => Ok(answer),
            Ok(Answer::Error(refusal)) => Err(Failure::Refused(refusal)),
            Err(error) => Err(Failure::failed(format!(
                "the {} answered what this version of allot cannot read: {error}",
                subject.kind().row().to.as_str()
            ))),
        }
    }

    /// All agents.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn agents(&self) -> Result<Vec<AgentView>, Failure> {
        self.pages(&Subject::AgentsList, |view: &AgentView| view.agent.clone()).await
    }

    /// What is allocated and free on each agent.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn usage(&self) -> Result<Vec<AgentUse>, Failure> {
        self.pages(&Subject::AgentsUsage, |usage: &AgentUse| usage.agent.clone()).await
    }

    /// All pages of what is said of agents.
    async fn pages<A: DeserializeOwned>(
        &self,
        subject: &Subject,
        id: impl Fn(&A) -> AgentId,
    ) -> Result<Vec<A>, Failure> {
        let mut all = Vec::new();
        loop {
            let query = AgentsQuery { after: all.last().map(&id), ..AgentsQuery::default() };
            let mut page: Vec<A> = self.ask(subject, &query).await?;
            let is_last = page.len() < AgentsQuery::MOST as usize;
            all.append(&mut page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Reads a piece of a task's output from the agent that has it.
    ///
    /// # Errors
    /// As [`Client::ask`]; an agent that does not have the output refuses.
    pub async fn logs(&self, agent: &allot_model::AgentId, query: &LogQuery) -> Result<LogChunk, Failure> {
        let subject = Subject::AgentLogs(agent.clone());
        let payload = serde_json::to_vec(query).map_err(Failure::internal)?;
        let reply = self.request(&subject, payload).await?;
        let Some(found) = reply.headers.as_ref().and_then(read_chunk_headers) else {
            return Err(refused_logs(&reply.payload));
        };
        let (offset, size, ended) = found;
        Ok(LogChunk { offset, size, ended, bytes: reply.payload })
    }

    /// Publishes a submission and waits until the inbox has it.
    ///
    /// # Errors
    /// [`Failure::Usage`] where it is larger than a submission may be, [`Failure::Unreachable`] where there is no
    /// inbox.
    pub async fn submit(
        &self,
        subject: &Subject,
        payload: Vec<u8>,
        message_id: Option<&str>,
    ) -> Result<Submitted, Failure> {
        let message = submission(payload, message_id)?;
        let context = self.bus.jetstream();
        let since = clock::now();
        loop {
            let publish = async { context.send_publish(subject.to_string(), message.clone()).await?.await };
            match self.unless_denied(publish).await.map_err(Failure::Denied)? {
                Ok(taken) => return Ok(Submitted { job: JobId(taken.sequence), duplicate: taken.duplicate }),
                Err(error) if self.may_be_electing(&error, since) => tokio::time::sleep(ELECTION_PAUSE).await,
                Err(error) => return Err(not_published(error)),
            }
        }
    }

    /// True where the servers of a cluster may still be about to agree who leads the stream after one of them was lost.
    /// Nothing was taken meanwhile.
    fn may_be_electing(&self, error: &PublishError, since: Time) -> bool {
        error.kind() == PublishErrorKind::StreamNotFound && self.may_elect(since)
    }

    /// True where what has failed since then may come of a cluster's servers having lost one of them.
    pub(crate) fn may_elect(&self, since: Time) -> bool {
        let is_cluster = self.bus.client().server_info().cluster.is_some();
        is_cluster && clock::now().since(since) < ELECTION_WITHIN
    }

    /// Asks, again while nobody listens: then nobody has heard it, and a standby may be about to go on.
    async fn request(&self, subject: &Subject, payload: Vec<u8>) -> Result<async_nats::Message, Failure> {
        let payload = Bytes::from(payload);
        let since = clock::now();
        loop {
            let request = async_nats::Request::new().payload(payload.clone()).timeout(Some(self.patience));
            let reply = self.unless_denied(self.bus.client().send_request(subject.to_string(), request));
            match reply.await.map_err(Failure::Denied)? {
                Ok(reply) => return Ok(reply),
                Err(error) if self.may_be_handed_over(subject, &error, since) => {
                    tokio::time::sleep(HANDOVER_PAUSE).await;
                }
                Err(error) => return Err(no_answer(subject, &error, self.patience)),
            }
        }
    }

    /// True where a standby may be about to take the place of who was asked. No agent has one.
    fn may_be_handed_over(&self, subject: &Subject, error: &RequestError, since: Time) -> bool {
        error.kind() == RequestErrorKind::NoResponders
            && subject.kind().row().to != Party::Agent
            && clock::now().since(since).to_std() < self.handover
    }

    /// What becomes of `work`, unless the server denies something meanwhile: what was denied is never answered.
    ///
    /// # Errors
    /// What was denied.
    pub async fn unless_denied<T>(&self, work: impl Future<Output = T>) -> Result<T, Denial> {
        let mut denials = self.bus.denials();
        tokio::select! {
            done = work => Ok(done),
            Ok(denial) = denials.recv() => Err(denial),
        }
    }

    /// The same where several things are asked at a time: only what is denied on this subject counts.
    pub(crate) async fn unless_denied_on<T>(
        &self,
        subject: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, Denial> {
        let mut denials = self.bus.denials();
        let denied = async {
            loop {
                match denials.recv().await {
                    Ok(denial) if denial.subject == subject => return denial,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            done = work => Ok(done),
            denial = denied => Err(denial),
        }
    }
}

/// A job as JSON, as a message for the inbox.
pub(crate) fn submission(payload: Vec<u8>, message_id: Option<&str>) -> Result<PublishMessage, Failure> {
    if payload.len() > Stream::MAX_SUBMISSION_BYTES as usize {
        return Err(too_large(payload.len()));
    }
    let message =
        PublishMessage::build().payload(payload.into()).header(headers::CONTENT_TYPE, headers::JSON);
    Ok(match message_id {
        Some(id) => message.header(headers::NATS_MSG_ID, id),
        None => message,
    })
}

/// Nothing of the command line's own is configured beside the connection.
#[derive(Debug, Default, Serialize, Deserialize)]
struct NoSettings {}

/// How to reach the NATS server at `url`, or where the environment says.
pub(crate) fn settings(url: Option<&str>) -> Result<NatsConfig, Failure> {
    let address = url.map(|url| format!("nats.url={url}"));
    let layers = Layers::new(None, address.into_iter().collect());
    let loaded: Loaded<NoSettings> =
        config::load("cli", &layers).map_err(|error| Failure::Usage(in_full(error)))?;
    Ok(NatsConfig { connect_timeout: CONNECT_WITHIN, ..loaded.nats })
}

/// An error with its causes.
fn in_full(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

fn read_chunk_headers(found: &HeaderMap) -> Option<(u64, u64, bool)> {
    let text = |name: &str| found.get(name).map(async_nats::HeaderValue::as_str);
    let offset = text(headers::ALLOT_OFFSET)?.parse().ok()?;
    let size = text(headers::ALLOT_SIZE)?.parse().ok()?;
    Some((offset, size, text(headers::ALLOT_ENDED) == Some("true")))
}

fn refused_logs(payload: &[u8]) -> Failure {
    match serde_json::from_slice::<Answer<serde_json::Value>>(payload) {
        Ok(Answer::Error(refusal)) => Failure::Refused(refusal),
        _ => Failure::failed("the agent answered what this version of allot cannot read"),
    }
}

/// Why a request was not answered, in terms of who should have.
fn no_answer(subject: &Subject, error: &RequestError, patience: Duration) -> Failure {
    let who = match (subject.kind().row().to, subject) {
        (Party::Agent, Subject::AgentLogs(agent)) => format!("agent {agent}"),
        (party, _) => format!("the {}", party.as_str()),
    };
    match error.kind() {
        RequestErrorKind::NoResponders => Failure::Unreachable(format!(
            "the NATS server is there, but {who} is not: nobody listens on {subject}"
        )),
        RequestErrorKind::TimedOut => {
            Failure::Unreachable(format!("{who} did not answer within {} s on {subject}", patience.as_secs()))
        }
        _ => Failure::Unreachable(format!("{who} cannot be asked: {error}")),
    }
}

fn too_large(bytes: usize) -> Failure {
    Failure::Usage(format!(
        "the job is {bytes} bytes as JSON; a submission may have {} at most\n\
         put large inputs into files that the command reads",
        Stream::MAX_SUBMISSION_BYTES
    ))
}

pub(crate) fn not_published(error: PublishError) -> Failure {
    match error.kind() {
        PublishErrorKind::StreamNotFound => Failure::Unreachable(format!(
            "the NATS server is there, but nobody answers for the stream {}, and nothing was submitted: the servers that \
             keep it are down or without a majority, or no dispatcher has ever run there",
            Stream::Inbox.name()
        )),
        PublishErrorKind::TimedOut => Failure::Unreachable(
            "the inbox did not acknowledge the job; it may have taken it: repeat with the same --id to be sure"
                .to_owned(),
        ),
        _ => Failure::failed(format!("the inbox refused the job: {error}")),
    }
}
