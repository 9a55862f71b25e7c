//! The programs, each with its own ways to the nats-servers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use allot_testkit::{Launch, NatsServer, Programs, Proxy, built, tasks};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::Options;

/// The services, by the names of their programs.
const SERVICES: [&str; 4] = ["registry", "offers", "dispatcher", "allocator-drf"];
/// How many processors each agent has.
const CPUS: u32 = 8;

/// All programs and what is wrong with them.
pub(crate) struct Parts {
    pub(crate) programs: Programs,
    /// How each program reaches each server.
    ways: BTreeMap<String, Vec<Proxy>>,
    /// Those that something is wrong with, or that were ended on purpose.
    pub(crate) broken: BTreeSet<String>,
}

impl Parts {
    /// Starts everything.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let programs = Programs::over_three_servers().await?;
        let mut parts = Self { programs, ways: BTreeMap::new(), broken: BTreeSet::new() };
        for number in 1..=options.instances {
            for service in SERVICES {
                let settings = settings(service).map(str::to_owned);
                parts.add(format!("{service}-{number}"), &format!("allot-{service}"), settings).await?;
            }
        }
        for number in 1..=options.agents {
            let id = format!("a{number}");
            let own = [
                format!("id={id}"),
                format!("data_dir={}", parts.programs.dir().join(&id).display()),
                format!("resources.cpus={CPUS}"),
                "resources.mem=4GiB".to_owned(),
                "stop_grace=500ms".to_owned(),
            ];
            parts.add(id, "allot-agent", own).await?;
        }
        Ok(parts)
    }

    async fn add(
        &mut self,
        name: String,
        program: &str,
        settings: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<()> {
        let ways = futures::future::try_join_all(self.programs.servers().map(Proxy::before)).await?;
        let url = ways.iter().map(Proxy::url).collect::<Vec<_>>().join(",");
        let mut arguments = vec!["--nats".to_owned(), url];
        let replicas = format!("nats.replicas={}", ways.len());
        let settings = settings.into_iter().chain([replicas]);
        arguments.extend(settings.flat_map(|setting| ["--set".to_owned(), setting]));
        let launch = Launch { program: built(program)?, arguments, environment: Vec::new() };
        self.programs.launch(&name, launch)?;
        self.ways.insert(name, ways);
        Ok(())
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.ways.keys().cloned().collect()
    }

    /// The names of all but agents.
    pub(crate) fn services(&self) -> Vec<String> {
        self.ways.keys().filter(|name| !Self::is_agent(name)).cloned().collect()
    }

    /// True for agents.
    pub(crate) fn is_agent(name: &str) -> bool {
        !SERVICES.iter().any(|service| name.starts_with(service))
    }

    /// The ways of a part to the nats-servers; none for what is no program of allot.
    pub(crate) fn ways(&self, name: &str) -> &[Proxy] {
        self.ways.get(name).map_or(&[], Vec::as_slice)
    }

    /// A nats-server, by its number.
    pub(crate) fn server(&mut self, number: usize) -> anyhow::Result<&mut NatsServer> {
        self.programs.servers_mut().nth(number).context("there is no such nats-server")
    }

    /// The file that tasks write to.
    pub(crate) fn journal(&self) -> PathBuf {
        self.programs.dir().join("journal")
    }

    /// Sends a signal to a program; to an agent's guardian and to the agent below it.
    pub(crate) fn signal(&mut self, name: &str, signal: Signal) {
        self.programs.signal(name, signal);
        if let Some(agent) = self.agent_below(name) {
            // Fails only where it has just ended.
            let _ = kill_process(agent, signal);
        }
    }

    /// The process of an agent below its guardian.
    pub(crate) fn agent_below(&self, name: &str) -> Option<Pid> {
        let guardian = self.programs.pid(name)?.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{guardian}/task/{guardian}/children")).ok()?;
        let is_agent = |pid: &&str| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("allot-agent"))
        };
        Pid::from_raw(children.split_whitespace().find(is_agent)?.parse().ok()?)
    }

    /// Starts what has ended of its own, as a service manager does, and returns its name.
    pub(crate) fn revive(&mut self) -> anyhow::Result<Vec<String>> {
        let ended = self.programs.ended().into_iter();
        let ended: Vec<String> = ended.filter(|name| !self.broken.contains(name)).collect();
        ended.iter().try_for_each(|name| self.programs.restart(name))?;
        Ok(ended)
    }

    /// The processes of tasks that run.
    pub(crate) fn tasks(&self) -> Vec<Pid> {
        let agents = self.ways.keys().filter(|name| Self::is_agent(name));
        agents.flat_map(|agent| tasks(&self.programs.dir().join(agent))).collect()
    }
}

/// The settings of a service: such that what takes its time otherwise happens often.
fn settings(service: &str) -> impl Iterator<Item = &'static str> + use<> {
    const WRITER: [&str; 4] = [
        "standby.takeover_after=500ms",
        "snapshots.every_records=500",
        "snapshots.at_least_every=5s",
        "snapshots.keep_ledger=20s",
    ];
    let own: &[&str] = if service == "registry" { &["agent_timeout=2s", "beat_every=400ms"] } else { &[] };
    let writer: &[&str] = if service.starts_with("allocator") { &[] } else { &WRITER };
    own.iter().chain(writer).copied()
}
