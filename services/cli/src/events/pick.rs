//! Which events are told.

use std::collections::BTreeMap;

use allot_model::view::{JobQuery, JobSummary};
use allot_model::{AgentId, JobId, QueueName, Time, Writer, name_matches};
use clap::Args;
use serde_json::Value;

use super::Told;
use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::when::When;

/// Every kind of event, and who writes it. What every writer writes about itself has no row.
const KINDS: [(&str, Writer); 21] = [
    ("agent_joined", Writer::Registry),
    ("agent_unreachable", Writer::Registry),
    ("agent_returned", Writer::Registry),
    ("agent_draining", Writer::Registry),
    ("agent_drained", Writer::Registry),
    ("agent_undrained", Writer::Registry),
    ("agent_gone", Writer::Registry),
    ("allocated", Writer::Offers),
    ("allocator_activated", Writer::Offers),
    ("policy_chosen", Writer::Offers),
    ("job_admitted", Writer::Dispatcher),
    ("job_rejected", Writer::Dispatcher),
    ("job_ready", Writer::Dispatcher),
    ("job_cancelled", Writer::Dispatcher),
    ("job_ended", Writer::Dispatcher),
    ("tasks_queued", Writer::Dispatcher),
    ("tasks_started", Writer::Dispatcher),
    ("tasks_killing", Writer::Dispatcher),
    ("tasks_ended", Writer::Dispatcher),
    ("allocation_returned", Writer::Dispatcher),
    ("queue_set", Writer::Dispatcher),
];
/// The kind that every writer writes about itself.
const WRITER_STARTED: &str = "writer_started";
/// The states in which jobs and tasks end.
const ENDS: [&str; 6] = ["finished", "failed", "killed", "rejected", "dropped", "gone"];

/// Which events are told: those for which all of it holds.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Pick {
    /// Only what is about this job.
    #[arg(long, short, value_name = "JOB", add = completions::jobs())]
    pub(super) job: Option<JobId>,
    /// Only what is about this agent.
    #[arg(long, value_name = "AGENT", add = completions::agents())]
    agent: Option<AgentId>,
    /// Only what is about jobs of this queue and of those below it.
    #[arg(long, short, value_name = "QUEUE", add = completions::queues())]
    queue: Option<QueueName>,
    /// Only what is about jobs of this name: the whole of it as a pattern with `*` or `?`, or a part of it.
    #[arg(long, value_name = "PATTERN")]
    name: Option<String>,
    /// Only the ends of jobs and tasks in these states: finished, failed, killed, rejected, dropped, gone.
    #[arg(long, short, value_name = "STATE", value_delimiter = ',', value_parser = ENDS)]
    state: Vec<String>,
    /// Only events of these kinds, such as job_ended, tasks_started or 'agent_*'; see below.
    #[arg(long, short, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    event: Vec<String>,
    /// Only what happened since then: a length of time such as `10m`, a time such as `2026-11-22T17:00:00Z`, or `start`.
    #[arg(long, value_name = "WHEN")]
    pub(super) since: Option<When>,
    /// Only what happened before then.
    #[arg(long, value_name = "WHEN", conflicts_with = "follow")]
    pub(super) until: Option<When>,
}

fn kind(text: &str) -> Result<String, String> {
    let kinds = || KINDS.iter().map(|(kind, _)| *kind).chain([WRITER_STARTED]);
    if kinds().any(|kind| is_kind(text, kind)) {
        return Ok(text.to_owned());
    }
    Err(format!("the kinds of events are {}", kinds().collect::<Vec<_>>().join(", ")))
}

/// A kind is given whole, or as a pattern.
fn is_kind(pattern: &str, kind: &str) -> bool {
    if pattern.contains(['*', '?']) { name_matches(pattern, kind) } else { pattern == kind }
}

impl Pick {
    /// What is said where nothing is told: `no events of job 999 in the ledger`.
    pub(super) fn nothing(&self) -> String {
        let names = [
            self.job.map(|job| format!("job {job}")),
            self.agent.as_ref().map(|agent| format!("agent {agent}")),
            self.queue.as_ref().map(|queue| format!("queue {queue}")),
            self.name.as_ref().map(|name| format!("name {name}")),
        ];
        let names: Vec<String> = names.into_iter().flatten().collect();
        match names.is_empty() {
            true => "no such events in the ledger".to_owned(),
            false => format!("no such events of {} in the ledger", names.join(" and ")),
        }
    }

    /// The writers who may have written what is to be told; the server is asked for nothing else.
    pub(super) fn writers(&self) -> Vec<Writer> {
        let about_jobs = self.job.is_some() || self.queue.is_some() || self.name.is_some();
        let may = |writer: &Writer| match writer {
            Writer::Registry => !about_jobs && self.state.is_empty() && self.wants_of(*writer),
            Writer::Offers => self.state.is_empty() && self.wants_of(*writer),
            Writer::Dispatcher => self.wants_of(*writer),
        };
        let writers: Vec<Writer> = Writer::ALL.into_iter().filter(may).collect();
        // Nothing can be told; whoever asks is to see that, and not everything.
        if writers.is_empty() { vec![Writer::Dispatcher] } else { writers }
    }

    fn wants_of(&self, writer: Writer) -> bool {
        let wants = |pattern: &String| {
            is_kind(pattern, WRITER_STARTED)
                || KINDS.iter().any(|(kind, of)| *of == writer && is_kind(pattern, kind))
        };
        self.event.is_empty() || self.event.iter().any(wants)
    }

    /// What the event itself says, whatever its job is.
    fn is_about(&self, event: &Told, since: Option<Time>, until: Option<Time>) -> bool {
        let state = || event.fields.get("state").and_then(Value::as_str);
        let ended = |states: &[String]| {
            let state = if event.event == "job_rejected" { Some("rejected") } else { state() };
            state.is_some_and(|state| states.iter().any(|wanted| wanted == state))
        };
        since.is_none_or(|since| event.at >= since)
            && until.is_none_or(|until| event.at <= until)
            && self.job.is_none_or(|job| event.job == Some(job))
            && self.agent.as_ref().is_none_or(|agent| event.agent.as_ref() == Some(agent))
            && (self.event.is_empty() || self.event.iter().any(|pattern| is_kind(pattern, event.event)))
            && (self.state.is_empty() || ended(&self.state))
    }
}

/// Picks events, and finds out whose they are where they do not say so themselves.
pub(super) struct Picker<'a> {
    pick: &'a Pick,
    client: &'a Client,
    since: Option<Time>,
    until: Option<Time>,
    /// Whether a job is of the queue and name that are wanted, as far as has been learnt.
    jobs: BTreeMap<JobId, bool>,
}

impl<'a> Picker<'a> {
    pub(super) fn new(pick: &'a Pick, client: &'a Client, now: Time) -> Self {
        let at = |when: Option<When>| when.map(|when| when.at(now));
        Self { pick, client, since: at(pick.since), until: at(pick.until), jobs: BTreeMap::new() }
    }

    /// True where the event is to be told.
    ///
    /// # Errors
    /// Where the dispatcher has to be asked and does not answer.
    pub(super) async fn picks(&mut self, event: &Told) -> Result<bool, Failure> {
        self.learn(event);
        if !self.pick.is_about(event, self.since, self.until) {
            return Ok(false);
        }
        if self.pick.queue.is_none() && self.pick.name.is_none() {
            return Ok(true);
        }
        match event.job {
            Some(job) => self.is_meant(job).await,
            None => Ok(false),
        }
    }

    /// Remembers what an event says of its job's queue and name, so that nobody has to be asked.
    fn learn(&mut self, event: &Told) {
        let of = |name: &str| event.fields.get(name).and_then(Value::as_str);
        if let (Some(job), true, Some(queue)) = (event.job, event.event == "job_admitted", of("queue")) {
            let meant = self.means(queue, of("name"));
            self.jobs.insert(job, meant);
        }
    }

    async fn is_meant(&mut self, job: JobId) -> Result<bool, Failure> {
        if let Some(known) = self.jobs.get(&job) {
            return Ok(*known);
        }
        let query = JobQuery { limit: 1, ..JobQuery::default() };
        let meant = match self.client.job(job, &query).await {
            Ok(view) => {
                let JobSummary { queue, name, .. } = view.summary;
                self.means(&queue, name.as_deref())
            }
            // It ended long ago, and nobody knows any more whose it was.
            Err(failure) if failure.is_not_found() => false,
            Err(failure) => return Err(failure),
        };
        self.jobs.insert(job, meant);
        Ok(meant)
    }

    fn means(&self, queue: &str, name: Option<&str>) -> bool {
        let below = |wanted: &QueueName| {
            queue.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let named = |pattern: &String| name.is_some_and(|name| name_matches(pattern, name));
        self.pick.queue.as_ref().is_none_or(below) && self.pick.name.as_ref().is_none_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(event: &[&str], state: &[&str]) -> Pick {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Pick { event: own(event), state: own(state), ..Pick::default() }
    }

    #[test]
    fn only_those_who_may_have_written_it_are_read() {
        let all = Writer::ALL.to_vec();
        let job = Pick { job: Some(JobId(1)), ..Pick::default() };
        let cases = [
            (pick(&[], &[]), all.clone()),
            (pick(&["agent_gone"], &[]), vec![Writer::Registry]),
            (pick(&["job_*", "policy_chosen"], &[]), vec![Writer::Offers, Writer::Dispatcher]),
            (pick(&["writer_started"], &[]), all),
            (pick(&[], &["failed"]), vec![Writer::Dispatcher]),
            (pick(&["agent_gone"], &["failed"]), vec![Writer::Dispatcher]),
            (job, vec![Writer::Offers, Writer::Dispatcher]),
        ];
        for (pick, writers) in cases {
            assert_eq!(pick.writers(), writers, "{pick:?}");
        }
    }

    #[test]
    fn kinds_are_given_by_name_or_pattern_and_others_listed() {
        assert!(kind("job_ended").is_ok() && kind("agent_*").is_ok());
        assert!(kind("ended").unwrap_err().contains("job_ended, "));
        assert!(kind("x*").is_err());
    }

    #[test]
    fn the_help_lists_every_kind() {
        let events = <crate::Cli as clap::CommandFactory>::command();
        let events = events.find_subcommand("events").unwrap().clone();
        let help = events.get_after_help().unwrap().to_string();
        let listed = help.split("Kinds: ").nth(1).unwrap();
        let mut listed: Vec<&str> =
            listed.split([',', '.', '\n', ' ']).filter(|word| !word.is_empty()).collect();
        let mut kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).chain([WRITER_STARTED]).collect();
        listed.sort_unstable();
        kinds.sort_unstable();
        assert_eq!(listed, kinds);
    }
}
