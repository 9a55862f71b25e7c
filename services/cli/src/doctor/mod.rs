//! `allot doctor`: what is there, what is wrong with it, and what to do.

mod check;
mod cluster;
mod majority;
mod permissions;
mod server;
mod services;
mod streams;
mod user;

use std::time::Duration;

use allot_model::QueueName;
use async_nats::jetstream::context::ContextBuilder;
use clap::Args;

use crate::client::{Client, settings};
use crate::failure::Failure;
use crate::output::Output;
use check::{Check, Report};
use user::User;

/// How long a service is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Look whether everything is there and as it should be.
///
/// Checks the connection, the NATS server and its JetStream, the streams with the settings that allot rests on, every
/// service and its version, the policy, the agents and their clocks, and what this connection may do. Each thing that is
/// wrong comes with what to do about it. Nothing is changed by looking. Exits with 0 where all works, warnings or not,
/// and with 1 where anything does not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot doctor
  allot doctor --queue research.vision     may this user submit there?
  allot doctor -o json | jq '.checks[] | select(.state != \"ok\")'
  allot doctor --nats nats://bus.example.org:4222")]
pub struct DoctorArgs {
    /// The queue for which it is looked whether this user may submit [default: one that the user may submit to].
    #[arg(long, short, value_name = "QUEUE", env = "ALLOT_QUEUE", add = crate::completions::queues())]
    queue: Option<QueueName>,
}

/// Looks at everything.
///
/// # Errors
/// [`Failure::Exit`] with 1 where anything does not work.
pub async fn run(args: DoctorArgs, nats: Option<&str>, output: &Output) -> Result<(), Failure> {
    let report = Report::of(examine(args, nats).await);
    output.print(&report, |report| report.text(output))?;
    if report.ok { Ok(()) } else { Err(Failure::Exit(1)) }
}

async fn examine(args: DoctorArgs, nats: Option<&str>) -> Vec<Check> {
    let client = match Client::connect(nats).await {
        Ok(client) => client.with_patience(PATIENCE),
        Err(failure) => return vec![server::not_connected(&failure)],
    };
    let user = User::of(&client).await;
    let url = settings(nats).map(|config| config.url).unwrap_or_default();
    let jetstream = ContextBuilder::new().timeout(PATIENCE).build(client.bus().client().clone());
    let is_cluster = client.bus().client().server_info().cluster.is_some();
    let past = services::past(&client).await;
    let seen = streams::look(&client, &jetstream).await;
    let mut checks = server::checks(&client, &jetstream, &url, &user, streams::no_majority(&seen)).await;
    checks.extend(streams::checks(&seen, &past, is_cluster));
    checks.extend(services::checks(&client, past.running, streams::ledger_end(&seen)).await);
    checks.extend(cluster::checks(&client, &user).await);
    checks.extend(permissions::checks(&client, &user, args.queue).await);
    checks
}
