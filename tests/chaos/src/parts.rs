//! The programs, each with its own way to the nats-server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use allot_testkit::{Launch, Programs, Proxy, built};
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
    ways: BTreeMap<String, Proxy>,
    /// Those that something is wrong with, or that were ended on purpose.
    pub(crate) broken: BTreeSet<String>,
}

impl Parts {
    /// Starts everything.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let programs = Programs::start().await?;
        let mut parts = Self { programs, ways: BTreeMap::new(), broken: BTreeSet::new() };
        parts.programs.nats.bus_with_streams().await?;
        for number in 1..=options.instances {
            for service in SERVICES {
                let settings: &[&str] = match service {
                    "registry" => &["agent_timeout=2s", "beat_every=400ms", "standby.takeover_after=500ms"],
                    "allocator-drf" => &[],
                    _ => &["standby.takeover_after=500ms"],
                };
                let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
                parts.add(format!("{service}-{number}"), &format!("allot-{service}"), settings).await?;
            }
        }
        for number in 1..=options.agents {
            let id = format!("a{number}");
            let data_dir = parts.programs.dir().join(&id);
            let settings = vec![
                format!("id={id}"),
                format!("data_dir={}", data_dir.display()),
                format!("resources.cpus={CPUS}"),
                "resources.mem=4GiB".to_owned(),
                "stop_grace=500ms".to_owned(),
            ];
            parts.add(id, "allot-agent", settings).await?;
        }
        Ok(parts)
    }

    async fn add(&mut self, name: String, program: &str, settings: Vec<String>) -> anyhow::Result<()> {
        let way = Proxy::before(&self.programs.nats).await?;
        let mut arguments = vec!["--nats".to_owned(), way.url()];
        arguments.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        self.programs
            .launch(&name, Launch { program: built(program)?, arguments, environment: Vec::new() })?;
        self.ways.insert(name, way);
        Ok(())
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.ways.keys().cloned().collect()
    }

    /// True for agents.
    pub(crate) fn is_agent(name: &str) -> bool {
        !SERVICES.iter().any(|service| name.starts_with(service))
    }

    /// The way of a part to the nats-server.
    pub(crate) fn way(&self, name: &str) -> anyhow::Result<&Proxy> {
        self.ways.get(name).with_context(|| format!("no part is called {name}"))
    }

    /// The file that tasks write to.
    pub(crate) fn journal(&self) -> PathBuf {
        self.programs.dir().join("journal")
    }

    /// Sends a signal to a program; to an agent's guardian and to the agent below it.
    pub(crate) fn signal(&mut self, name: &str, signal: Signal) {
        self.programs.signal(name, signal);
        if let Some(agent) = self.agent_below(name) {
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

    /// Starts what has ended of its own, as a service manager does.
    pub(crate) fn revive(&mut self) -> anyhow::Result<()> {
        for name in self.programs.ended() {
            if !self.broken.contains(&name) {
                self.programs.restart(&name)?;
            }
        }
        Ok(())
    }

    /// Mends everything.
    pub(crate) async fn heal_all(&mut self) -> anyhow::Result<()> {
        self.programs.nats.restart().await?;
        for name in self.names() {
            self.way(&name)?.heal();
            self.signal(&name, Signal::CONT);
        }
        self.broken.clear();
        self.revive()
    }

    /// Says where the logs are, and has them stay there.
    pub(crate) fn keep_logs(&mut self) {
        let dir = std::env::temp_dir().join(format!("allot-chaos-{}", std::process::id()));
        let kept = std::fs::create_dir_all(&dir).and_then(|()| {
            for name in self.names() {
                std::fs::write(dir.join(format!("{name}.log")), self.programs.log(&name))?;
            }
            std::fs::copy(self.journal(), dir.join("journal"))
        });
        match kept {
            Ok(_) => eprintln!("logs and the journal of the tasks: {}", dir.display()),
            Err(error) => eprintln!("the logs cannot be kept: {error}"),
        }
    }
}
