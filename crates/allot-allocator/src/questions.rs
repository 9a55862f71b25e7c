//! Questions of people: why a job waits, or how a shadow compares. Why jobs wait is heard only while this allocator decides,
//! so that who asks is told at once that nobody answers where it is another, which need not know the subject.

use std::fmt::Debug;
use std::future::pending;

use allot_bus::Subject;
use allot_engine::Engine;
use allot_model::view::{Refusal, RefusalKind};
use allot_model::{Answer, JobId, WhyView};
use allot_shell::{Bus, Incoming};
use async_nats::{Client, Message, Subscriber};
use futures::{FutureExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::unconstrained;
use tracing::debug;

/// The subject of questions, as an allocator sees it.
pub(crate) struct Questions {
    client: Client,
    subject: String,
    heard: Option<Subscriber>,
}

impl Questions {
    /// Hears nothing yet of what is asked there.
    pub(crate) fn new(bus: &Bus, subject: &Subject) -> Self {
        Self { client: bus.client().clone(), subject: subject.to_string(), heard: None }
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

    /// Answers a question. One that wants no answer gets none.
    pub(crate) async fn answer<Q: DeserializeOwned, A: Serialize + Debug>(
        &self,
        question: Message,
        answer: impl FnOnce(Q) -> Answer<A>,
    ) -> anyhow::Result<()> {
        let Some(reply) = question.reply.clone() else { return Ok(()) };
        let answer = match Incoming::from(question).json::<Q>() {
            Ok(query) => answer(query),
            Err(malformed) => refused(RefusalKind::Invalid, malformed.to_string()),
        };
        debug!(answer = ?answer, "a question was answered");
        Ok(self.client.publish(reply, serde_json::to_vec(&answer)?.into()).await?)
    }
}

/// Why tasks of a job wait, from what the engine knows.
pub(crate) fn why(engine: &mut Engine, job: JobId) -> Answer<WhyView> {
    let unknown = || format!("job {job} has no tasks that wait for a place");
    engine.explain(job).map_or_else(|| refused(RefusalKind::NotFound, unknown()), Answer::Ok)
}

fn refused<A>(code: RefusalKind, message: String) -> Answer<A> {
    Answer::Error(Refusal { code, message })
}
