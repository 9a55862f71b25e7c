//! Jobs as people write them: TOML, YAML or JSON with the same fields, checked field by field.
//!
//! Whatever the format, the text becomes a tree, the tree a [`JobFile`]; every error is a [`Rejection`] that names
//! the field. `docs/job.md` describes the fields.

mod check;
mod read;
mod tree;
mod write;

use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::Value;

use crate::id::QueueName;
use crate::job::{Command, Executor, JobSpec, OnUnreachable};
use crate::ledger::Rejection;
use read::Fault;
use tree::Tree;

/// The fields of a job, in the order in which they are described.
pub const FIELDS: [&str; 21] = [
    "queue",
    "name",
    "command",
    "env",
    "workdir",
    "resources",
    "tasks",
    "priority",
    "constraints",
    "retries",
    "backoff",
    "time_limit",
    "estimate",
    "deadline",
    "gang",
    "min_tasks",
    "same",
    "kill_grace",
    "after",
    "on_unreachable",
    "executor",
];

/// More wrong fields than this are counted, not described.
const MOST_DESCRIBED: usize = 5;

/// A job and, where it says so, the queue it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// Who it is for. On the wire the subject says so too, and both must agree.
    pub queue: Option<QueueName>,
    /// What is to be run, with defaults filled in.
    pub spec: JobSpec,
}

/// How a job file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `command = ["true"]`
    Toml,
    /// `command: ["true"]`
    Yaml,
    /// `{"command": ["true"]}`
    Json,
}

/// Why a file is not a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFile {
    /// It is not written in its format.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It can be read, and a field is wrong.
    #[error("{0}")]
    Job(Rejection),
}

/// Reads a submission in JSON as it comes from the inbox.
///
/// # Errors
/// [`Rejection`], which names the first wrong field in the order of the text and describes the others after it.
pub fn parse_submission(bytes: &[u8]) -> Result<JobFile, Rejection> {
    parse_file(bytes, Format::Json).map_err(|error| match error {
        InvalidFile::Job(rejection) => rejection,
        syntax @ InvalidFile::Syntax { .. } => whole(format!("not readable as JSON: {syntax}")),
    })
}

/// Reads a job file.
///
/// # Errors
/// [`InvalidFile`], which names the place in the text or the field.
pub fn parse_file(bytes: &[u8], format: Format) -> Result<JobFile, InvalidFile> {
    let text = readable(bytes).map_err(|message| InvalidFile::Job(whole(message)))?;
    let tree = Tree::parse(text, format)?;
    read_job(&tree).map_err(InvalidFile::Job)
}

impl JobFile {
    /// Reads a job from a JSON value.
    ///
    /// # Errors
    /// As [`parse_submission`].
    pub fn from_json(value: &Value) -> Result<Self, Rejection> {
        read_job(&Tree::from_json(value)?)
    }

    /// The job with its defaults filled in, in the form that [`JobFile::from_json`] reads as the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = self.spec.to_json();
        if let (Some(queue), Some(fields)) = (&self.queue, value.as_object_mut()) {
            fields.insert("queue".to_owned(), queue.as_str().into());
        }
        value
    }

    /// The job, where it is for this queue or names none.
    ///
    /// # Errors
    /// [`Rejection`] of the field `queue`.
    pub fn for_queue(self, queue: &QueueName) -> Result<JobSpec, Rejection> {
        match self.queue {
            Some(own) if own != *queue => Err(Rejection {
                field: "queue".to_owned(),
                message: format!(
                    "`{own}` is given, and the job was submitted to `{queue}`: leave it out, or submit it there"
                ),
            }),
            _ => Ok(self.spec),
        }
    }
}

impl Format {
    /// The format that a file's ending stands for: `.toml`, `.yaml`, `.yml` or `.json`.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        path.rsplit_once('.').and_then(|(_, ending)| ending.parse().ok())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "toml" => Ok(Self::Toml),
            "yaml" | "yml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a format of job files: write `toml`, `yaml` or `json`")),
        }
    }
}

/// A rejection of the whole rather than of one field.
fn whole(message: String) -> Rejection {
    Rejection { field: String::new(), message }
}

/// The bytes as text, where they can be the text of a job.
fn readable(bytes: &[u8]) -> Result<&str, String> {
    const EXAMPLE: &str = "write a job such as {\"command\": [\"true\"]}";
    if bytes.len() > JobSpec::MOST_BYTES {
        let most = check::grouped(JobSpec::MOST_BYTES);
        return Err(format!("{} bytes are given: a job has at most {most}", check::grouped(bytes.len())));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("not text: byte {} is not UTF-8: {EXAMPLE}", error.valid_up_to() + 1))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() { Err(format!("empty: {EXAMPLE}")) } else { Ok(text) }
}

fn read_job(tree: &Tree) -> Result<JobFile, Rejection> {
    let Tree::Map(entries) = tree else {
        return Err(whole(format!(
            "{tree} is given: write a job as an object such as {{\"command\": [\"true\"]}}"
        )));
    };
    let mut file = JobFile { queue: None, spec: JobSpec::new(Command::Argv(Vec::new())) };
    let mut faults: Vec<(usize, Fault)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, (field, value)) in entries.iter().enumerate() {
        let read = if seen.insert(field) { read_field(&mut file, field, value) } else { Err(Fault::twice()) };
        faults.extend(read.err().map(|fault| (at, fault.within(field))));
    }
    if let Some(at) = entries.iter().position(|(field, value)| field == "gang" && *value == Tree::Bool(true))
    {
        let says_how_many = entries.iter().any(|(field, value)| field == "min_tasks" && *value != Tree::Null);
        let gang = check::gang(&file.spec, says_how_many);
        faults.extend(gang.err().map(|fault| (at, fault.within("gang"))));
        file.spec.min_tasks = file.spec.tasks;
    }
    for (field, fault) in check::faults(&file.spec) {
        let at = entries.iter().position(|(name, _)| name == field).unwrap_or(entries.len());
        if faults.iter().all(|(other, _)| *other != at) {
            faults.push((at, fault));
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    joined(faults.into_iter().map(|(_, fault)| fault)).map_or(Ok(file), Err)
}

/// One rejection for all faults, of the first one's field.
fn joined(mut faults: impl ExactSizeIterator<Item = Fault>) -> Option<Rejection> {
    let Fault { path: field, mut message } = faults.next()?;
    let more = faults.len().saturating_sub(MOST_DESCRIBED);
    for fault in faults.take(MOST_DESCRIBED) {
        message.push_str(&format!("; also `{}`: {}", fault.path, fault.message));
    }
    if more > 0 {
        message.push_str(&format!("; and {more} more"));
    }
    Some(Rejection { field, message })
}

/// Reads one field. `null` stands for the default.
fn read_field(file: &mut JobFile, field: &str, value: &Tree) -> Result<(), Fault> {
    if *value == Tree::Null && FIELDS.contains(&field) {
        return Ok(());
    }
    let spec = &mut file.spec;
    match field {
        "queue" => file.queue = Some(read::parsed(value, "a queue such as `research.vision`")?),
        "name" => spec.name = Some(read::text(value, "a text")?.to_owned()),
        "command" => spec.command = read::command(value)?,
        "env" => spec.env = read::env(value)?,
        "workdir" => spec.workdir = Some(read::text(value, "the path of a directory")?.to_owned()),
        "resources" => spec.resources = read::request(value)?,
        "tasks" => spec.tasks = read::whole(value, &check::number_of(JobSpec::MOST_TASKS, 1))?,
        "priority" => spec.priority = read::whole(value, "a whole number, larger goes first")?,
        "constraints" => spec.constraints = read::constraints(value)?,
        "retries" => spec.retries = read::whole(value, &check::number_of(JobSpec::MOST_RETRIES, 0))?,
        "backoff" => spec.backoff = read::span(value)?,
        "time_limit" => spec.time_limit = Some(read::span(value)?),
        "estimate" => spec.estimate = Some(read::span(value)?),
        "deadline" => spec.deadline = Some(read::span(value)?),
        // Which it is, is known once all fields are.
        "gang" => read::flag(value)?,
        "min_tasks" => spec.min_tasks = read::whole(value, &check::number_of(JobSpec::MOST_TASKS, 1))?,
        "same" => spec.same = Some(read::text(value, "the name of an attribute such as `rack`")?.to_owned()),
        "kill_grace" => spec.kill_grace = read::span(value)?,
        "after" => spec.after = read::jobs(value)?,
        "on_unreachable" => {
            let words = [("wait", OnUnreachable::Wait), ("retry", OnUnreachable::Retry)];
            spec.on_unreachable = read::word(value, words)?;
        }
        "executor" => {
            spec.executor = read::word(value, [("process", Executor::Process), ("noop", Executor::Noop)])?;
        }
        unknown => return Err(Fault::unknown(unknown)),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
