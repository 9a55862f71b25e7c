//! `allot cancel`: stop jobs.

use allot_bus::Subject;
use allot_model::JobId;
use allot_model::view::Done;
use clap::Args;
use serde::Serialize;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, note};

/// Cancel jobs.
///
/// Tasks that wait for a place never run; those that run are asked to stop with SIGTERM, and killed after the job's
/// grace period. Jobs after one that cannot be cancelled are cancelled all the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot cancel 12
  allot cancel 12 13 14
  allot jobs --queue research --state queued -o json | jq '.jobs[].job' | xargs allot cancel")]
pub struct CancelArgs {
    /// The jobs.
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<JobId>,
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
    let mut results = Vec::new();
    for job in args.jobs {
        match client.cancel(job).await {
            Ok(done) => results.push(Cancelled { job, message: Some(done.message), error: None }),
            Err(Failure::Refused(refusal)) => {
                results.push(Cancelled { job, message: None, error: Some(refusal.message) });
            }
            Err(failure) => return Err(failure),
        }
    }
    report(&results, output)
}

fn report(results: &[Cancelled], output: &Output) -> Result<(), Failure> {
    output.print(&results, |results| {
        results.iter().filter_map(|result| result.message.clone()).collect::<Vec<_>>().join("\n")
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
