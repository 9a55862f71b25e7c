//! The loop: hear everything that is there, decide once, say it.

use std::future::pending;
use std::time::Duration;

use allot_engine::{Engine, Input, Output};
use allot_model::{Core, Span, Time, WhyQuery};
use allot_shell::{Shutdown, clock};
use async_nats::Message;
use tracing::{debug, info, warn};

use crate::link::{Heard, Link};
use crate::questions::{Questions, why};

/// How many messages are heard before what they lead to is decided.
const MOST_AT_ONCE: usize = 1_024;

/// For how long messages are heard before that: those of a long account are large, and a beat is not to wait for them.
const LONGEST_AT_ONCE: Span = Span::from_millis(100);

/// How long to try to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// What woke the loop.
pub(crate) enum Woken {
    Stop,
    Due,
    Heard(Heard),
    Asked(Message),
    Closed,
}

pub(crate) async fn serve(
    mut engine: Engine,
    mut link: Link,
    mut questions: Questions,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let mut was_active = false;
    loop {
        let mut asked = None;
        match wait(engine.next_wake(), &mut link, &mut questions, shutdown).await {
            Woken::Stop => return leave(&link).await,
            Woken::Due => {}
            Woken::Heard(heard) => hear(&mut engine, &mut link, heard),
            Woken::Asked(question) => asked = Some(question),
            Woken::Closed => anyhow::bail!("the connection to NATS is closed"),
        }
        let mut out = Vec::new();
        engine.wake(clock::now(), &mut out);
        if engine.is_active() != was_active {
            was_active = engine.is_active();
            tell_role(was_active);
            questions.are_for_us(was_active).await?;
        }
        say(&engine, &link, out).await?;
        // One a round, once all that is decided has been said: however many are asked, decisions go on.
        if let Some(question) = asked.or_else(|| questions.ready()) {
            questions.answer(question, |query: WhyQuery| why(&mut engine, query.job)).await?;
        }
    }
}

/// Where NATS is away, the others find out by our silence.
pub(crate) async fn leave(link: &Link) -> anyhow::Result<()> {
    tokio::time::timeout(GOODBYE_WITHIN, link.goodbye()).await.unwrap_or(Ok(()))
}

fn tell_role(is_active: bool) {
    if is_active {
        info!("this allocator decides now");
    } else {
        info!("this allocator does not decide any more: another does, or the feed was interrupted");
    }
}

pub(crate) async fn wait(
    due: Option<(Time, &'static str)>,
    link: &mut Link,
    questions: &mut Questions,
    shutdown: &Shutdown,
) -> Woken {
    tokio::select! {
        biased;
        () = shutdown.wait() => Woken::Stop,
        heard = link.next() => heard.map_or(Woken::Closed, Woken::Heard),
        question = questions.next() => Woken::Asked(question),
        () = until(due) => Woken::Due,
    }
}

async fn until(due: Option<(Time, &'static str)>) {
    match due {
        Some((at, _)) => tokio::time::sleep(at.since(clock::now()).to_std()).await,
        None => pending().await,
    }
}

/// Gives the engine this message and all others that are there, so that one pass sees them all.
fn hear(engine: &mut Engine, link: &mut Link, first: Heard) {
    let begun = clock::now();
    take(engine, begun, first);
    for _ in 1..MOST_AT_ONCE {
        let now = clock::now();
        if now.since(begun) >= LONGEST_AT_ONCE {
            return;
        }
        let Some(heard) = link.ready() else { return };
        take(engine, now, heard);
    }
}

fn take(engine: &mut Engine, now: Time, heard: Heard) {
    let input = match heard {
        Ok(feed) => Input::Feed(feed),
        Err(error) => {
            warn!(%error, "a message of the offers service cannot be read, asking for everything anew");
            Input::Unreadable
        }
    };
    engine.handle(now, input, &mut Vec::new());
}

pub(crate) async fn say(engine: &Engine, link: &Link, out: Vec<Output>) -> anyhow::Result<()> {
    let mut messages = Vec::new();
    for output in out {
        match output {
            Output::Hello => {
                debug!("asking the offers service for everything");
                link.hello(engine.presence()).await?;
            }
            Output::Say(message) => messages.push(message),
        }
    }
    link.say(messages).await
}
