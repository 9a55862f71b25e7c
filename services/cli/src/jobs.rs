//! `allot jobs`: which jobs there are.

use allot_model::JobId;
use allot_model::view::JobSummary;
use clap::Args;

use crate::client::Client;
use crate::failure::Failure;
use crate::filter::{ACTIVE, JobFilter};
use crate::output::{Output, Table, note};
use crate::states;

/// List jobs, newest first.
///
/// Shows a page of jobs with their states, how many of their tasks are in which state, and when they were submitted.
/// Filters combine: a job is listed where all of them hold. However many jobs there are, a page is quick; a filter that
/// few jobs pass takes a moment longer.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot jobs                              the 50 newest jobs
  allot jobs --active                     those that have not ended
  allot jobs --state failed --since 1h    what failed of what was submitted in the last hour
  allot jobs --queue research --name 'train-*'
  allot jobs --limit 200 --before 1042    the page of jobs older than 1042
  allot jobs -o json | jq '.jobs[].job'")]
pub struct JobsArgs {
    #[command(flatten)]
    filter: JobFilter,
    /// Only jobs that have not ended.
    #[arg(long, short, conflicts_with = "state")]
    active: bool,
    /// Only jobs older than this one: the next page.
    #[arg(long, value_name = "JOB", add = crate::completions::jobs())]
    before: Option<JobId>,
    /// At most so many jobs.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// Lists jobs.
///
/// # Errors
/// Where the dispatcher does not answer or refuses.
pub async fn run(args: JobsArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let JobsArgs { mut filter, active, before, limit } = args;
    if active {
        filter.state = ACTIVE.to_vec();
    }
    let mut query = filter.query(output.clock.now);
    query.before = before;
    let list = client.jobs(query, limit as usize, output).await?;
    output.print(&list, |list| table(&list.jobs, output))?;
    match list.next {
        Some(_) if output.is_json() => {}
        Some(next) => note(&format!("more: add --before {next}")),
        None if list.jobs.is_empty() && !output.is_json() => note("no jobs"),
        None => {}
    }
    Ok(())
}

/// The jobs as a table; nothing where there are none.
fn table(jobs: &[JobSummary], output: &Output) -> String {
    let mut table =
        Table::new(&["JOB#", "NAME~", "QUEUE", "STATE", "TASKS#", "THEY ARE", "SUBMITTED", "TOOK"]);
    for job in jobs {
        table.row([
            job.job.into(),
            job.name.as_deref().unwrap_or("-").into(),
            (&job.queue).into(),
            states::job(job.state),
            job.tasks.into(),
            states::counts(&job.counts).into(),
            output.clock.show(job.submitted_at).into(),
            took(job, output).into(),
        ]);
    }
    if table.is_empty() { String::new() } else { output.draw(&table) }
}

fn took(job: &JobSummary, output: &Output) -> String {
    match (job.started_at, job.ended_at) {
        (Some(_), end) if end.is_some() || !job.state.is_final() => output.clock.took(job.started_at, end),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::output::Format;
    use allot_model::view::TaskCounts;
    use allot_model::{JobState, Span, Time};

    pub(crate) const NOW: Time = Time::from_micros(1_795_367_071_123_456);

    pub(crate) fn summary(job: u64) -> JobSummary {
        JobSummary {
            job: JobId(job),
            name: Some("train".into()),
            queue: "research.vision".into(),
            state: JobState::Running,
            reason: None,
            tasks: 10,
            counts: TaskCounts { running: 3, queued: 7, ..TaskCounts::default() },
            submitted_at: NOW - Span::from_secs(200),
            started_at: Some(NOW - Span::from_secs(192)),
            ended_at: None,
        }
    }

    #[test]
    fn jobs_are_listed_one_to_a_line() {
        let mut done = summary(7);
        done.name = None;
        done.state = JobState::Finished;
        done.counts = TaskCounts { finished: 10, ..TaskCounts::default() };
        done.ended_at = Some(NOW - Span::from_secs(150));
        let output = Output::plain(Format::Text, false, NOW);
        assert_eq!(
            table(&[summary(1042), done], &output),
            "\
\x20JOB  NAME   QUEUE            STATE     TASKS  THEY ARE             SUBMITTED  TOOK
1042  train  research.vision  running      10  3 running, 7 queued  3m ago     3m12s
   7  -      research.vision  finished     10  10 finished          3m ago     42s"
        );
        assert_eq!(table(&[], &output), "");
    }
}
