//! `allot run`: a command on the cluster as if it ran here.

mod many;

use std::io;

use allot_model::view::LogStream;
use allot_model::{AgentId, AttemptId, AttemptRun, JobId, JobState, Outcome, Reason, Time};
use allot_shell::Shutdown;
use clap::Args;

use crate::client::Client;
use crate::failure::Failure;
use crate::job::ending;
use crate::logs::{Tail, poll};
use crate::output::{Output, note, timestamp};
use crate::states::word;
use crate::submit::{Base, JobFlags};
use crate::watch::{JobWatch, News, Watch, rejected};

/// Run a command on the cluster as if it ran here.
///
/// Submits a job, copies what it prints to stdout and stderr while it runs, and exits with its exit code, or with 128 and
/// the signal's number where a signal ended it. With --tasks, what each task printed is copied once it has ended, each
/// line with the task's number before it, and the largest exit code is this command's. Ctrl-C cancels the job and waits
/// for its end; a second one leaves at once, and the job ends without being watched.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot run -- hostname
  allot run --cpus 4 --mem 8GiB -- python train.py
  allot run --tasks 8 -- sh -c 'echo $ALLOT_TASK_INDEX of $ALLOT_TASK_COUNT on $ALLOT_AGENT'
  allot run --constraint 'zone == b' --time-limit 10m -- ./check.sh && echo fine")]
pub struct RunArgs {
    #[command(flatten)]
    flags: JobFlags,
    /// Do not say which job it is, and put no numbers before lines.
    #[arg(long)]
    quiet: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Runs a command on the cluster.
///
/// # Errors
/// [`Failure::Exit`] with the command's exit code where it is not 0; otherwise why it did not run.
pub async fn run(args: RunArgs, client: &Client, output: &Output) -> Result<(), Failure> {
    let submission = args.flags.submission(Base::command(args.command))?;
    // From here on, so that no job is left behind by an impatient person.
    let interrupted = Shutdown::on_signals();
    let watch = Watch::open(client).await?;
    let submitted = submission.send(client).await?;
    let (job, tasks) = (submitted.job, submission.tasks());
    if !args.quiet {
        let many = if tasks == 1 { String::new() } else { format!(": {tasks} tasks") };
        note(&format!("allot: job {job} in queue {}{many}", submission.queue()));
    }
    let stop = Stop { client, job, interrupted, done: false };
    let watch = watch.job(job);
    let code = if tasks == 1 {
        let session =
            Session { client, job, quiet: args.quiet, now: output.clock.now, printing: None, last: None };
        follow(session, watch, stop).await?
    } else {
        many::follow(many::Tasks::new(client, job, tasks, args.quiet, output), watch, stop).await?
    };
    if code == 0 { Ok(()) } else { Err(Failure::Exit(code)) }
}

/// The wish of the person at the terminal to stop the job.
struct Stop<'a> {
    client: &'a Client,
    job: JobId,
    interrupted: Shutdown,
    done: bool,
}

impl Stop<'_> {
    /// Waits for the wish and cancels the job; forever once it has.
    async fn wished(&mut self) -> Result<(), Failure> {
        if self.done {
            return std::future::pending().await;
        }
        self.interrupted.wait().await;
        let mut pause = poll();
        loop {
            match self.client.cancel(self.job).await {
                Ok(_) => note(&format!("allot: cancelling job {}; once more leaves at once", self.job)),
                // The dispatcher has not read the submission yet.
                Err(failure) if failure.is_not_found() => {
                    pause.tick().await;
                    continue;
                }
                // It has ended meanwhile: how is about to be heard.
                Err(Failure::Refused(_)) => {}
                Err(failure) => return Err(failure),
            }
            self.done = true;
            return Ok(());
        }
    }
}

/// What is known of the job while it runs.
struct Session<'a> {
    client: &'a Client,
    job: JobId,
    quiet: bool,
    now: Time,
    printing: Option<Printing<'a>>,
    /// How the last try ended.
    last: Option<(Reason, Outcome)>,
}

/// The outputs of the try that runs.
struct Printing<'a> {
    attempt: AttemptId,
    stdout: Tail<'a>,
    stderr: Tail<'a>,
}

/// Copies the job's output until it is over, and returns the exit code.
async fn follow(mut session: Session<'_>, mut watch: JobWatch, mut stop: Stop<'_>) -> Result<u8, Failure> {
    let mut pause = poll();
    loop {
        tokio::select! {
            news = watch.next() => if let Some(code) = session.on_news(news?).await? { return Ok(code) },
            _ = pause.tick(), if session.printing.is_some() => session.copy().await?,
            stopped = stop.wished() => stopped?,
        }
    }
}

impl<'a> Session<'a> {
    /// Takes in what became of the job; an exit code where it is over.
    async fn on_news(&mut self, news: News) -> Result<Option<u8>, Failure> {
        match news {
            News::Rejected(rejection) => return Err(rejected(self.job, &rejection)),
            News::Started { agent, run } => self.on_started(agent, run),
            News::Ended { agent, run, reason, outcome, retry_at, .. } => {
                self.on_started(agent, run);
                self.drain(&outcome).await?;
                retry_at.iter().for_each(|at| self.say_retry(run, reason, &outcome, *at));
                self.last = Some((reason, outcome));
            }
            News::Over { state, reason } => return Ok(Some(self.exit_code(state, reason))),
        }
        Ok(None)
    }

    fn on_started(&mut self, agent: AgentId, run: AttemptRun) {
        let attempt = AttemptId::new(run.job, run.tasks.first, run.attempt);
        if self.printing.as_ref().is_some_and(|printing| printing.attempt == attempt) {
            return;
        }
        let tail = |stream| Tail::new(self.client, agent.clone(), attempt, stream, 0);
        self.printing =
            Some(Printing { attempt, stdout: tail(LogStream::Stdout), stderr: tail(LogStream::Stderr) });
    }

    /// Copies what has been printed since the last time. An agent that cannot be asked now is asked again.
    async fn copy(&mut self) -> Result<(), Failure> {
        let Some(printing) = &mut self.printing else { return Ok(()) };
        let steps = [
            printing.stdout.step(&mut io::stdout(), true).await,
            printing.stderr.step(&mut io::stderr(), true).await,
        ];
        steps.into_iter().try_for_each(|step| match step {
            Err(Failure::OutputClosed) => Err(Failure::OutputClosed),
            _ => Ok(()),
        })
    }

    /// Copies the rest of what a try that has ended printed.
    async fn drain(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        let Some(mut printing) = self.printing.take() else { return Ok(()) };
        if outcome.exit_code.is_none() && outcome.signal.is_none() {
            // It never ran, or how it ended is not known: there may be nothing to read.
            let _ = printing.stdout.step(&mut io::stdout(), false).await;
            let _ = printing.stderr.step(&mut io::stderr(), false).await;
            return Ok(());
        }
        printing.stdout.copy(&mut io::stdout(), true).await?;
        printing.stderr.copy(&mut io::stderr(), true).await
    }

    fn say_retry(&self, run: AttemptRun, reason: Reason, outcome: &Outcome, at: Time) {
        if !self.quiet {
            let when = if at > self.now { format!("at {}", timestamp(at)) } else { "now".to_owned() };
            let how = ending(outcome);
            note(&format!("allot: try {} failed ({}): {how}; next try {when}", run.attempt, reason.as_str()));
        }
    }

    /// What to exit with, and says why where the code alone does not.
    fn exit_code(&self, state: JobState, reason: Option<Reason>) -> u8 {
        if state == JobState::Finished {
            return 0;
        }
        let code = self.last.as_ref().and_then(|(_, outcome)| code_of(outcome)).unwrap_or(1);
        let reason = self.last.as_ref().map(|(reason, _)| *reason).or(reason);
        if reason != Some(Reason::ExitedNonzero) {
            let why = reason.map_or("", Reason::as_str);
            let how = self.last.as_ref().map_or_else(|| "-".to_owned(), |(_, outcome)| ending(outcome));
            note(&format!("allot: job {} {} ({why}): {how}", self.job, word(state)));
        }
        code
    }
}

/// The exit code that a shell would give.
fn code_of(outcome: &Outcome) -> Option<u8> {
    let signalled = outcome.signal.and_then(|signal| u8::try_from(128 + signal).ok());
    let exited = outcome.exit_code.map(|code| u8::try_from(code).unwrap_or(1));
    exited.or(signalled).filter(|code| *code != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_one_a_shell_would_give() {
        let exited = |code| Outcome { exit_code: Some(code), ..Outcome::default() };
        let cases = [
            (exited(7), Some(7)),
            (exited(0), None),
            (Outcome { signal: Some(9), ..Outcome::default() }, Some(137)),
            (Outcome::default(), None),
        ];
        for (outcome, code) in cases {
            assert_eq!(code_of(&outcome), code, "{outcome:?}");
        }
    }
}
