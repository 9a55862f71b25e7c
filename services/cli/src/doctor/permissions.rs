//! What the user of this connection may do: tried where that is harmless, read from the server's rules otherwise.

use allot_bus::{Stream, Subject, headers};
use allot_model::view::{AccountQuery, JobsQuery, LogQuery, LogStream, WhyQuery};
use allot_model::{AgentId, AttemptId, JobId, PoolName, QueueName};
use allot_shell::Denial;
use async_nats::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::PATIENCE;
use super::check::Check;
use super::user::User;
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::From;

/// No stream has this name: what is published for it is taken by none.
const NO_STREAM: &str = "ALLOT_NOWHERE";
/// What has to be allowed for a queue's submissions.
const SUBMIT: &str = "allot.v1.submit.";

/// Tries what users do.
pub(super) async fn checks(client: &Client, user: &User, queue: Option<QueueName>) -> Vec<Check> {
    let given = queue.is_some();
    let queue = queue.or_else(|| own_queue(user)).or_else(|| QueueName::new("default").ok());
    let mut checks = Vec::new();
    if let Some(queue) = queue {
        checks.push(submission(queue.as_str(), submit(client, &queue).await, given, user));
    }
    let mut tried = user_actions(client).await;
    tried.extend(operator_actions(user));
    checks.extend(summary(&tried));
    checks
}

/// What became of an action that was tried.
type Tried = (&'static str, Result<(), String>);

/// The first queue that the user may submit to, where not all are.
fn own_queue(user: &User) -> Option<QueueName> {
    let patterns = user.rules.as_ref()?.may_publish_to()?;
    let queues = patterns.iter().filter_map(|pattern| pattern.strip_prefix(SUBMIT));
    queues.filter_map(|queue| QueueName::new(queue.trim_end_matches(".>")).ok()).next()
}

/// How a submission would go.
enum Submission {
    Taken,
    Denied(Denial),
    NotTaken(String),
}

/// Publishes what the inbox has to refuse, since it is for another stream: everything but the job itself is tried.
async fn submit(client: &Client, queue: &QueueName) -> Submission {
    let mut wanted = HeaderMap::new();
    wanted.insert(async_nats::header::NATS_EXPECTED_STREAM, NO_STREAM);
    wanted.insert(headers::CONTENT_TYPE, headers::JSON);
    let request = async_nats::Request::new().headers(wanted).payload("{}".into()).timeout(Some(PATIENCE));
    let subject = Subject::Submit(queue.clone()).to_string();
    match client.unless_denied(client.bus().client().send_request(subject, request)).await {
        Err(denial) => Submission::Denied(denial),
        Ok(Err(error)) => Submission::NotTaken(error.to_string()),
        Ok(Ok(reply)) => match serde_json::from_slice::<Value>(&reply.payload) {
            Ok(answer) if answer["stream"] == Stream::Inbox.name() || answer["error"].is_object() => {
                Submission::Taken
            }
            _ => Submission::NotTaken("something else than the inbox answers".to_owned()),
        },
    }
}

fn submission(queue: &str, tried: Submission, given: bool, user: &User) -> Check {
    let name = "submitting";
    let denial = match tried {
        Submission::Taken => {
            return Check::ok(name, format!("to queue {queue} is allowed, and the inbox answers"));
        }
        Submission::NotTaken(why) => {
            return Check::error(
                name,
                format!("to queue {queue} is allowed, but nothing takes it: {why}"),
                format!(
                    "see {} above: the stream takes submissions even while no service runs",
                    Stream::Inbox.name()
                ),
            );
        }
        Submission::Denied(denial) => denial,
    };
    let patterns = user.rules.as_ref().and_then(|rules| rules.may_publish_to()).unwrap_or_default();
    let queues: Vec<&str> = patterns.iter().filter_map(|pattern| pattern.strip_prefix(SUBMIT)).collect();
    let advice = if queues.is_empty() {
        "connect as another user (ALLOT_NATS_USER, ALLOT_NATS_PASSWORD), or ask an operator for permission"
            .to_owned()
    } else {
        format!("this user may submit to: {}", queues.join(", "))
    };
    let found = format!("to queue {queue}: {denial}");
    if given { Check::error(name, found, advice) } else { Check::warning(name, found, advice) }
}

/// Tries what is harmless to try.
async fn user_actions(client: &Client) -> Vec<Tried> {
    let none = JobId(0);
    let one = JobsQuery { limit: 1, ..JobsQuery::default() };
    let mut tried = vec![
        ("list jobs", ask(client, Subject::JobsList, &one).await),
        ("show jobs", ask(client, Subject::JobShow(none), &json!({})).await),
        // There is no job 0.
        ("cancel jobs", ask(client, Subject::JobCancel(none), &json!({})).await),
        ("list agents", ask(client, Subject::AgentsList, &json!({})).await),
        ("list queues", ask(client, Subject::QueuesList, &json!({})).await),
        ("see the policy", ask(client, Subject::PoolPolicy(PoolName::default_pool()), &json!({})).await),
        (
            "ask why jobs wait",
            ask(client, Subject::PoolWhy(PoolName::default_pool()), &WhyQuery { job: none }).await,
        ),
        (
            "plan jobs",
            // There is always more than nothing, or nothing to tell.
            ask(client, Subject::PoolAccount(PoolName::default_pool()), &AccountQuery { most: Some(0) })
                .await,
        ),
        ("follow events", follow(client).await),
    ];
    if let Ok(agent) = AgentId::new("allot-doctor") {
        // There is no such agent, and no such output.
        let query =
            LogQuery { attempt: AttemptId::new(none, 0, 1), stream: LogStream::Stdout, offset: 0, limit: 1 };
        tried.push(("read output", ask(client, Subject::AgentLogs(agent), &query).await));
    }
    tried
}

async fn ask(client: &Client, subject: Subject, query: &(impl Serialize + Sync)) -> Result<(), String> {
    match client.ask::<Value>(&subject, query).await {
        // Every other failure comes from behind the permission, and is told of elsewhere.
        Err(Failure::Denied(denial)) => Err(denial.to_string()),
        _ => Ok(()),
    }
}

async fn follow(client: &Client) -> Result<(), String> {
    let opened = async {
        let end = client.ledger_end().await?;
        client.follow(From::Sequence(end + 1), None).await
    };
    // A denial comes at once; a ledger that does not answer is told of elsewhere.
    match timeout(PATIENCE, opened).await {
        Ok(Err(Failure::Denied(denial))) => Err(denial.to_string()),
        _ => Ok(()),
    }
}

/// Looks up what would change something, where the server tells its rules.
fn operator_actions(user: &User) -> Vec<Tried> {
    let (Some(rules), Ok(agent)) = (&user.rules, AgentId::new("allot-doctor")) else { return Vec::new() };
    let looked_up = |name, subjects: &[Subject]| {
        let denied = subjects.iter().map(ToString::to_string).find(|subject| !rules.may_publish(subject));
        (
            name,
            denied.map_or(Ok(()), |subject| Err(format!("NATS does not let this user publish to {subject}"))),
        )
    };
    let draining =
        [Subject::AgentDrain(agent.clone()), Subject::AgentUndrain(agent.clone()), Subject::AgentGone(agent)];
    vec![
        looked_up("drain agents", &draining),
        looked_up("change queues", &[Subject::QueuesSet]),
        looked_up("choose the policy", &[Subject::PoolUse(PoolName::default_pool())]),
    ]
}

/// What is allowed in a line, and what is not with the subject.
fn summary(tried: &[Tried]) -> Vec<Check> {
    let allowed: Vec<&str> = tried.iter().filter(|(_, tried)| tried.is_ok()).map(|(name, _)| *name).collect();
    let denied: Vec<String> =
        tried.iter().filter_map(|(name, tried)| Some(format!("{name}: {}", tried.as_ref().err()?))).collect();
    let mut checks = Vec::new();
    if !allowed.is_empty() {
        checks.push(Check::ok("allowed", allowed.join(", ")));
    }
    if !denied.is_empty() {
        checks.push(Check::warning(
            "not allowed",
            denied.join("\n"),
            "where it should be, ask an operator: permissions on these subjects are in NATS' configuration",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;

    fn user(permissions: Value) -> User {
        User { rules: serde_json::from_value(permissions).ok(), ..User::default() }
    }

    #[test]
    fn the_queue_that_is_tried_is_one_that_the_user_may_submit_to() {
        let patterns = ["allot.v1.jobs.list", "allot.v1.submit.research.>"];
        let queue = own_queue(&user(json!({"publish": {"allow": patterns}})));
        assert_eq!(queue.as_ref().map(QueueName::as_str), Some("research"));
        assert_eq!(own_queue(&user(json!({}))), None);
        assert_eq!(own_queue(&user(json!({"publish": {"allow": [">"]}}))), None);
    }

    #[test]
    fn a_queue_that_is_not_the_users_is_an_error_where_it_was_asked_about() {
        let denial =
            || Submission::Denied(Denial { act: allot_shell::denial::Act::Publish, subject: "s".into() });
        let tenant = user(json!({"publish": {"allow": ["allot.v1.submit.research"]}}));
        let check = submission("web", denial(), true, &tenant);
        assert_eq!(check.state, State::Error);
        assert_eq!(check.advice.as_deref(), Some("this user may submit to: research"));
        assert_eq!(submission("web", denial(), false, &tenant).state, State::Warning);
    }

    #[test]
    fn what_is_not_allowed_is_told_with_its_subject() {
        let tried = [("list jobs", Ok(())), ("read output", Err("no s".to_owned()))];
        let checks = summary(&tried);
        assert_eq!(checks[0], Check::ok("allowed", "list jobs"));
        assert_eq!((checks[1].state, checks[1].found.as_str()), (State::Warning, "read output: no s"));
        assert_eq!(summary(&tried[..1]).len(), 1);
    }
}
