//! `allot services`: what runs, where, and which of several is active.

use allot_model::Span;
use allot_shell::services::{RunningService, running};
use allot_shell::{Role, Standing};
use clap::Args;
use serde::Serialize;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table, Tone, bytes, length, note};

/// List the services that run, and which of several is active.
///
/// Of each service that writes to the ledger one instance is active; the others stand by, follow the ledger and take over
/// once it stops or falls silent. BEHIND is how many messages of the ledger one has not read yet. Which allocator decides
/// is told by `allot policy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot services
  allot services -o json | jq -r '.[] | select(.standing.role == \"active\") | .name + \" \" + .host'")]
pub struct ServicesArgs {}

/// A service, and how far it is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    pub(crate) service: RunningService,
    /// How many messages of the ledger it has not read yet, where it reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) behind: Option<u64>,
}

impl Listed {
    pub(crate) fn standing(&self) -> Option<&Standing> {
        self.service.standing.as_ref()
    }
}

/// Lists the services.
///
/// # Errors
/// Where NATS does not answer or does not let this user ask.
pub async fn run(_args: ServicesArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let listed = list(client).await?;
    output.print(&listed, |listed| table(listed, output))?;
    if listed.is_empty() && !output.is_json() {
        note("no service of allot runs");
    }
    Ok(())
}

/// Everything that runs, by name, the active one of several first.
async fn list(client: &Client) -> Result<Vec<Listed>, Failure> {
    // Asked for before the services are, so that none can be behind what is not written yet.
    let end = client.ledger_end().await.ok();
    Ok(in_order(all(client).await?, end))
}

/// Everything that runs, as it answers.
pub(crate) async fn all(client: &Client) -> Result<Vec<RunningService>, Failure> {
    let running = client.unless_denied(running(client.bus())).await.map_err(Failure::Denied)?;
    running.map_err(|error| Failure::Unreachable(format!("{error:#}")))
}

/// By name, the active one of several first, each with how far it is behind a ledger that ends there.
pub(crate) fn in_order(running: Vec<RunningService>, end: Option<u64>) -> Vec<Listed> {
    let behind =
        |service: &RunningService| Some(end?.saturating_sub(service.standing.as_ref()?.ledger_sequence));
    let mut listed: Vec<Listed> =
        running.into_iter().map(|service| Listed { behind: behind(&service), service }).collect();
    let is_active = |one: &Listed| one.standing().is_some_and(|standing| standing.role == Role::Active);
    listed.sort_by(|a, b| (&a.service.name, !is_active(a)).cmp(&(&b.service.name, !is_active(b))));
    listed
}

fn table(listed: &[Listed], output: &Output) -> String {
    let columns = ["SERVICE", "HOST", "PID#", "VERSION", "IS", "SINCE", "BEHIND#", "CPU#", "MEMORY#"];
    let mut table = Table::new(&columns);
    for one in listed {
        let Listed { service, behind } = one;
        let standing = one.standing();
        table.row([
            (&service.name).into(),
            (&service.usage.host).into(),
            service.usage.pid.into(),
            (&service.version).into(),
            standing.map_or_else(|| "-".into(), |standing| role(standing.role)),
            output.clock.show_maybe(standing.map(|standing| standing.since)).into(),
            behind.map_or_else(|| "-".to_owned(), |behind| behind.to_string()).into(),
            length(Span::from_micros(service.usage.cpu_us)).into(),
            bytes(service.usage.mem_bytes).into(),
        ]);
    }
    if table.is_empty() { String::new() } else { output.draw(&table) }
}

fn role(role: Role) -> Cell {
    match role {
        Role::Active => Cell::new("active", Tone::Good),
        Role::Standby => Cell::new("standby", Tone::Plain),
        Role::Starting => Cell::new("starting", Tone::Busy),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::output::Format;
    use allot_model::{Epoch, Time};
    use allot_shell::usage::Usage;

    const NOW: Time = Time::from_micros(1_795_367_071_123_456);

    /// A service on a host; one that writes to the ledger with its role and how far it has read it.
    pub(crate) fn service(name: &str, host: &str, standing: Option<(Role, u64)>) -> RunningService {
        let usage = Usage {
            host: host.into(),
            pid: 7,
            cpu_us: 1_500_000,
            mem_bytes: 3 << 20,
            peak_mem_bytes: 4 << 20,
        };
        let standing = standing.map(|(role, ledger_sequence)| Standing {
            role,
            since: NOW - Span::from_secs(192),
            epoch: (role == Role::Active).then_some(Epoch(3)),
            ledger_sequence,
        });
        RunningService { name: name.into(), id: "x".into(), version: "0.1.0".into(), usage, standing }
    }

    #[test]
    fn the_active_one_of_several_stands_first_and_others_tell_how_far_they_are_behind() {
        let running = vec![
            service("allot-agent", "h1", None),
            service("allot-offers", "h2", Some((Role::Standby, 90))),
            service("allot-offers", "h3", Some((Role::Active, 101))),
        ];
        let output = Output::plain(Format::Text, false, NOW);
        assert_eq!(
            table(&in_order(running, Some(100)), &output),
            "\
SERVICE       HOST  PID  VERSION  IS       SINCE   BEHIND   CPU  MEMORY
allot-agent   h1      7  0.1.0    -        -            -  1.5s  3.0MiB
allot-offers  h3      7  0.1.0    active   3m ago       0  1.5s  3.0MiB
allot-offers  h2      7  0.1.0    standby  3m ago      10  1.5s  3.0MiB"
        );
    }
}
