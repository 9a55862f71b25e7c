//! Asking the offers service for everything, without becoming an allocator.

use std::time::Duration;

use allot_bus::Subject;
use allot_engine::Policy;
use allot_model::view::{AccountQuery, Answer, PolicyView};
use allot_model::{Feed, PoolName, SyncPart};
use allot_proto::Wire;
use allot_sim::Present;
use async_nats::{Message, StatusCode};
use futures::StreamExt;
use serde_json::json;
use tokio::time::timeout;

use super::parsed;
use crate::client::Client;
use crate::failure::Failure;

/// How long each part of the account may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked anew where a part was lost.
const TRIES: u32 = 3;

/// What came of a part.
enum Part {
    Told(Feed),
    /// Not the one that is next: another was lost.
    Lost,
}

/// The pool as it stands.
///
/// # Errors
/// Where it has more jobs, agents and placements than `most`, or the offers service does not answer.
pub(crate) async fn present(client: &Client, most: Option<u64>) -> Result<Present, Failure> {
    for _ in 0..TRIES {
        let asked = client.unless_denied(ask(client, most)).await.map_err(Failure::Denied)?;
        if let Some(present) = asked? {
            return Ok(present);
        }
    }
    Err(Failure::failed("the account of the pool came incomplete, several times: try again"))
}

/// Nothing where a part was lost.
async fn ask(client: &Client, most: Option<u64>) -> Result<Option<Present>, Failure> {
    let nats = client.bus().client();
    let inbox = nats.new_inbox();
    let mut answers = nats.subscribe(inbox.clone()).await.map_err(Failure::internal)?;
    let subject = Subject::PoolAccount(PoolName::default_pool());
    let query = serde_json::to_vec(&AccountQuery { most }).map_err(Failure::internal)?;
    nats.publish_with_reply(subject.to_string(), inbox, query.into()).await.map_err(Failure::internal)?;
    let mut present = Present::default();
    for number in 0.. {
        let message = timeout(PATIENCE, answers.next()).await.ok().flatten().ok_or_else(silent)?;
        let Part::Told(part) = read(&message, number)? else { return Ok(None) };
        part.items.iter().for_each(|item| present.apply(item));
        if matches!(part.sync, Some(SyncPart::Last | SyncPart::Only)) {
            return Ok(Some(present));
        }
    }
    Ok(None)
}

fn read(message: &Message, number: u32) -> Result<Part, Failure> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(silent());
    }
    if message.payload.first() == Some(&b'{') {
        return match serde_json::from_slice(&message.payload) {
            Ok(Answer::<()>::Error(refusal)) => Err(Failure::Refused(refusal)),
            _ => Err(Failure::failed("the offers service answered what this version of allot cannot read")),
        };
    }
    let part = Feed::decode(&message.payload).map_err(|error| {
        Failure::failed(format!(
            "the offers service answered what this version of allot cannot read: {error}"
        ))
    })?;
    Ok(if part.part == number { Part::Told(part) } else { Part::Lost })
}

fn silent() -> Failure {
    Failure::Unreachable("the offers service does not answer: `allot doctor` tells more".to_owned())
}

/// The policy that decides, with its options: it has tasks stopped only as far as the offers service allows.
///
/// # Errors
/// Where none decides, or it does not tell its options.
pub(crate) async fn deciding(client: &Client) -> Result<Policy, Failure> {
    let subject = Subject::PoolPolicy(PoolName::default_pool());
    let view: PolicyView = client.ask(&subject, &json!({})).await?;
    let Some(active) = view.allocators.iter().find(|allocator| allocator.active) else {
        return Err(Failure::failed(
            "no allocator decides, so nothing would start: start one (`allot policy` shows who is there)",
        ));
    };
    let described = active.described.as_deref().ok_or_else(|| {
        Failure::failed(format!(
            "the allocator that decides runs the policy {} and does not tell how it is to be simulated: name a policy \
             that is like it, such as --policy drf",
            active.policy
        ))
    })?;
    let mut policy = parsed(described)?;
    policy.preempt.preempt = policy.preempt.preempt.and(view.preemption.preempt);
    Ok(policy)
}
