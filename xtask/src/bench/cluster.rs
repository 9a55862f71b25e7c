//! A cluster on this machine, each part a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::process::{Running, Spent, emptied};
use crate::run::root;

/// The services, by the ends of their programs' names.
pub(crate) const SERVICES: [&str; 4] = ["registry", "offers", "dispatcher", "allocator-drf"];

/// So many agents, and a few more, fit into one answer of the registry.
const MOST_LISTED: usize = 4_000;
/// How long the cluster may take until it takes tasks.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) nats_server: PathBuf,
    pub(crate) folder: PathBuf,
}

/// What agents the cluster has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Agents {
    /// So many processes, each an agent of so many cpus.
    Real { agents: u32, cpus: u32 },
    /// So many agents of so many cpus in one process, which run nothing.
    Modelled { agents: u32, cpus: u32 },
    /// So many processes, each an agent of so many cpus that runs nothing, which are missed after [`MISSED_AFTER`].
    Apart { agents: u32, cpus: u32 },
}

/// How the registry is set where agents are to be missed soon, and when they are.
const IMPATIENT: [&str; 2] = ["agent_timeout=3s", "beat_every=1s"];
pub(crate) const MISSED_AFTER: Duration = Duration::from_secs(3);

impl Agents {
    fn count(self) -> u32 {
        match self {
            Self::Real { agents, .. } | Self::Modelled { agents, .. } | Self::Apart { agents, .. } => agents,
        }
    }
}

/// A cluster. It stops when this is dropped, nats-server last.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    program: PathBuf,
    url: String,
    agents: Vec<Running>,
    services: Vec<Running>,
    /// How the registry is set.
    registry: &'static [&'static str],
    /// Services that were killed, to be started again.
    killed: Vec<String>,
    /// How many services were started so far.
    started: usize,
    nats: Running,
}

impl Cluster {
    /// Starts one with an empty ledger, and waits until it takes tasks.
    pub(crate) fn start(programs: &Programs, agents: Agents) -> Result<Self> {
        Self::start_several(programs, agents, 1)
    }

    /// The same with so many instances of each service.
    pub(crate) fn start_several(programs: &Programs, agents: Agents, instances: usize) -> Result<Self> {
        let missing = programs.folder.join("allot");
        ensure!(missing.exists(), "{} is not there: leave out --no-build", missing.display());
        let dir = root().join("target/bench/cluster");
        emptied(&dir)?;
        let mut nats = start_nats(programs, &dir)?;
        let url = nats_url(&mut nats, &dir)?;
        let program = programs.folder.join("allot");
        let mut cluster = Self {
            dir,
            program,
            url,
            agents: Vec::new(),
            services: Vec::new(),
            registry: if matches!(agents, Agents::Apart { .. }) { &IMPATIENT } else { &[] },
            killed: Vec::new(),
            started: 0,
            nats,
        };
        cluster.killed = SERVICES.iter().flat_map(|name| vec![(*name).to_owned(); instances]).collect();
        cluster.start_killed(programs)?;
        cluster.start_agents(programs, agents)?;
        cluster.wait_until_ready(agents.count() as usize)?;
        Ok(cluster)
    }

    /// Starts again what was killed.
    pub(crate) fn start_killed(&mut self, programs: &Programs) -> Result<()> {
        for name in std::mem::take(&mut self.killed) {
            self.started += 1;
            let settings = if name == "registry" { self.registry } else { &[] };
            let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
            let running = self.spawn(programs, &format!("{name}-{}", self.started), &name, &settings)?;
            self.services.push(running);
        }
        Ok(())
    }

    /// Starts another service, beside those that every cluster has.
    pub(crate) fn start_beside(&mut self, programs: &Programs, name: &str) -> Result<()> {
        self.killed.push(name.to_owned());
        self.start_killed(programs)
    }

    /// Kills the service with this process.
    pub(crate) fn kill(&mut self, pid: u32) -> Result<()> {
        let place = self.services.iter().position(|running| running.pid() == pid);
        let mut running = self.services.swap_remove(place.context("no service has this process")?);
        running.kill();
        let (service, _number) = running.name().rsplit_once('-').context("its name has no number")?;
        self.killed.push(service.to_owned());
        Ok(())
    }

    /// Kills every instance of a service.
    pub(crate) fn kill_service(&mut self, service: &str) -> Result<()> {
        let is_one =
            |running: &&Running| running.name().rsplit_once('-').is_some_and(|(name, _)| name == service);
        let pids: Vec<u32> = self.services.iter().filter(is_one).map(Running::pid).collect();
        pids.into_iter().try_for_each(|pid| self.kill(pid))
    }

    /// Kills the process of an agent for good, guardian first.
    pub(crate) fn kill_agent(&mut self, agent: &str) -> Result<()> {
        let is_of = |running: &Running| agent.starts_with(running.name());
        let place = self.agents.iter().position(is_of).with_context(|| format!("{agent} has no process"))?;
        self.agents.swap_remove(place).kill();
        Ok(())
    }

    /// Kills all services, but neither agents nor nats-server.
    pub(crate) fn kill_services(&mut self) -> Result<()> {
        let pids: Vec<u32> = self.services.iter().map(Running::pid).collect();
        pids.into_iter().try_for_each(|pid| self.kill(pid))
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn start_agents(&mut self, programs: &Programs, agents: Agents) -> Result<()> {
        let common = |id: &str, cpus: u32| {
            vec![format!("id={id}"), format!("cpus={cpus}"), "mem=64GiB".to_owned(), "disk=0".to_owned()]
        };
        match agents {
            Agents::Real { agents, cpus } => {
                for number in 1..=agents {
                    let id = format!("a{number}");
                    let mut settings = common(&id, cpus);
                    settings.push(format!("data_dir={}", self.dir.join(&id).display()));
                    settings.push("noop=true".to_owned());
                    let running = self.spawn(programs, &id, "agent", &settings)?;
                    self.agents.push(running);
                }
            }
            Agents::Modelled { agents, cpus } => {
                let mut settings = common("m", cpus);
                settings.push(format!("modelled={agents}"));
                let running = self.spawn(programs, "modelled", "agent", &settings)?;
                self.agents.push(running);
            }
            Agents::Apart { agents, cpus } => {
                for number in 1..=agents {
                    let id = format!("a{number:02}");
                    let mut settings = common(&id, cpus);
                    settings.push("modelled=1".to_owned());
                    let running = self.spawn(programs, &id, "agent", &settings)?;
                    self.agents.push(running);
                }
            }
        }
        Ok(())
    }

    fn spawn(&self, programs: &Programs, name: &str, program: &str, settings: &[String]) -> Result<Running> {
        let mut command = Command::new(programs.folder.join(format!("allot-{program}")));
        command.args(["--nats", &self.url]).env("ALLOT_LOG", "warn");
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        Running::start(name, &mut command, &self.dir)
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "waits for another program, which says nothing when it is ready"
    )]
    fn wait_until_ready(&mut self, agents: usize) -> Result<()> {
        let begun = Instant::now();
        while !self.is_ready(agents) {
            for running in self.services.iter_mut().chain(&mut self.agents).chain([&mut self.nats]) {
                running.check(&self.dir)?;
            }
            if begun.elapsed() > READY_WITHIN {
                bail!(
                    "the cluster takes no tasks after {} s: see the logs in {}",
                    READY_WITHIN.as_secs(),
                    self.dir.display()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn is_ready(&self, agents: usize) -> bool {
        let ready = |views: Value| {
            let states =
                views.as_array().map(|views| views.iter().filter(|view| view["state"] == "ready").count());
            states == Some(agents)
        };
        let decides = |view: Value| {
            view["allocators"].as_array().is_some_and(|all| all.iter().any(|one| one["active"] == true))
        };
        // More agents than fit into one answer are waited for by whoever fills them.
        let are_there = agents > MOST_LISTED || self.allot(&["agents"]).is_ok_and(ready);
        are_there && self.allot(&["policy"]).is_ok_and(decides)
    }

    /// What a command answers; the last of it where it answers with several documents.
    pub(crate) fn allot(&self, words: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(["-o", "json", "--nats", &self.url]).args(words);
        let said = command.output().with_context(|| format!("cannot start {}", self.program.display()))?;
        if !said.status.success() {
            bail!("`allot {}` failed: {}", words.join(" "), String::from_utf8_lossy(&said.stderr).trim());
        }
        let documents = serde_json::Deserializer::from_slice(&said.stdout).into_iter();
        documents
            .last()
            .with_context(|| format!("`allot {}` answered nothing", words.join(" ")))?
            .map_err(Into::into)
    }

    /// What `allot bench` measures with these words, and what nats-server cost meanwhile under `nats_server`.
    pub(crate) fn bench(&self, words: &str) -> Result<Value> {
        let before = self.nats.spent()?;
        let words: Vec<&str> = ["bench"].into_iter().chain(words.split_whitespace()).collect();
        let mut measured = self.allot(&words)?;
        let after = self.nats.spent()?;
        measured["nats_server"] =
            serde_json::to_value(Spent { cpu_us: after.cpu_us - before.cpu_us, ..after })?;
        Ok(measured)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.agents.iter_mut().chain(&mut self.services).for_each(Running::stop);
        self.nats.stop();
    }
}

fn start_nats(programs: &Programs, dir: &Path) -> Result<Running> {
    let quoted = |path: &Path| format!("{:?}", path.to_string_lossy());
    let text = format!(
        "listen: \"127.0.0.1:-1\"\nports_file_dir: {}\njetstream {{ store_dir: {}, sync_interval: always }}\n",
        quoted(dir),
        quoted(&dir.join("jetstream"))
    );
    let config = dir.join("nats.conf");
    fs::write(&config, text)?;
    Running::start("nats", Command::new(&programs.nats_server).arg("--config").arg(config), dir)
}

/// Where it listens, once it has said so.
#[allow(
    clippy::disallowed_methods,
    reason = "waits for another program, which says where it listens in a file"
)]
fn nats_url(nats: &mut Running, dir: &Path) -> Result<String> {
    loop {
        let files = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
        let mut said = files.filter(|path| path.extension().is_some_and(|extension| extension == "ports"));
        let text = said.next().and_then(|path| fs::read(path).ok()).unwrap_or_default();
        if let Ok(ports) = serde_json::from_slice::<Value>(&text)
            && let Some(url) = ports["nats"][0].as_str()
        {
            return Ok(url.to_owned());
        }
        nats.check(dir)?;
        std::thread::sleep(Duration::from_millis(20));
    }
}
