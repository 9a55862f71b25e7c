//! `job.proto`.

use allot_model::{AttemptRun, Command, Constraint, JobId, JobSpec, Outcome, Rejection, Span, TaskRange};

use super::read::{self, Word, words};
use super::resources::{read_request, request_units};
use crate::WireError;
use crate::v1;

words!(OnUnreachable: Wait, Retry);
words!(Executor: Process, Noop);
words!(
    TaskState: Queued, Allocated, Starting, Running, Killing, Unreachable, Finished, Failed, Killed, Rejected, Dropped,
    Gone
);
words!(JobState: Waiting, Queued, Running, Killing, Finished, Failed, Killed, Rejected, Dropped);
words!(
    Reason: Admitted, WaitsForDependency, WaitsForBackoff, Retried, Granted, Launched, ExitedZero, ExitedNonzero,
    Signalled, LaunchFailed, TimeLimit, CancelledByUser, AgentDrained, AgentUnreachable, AgentReturned, AgentRestarted,
    AgentGoneByOperator, UnknownToAgent, DependencyFailed, NotWanted, Invalid, HandedBack,
    PreemptedForPriority, PreemptedForGuarantee
);

impl From<&JobSpec> for v1::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        Self {
            name: spec.name.clone(),
            command: Some((&spec.command).into()),
            env: spec.env.clone(),
            workdir: spec.workdir.clone(),
            resources_units: request_units(&spec.resources),
            tasks: Some(spec.tasks),
            priority: Some(spec.priority),
            constraints: constraint_texts(&spec.constraints),
            retries: Some(spec.retries),
            backoff_us: Some(spec.backoff.as_micros()),
            time_limit_us: spec.time_limit.map(Span::as_micros),
            kill_grace_us: Some(spec.kill_grace.as_micros()),
            after: spec.after.iter().map(|job| job.0).collect(),
            on_unreachable: spec.on_unreachable.number(),
            executor: spec.executor.number(),
            estimate_us: spec.estimate.map(Span::as_micros),
            deadline_us: spec.deadline.map(Span::as_micros),
            min_tasks: (spec.min_tasks != 1).then_some(spec.min_tasks),
            same: spec.same.clone(),
        }
    }
}

/// Reads a spec as services send it to each other, with every field present that there was from the first. What users send is read by
/// [`crate::decode_submission`], which knows the defaults and the limits.
impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = WireError;

    fn try_from(message: v1::JobSpec) -> Result<Self, WireError> {
        Ok(Self {
            name: message.name,
            command: read::required(message.command, "command")?.into(),
            env: message.env,
            workdir: message.workdir,
            resources: read_request(&message.resources_units)?,
            tasks: read::required(message.tasks, "tasks")?,
            priority: read::required(message.priority, "priority")?,
            constraints: read_constraints(&message.constraints)?,
            retries: read::required(message.retries, "retries")?,
            backoff: Span::from_micros(read::required(message.backoff_us, "backoff_us")?),
            time_limit: message.time_limit_us.map(Span::from_micros),
            kill_grace: Span::from_micros(read::required(message.kill_grace_us, "kill_grace_us")?),
            after: message.after.into_iter().map(JobId).collect(),
            on_unreachable: read::word(message.on_unreachable, "on_unreachable")?,
            executor: read::word(message.executor, "executor")?,
            estimate: message.estimate_us.map(Span::from_micros),
            deadline: message.deadline_us.map(Span::from_micros),
            min_tasks: message.min_tasks.unwrap_or(1),
            same: message.same,
        })
    }
}

impl From<&Command> for v1::job_spec::Command {
    fn from(command: &Command) -> Self {
        match command {
            Command::Argv(args) => Self::Argv(v1::Argv { args: args.clone() }),
            Command::Shell(line) => Self::Shell(line.clone()),
        }
    }
}

impl From<v1::job_spec::Command> for Command {
    fn from(message: v1::job_spec::Command) -> Self {
        match message {
            v1::job_spec::Command::Argv(argv) => Self::Argv(argv.args),
            v1::job_spec::Command::Shell(line) => Self::Shell(line),
        }
    }
}

pub(super) fn constraint_texts(constraints: &[Constraint]) -> Vec<String> {
    constraints.iter().map(ToString::to_string).collect()
}

pub(super) fn read_constraints(texts: &[String]) -> Result<Vec<Constraint>, WireError> {
    let read =
        |text: &String| Constraint::parse(text).map_err(|error| WireError::field("constraints", error));
    texts.iter().map(read).collect()
}

impl From<&AttemptRun> for v1::AttemptRun {
    fn from(run: &AttemptRun) -> Self {
        let TaskRange { first, last } = run.tasks;
        Self { job: run.job.0, first_task: first, last_task: last, attempt: run.attempt }
    }
}

impl TryFrom<v1::AttemptRun> for AttemptRun {
    type Error = WireError;

    fn try_from(message: v1::AttemptRun) -> Result<Self, WireError> {
        let tasks = read_tasks(message.first_task, message.last_task)?;
        Ok(Self { job: JobId(message.job), tasks, attempt: message.attempt })
    }
}

pub(super) fn read_tasks(first: u32, last: u32) -> Result<TaskRange, WireError> {
    let backwards = || WireError::field("last_task", format!("{last} comes before `first_task`, {first}"));
    TaskRange::new(first, last).ok_or_else(backwards)
}

impl From<&Outcome> for v1::Outcome {
    fn from(outcome: &Outcome) -> Self {
        Self {
            exit_code: outcome.exit_code,
            signal: outcome.signal,
            wall_us: outcome.wall_us,
            cpu_us: outcome.cpu_us,
            peak_mem_bytes: outcome.peak_mem_bytes,
            message: outcome.message.as_deref().map(str::to_owned),
        }
    }
}

impl TryFrom<v1::Outcome> for Outcome {
    type Error = WireError;

    fn try_from(message: v1::Outcome) -> Result<Self, WireError> {
        Ok(Self {
            exit_code: message.exit_code,
            signal: message.signal,
            wall_us: message.wall_us,
            cpu_us: message.cpu_us,
            peak_mem_bytes: message.peak_mem_bytes,
            message: message.message.map(Into::into),
        })
    }
}

impl From<&Rejection> for v1::Rejection {
    fn from(rejection: &Rejection) -> Self {
        Self { field: rejection.field.clone(), message: rejection.message.clone() }
    }
}

impl TryFrom<v1::Rejection> for Rejection {
    type Error = WireError;

    fn try_from(message: v1::Rejection) -> Result<Self, WireError> {
        Ok(Self { field: message.field, message: message.message })
    }
}
