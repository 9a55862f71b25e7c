//! `allot up`: a whole cluster in one process.

mod data_dir;
mod machine;
mod nats;
mod services;

use std::path::PathBuf;
use std::time::Duration;

use allot_bus::Subject;
use allot_engine::{InvalidPolicy, Policy};
use allot_model::view::{AgentState, Done, PolicyUseCommand, PolicyView};
use allot_model::{AgentId, PolicyName, PoolName, Resources, Span};
use allot_shell::{Bus, NatsConfig, telemetry};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{interval, timeout};

use crate::client::{Client, settings};
use crate::failure::Failure;
use crate::output::{Output, note};
use data_dir::DataDir;
use nats::NatsServer;
use services::Services;

/// Where nats-server listens unless another port is given.
const PORT: u16 = 4222;
/// What is logged unless `ALLOT_LOG` says otherwise: what needs a person.
const LOG: &str = "warn";
/// How long a server of someone else's is waited for.
const CONNECT_WITHIN: Span = Span::from_secs(10);
/// How long the cluster may take until it takes tasks.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Start a whole cluster on this machine, in one process.
///
/// Starts a nats-server that keeps everything under the data directory and listens on the loopback interface only,
/// then the registry, the offers service, the dispatcher, the agents and the policy's allocator. Prints one line once
/// it takes jobs. Ctrl-C stops all of it, running tasks included; what was submitted is still there at the next start.
/// With --nats or ALLOT_NATS the server is one that runs already, and its cluster is joined.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot up
  allot up --agents 3 --agent-resources cpus=4,mem=8GiB
  allot up --policy fair,fifo              fair decides, fifo stands by for `allot policy use fifo`
  allot up --policy fair:resource=mem      options follow the name; docs/policies.md has them
  allot up --data-dir ./cluster --port 0   several clusters on one machine
  allot up --nats nats://bus.example.org:4222

nats-server is looked for in ALLOT_NATS_SERVER, in .tools/ here and in the directories above, and on the PATH.
ALLOT_LOG=info logs what the services do.")]
pub struct UpArgs {
    /// Where everything is kept [default: $XDG_STATE_HOME/allot, or ~/.local/state/allot].
    #[arg(long, value_name = "DIR", env = "ALLOT_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The port of the nats-server that is started, 4222 unless given; 0 for any that is free. Refused beside the address of a
    /// server that runs already, be it from --nats or from ALLOT_NATS.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// How many agents; 0 for a cluster that others join, or that scenarios are played in.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=1_000))]
    agents: u32,
    /// What each agent has, such as cpus=4,mem=8GiB or {"gpus": ["0", "1"]}; its part of this machine unless given.
    #[arg(long, value_name = "RESOURCES", value_parser = machine::resources)]
    agent_resources: Option<Resources>,
    /// The policies, with their options: the first one decides, the others stand by.
    #[arg(long, value_name = "POLICIES", env = "ALLOT_POLICY", default_value = "drf", value_parser = Policies::parse)]
    policy: Policies,
    /// Let agents take tasks of the `noop` executor, which run nothing: for measuring the control plane.
    #[arg(long)]
    noop: bool,
}

/// Policies as they are given: `fair:resource=mem,fifo`.
#[derive(Debug, Clone)]
struct Policies(Vec<Policy>);

impl Policies {
    fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        Policy::parse_list(text).map(Self)
    }

    /// The one that is to decide.
    fn first(&self) -> Option<&PolicyName> {
        self.0.first().map(|policy| &policy.name)
    }
}

/// Starts a cluster and keeps it up until a signal comes or a part of it fails.
///
/// # Errors
/// Where it cannot be started, or a part of it fails.
pub async fn run(args: UpArgs, nats: Option<String>, output: &Output) -> Result<(), Failure> {
    if let (Some(port), Some(url)) = (args.port, &nats) {
        return Err(two_servers(port, url));
    }
    telemetry::init_at(LOG).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut signals = Signals::listen()?;
    let data_dir = DataDir::take(args.data_dir.clone().unwrap_or_else(data_dir::default_path))?;
    let mut server = match nats {
        None => Some(NatsServer::start(&data_dir, args.port.unwrap_or(PORT)).await?),
        Some(_) => None,
    };
    let url = nats.or_else(|| server.as_ref().map(|server| server.url().to_owned()));
    let config = NatsConfig { connect_timeout: CONNECT_WITHIN, ..settings(url.as_deref())? };
    let mut cluster = Services::default();
    let came_up = tokio::select! {
        up = come_up(&mut cluster, &args, &config, &data_dir, output) => up,
        () = signals.next() => Err(Failure::Exit(0)),
    };
    let ended = match came_up {
        Ok(()) => stay_up(&mut cluster, server.as_mut(), &mut signals).await,
        Err(failure) => Err(failure),
    };
    tokio::select! {
        () = cluster.stop() => {}
        () = signals.next() => note("allot: told again to stop, leaving the tasks to the next start"),
    }
    if let Some(server) = server {
        server.stop().await;
    }
    ended
}

/// A port says that a server is to be started, and an address that one runs already.
fn two_servers(port: u16, url: &str) -> Failure {
    Failure::Usage(format!(
        "--port {port} is for a nats-server that is started here, and {url} (--nats or ALLOT_NATS) is one that runs already\n\
         to start one, `unset ALLOT_NATS` and leave out --nats; to join the one that runs, leave out --port"
    ))
}

/// Starts the services, and says so once the cluster takes tasks.
async fn come_up(
    cluster: &mut Services,
    args: &UpArgs,
    config: &NatsConfig,
    data_dir: &DataDir,
    output: &Output,
) -> Result<(), Failure> {
    let bus = connect(config, "allot-up").await?;
    bus.ensure_streams().await.map_err(|error| Failure::failed(format!("{error:#}")))?;
    cluster.start_core(config, &args.policy.0).await?;
    let agents = machine::agents(args.agents, args.agent_resources.as_ref(), data_dir, args.noop)?;
    let ids: Vec<AgentId> = agents.iter().filter_map(|agent| agent.id.clone()).collect();
    cluster.start_agents(config, agents).await?;
    cluster.start_allocators(config, &args.policy.0).await?;
    let client = Client::new(bus);
    let spinner = output.spinner();
    let ready = timeout(READY_WITHIN, until_ready(&client, &ids, args, &spinner));
    let came = tokio::select! {
        ready = ready => ready.map_err(|_| not_ready()).and_then(|ready| ready),
        failure = cluster.failed() => Err(failure),
    };
    spinner.finish_and_clear();
    came?;
    let ready = Ready {
        url: config.url.clone(),
        agents: ids.len(),
        policy: args.policy.first().map(ToString::to_string).unwrap_or_default(),
        data_dir: data_dir.path().to_owned(),
    };
    output.print_line(&ready, Ready::text)
}

fn not_ready() -> Failure {
    let waited = Span::from_secs(READY_WITHIN.as_secs());
    Failure::failed(format!(
        "the cluster takes no tasks after {waited}: ALLOT_LOG=info shows what its parts do"
    ))
}

/// Keeps the cluster up; returns where it is to be stopped, with the failure of the part that ended by itself.
async fn stay_up(
    cluster: &mut Services,
    server: Option<&mut NatsServer>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let server_ended = async {
        match server {
            Some(server) => server.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signals.next() => Ok(()),
        failure = cluster.failed() => Err(failure),
        failure = server_ended => Err(failure),
    }
}

/// What is said once the cluster takes jobs.
#[derive(Debug, Serialize)]
struct Ready {
    url: String,
    agents: usize,
    policy: String,
    data_dir: PathBuf,
}

impl Ready {
    fn text(&self) -> String {
        let Self { url, agents, policy, data_dir } = self;
        let agents = match agents {
            0 => "no agents".to_owned(),
            1 => "1 agent".to_owned(),
            _ => format!("{agents} agents"),
        };
        let at = if url.ends_with(":4222") { String::new() } else { format!(" --nats {url}") };
        format!(
            "ready at {url} with {agents} and policy {policy}, data in {}: submit with `allot{at} run -- hostname`",
            data_dir.display()
        )
    }
}

/// Waits until all agents are admitted and the wanted policy decides.
async fn until_ready(
    client: &Client,
    agents: &[AgentId],
    args: &UpArgs,
    spinner: &ProgressBar,
) -> Result<(), Failure> {
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        // Services that are still on their way answer nothing yet.
        let there = admitted(client, agents).await.unwrap_or(0);
        if there < agents.len() {
            spinner.set_message(format!("waiting for agents: {there} of {} are there", agents.len()));
        } else if decides(client, args).await.unwrap_or(false) {
            return Ok(());
        } else {
            spinner.set_message("waiting for the policy to decide");
        }
    }
}

/// How many of the agents are admitted.
async fn admitted(client: &Client, agents: &[AgentId]) -> Result<usize, Failure> {
    let views = client.agents().await?;
    let working = |state| matches!(state, AgentState::Ready | AgentState::Draining | AgentState::Drained);
    let is_there = |agent: &&AgentId| views.iter().any(|view| view.agent == **agent && working(view.state));
    Ok(agents.iter().filter(is_there).count())
}

/// True once the first policy decides. Asks for it where another does, such as the one chosen before.
async fn decides(client: &Client, args: &UpArgs) -> Result<bool, Failure> {
    let Some(wanted) = args.policy.first() else { return Ok(false) };
    let pool = PoolName::default_pool();
    let view: PolicyView = client.ask(&Subject::PoolPolicy(pool.clone()), &json!({})).await?;
    if view.allocators.iter().any(|allocator| allocator.active && allocator.policy == *wanted) {
        return Ok(true);
    }
    if view.chosen.as_ref() != Some(wanted) {
        let command = PolicyUseCommand { policy: wanted.clone() };
        let _: Done = client.ask(&Subject::PoolUse(pool), &command).await?;
    }
    Ok(false)
}

async fn connect(config: &NatsConfig, name: &str) -> Result<Bus, Failure> {
    let failed = |error| Failure::Unreachable(format!("{:#}", anyhow::Error::from(error)));
    Bus::connect(config, name).await.map_err(failed)
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_says_how_to_submit() {
        let mut ready = Ready {
            url: "nats://127.0.0.1:4222".into(),
            agents: 1,
            policy: "drf".into(),
            data_dir: "/d".into(),
        };
        assert_eq!(
            ready.text(),
            "ready at nats://127.0.0.1:4222 with 1 agent and policy drf, data in /d: submit with `allot run -- hostname`"
        );
        ready.url = "nats://127.0.0.1:4000".into();
        assert!(ready.text().ends_with("`allot --nats nats://127.0.0.1:4000 run -- hostname`"));
    }

    #[test]
    fn a_port_beside_a_server_that_runs_already_is_refused_with_both() {
        let said = two_servers(14_622, "nats://bus:4222");
        assert_eq!(said.exit_code(), 2);
        for part in ["--port 14622", "nats://bus:4222", "unset ALLOT_NATS", "leave out --port"] {
            assert!(said.to_string().contains(part), "{said}");
        }
    }

    #[test]
    fn a_policy_that_does_not_exist_is_refused_with_those_that_do() {
        assert!(Policies::parse("wfq").unwrap_err().to_string().contains("drf"));
        let several = Policies::parse("fair:resource=mem,order=fifo,drf").unwrap();
        assert_eq!(several.first().unwrap().as_str(), "fair");
        assert_eq!(several.0.len(), 2);
    }
}
