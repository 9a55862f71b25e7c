//! What is submitted, and submitting it.

use allot_bus::headers::{self, Encoding};
use allot_bus::{Stream, Subject};
use allot_model::job_file::parse_submission;
use allot_model::{JobId, QueueName, Time};
use allot_proto::Wire;
use allot_shell::clock;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::{BenchArgs, HowToRun};
use crate::batch;
use crate::client::{Client, not_published};
use crate::failure::Failure;

/// What each task runs unless something else is given.
const COMMAND: &str = "true";
/// A resource that no agent has.
const NOWHERE: &str = "allot_bench_nowhere";
/// How many jobs may wait to be taken note of.
const UNACKNOWLEDGED: usize = 4_096;

/// Jobs that are all alike.
#[derive(Debug, Clone)]
pub(super) struct Load {
    name: String,
    queue: QueueName,
    jobs: u32,
    tasks: u32,
    executor: HowToRun,
    in_flight: Option<u32>,
    batch: u32,
    content_type: &'static str,
    payload: Bytes,
}

impl Load {
    /// What the command line asks for.
    ///
    /// # Errors
    /// Where the tasks cannot be divided so, or make no job.
    pub(super) fn of(args: &BenchArgs) -> Result<Self, Failure> {
        let jobs = if args.separate { args.tasks } else { args.jobs };
        if !args.tasks.is_multiple_of(jobs) {
            return Err(Failure::Usage(format!(
                "--tasks {} cannot be divided evenly into --jobs {jobs}: give a multiple, or --separate for a job each",
                args.tasks
            )));
        }
        // Told from all others in the ledger by its name.
        let name = format!("bench-{}", allot_shell::instance_id());
        let written = written(args, &name, args.tasks / jobs);
        let (content_type, payload) = match args.encoding.encoding() {
            Encoding::Json => (headers::JSON, checked(written.as_bytes()).map(|_| written.into_bytes())?),
            Encoding::Protobuf => (headers::PROTOBUF, checked(written.as_bytes())?),
        };
        Ok(Self {
            name,
            queue: args.queue.clone(),
            jobs,
            tasks: args.tasks,
            executor: args.executor,
            in_flight: args.in_flight,
            batch: args.batch,
            content_type,
            payload: payload.into(),
        })
    }

    /// What every job is called, and no other.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many jobs.
    pub(super) fn jobs(&self) -> u32 {
        self.jobs
    }

    /// How many tasks in all.
    pub(super) fn tasks(&self) -> u32 {
        self.tasks
    }

    /// How agents run them.
    pub(super) fn executor(&self) -> HowToRun {
        self.executor
    }

    /// The most jobs that are open at a time.
    pub(super) fn in_flight(&self) -> Option<u32> {
        self.in_flight
    }

    fn message(&self) -> PublishMessage {
        PublishMessage::build().payload(self.payload.clone()).header(headers::CONTENT_TYPE, self.content_type)
    }
}

/// The job as JSON.
fn written(args: &BenchArgs, name: &str, tasks: u32) -> String {
    let command = if args.command.is_empty() { vec![COMMAND.to_owned()] } else { args.command.clone() };
    let executor = serde_json::to_value(args.executor.executor()).unwrap_or_default();
    let mut resources = json!({"cpus": args.cpus});
    if args.pending {
        resources[NOWHERE] = Value::from(1);
    }
    json!({"name": name, "command": command, "tasks": tasks, "resources": resources, "executor": executor})
        .to_string()
}

/// The job as protobuf, if it is one.
fn checked(written: &[u8]) -> Result<Vec<u8>, Failure> {
    let job = parse_submission(written).map_err(|rejection| Failure::Usage(rejection.to_string()))?;
    let payload = job.spec.encode();
    if payload.len().max(written.len()) > Stream::MAX_SUBMISSION_BYTES as usize {
        return Err(Failure::Usage("the command is too long for a submission".to_owned()));
    }
    Ok(payload)
}

/// A job that is in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Published {
    /// Its id.
    pub(super) job: JobId,
    /// When it was published, by the clock of this process.
    pub(super) at: Time,
}

/// Publishes jobs in tasks of its own.
pub(super) struct Publisher {
    published: mpsc::Receiver<Result<Published, Failure>>,
    /// As many as may be published now.
    allowed: Arc<Semaphore>,
    bounded: bool,
    _running: JoinSet<()>,
}

impl Publisher {
    /// Begins to publish.
    pub(super) fn start(client: &Client, load: &Load, in_flight: Option<u32>) -> Self {
        let allowed = in_flight.unwrap_or(load.jobs);
        let allowed = Arc::new(Semaphore::new(usize::try_from(allowed).unwrap_or(Semaphore::MAX_PERMITS)));
        let (to_acknowledge, sent) = mpsc::channel(publications(load.batch));
        let (acknowledged, published) = mpsc::channel(UNACKNOWLEDGED);
        let mut running = JoinSet::new();
        running.spawn(publish(client.clone(), load.clone(), Arc::clone(&allowed), to_acknowledge));
        running.spawn(acknowledge(sent, acknowledged));
        Self { published, allowed, bounded: in_flight.is_some(), _running: running }
    }

    /// The next job that the inbox has; nothing once all have been told.
    pub(super) async fn next(&mut self) -> Option<Result<Published, Failure>> {
        self.published.recv().await
    }

    /// Lets as many more be published as have ended.
    pub(super) fn allow(&self, ended: usize) {
        if self.bounded {
            self.allowed.add_permits(ended);
        }
    }
}

/// How many publications of so many jobs may wait for their acknowledgement.
fn publications(batch: u32) -> usize {
    const FEWEST: usize = 16;
    (UNACKNOWLEDGED / batch as usize).max(FEWEST)
}

/// What is on its way to the inbox.
struct Sent {
    at: Time,
    jobs: u32,
    acknowledgement: Result<PublishAckFuture, Failure>,
}

/// Publishes as many jobs at a time as may be.
async fn publish(client: Client, load: Load, allowed: Arc<Semaphore>, sent: mpsc::Sender<Sent>) {
    let subject = Subject::Submit(load.queue.clone()).to_string();
    let mut left = load.jobs;
    while left > 0 {
        let free = u32::try_from(allowed.available_permits()).unwrap_or(u32::MAX);
        let jobs = left.min(free).clamp(1, load.batch);
        // Never closed.
        let Ok(permits) = allowed.acquire_many(jobs).await else { return };
        permits.forget();
        left -= jobs;
        let messages = (0..jobs).map(|_| (subject.clone(), load.message()));
        let (at, acknowledgement) = (clock::now(), batch::publish(client.bus(), messages).await);
        let failed = acknowledgement.is_err();
        if sent.send(Sent { at, jobs, acknowledgement }).await.is_err() || failed {
            return;
        }
    }
}

async fn acknowledge(mut sent: mpsc::Receiver<Sent>, told: mpsc::Sender<Result<Published, Failure>>) {
    while let Some(Sent { at, jobs, acknowledgement }) = sent.recv().await {
        let outcome = match acknowledgement {
            Ok(acknowledgement) => acknowledgement.await.map_err(not_published),
            Err(failure) => Err(failure),
        };
        let failed = outcome.is_err();
        let published = match outcome {
            Ok(last) => batch::jobs(last.sequence, jobs).map(|job| Ok(Published { job, at })).collect(),
            Err(failure) => vec![Err(failure)],
        };
        for one in published {
            if told.send(one).await.is_err() {
                return;
            }
        }
        if failed {
            return;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        args: BenchArgs,
    }

    pub(in super::super) fn load(words: &[&str]) -> Result<Load, Failure> {
        let words = ["bench"].iter().chain(words);
        Load::of(&Words::try_parse_from(words).unwrap().args)
    }

    #[test]
    fn tasks_are_divided_evenly_into_jobs() {
        let divided = |words: &[&str]| {
            let load = load(words).unwrap();
            let spec = allot_model::JobSpec::decode(&load.payload).unwrap();
            (load.jobs, spec.tasks)
        };
        assert_eq!(divided(&["--tasks", "12"]), (1, 12));
        assert_eq!(divided(&["--tasks", "12", "--jobs", "4"]), (4, 3));
        assert_eq!(divided(&["--tasks", "12", "--separate"]), (12, 1));
        let refused = load(&["--tasks", "10", "--jobs", "4"]).unwrap_err();
        assert!(refused.to_string().contains("multiple") && refused.exit_code() == 2, "{refused}");
    }

    #[test]
    fn a_job_that_the_cluster_would_reject_is_refused_here() {
        let refused = load(&["--cpus=-1"]).unwrap_err();
        assert!(refused.to_string().contains("cpus") && refused.exit_code() == 2, "{refused}");
        assert!(load(&["--", &"x".repeat(300_000)]).is_err());
    }

    #[test]
    fn both_encodings_are_the_same_job() {
        let read = |encoding| {
            let load = load(&["--executor", "noop", "--encoding", encoding]).unwrap();
            let job = allot_proto::decode_submission(&load.payload, Some(load.content_type)).unwrap();
            (job.spec.command, job.spec.tasks, job.spec.executor, job.spec.resources)
        };
        assert_eq!(read("json"), read("protobuf"));
        assert_eq!(read("json").2, allot_model::Executor::Noop);
    }
}
