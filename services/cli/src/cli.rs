//! The commands, and what all of them share.

use clap::{Args, Parser, Subcommand};

use crate::agents::{AgentArgs, AgentsArgs};
use crate::bench::BenchArgs;
use crate::cancel::CancelArgs;
use crate::client::Client;
use crate::completions::CompletionsArgs;
use crate::doctor::DoctorArgs;
use crate::events::EventsArgs;
use crate::failure::{EXIT_CODES, Failure};
use crate::job::JobArgs;
use crate::jobs::JobsArgs;
use crate::ledger::LedgerArgs;
use crate::logs::LogsArgs;
use crate::output::{Format, Output};
use crate::plan::PlanArgs;
use crate::policy::PolicyArgs;
use crate::queues::{QueueArgs, QueuesArgs};
use crate::replay::ReplayArgs;
use crate::run::RunArgs;
use crate::scenario::ScenarioArgs;
use crate::services::ServicesArgs;
use crate::simulate::SimulateArgs;
use crate::submit::SubmitArgs;
use crate::up::UpArgs;
use crate::wait::WaitArgs;
use crate::why::WhyArgs;
use crate::{
    agents, bench, cancel, completions, doctor, events, job, jobs, ledger, logs, plan, policy, queues,
    replay, run, scenario, services, simulate, submit, up, wait, why,
};

/// Schedule jobs on a cluster of machines, or on this one.
///
/// A job is a command, what each of its tasks needs, and how many tasks there are. It is submitted to a queue; the
/// cluster's policy shares the machines between queues. `allot up` starts a whole cluster on this machine.
#[derive(Debug, Parser)]
#[command(name = "allot", version, max_term_width = 100, after_help = format!("\
Examples:
  allot up                                   start a cluster on this machine
  allot run -- hostname                      run a command on it, see what it prints
  allot submit --tasks 100 --cpus 2 -- ./simulate
  allot jobs                                 see what became of it
  allot logs 12.3 -f

{EXIT_CODES}"))]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// The NATS server of the cluster [default: nats://127.0.0.1:4222].
    #[arg(long, global = true, env = "ALLOT_NATS", value_name = "URL")]
    pub nats: Option<String>,
    /// Print tables and sentences, or JSON.
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,
    /// Print times as they are rather than how long ago.
    #[arg(long, global = true)]
    pub exact: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(UpArgs),
    Submit(SubmitArgs),
    Plan(PlanArgs),
    Run(RunArgs),
    Wait(WaitArgs),
    Jobs(JobsArgs),
    Job(JobArgs),
    Why(WhyArgs),
    Cancel(CancelArgs),
    Logs(LogsArgs),
    Agents(AgentsArgs),
    Agent(AgentArgs),
    Queues(QueuesArgs),
    Queue(QueueArgs),
    Policy(PolicyArgs),
    Services(ServicesArgs),
    Events(EventsArgs),
    Ledger(LedgerArgs),
    Doctor(DoctorArgs),
    Replay(ReplayArgs),
    Simulate(SimulateArgs),
    Scenario(ScenarioArgs),
    Bench(BenchArgs),
    Completions(CompletionsArgs),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`Failure`], which knows its exit code.
    pub async fn run(self) -> Result<(), Failure> {
        let Self { global, command } = self;
        // A variable that is set to nothing is as good as none.
        let nats = global.nats.filter(|url| !url.is_empty());
        let output = Output::stdout(global.output, global.exact, allot_shell::clock::now());
        match command {
            Command::Up(args) => up::run(args, nats, &output).await,
            Command::Completions(args) => completions::run(&args),
            Command::Simulate(args) => simulate::run(&args, &output),
            Command::Doctor(args) => doctor::run(args, nats.as_deref(), &output).await,
            command => {
                let client = Client::connect(nats.as_deref()).await?;
                command.ask(&client, &output).await
            }
        }
    }
}

impl Command {
    /// Does what needs a cluster.
    async fn ask(self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Submit(args) => submit::run(args, client, output).await,
            Self::Plan(args) => plan::run(args, client, output).await,
            Self::Run(args) => run::run(args, client, output).await,
            Self::Wait(args) => wait::run(args, client, output).await,
            Self::Jobs(args) => jobs::run(args, client, output).await,
            Self::Job(args) => job::run(args, client, output).await,
            Self::Why(args) => why::run(args, client, output).await,
            Self::Cancel(args) => cancel::run(args, client, output).await,
            Self::Logs(args) => logs::run(args, client, output).await,
            Self::Agents(args) => agents::list(args, client, output).await,
            Self::Agent(args) => agents::run(args, client, output).await,
            Self::Queues(args) => queues::list(args, client, output).await,
            Self::Queue(args) => queues::run(args, client, output).await,
            Self::Policy(args) => policy::run(args, client, output).await,
            Self::Services(args) => services::run(args, client, output).await,
            Self::Ledger(args) => ledger::run(args, client, output).await,
            Self::Events(args) => events::run(args, client, output).await,
            Self::Replay(args) => replay::run(args, client, output).await,
            Self::Scenario(args) => scenario::run(args, client, output).await,
            Self::Bench(args) => bench::run(args, client, output).await,
            Self::Up(_) | Self::Completions(_) | Self::Doctor(_) | Self::Simulate(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Every command and those below it, by the words that call it.
    fn all(path: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let path = format!("{path} {}", inner.get_name());
            all(&path, inner, found);
            found.push((path, inner.clone()));
        }
    }

    fn commands() -> Vec<(String, clap::Command)> {
        let mut found = Vec::new();
        let mut root = Cli::command();
        root.build();
        all("allot", &root, &mut found);
        found
    }

    #[test]
    fn the_commands_make_sense_to_clap() {
        Cli::command().debug_assert();
        assert!(commands().len() >= 15);
    }

    #[test]
    fn the_help_of_every_command_has_an_example_that_calls_it() {
        for (path, mut command) in commands() {
            let help = command.render_long_help().to_string();
            let examples = help.split("Examples:").nth(1).unwrap_or_default();
            assert!(examples.contains(&path), "{path}:\n{help}");
            assert!(command.get_about().is_some(), "{path}");
        }
    }

    #[test]
    fn every_example_in_the_help_can_be_given() {
        for (path, command) in commands() {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = examples.lines().filter_map(|line| line.strip_prefix("  allot "));
            for line in lines {
                let words = words(line);
                let parsed = Cli::try_parse_from(std::iter::once("allot".to_owned()).chain(words));
                assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.unwrap_err());
            }
        }
    }

    /// The words of an example up to a pipe, a redirection or a remark, as a shell would split them.
    fn words(line: &str) -> Vec<String> {
        let command = line.split(" | ").next().unwrap_or(line).split(" > ").next().unwrap_or(line);
        let mut words = Vec::new();
        for (index, part) in command.split(" && ").next().unwrap_or(command).split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                let text = part.split("   ").next().unwrap_or(part);
                words.extend(text.split_whitespace().map(str::to_owned));
            }
        }
        words
    }

    #[test]
    fn what_every_command_takes_may_stand_anywhere() {
        let cli =
            Cli::try_parse_from(["allot", "jobs", "-o", "json", "--exact", "--nats", "nats://h:1"]).unwrap();
        assert_eq!((cli.global.output, cli.global.exact), (Format::Json, true));
        assert_eq!(cli.global.nats.as_deref(), Some("nats://h:1"));
    }

    #[test]
    fn mistakes_name_what_is_allowed() {
        let cases = [
            (vec!["allot", "queue", "set", "research", "--weight", "0"], "1..=1000000"),
            (vec!["allot", "cancel"], "<JOB|--queue <QUEUE>|--state <STATE>|"),
            (vec!["allot", "wait"], "<JOB|--queue <QUEUE>|--state <STATE>|"),
            (vec!["allot", "cancel", "twelve"], "whole number"),
            (vec!["allot", "jobs", "--queue", "a..b"], "joined by dots"),
            (vec!["allot", "agent", "drain", "a.b"], "letters, digits"),
        ];
        for (words, part) in cases {
            let error = Cli::try_parse_from(words).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
