//! `allot ledger`: all of it, as JSON lines; and whether it keeps what allot promises.

mod audit;
mod held;

use allot_model::Entry;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::client::Client;
use crate::events::Told;
use crate::failure::Failure;
use crate::follow::{From, Placed};
use crate::output::{Output, note};
use audit::{Audit, Report};

/// Read the ledger as a whole, or check that it keeps what allot promises.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot ledger verify
  allot ledger dump > ledger.jsonl")]
pub struct LedgerArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print every record as a line of JSON.
    ///
    /// In the order of the ledger, each with its place there, when the ledger took it, its writer and the writer's generation
    /// (`writer_epoch`). What was trimmed is not there.
    #[command(after_help = "\
Examples:
  allot ledger dump > ledger.jsonl
  allot ledger dump --from 120000 | jq -c 'select(.event == \"job_ended\")'")]
    Dump {
        /// Begin with the message of this number.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
        from: u64,
    },
    /// Check everything that allot promises of the ledger, from its first message to its last.
    ///
    /// No agent holds more than it has, by name and by device; every allocation is released once; no attempt is made twice; a
    /// job is admitted once and ends once; epochs grow. Exits with 1 where something is not so. Where the ledger has been
    /// trimmed, what began before its first message is not judged.
    #[command(after_help = "\
Examples:
  allot ledger verify
  allot ledger verify -o json | jq '.findings'")]
    Verify,
}

/// Prints or checks the ledger.
///
/// # Errors
/// Where it cannot be read, or does not keep a promise.
pub async fn run(args: LedgerArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    match args.verb {
        Verb::Dump { from } => dump(from, client, output).await,
        Verb::Verify => verify(client, output).await,
    }
}

/// A record as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    /// Beside it an event may have an `epoch` of its own, such as the allocator's.
    writer_epoch: allot_model::Epoch,
    appended_at: allot_model::Time,
    #[serde(flatten)]
    told: &'a Told,
}

async fn dump(from: u64, client: &Client, output: &Output) -> Result<(), Failure> {
    each(client, from, |placed| {
        let Placed { sequence, appended_at, batch, .. } = placed;
        let told = |entry: &Entry| Told::of(sequence, batch.writer, entry);
        for told in batch.entries.iter().flat_map(told) {
            let line = Line { writer_epoch: batch.epoch, appended_at, told: &told };
            let text = serde_json::to_string(&line).map_err(Failure::internal)?;
            output.print_line(&line, |_| text)?;
        }
        Ok(())
    })
    .await
}

async fn verify(client: &Client, output: &Output) -> Result<(), Failure> {
    let mut audit = Audit::default();
    each(client, 1, |placed| {
        audit.check(placed.sequence, &placed.batch);
        Ok(())
    })
    .await?;
    let report = audit.report();
    output.print(&report, Report::text)?;
    if report.findings.is_empty() {
        return Ok(());
    }
    note("allot: the ledger does not keep what allot promises: keep a backup of it, and report this");
    Err(Failure::Exit(1))
}

/// Gives every batch from a place on that is there by now.
async fn each(
    client: &Client,
    from: u64,
    mut take: impl FnMut(Placed) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let end = client.ledger_end().await?;
    let mut follower = client.follow(From::Sequence(from), None).await?;
    if follower.waiting() == 0 {
        return Ok(());
    }
    loop {
        let placed = follower.next().await?;
        let is_last = placed.behind == 0 || placed.sequence >= end;
        take(placed)?;
        if is_last {
            return Ok(());
        }
    }
}
