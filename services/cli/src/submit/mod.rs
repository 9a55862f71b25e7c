//! `allot submit`: jobs from files and from flags.

pub(crate) mod file;
mod flags;
mod place;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use allot_bus::Subject;
use allot_model::job_file::Format;
use allot_model::view::{JobList, JobsQuery};
use allot_model::{JobId, JobState};
use async_nats::jetstream::context::PublishAckFuture;
use clap::Args;
use serde::Serialize;

use crate::batch;
use crate::client::{Client, Submitted, not_published};
use crate::failure::Failure;
use crate::output::{Output, note};
use crate::states::word;
use crate::wait::{Ended, Source, Waiting};
pub use flags::{Base, JobFlags, Submission};

/// How many batches are on their way to the inbox at a time.
const BATCHES: usize = 4;
/// How long the dispatcher may take to tell of a message id before the job is submitted without its word.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Submit jobs, from files or from flags.
///
/// Jobs are checked here with the code that the cluster uses, so that a mistake in a file is shown with its line and
/// column; where one of several is wrong, none is submitted. Flags override the files. The id of each job is printed once
/// the cluster has it safely; --wait goes on until all have ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot submit job.toml
  allot submit job.yaml --queue research.vision --tasks 50
  generate-job | allot submit -
  allot submit jobs/*.toml --wait                  several jobs
  generate-jobs | allot submit --lines -           many: a job as JSON in each line
  allot submit --cpus 2 --mem 4GiB -- python train.py --epochs 3
  allot submit --tasks 100 --retries 2 --backoff 10s -- sh -c 'process part-$ALLOT_TASK_INDEX'
  allot submit --after 12 --wait -- ./report.sh
  allot submit --id nightly-2026-11-22 job.toml    harmless to repeat

docs/job.md describes the fields of a job file.")]
pub struct SubmitArgs {
    /// Job files in TOML, YAML or JSON, or `-` for stdin.
    #[arg(value_name = "FILE", required_unless_present = "command", conflicts_with = "command")]
    files: Vec<PathBuf>,
    /// How the files are written: toml, yaml or json; told by their names or their text unless given.
    #[arg(long, value_name = "FORMAT", requires = "files", conflicts_with = "lines")]
    format: Option<Format>,
    /// Each line of the files is a job as JSON.
    #[arg(long, requires = "files")]
    lines: bool,
    #[command(flatten)]
    flags: JobFlags,
    /// Message id: a submission with an id that the cluster knows is the same job, not another one.
    #[arg(long, value_name = "MSGID", value_parser = message_id)]
    id: Option<String>,
    /// Wait until all jobs have ended, and fail where one did not finish.
    #[arg(long)]
    wait: bool,
    /// The command and its arguments, run as they are.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Checks what is to stand in a header, and to be kept with the job.
fn message_id(text: &str) -> Result<String, String> {
    let one_line = !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    one_line.then(|| text.to_owned()).ok_or_else(|| "write 1 to 255 bytes in one line".to_owned())
}

/// Submits jobs.
///
/// # Errors
/// Where a job is not well-formed, the cluster does not take it, or it is waited for and does not finish.
pub async fn run(args: SubmitArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let wait = args.wait;
    let submissions = submissions(args)?;
    // Begun before, so that nothing that becomes of the jobs is missed.
    let source = if wait { Some(Source::open(client).await?) } else { None };
    match (submissions.as_slice(), source) {
        ([one], source) => submit_one(one, source, client, output).await,
        (several, source) => submit_several(several, source, client, output).await,
    }
}

/// All jobs that are given, checked.
fn submissions(args: SubmitArgs) -> Result<Vec<Submission>, Failure> {
    let SubmitArgs { files, format, lines, flags, id, command, .. } = args;
    let mut bases = Vec::new();
    if files.is_empty() {
        bases.push(Base::command(command));
    }
    for path in &files {
        if lines {
            bases.extend(file::read_lines(path)?);
        } else {
            bases.push(file::read(path, format)?);
        }
    }
    if id.is_some() && bases.len() != 1 {
        return Err(Failure::Usage(format!("--id is for one job, and {} are given", bases.len())));
    }
    let checked = bases.into_iter().map(|base| flags.clone().submission(base));
    let mut submissions = checked.collect::<Result<Vec<_>, _>>()?;
    submissions.iter_mut().for_each(|submission| submission.message_id = id.clone());
    Ok(submissions)
}

/// What became of a submission that was waited for.
#[derive(Serialize)]
struct Outcome {
    job: JobId,
    duplicate: bool,
    state: JobState,
}

/// The job that was submitted with the same message id, for as long as it is kept, as far as the dispatcher can be asked. The inbox
/// knows the ids of the last minutes by itself.
async fn known(submission: &Submission, client: &Client) -> Option<JobId> {
    let message_id = Some(submission.message_id.clone()?);
    let query = JobsQuery { message_id, ..JobsQuery::default() };
    let client = client.clone().with_patience(KNOWN_WITHIN);
    let found: JobList = client.ask(&Subject::JobsList, &query).await.ok()?;
    found.jobs.first().map(|job| job.job)
}

async fn submit_one(
    submission: &Submission,
    source: Option<Source>,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let submitted = match known(submission, client).await {
        Some(job) => Submitted { job, duplicate: true },
        None => submission.send(client).await?,
    };
    if submitted.duplicate && !output.is_json() {
        note("allot: the cluster has a submission with this id already: this is its job");
    }
    let Some(source) = source else {
        return output.print(&submitted, |submitted| submitted.job.to_string());
    };
    if !output.is_json() {
        output.print_line(&submitted, |submitted| submitted.job.to_string())?;
    }
    let mut waiting = Waiting::new(source, output);
    let Submitted { job, duplicate } = submitted;
    if duplicate {
        // It may have ended long before.
        waiting.add(client, job).await?;
    } else {
        waiting.add_new(job, submission.tasks());
    }
    let mut ended = None;
    while let Some(one) = waiting.next(client).await? {
        ended = Some(one);
    }
    let Some(Ended { state, why, .. }) = ended else { return Ok(()) };
    if output.is_json() {
        output.print(&Outcome { job, duplicate, state }, |_| String::new())?;
    }
    match why {
        _ if state == JobState::Finished => Ok(()),
        Some(why) => Err(Failure::failed(why)),
        None => Err(Failure::failed(format!("job {job} {}: see `allot job show {job}`", word(state)))),
    }
}

async fn submit_several(
    submissions: &[Submission],
    source: Option<Source>,
    client: &Client,
    output: &Output,
) -> Result<(), Failure> {
    let mut waiting = source.map(|source| Waiting::new(source, output));
    let bar = output.bar(submissions.len() as u64);
    bar.set_message("jobs submitted");
    let mut submitted = 0;
    let counted = |submitted: usize, failure: Failure| match submitted {
        0 => failure,
        _ => failure.after(&format!("{submitted} of {} jobs were submitted, then", submissions.len())),
    };
    // Of all sizes before any is sent.
    let messages = submissions.iter().map(Submission::message).collect::<Result<Vec<_>, _>>()?;
    let mut messages = messages.into_iter();
    let mut batches = submissions.chunks(batch::MOST as usize);
    let mut on_their_way: VecDeque<(&[Submission], PublishAckFuture)> = VecDeque::new();
    loop {
        for jobs in batches.by_ref().take(BATCHES - on_their_way.len()) {
            let these: Vec<_> = messages.by_ref().take(jobs.len()).collect();
            let published = batch::publish(client.bus(), these.into_iter()).await;
            on_their_way.push_back((jobs, published.map_err(|failure| counted(submitted, failure))?));
        }
        let Some((jobs, acknowledgement)) = on_their_way.pop_front() else { break };
        let acknowledged = client.unless_denied(acknowledgement.into_future()).await;
        let acknowledged = acknowledged.map_err(Failure::Denied).and_then(|last| last.map_err(not_published));
        let last = acknowledged.map_err(|failure| counted(submitted, failure))?.sequence;
        let count = u32::try_from(jobs.len()).unwrap_or(batch::MOST);
        for (job, submission) in batch::jobs(last, count).zip(jobs) {
            let told = Submitted { job, duplicate: false };
            bar.suspend(|| output.print_line(&told, |told| told.job.to_string()))?;
            if let Some(waiting) = &mut waiting {
                waiting.add_new(job, submission.tasks());
            }
        }
        submitted += jobs.len();
        bar.set_position(submitted as u64);
    }
    bar.finish_and_clear();
    match waiting {
        Some(waiting) => waiting.report(client, output).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_one_line_of_text() {
        assert_eq!(message_id("nightly 2026-11-22"), Ok("nightly 2026-11-22".to_owned()));
        for text in ["", "a\nb", "a\rb", "\0", &"x".repeat(256)] {
            assert!(message_id(text).is_err(), "{text:?}");
        }
    }
}
