//! The loop of a shadow: hear message by message, so that each grant is compared with what it would have granted from the state
//! just before; say nothing but that it is there; tell how it compares.

use allot_engine::Output;
use allot_model::{Answer, CompareQuery, Core, Time};
use allot_shell::{Shutdown, clock};
use allot_sim::Shadow;
use tracing::{info, warn};

use crate::link::{Heard, Link};
use crate::questions::Questions;
use crate::serve::{Woken, leave, say, wait};

pub(crate) async fn serve(
    mut shadow: Shadow,
    mut link: Link,
    mut questions: Questions,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    info!("this allocator is a shadow: it follows, is compared, and never decides");
    questions.are_for_us(true).await?;
    loop {
        let due = shadow.engine().next_wake();
        match wait(due, &mut link, &mut questions, shutdown).await {
            Woken::Stop => return leave(&link).await,
            Woken::Due => {}
            Woken::Heard(heard) => hear(&mut shadow, clock::now(), heard),
            Woken::Asked(question) => {
                let told = |_: CompareQuery| Answer::Ok(shadow.view(clock::now()));
                questions.answer(question, told).await?;
            }
            Woken::Closed => anyhow::bail!("the connection to NATS is closed"),
        }
        let mut out: Vec<Output> = Vec::new();
        shadow.wake(clock::now(), &mut out);
        say(shadow.engine(), &link, out).await?;
    }
}

fn hear(shadow: &mut Shadow, now: Time, heard: Heard) {
    match heard {
        Ok(feed) => shadow.follow(now, feed),
        Err(error) => {
            warn!(%error, "a message of the offers service cannot be read, asking for everything anew");
            shadow.missed(now);
        }
    }
}
