//! Jobs as people write them: TOML, YAML or JSON with the same fields, checked field by field.
//!
//! Whatever the format, the text becomes a tree, the tree a [`JobFile`]; every error is a [`Rejection`] that names
//! the field. `docs/job.md` describes the fields.

mod check;
mod read;
mod write;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::document::read::{self as values, Fault};
use crate::document::{self, Tree, joined, whole};
pub use crate::document::{Format, InvalidFile};
use crate::id::QueueName;
use crate::job::{Command, Executor, JobSpec, OnUnreachable};
use crate::ledger::Rejection;
use crate::resources::Request;

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

/// A job and, where it says so, the queue it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// Who it is for. On the wire the subject says so too, and both must agree.
    pub queue: Option<QueueName>,
    /// What is to be run, with defaults filled in.
    pub spec: JobSpec,
}

/// Reads a submission in JSON as it comes from the inbox.
///
/// # Errors
/// [`Rejection`], which names the first wrong field in the order of the text and describes the others after it.
pub fn parse_submission(bytes: &[u8]) -> Result<JobFile, Rejection> {
    parse_file(bytes, Format::Json).map_err(|error| match error {
        InvalidFile::Field(rejection) => rejection,
        syntax @ InvalidFile::Syntax { .. } => whole(format!("not readable as JSON: {syntax}")),
    })
}

/// Reads a job file.
///
/// # Errors
/// [`InvalidFile`], which names the place in the text or the field.
pub fn parse_file(bytes: &[u8], format: Format) -> Result<JobFile, InvalidFile> {
    let text = readable(bytes).map_err(|message| InvalidFile::Field(whole(message)))?;
    let tree = Tree::parse(text, format)?;
    read_job(&tree).map_err(InvalidFile::Field)
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

/// The bytes as text, where they can be the text of a job.
fn readable(bytes: &[u8]) -> Result<&str, String> {
    document::readable(bytes, JobSpec::MOST_BYTES, "a job", "write a job such as {\"command\": [\"true\"]}")
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

/// Reads one field. `null` stands for the default.
fn read_field(file: &mut JobFile, field: &str, value: &Tree) -> Result<(), Fault> {
    if *value == Tree::Null && FIELDS.contains(&field) {
        return Ok(());
    }
    let spec = &mut file.spec;
    match field {
        "queue" => file.queue = Some(values::parsed(value, "a queue such as `research.vision`")?),
        "name" => spec.name = Some(values::text(value, "a text")?.to_owned()),
        "command" => spec.command = read::command(value)?,
        "env" => spec.env = read::env(value)?,
        "workdir" => spec.workdir = Some(values::text(value, "the path of a directory")?.to_owned()),
        "resources" => spec.resources = values::request(Request::one_cpu(), value)?,
        "tasks" => spec.tasks = values::whole(value, &check::number_of(JobSpec::MOST_TASKS, 1))?,
        "priority" => spec.priority = values::whole(value, "a whole number, larger goes first")?,
        "constraints" => spec.constraints = values::constraints(value)?,
        "retries" => spec.retries = values::whole(value, &check::number_of(JobSpec::MOST_RETRIES, 0))?,
        "backoff" => spec.backoff = values::span(value)?,
        "time_limit" => spec.time_limit = Some(values::span(value)?),
        "estimate" => spec.estimate = Some(values::span(value)?),
        "deadline" => spec.deadline = Some(values::span(value)?),
        // Which it is, is known once all fields are.
        "gang" => {
            values::flag(value)?;
        }
        "min_tasks" => spec.min_tasks = values::whole(value, &check::number_of(JobSpec::MOST_TASKS, 1))?,
        "same" => {
            spec.same = Some(values::text(value, "the name of an attribute such as `rack`")?.to_owned())
        }
        "kill_grace" => spec.kill_grace = values::span(value)?,
        "after" => spec.after = read::jobs(value)?,
        "on_unreachable" => {
            let words = [("wait", OnUnreachable::Wait), ("retry", OnUnreachable::Retry)];
            spec.on_unreachable = values::word(value, words)?;
        }
        "executor" => {
            spec.executor = values::word(value, [("process", Executor::Process), ("noop", Executor::Noop)])?;
        }
        unknown => return Err(Fault::unknown(unknown, "a job", &FIELDS)),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
