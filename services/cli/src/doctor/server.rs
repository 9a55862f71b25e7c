//! The connection, the server, JetStream, and whether it writes to the disk at once.

use std::time::Duration;

use allot_model::Span;
use async_nats::jetstream::context::AccountErrorKind;
use async_nats::jetstream::{Context, ErrorCode};
use serde::Deserialize;

use super::check::Check;
use super::majority::LOOK_AGAIN;
use super::user::User;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{bytes, length};

/// The oldest version of nats-server that can do what allot asks of it.
const OLDEST: (u32, u32) = (2, 12);
/// The largest message that services write.
const LARGEST_MESSAGE: usize = 1_000_000;
/// Where a server tells of its JetStream; only the system account is answered.
const JETSTREAM_SETTINGS: &str = "$SYS.REQ.SERVER.PING.JSZ";
const PATIENCE: Duration = Duration::from_secs(1);
/// Clocks that differ by more are worth a look.
pub(super) const CLOCK_TOLERANCE: Span = Span::from_secs(1);

/// There is no connection: nothing else can be looked at.
pub(super) fn not_connected(failure: &Failure) -> Check {
    let text = failure.to_string();
    let (found, advice) =
        text.split_once('\n').unwrap_or((&text, "start a cluster with `allot up`, or name another server"));
    Check::error("connection", found, advice)
}

/// Looks at the server. What keeps its cluster from agreeing is told by the streams.
pub(super) async fn checks(
    client: &Client,
    jetstream: &Context,
    url: &str,
    user: &User,
    no_majority: Option<(String, String)>,
) -> Vec<Check> {
    let info = client.bus().client().server_info();
    let mut checks = vec![connection(url, user), version(&info)];
    if info.max_payload < LARGEST_MESSAGE {
        checks.push(Check::error(
            "max_payload",
            format!(
                "{}: services write messages of up to {LARGEST_MESSAGE} bytes",
                bytes(info.max_payload as u64)
            ),
            "set `max_payload: 1MB` in the configuration of nats-server",
        ));
    }
    checks.push(jetstream_check(client, jetstream, &info, no_majority).await);
    if info.jetstream {
        checks.push(durability(client).await);
    }
    checks.extend(user.clock_ahead_us.and_then(|ahead| clock("the NATS server's clock", ahead)));
    checks
}

fn connection(url: &str, user: &User) -> Check {
    let mut found = url.to_owned();
    if let Some(name) = &user.name {
        found += &format!(" as user {name}");
    }
    if let Some(account) = &user.account {
        found += &format!(" of account {account}");
    }
    if let Some(took) = user.round_trip {
        found += &format!(", {} there and back", short(took));
    }
    Check::ok("connection", found)
}

/// A length below a second with its microseconds.
pub(super) fn short(span: Span) -> String {
    let micros = span.as_micros();
    if micros < 100_000 { format!("{}.{:02}ms", micros / 1_000, micros % 1_000 / 10) } else { length(span) }
}

fn version(info: &async_nats::ServerInfo) -> Check {
    let found = format!("nats-server {}", info.version);
    let (major, minor) = OLDEST;
    match read_version(&info.version) {
        Some(version) if version < OLDEST => {
            Check::error("server", found, format!("upgrade it: allot needs {major}.{minor} or newer"))
        }
        Some(_) => Check::ok("server", found),
        None => Check::warning(
            "server",
            found,
            format!("its version is not one of nats-server: allot needs {major}.{minor} or newer"),
        ),
    }
}

fn read_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

const TURN_ON: &str = "turn it on in the configuration of nats-server, as deploy/nats/nats.conf does:\n\
                       jetstream { store_dir: \"/var/lib/nats\", sync_interval: always }";

async fn jetstream_check(
    client: &Client,
    jetstream: &Context,
    info: &async_nats::ServerInfo,
    no_majority: Option<(String, String)>,
) -> Check {
    if !info.jetstream {
        return Check::error("jetstream", "off: nothing can be kept", TURN_ON);
    }
    let account = match client.unless_denied(jetstream.query_account()).await {
        Err(denial) => {
            return Check::ok("jetstream", format!("on; how full it is is not to be seen: {denial}"));
        }
        Ok(Ok(account)) => account,
        Ok(Err(error)) if matches!(error.kind(), AccountErrorKind::TimedOut) => {
            let silent = || ("on, but does not answer".to_owned(), LOOK_AGAIN.to_owned());
            let (found, advice) = no_majority.unwrap_or_else(silent);
            return Check::error("jetstream", found, advice);
        }
        Ok(Err(error)) if is_leaderless(&error.kind()) => {
            let (found, advice) = no_majority.unwrap_or_else(too_few_servers);
            return Check::error("jetstream", found, advice);
        }
        Ok(Err(error)) => {
            return Check::error("jetstream", format!("not for this account: {error}"), TURN_ON);
        }
    };
    let used = account.storage;
    let most = account.limits.max_storage.and_then(|most| u64::try_from(most).ok());
    let Some(most) = most.filter(|most| *most > 0) else {
        return Check::ok("jetstream", format!("on, {} on disk", bytes(used)));
    };
    let found = format!("on, {} of {} on disk", bytes(used), bytes(most));
    if used > most / 10 * 9 {
        return Check::warning(
            "jetstream",
            found,
            "nearly full: when it is, no job is taken any more; raise `max_file_store`",
        );
    }
    Check::ok("jetstream", found)
}

/// True where no server of a cluster leads the others.
fn is_leaderless(kind: &AccountErrorKind) -> bool {
    matches!(kind, AccountErrorKind::JetStream(error) if error.error_code() == ErrorCode::CLUSTER_NOT_AVAILABLE)
}

/// Without a majority, and without a stream that tells who is missing.
fn too_few_servers() -> (String, String) {
    let found = "no majority: too few servers of this cluster are up for one to lead the others";
    (found.to_owned(), LOOK_AGAIN.to_owned())
}

#[derive(Deserialize)]
struct Settings {
    data: SettingsData,
}

#[derive(Deserialize)]
struct SettingsData {
    config: SettingsConfig,
}

#[derive(Deserialize)]
struct SettingsConfig {
    #[serde(default)]
    sync_always: bool,
    /// Nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

async fn durability(client: &Client) -> Check {
    let request = async_nats::Request::new().timeout(Some(PATIENCE));
    let reply = client.unless_denied(client.bus().client().send_request(JETSTREAM_SETTINGS, request)).await;
    let settings = reply.ok().and_then(Result::ok);
    let settings = settings.and_then(|reply| serde_json::from_slice::<Settings>(&reply.payload).ok());
    synced(settings.map(|settings| settings.data.config))
}

fn synced(settings: Option<SettingsConfig>) -> Check {
    match settings {
        Some(SettingsConfig { sync_always: true, .. }) => {
            Check::ok("durability", "what is acknowledged is on the disk")
        }
        Some(SettingsConfig { sync_interval, .. }) => Check::warning(
            "durability",
            format!(
                "the disk is synced every {}: what was acknowledged since is lost when the power fails",
                length(Span::from_micros(sync_interval / 1_000))
            ),
            "set `sync_interval: always` in the `jetstream` block of nats-server's configuration",
        ),
        None => Check::ok(
            "durability",
            "`sync_interval` can be seen by the system account only: it should be `always`",
        ),
    }
}

/// A check of a clock that is so far ahead of ours, in microseconds; nothing where it agrees well enough.
pub(super) fn clock(whose: &str, ahead_us: i64) -> Option<Check> {
    let by = Span::from_micros(ahead_us.unsigned_abs());
    let way = if ahead_us > 0 { "ahead of" } else { "behind" };
    (by > CLOCK_TOLERANCE).then(|| {
        Check::warning(
            "clocks",
            format!("{whose} is {} {way} this machine's", length(by)),
            "let both be set by NTP: times in tables and `--since` are off by as much; no decision rests on them",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;

    #[test]
    fn old_servers_are_told_from_new_ones() {
        let cases = [
            ("2.15.1", State::Ok),
            ("2.12.0", State::Ok),
            ("2.12.0-RC.1", State::Ok),
            ("3.0.0", State::Ok),
            ("2.9.25", State::Error),
            ("1.4.1", State::Error),
            ("mine", State::Warning),
        ];
        for (text, state) in cases {
            let info = async_nats::ServerInfo { version: text.into(), ..Default::default() };
            assert_eq!(version(&info).state, state, "{text}");
        }
    }

    #[test]
    fn syncing_seldom_is_warned_of_and_not_seeing_it_is_said() {
        let config = |sync_always, sync_interval| SettingsConfig { sync_always, sync_interval };
        assert_eq!(synced(Some(config(true, 0))).state, State::Ok);
        let seldom = synced(Some(config(false, 120_000_000_000)));
        assert_eq!(seldom.state, State::Warning);
        assert!(seldom.found.contains("2m00s"), "{seldom:?}");
        assert!(synced(None).found.contains("system account"));
    }

    #[test]
    fn only_clocks_that_differ_are_spoken_of() {
        assert_eq!(clock("x", 900_000), None);
        let ahead = clock("the clock of a1", 5_000_000).unwrap();
        assert_eq!(ahead.found, "the clock of a1 is 5.0s ahead of this machine's");
        assert!(clock("x", -5_000_000).unwrap().found.contains("behind"));
    }
}
