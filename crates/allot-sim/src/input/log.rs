//! Workloads from logs of batch machines in the Standard Workload Format.

use std::collections::BTreeMap;
use std::str::FromStr;

use allot_model::{Amount, InvalidId, QueueName, Request, ResourceName, Resources, Span, Time};
use allot_workload::{Filter, InvalidLog, LogJob, Selection};

use super::build::Builder;
use super::fleet::{AgentGroup, Processors, join};
use crate::length::LONGEST;
use crate::workload::{Asks, Job, Workload};

/// How a log is to be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// The agents; one with as many cpus as the machine of the log where there are none.
    pub agents: Vec<AgentGroup>,
    /// Which rows are used.
    pub filter: Filter,
    /// How long jobs are said to run.
    pub estimates: Estimates,
    /// Which queue a job goes to.
    pub queue_by: QueueBy,
}

/// How long the jobs of a log are said to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Estimates {
    /// As long as they were said to.
    #[default]
    Requested,
    /// As long as they did.
    Actual,
}

/// What the queues of the jobs of a log are named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueBy {
    /// Who submitted it.
    User,
    /// The group of who submitted it.
    Group,
    /// The queue it was submitted to.
    Queue,
    /// All jobs go to the queue `log`.
    #[default]
    None,
}

/// Why a log is not a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableLog {
    /// It cannot be read.
    #[error(transparent)]
    Log(#[from] InvalidLog),
    /// Nobody says how many processors there are.
    #[error(
        "the log does not say how many processors its machine had (`MaxProcs`): give agents, such as `--agents '1x{{cpus: 100}}'`"
    )]
    NoMachine,
    /// A time is too long.
    #[error(
        "job {job}: its {field} is {seconds} seconds: the most is {} seconds, which is 1000 years",
        most_seconds()
    )]
    TooLong {
        /// The number of the job in the log.
        job: i64,
        /// Which time.
        field: &'static str,
        /// How long it is.
        seconds: u64,
    },
    /// A name cannot be made.
    #[error(transparent)]
    Name(#[from] InvalidId),
}

fn most_seconds() -> u64 {
    LONGEST.as_micros() / 1_000_000
}

impl Workload {
    /// The workload of a log, compressed with gzip or not, and how many of its jobs are left out because they need more
    /// processors than all agents have together.
    ///
    /// A job of n processors is one task of n cpus where an agent is as large as that, and n tasks of 1 cpu that are to be
    /// placed together where none is.
    ///
    /// # Errors
    /// [`UnusableLog`].
    pub fn of_log(bytes: &[u8], settings: &LogSettings) -> Result<(Self, usize), UnusableLog> {
        let mut builder = Builder::default();
        let given = join(&mut builder, &settings.agents)?;
        let machine = (!settings.agents.is_empty()).then_some(given.total);
        let Selection { jobs, machine_procs, too_large } = Selection::read(bytes, settings.filter, machine)?;
        let processors = match machine {
            Some(_) => given,
            None => join(&mut builder, &[whole_machine(machine_procs.ok_or(UnusableLog::NoMachine)?)])?,
        };
        let mut reader =
            Reader { builder, settings, processors, asks: BTreeMap::new(), queues: BTreeMap::new() };
        let before = jobs.len();
        reader.builder.workload.jobs.reserve_exact(before);
        for job in jobs {
            if job.procs <= processors.total {
                reader.submit(&job)?;
            }
        }
        let workload = reader.builder.finish();
        let left_out = too_large + before - workload.jobs.len();
        Ok((workload, left_out))
    }
}

/// One agent with all processors of a machine.
fn whole_machine(procs: u64) -> AgentGroup {
    let cpus = Amount::Scalar(procs.saturating_mul(1_000).min(Amount::MOST));
    AgentGroup { count: 1, resources: Resources::from_iter([(ResourceName::cpus(), cpus)]) }
}

struct Reader<'a> {
    builder: Builder,
    settings: &'a LogSettings,
    processors: Processors,
    /// The numbers of asks by cpus.
    asks: BTreeMap<u64, u32>,
    /// The numbers of queues by what they are named after.
    queues: BTreeMap<i64, u32>,
}

impl Reader<'_> {
    fn submit(&mut self, job: &LogJob) -> Result<(), UnusableLog> {
        let (cpus, tasks) =
            if job.procs <= self.processors.largest { (job.procs, 1) } else { (1, job.procs) };
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        let estimate_s = match self.settings.estimates {
            Estimates::Requested => job.requested_s,
            Estimates::Actual => job.run_s,
        };
        let span = |field, seconds| match seconds {
            seconds if seconds > most_seconds() => Err(UnusableLog::TooLong { job: job.job, field, seconds }),
            seconds => Ok(Span::from_secs(seconds)),
        };
        let submit = span("submit time", u64::try_from(job.submit_s).unwrap_or(0))?;
        let run = span("run time", job.run_s)?;
        let estimate = span("requested time", estimate_s)?;
        let asks = self.asks(cpus);
        let queue = self.queue(job)?;
        self.builder.submit(Job {
            submit: Time::ZERO + submit,
            run: Some(run),
            estimate: Some(estimate),
            deadline: None,
            number: job.job,
            queue,
            asks,
            tasks,
            min_tasks: tasks,
            priority: 0,
            preemptible: true,
        });
        Ok(())
    }

    fn asks(&mut self, cpus: u64) -> u32 {
        let Self { asks, builder, .. } = self;
        *asks.entry(cpus).or_insert_with(|| {
            let request = Request::from_iter([(ResourceName::cpus(), cpus.saturating_mul(1_000))]);
            builder.asks(Asks::anywhere(request))
        })
    }

    fn queue(&mut self, job: &LogJob) -> Result<u32, InvalidId> {
        let (kind, number) = match self.settings.queue_by {
            QueueBy::User => ("user", job.user),
            QueueBy::Group => ("group", job.group),
            QueueBy::Queue => ("queue", job.queue),
            QueueBy::None => ("log", 0),
        };
        if let Some(known) = self.queues.get(&number) {
            return Ok(*known);
        }
        let name = match (self.settings.queue_by, number) {
            (QueueBy::None, _) => kind.to_owned(),
            (_, ..0) => format!("{kind}-unknown"),
            _ => format!("{kind}{number}"),
        };
        let queue = self.builder.queue(&QueueName::new(&name)?);
        self.queues.insert(number, queue);
        Ok(queue)
    }
}

impl FromStr for Estimates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "requested" => Ok(Self::Requested),
            "actual" => Ok(Self::Actual),
            _ => Err(format!("{text:?} are no estimates: write `requested` or `actual`")),
        }
    }
}

impl FromStr for QueueBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "user" => Ok(Self::User),
            "group" => Ok(Self::Group),
            "queue" => Ok(Self::Queue),
            "none" => Ok(Self::None),
            _ => Err(format!(
                "{text:?} is nothing to name queues after: write `user`, `group`, `queue` or `none`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"; MaxProcs: 8\n\
        1 10 5 60 4 -1 -1 4 120 -1 1 7 1 -1 2 -1 -1 -1\n\
        2 0 5 30 1 -1 -1 1 120 -1 1 -1 1 -1 2 -1 -1 -1\n";

    fn workload(settings: &LogSettings) -> (Workload, usize) {
        Workload::of_log(LOG, settings).unwrap()
    }

    #[test]
    fn a_job_is_one_task_on_a_machine_and_many_on_small_agents() {
        let tasks = |agents: &str| {
            let agents = vec![agents.parse().unwrap()];
            let (workload, left_out) = workload(&LogSettings { agents, ..LogSettings::default() });
            let jobs: Vec<_> =
                workload.jobs.iter().map(|job| (job.number, job.tasks, job.min_tasks)).collect();
            (jobs, left_out)
        };
        assert_eq!(tasks("1x{cpus: 8}"), (vec![(2, 1, 1), (1, 1, 1)], 0));
        assert_eq!(tasks("4x{cpus: 1}"), (vec![(2, 1, 1), (1, 4, 4)], 0));
        assert_eq!(tasks("3x{cpus: 1}"), (vec![(2, 1, 1)], 1), "the machine has three processors");
    }

    #[test]
    fn queues_and_estimates_are_as_asked_for() {
        let by = |queue_by, estimates| {
            let (workload, _) = workload(&LogSettings { queue_by, estimates, ..LogSettings::default() });
            let job = workload.jobs[1];
            (workload.queues[job.queue as usize].name.to_string(), job.estimate.unwrap().to_string())
        };
        assert_eq!(by(QueueBy::User, Estimates::Requested), ("user7".to_owned(), "2m".to_owned()));
        assert_eq!(by(QueueBy::Queue, Estimates::Actual), ("queue2".to_owned(), "1m".to_owned()));
        assert_eq!(by(QueueBy::None, Estimates::Actual).0, "log");
        let (unknown, _) = workload(&LogSettings { queue_by: QueueBy::User, ..LogSettings::default() });
        assert_eq!(unknown.queues[0].name.as_str(), "user-unknown");
    }

    #[test]
    fn times_that_are_too_long_are_told_with_their_job() {
        let read = |submit: &str, run: &str, requested: &str| {
            let row =
                format!("; MaxProcs: 8\n7 {submit} -1 {run} 1 -1 -1 1 {requested} -1 1 7 1 -1 2 -1 -1 -1\n");
            Workload::of_log(row.as_bytes(), &LogSettings { filter: Filter::Raw, ..LogSettings::default() })
        };
        assert!(read("31536000000", "31536000000", "31536000000").is_ok());
        let told = |read: Result<_, UnusableLog>| read.unwrap_err().to_string();
        assert_eq!(
            told(read("0", "9223372036854775807", "1")),
            "job 7: its run time is 9223372036854775807 seconds: the most is 31536000000 seconds, which is 1000 years"
        );
        assert!(told(read("31536000001", "1", "1")).starts_with("job 7: its submit time is"));
        assert!(told(read("0", "1", "31536000001")).starts_with("job 7: its requested time is"));
    }

    #[test]
    fn a_log_that_does_not_say_what_machine_it_was_needs_agents() {
        let error = Workload::of_log(b"", &LogSettings::default()).unwrap_err().to_string();
        assert!(error.contains("--agents '1x{cpus: 100}'"), "{error}");
    }
}
