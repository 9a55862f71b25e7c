//! The limits of a job, whichever way it came.

use std::collections::BTreeSet;

pub(super) use crate::document::grouped;
use crate::document::joined;
use crate::document::read::Fault;
use crate::id::{JobId, ResourceName};
use crate::job::{Command, JobSpec};
use crate::ledger::Rejection;
use crate::resources::Request;
use crate::time::Span;

impl JobSpec {
    /// The largest submission, and the most bytes that all texts of a job may have together.
    pub const MOST_BYTES: usize = 256 * 1024;
    /// The longest name, in characters.
    pub const MOST_NAME_CHARACTERS: usize = 200;
    /// The most words of a command, the program included.
    pub const MOST_ARGUMENTS: usize = 10_000;
    /// The longest word of a command, and the longest value of a variable, in bytes: what Linux takes.
    pub const MOST_ARGUMENT_BYTES: usize = 128 * 1024 - 1;
    /// The most environment variables.
    pub const MOST_VARIABLES: usize = 1_000;
    /// The longest path of a working directory, in bytes.
    pub const MOST_PATH_BYTES: usize = 4_095;
    /// The most resources that a task can ask for.
    pub const MOST_RESOURCES: usize = 32;
    /// The most constraints.
    pub const MOST_CONSTRAINTS: usize = 64;
    /// The largest number of further tries.
    pub const MOST_RETRIES: u32 = 1_000;
    /// The most jobs to come after.
    pub const MOST_AFTER: usize = 1_000;
    /// The longest time limit.
    pub const LONGEST_TIME_LIMIT: Span = Span::from_secs(365 * 24 * 3600);
    /// The longest time between SIGTERM and SIGKILL.
    pub const LONGEST_KILL_GRACE: Span = Span::from_secs(3600);

    /// Checks that everything is within its limits. Whatever [`super::parse_submission`] returns is.
    ///
    /// # Errors
    /// [`Rejection`] of the first field that is not.
    pub fn check(&self) -> Result<(), Rejection> {
        joined(faults(self).into_iter().map(|(_, fault)| fault)).map_or(Ok(()), Err)
    }
}

type Checked = Result<(), Fault>;

/// What is beyond its limits, at most one fault a field.
pub(super) fn faults(spec: &JobSpec) -> Vec<(&'static str, Fault)> {
    let size = text_bytes(spec);
    let size = within(size <= JobSpec::MOST_BYTES, grouped(size), || {
        most(JobSpec::MOST_BYTES, "bytes of text in a job")
    });
    let checks = [
        ("name", spec.name.as_deref().map_or(Ok(()), name)),
        ("command", command(&spec.command).and(size)),
        ("env", env(spec)),
        ("workdir", spec.workdir.as_deref().map_or(Ok(()), workdir)),
        ("resources", resources(&spec.resources)),
        ("tasks", number(spec.tasks, 1, JobSpec::MOST_TASKS)),
        ("constraints", count(spec.constraints.len(), JobSpec::MOST_CONSTRAINTS, "constraints")),
        ("retries", number(spec.retries, 0, JobSpec::MOST_RETRIES)),
        ("backoff", span(spec.backoff, JobSpec::LONGEST_BACKOFF)),
        ("time_limit", spec.time_limit.map_or(Ok(()), |given| length(given, "for no limit"))),
        ("estimate", spec.estimate.map_or(Ok(()), |given| length(given, "where it is not known"))),
        ("deadline", spec.deadline.map_or(Ok(()), |given| length(given, "for none"))),
        ("min_tasks", min_tasks(spec)),
        ("same", spec.same.as_deref().map_or(Ok(()), same)),
        ("kill_grace", span(spec.kill_grace, JobSpec::LONGEST_KILL_GRACE)),
        ("after", after(&spec.after)),
    ];
    checks.into_iter().filter_map(|(field, checked)| Some((field, checked.err()?.within(field)))).collect()
}

/// What a number may be, in words.
pub(super) fn number_of(largest: u32, smallest: u32) -> String {
    format!("a whole number from {smallest} to {}", grouped(largest))
}

fn most(limit: usize, what: &str) -> String {
    format!("at most {} {what}", grouped(limit))
}

fn within(holds: bool, given: String, allowed: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Fault::given(given, allowed())) }
}

fn number(given: u32, smallest: u32, largest: u32) -> Checked {
    within((smallest..=largest).contains(&given), format!("the number `{given}`"), || {
        number_of(largest, smallest)
    })
}

fn count(given: usize, limit: usize, what: &str) -> Checked {
    within(given <= limit, grouped(given), || most(limit, what))
}

fn span(given: Span, longest: Span) -> Checked {
    within(given <= longest, format!("`{given}`"), || format!("at most `{longest}`"))
}

fn length(given: Span, without: &str) -> Checked {
    let longest = JobSpec::LONGEST_TIME_LIMIT;
    let allowed = || format!("more than `0s`, or leave it out {without}; at most `{longest}`");
    within(given > Span::ZERO && given <= longest, format!("`{given}`"), allowed)
}

fn min_tasks(spec: &JobSpec) -> Checked {
    number(spec.min_tasks, 1, JobSpec::MOST_TASKS)?;
    // Of a wrong number of tasks that field tells itself.
    within(spec.min_tasks <= spec.tasks.max(1), format!("the number `{}`", spec.min_tasks), || {
        format!("at most the number of tasks, {}", grouped(spec.tasks))
    })
}

/// A gang is all of the tasks; saying so beside another number would be a contradiction.
pub(super) fn gang(spec: &JobSpec, says_how_many: bool) -> Checked {
    if says_how_many && spec.min_tasks != spec.tasks {
        return Err(Fault::new(format!(
            "all {} tasks are to be placed together, and `min_tasks` says {}: write one of the two",
            grouped(spec.tasks),
            grouped(spec.min_tasks)
        )));
    }
    Ok(())
}

fn same(attribute: &str) -> Checked {
    let allowed = "the name of an attribute such as `rack`: 1 to 64 letters, digits, `_`, `-` and `.`";
    let is_name = attribute.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let holds = is_name && (1..=64).contains(&attribute.len());
    within(holds, format!("the text {}", crate::text::quote(attribute)), || allowed.to_owned())
}

fn no_nul(text: &str) -> Checked {
    if text.contains('\0') {
        Err(Fault::new("holds a NUL character, which no process can be given: leave it out"))
    } else {
        Ok(())
    }
}

fn name(name: &str) -> Checked {
    let characters = name.chars().count();
    if name.trim().is_empty() {
        return Err(Fault::new("empty: write a text, or leave it out"));
    }
    if name.chars().any(char::is_control) {
        return Err(Fault::new("holds a control character such as a line break: write one line of text"));
    }
    count(characters, JobSpec::MOST_NAME_CHARACTERS, "characters")
}

fn argument(text: &str) -> Checked {
    no_nul(text)?;
    within(
        text.len() <= JobSpec::MOST_ARGUMENT_BYTES,
        format!("a text of {} bytes", grouped(text.len())),
        || most(JobSpec::MOST_ARGUMENT_BYTES, "bytes"),
    )
}

fn command(command: &Command) -> Checked {
    const MISSING: &str = "missing or empty: write a program and its arguments such as [\"sleep\", \"5\"], or a line for the shell";
    match command {
        Command::Shell(line) if line.trim().is_empty() => Err(Fault::new(MISSING)),
        Command::Shell(line) => argument(line),
        Command::Argv(words) => {
            let program = words.first().ok_or_else(|| Fault::new(MISSING))?;
            if program.is_empty() {
                return Err(Fault::new("empty: write the name or path of a program").at(0));
            }
            count(words.len(), JobSpec::MOST_ARGUMENTS, "words")?;
            words.iter().enumerate().try_for_each(|(i, word)| argument(word).map_err(|fault| fault.at(i)))
        }
    }
}

fn env(spec: &JobSpec) -> Checked {
    count(spec.env.len(), JobSpec::MOST_VARIABLES, "variables")?;
    spec.env.iter().try_for_each(|(name, value)| variable(name, value).map_err(|fault| fault.within(name)))
}

fn variable(name: &str, value: &str) -> Checked {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let begins_well = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if name.len() > 256 || !begins_well || !name.bytes().all(allowed) {
        let shown = crate::text::quote(name);
        let allowed = "write 1 to 256 letters, digits, `_`, `.` and `-`, not beginning with a digit";
        return Err(Fault::new(format!("{shown} is not the name of a variable: {allowed}")));
    }
    argument(value)
}

fn workdir(path: &str) -> Checked {
    no_nul(path)?;
    if !path.starts_with('/') {
        return Err(Fault::given(
            format!("the text {}", crate::text::quote(path)),
            "a path that begins with `/`",
        ));
    }
    count(path.len(), JobSpec::MOST_PATH_BYTES, "bytes")
}

fn resources(request: &Request) -> Checked {
    count(request.iter().count(), JobSpec::MOST_RESOURCES, "resources")?;
    for (name, units) in request.iter() {
        Request::check_entry(name, units).map_err(|message| Fault::new(message).within(name.as_str()))?;
    }
    if request.get(&ResourceName::cpus()) > 0 {
        return Ok(());
    }
    Err(Fault::new("missing: every task needs some, such as `0.1`").within("cpus"))
}

fn after(jobs: &[JobId]) -> Checked {
    count(jobs.len(), JobSpec::MOST_AFTER, "jobs")?;
    let mut seen = BTreeSet::new();
    for (index, job) in jobs.iter().enumerate() {
        if job.0 == 0 {
            return Err(Fault::given("the number `0`", "the id of a job, such as 12").at(index));
        }
        if !seen.insert(job) {
            return Err(Fault::new(format!("job {job} is given twice: give it once")).at(index));
        }
    }
    Ok(())
}

/// Counted as they stand in JSON: in that form too the job has to fit into one message.
fn text_bytes(spec: &JobSpec) -> usize {
    let command: usize = match &spec.command {
        Command::Argv(words) => words.iter().map(|word| json_bytes(word)).sum(),
        Command::Shell(line) => json_bytes(line),
    };
    let env: usize = spec.env.iter().map(|(name, value)| name.len() + json_bytes(value)).sum();
    let constraints = spec.constraints.iter().map(|constraint| json_bytes(&constraint.to_string()));
    let constraints: usize = constraints.sum();
    command + env + constraints
}

/// How many bytes a text takes between the quotes of JSON.
fn json_bytes(text: &str) -> usize {
    let of = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(of).sum()
}
