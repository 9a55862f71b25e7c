//! `allot cancel`: stop jobs.

use std::io::{self, IsTerminal, Write};

use allot_bus::Subject;
use allot_model::view::Done;
use allot_model::{JobId, JobState};
use clap::Args;
use futures::StreamExt;
use serde::Serialize;

use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::filter::{ACTIVE, JobFilter};
use crate::output::{Output, note};

/// The most jobs that filters may choose at a time.
const MOST: usize = 100_000;
/// How many jobs are cancelled at a time.
const IN_FLIGHT: usize = 64;
/// Up to so many jobs, each one that is cancelled is told of.
const MOST_TOLD: usize = 20;

/// Cancel jobs.
///
/// Tasks that wait for a place never run; those that run are asked to stop with SIGTERM, and killed after the job's
/// grace period. Jobs after one that cannot be cancelled are cancelled all the same. Filters choose among the jobs that
/// have not ended, and it is asked whether their number is meant, unless --yes is given.
#[derive(Debug, Args)]
#[command(
    after_help = "\
Examples:
  allot cancel 12
  allot cancel 12 13 14
  allot cancel --queue research --state queued         asks first
  allot cancel --name 'train-*' --since 1h --yes
  allot cancel --state queued,waiting --dry-run        only lists them",
    group(crate::filter::which_jobs())
)]
pub struct CancelArgs {
    /// The jobs.
    #[arg(value_name = "JOB", add = completions::jobs())]
    jobs: Vec<JobId>,
    #[command(flatten)]
    filter: JobFilter,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Only say which jobs it would be.
    #[arg(long)]
    dry_run: bool,
}

/// What became of one request to cancel.
#[derive(Debug, Serialize)]
struct Cancelled {
    job: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Cancels jobs, all that can be.
///
/// # Errors
/// Where one of them could not be cancelled.
pub async fn run(args: CancelArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let CancelArgs { mut jobs, filter, yes, dry_run } = args;
    if !filter.is_empty() {
        let chosen = choose(filter, client, output).await?;
        if chosen.is_empty() && jobs.is_empty() {
            if !output.is_json() {
                note("no jobs");
            }
            return output.print(&Vec::<Cancelled>::new(), |_| String::new());
        }
        if !dry_run && !yes && !is_meant(chosen.len())? {
            note("allot: nothing was cancelled");
            return Err(Failure::Exit(1));
        }
        jobs.extend(chosen);
    }
    if dry_run {
        return output
            .print(&jobs, |jobs| jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    let results = cancel_all(&jobs, client, output).await?;
    report(&results, output)
}

/// The jobs that the filter chooses among those that have not ended.
async fn choose(mut filter: JobFilter, client: &Client, output: &Output) -> Result<Vec<JobId>, Failure> {
    if filter.state.is_empty() {
        filter.state = ACTIVE.to_vec();
    }
    if let Some(ended) = filter.state.iter().find(|state| !ACTIVE.contains(state)) {
        let ended = crate::states::word(*ended);
        return Err(Failure::Usage(format!(
            "--state {ended}: only waiting, queued and running jobs can be cancelled"
        )));
    }
    // Those that are being cancelled need not be once more.
    filter.state.retain(|state| *state != JobState::Killing);
    let found = client.jobs(filter.query(output.clock.now), MOST, output).await?;
    Ok(found.jobs.iter().map(|job| job.job).collect())
}

/// Asks the person at the terminal.
fn is_meant(jobs: usize) -> Result<bool, Failure> {
    let what = if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") };
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{what} would be cancelled: add --yes, or --dry-run to see which"
        )));
    }
    write!(io::stderr(), "cancel {what}? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn cancel_all(jobs: &[JobId], client: &Client, output: &Output) -> Result<Vec<Cancelled>, Failure> {
    let bar = output.bar(jobs.len() as u64);
    bar.set_message("jobs cancelled");
    let cancel = async |job: &JobId| (*job, client.cancel(*job).await);
    let mut under_way = futures::stream::iter(jobs).map(cancel).buffered(IN_FLIGHT);
    let mut results = Vec::with_capacity(jobs.len());
    while let Some((job, outcome)) = under_way.next().await {
        match outcome {
            Ok(done) => results.push(Cancelled { job, message: Some(done.message), error: None }),
            Err(Failure::Refused(refusal)) => {
                results.push(Cancelled { job, message: None, error: Some(refusal.message) });
            }
            Err(failure) => return Err(failure),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(results)
}

fn report(results: &[Cancelled], output: &Output) -> Result<(), Failure> {
    output.print(&results, |results| {
        let messages: Vec<&str> = results.iter().filter_map(|result| result.message.as_deref()).collect();
        if messages.len() > MOST_TOLD {
            format!("{} jobs are cancelled", messages.len())
        } else {
            messages.join("\n")
        }
    })?;
    let errors: Vec<&String> = results.iter().filter_map(|result| result.error.as_ref()).collect();
    errors.iter().for_each(|error| note(&format!("allot: {error}")));
    if errors.is_empty() { Ok(()) } else { Err(Failure::Exit(1)) }
}

impl Client {
    /// Cancels a job.
    ///
    /// # Errors
    /// Where there is no such job, it has ended, or the dispatcher does not answer.
    pub async fn cancel(&self, job: JobId) -> Result<Done, Failure> {
        self.ask(&Subject::JobCancel(job), &serde_json::json!({})).await
    }
}
