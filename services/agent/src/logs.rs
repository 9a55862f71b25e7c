//! Answers questions about what attempts wrote.

use std::io::ErrorKind;

use allot_bus::{Subject, headers};
use allot_model::view::{Answer, Done, LogQuery, Refusal, RefusalKind};
use allot_model::{AgentId, AttemptId};
use allot_shell::{Bus, Malformed};
use async_nats::Message;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::watch;
use tracing::debug;

use crate::executor::Running;
use crate::keeper::Silent;
use crate::output::{Chunk, TaskDirs};
use crate::publisher::tail_headers;

/// The most bytes in one answer: well under what NATS takes in one message.
const MOST_BYTES: usize = 512 << 10;
/// How many questions are answered at a time.
const AT_A_TIME: usize = 8;

/// Answers questions about the attempts of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    pub(crate) bus: Bus,
    pub(crate) agent: AgentId,
    pub(crate) dirs: TaskDirs,
    pub(crate) running: Running,
    pub(crate) silent: Silent,
    /// True while the registry takes this agent for the one of its id.
    pub(crate) admitted: watch::Receiver<bool>,
}

impl Logs {
    /// Answers for as long as the connection lasts, while the agent is admitted: a second one under its id would say that it
    /// has nothing.
    pub(crate) async fn serve(self) -> anyhow::Result<()> {
        let subject = Subject::AgentLogs(self.agent.clone()).to_string();
        let mut admitted = self.admitted.clone();
        // It fails only where the agent has ended.
        while admitted.wait_for(|is_admitted| *is_admitted).await.is_ok() {
            let questions = self.bus.client().subscribe(subject.clone()).await?;
            let mut until = admitted.clone();
            let refused = async move { until.wait_for(|is_admitted| !is_admitted).await.is_ok() };
            tokio::pin!(refused);
            let answered = questions.take_until(refused);
            answered.for_each_concurrent(AT_A_TIME, |question| self.answer(question)).await;
        }
        Ok(())
    }

    async fn answer(&self, question: Message) {
        let Some(reply) = question.reply.filter(|reply| Subject::takes_answers(reply)) else { return };
        let client = self.bus.client();
        let sent = match self.read(&question.payload).await {
            Ok((chunk, ended)) => {
                let mut map = tail_headers(&chunk);
                map.insert(headers::ALLOT_ENDED, ended.to_string());
                client.publish_with_headers(reply, map, chunk.bytes.into()).await
            }
            Err(refusal) => client.publish(reply, refused(refusal)).await,
        };
        sent.unwrap_or_else(|error| debug!(%error, "cannot answer a question about an output"));
    }

    async fn read(&self, payload: &[u8]) -> Result<(Chunk, bool), Refusal> {
        let query: LogQuery = serde_json::from_slice(payload).map_err(|error| invalid(&error))?;
        // Asked before reading: what is read of an attempt that had ended is all there will be.
        let ended = !self.running.contains(query.attempt);
        let dirs = self.dirs.clone();
        let limit = usize::try_from(query.limit).unwrap_or(MOST_BYTES).min(MOST_BYTES);
        let read = move || dirs.read(query.attempt, query.stream, query.offset, limit);
        let chunk = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other).flatten();
        match chunk {
            Ok(chunk) => Ok((chunk, ended)),
            Err(error)
                if error.kind() == ErrorKind::NotFound && (!ended || self.silent.contains(query.attempt)) =>
            {
                Ok((Chunk::default(), ended))
            }
            Err(error) => Err(self.refuse(query.attempt, &error)),
        }
    }

    fn refuse(&self, attempt: AttemptId, error: &std::io::Error) -> Refusal {
        let agent = &self.agent;
        if error.kind() == ErrorKind::NotFound {
            let message =
                format!("agent {agent} has no output of {attempt}: it did not run there, or is too long ago");
            return Refusal { code: RefusalKind::NotFound, message };
        }
        let message = format!("agent {agent} cannot read the output of {attempt}: {error}");
        Refusal { code: RefusalKind::Unavailable, message }
    }
}

fn invalid(error: &serde_json::Error) -> Refusal {
    let example = r#"{"attempt": "12.3#1", "stream": "stdout", "offset": 0, "limit": 65536}"#;
    let fault = Malformed::new(error);
    Refusal {
        code: RefusalKind::Invalid,
        message: format!("this is not a log query: {fault}; write one such as {example}"),
    }
}

fn refused(refusal: Refusal) -> Bytes {
    // Of texts alone: cannot fail.
    serde_json::to_vec(&Answer::<Done>::Error(refusal)).unwrap_or_default().into()
}
