//! Runs tasks as processes on one machine: the shell around [`allot_agent_core::AgentCore`].
//!
//! [`run`] is one agent. Several can run in one process, each with its own id and directory.
//!
//! An agent that is told to stop takes its tasks along: each gets SIGTERM, and SIGKILL once its grace or the agent's
//! `stop_grace` is over, and is reported as gone with the agent, so that the dispatcher tries it elsewhere where the
//! job allows that. What could not be reported by then is reported when the agent starts again.

mod agent;
mod config;
mod event;
mod executor;
pub mod guardian;
mod home;
mod inheritance;
mod journal;
mod keeper;
mod logs;
pub mod machine;
mod modelled;
mod output;
mod publisher;

use std::sync::Arc;

use allot_agent_core::{AgentCore, Input, JournalEntry, Settings};
use allot_model::{AgentFacts, Core};
use allot_shell::{Bus, Shutdown, clock};
use anyhow::Context;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use tracing::{error, info};

pub use config::Config;
pub use modelled::directed::{DirectedAgent, StageClock};

use agent::Agent;
use executor::Executor;
use executor::command::Surroundings;
use executor::mark::kill_marked;
use executor::strays::Strays;
use home::{Home, Identity};
use inheritance::Inheritance;
use journal::{Journal, JournalError};
use keeper::{Keep, Keeper};
use logs::Logs;
use output::TaskDirs;
use publisher::Publisher;

/// Runs an agent until it is told to stop.
///
/// # Errors
/// Where the configuration or the directory cannot be used, or NATS does not take the subscriptions.
pub async fn run(bus: Bus, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    if config.modelled > 0 {
        return modelled::run(bus, &config, shutdown).await;
    }
    let home = Home::open(&config.data_dir)?;
    let (identity, journal, entries) = recall(&home, &config)?;
    let inheritance = Inheritance::receive().await?;
    let facts = facts(&config, &identity)?;
    info!(agent = %facts.id, incarnation = %facts.incarnation, resources = %facts.resources, "asking to be admitted");

    let dirs = TaskDirs::new(home.tasks());
    let (events, happened) = unbounded_channel();
    let surroundings = Surroundings::new(facts.id.clone(), facts.incarnation, &facts.resources);
    let executor = Executor::start(surroundings, dirs.clone(), config.output_cap, events.clone())
        .context("cannot start the threads that spawn processes")?;
    let mut beside = JoinSet::new();
    let publisher = Publisher::start(&bus, &dirs, &events, &mut beside);

    let settings = Settings { noop: config.noop, output_wait: config.output_wait };
    let core = recovered(AgentCore::new(Arc::new(facts.clone()), settings).after(identity.ended), entries);

    let (ended, has_ended) = unbounded_channel();
    let running = executor.running().clone();
    let strays = Strays::adopt(facts.incarnation, running.clone(), dirs.clone(), guardian::above());
    let keep = Keep { tasks: config.keep_tasks, time: config.keep_for, free_bytes: config.keep_free };
    let keeper = Keeper::open(dirs.clone(), strays.clone(), keep, |attempt| {
        core.memory().begun().contains_key(&attempt)
    });
    let silent = keeper.silent();
    beside.spawn(keeper.run(has_ended));
    beside.spawn(keeper::cap_outputs(dirs.clone(), running.clone(), config.output_cap));

    let mut agent = Agent::new(bus.clone(), core, journal, executor, publisher, events, ended);
    agent.go_on(inheritance, &dirs);
    let (agent_id, admitted) = (facts.id.clone(), agent.admitted());
    beside.spawn(serve(Logs { bus, agent: agent_id, dirs, running, silent, admitted }));
    let outcome = agent.run(happened, &shutdown, config.stop_grace).await;
    strays.sweep();
    outcome
}

/// Who the agent is, and its journal. A journal that cannot be read is set aside, and with it the life it tells of.
fn recall(home: &Home, config: &Config) -> anyhow::Result<(Identity, Journal, Vec<JournalEntry>)> {
    let identity = home.identity(&config.agent_id()?)?;
    match Journal::open(&home.journal()) {
        Ok((journal, entries)) => Ok((identity, journal, entries)),
        Err(fault @ (JournalError::Line { .. } | JournalError::Entry { .. })) => {
            error!(
                error = format!("{:#}", anyhow::Error::from(fault)),
                "the journal is set aside; the agent begins anew"
            );
            kill_marked(identity.incarnation, |_| false);
            let identity = home.reborn(&identity)?;
            let (journal, entries) = Journal::open(&home.journal())?;
            Ok((identity, journal, entries))
        }
        Err(fault) => Err(fault.into()),
    }
}

/// The core, as the journal remembers it.
fn recovered(mut core: AgentCore, entries: Vec<JournalEntry>) -> AgentCore {
    let mut nothing = Vec::new();
    entries.into_iter().for_each(|entry| core.handle(clock::now(), Input::Replay(entry), &mut nothing));
    core
}

/// What the agent says of itself.
fn facts(config: &Config, identity: &Identity) -> anyhow::Result<AgentFacts> {
    let found = machine::Found {
        cpus: machine::cpus(),
        mem_bytes: machine::mem_bytes(),
        disk_bytes: identity.disk_bytes,
    };
    let facts = AgentFacts {
        id: identity.agent.clone(),
        incarnation: identity.incarnation,
        host: config.host(),
        resources: config.total(&found)?,
        attributes: config.attributes.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    facts.check().map_err(anyhow::Error::msg).context("the configuration cannot be used")?;
    Ok(facts)
}

async fn serve(logs: Logs) {
    if let Err(error) = logs.serve().await {
        error!(error = format!("{error:#}"), "cannot answer questions about outputs");
    }
}
