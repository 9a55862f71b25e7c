//! `allot logs`: what a task printed.

use std::io::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use allot_bus::{Stream, Subject};
use allot_model::view::{AttemptView, JobQuery, LogQuery, LogStream};
use allot_model::{AgentId, AttemptId, JobId, TaskId, TaskRange};
use clap::Args;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Client, LogChunk};
use crate::completions;
use crate::failure::Failure;
use crate::job::JobOrTask;
use crate::output::{Output, note};
use crate::watch::{JobWatch, News, Watch};

/// How often an agent is asked for more while a task runs.
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(50);
/// So often it is asked what has become of a try that has ended, until its agent's report is taken: five seconds.
const MOST_LOOKS: u32 = 100;
/// How much is asked for at a time; an answer has to fit into one message.
const CHUNK_BYTES: u32 = 256 * 1024;

/// Show what a task printed.
///
/// The output is read from the agent that runs the task, or ran it; where that agent is gone, the last 64 KiB that
/// were kept of it are shown. `12` is the same as `12.0`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot logs 12.3
  allot logs 12.3 -f                 go on as it prints, until it ends
  allot logs 12.3 --stderr
  allot logs 12.3 --attempt 1        what its first try printed
  allot logs 12.3 --tail 4096        only the last 4096 bytes
  allot logs 12.3 -o json            with its offset and size")]
pub struct LogsArgs {
    /// The task.
    #[arg(value_name = "JOB.TASK", add = completions::jobs())]
    task: JobOrTask,
    /// Go on as the task prints, until it ends, with each try at it. Waits for a task that has not started.
    #[arg(long, short)]
    follow: bool,
    /// Standard error rather than standard output.
    #[arg(long)]
    stderr: bool,
    /// Which try, the present or last one unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Only the last so many bytes, such as 4096 or 64KiB.
    #[arg(long, value_name = "BYTES")]
    tail: Option<Bytes>,
}

/// An amount of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bytes(u32);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let scale: u32 = match unit {
            "" | "B" => 1,
            "KiB" | "K" | "k" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            _ => 0,
        };
        let bytes = number.parse::<u32>().ok().and_then(|number| number.checked_mul(scale));
        let bytes = bytes.filter(|bytes| *bytes > 0 && i32::try_from(*bytes).is_ok());
        bytes.map(Self).ok_or_else(|| "write a number of bytes, such as `4096`, `64KiB` or `1MiB`".to_owned())
    }
}

/// Shows what a task printed.
///
/// # Errors
/// Where there is no such task or try, or what it printed is not there any more.
pub async fn run(args: LogsArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let task = TaskId { job: args.task.job, index: args.task.task.unwrap_or(0) };
    let (mut agent, mut attempt) = find(client, task, &args).await?;
    let stream = if args.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let mut offset = args.tail.map_or(0, |Bytes(bytes)| -i64::from(bytes));
    loop {
        let mut tail = Tail::new(client, agent, attempt, stream, offset);
        if output.is_json() {
            print_json(&mut tail, args.follow, output).await?;
        } else {
            tail.copy(&mut io::stdout(), args.follow).await?;
        }
        if !args.follow || args.attempt.is_some() {
            return Ok(());
        }
        let Some(next) = next_try(client, attempt).await? else { return Ok(()) };
        (agent, attempt) = next;
        offset = 0;
        if !output.is_json() {
            note(&format!("allot: task {task} is tried again: this is try {}", attempt.attempt));
        }
    }
}

/// The try that follows one of which all has been read, if there is one.
async fn next_try(client: &Client, before: AttemptId) -> Result<Option<(AgentId, AttemptId)>, Failure> {
    let AttemptId { task, attempt: before } = before;
    // Opened first, so that a start after the question is not missed.
    let watch = Watch::open(client).await?;
    let (mut pause, mut looks) = (poll(), 0);
    let attempts = loop {
        let attempts = attempts(client, task).await?;
        let is_known = attempts.last().is_none_or(|last| last.attempt > before || last.state.is_final());
        looks += 1;
        if is_known || looks == MOST_LOOKS {
            break attempts;
        }
        pause.tick().await;
    };
    if let Some((agent, attempt)) = attempts.iter().filter(|next| next.attempt > before).find_map(placed) {
        return Ok(Some((agent, AttemptId { task, attempt })));
    }
    if all_over(&attempts)
        || attempts.last().is_some_and(|last| last.attempt == before && last.retry_at.is_none())
    {
        return Ok(None);
    }
    match started(&mut watch.job(task.job), task, |attempt| attempt > before).await? {
        Start::At(agent, attempt) => Ok(Some((agent, attempt))),
        Start::Never => Ok(None),
    }
}

async fn print_json(tail: &mut Tail<'_>, follow: bool, output: &Output) -> Result<(), Failure> {
    let mut pause = poll();
    loop {
        let chunk = tail.read().await?;
        if !chunk.bytes.is_empty() || !follow {
            output.print_line(&chunk_json(&chunk), |_| String::new())?;
        }
        if tail.is_done(&chunk, follow) {
            return Ok(());
        }
        if chunk.bytes.is_empty() {
            pause.tick().await;
        }
    }
}

fn chunk_json(chunk: &LogChunk) -> serde_json::Value {
    serde_json::json!({
        "offset": chunk.offset,
        "size": chunk.size,
        "ended": chunk.ended,
        "text": String::from_utf8_lossy(&chunk.bytes),
    })
}

/// Finds the try that is asked for, and its agent.
async fn find(client: &Client, task: TaskId, args: &LogsArgs) -> Result<(AgentId, AttemptId), Failure> {
    // Opened first, so that a start after the question is not missed.
    let watch = if args.follow { Some(Watch::open(client).await?) } else { None };
    let attempts = attempts(client, task).await?;
    let found = match args.attempt {
        Some(number) => attempts.iter().find(|attempt| attempt.attempt == number),
        None => attempts.iter().rev().find(|attempt| attempt.agent.is_some() || !attempt.state.is_final()),
    };
    if let Some((agent, attempt)) = found.and_then(placed) {
        return Ok((agent, AttemptId { task, attempt }));
    }
    match watch {
        Some(watch) if found.is_none_or(|attempt| !attempt.state.is_final()) && !all_over(&attempts) => {
            note(&format!("task {task} has not started: waiting for it"));
            let is_meant = |attempt| args.attempt.is_none_or(|number| number == attempt);
            match started(&mut watch.job(task.job), task, is_meant).await? {
                Start::At(agent, attempt) => Ok((agent, attempt)),
                Start::Never => Err(Failure::failed(format!("task {task} never ran"))),
            }
        }
        _ => Err(never_ran(task, args.attempt, &attempts)),
    }
}

fn all_over(attempts: &[AttemptView]) -> bool {
    attempts.last().is_none_or(|last| last.state.is_final() && last.retry_at.is_none())
}

fn placed(attempt: &AttemptView) -> Option<(AgentId, u32)> {
    attempt.agent.clone().map(|agent| (agent, attempt.attempt))
}

/// All tries at a task, oldest first.
async fn attempts(client: &Client, task: TaskId) -> Result<Vec<AttemptView>, Failure> {
    let query = JobQuery { tasks: Some(std::iter::once(TaskRange::one(task.index)).collect()), limit: 1 };
    let view = client.job(task.job, &query).await?;
    let Some(run) = view.runs.into_iter().next() else {
        return Err(match view.rejection {
            Some(rejection) => crate::watch::rejected(task.job, &rejection),
            None => no_such_task(task, view.summary.tasks),
        });
    };
    let mut attempts = run.earlier;
    attempts.push(run.attempt);
    Ok(attempts)
}

fn no_such_task(task: TaskId, tasks: u32) -> Failure {
    let JobId(job) = task.job;
    Failure::failed(format!(
        "job {job} has no task {}: its tasks are {job}.0 to {job}.{}",
        task.index,
        tasks.max(1) - 1
    ))
}

fn never_ran(task: TaskId, attempt: Option<u32>, attempts: &[AttemptView]) -> Failure {
    let last = attempts.last().map_or(0, |last| last.attempt);
    match (attempt, attempts.last()) {
        (Some(number), _) if number > last => {
            Failure::failed(format!("task {task} was tried {last} times: there is no try {number}"))
        }
        (_, Some(last)) => Failure::failed(format!(
            "task {task} has printed nothing, it has not run: {} ({}); `allot logs -f {task}` waits for it",
            crate::states::word(last.state),
            last.reason.as_str()
        )),
        (_, None) => Failure::failed(format!("task {task} has not run")),
    }
}

/// What came of waiting for a start.
enum Start {
    At(AgentId, AttemptId),
    /// The job is over.
    Never,
}

/// Waits until a try at the task starts that is meant.
async fn started(
    watch: &mut JobWatch,
    task: TaskId,
    is_meant: impl Fn(u32) -> bool,
) -> Result<Start, Failure> {
    loop {
        match watch.next().await? {
            News::Started { agent, run } | News::Ended { agent, run, .. }
                if run.tasks.overlap(TaskRange::one(task.index)).is_some() && is_meant(run.attempt) =>
            {
                return Ok(Start::At(agent, AttemptId { task, attempt: run.attempt }));
            }
            News::Over { .. } => return Ok(Start::Never),
            News::Rejected(rejection) => return Err(crate::watch::rejected(task.job, &rejection)),
            _ => {}
        }
    }
}

pub(crate) fn poll() -> tokio::time::Interval {
    let mut pause = interval(POLL_EVERY);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pause
}

/// One output of one attempt, read from a place in it on.
pub(crate) struct Tail<'a> {
    client: &'a Client,
    agent: AgentId,
    attempt: AttemptId,
    stream: LogStream,
    offset: i64,
}

impl<'a> Tail<'a> {
    /// The output from `offset` on; a negative one counts from the end.
    pub(crate) fn new(
        client: &'a Client,
        agent: AgentId,
        attempt: AttemptId,
        stream: LogStream,
        offset: i64,
    ) -> Self {
        Self { client, agent, attempt, stream, offset }
    }

    /// Reads what comes next: from the agent, or what was kept of it where the agent does not have it.
    pub(crate) async fn read(&mut self) -> Result<LogChunk, Failure> {
        let query =
            LogQuery { attempt: self.attempt, stream: self.stream, offset: self.offset, limit: CHUNK_BYTES };
        let chunk = match self.client.logs(&self.agent, &query).await {
            Ok(chunk) => chunk,
            Err(failure) => self.kept().await?.ok_or(failure)?,
        };
        let next = chunk.offset.saturating_add(chunk.bytes.len() as u64);
        self.offset = i64::try_from(next).unwrap_or(i64::MAX);
        Ok(chunk)
    }

    /// True where nothing is to be read after `chunk`.
    pub(crate) fn is_done(&self, chunk: &LogChunk, follow: bool) -> bool {
        let at_the_end = chunk.offset.saturating_add(chunk.bytes.len() as u64) >= chunk.size;
        at_the_end && (chunk.ended || !follow)
    }

    /// Copies the rest of the output, as it comes where `follow` is set.
    pub(crate) async fn copy(&mut self, to: &mut impl Write, follow: bool) -> Result<(), Failure> {
        let mut pause = poll();
        while !self.step(to, follow).await? {
            pause.tick().await;
        }
        Ok(())
    }

    /// Copies all that is there now; true where nothing will follow.
    pub(crate) async fn step(&mut self, to: &mut impl Write, follow: bool) -> Result<bool, Failure> {
        loop {
            let wanted = u64::try_from(self.offset);
            let chunk = self.read().await?;
            if let Some(missing) =
                wanted.ok().and_then(|at| chunk.offset.checked_sub(at)).filter(|bytes| *bytes > 0)
            {
                to.flush()?;
                note(&format!("allot: {missing} bytes of the output are not kept any more"));
            }
            to.write_all(&chunk.bytes)?;
            if self.is_done(&chunk, follow) {
                to.flush()?;
                return Ok(true);
            }
            if chunk.bytes.is_empty() {
                to.flush()?;
                return Ok(false);
            }
        }
    }

    /// The last 64 KiB of the output, where the attempt has ended and they are kept.
    async fn kept(&self) -> Result<Option<LogChunk>, Failure> {
        let jetstream = self.client.bus().jetstream();
        let Ok(stream) = jetstream.get_stream_no_info(Stream::Output.name()).await else { return Ok(None) };
        let subject = Subject::Output(self.attempt, self.stream).to_string();
        let Ok(message) = stream.get_last_raw_message_by_subject(&subject).await else { return Ok(None) };
        let size =
            message.headers.get(allot_bus::headers::ALLOT_SIZE).and_then(|size| size.as_str().parse().ok());
        Ok(Some(cut(message.payload, size, self.offset)))
    }
}

/// What of the kept end of an output of `size` bytes lies at `offset` and after.
fn cut(kept: bytes::Bytes, size: Option<u64>, offset: i64) -> LogChunk {
    let length = kept.len() as u64;
    let size = size.unwrap_or(length).max(length);
    let first = size - length;
    let wanted = u64::try_from(offset).unwrap_or_else(|_| size.saturating_sub(offset.unsigned_abs()));
    let from = wanted.clamp(first, size);
    let skip = usize::try_from(from - first).unwrap_or(kept.len());
    LogChunk { offset: from, size, ended: true, bytes: kept.slice(skip..) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_a_unit_or_without() {
        for (text, bytes) in [("4096", 4096), ("64KiB", 65_536), ("1MiB", 1 << 20), ("2k", 2048)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "0", "-1", "4 GiB", "9999999MiB", "KiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_kept_of_an_output_goes_on_where_reading_stopped() {
        let kept = || bytes::Bytes::from_static(b"cdef");
        let cases: [(Option<u64>, i64, u64, &[u8]); 6] = [
            (Some(6), 0, 2, b"cdef"),
            (Some(6), 4, 4, b"ef"),
            (Some(6), 6, 6, b""),
            (Some(6), -1, 5, b"f"),
            (Some(6), -100, 2, b"cdef"),
            (None, 3, 3, b"f"),
        ];
        for (size, offset, from, bytes) in cases {
            let chunk = cut(kept(), size, offset);
            assert_eq!((chunk.offset, &chunk.bytes[..]), (from, bytes), "{size:?} {offset}");
            assert!(chunk.ended);
        }
    }
}
