//! What is to be submitted, and when.

use allot_model::{QueueName, Span};
use allot_workload::{Log, LogJob};
use serde_json::json;

use super::{Machine, QueueBy, ReplayArgs};
use crate::failure::Failure;
use crate::output::length;

/// The jobs to replay.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// In the order in which they are due.
    pub(super) jobs: Vec<PlannedJob>,
    /// How many jobs were left out because no agent has that many processors.
    pub(super) too_large: usize,
    /// How many times faster than recorded.
    pub(super) speed: u64,
}

/// One job to replay.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedJob {
    /// When it is due, from the beginning of the replay.
    pub(super) after: Span,
    /// Where it goes.
    pub(super) queue: QueueName,
    /// What it was in the log.
    pub(super) recorded: LogJob,
    /// How long it sleeps.
    pub(super) run: Span,
}

impl Plan {
    /// Plans the replay of a log on a machine.
    pub(super) fn of(log: &Log, args: &ReplayArgs, machine: &Machine) -> Result<Self, Failure> {
        let chosen = args.filter.jobs(log, log.machine_procs.unwrap_or(u64::MAX));
        let mut chosen: Vec<LogJob> = chosen.into_iter().take(args.limit.unwrap_or(usize::MAX)).collect();
        let before = chosen.len();
        chosen.retain(|job| job.procs.saturating_mul(1_000) <= machine.largest);
        let first_s = chosen.first().map_or(0, |job| job.submit_s);
        let planned = |job: LogJob| PlannedJob::of(job, first_s, args);
        let jobs = chosen.iter().map(|job| planned(*job)).collect::<Result<Vec<_>, _>>()?;
        let too_large = before - jobs.len();
        if jobs.is_empty() {
            return Err(Failure::failed(format!(
                "nothing to replay: of {before} jobs, {too_large} need more processors than any agent has ({})",
                machine.largest / 1_000
            )));
        }
        Ok(Self { jobs, too_large, speed: args.speed })
    }

    /// What is about to be done, in a sentence or two.
    pub(super) fn announcement(&self, machine: &Machine) -> String {
        let last = self.jobs.last().map_or(Span::ZERO, |job| job.after);
        let mut text = format!(
            "allot: replaying {} jobs at {} times their speed; the last is submitted after {}",
            self.jobs.len(),
            self.speed,
            length(last)
        );
        if self.too_large > 0 {
            text.push_str(&format!(
                "\nallot: {} more are left out: they need more processors than any agent has ({})",
                self.too_large,
                machine.largest / 1_000
            ));
        }
        text
    }
}

impl PlannedJob {
    fn of(recorded: LogJob, first_s: i64, args: &ReplayArgs) -> Result<Self, Failure> {
        let after_s = u64::try_from(recorded.submit_s.saturating_sub(first_s)).unwrap_or(0);
        let scaled = |seconds: u64| Span::from_micros(seconds.saturating_mul(1_000_000) / args.speed);
        let queue = QueueName::new(&queue_of(&recorded, args.queue_by)).map_err(Failure::internal)?;
        Ok(Self { after: scaled(after_s), queue, recorded, run: scaled(recorded.run_s) })
    }

    /// The submission.
    pub(super) fn payload(&self) -> Vec<u8> {
        let micros = self.run.as_micros();
        let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let job = json!({
            "name": format!("log-{}", self.recorded.job),
            "command": ["sleep", seconds],
            "resources": {"cpus": self.recorded.procs},
        });
        job.to_string().into_bytes()
    }
}

fn queue_of(job: &LogJob, by: QueueBy) -> String {
    let named = |kind: &str, number: i64| match number {
        ..0 => format!("replay.{kind}-unknown"),
        _ => format!("replay.{kind}{number}"),
    };
    match by {
        QueueBy::User => named("user", job.user),
        QueueBy::Group => named("group", job.group),
        QueueBy::Queue => named("queue", job.queue),
        QueueBy::None => "replay".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        args: ReplayArgs,
    }

    const LOG: &[u8] = b"; MaxProcs: 100\n\
        1 100 5 60 4 -1 -1 4 120 -1 1 7 1 -1 2 -1 -1 -1\n\
        2 400 5 30 1 -1 -1 1 120 -1 1 -1 1 -1 2 -1 -1 -1\n\
        3 500 5 30 64 -1 -1 64 120 -1 1 8 1 -1 2 -1 -1 -1\n\
        4 700 5 30 2 -1 -1 2 120 -1 1 8 3 -1 2 -1 -1 -1\n";

    pub(in super::super) fn plan(words: &[&str], cpus: u64) -> Result<Plan, Failure> {
        let words = ["replay", "file"].iter().chain(words);
        let args = Words::try_parse_from(words).unwrap().args;
        Plan::of(&Log::parse(LOG).unwrap(), &args, &Machine { total: cpus * 1_000, largest: cpus * 1_000 })
    }

    #[test]
    fn jobs_are_due_at_their_recorded_times_scaled() {
        let plan = plan(&["--speed", "100"], 8).unwrap();
        let due: Vec<u64> = plan.jobs.iter().map(|job| job.after.as_millis()).collect();
        assert_eq!((due, plan.too_large), (vec![0, 3_000, 6_000], 1));
        let payload: serde_json::Value = serde_json::from_slice(&plan.jobs[0].payload()).unwrap();
        assert_eq!(payload["command"], json!(["sleep", "0.600000"]));
        assert_eq!(payload["resources"]["cpus"], json!(4));
        assert!(allot_model::job_file::parse_submission(&plan.jobs[0].payload()).is_ok());
    }

    #[test]
    fn queues_are_named_after_what_was_asked_for() {
        let queues = |by: &str| {
            let plan = plan(&["--queue-by", by], 100).unwrap();
            plan.jobs.iter().map(|job| job.queue.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(queues("user"), ["replay.user7", "replay.user-unknown", "replay.user8", "replay.user8"]);
        assert_eq!(queues("group")[3], "replay.group3");
        assert_eq!(queues("queue")[0], "replay.queue2");
        assert_eq!(queues("none"), ["replay"; 4]);
    }

    #[test]
    fn the_limit_counts_jobs_of_the_log() {
        assert_eq!(plan(&["--limit", "3"], 8).unwrap().jobs.len(), 2);
    }

    #[test]
    fn a_machine_on_which_nothing_fits_is_said_to_be_so() {
        let refused = plan(&[], 0).unwrap_err().to_string();
        assert!(refused.contains("of 4 jobs, 4 need more processors"), "{refused}");
    }
}
