//! `allot wait`: until jobs have ended.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use allot_model::view::{JobQuery, JobView, TaskCounts};
use allot_model::{DispatcherRecord, Entry, JobId, JobState, Record, Span, Writer};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::filter::{ACTIVE, JobFilter};
use crate::follow::{Follower, From};
use crate::output::{Output, note};
use crate::states::word;
use crate::watch::rejected;

/// The most jobs that a filter may choose.
const MOST: usize = 100_000;
/// The pauses between looks at jobs whose ends cannot be heard of: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Wait until jobs have ended.
///
/// Says how each job ended as it ends, and fails where one did not finish. The jobs are given by id, or by filters, which
/// choose among the jobs that have not ended. Where all of those have ended it returns at once; a queue or name that no job
/// has is a failure.
#[derive(Debug, Args)]
#[command(
    after_help = "\
Examples:
  allot wait 12
  allot wait 12 13 14 --timeout 1h
  allot wait --queue research                all that it has now
  allot wait 12 && allot logs 12 > result",
    group(crate::filter::which_jobs())
)]
pub struct WaitArgs {
    /// The jobs.
    #[arg(value_name = "JOB", add = completions::jobs())]
    jobs: Vec<JobId>,
    #[command(flatten)]
    filter: JobFilter,
    /// Give up after so long, such as 30s or 1h; the jobs go on.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
}

/// Waits for jobs.
///
/// # Errors
/// Where one did not finish, there is no such job, or the time is over.
pub async fn run(args: WaitArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let WaitArgs { mut jobs, mut filter, timeout: patience } = args;
    // Begun first, so that no end is missed.
    let mut waiting = Waiting::new(Source::open(client).await?, output);
    if !filter.is_empty() {
        if filter.state.is_empty() {
            filter.state = ACTIVE.to_vec();
        }
        let found = client.jobs(filter.query(output.clock.now), MOST, output).await?;
        jobs.extend(found.jobs.iter().map(|job| job.job));
        if jobs.is_empty() {
            return nothing_to_wait_for(filter, client, output).await;
        }
    }
    jobs.sort_unstable();
    jobs.dedup();
    for job in &jobs {
        waiting.add(client, *job).await?;
    }
    let all = waiting.report(client, output);
    match patience {
        None => all.await,
        Some(patience) => match timeout(patience.to_std(), all).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::failed(format!("not all jobs have ended within {patience}: they go on"))),
        },
    }
}

/// All that are meant have ended, which is as good as waiting; or a name was given that no job has.
async fn nothing_to_wait_for(filter: JobFilter, client: &Client, output: &Output) -> Result<(), Failure> {
    let any = JobFilter { state: Vec::new(), since: None, until: None, ..filter };
    if let Some(names) = any.names()
        && client.jobs(any.query(output.clock.now), 1, output).await?.jobs.is_empty()
    {
        return Err(Failure::failed(format!("no job of {names}: `allot jobs` lists those that there are")));
    }
    if !output.is_json() {
        note("no job to wait for");
    }
    Ok(())
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Which.
    pub job: JobId,
    /// In which state.
    pub state: JobState,
    /// What is wrong with it, where it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How ends are heard of.
pub enum Source {
    /// From the ledger, at once.
    Ledger(Follower),
    /// By asking again and again: this user may not read the ledger.
    Asking,
}

impl Source {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where there is no ledger.
    pub async fn open(client: &Client) -> Result<Self, Failure> {
        let opened = async {
            let end = client.ledger_end().await?;
            client.follow(From::Sequence(end + 1), Some(Writer::Dispatcher)).await
        };
        match opened.await {
            Ok(follower) => Ok(Self::Ledger(follower)),
            Err(Failure::Denied(_)) => Ok(Self::Asking),
            Err(failure) => Err(failure),
        }
    }
}

/// Jobs that are waited for.
pub struct Waiting {
    source: Source,
    /// Those that have not ended, and whether the dispatcher has ever been heard to know them.
    open: BTreeMap<JobId, bool>,
    /// Those whose end is still to be told.
    ended: VecDeque<Ended>,
    pause: Duration,
    tasks: u64,
    bar: ProgressBar,
}

impl Waiting {
    /// Nothing is waited for yet.
    #[must_use]
    pub fn new(source: Source, output: &Output) -> Self {
        let bar = output.bar(0);
        bar.set_message("tasks ended");
        Self { source, open: BTreeMap::new(), ended: VecDeque::new(), pause: FIRST_PAUSE, tasks: 0, bar }
    }

    /// Waits for a job that was submitted since the source was opened.
    pub fn add_new(&mut self, job: JobId, tasks: u32) {
        self.open.insert(job, false);
        self.tasks += u64::from(tasks);
        self.bar.set_length(self.tasks);
    }

    /// Waits for a job that may have ended.
    ///
    /// # Errors
    /// Where there is no such job.
    pub async fn add(&mut self, client: &Client, job: JobId) -> Result<(), Failure> {
        let view = ask(client, job).await?;
        self.add_new(job, view.summary.tasks);
        self.open.insert(job, true);
        self.bar.inc(over(&view.summary.counts));
        self.note_state(&view);
        Ok(())
    }

    /// The next job that has ended; nothing once all have.
    ///
    /// # Errors
    /// Where it cannot be heard of any more what becomes of the jobs.
    pub async fn next(&mut self, client: &Client) -> Result<Option<Ended>, Failure> {
        loop {
            if let Some(ended) = self.ended.pop_front() {
                return Ok(Some(ended));
            }
            if self.open.is_empty() {
                self.bar.finish_and_clear();
                return Ok(None);
            }
            match &mut self.source {
                Source::Ledger(follower) => {
                    let placed = follower.next().await?;
                    placed.batch.entries.into_iter().for_each(|entry| self.on_entry(entry));
                }
                Source::Asking => {
                    sleep(self.pause).await;
                    self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
                    self.ask_all(client).await?;
                }
            }
        }
    }

    /// Waits for all, tells each end, and fails where a job did not finish.
    ///
    /// # Errors
    /// As said, and where it cannot be heard of any more what becomes of the jobs.
    pub async fn report(mut self, client: &Client, output: &Output) -> Result<(), Failure> {
        let (mut all, mut bad) = (0_u64, 0_u64);
        while let Some(ended) = self.next(client).await? {
            all += 1;
            bad += u64::from(ended.state != JobState::Finished);
            self.bar.suspend(|| output.print_line(&ended, Ended::text))?;
        }
        if bad == 0 { Ok(()) } else { Err(unfinished(bad, all)) }
    }

    fn on_entry(&mut self, entry: Entry) {
        let Record::Dispatcher(record) = entry.record else { return };
        match record {
            DispatcherRecord::TasksEnded { run, retry_at: None, .. } if self.open.contains_key(&run.job) => {
                self.bar.inc(run.tasks.count());
            }
            DispatcherRecord::JobEnded { job, state, .. } => self.end(job, state, None),
            DispatcherRecord::JobRejected { job, rejection, .. } => {
                self.end(job, JobState::Rejected, Some(rejected(job, &rejection).to_string()));
            }
            _ => {}
        }
    }

    fn end(&mut self, job: JobId, state: JobState, why: Option<String>) {
        if self.open.remove(&job).is_some() {
            self.ended.push_back(Ended { job, state, why });
        }
    }

    async fn ask_all(&mut self, client: &Client) -> Result<(), Failure> {
        let open: Vec<(JobId, bool)> = self.open.iter().map(|(job, known)| (*job, *known)).collect();
        let mut done = 0;
        for (job, known) in open {
            match ask(client, job).await {
                Ok(view) => {
                    done += over(&view.summary.counts);
                    self.open.insert(job, true);
                    self.note_state(&view);
                }
                // The dispatcher has not read the submission yet.
                Err(failure) if failure.is_not_found() && !known => {}
                Err(failure) => return Err(failure),
            }
        }
        if self.open.len() == 1 {
            self.bar.set_position(done);
        }
        Ok(())
    }

    fn note_state(&mut self, view: &JobView) {
        let (job, state) = (view.summary.job, view.summary.state);
        if state.is_final() {
            let why = view.rejection.as_ref().map(|rejection| rejected(job, rejection).to_string());
            self.end(job, state, why);
        }
    }
}

impl Ended {
    fn text(&self) -> String {
        self.why.clone().unwrap_or_else(|| format!("job {} {}", self.job, word(self.state)))
    }
}

async fn ask(client: &Client, job: JobId) -> Result<JobView, Failure> {
    client.job(job, &JobQuery { limit: 1, ..JobQuery::default() }).await
}

/// How many tasks are in a final state.
fn over(counts: &TaskCounts) -> u64 {
    counts.finished + counts.failed + counts.killed + counts.dropped + counts.gone
}

fn unfinished(bad: u64, all: u64) -> Failure {
    if all > 1 {
        note(&format!("allot: {bad} of {all} jobs did not finish"));
    }
    Failure::Exit(1)
}
