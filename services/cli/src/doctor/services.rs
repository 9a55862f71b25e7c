//! The services: who is listed on the bus, who answers, and in which version.

use std::collections::BTreeSet;

use allot_bus::Subject;
use allot_model::PoolName;
use allot_model::view::JobsQuery;
use allot_shell::census::{Listing, census};
use allot_shell::clock;
use serde::Serialize;
use serde_json::{Value, json};

use super::check::Check;
use super::server::short;
use crate::client::Client;
use crate::failure::Failure;

/// The version of this program, which every service should have.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Looks at every kind of service.
pub(super) async fn checks(client: &Client) -> Vec<Check> {
    let listed = match client.unless_denied(census(client.bus())).await {
        Ok(Ok(listed)) => Some(listed),
        Ok(Err(_)) | Err(_) => None,
    };
    let one = JobsQuery { limit: 1, ..JobsQuery::default() };
    let pool = Subject::PoolPolicy(PoolName::default_pool());
    let listed = listed.as_deref();
    let mut checks = vec![
        service(client, "registry", listed, &Subject::AgentsList, &json!({})).await,
        service(client, "offers", listed, &pool, &json!({})).await,
        service(client, "dispatcher", listed, &Subject::JobsList, &one).await,
    ];
    checks.extend(listed.into_iter().flat_map(|listed| {
        [several(listed, "allocators", "allot-allocator-"), several(listed, "agents listed", "allot-agent")]
    }));
    if listed.is_none() {
        checks.push(Check::ok("listing", "which services are listed is not to be seen by this user"));
    }
    checks
}

/// One that is there once and answers questions.
async fn service(
    client: &Client,
    name: &str,
    listed: Option<&[Listing]>,
    subject: &Subject,
    question: &(impl Serialize + Sync),
) -> Check {
    let asked = clock::now();
    let answer: Result<Value, Failure> = client.ask(subject, question).await;
    let took = short(clock::now().since(asked));
    let program = format!("allot-{name}");
    let there: Option<Vec<&Listing>> =
        listed.map(|listed| listed.iter().filter(|listing| listing.name == program).collect());
    judge(name, there.as_deref(), answer.map(|_| took))
}

fn judge(name: &str, there: Option<&[&Listing]>, answered: Result<String, Failure>) -> Check {
    let start = format!(
        "start it: `systemctl start allot@{name}`, `docker compose up --detach {name}`, or `allot up`"
    );
    let took = match (answered, there) {
        (Ok(took), _) => took,
        // An answer all the same: it does not know what was asked for, or is not to be asked by this user.
        (Err(Failure::Refused(_)), _) => "with a refusal".to_owned(),
        (Err(Failure::Denied(denial)), _) => {
            return Check::warning(name, denial.to_string(), "ask an operator for permission");
        }
        (Err(Failure::Failed(why)), _) => {
            return Check::warning(name, why, "upgrade this program or the service");
        }
        (Err(_), Some([_, ..])) => {
            return Check::error(
                name,
                format!("{}, but does not answer", told(there)),
                "see its log: it may still be reading the ledger, or cannot write to it",
            );
        }
        (Err(_), _) => return Check::error(name, "not there", start),
    };
    let found = format!("{}, answers in {took}", told(there));
    match there {
        Some([]) => Check::ok(name, format!("answers in {took}; it is not listed by name")),
        Some([_, _, ..]) => Check::warning(
            name,
            found,
            "run one: of several, all but one end at their next write to the ledger",
        ),
        Some([one]) if one.version != VERSION => Check::warning(name, found, other_version()),
        Some([_]) => Check::ok(name, found),
        None => Check::ok(name, format!("answers in {took}")),
    }
}

fn told(there: Option<&[&Listing]>) -> String {
    let Some(there) = there else { return String::new() };
    let one = |listing: &&Listing| {
        let on = listing.host().map(|host| format!(" on {host}")).unwrap_or_default();
        format!("{}{on}", listing.version)
    };
    there.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// Those of which there may be any number. That there are none is said by those who need them.
fn several(listed: &[Listing], name: &str, program: &str) -> Check {
    let found: Vec<&Listing> = listed.iter().filter(|listing| listing.name.starts_with(program)).collect();
    let versions: BTreeSet<&str> = found.iter().map(|listing| listing.version.as_str()).collect();
    let kinds: BTreeSet<&str> = found
        .iter()
        .filter_map(|listing| listing.name.strip_prefix(program))
        .filter(|kind| !kind.is_empty())
        .collect();
    let mut text = found.len().to_string();
    if !kinds.is_empty() {
        text += &format!(": {}", kinds.into_iter().collect::<Vec<_>>().join(", "));
    }
    if !versions.is_empty() {
        text += &format!(", version {}", versions.iter().copied().collect::<Vec<_>>().join(" and "));
    }
    if versions.iter().any(|version| *version != VERSION) {
        return Check::warning(name, text, other_version());
    }
    Check::ok(name, text)
}

fn other_version() -> String {
    format!("this is allot {VERSION}: upgrade one or the other, services one at a time, agents last")
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;
    use allot_shell::denial::{Act, Denial};

    fn listing(name: &str, version: &str) -> Listing {
        let host = json!({"name": name, "version": version, "metadata": {"host": "h"}});
        serde_json::from_value(host).unwrap()
    }

    #[test]
    fn a_service_is_judged_by_its_listing_and_its_answer() {
        let (now, old) = (listing("allot-registry", VERSION), listing("allot-registry", "0.0.1"));
        let answers = || Ok("1ms".to_owned());
        let silent = || Err(Failure::Unreachable("no".into()));
        let denial = || Denial { act: Act::Publish, subject: "x".into() };
        let denied = || Err(Failure::Denied(denial()));
        let cases = [
            (Some(vec![&now]), answers(), State::Ok, format!("{VERSION} on h, answers in 1ms")),
            (Some(vec![&old]), answers(), State::Warning, "0.0.1 on h, answers in 1ms".to_owned()),
            (
                Some(vec![&now, &now]),
                answers(),
                State::Warning,
                format!("{VERSION} on h and {VERSION} on h, answers in 1ms"),
            ),
            (Some(vec![]), answers(), State::Ok, "answers in 1ms; it is not listed by name".to_owned()),
            (None, answers(), State::Ok, "answers in 1ms".to_owned()),
            (Some(vec![&now]), silent(), State::Error, format!("{VERSION} on h, but does not answer")),
            (Some(vec![]), silent(), State::Error, "not there".to_owned()),
            (None, denied(), State::Warning, "NATS does not let this user publish to x".to_owned()),
        ];
        for (there, answered, state, found) in cases {
            let check = judge("registry", there.as_deref(), answered);
            assert_eq!((check.state, check.found.as_str()), (state, found.as_str()));
        }
    }

    #[test]
    fn several_are_counted_with_their_kinds_and_versions() {
        let listed = [listing("allot-allocator-drf", VERSION), listing("allot-allocator-fifo", "0.0.1")];
        let check = several(&listed, "allocators", "allot-allocator-");
        assert_eq!(check.state, State::Warning);
        assert_eq!(check.found, format!("2: drf, fifo, version 0.0.1 and {VERSION}"));
        assert_eq!(several(&[], "allocators", "allot-allocator-").found, "0");
    }
}
