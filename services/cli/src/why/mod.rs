//! `allot why`: what a job waits for.

mod ask;
mod told;

use allot_model::view::{AttemptView, JobSummary, LimitReached, PolicyView, QueueView, WhyView};
use allot_model::{JobId, JobState, Preemptor, Reason, Rejection, Time};
use clap::Args;
use serde::Serialize;

use crate::absent::Absent;
use crate::client::Client;
use crate::failure::Failure;
use crate::job::JobOrTask;
use crate::output::Output;

/// Tell why a job, or one task of it, waits.
///
/// For tasks that wait for a place: what is in the way on how many agents, the agent that comes nearest and what it
/// lacks, the job's place in line, and what its queue has beside the queue that is served before it. A job that waits
/// for other jobs, for its next try, or for nothing, is told as such.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot why 12
  allot why 12.3                               only task 3
  allot why 12 -o json | jq '.place.reasons'")]
pub struct WhyArgs {
    /// The job, or one task of it, such as `12.3`.
    #[arg(value_name = "JOB[.TASK]")]
    what: JobOrTask,
}

/// All that is found out.
#[derive(Debug, Clone, Serialize)]
struct Why {
    #[serde(flatten)]
    summary: JobSummary,
    /// The task, where one was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Task>,
    /// What is wrong with it, where it was rejected.
    rejection: Option<Rejection>,
    /// What its tasks wait for.
    waiting: Waiting,
    /// The jobs named in `after` that have not finished.
    after: Vec<Dependency>,
    /// The tasks that wait for a place because others got theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    preempted: Option<Preempted>,
    /// The first task that did not finish, where the job failed.
    failed: Option<Task>,
    /// What the allocator says of tasks that wait for a place.
    place: Option<WhyView>,
    /// The agents that would suit tasks that wait for a place, and take nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    absent: Vec<Absent>,
    /// Where tasks wait for a place and the allocator does not tell why.
    unexplained: Option<Unexplained>,
}

/// How many tasks wait for what, of those that were asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Waiting {
    /// For a place.
    for_place: u64,
    /// Since when the one that has waited longest does.
    since: Option<Time>,
    /// For other jobs.
    for_jobs: u64,
    /// For their next try.
    for_next_try: u64,
    /// When the first of these is tried.
    next_try_at: Option<Time>,
}

/// One task and its present or last try.
#[derive(Debug, Clone, Serialize)]
struct Task {
    index: u32,
    #[serde(flatten)]
    attempt: AttemptView,
}

/// Tasks that were stopped for others, and wait again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Preempted {
    /// How many, of those that were asked about.
    tasks: u64,
    /// Whom the last of them was stopped for.
    by: Preemptor,
    /// Why.
    reason: Reason,
    /// When it had ended.
    ended_at: Option<Time>,
}

/// A job that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Dependency {
    job: JobId,
    /// Where it is on its way; nothing where it is not known any more.
    state: Option<JobState>,
}

/// What is known without the allocator.
#[derive(Debug, Clone, Serialize)]
struct Unexplained {
    /// Why it does not tell.
    message: String,
    /// Who decides, if the offers service answers.
    policy: Option<PolicyView>,
    /// What the job's queue has and wants, if the offers service answers.
    queue: Option<QueueView>,
    /// The limit that one more task would exceed, if one would be: of the queue's and those above it the nearest.
    limit: Option<LimitReached>,
}

/// Tells why a job waits.
///
/// # Errors
/// Where there is no such job, or the dispatcher does not answer.
pub async fn run(args: WhyArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let why = ask::find_out(args.what, client).await?;
    output.print(&why, |why| told::text(why, output))
}
