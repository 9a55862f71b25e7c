//! `allot replay`: the jobs of a workload log, run for real at a multiple of their speed.

mod plan;
mod report;
mod track;

use std::path::PathBuf;

use allot_bus::Subject;
use allot_model::view::AgentState;
use allot_model::{JobId, ResourceName, Resources, Time, Writer};
use allot_shell::clock;
use allot_workload::{Filter, Log};
use clap::{Args, ValueEnum};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{Follower, From};
use crate::output::{Output, note};
use plan::{Plan, PlannedJob};
use report::Report;
use track::Tracker;

/// Run the jobs of a workload log at a multiple of their recorded speed.
///
/// Reads a log in the Standard Workload Format, publishes its jobs at their recorded times divided by the speed, and
/// runs each as a real process that sleeps for its run time divided by the speed, with its processors as `cpus`. Ends
/// with wait time, bounded slowdown and utilisation in the log's own time, and with every job that did not end as it
/// should; exits with 1 where there is any. The agents need not really have the processors: see the first example.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot up --agent-resources cpus=100
  allot replay KTH-SP2-1996-2.swf.gz --speed 20000 --limit 500 --queue-by user
  allot replay log.swf --speed 600 --filter raw --queue-by none -o json")]
pub struct ReplayArgs {
    /// The log, compressed with gzip or not.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times faster than it was recorded.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    speed: u64,
    /// Only the first so many jobs.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Which queue a job goes to.
    #[arg(long, value_enum, value_name = "BY", default_value_t = QueueBy::User)]
    queue_by: QueueBy,
    /// Which rows of the log are used: strong leaves out rows that make no sense, raw keeps what can be run.
    #[arg(long, value_name = "FILTER", default_value_t = Filter::Strong)]
    filter: Filter,
}

/// What a job's queue is named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum QueueBy {
    /// Who submitted it.
    User,
    /// The group of who submitted it.
    Group,
    /// The queue it was submitted to.
    Queue,
    /// All jobs go to the queue `replay`.
    None,
}

/// Replays a log.
///
/// # Errors
/// Where the log cannot be read, no agent is ready, or a job does not end as it should.
pub async fn run(args: ReplayArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let log = read(&args)?;
    let machine = Machine::of(client).await?;
    let plan = Plan::of(&log, &args, &machine)?;
    note(&plan.announcement(&machine));
    let end = client.ledger_end().await?;
    let follower = client.follow(From::Sequence(end + 1), Some(Writer::Dispatcher)).await?;
    let tracker = replay(client, &plan, follower, output).await?;
    let report = Report::of(&plan, &tracker, &machine);
    output.print(&report, |report| report.text(output))?;
    if report.is_good() { Ok(()) } else { Err(Failure::Exit(1)) }
}

fn read(args: &ReplayArgs) -> Result<Log, Failure> {
    let name = args.file.display();
    let bytes = std::fs::read(&args.file)
        .map_err(|error| Failure::Usage(format!("{name} cannot be read: {error}")))?;
    Log::parse(&bytes).map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

/// The agents that are ready, in thousandths of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    total: u64,
    largest: u64,
}

impl Machine {
    async fn of(client: &Client) -> Result<Self, Failure> {
        let agents = client.agents().await?;
        let cpus = ResourceName::new("cpus").map_err(Failure::internal)?;
        let ready = agents.iter().filter(|agent| agent.state == AgentState::Ready);
        let sizes: Vec<u64> =
            ready.filter_map(|agent| Some(Resources::from_json(&agent.total).ok()?.total(&cpus))).collect();
        let largest = sizes.iter().copied().max();
        let largest =
            largest.ok_or_else(|| Failure::failed("no agent is ready: start one, or see `allot agents`"))?;
        Ok(Self { total: sizes.iter().sum(), largest })
    }
}

/// Publishes the jobs as they become due, and follows them until all have ended.
async fn replay(
    client: &Client,
    plan: &Plan,
    mut ledger: Follower,
    output: &Output,
) -> Result<Tracker, Failure> {
    let mut tracker = Tracker::default();
    let (to_publish, mut published) = mpsc::channel(1_024);
    tokio::spawn(publish(client.clone(), plan.jobs.clone(), to_publish));
    let bar = output.bar(plan.jobs.len() as u64);
    let mut publishing = true;
    while publishing || !tracker.is_over() {
        tokio::select! {
            sent = published.recv(), if publishing => match sent {
                Some(sent) => tracker.on_published(sent?),
                None => publishing = false,
            },
            placed = ledger.next() => placed?.batch.entries.iter().for_each(|entry| tracker.on_entry(entry)),
        }
        bar.set_position(tracker.ended() as u64);
        if !bar.is_hidden() {
            bar.set_message(format!("ended, {}", tracker.summary()));
        }
    }
    bar.finish_and_clear();
    Ok(tracker)
}

/// Publishes each job when it is due, and says which job of the cluster it became.
async fn publish(client: Client, jobs: Vec<PlannedJob>, published: mpsc::Sender<Result<JobId, Failure>>) {
    let begun = clock::now();
    for job in jobs {
        sleep((begun + job.after).since(clock::now()).to_std()).await;
        let sent = client.submit(&Subject::Submit(job.queue.clone()), job.payload(), None).await;
        let failed = sent.is_err();
        if published.send(sent.map(|submitted| submitted.job)).await.is_err() || failed {
            return;
        }
    }
}

/// A time of the replay in the log's own time.
fn unscaled(at: Time, begun: Time, speed: u64) -> Time {
    begun + at.since(begun).times(speed)
}
