//! `allot completions`: what a shell needs to complete commands, and what it is answered when it asks.

use std::ffi::OsStr;
use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use allot_bus::Subject;
use allot_model::view::{AllocatorView, JobSummary, JobsQuery, PolicyView, QueueView};
use allot_model::{AllocatorMode, PoolName};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use serde_json::json;

use crate::cli::Cli;
use crate::client::Client;
use crate::failure::Failure;
use crate::states::{counts, word};

/// The variable by which a shell asks for completions rather than for a command.
const ASKED: &str = "ALLOT_COMPLETE";
/// A person who waits for a completion does not wait long.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many jobs are offered, the newest.
const MOST_JOBS: u32 = 100;

/// Print a completion script for a shell.
///
/// Commands and flags are completed, and the ids of jobs, agents and queues that the cluster knows at that moment. The
/// script belongs to this version of allot: let the shell read it anew when it starts, as below.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot completions bash > /etc/bash_completion.d/allot
  allot completions zsh > ~/.zfunc/_allot
  allot completions fish > ~/.config/fish/completions/allot.fish

In ~/.bashrc or ~/.zshrc, so that it is always of the allot that is installed:
  source <(allot completions bash)")]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let shell: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Elvish => &Elvish,
        Shell::PowerShell => &Powershell,
        other => return Err(Failure::Usage(format!("there are no completions for {other}"))),
    };
    let mut script = Vec::new();
    shell.write_registration(ASKED, "allot", "allot", "allot", &mut script)?;
    Ok(io::stdout().write_all(&script)?)
}

/// Answers a shell that asks for completions, and ends the process; returns where it is run for anything else.
pub fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(ASKED).complete();
}

/// The newest jobs.
#[must_use]
pub fn jobs() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| offered(typed, |client| async move { some_jobs(&client).await }))
}

/// The agents.
#[must_use]
pub fn agents() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        offered(typed, |client| async move {
            let views = client.agents().await?;
            Ok(views.into_iter().map(|view| (view.agent.to_string(), word(view.state))).collect())
        })
    })
}

/// The queues that have jobs or were set.
#[must_use]
pub fn queues() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        offered(typed, |client| async move {
            let views: Vec<QueueView> = client.ask(&Subject::QueuesList, &json!({})).await?;
            let about = |view: &QueueView| format!("{} running, {} waiting", view.running, view.pending);
            Ok(views.into_iter().map(|view| (view.queue.to_string(), about(&view))).collect())
        })
    })
}

/// The policies of allocators that are heard from.
#[must_use]
pub fn policies() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        offered(typed, |client| async move {
            let pool = Subject::PoolPolicy(PoolName::default_pool());
            let view: PolicyView = client.ask(&pool, &json!({})).await?;
            let role = |one: &AllocatorView| match (one.active, one.mode) {
                (true, _) => "active",
                (false, AllocatorMode::Standby) => "standby",
                (false, AllocatorMode::Shadow) => "shadow",
            };
            Ok(view.allocators.iter().map(|one| (one.policy.to_string(), role(one).to_owned())).collect())
        })
    })
}

async fn some_jobs(client: &Client) -> Result<Vec<(String, String)>, Failure> {
    let query = JobsQuery { limit: MOST_JOBS, ..JobsQuery::default() };
    let list: allot_model::view::JobList = client.ask(&Subject::JobsList, &query).await?;
    let about = |job: &JobSummary| {
        let name = job.name.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
        format!("{name}{} ({})", word(job.state), counts(&job.counts))
    };
    Ok(list.jobs.iter().map(|job| (job.job.to_string(), about(job))).collect())
}

/// What the cluster answers, of that what begins as typed; nothing where it does not answer.
fn offered<F>(typed: &OsStr, ask: impl FnOnce(Client) -> F) -> Vec<CompletionCandidate>
where
    F: Future<Output = Result<Vec<(String, String)>, Failure>>,
{
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let found = runtime.block_on(async {
        let url = std::env::var("ALLOT_NATS").ok().filter(|url| !url.is_empty());
        let client = Client::connect(url.as_deref()).await?.with_patience(PATIENCE);
        ask(client).await
    });
    let candidate =
        |(value, about): (String, String)| CompletionCandidate::new(value).help(Some(about.into()));
    let fits = |(value, _): &(String, String)| value.starts_with(typed);
    found.unwrap_or_default().into_iter().filter(fits).map(candidate).collect()
}
