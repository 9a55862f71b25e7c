//! `allot bench`: what a running cluster does a second, how long each step takes, and what it costs.

mod cost;
mod idle;
mod load;
mod numbers;
mod pending;
mod places;
mod report;
mod stages;
mod track;
mod traffic;

use std::time::Duration;

use allot_bus::headers::Encoding;
use allot_model::{Executor, JobId, QueueName, Span};
use allot_shell::clock;
use clap::{Args, ValueEnum};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

use crate::batch;
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{Follower, From};
use crate::output::{Output, note};
use cost::Snapshot;
use load::{Load, Publisher};
use report::Report;
use track::Tracker;

/// How many jobs are cancelled at a time.
const CANCELS_AT_ONCE: usize = 256;

/// Measure a running cluster.
///
/// Submits tasks that do nothing, follows the ledger until all have ended, and prints how many that were a second, how
/// long each step of their way took, what each service has cost in CPU time and memory, and what went over the bus.
/// What is still open when it fails or is interrupted is cancelled.
///
/// Tasks are those of one job unless --jobs or --separate is given. Many jobs are published without waiting, up to a
/// thousand at a time as an atomic batch of the inbox (--batch 1 publishes them one by one). --in-flight bounds how many
/// are open: with 1 each is published when the one before has ended, which measures the latency of an idle cluster.
///
/// Times are those of the ledger. `published` and `known` are by the clock of this process, when a job was published
/// and when this process read that it has ended; `submitted` by that of nats-server, when the inbox took the job;
/// `admitted` and `finished` by that of the dispatcher, `allocated` by that of the offers service, when each decided;
/// `started` and `ended` by that of the agent, when the process started and when the agent learnt that it has ended.
/// Between two machines the difference of their clocks is in it. `freed → started` looks at one agent alone: from the
/// end of a task to the start of the next one there, of those that were admitted before that end. `allocated → next` is from one
/// allocation to the next of any task of the run, so its longest is how long nothing was placed, for want of tasks or otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot bench                                                one job of 10000 tasks that run `true`
  allot bench --tasks 100000 --executor noop                 the control plane alone: agents run nothing
  allot bench --tasks 100000 --executor noop --separate      a job for each task
  allot bench --tasks 1000 --separate --in-flight 1          latency, one job at a time
  allot bench --tasks 1000000 --pending                      memory while tasks wait
  allot bench --idle 1m -o json                              what the cluster costs while nothing happens
  allot bench --tasks 500 -- sh -c 'echo $ALLOT_TASK_INDEX'

Agents take tasks of the executor noop only where they are configured for it: `allot up --noop`, or `noop = true`.")]
pub struct BenchArgs {
    /// How many tasks in all.
    #[arg(long, short, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    tasks: u32,
    /// How many jobs they are divided into, evenly.
    #[arg(long, short, value_name = "N", default_value_t = 1, conflicts_with = "separate", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    jobs: u32,
    /// A job for each task.
    #[arg(long)]
    separate: bool,
    /// How agents run the tasks: process starts one each, noop starts none.
    #[arg(long, value_enum, value_name = "EXECUTOR", default_value_t = HowToRun::Process)]
    executor: HowToRun,
    /// The most jobs that are open at a time; all unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// The most jobs that are published at a time, as one batch; each waits for the disk alone where it is 1.
    #[arg(long, value_name = "N", default_value_t = batch::MOST, value_parser = clap::value_parser!(u32).range(1..=i64::from(batch::MOST)))]
    batch: u32,
    /// The queue to submit to.
    #[arg(long, short, value_name = "QUEUE", default_value = "bench")]
    queue: QueueName,
    /// Processors for each task.
    #[arg(long, value_name = "N", default_value = "1")]
    cpus: String,
    /// How jobs are written: protobuf as programs do, or json as people do.
    #[arg(long, value_enum, value_name = "ENCODING", default_value_t = Written::Protobuf)]
    encoding: Written,
    /// Give up when nothing has become of any task for so long.
    #[arg(long, value_name = "TIME", default_value = "1m")]
    patience: Span,
    /// Measure memory instead: submit tasks that fit nowhere, wait until all services have them, cancel them.
    #[arg(long, conflicts_with_all = ["in_flight", "idle"])]
    pending: bool,
    /// Measure for so long what the cluster costs, and submit nothing.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["tasks", "jobs", "separate", "in_flight", "command"])]
    idle: Option<Span>,
    /// What each task runs, `true` unless given.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// The executors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HowToRun {
    /// As a process.
    Process,
    /// Not at all.
    Noop,
}

impl HowToRun {
    fn executor(self) -> Executor {
        match self {
            Self::Process => Executor::Process,
            Self::Noop => Executor::Noop,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Noop => "noop",
        }
    }
}

/// The encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Written {
    /// As a protobuf message.
    Protobuf,
    /// As JSON.
    Json,
}

impl Written {
    fn encoding(self) -> Encoding {
        match self {
            Self::Protobuf => Encoding::Protobuf,
            Self::Json => Encoding::Json,
        }
    }
}

/// Measures.
///
/// # Errors
/// Where a task does not finish, or the cluster does not answer.
pub async fn run(args: BenchArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    if let Some(length) = args.idle {
        return idle::run(length, client, output).await;
    }
    let load = Load::of(&args)?;
    if args.pending {
        return pending::run(&load, args.patience, client, output).await;
    }
    let follower = follow(client).await?;
    let before = Snapshot::take(client).await?;
    let mut tracker = Tracker::new(load.name().to_owned(), load.jobs());
    let publisher = Publisher::start(client, &load, args.in_flight);
    let bar = progress(u64::from(args.tasks));
    let seen_through = see_through(&mut tracker, publisher, follower, args.patience, &bar);
    let outcome = unless_interrupted(seen_through).await;
    bar.finish_and_clear();
    if let Err(failure) = outcome {
        cancel(client, tracker.open()).await;
        return Err(failure);
    }
    let report = Report::of(&load, &tracker, &before.until(&Snapshot::take(client).await?));
    output.print(&report, |report| report.text(output))?;
    if report.is_good() { Ok(()) } else { Err(Failure::Exit(1)) }
}

/// Follows the ledger from its end.
async fn follow(client: &Client) -> Result<Follower, Failure> {
    let end = client.ledger_end().await?;
    client.follow(From::Sequence(end + 1), None).await
}

/// Takes note of what is published and of what becomes of it, until all has ended.
async fn see_through(
    tracker: &mut Tracker,
    mut publisher: Publisher,
    mut ledger: Follower,
    patience: Span,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    while !tracker.is_over() {
        hear(tracker, &mut publisher, &mut ledger, patience).await?;
        publisher.allow(tracker.take_ended());
        bar.set_position(tracker.ended_tasks());
    }
    Ok(())
}

/// Takes note of the next thing that happens.
async fn hear(
    tracker: &mut Tracker,
    publisher: &mut Publisher,
    ledger: &mut Follower,
    patience: Span,
) -> Result<(), Failure> {
    let news = async {
        tokio::select! {
            Some(published) = publisher.next() => published.map(|published| tracker.on_published(published)),
            placed = ledger.next() => placed.map(|placed| tracker.on_batch(clock::now(), &placed.batch)),
        }
    };
    timeout(patience.to_std(), news).await.map_err(|_| stuck(patience))?
}

fn stuck(patience: Span) -> Failure {
    Failure::failed(format!(
        "nothing has become of any task for {patience}: look for agents that are ready with `allot agents`, for what \
         others run with `allot queues`, or wait longer with --patience"
    ))
}

async fn unless_interrupted(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted, cancelling what is open")),
    }
}

/// Cancels jobs, as far as that is possible.
async fn cancel(client: &Client, jobs: Vec<JobId>) {
    let count = jobs.len();
    let results = stream::iter(jobs)
        .map(|job| async move { client.cancel(job).await.is_ok() })
        .buffer_unordered(CANCELS_AT_ONCE);
    let cancelled = results.filter(|done| std::future::ready(*done)).count().await;
    if cancelled < count {
        note(&format!("allot: {cancelled} of {count} open jobs could be cancelled: see `allot jobs`"));
    }
}

fn progress(tasks: u64) -> ProgressBar {
    let bar = ProgressBar::new(tasks);
    bar.enable_steady_tick(Duration::from_millis(100));
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} tasks, {per_sec}");
    // The template is fixed; where indicatif does not take it, its own is good enough.
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
