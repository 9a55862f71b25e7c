//! The streams, with the settings that allot rests on, and whether they are still those that services have read.

use allot_bus::Stream;
use allot_model::JobId;
use allot_shell::Denial;
use allot_shell::services::RunningService;
use allot_shell::streams::{Difference, Mend, differences};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::Info;
use futures::future::join_all;

use super::PATIENCE;
use super::check::Check;
use super::majority::{LOOK_AGAIN, Servers};
use crate::client::Client;
use crate::output::bytes;

/// The error code of JetStream for a stream that does not exist.
const STREAM_NOT_FOUND: u64 = 10_059;
/// What is to be done where the ledger is gone, in whole or in part.
const BEGIN_ANEW: &str =
    "stop the services, and do as docs/operations.md says of a store that is lost (Backing up)";
/// What is to be done where the inbox is gone.
const ANEW_INBOX: &str = "restart the dispatcher: it makes the stream anew and goes on counting above all ids that jobs have;\n\
                          then submit again what `allot jobs` does not list";
/// Fewer copies than these are no help where a server is lost.
const ENOUGH_REPLICAS: usize = 3;
/// How a stream comes to have so many.
const MORE_REPLICAS: &str = "with three servers set ALLOT_NATS_REPLICAS=3 for every service and restart one: it has all streams kept on three";

/// A stream as it was found.
#[derive(Debug)]
pub(super) struct Seen {
    stream: Stream,
    found: Found,
}

/// What came of asking for a stream.
#[derive(Debug)]
enum Found {
    There(Box<Info>),
    Missing,
    Denied(Denial),
    /// Nobody who knows it answers.
    Silent(String),
}

/// What services say of the past, asked before the streams were looked at: no service can be ahead of them.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Those that run, as far as this user may see.
    pub(super) running: Option<Vec<RunningService>>,
    /// The newest job that the dispatcher has read.
    pub(super) newest_job: Option<JobId>,
}

/// Looks at every stream.
pub(super) async fn look(client: &Client, jetstream: &Context) -> Vec<Seen> {
    if !client.bus().client().server_info().jetstream {
        return Vec::new();
    }
    join_all(Stream::ALL.map(|stream| look_at(client, jetstream, stream))).await
}

async fn look_at(client: &Client, jetstream: &Context, stream: Stream) -> Seen {
    let name = stream.name();
    let asked = format!("$JS.API.STREAM.INFO.{name}");
    let found = match client.unless_denied_on(&asked, jetstream.get_stream(name)).await {
        Err(denial) => Found::Denied(denial),
        Ok(Ok(found)) => Found::There(Box::new(found.cached_info().clone())),
        Ok(Err(error)) if is_missing(&error) => Found::Missing,
        Ok(Err(error)) => Found::Silent(match error.kind() {
            GetStreamErrorKind::Request => format!("no answer within {} s", PATIENCE.as_secs()),
            _ => error.to_string(),
        }),
    };
    Seen { stream, found }
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code().0 == STREAM_NOT_FOUND)
}

/// The last message of the ledger.
pub(super) fn ledger_end(seen: &[Seen]) -> Option<u64> {
    let ledger = seen.iter().find(|seen| seen.stream == Stream::Ledger)?;
    ledger.info().map(|info| info.state.last_sequence)
}

/// What keeps the servers of a cluster from agreeing, as the streams that they keep tell, and what to do about it.
pub(super) fn no_majority(seen: &[Seen]) -> Option<(String, String)> {
    seen.iter().filter_map(Seen::info).find_map(|info| Servers::of(info)?.no_majority())
}

/// What is told of every stream.
pub(super) fn checks(seen: &[Seen], past: &Past, is_cluster: bool) -> Vec<Check> {
    seen.iter().map(|one| one.check(seen, past, is_cluster)).collect()
}

impl Seen {
    fn info(&self) -> Option<&Info> {
        match &self.found {
            Found::There(info) => Some(info),
            _ => None,
        }
    }

    fn check(&self, all: &[Self], past: &Past, is_cluster: bool) -> Check {
        let name = self.stream.name();
        match &self.found {
            Found::Denied(denial) => Check::ok(name, format!("not to be seen: {denial}")),
            Found::Missing => missing(self.stream, witness(all, past)),
            Found::Silent(why) if is_cluster => {
                Check::error(name, format!("no server that keeps it answers: {why}"), LOOK_AGAIN)
            }
            Found::Silent(why) => {
                Check::error(name, format!("cannot be looked at: {why}"), "see the log of nats-server")
            }
            Found::There(info) => there(self.stream, info, past),
        }
    }
}

/// What shows that allot has run on this server before.
fn witness(all: &[Seen], past: &Past) -> Option<String> {
    let running = past.running.iter().flatten().find(|service| service.standing.is_some());
    let written = |seen: &&Seen| seen.info().is_some_and(|info| info.state.last_sequence > 0);
    running
        .map(|service| format!("{} runs", service.name))
        .or_else(|| all.iter().find(written).map(|seen| format!("{} has messages", seen.stream.name())))
}

fn missing(stream: Stream, witness: Option<String>) -> Check {
    let name = stream.name();
    let Some(witness) = witness else {
        return Check::error(
            name,
            "not there: no service of allot has ever run on this server",
            "start the services, which create it, or `allot up`",
        );
    };
    let (gone, advice) = match stream {
        Stream::Inbox => ("submissions that were not decided on yet are gone", ANEW_INBOX),
        Stream::Ledger => ("what was decided and what has happened is gone", BEGIN_ANEW),
        Stream::Output => (
            "the output of ended tasks is gone that their agents do not have any more",
            "restart any service, which makes it anew",
        ),
        Stream::Leases => (
            "which instance of a service is active is not known, and no standby takes over",
            "restart the services one at a time: the first makes it anew",
        ),
    };
    Check::error(name, format!("lost: it is not there, and {witness}: {gone}"), advice)
}

fn there(stream: Stream, info: &Info, past: &Past) -> Check {
    let name = stream.name();
    let held = format!("{} messages, {}", info.state.messages, bytes(info.state.bytes));
    let servers = Servers::of(info);
    if let Some((found, advice)) = servers.as_ref().and_then(Servers::no_majority) {
        return Check::error(name, format!("{held}; {found}"), advice);
    }
    // Who does not lead may not have heard of the newest messages yet.
    if servers.as_ref().is_some_and(|servers| !servers.is_led()) {
        let found = format!("{held}; its servers are about to agree who leads");
        return Check::warning(name, found, LOOK_AGAIN);
    }
    let replaced = match stream {
        Stream::Inbox => inbox_replaced(info, past),
        Stream::Ledger => ledger_replaced(info, past),
        Stream::Output | Stream::Leases => None,
    };
    if let Some((found, advice)) = replaced {
        return Check::error(name, format!("{held}; {found}"), advice);
    }
    let differences = differences(stream, &info.config);
    if !differences.is_empty() {
        return settings(name, &held, &differences);
    }
    if servers.is_some() { replicas(name, info, &held) } else { Check::ok(name, held) }
}

/// An inbox that ends before a job that was read from it gives the ids of known jobs again.
fn inbox_replaced(info: &Info, past: &Past) -> Option<(String, String)> {
    let last = info.state.last_sequence;
    let newest = past.newest_job.filter(|newest| newest.0 > last)?;
    let found = format!(
        "its last id is {last}, and job {newest} was read from it: it was made anew or restored from an older copy, and \
         what is submitted under an id that a job has is never looked at"
    );
    let advice = "restart the dispatcher: it goes on counting above all ids that jobs have;\n\
                  then submit again what `allot jobs` does not list";
    Some((found, advice.to_owned()))
}

/// A ledger that ends before what services have read of it is another one.
fn ledger_replaced(info: &Info, past: &Past) -> Option<(String, String)> {
    let last = info.state.last_sequence;
    let read = |service: &RunningService| {
        Some((service.standing.as_ref()?.ledger_sequence, service.name.clone(), service.usage.host.clone()))
    };
    let (read, who, host) = past.running.iter().flatten().filter_map(read).max()?;
    (read > last).then(|| {
        let found = format!(
            "it ends with message {last}, and {who} on {host} has read up to {read}: it was made anew or restored from an \
             older copy"
        );
        (found, BEGIN_ANEW.to_owned())
    })
}

fn settings(name: &str, held: &str, differences: &[Difference]) -> Check {
    let told: Vec<String> = differences
        .iter()
        .map(|Difference { field, present, wanted, .. }| {
            format!("{field} is {present} and has to be {wanted}")
        })
        .collect();
    let mends = |mend| differences.iter().any(|difference| difference.mend == mend);
    let mut advice = Vec::new();
    if mends(Mend::Start) {
        advice.push("restart any service: each puts this right when it starts".to_owned());
    }
    if mends(Mend::Edit) {
        advice.push(format!(
            "`nats stream edit {name} --max-msgs=-1`: what the stream forgets or refuses, allot lacks"
        ));
    }
    if mends(Mend::Anew) {
        advice.push(format!(
            "storage and retention cannot be changed: stop the services, `nats stream backup {name} DIR`, \
             delete the stream,\nand restore it with `nats stream restore DIR` under the right settings"
        ));
    }
    Check::error(name, format!("{held}\n{}", told.join("\n")), advice.join("\n"))
}

/// In a cluster a stream is to be kept on three servers at least, and wants all of them up to date.
fn replicas(name: &str, info: &Info, held: &str) -> Check {
    let count = info.config.num_replicas;
    let held = format!("{held}, on {count} {}", if count == 1 { "server" } else { "servers" });
    let peers = info.cluster.iter().flat_map(|cluster| &cluster.replicas);
    let late: Vec<&str> =
        peers.filter(|peer| peer.offline || !peer.current).map(|peer| peer.name.as_str()).collect();
    let (found, advice) = match count {
        ..ENOUGH_REPLICAS => (few(count).to_owned(), MORE_REPLICAS),
        _ if late.is_empty() => return Check::ok(name, held),
        _ => (
            format!("not up to date: {}", late.join(", ")),
            "see that these servers run: one more that fails may stop everything",
        ),
    };
    Check::warning(name, format!("{held}; {found}"), advice)
}

fn few(replicas: usize) -> &'static str {
    match replicas {
        2 => "the loss of either stops everything, as both have to agree: no better than one",
        _ => "the loss of that server stops everything, and the loss of its disk loses what is kept",
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::super::majority::tests::info;
    use super::*;
    use crate::services::tests::service;
    use allot_shell::Role;

    fn past(read: Option<u64>, newest_job: Option<u64>) -> Past {
        let dispatcher = |read| service("allot-dispatcher", "h", Some((Role::Active, read)));
        Past { running: Some(read.map(dispatcher).into_iter().collect()), newest_job: newest_job.map(JobId) }
    }

    fn seen(stream: Stream, found: Found) -> Seen {
        Seen { stream, found }
    }

    #[test]
    fn a_stream_that_is_missing_was_lost_where_anything_shows_that_allot_has_run() {
        let empty = seen(Stream::Output, Found::Missing);
        let written = || seen(Stream::Ledger, Found::There(Box::new(info(1, None, &[]))));
        let inbox = || seen(Stream::Inbox, Found::Missing);
        let found = |all: &[Seen], past: &Past| all[0].check(all, past, false).found;
        assert!(found(&[inbox(), empty], &past(None, None)).ends_with("has ever run on this server"));
        assert_eq!(
            found(&[inbox(), written()], &past(None, None)),
            "lost: it is not there, and ALLOT_LEDGER has messages: submissions that were not decided on yet are gone"
        );
        let runs = found(&[inbox()], &past(Some(7), None));
        assert!(runs.starts_with("lost: it is not there, and allot-dispatcher runs: "), "{runs}");
    }

    #[test]
    fn a_ledger_that_ends_before_what_services_have_read_is_another_one() {
        let ledger = info(1, None, &[]);
        assert_eq!(ledger_replaced(&ledger, &past(Some(7), None)), None);
        let (found, advice) = ledger_replaced(&ledger, &past(Some(120), None)).unwrap();
        assert!(
            found.contains("ends with message 7, and allot-dispatcher on h has read up to 120"),
            "{found}"
        );
        assert!(advice.contains("docs/operations.md"), "{advice}");
    }

    #[test]
    fn an_inbox_that_would_give_ids_twice_is_an_error() {
        assert_eq!(inbox_replaced(&info(1, None, &[]), &past(None, Some(7))), None);
        let (found, _) = inbox_replaced(&info(1, None, &[]), &past(None, Some(12))).unwrap();
        assert!(found.starts_with("its last id is 7, and job 12 was read from it"), "{found}");
    }

    #[test]
    fn fewer_than_three_copies_in_a_cluster_are_warned_of() {
        for (count, state, part) in [
            (1, State::Warning, "on 1 server; the loss of that server stops everything"),
            (2, State::Warning, "on 2 servers; the loss of either stops everything"),
            (3, State::Ok, "on 3 servers"),
        ] {
            let check = replicas("s", &info(count, Some("n1"), &[]), "7 messages");
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.found.contains(part), "{check:?}");
        }
    }
}
