//! A job of many tasks: what each printed is copied once it has ended.

use std::io::{self, Write};

use allot_model::view::LogStream;
use allot_model::{AgentId, AttemptId, AttemptRun, JobId, JobState, Outcome, Reason, TaskId, TaskState};
use indicatif::ProgressBar;

use super::{Stop, code_of};
use crate::client::Client;
use crate::failure::Failure;
use crate::job::ending;
use crate::logs::Tail;
use crate::output::{Output, note};
use crate::states::word;
use crate::watch::{JobWatch, News, rejected};

/// How many tasks that fail are told of one by one.
const MOST_TOLD: u64 = 10;

/// What is known of the tasks while they run.
pub(super) struct Tasks<'a> {
    client: &'a Client,
    job: JobId,
    quiet: bool,
    /// How wide the number of a task is.
    width: usize,
    bar: ProgressBar,
    failed: u64,
    /// The largest exit code.
    code: u8,
}

/// Copies what each task printed until all are over, and returns the exit code.
pub(super) async fn follow(
    mut tasks: Tasks<'_>,
    mut watch: JobWatch,
    mut stop: Stop<'_>,
) -> Result<u8, Failure> {
    loop {
        tokio::select! {
            news = watch.next() => if let Some(code) = tasks.on_news(news?).await? { return Ok(code) },
            stopped = stop.wished() => stopped?,
        }
    }
}

impl<'a> Tasks<'a> {
    pub(super) fn new(client: &'a Client, job: JobId, tasks: u32, quiet: bool, output: &Output) -> Self {
        let width = tasks.saturating_sub(1).to_string().len();
        let bar = output.bar(tasks.into());
        bar.set_message("tasks ended");
        Self { client, job, quiet, width, bar, failed: 0, code: 0 }
    }

    async fn on_news(&mut self, news: News) -> Result<Option<u8>, Failure> {
        match news {
            News::Rejected(rejection) => return Err(rejected(self.job, &rejection)),
            News::Started { .. } => {}
            // What a try printed that is followed by another is there for `allot logs --attempt`.
            News::Ended { retry_at: Some(_), .. } => {}
            News::Ended { agent, run, state, reason, outcome, retry_at: None } => {
                self.on_ended(&agent, run, (state, reason, &outcome)).await?;
            }
            News::Over { state, reason } => return Ok(Some(self.over(state, reason))),
        }
        Ok(None)
    }

    async fn on_ended(
        &mut self,
        agent: &AgentId,
        run: AttemptRun,
        (state, reason, outcome): (TaskState, Reason, &Outcome),
    ) -> Result<(), Failure> {
        let ran = outcome.exit_code.is_some() || outcome.signal.is_some();
        for index in run.tasks.indexes() {
            let attempt = AttemptId { task: TaskId { job: run.job, index }, attempt: run.attempt };
            self.copy(agent, attempt, LogStream::Stdout, ran, &mut io::stdout()).await?;
            self.copy(agent, attempt, LogStream::Stderr, ran, &mut io::stderr()).await?;
            if state != TaskState::Finished {
                self.on_failed(attempt, reason, outcome);
            }
            self.bar.inc(1);
        }
        Ok(())
    }

    async fn copy(
        &self,
        agent: &AgentId,
        attempt: AttemptId,
        stream: LogStream,
        ran: bool,
        to: &mut (impl Write + Send),
    ) -> Result<(), Failure> {
        let mut printed = Vec::new();
        let mut tail = Tail::new(self.client, agent.clone(), attempt, stream, 0);
        match tail.copy(&mut printed, ran).await {
            Ok(()) => {}
            // It never ran, or how it ended is not known: there may be nothing to read.
            Err(_) if !ran => return Ok(()),
            Err(failure) => return Err(failure),
        }
        let lines = if self.quiet { printed } else { numbered(&printed, attempt.task.index, self.width) };
        Ok(self.bar.suspend(|| to.write_all(&lines).and_then(|()| to.flush()))?)
    }

    fn on_failed(&mut self, attempt: AttemptId, reason: Reason, outcome: &Outcome) {
        self.failed += 1;
        self.code = self.code.max(code_of(outcome).unwrap_or(1));
        if self.failed <= MOST_TOLD {
            let how = ending(outcome);
            self.say(&format!("allot: task {} failed ({}): {how}", attempt.task, reason.as_str()));
        }
    }

    fn over(&self, state: JobState, reason: Option<Reason>) -> u8 {
        self.bar.finish_and_clear();
        if state == JobState::Finished {
            return 0;
        }
        if self.failed > MOST_TOLD {
            note(&format!(
                "allot: {} tasks of job {} failed: see `allot job show {}`",
                self.failed, self.job, self.job
            ));
        }
        if self.failed == 0 {
            let why = reason.map(|reason| format!(" ({})", reason.as_str())).unwrap_or_default();
            note(&format!("allot: job {} {}{why}", self.job, word(state)));
        }
        self.code.max(1)
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| note(text));
    }
}

/// The lines with the number of their task before each, the last one ended.
fn numbered(printed: &[u8], task: u32, width: usize) -> Vec<u8> {
    let mut lines = Vec::with_capacity(printed.len() + printed.len() / 8);
    for line in printed.split_inclusive(|byte| *byte == b'\n') {
        lines.extend_from_slice(format!("{task:>width$}: ").as_bytes());
        lines.extend_from_slice(line);
    }
    if lines.last().is_some_and(|byte| *byte != b'\n') {
        lines.push(b'\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_the_number_of_its_task() {
        assert_eq!(numbered(b"one\ntwo", 7, 2), b" 7: one\n 7: two\n");
        assert_eq!(numbered(b"\n", 10, 2), b"10: \n");
        assert_eq!(numbered(b"", 1, 1), b"");
    }
}
