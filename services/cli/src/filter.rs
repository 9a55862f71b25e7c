//! Which jobs are meant: the filters that `jobs`, `cancel` and others share.

use allot_bus::Subject;
use allot_model::view::{JobList, JobsQuery};
use allot_model::{JobState, QueueName, Time};
use clap::{ArgGroup, Args};

use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::output::Output;
use crate::when::When;

/// The most jobs that the dispatcher puts on a page.
const PAGE: u32 = 1_000;
/// The states of jobs that have not ended.
pub const ACTIVE: [JobState; 4] = [JobState::Waiting, JobState::Queued, JobState::Running, JobState::Killing];

/// Which jobs are meant: those for which all of it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct JobFilter {
    /// Only jobs of this queue and of those below it.
    #[arg(long, short, value_name = "QUEUE", add = completions::queues())]
    pub queue: Option<QueueName>,
    /// Only jobs in these states: waiting, queued, running, killing, finished, failed, killed, rejected, dropped.
    #[arg(long, short, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<JobState>,
    /// Only jobs of this name: the whole of it as a pattern with `*` or `?`, or a part of it.
    #[arg(long, short, value_name = "PATTERN")]
    pub name: Option<String>,
    /// Only jobs submitted since then: a length of time such as `1h`, or a time such as `2026-11-22T17:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<When>,
    /// Only jobs submitted before then.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<When>,
}

pub(crate) fn state(text: &str) -> Result<JobState, String> {
    serde_json::from_value(serde_json::Value::String(text.to_lowercase())).map_err(|_| {
        "the states of jobs are waiting, queued, running, killing, finished, failed, killed, rejected and dropped"
            .to_owned()
    })
}

/// Jobs are named, or chosen by what the filter takes.
pub(crate) fn which_jobs() -> ArgGroup {
    let by = ["jobs", "queue", "state", "name", "since", "until"];
    ArgGroup::new("which").required(true).multiple(true).args(by)
}

impl JobFilter {
    /// The names among what is given: `queue research and name train-*`.
    pub(crate) fn names(&self) -> Option<String> {
        let queue = self.queue.iter().map(|queue| format!("queue {queue}"));
        let name = self.name.iter().map(|name| format!("name {name}"));
        let names: Vec<String> = queue.chain(name).collect();
        (!names.is_empty()).then(|| names.join(" and "))
    }

    /// True where every job is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What to ask the dispatcher for.
    #[must_use]
    pub fn query(&self, now: Time) -> JobsQuery {
        JobsQuery {
            queue: self.queue.clone(),
            states: self.state.clone(),
            name: self.name.clone(),
            since: self.since.map(|when| when.at(now)),
            until: self.until.map(|when| when.at(now)),
            ..JobsQuery::default()
        }
    }
}

impl Client {
    /// At most `limit` jobs, newest first, gathered page by page. What is looked at is told at a terminal, where it
    /// takes its time.
    ///
    /// # Errors
    /// Where the dispatcher refuses or does not answer.
    pub async fn jobs(&self, query: JobsQuery, limit: usize, output: &Output) -> Result<JobList, Failure> {
        let mut query = query;
        let mut all = JobList { jobs: Vec::new(), next: None, looked_at: 0 };
        let spinner = output.spinner();
        loop {
            query.limit = u32::try_from(limit - all.jobs.len()).unwrap_or(PAGE).clamp(1, PAGE);
            let page: JobList = self.ask(&Subject::JobsList, &query).await?;
            all.jobs.extend(page.jobs);
            all.next = page.next;
            all.looked_at += page.looked_at;
            query.before = page.next;
            if all.next.is_none() || all.jobs.len() >= limit {
                spinner.finish_and_clear();
                return Ok(all);
            }
            spinner.set_message(format!("{} jobs looked at, {} found", all.looked_at, all.jobs.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_by_name_and_others_listed() {
        assert_eq!(state("Running"), Ok(JobState::Running));
        assert!(state("done").unwrap_err().contains("finished, failed"));
    }

    #[test]
    fn times_are_counted_from_now() {
        let filter = JobFilter { since: "1s".parse().ok(), ..JobFilter::default() };
        assert!(!filter.is_empty() && JobFilter::default().is_empty());
        let query = filter.query(Time::from_micros(5_000_000));
        assert_eq!((query.since, query.until), (Some(Time::from_micros(4_000_000)), None));
    }
}
