//! `allot events`: the ledger, as it is written.

mod told;

use std::time::UNIX_EPOCH;

use allot_model::view::JobQuery;
use allot_model::{AgentId, JobId, Span, Time};
use allot_shell::clock;
use clap::Args;

use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{From, Placed};
use crate::output::{Output, timestamp};
pub use told::Told;

/// How many of the ledger's last entries are shown unless another beginning is asked for.
const LAST: u64 = 100;

/// Show what happened, and follow what happens.
///
/// Tells every record of the ledger in a line: jobs admitted, rejected and ended, tasks allocated, started and ended,
/// agents that join and fall silent, policies that change. Without --since the ledger's last 100 entries are told,
/// with --job all that is about that job, with --follow only what is new.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot events                          the last of what happened
  allot events -f                       what happens, as it happens
  allot events --job 12                 what became of job 12
  allot events --since 10m --agent a1   what happened on an agent in the last 10 minutes
  allot events --since 2026-11-22T17:00:00Z -o json
  allot events -f -o json | jq 'select(.event == \"job_rejected\")'")]
pub struct EventsArgs {
    /// Go on with what happens, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// From when on: a length of time such as `10m`, a time such as `2026-11-22T17:00:00Z`, or `start`.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// Only what is about this job.
    #[arg(long, value_name = "JOB")]
    job: Option<JobId>,
    /// Only what is about this agent.
    #[arg(long, value_name = "AGENT")]
    agent: Option<AgentId>,
}

/// A beginning, as it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Start,
    Ago(Span),
    At(Time),
}

fn since(text: &str) -> Result<Since, String> {
    if text == "start" {
        return Ok(Since::Start);
    }
    if let Ok(span) = text.parse() {
        return Ok(Since::Ago(span));
    }
    let moment = humantime::parse_rfc3339_weak(text).ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let micros = moment.and_then(|since_1970| u64::try_from(since_1970.as_micros()).ok());
    micros.map(|micros| Since::At(Time::from_micros(micros))).ok_or_else(|| {
        "write how long ago, such as `10m` or `2h`, a time in UTC, such as `2026-11-22T17:00:00Z`, or `start`".to_owned()
    })
}

/// Tells what happened.
///
/// # Errors
/// Where the ledger cannot be read.
pub async fn run(args: EventsArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let end = client.ledger_end().await?;
    let from = beginning(&args, client, end, output.clock.now).await;
    let mut follower = client.follow(from, None).await?;
    if follower.waiting() == 0 && !args.follow {
        return Ok(());
    }
    loop {
        let placed = follower.next().await?;
        tell(&placed, &args, output)?;
        if !args.follow && (placed.behind == 0 || placed.sequence >= end) {
            return Ok(());
        }
    }
}

async fn beginning(args: &EventsArgs, client: &Client, end: u64, now: Time) -> From {
    match (args.since, args.job) {
        (Some(Since::Start), _) => From::Sequence(1),
        (Some(Since::Ago(span)), _) => From::Time(now - span),
        (Some(Since::At(time)), _) => From::Time(time.min(now)),
        (None, Some(job)) if !args.follow => submitted(client, job).await,
        (None, _) if args.follow => From::Sequence(end + 1),
        (None, _) => From::Sequence(end.saturating_sub(LAST - 1)),
    }
}

/// When the job was submitted, before which nothing is said of it; the very beginning where nobody can say.
async fn submitted(client: &Client, job: JobId) -> From {
    let query = JobQuery { limit: 1, ..JobQuery::default() };
    match client.job(job, &query).await {
        Ok(view) => From::Time(view.summary.submitted_at.min(clock::now())),
        Err(_) => From::Sequence(1),
    }
}

fn tell(placed: &Placed, args: &EventsArgs, output: &Output) -> Result<(), Failure> {
    let batch = &placed.batch;
    let told = batch.entries.iter().flat_map(|entry| Told::of(placed.sequence, batch.writer, entry));
    for event in told.filter(|event| is_about(event, args)) {
        output.print_line(&event, line)?;
    }
    Ok(())
}

fn is_about(event: &Told, args: &EventsArgs) -> bool {
    args.job.is_none_or(|job| event.job == Some(job))
        && args.agent.as_ref().is_none_or(|agent| event.agent.as_ref() == Some(agent))
}

fn line(event: &Told) -> String {
    format!("{}  {:<10}  {}", timestamp(event.at), event.writer, event.words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_given_as_a_length_or_a_time() {
        assert_eq!(since("start"), Ok(Since::Start));
        assert_eq!(since("10m"), Ok(Since::Ago(Span::from_secs(600))));
        assert_eq!(since("1970-01-01T00:00:02Z"), Ok(Since::At(Time::from_micros(2_000_000))));
        assert!(since("yesterday").unwrap_err().contains("such as"));
        assert!(since("1969-01-01T00:00:00Z").is_err());
    }
}
