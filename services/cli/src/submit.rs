//! `allot submit`: jobs from files and from flags.

use std::io::Read;
use std::path::{Path, PathBuf};

use allot_bus::Subject;
use allot_model::job_file::{self, Format, InvalidFile, JobFile};
use allot_model::{JobId, JobState, QueueName, Rejection};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::{Client, Submitted};
use crate::failure::Failure;
use crate::output::{Output, note};
use crate::states::word;
use crate::watch::Watch;

/// Where jobs go that name no queue.
const DEFAULT_QUEUE: &str = "default";

/// Submit a job, from a file or from flags.
///
/// The job is checked here with the code that the cluster uses, so that a mistake in a file is shown with its line and
/// column. Flags override the file. The id of the job is printed once the cluster has it safely; --wait goes on
/// until the job has ended.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot submit job.toml
  allot submit job.yaml --queue research.vision --tasks 50
  generate-job | allot submit -
  allot submit --cpus 2 --mem 4GiB -- python train.py --epochs 3
  allot submit --tasks 100 --retries 2 --backoff 10s -- sh -c 'process part-$ALLOT_TASK_INDEX'
  allot submit --after 12 --wait -- ./report.sh
  allot submit --id nightly-2026-11-22 job.toml    harmless to repeat

docs/job.md describes the fields of a job file.")]
pub struct SubmitArgs {
    /// A job file in TOML, YAML or JSON, or `-` for stdin.
    #[arg(value_name = "FILE", required_unless_present = "command", conflicts_with = "command")]
    file: Option<PathBuf>,
    /// How the file is written: toml, yaml or json; told by its name or its text unless given.
    #[arg(long, value_name = "FORMAT", requires = "file")]
    format: Option<Format>,
    #[command(flatten)]
    flags: JobFlags,
    /// Message id: a submission with an id that the cluster knows is the same job, not another one.
    #[arg(long, value_name = "MSGID", value_parser = message_id)]
    id: Option<String>,
    /// Wait until the job has ended, and fail where it did not finish.
    #[arg(long)]
    wait: bool,
    /// The command and its arguments, run as they are.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// The fields of a job as flags.
#[derive(Debug, Args)]
pub struct JobFlags {
    /// The queue to submit to: what the job file says, or `default`, unless given.
    #[arg(long, short, value_name = "QUEUE", env = "ALLOT_QUEUE")]
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
    /// The time between SIGTERM and SIGKILL, such as 30s.
    #[arg(long, value_name = "TIME")]
    kill_grace: Option<String>,
    /// Jobs that must have finished first.
    #[arg(long, value_name = "JOB,…", value_delimiter = ',')]
    after: Vec<JobId>,
    /// The directory to run in, on the agent.
    #[arg(long, value_name = "DIR")]
    workdir: Option<String>,
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

/// Checks what is to stand in a header, and to be kept with the job.
fn message_id(text: &str) -> Result<String, String> {
    let one_line = !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    one_line.then(|| text.to_owned()).ok_or_else(|| "write 1 to 255 bytes in one line".to_owned())
}

/// Submits a job.
///
/// # Errors
/// Where the job is not well-formed, the cluster does not take it, or it is waited for and does not finish.
pub async fn run(args: SubmitArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let SubmitArgs { file, format, flags, id, wait, command } = args;
    let base = match file {
        Some(path) => read_file(&path, format)?,
        None => Base::command(command),
    };
    let mut submission = flags.submission(base)?;
    submission.message_id = id;
    // Opened before, so that nothing that becomes of the job is missed.
    let watch = if wait { Some(Watch::open(client).await?) } else { None };
    let submitted = submission.send(client).await?;
    if submitted.duplicate && !output.is_json() {
        note("allot: the cluster has a submission with this id already: this is its job");
    }
    match watch {
        None => output.print(&submitted, |submitted| submitted.job.to_string()),
        Some(watch) => {
            if !output.is_json() {
                output.print_line(&submitted, |submitted| submitted.job.to_string())?;
            }
            let state = until_over(client, watch, &submitted).await?;
            report(&submitted, state, output)
        }
    }
}

async fn until_over(client: &Client, watch: Watch, submitted: &Submitted) -> Result<JobState, Failure> {
    if submitted.duplicate {
        // It may have ended before the watch began.
        match client.job(submitted.job, &allot_model::view::JobQuery { limit: 1, ..Default::default() }).await
        {
            Ok(view) if view.summary.state.is_final() => return Ok(view.summary.state),
            Err(failure) if !failure.is_not_found() => return Err(failure),
            _ => {}
        }
    }
    watch.job(submitted.job).until_over().await.map(|(state, _)| state)
}

fn report(submitted: &Submitted, state: JobState, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        let value = json!({"job": submitted.job, "duplicate": submitted.duplicate, "state": state});
        output.print(&value, |_| String::new())?;
    }
    if state == JobState::Finished {
        return Ok(());
    }
    let JobId(job) = submitted.job;
    Err(Failure::failed(format!("job {job} {}: see `allot job show {job}`", word(state))))
}

/// A job that has been checked, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    queue: QueueName,
    job: Value,
    tasks: u32,
    message_id: Option<String>,
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
            ("kill_grace", self.kill_grace.map(Value::from)),
            ("after", (!self.after.is_empty()).then(|| json!(self.after))),
            ("workdir", self.workdir.map(Value::from)),
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
    queue: Option<QueueName>,
    fields: Map<String, Value>,
}

impl Base {
    /// A command and nothing else.
    #[must_use]
    pub fn command(argv: Vec<String>) -> Self {
        Self { queue: None, fields: Map::from_iter([("command".to_owned(), argv.into())]) }
    }
}

/// Reads a job file, or stdin where it is `-`.
fn read_file(path: &Path, format: Option<Format>) -> Result<Base, Failure> {
    let name = path.display().to_string();
    let (name, bytes) = if name == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        ("stdin".to_owned(), bytes)
    } else {
        let bytes = std::fs::read(path);
        (name.clone(), bytes.map_err(|error| Failure::Usage(format!("{name} cannot be read: {error}")))?)
    };
    let format = format.or_else(|| Format::of_path(&name)).unwrap_or_else(|| guess(&bytes));
    parse(&name, &bytes, format)
}

fn parse(name: &str, bytes: &[u8], format: Format) -> Result<Base, Failure> {
    let file = job_file::parse_file(bytes, format).map_err(|invalid| match invalid {
        InvalidFile::Syntax { line, column, message } => {
            Failure::Usage(format!("{name}:{line}:{column}: {message}"))
        }
        InvalidFile::Job(rejection) => {
            let place = place(&String::from_utf8_lossy(bytes), &rejection.field);
            let place = place.map_or_else(String::new, |(line, column)| format!("{line}:{column}:"));
            Failure::Usage(format!("{name}:{place} {}", not_a_job(&rejection)))
        }
    })?;
    let queue = file.queue.clone();
    let Value::Object(mut fields) = file.to_json() else {
        return Err(Failure::internal("a job is an object"));
    };
    fields.remove("queue");
    Ok(Base { queue, fields })
}

/// How a text without a telling name is written.
fn guess(bytes: &[u8]) -> Format {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some(line) if line.starts_with('{') => Format::Json,
        Some(line) if line.starts_with('[') => Format::Toml,
        Some(line) => {
            let (equals, colon) = (line.find('='), line.find(':'));
            if equals.is_some_and(|at| colon.is_none_or(|colon| at < colon)) {
                Format::Toml
            } else {
                Format::Yaml
            }
        }
        None => Format::Json,
    }
}

/// Where in the text the field stands, such as `resources.cpus`: its line and column, as far as can be told.
fn place(text: &str, field: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    for part in field.split('.').map(|part| part.split('[').next().unwrap_or(part)) {
        at = key(text, part, at)?;
    }
    let before = text.get(..at)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (!field.is_empty()).then(|| (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
}

/// Where `name` stands as a key at `from` or after.
fn key(text: &str, name: &str, from: usize) -> Option<usize> {
    let is_key = |at: usize| {
        let end = at + name.len();
        let before = text[..at].chars().next_back();
        let after = text[end..].trim_start_matches(['"', '\'', ' ', '\t']);
        let begins = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
        begins && after.starts_with([':', '=', ']', '.'])
    };
    let rest = text.get(from..)?;
    rest.match_indices(name).map(|(at, _)| from + at).find(|at| is_key(*at))
}

fn not_a_job(rejection: &Rejection) -> Failure {
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
    fn a_message_id_is_one_line_of_text() {
        assert_eq!(message_id("nightly 2026-11-22"), Ok("nightly 2026-11-22".to_owned()));
        for text in ["", "a\nb", "a\rb", "\0", &"x".repeat(256)] {
            assert!(message_id(text).is_err(), "{text:?}");
        }
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

    #[test]
    fn flags_override_the_file_and_its_queue() {
        let base = parse("job.toml", b"queue = 'a'\ncommand = ['true']\ntasks = 3\n", Format::Toml).unwrap();
        let flags = Flags::try_parse_from(["x", "--tasks", "5"]).unwrap().flags;
        let job = flags.submission(base.clone()).unwrap();
        assert_eq!((job.queue().as_str(), job.tasks()), ("a", 5));
        let flags = Flags::try_parse_from(["x", "--queue", "b"]).unwrap().flags;
        assert_eq!(flags.submission(base).unwrap().queue().as_str(), "b");
    }

    #[test]
    fn a_mistake_in_a_file_is_shown_with_its_line_and_column() {
        let cases = [
            (Format::Toml, "command = ['true']\ntasks = = 3\n", "job:2:"),
            (Format::Toml, "command = ['true']\n\n[resources]\ncpus = 'x'\n", "job:4:1: resources.cpus: "),
            (Format::Yaml, "command: ['true']\nresources:\n  cpus: x\n", "job:3:3: resources.cpus: "),
            (Format::Json, "{\"command\": [\"true\"],\n \"tsks\": 3}", "job:2:3: tsks: "),
            (Format::Json, "{\"command\": ", "job:1:"),
        ];
        for (format, text, beginning) in cases {
            let failure = parse("job", text.as_bytes(), format).unwrap_err().to_string();
            assert!(failure.starts_with(beginning), "{text}: {failure}");
        }
    }

    #[test]
    fn an_unknown_field_comes_with_a_suggestion() {
        let failure =
            parse("job", b"{\"command\": [\"true\"], \"tsks\": 3}", Format::Json).unwrap_err().to_string();
        assert!(failure.contains("tasks"), "{failure}");
    }

    #[test]
    fn the_format_is_told_by_the_text_where_the_name_does_not() {
        let cases = [
            ("{\"command\": []}", Format::Json),
            ("# a job\ncommand = \"a: b\"", Format::Toml),
            ("[resources]\ncpus = 1", Format::Toml),
            ("command: a=b", Format::Yaml),
            ("---\ncommand: x", Format::Yaml),
        ];
        for (text, format) in cases {
            assert_eq!(guess(text.as_bytes()), format, "{text}");
        }
    }
}
