//! The services: who is listed on the bus, who answers, and in which version.

use std::collections::BTreeSet;

use allot_bus::Subject;
use allot_model::view::{JobList, JobsQuery};
use allot_model::{PoolName, Time};
use allot_shell::services::RunningService;
use allot_shell::{Role, clock};
use serde::Serialize;
use serde_json::{Value, json};

use super::check::Check;
use super::server::short;
use super::streams::Past;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::length;
use crate::services::{Listed, all, in_order};

/// The version of this program, which every service should have.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// So many messages behind, a standby is not just at it.
const FAR_BEHIND: u64 = 10_000;

/// Asks services what they have read.
pub(super) async fn past(client: &Client) -> Past {
    let jobs: Result<JobList, Failure> = client.ask(&Subject::JobsList, &one_job()).await;
    let newest_job = jobs.ok().and_then(|list| list.jobs.first().map(|job| job.job));
    Past { running: all(client).await.ok(), newest_job }
}

fn one_job() -> JobsQuery {
    JobsQuery { limit: 1, ..JobsQuery::default() }
}

/// Looks at every kind of service: of those that run, and at where the ledger ends.
pub(super) async fn checks(
    client: &Client,
    running: Option<Vec<RunningService>>,
    ledger_end: Option<u64>,
) -> Vec<Check> {
    let listed = running.map(|running| in_order(running, ledger_end));
    let pool = Subject::PoolPolicy(PoolName::default_pool());
    let listed = listed.as_deref();
    let mut checks = vec![
        service(client, "registry", listed, &Subject::AgentsList, &json!({})).await,
        service(client, "offers", listed, &pool, &json!({})).await,
        service(client, "dispatcher", listed, &Subject::JobsList, &one_job()).await,
    ];
    checks.extend(listed.into_iter().flat_map(|listed| {
        [several(listed, "allocators", "allot-allocator-"), several(listed, "agents listed", "allot-agent")]
    }));
    if listed.is_none() {
        checks.push(Check::ok("listing", "which services are listed is not to be seen by this user"));
    }
    checks
}

/// One that is active, with any number of standbys, and answers questions.
async fn service(
    client: &Client,
    name: &str,
    listed: Option<&[Listed]>,
    subject: &Subject,
    question: &(impl Serialize + Sync),
) -> Check {
    let asked = clock::now();
    let answer: Result<Value, Failure> = client.ask(subject, question).await;
    let now = clock::now();
    let took = short(now.since(asked));
    let program = format!("allot-{name}");
    let there: Option<Vec<&Listed>> =
        listed.map(|listed| listed.iter().filter(|one| one.service.name == program).collect());
    judge(name, there.as_deref(), answer.map(|_| took), now)
}

fn judge(name: &str, there: Option<&[&Listed]>, answered: Result<String, Failure>, now: Time) -> Check {
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
                format!("{}, but does not answer", told(there, now)),
                "see its log: it may still be reading the ledger, or cannot write to it",
            );
        }
        (Err(_), _) => return Check::error(name, "not there", start),
    };
    let found = format!("{}, answers in {took}", told(there, now));
    let Some(there) = there else { return Check::ok(name, format!("answers in {took}")) };
    let active = there.iter().filter(|one| role(one) == Some(Role::Active)).count();
    let instances = there.iter().filter(|one| one.standing().is_some()).count();
    match () {
        () if there.is_empty() => Check::ok(name, format!("answers in {took}; it is not listed by name")),
        () if there.iter().any(|one| one.service.version != VERSION) => {
            Check::warning(name, found, other_version())
        }
        () if instances > 0 && active != 1 => Check::warning(
            name,
            format!("{active} are active: {found}"),
            "look again: one instance is just taking over from another; where it stays, see their logs",
        ),
        () if there.iter().any(|one| one.behind.is_some_and(|behind| behind > FAR_BEHIND)) => {
            Check::warning(name, found, "see its log and the load of its machine: it reads too slowly")
        }
        () => Check::ok(name, found),
    }
}

fn role(listed: &Listed) -> Option<Role> {
    listed.standing().map(|standing| standing.role)
}

fn told(there: Option<&[&Listed]>, now: Time) -> String {
    let one = |listed: &&Listed| {
        let Listed { service, behind } = listed;
        let behind = behind.unwrap_or(0);
        let what = service.standing.as_ref().map_or_else(String::new, |standing| match standing.role {
            Role::Active => format!(" active for {}", length(now.since(standing.since))),
            Role::Standby if behind == 0 => " standby, has read all".to_owned(),
            Role::Standby => format!(" standby, {behind} messages behind"),
            Role::Starting => format!(" starting, {behind} messages behind"),
        });
        format!("{} on {}{what}", service.version, service.usage.host)
    };
    there.unwrap_or_default().iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// Those of which there may be any number. That there are none is said by those who need them.
fn several(listed: &[Listed], name: &str, program: &str) -> Check {
    let found: Vec<_> =
        listed.iter().map(|one| &one.service).filter(|one| one.name.starts_with(program)).collect();
    let versions: BTreeSet<&str> = found.iter().map(|one| one.version.as_str()).collect();
    let kinds: BTreeSet<&str> = found
        .iter()
        .filter_map(|one| one.name.strip_prefix(program))
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
    use crate::services::tests::service;
    use allot_model::Span;
    use allot_shell::denial::{Act, Denial};

    fn listed(version: &str, standing: Option<(Role, u64)>) -> Listed {
        let service = service("allot-registry", "h", standing);
        let service = RunningService { version: version.to_owned(), ..service };
        Listed { behind: standing.map(|(_, read)| 100_000 - read), service }
    }

    fn since_start() -> Time {
        listed(VERSION, Some((Role::Active, 0))).standing().unwrap().since + Span::from_secs(60)
    }

    #[test]
    fn a_service_is_judged_by_its_listing_and_its_answer() {
        let (now, old) = (listed(VERSION, None), listed("0.0.1", None));
        let answers = || Ok("1ms".to_owned());
        let silent = || Err(Failure::Unreachable("no".into()));
        let denial = || Denial { act: Act::Publish, subject: "x".into() };
        let denied = || Err(Failure::Denied(denial()));
        let cases = [
            (Some(vec![&now]), answers(), State::Ok, format!("{VERSION} on h, answers in 1ms")),
            (Some(vec![&old]), answers(), State::Warning, "0.0.1 on h, answers in 1ms".to_owned()),
            (Some(vec![]), answers(), State::Ok, "answers in 1ms; it is not listed by name".to_owned()),
            (None, answers(), State::Ok, "answers in 1ms".to_owned()),
            (Some(vec![&now]), silent(), State::Error, format!("{VERSION} on h, but does not answer")),
            (Some(vec![]), silent(), State::Error, "not there".to_owned()),
            (None, denied(), State::Warning, "NATS does not let this user publish to x".to_owned()),
        ];
        for (there, answered, state, found) in cases {
            let check = judge("registry", there.as_deref(), answered, since_start());
            assert_eq!((check.state, check.found.as_str()), (state, found.as_str()));
        }
    }

    #[test]
    fn of_several_instances_one_is_active_and_the_others_are_not_far_behind() {
        let active = listed(VERSION, Some((Role::Active, 100_000)));
        let (near, far) =
            (listed(VERSION, Some((Role::Standby, 99_990))), listed(VERSION, Some((Role::Standby, 0))));
        let cases = [
            (
                vec![&active, &near],
                State::Ok,
                "0.1.0 on h active for 1m00s and 0.1.0 on h standby, 10 messages behind, answers in 1ms",
            ),
            (
                vec![&active, &far],
                State::Warning,
                "0.1.0 on h active for 1m00s and 0.1.0 on h standby, 100000 messages behind, answers in 1ms",
            ),
            (
                vec![&active, &active],
                State::Warning,
                "2 are active: 0.1.0 on h active for 1m00s and 0.1.0 on h active for 1m00s, answers in 1ms",
            ),
            (
                vec![&near],
                State::Warning,
                "0 are active: 0.1.0 on h standby, 10 messages behind, answers in 1ms",
            ),
        ];
        for (there, state, found) in cases {
            let check = judge("registry", Some(&there), Ok("1ms".to_owned()), since_start());
            assert_eq!((check.state, check.found.as_str()), (state, found));
        }
    }

    #[test]
    fn several_are_counted_with_their_kinds_and_versions() {
        let of = |name: &str, version: &str| Listed {
            service: RunningService { version: version.to_owned(), ..service(name, "h", None) },
            behind: None,
        };
        let listed = [of("allot-allocator-drf", VERSION), of("allot-allocator-fifo", "0.0.1")];
        let check = several(&listed, "allocators", "allot-allocator-");
        assert_eq!(check.state, State::Warning);
        assert_eq!(check.found, format!("2: drf, fifo, version 0.0.1 and {VERSION}"));
        assert_eq!(several(&[], "allocators", "allot-allocator-").found, "0");
    }
}
