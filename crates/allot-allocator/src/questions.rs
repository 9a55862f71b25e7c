//! Questions of people: why a job waits. They are heard only while this allocator decides, so that who asks is told
//! at once that nobody answers where it is another, which need not know the subject.

use std::future::pending;

use allot_bus::Subject;
use allot_engine::Engine;
use allot_model::view::{Refusal, RefusalKind};
use allot_model::{Answer, JobId, PoolName, WhyQuery, WhyView};
use allot_shell::{Bus, Incoming};
use async_nats::{Client, Message, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tracing::debug;

/// The subject of questions, as an allocator sees it.
pub(crate) struct Questions {
    client: Client,
    subject: String,
    heard: Option<Subscriber>,
}

impl Questions {
    /// Hears nothing yet.
    pub(crate) fn new(bus: &Bus, pool: &PoolName) -> Self {
        let subject = Subject::PoolWhy(pool.clone()).to_string();
        Self { client: bus.client().clone(), subject, heard: None }
    }

    /// From now on questions are for this allocator, or are not.
    pub(crate) async fn are_for_us(&mut self, ours: bool) -> anyhow::Result<()> {
        match (self.heard.take(), ours) {
            (None, true) => self.heard = Some(self.client.subscribe(self.subject.clone()).await?),
            (Some(mut heard), false) => heard.unsubscribe().await?,
            (heard, _) => self.heard = heard,
        }
        Ok(())
    }

    /// The next question.
    pub(crate) async fn next(&mut self) -> Message {
        let next = match &mut self.heard {
            Some(heard) => heard.next().await,
            None => None,
        };
        match next {
            Some(question) => question,
            None => pending().await,
        }
    }

    /// A question that is there already.
    pub(crate) fn ready(&mut self) -> Option<Message> {
        unconstrained(self.next()).now_or_never()
    }

    /// Answers a question from what the engine knows. One that wants no answer gets none.
    pub(crate) async fn answer(&self, question: Message, engine: &mut Engine) -> anyhow::Result<()> {
        let Some(reply) = question.reply.clone() else { return Ok(()) };
        let answer = match Incoming::from(question).json::<WhyQuery>() {
            Ok(query) => why(engine, query.job),
            Err(malformed) => refused(RefusalKind::Invalid, malformed.to_string()),
        };
        debug!(answer = ?answer, "a question was answered");
        Ok(self.client.publish(reply, serde_json::to_vec(&answer)?.into()).await?)
    }
}

fn why(engine: &mut Engine, job: JobId) -> Answer<WhyView> {
    let unknown = || format!("job {job} has no tasks that wait for a place");
    engine.explain(job).map_or_else(|| refused(RefusalKind::NotFound, unknown()), Answer::Ok)
}

fn refused(code: RefusalKind, message: String) -> Answer<WhyView> {
    Answer::Error(Refusal { code, message })
}
