//! The fields of a job as flags, laid over a file or a command.

use allot_bus::Subject;
use allot_model::job_file::JobFile;
use allot_model::{JobId, JobSpec, QueueName, Rejection};
use async_nats::jetstream::message::PublishMessage;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::{Client, Submitted, submission};
use crate::completions;
use crate::failure::Failure;

/// Where jobs go that name no queue.
const DEFAULT_QUEUE: &str = "default";

/// The fields of a job as flags.
#[derive(Debug, Clone, Args)]
pub struct JobFlags {
    /// The queue to submit to: what the job file says, or `default`, unless given.
    #[arg(long, short, value_name = "QUEUE", env = "ALLOT_QUEUE", add = completions::queues())]
    queue: Option<QueueName>,
    /// A name for people.
    #[arg(long, short, value_name = "NAME")]
    name: Option<String>,
    /// Processors for each task, such as 2 or 0.5.
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Memory for each task, such as 512MiB or 1.5GiB.
    #[arg(long, value_name = "SIZE")]
    mem: Option<String>,
    /// GPUs for each task.
    #[arg(long, value_name = "N")]
    gpus: Option<String>,
    /// Any other resource for each task, such as licenses=1; may be repeated.
    #[arg(long = "resource", value_name = "NAME=AMOUNT", value_parser = assignment)]
    resources: Vec<(String, String)>,
    /// How many tasks.
    #[arg(long, short, value_name = "N")]
    tasks: Option<u32>,
    /// Larger goes first, under policies that look at it.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    priority: Option<i32>,
    /// An environment variable; may be repeated. A name alone takes its value from here.
    #[arg(long, short, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, String)>,
    /// What an agent must be like, such as 'zone == b'; may be repeated, all must hold.
    #[arg(long, short, value_name = "CONDITION")]
    constraint: Vec<String>,
    /// How often a task that fails is tried again.
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// The pause before the first further try, such as 10s; it doubles with each one.
    #[arg(long, value_name = "TIME")]
    backoff: Option<String>,
    /// A task that runs longer is killed and has failed, such as 30m.
    #[arg(long, value_name = "TIME")]
    time_limit: Option<String>,
    /// How long a task is expected to run, such as 20m, for policies that plan ahead.
    #[arg(long, value_name = "TIME")]
    estimate: Option<String>,
    /// How long after its submission the job is to be done, such as 8h, for policies that look at it.
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Place all tasks together, or none.
    #[arg(long, conflicts_with = "min_tasks")]
    gang: bool,
    /// Place so many of the tasks together, or none; the others follow one by one.
    #[arg(long, value_name = "N")]
    min_tasks: Option<u32>,
    /// The attribute that all agents of tasks that are placed together are to have the same value of, such as rack.
    #[arg(long, value_name = "ATTRIBUTE")]
    same: Option<String>,
    /// The time between SIGTERM and SIGKILL, such as 30s.
    #[arg(long, value_name = "TIME")]
    kill_grace: Option<String>,
    /// Jobs that must have finished first.
    #[arg(long, value_name = "JOB,…", value_delimiter = ',', add = completions::jobs())]
    after: Vec<JobId>,
    /// The directory to run in, on the agent.
    #[arg(long, value_name = "DIR")]
    workdir: Option<String>,
    /// What becomes of a task whose agent is silent: it waits for the agent, or is tried elsewhere.
    #[arg(long, value_name = "wait|retry")]
    on_unreachable: Option<String>,
    /// How agents run it: process, or noop where agents are configured to run nothing.
    #[arg(long, value_name = "process|noop")]
    executor: Option<String>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn variable(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return assignment(text);
    }
    let value = std::env::var(text).map_err(|_| format!("{text} is not set here: write {text}=VALUE"))?;
    Ok((text.to_owned(), value))
}

/// A job that has been checked, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    queue: QueueName,
    job: Value,
    tasks: u32,
    pub(super) message_id: Option<String>,
}

impl Submission {
    /// The queue that it goes to.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// How many tasks it has.
    #[must_use]
    pub fn tasks(&self) -> u32 {
        self.tasks
    }

    /// The job itself.
    ///
    /// # Errors
    /// Not where it was checked, as it was.
    pub fn spec(&self) -> Result<JobSpec, Failure> {
        JobFile::from_json(&self.job).map(|file| file.spec).map_err(|rejection| not_a_job(&rejection))
    }

    /// The subject that it goes to, and the message.
    ///
    /// # Errors
    /// Where it is too large.
    pub fn message(&self) -> Result<(String, PublishMessage), Failure> {
        let payload = serde_json::to_vec(&self.job).map_err(Failure::internal)?;
        let message = submission(payload, self.message_id.as_deref())?;
        Ok((Subject::Submit(self.queue.clone()).to_string(), message))
    }

    /// Publishes it, and waits until the inbox has it.
    ///
    /// # Errors
    /// Where the inbox does not take it.
    pub async fn send(&self, client: &Client) -> Result<Submitted, Failure> {
        let payload = serde_json::to_vec(&self.job).map_err(Failure::internal)?;
        client.submit(&Subject::Submit(self.queue.clone()), payload, self.message_id.as_deref()).await
    }
}

impl JobFlags {
    /// The job of `base` with these flags laid over it, checked.
    ///
    /// # Errors
    /// [`Failure::Usage`], which names the field.
    pub fn submission(mut self, base: Base) -> Result<Submission, Failure> {
        let Base { queue, mut fields } = base;
        let queue = self.queue.take().or(queue).map_or_else(|| QueueName::new(DEFAULT_QUEUE), Ok);
        let queue = queue.map_err(Failure::internal)?;
        self.lay_over(&mut fields)?;
        let job = Value::Object(fields);
        let spec = JobFile::from_json(&job).map_err(|rejection| not_a_job(&rejection))?.spec;
        Ok(Submission { queue, job, tasks: spec.tasks, message_id: None })
    }

    /// Sets what was given by flag.
    fn lay_over(self, fields: &mut Map<String, Value>) -> Result<(), Failure> {
        let plain = [
            ("name", self.name.map(Value::from)),
            ("tasks", self.tasks.map(Value::from)),
            ("priority", self.priority.map(Value::from)),
            ("constraints", (!self.constraint.is_empty()).then(|| self.constraint.into())),
            ("retries", self.retries.map(Value::from)),
            ("backoff", self.backoff.map(Value::from)),
            ("time_limit", self.time_limit.map(Value::from)),
            ("estimate", self.estimate.map(Value::from)),
            ("deadline", self.deadline.map(Value::from)),
            ("gang", self.gang.then(|| Value::from(true))),
            ("min_tasks", self.min_tasks.map(Value::from)),
            ("same", self.same.map(Value::from)),
            ("kill_grace", self.kill_grace.map(Value::from)),
            ("after", (!self.after.is_empty()).then(|| json!(self.after))),
            ("workdir", self.workdir.map(Value::from)),
            ("on_unreachable", self.on_unreachable.map(Value::from)),
            ("executor", self.executor.map(Value::from)),
        ];
        fields.extend(plain.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        let amounts = [("cpus", self.cpus), ("mem", self.mem), ("gpus", self.gpus)];
        let named = amounts.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount?)));
        let resources = named.chain(self.resources).map(|(name, amount)| (name, number_or_text(amount)));
        add_to(fields, "resources", resources)?;
        add_to(fields, "env", self.env.into_iter().map(|(name, value)| (name, value.into())))
    }
}

/// What flags are laid over: a job file, or a command.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Base {
    pub(super) queue: Option<QueueName>,
    pub(super) fields: Map<String, Value>,
}

impl Base {
    /// A command and nothing else.
    #[must_use]
    pub fn command(argv: Vec<String>) -> Self {
        Self { queue: None, fields: Map::from_iter([("command".to_owned(), argv.into())]) }
    }
}

pub(super) fn not_a_job(rejection: &Rejection) -> Failure {
    let Rejection { field, message } = rejection;
    Failure::Usage(if field.is_empty() { message.clone() } else { format!("{field}: {message}") })
}

/// A number as a number, so that it is read as one; all else as text, for the check to judge.
fn number_or_text(text: String) -> Value {
    serde_json::from_str::<serde_json::Number>(&text).map_or(Value::String(text), Value::Number)
}

fn add_to(
    fields: &mut Map<String, Value>,
    name: &str,
    entries: impl Iterator<Item = (String, Value)>,
) -> Result<(), Failure> {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return Ok(());
    }
    let Value::Object(map) = fields.entry(name).or_insert_with(|| json!({})) else {
        return Err(Failure::Usage(format!("{name}: a table of names and values is needed")));
    };
    map.extend(entries);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        flags: JobFlags,
        #[arg(last = true)]
        command: Vec<String>,
    }

    fn submission(words: &str) -> Result<Submission, Failure> {
        let Flags { flags, command } = Flags::try_parse_from(format!("x {words}").split(' ')).unwrap();
        flags.submission(Base::command(command))
    }

    #[test]
    fn flags_become_the_fields_of_a_job() {
        let words = "-q research --name n --cpus 0.5 --mem 1.5GiB --resource licenses=2 --tasks 9 --priority -3 \
                     --env A=b=c --constraint exists(zone) --retries 2 --backoff 10s --time-limit 1h --after 4,5 \
                     --workdir /tmp -- echo -n x";
        let mut words: Vec<&str> = words.split_whitespace().collect();
        // The condition holds a space where it is written well.
        let at = words.iter().position(|word| *word == "exists(zone)").unwrap();
        words[at] = "zone==b";
        let job = submission(&words.join(" ")).unwrap();
        assert_eq!((job.queue().as_str(), job.tasks()), ("research", 9));
        assert_eq!(
            job.job,
            json!({
                "name": "n", "command": ["echo", "-n", "x"], "tasks": 9, "priority": -3, "retries": 2,
                "resources": {"cpus": 0.5, "mem": "1.5GiB", "licenses": 2}, "env": {"A": "b=c"},
                "constraints": ["zone==b"], "backoff": "10s", "time_limit": "1h", "after": [4, 5], "workdir": "/tmp",
            })
        );
    }

    #[test]
    fn jobs_that_name_no_queue_go_to_the_default_one() {
        assert_eq!(submission("-- true").unwrap().queue().as_str(), "default");
    }

    #[test]
    fn a_wrong_flag_is_named_as_the_field_that_it_is() {
        for (words, field) in [
            ("--cpus many -- true", "resources.cpus"),
            ("--tasks 0 -- true", "tasks"),
            ("--backoff soon -- true", "backoff"),
            ("--constraint zone~b -- true", "constraints"),
        ] {
            let failure = submission(words).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().starts_with(field), "{words}: {failure}");
        }
    }
}
