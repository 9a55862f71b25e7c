//! `allot events`: the ledger, as it is written.

mod pick;
mod tail;
mod told;

use std::collections::VecDeque;

use allot_model::view::JobQuery;
use allot_model::{JobId, Span, Time, Writer};
use allot_shell::clock;
use clap::Args;

use crate::client::Client;
use crate::failure::Failure;
use crate::follow::From;
use crate::output::{Output, note, timestamp};
use pick::{Pick, Picker};
pub use told::Told;

/// How many events are told unless another beginning is asked for.
const LAST: usize = 100;
/// By how much the clocks of a service and of the ledger's server may differ.
const CLOCK_TOLERANCE: Span = Span::from_secs(10);

/// Show what happened, and follow what happens.
///
/// Tells every record of the ledger in a line: jobs admitted, rejected and ended, tasks allocated, started and ended,
/// agents that join and fall silent, policies that change. Begins with the last 100 events, or with what --since or
/// --job say; with --follow only what is new is told. Filters combine. However long the ledger is, only what is asked for is
/// read; what jobs of a queue or name did long ago takes a moment longer.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot events                          the last of what happened
  allot events -n 10 -f                 the last 10 events, and what happens
  allot events --job 12                 what became of job 12
  allot events --since 10m --agent a1   what happened on an agent in the last 10 minutes
  allot events --queue research --state failed --since 1h
  allot events -f -e job_rejected,agent_unreachable
  allot events --since 2026-11-22T17:00:00Z --until 2026-11-22T18:00:00Z -o json

Kinds: agent_joined, agent_unreachable, agent_returned, agent_draining, agent_drained, agent_undrained,
agent_gone, allocated, allocator_activated, policy_chosen, job_admitted, job_rejected, job_ready,
job_cancelled, job_ended, tasks_queued, tasks_started, tasks_killing, tasks_ended, allocation_returned,
queue_set, writer_started.")]
pub struct EventsArgs {
    /// Go on with what happens, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Only the last so many events.
    #[arg(long, short = 'n', value_name = "N")]
    last: Option<usize>,
    #[command(flatten)]
    pick: Pick,
}

/// Tells what happened.
///
/// # Errors
/// Where the ledger cannot be read.
pub async fn run(args: EventsArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let end = client.ledger_end().await?;
    let telling = Telling {
        client,
        output,
        writers: args.pick.writers(),
        picker: Picker::new(&args.pick, client, output.clock.now),
        until: args.pick.until.map(|until| until.at(output.clock.now) + CLOCK_TOLERANCE),
        told: 0,
    };
    let told = telling.tell(&args, end).await?;
    if told == 0 && !output.is_json() {
        note(&args.pick.nothing());
    }
    Ok(())
}

/// What is under way.
struct Telling<'a> {
    client: &'a Client,
    output: &'a Output,
    writers: Vec<Writer>,
    picker: Picker<'a>,
    /// Nothing that the ledger took later is meant.
    until: Option<Time>,
    /// How many events have been told.
    told: u64,
}

impl Telling<'_> {
    /// Returns how many events were told.
    async fn tell(mut self, args: &EventsArgs, end: u64) -> Result<u64, Failure> {
        match beginning(args, self.client, self.output.clock.now).await {
            Some(from) => match args.last {
                Some(count) => self.last_since(from, count, end).await?,
                None => self.all_since(from, end, args.follow).await?,
            },
            None if args.follow && args.last.is_none() => {}
            None => self.last(args.last.unwrap_or(LAST), end).await?,
        }
        if args.follow {
            self.all_since(From::Sequence(end + 1), end, true).await?;
        }
        Ok(self.told)
    }

    /// Tells the last events of the ledger, read from its end.
    async fn last(&mut self, count: usize, end: u64) -> Result<(), Failure> {
        let end = match self.until {
            Some(until) => self.before(until, end).await?,
            None => end,
        };
        let spinner = self.output.spinner();
        let found = tail::last(self.client, &self.writers, &mut self.picker, (count, end), &spinner).await;
        spinner.finish_and_clear();
        found?.iter().try_for_each(|event| self.print(event))
    }

    /// The number of the last entry that the ledger took before `until`.
    async fn before(&self, until: Time, end: u64) -> Result<u64, Failure> {
        if until >= clock::now() {
            return Ok(end);
        }
        let mut follower = self.client.follow(From::Time(until), None).await?;
        if follower.waiting() == 0 {
            return Ok(end);
        }
        Ok(follower.next().await?.sequence - 1)
    }

    /// Tells the last events of those from a place on.
    async fn last_since(&mut self, from: From, count: usize, end: u64) -> Result<(), Failure> {
        let mut found: VecDeque<Told> = VecDeque::new();
        self.read(from, end, false, |event| {
            found.push_back(event);
            if found.len() > count {
                found.pop_front();
            }
            Ok(())
        })
        .await?;
        found.iter().try_for_each(|event| self.print(event))
    }

    /// Tells all events from a place on, up to the end, or for ever.
    async fn all_since(&mut self, from: From, end: u64, follow: bool) -> Result<(), Failure> {
        let (output, mut told) = (self.output, 0);
        let all = self.read(from, end, follow, |event| {
            told += 1;
            output.print_line(&event, line)
        });
        all.await?;
        self.told += told;
        Ok(())
    }

    fn print(&mut self, event: &Told) -> Result<(), Failure> {
        self.told += 1;
        self.output.print_line(event, line)
    }

    async fn read(
        &mut self,
        from: From,
        end: u64,
        follow: bool,
        mut each: impl FnMut(Told) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut follower = self.client.follow_writers(from, self.writers.clone()).await?;
        if follower.waiting() == 0 && !follow {
            return Ok(());
        }
        loop {
            let placed = follower.next().await?;
            if self.until.is_some_and(|until| placed.appended_at > until) {
                return Ok(());
            }
            for event in tail::tell(&placed) {
                if self.picker.picks(&event).await? {
                    each(event)?;
                }
            }
            if !follow && (placed.behind == 0 || placed.sequence >= end) {
                return Ok(());
            }
        }
    }
}

/// Where to begin; nothing where it is with the last events.
async fn beginning(args: &EventsArgs, client: &Client, now: Time) -> Option<From> {
    match (args.pick.since, args.pick.job) {
        (Some(crate::when::When::Start), _) => Some(From::Sequence(1)),
        (Some(when), _) => Some(From::Time(when.at(now).min(now))),
        (None, Some(job)) => Some(submitted(client, job).await),
        (None, _) => None,
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

fn line(event: &Told) -> String {
    format!("{}  {:<10}  {}", timestamp(event.at), event.writer, event.words)
}
