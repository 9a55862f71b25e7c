//! What a user does, for tests: submits jobs, asks what became of them, and has the ledger checked.

use std::time::Duration;

use allot_bus::{Subject, headers};
use allot_model::view::Answer;
use allot_model::{JobId, JobQuery, JobView, QueueName};
use allot_shell::Bus;
use anyhow::{Context, bail};
use async_nats::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::programs::{Programs, built};
use crate::wait::eventually;

/// Has the command line check that the ledger keeps what allot promises.
///
/// # Errors
/// Where it does not, with what was found.
pub async fn verify_ledger(programs: &Programs) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new(built("allot")?);
    command.args(["ledger", "verify"]).env("ALLOT_NATS", programs.config().url);
    let said = command.output().await?;
    if said.status.success() {
        return Ok(());
    }
    bail!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
}

/// A user of a cluster.
#[derive(Debug, Clone)]
pub struct User {
    bus: Bus,
}

impl User {
    /// A user of the cluster of these programs, with the streams set up.
    ///
    /// # Errors
    /// Where its nats-server does not answer.
    pub async fn of(programs: &Programs) -> anyhow::Result<Self> {
        let bus = Bus::connect(&programs.config(), "user").await?;
        bus.ensure_streams().await?;
        Ok(Self { bus })
    }

    /// The connection.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Publishes a job and returns its id.
    ///
    /// # Errors
    /// Where the inbox does not take it.
    pub async fn submit(&self, queue: &str, job: &Value) -> anyhow::Result<JobId> {
        self.publish(queue, job.to_string().into_bytes(), None).await
    }

    /// Publishes anything to a queue, with a message id where one is given, and returns its place in the inbox.
    ///
    /// # Errors
    /// Where the inbox does not take it.
    pub async fn publish(
        &self,
        queue: &str,
        payload: Vec<u8>,
        message_id: Option<&str>,
    ) -> anyhow::Result<JobId> {
        let mut given = HeaderMap::new();
        if let Some(id) = message_id {
            given.insert(headers::NATS_MSG_ID, id);
        }
        let subject = Subject::Submit(QueueName::new(queue)?).to_string();
        let context = self.bus.jetstream();
        let ack = context.publish_with_headers(subject, given, payload.into()).await?.await?;
        Ok(JobId(ack.sequence))
    }

    /// Asks a service.
    ///
    /// # Errors
    /// Where it does not answer, or refuses.
    pub async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        subject: Subject,
        query: &Q,
    ) -> anyhow::Result<A> {
        let payload = serde_json::to_vec(query)?;
        let message = self.bus.client().request(subject.to_string(), payload.into()).await?;
        match serde_json::from_slice(&message.payload).context("the answer is not readable")? {
            Answer::Ok(answer) => Ok(answer),
            Answer::Error(refusal) => bail!(refusal),
        }
    }

    /// All about a job.
    ///
    /// # Errors
    /// As [`User::ask`].
    pub async fn show(&self, job: JobId) -> anyhow::Result<JobView> {
        let query = JobQuery { limit: 100_000, ..JobQuery::default() };
        self.ask(Subject::JobShow(job), &query).await
    }

    /// Waits until the job has ended.
    ///
    /// # Panics
    /// Where it has not after `patience`.
    pub async fn ended(&self, job: JobId, patience: Duration) -> JobView {
        eventually(&format!("job {job} has ended"), patience, || async {
            self.show(job).await.ok().filter(|view| view.summary.state.is_final())
        })
        .await
    }
}
