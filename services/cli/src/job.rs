//! `allot job show`: all about one job.

use std::fmt::Write;
use std::str::FromStr;

use allot_model::view::{AttemptView, JobQuery, JobSummary, JobView, TaskRunView};
use allot_model::{Command, JobId, JobSpec, JobState, Outcome, Reason, Span, TaskId, TaskRange, TaskSet};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::completions;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table, bytes, length, resources};
use crate::plan::{Estimate, estimate};
use crate::states::{self, word};

/// Look at one job.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot job show 12
  allot job show 12.3")]
pub struct JobArgs {
    #[command(subcommand)]
    verb: JobVerb,
}

#[derive(Debug, Subcommand)]
enum JobVerb {
    /// Show all about a job: what was submitted, and every task's states, reasons and times.
    ///
    /// Tasks that are alike share a line, such as `0-99`. A task that was tried more than once has a line for each
    /// try. A rejected job is shown with what is wrong with it. Where tasks wait for a place, `expected start` is when the
    /// first is to get one, as `allot plan --job` works it out, or says why that is not known.
    #[command(after_help = "\
Examples:
  allot job show 12
  allot job show 12.3                 only task 3
  allot job show 12 --tasks 0-9,42    only these tasks
  allot job show 12 --exact           times as they are rather than how long ago
  allot job show 12 -o json")]
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The job, or one task of it, such as `12.3`.
    #[arg(value_name = "JOB[.TASK]", add = completions::jobs())]
    what: JobOrTask,
    /// Only these tasks.
    #[arg(long, value_name = "TASKS")]
    tasks: Option<TaskSet>,
    /// At most so many lines of tasks.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
}

/// A job, or one task of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobOrTask {
    /// The job.
    pub job: JobId,
    /// The task's index.
    pub task: Option<u32>,
}

impl FromStr for JobOrTask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let task = || text.parse::<TaskId>().map(|id| Self { job: id.job, task: Some(id.index) });
        let job = || text.parse::<JobId>().map(|job| Self { job, task: None });
        if text.contains('.') { task() } else { job() }.map_err(|error| error.to_string())
    }
}

/// Shows a job.
///
/// # Errors
/// Where there is no such job, or the dispatcher does not answer.
pub async fn run(args: JobArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let JobVerb::Show(ShowArgs { what, tasks, limit }) = args.verb;
    let one = what.task.map(|index| std::iter::once(TaskRange::one(index)).collect());
    let tasks = tasks.or(one);
    let view = client.job(what.job, &JobQuery { tasks: tasks.clone(), limit }).await?;
    let beyond = tasks.and_then(|tasks| tasks.ranges().find(|range| range.last >= view.summary.tasks));
    if let Some(beyond) = beyond {
        return Err(no_task(&view.summary, beyond.first.max(view.summary.tasks)));
    }
    let expected_start = if waits(&view.summary) { estimate(client, what.job).await } else { None };
    output.print(&Shown { view, expected_start }, |shown| text(shown, output))
}

/// There is no such task.
pub(crate) fn no_task(JobSummary { job, tasks, .. }: &JobSummary, index: u32) -> Failure {
    Failure::failed(match tasks {
        0 => format!("job {job} has no tasks: it was rejected"),
        1 => format!("job {job} has no task {index}: its only one is {job}.0"),
        _ => format!("job {job} has no task {index}: its tasks are {job}.0 to {job}.{}", tasks - 1),
    })
}

/// A job, and when it starts.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    view: JobView,
    /// Absent where none of it waits for a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_start: Option<Estimate>,
}

/// True where tasks may wait for a place.
fn waits(summary: &JobSummary) -> bool {
    matches!(summary.state, JobState::Queued | JobState::Running) && summary.counts.queued > 0
}

fn text(Shown { view, expected_start }: &Shown, output: &Output) -> String {
    let mut text = String::new();
    let expected =
        expected_start.iter().map(|estimate| ("expected start".to_owned(), expectation(estimate, output)));
    for (name, value) in facts(view, output).into_iter().chain(expected) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<15} {value}");
    }
    let table = tasks(&view.runs, output);
    if !table.is_empty() {
        let _ = write!(text, "\n{}", output.draw(&table));
    }
    if view.more_runs {
        text.push_str("\nmore tasks: choose some with --tasks, or raise --limit");
    }
    text
}

/// `in 12m, if …`, or why that cannot be told.
fn expectation(estimate: &Estimate, output: &Output) -> String {
    let Estimate { start, earliest, because } = estimate;
    match (start, earliest) {
        (Some(start), _) => format!("{}, {because}", output.clock.show(*start)),
        (None, Some(earliest)) => format!("{because}; at the earliest {}", output.clock.show(*earliest)),
        (None, None) => format!("not known: {because}"),
    }
}

/// What is to be said of the job as a whole, line by line.
fn facts(view: &JobView, output: &Output) -> Vec<(String, String)> {
    let summary = &view.summary;
    let clock = output.clock;
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut say = |name: &str, value: String| facts.push((name.to_owned(), value));
    say("job", summary.job.to_string());
    summary.name.iter().for_each(|name| say("name", name.clone()));
    say("queue", summary.queue.clone());
    say("state", because(&word(summary.state), summary.reason));
    if let Some(rejection) = &view.rejection {
        let field = if rejection.field.is_empty() { "the submission" } else { &rejection.field };
        say("rejected", format!("{field}: {}", rejection.message));
    }
    say("tasks", format!("{}: {}", summary.tasks, states::counts(&summary.counts)));
    say("submitted", clock.show(summary.submitted_at));
    summary.started_at.iter().for_each(|at| say("started", clock.show(*at)));
    summary.ended_at.iter().for_each(|at| say("ended", clock.show(*at)));
    facts.extend(view.spec.iter().flat_map(spec));
    facts
}

/// The fields of the job file that the facts above do not hold. What every job has that says nothing of it is left out.
fn spec(spec: &Value) -> Vec<(String, String)> {
    let Value::Object(fields) = spec else { return Vec::new() };
    let defaults = JobSpec::new(Command::Argv(Vec::new())).to_json();
    let said = |name: &str| matches!(name, "name" | "queue" | "tasks");
    let usual = |name: &str, value: &Value| name != "resources" && defaults.get(name) == Some(value);
    let told = fields.iter().filter(|(name, value)| !said(name) && !is_nothing(value) && !usual(name, value));
    told.map(|(name, value)| (name.clone(), spec_value(name, value))).collect()
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}

fn spec_value(name: &str, value: &Value) -> String {
    match (name, value) {
        ("command", Value::Array(argv)) => argv.iter().map(shell_word).collect::<Vec<_>>().join(" "),
        ("constraints", Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" and ")
        }
        ("env", Value::Object(variables)) => {
            let set = variables.iter().map(|(name, value)| format!("{name}={}", shell_word(value)));
            set.collect::<Vec<_>>().join(" ")
        }
        _ => resources(value),
    }
}

/// One word of a command as a shell would need it.
fn shell_word(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn because(state: &str, reason: Option<Reason>) -> String {
    reason.map_or_else(|| state.to_owned(), |reason| format!("{state} ({})", reason.as_str()))
}

fn tasks(runs: &[TaskRunView], output: &Output) -> Table {
    let mut table =
        Table::new(&["TASKS", "TRY#", "STATE", "REASON", "AGENT", "QUEUED", "STARTED", "TOOK", "DETAIL~"]);
    for run in runs {
        for attempt in run.earlier.iter().chain([&run.attempt]) {
            table.row(attempt_cells(&run.tasks, attempt, output));
        }
    }
    table
}

fn attempt_cells(tasks: &TaskSet, attempt: &AttemptView, output: &Output) -> [Cell; 9] {
    let agent = attempt.agent.as_ref().map_or("-", |agent| agent.as_str());
    let clock = output.clock;
    let still = !attempt.state.is_final();
    let took = if still || attempt.ended_at.is_some() {
        clock.took(attempt.started_at, attempt.ended_at)
    } else {
        "-".to_owned()
    };
    [
        tasks.into(),
        attempt.attempt.into(),
        states::task(attempt.state),
        attempt.reason.as_str().into(),
        agent.into(),
        clock.show(attempt.queued_at).into(),
        clock.show_maybe(attempt.started_at).into(),
        took.into(),
        detail(attempt, output).into(),
    ]
}

/// Whom an attempt made room for, how it ended, what it waits for, or what it holds.
fn detail(attempt: &AttemptView, output: &Output) -> String {
    match &attempt.by {
        Some(by) => format!("for job {} of {}; {}", by.job, by.queue, course(attempt, output)),
        None => course(attempt, output),
    }
}

fn course(attempt: &AttemptView, output: &Output) -> String {
    if let Some(outcome) = &attempt.outcome {
        let mut text = ending(outcome);
        if let Some(at) = attempt.retry_at {
            let _ = write!(text, ", next try {}", output.clock.show(at));
        }
        return text;
    }
    match (attempt.retry_at, &attempt.slice) {
        (Some(at), _) => format!("next try {}", output.clock.show(at)),
        (None, Some(slice)) => resources(slice),
        (None, None) => "-".to_owned(),
    }
}

/// `exit code 1, cpu 3.1s, peak 30.5MiB`.
#[must_use]
pub fn ending(outcome: &Outcome) -> String {
    let mut parts = Vec::new();
    outcome.exit_code.iter().for_each(|code| parts.push(format!("exit code {code}")));
    outcome.signal.iter().for_each(|signal| parts.push(format!("signal {signal}")));
    outcome.message.iter().for_each(|message| parts.push(message.to_string()));
    if outcome.cpu_us > 0 {
        parts.push(format!("cpu {}", length(Span::from_micros(outcome.cpu_us))));
    }
    if outcome.peak_mem_bytes > 0 {
        parts.push(format!("peak {}", bytes(outcome.peak_mem_bytes)));
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::{NOW, summary};
    use crate::output::Format;
    use allot_model::view::TaskCounts;
    use allot_model::{AgentId, JobId, Preemptor, Rejection, TaskState};
    use serde_json::json;

    fn attempt(number: u32, state: TaskState, reason: Reason) -> AttemptView {
        AttemptView {
            attempt: number,
            state,
            reason,
            agent: Some(AgentId::new("a1").unwrap()),
            queued_at: NOW - Span::from_secs(200),
            allocated_at: Some(NOW - Span::from_secs(199)),
            started_at: Some(NOW - Span::from_secs(192)),
            ended_at: None,
            retry_at: None,
            slice: Some(json!({"cpus": 2})),
            outcome: None,
            by: None,
        }
    }

    #[test]
    fn a_job_is_shown_with_every_task_and_try() {
        let failed = AttemptView {
            ended_at: Some(NOW - Span::from_secs(191)),
            outcome: Some(Outcome {
                exit_code: Some(1),
                cpu_us: 3_100_000,
                peak_mem_bytes: 32 << 20,
                ..Outcome::default()
            }),
            ..attempt(1, TaskState::Failed, Reason::ExitedNonzero)
        };
        let stopped = AttemptView {
            ended_at: Some(NOW - Span::from_secs(191)),
            outcome: Some(Outcome { signal: Some(15), ..Outcome::default() }),
            by: Some(Preemptor { job: JobId(15), queue: "research.text".parse().unwrap() }),
            ..attempt(1, TaskState::Killed, Reason::PreemptedForPriority)
        };
        let run = |tasks: &str, number, earlier| TaskRunView {
            tasks: tasks.parse().unwrap(),
            attempt: attempt(number, TaskState::Running, Reason::Launched),
            earlier,
        };
        let view = JobView {
            summary: summary(12),
            spec: Some(json!({"command": ["echo", "a b"], "resources": {"cpus": 2}, "env": {}, "tasks": 10,
                "retries": 0, "backoff": "1s", "kill_grace": "5s"})),
            rejection: None,
            runs: vec![run("0-1", 1, Vec::new()), run("2", 2, vec![failed]), run("3", 2, vec![stopped])],
            more_runs: true,
        };
        assert_eq!(
            text(&Shown { view, expected_start: None }, &Output::plain(Format::Text, false, NOW)),
            "\
job             12
name            train
queue           research.vision
state           running
tasks           10: 3 running, 7 queued
submitted       3m ago
started         3m ago
command         echo 'a b'
kill_grace      5s
resources       cpus 2

TASKS  TRY  STATE    REASON                  AGENT  QUEUED  STARTED  TOOK   DETAIL
0-1      1  running  launched                a1     3m ago  3m ago   3m12s  cpus 2
2        1  failed   exited_nonzero          a1     3m ago  3m ago   1.0s   exit code 1, cpu 3.1s, peak 32.0MiB
2        2  running  launched                a1     3m ago  3m ago   3m12s  cpus 2
3        1  killed   preempted_for_priority  a1     3m ago  3m ago   1.0s   for job 15 of research.text; signal 15
3        2  running  launched                a1     3m ago  3m ago   3m12s  cpus 2
more tasks: choose some with --tasks, or raise --limit"
        );
    }

    #[test]
    fn a_rejected_job_is_shown_with_what_is_wrong() {
        let mut summary = summary(13);
        summary.state = JobState::Rejected;
        summary.reason = Some(Reason::Invalid);
        summary.counts = TaskCounts::default();
        summary.started_at = None;
        let rejection =
            Rejection { field: "tasks".into(), message: "0 was given: at least 1 is needed".into() };
        let view =
            JobView { summary, spec: None, rejection: Some(rejection), runs: Vec::new(), more_runs: false };
        let shown = Shown { view, expected_start: None };
        let text = text(&shown, &Output::plain(Format::Text, false, NOW));
        assert!(text.contains("state           rejected (invalid)\n"), "{text}");
        assert!(text.contains("rejected        tasks: 0 was given: at least 1 is needed\n"), "{text}");
    }

    #[test]
    fn when_a_waiting_job_starts_is_told_or_why_it_is_not_known() {
        let output = Output::plain(Format::Text, false, NOW);
        let told = |start: Option<u64>, earliest: Option<u64>, because: &str| {
            let at = |seconds| NOW + Span::from_secs(seconds);
            let estimate =
                Estimate { start: start.map(at), earliest: earliest.map(at), because: because.to_owned() };
            expectation(&estimate, &output)
        };
        assert_eq!(told(Some(720), None, "if all goes well"), "in 12m, if all goes well");
        assert_eq!(
            told(None, Some(90), "depends on 2 running tasks without estimate"),
            "depends on 2 running tasks without estimate; at the earliest in 1m"
        );
        assert_eq!(told(None, None, "no allocator decides"), "not known: no allocator decides");
    }

    #[test]
    fn a_job_and_a_task_are_told_apart() {
        assert_eq!("12".parse(), Ok(JobOrTask { job: JobId(12), task: None }));
        assert_eq!("12.3".parse(), Ok(JobOrTask { job: JobId(12), task: Some(3) }));
        assert!("12.x".parse::<JobOrTask>().unwrap_err().contains("12.3"));
        assert!("twelve".parse::<JobOrTask>().is_err());
    }
}
