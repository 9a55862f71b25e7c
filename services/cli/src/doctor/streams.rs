//! The streams, with the settings that allot rests on.

use allot_bus::Stream;
use allot_shell::streams::{Difference, Mend, differences};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::Info;

use super::check::Check;
use crate::client::Client;
use crate::output::bytes;

/// The error codes of JetStream that say something about the stream itself.
const STREAM_NOT_FOUND: u64 = 10_059;

/// Looks at every stream.
pub(super) async fn checks(client: &Client) -> Vec<Check> {
    if !client.bus().client().server_info().jetstream {
        return Vec::new();
    }
    let mut checks = Vec::new();
    for stream in Stream::ALL {
        checks.push(check(client, stream).await);
    }
    checks
}

async fn check(client: &Client, stream: Stream) -> Check {
    let name = stream.name();
    let info = match client.unless_denied(client.bus().jetstream().get_stream(name)).await {
        Err(denial) => return Check::ok(name, format!("not to be seen: {denial}")),
        Ok(Ok(found)) => found.cached_info().clone(),
        Ok(Err(error)) if is_missing(&error.kind()) => {
            return Check::error(
                name,
                "not there: no service of allot has ever run on this server",
                "start the services, which create it, or `allot up`",
            );
        }
        Ok(Err(error)) => {
            return Check::error(name, format!("cannot be looked at: {error}"), "see the log of nats-server");
        }
    };
    settings(name, &info, &differences(stream, &info.config))
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code().0 == STREAM_NOT_FOUND)
}

fn settings(name: &str, info: &Info, differences: &[Difference]) -> Check {
    let held = format!("{} messages, {}", info.state.messages, bytes(info.state.bytes));
    if differences.is_empty() {
        return replicas(name, info, held);
    }
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

/// A stream that is kept on several servers wants all of them up to date.
fn replicas(name: &str, info: &Info, held: String) -> Check {
    let Some(cluster) = info.cluster.as_ref().filter(|_| info.config.num_replicas > 1) else {
        return Check::ok(name, held);
    };
    let held = format!("{held}, on {} servers", info.config.num_replicas);
    let late = cluster.replicas.iter().filter(|peer| peer.offline || !peer.current);
    let late: Vec<&str> = late.map(|peer| peer.name.as_str()).collect();
    if late.is_empty() {
        return Check::ok(name, held);
    }
    Check::warning(
        name,
        format!("{held}; not up to date: {}", late.join(", ")),
        "see that these servers run: one more that fails may stop everything",
    )
}
