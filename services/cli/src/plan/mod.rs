//! `allot plan`: when and where a job would start, asked of the simulator from where the cluster stands.

mod account;
mod told;

use std::path::PathBuf;

use allot_bus::Subject;
use allot_engine::Policy;
use allot_model::job_file::Format;
use allot_model::view::{WhyQuery, WhyView};
use allot_model::{FeedItem, JobId, PoolJob, PoolName, TaskRange, Time};
use allot_sim::{Plan, Present, plan};
use clap::Args;
use serde::Serialize;

use crate::absent::{Absent, in_a_line};
use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::output::Output;
use crate::submit::{Base, JobFlags, file};

/// `allot job show` works out when a job starts where the pool has no more jobs, agents and placements than these.
const MOST_FOR_ESTIMATE: u64 = 5_000;

/// Tell when and where a job would start, without submitting it.
///
/// The cluster's agents, queues, running and waiting tasks are read as they stand, and played on by the simulator: the
/// very engine of the allocator that decides, with its policy and options. Running tasks are taken to end by their
/// estimates, and nothing else to be submitted. Where tasks have no estimate it says so: they count as never ending,
/// and beside that it tells when the job would start at the earliest, were they to end at once.
///
/// A job may be given as to `allot submit`, or one that waits already by its id.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot plan job.toml
  allot plan job.toml --tasks 50 --queue research.vision
  allot plan --cpus 8 --mem 32GiB --estimate 20m -- ./train
  allot plan --job 12                              one that waits already
  allot plan job.toml --policy fair:resource=mem   under another policy
  allot plan job.toml --json | jq .start

docs/job.md describes the fields of a job file, docs/simulate.md what a simulation leaves out.")]
pub struct PlanArgs {
    /// A job file in TOML, YAML or JSON, or `-` for stdin.
    #[arg(value_name = "FILE", required_unless_present_any = ["command", "job"], conflicts_with_all = ["command", "job"])]
    file: Option<PathBuf>,
    /// How the file is written: toml, yaml or json; told by its name or its text unless given.
    #[arg(long, value_name = "FORMAT", requires = "file")]
    format: Option<Format>,
    /// A job that waits already.
    #[arg(long, value_name = "JOB", conflicts_with = "command", add = completions::jobs())]
    job: Option<JobId>,
    /// The policy to play, with options; that of the allocator that decides unless given.
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: JobFlags,
    /// The command and its arguments.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// What a plan says, as a document.
#[derive(Debug, Serialize)]
struct Planned {
    /// The job, where it was submitted already.
    job: Option<JobId>,
    /// Its queue.
    queue: String,
    /// The policy that was played.
    policy: String,
    /// When the cluster was looked at.
    now: Time,
    /// The agents that would suit tasks that would not start, and take nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    absent: Vec<Absent>,
    #[serde(flatten)]
    plan: told::PlanView,
}

/// Tells when a job would start.
///
/// # Errors
/// Where the job is not well-formed, waits for nothing, or the cluster does not answer.
pub async fn run(args: PlanArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let asked = asked(&args)?;
    let policy = match &args.policy {
        Some(policy) => parsed(policy)?,
        None => account::deciding(client).await?,
    };
    let mut present = account::present(client, None).await?;
    let now = allot_shell::clock::now();
    let (id, queue) = match asked {
        Asked::New(job) => {
            let queue = job.queue.to_string();
            (add(&mut present, *job, now), queue)
        }
        Asked::Known(id) => (id, known(&present, id)?),
    };
    let constraints = present.job(id).map(|job| job.constraints.clone()).unwrap_or_default();
    let plan = tokio::task::spawn_blocking(move || {
        worked_out(&present, now, &policy, id).map(|plan| (plan, policy))
    });
    let (plan, policy) = plan.await.map_err(Failure::internal)??;
    let absent = match plan.expected.why {
        Some(_) => Absent::suiting(&constraints, client).await,
        None => Vec::new(),
    };
    let view = told::PlanView::of(&plan);
    let planned = Planned { job: args.job, queue, policy: policy.to_string(), now, absent, plan: view };
    let output = if args.json { output.as_json() } else { *output };
    output.print(&planned, |planned| told::text(planned, &plan, &output))
}

/// Which job is asked about.
enum Asked {
    New(Box<PoolJob>),
    Known(JobId),
}

fn asked(args: &PlanArgs) -> Result<Asked, Failure> {
    if let Some(job) = args.job {
        return Ok(Asked::Known(job));
    }
    let base = match &args.file {
        Some(path) => file::read(path, args.format)?,
        None => Base::command(args.command.clone()),
    };
    let submission = args.flags.clone().submission(base)?;
    let spec = submission.spec()?;
    Ok(Asked::New(Box::new(PoolJob::of(JobId(0), submission.queue().clone(), Time::ZERO, &spec))))
}

fn parsed(policy: &str) -> Result<Policy, Failure> {
    Policy::parse(policy).map_err(|error| Failure::Usage(error.to_string()))
}

/// Has the job wait in the pool, behind all that were submitted before. Returns its id there.
fn add(present: &mut Present, job: PoolJob, now: Time) -> JobId {
    let id = present.next_job();
    let tasks = TaskRange::new(0, job.tasks.saturating_sub(1));
    // A deadline was read as one from the time 0.
    let deadline = job.deadline.map(|within| now + within.since(Time::ZERO));
    let job = PoolJob { job: id, submitted_at: now, deadline, ..job };
    present.apply(&FeedItem::Job(job.into()));
    tasks.into_iter().for_each(|tasks| present.apply(&FeedItem::Pending { job: id, tasks }));
    id
}

/// The queue of a job that waits.
fn known(present: &Present, id: JobId) -> Result<String, Failure> {
    match present.job(id).filter(|_| present.waiting(id) > 0) {
        Some(job) => Ok(job.queue.to_string()),
        None => Err(Failure::failed(format!(
            "no task of job {id} waits for a place: `allot job show {id}` tells where it stands"
        ))),
    }
}

fn worked_out(present: &Present, now: Time, policy: &Policy, id: JobId) -> Result<Plan, Failure> {
    let plan = plan(present, now, policy, id).map_err(|error| Failure::failed(error.to_string()))?;
    plan.ok_or_else(|| Failure::internal(format!("job {id} is lost")))
}

/// When a waiting job starts, or why that cannot be told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// When its first task without a place is expected to get one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<Time>,
    /// When that is at the earliest, where not all is known that it depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) earliest: Option<Time>,
    /// What it rests on, or why it cannot be told.
    pub(crate) because: String,
}

/// Works out when a waiting job starts, at a bounded cost. Nothing where it does not wait any more.
pub(crate) async fn estimate(client: &Client, job: JobId) -> Option<Estimate> {
    let unknown = |because: String| Estimate { start: None, earliest: None, because };
    let found = async {
        let policy = account::deciding(client).await?;
        let present = account::present(client, Some(MOST_FOR_ESTIMATE)).await?;
        if present.waiting(job) == 0 {
            return Ok(None);
        }
        let now = allot_shell::clock::now();
        let constraints = present.job(job).map(|job| job.constraints.clone()).unwrap_or_default();
        worked_out(&present, now, &policy, job).map(|plan| Some((plan, constraints)))
    };
    Some(match found.await {
        Ok(found) => {
            let (plan, constraints) = found?;
            let estimate = estimate_of(&plan);
            if plan.expected.why.is_none() {
                return Some(estimate);
            }
            let absent = in_a_line(&Absent::suiting(&constraints, client).await);
            let because = [estimate.because, absent].into_iter().filter(|part| !part.is_empty());
            Estimate { because: because.collect::<Vec<_>>().join("; "), ..estimate }
        }
        Err(Failure::Refused(refusal)) => reserved(client, job).await.unwrap_or_else(|| {
            unknown(format!("not worked out here, as {refusal}; `allot plan --job {job}` does"))
        }),
        Err(Failure::Denied(_)) => unknown("this user may not see what else there is in the pool".to_owned()),
        Err(failure) => unknown(failure.to_string()),
    })
}

/// For when the allocator keeps room for the job, if it does and can tell: that costs nothing to work out.
async fn reserved(client: &Client, job: JobId) -> Option<Estimate> {
    let subject = Subject::PoolWhy(PoolName::default_pool());
    let why: WhyView = client.ask(&subject, &WhyQuery { job }).await.ok()?;
    let start = why.reservation.filter(|kept| kept.job == job)?.at?;
    let because = "when the allocator keeps room for it, if tasks end by their estimates".to_owned();
    Some(Estimate { start: Some(start), earliest: None, because })
}

fn estimate_of(plan: &Plan) -> Estimate {
    let start = plan.expected.first();
    let earliest = plan.earliest.as_ref().and_then(allot_sim::Course::first).filter(|_| start.is_none());
    Estimate { start, earliest, because: told::estimate_in_words(plan) }
}
