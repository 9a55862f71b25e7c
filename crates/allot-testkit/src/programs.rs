//! The real programs as processes, to be killed and started again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use allot_shell::NatsConfig;
use anyhow::Context;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::nats::NatsServer;
use crate::routes::Routes;
use crate::tasks::kill_tasks;
use crate::wait::{PATIENCE, eventually};

/// A cluster of real processes over a nats-server of its own. Whatever still runs is killed when it is dropped,
/// with what its agents have started.
#[derive(Debug)]
pub struct Programs {
    /// The bus; of a cluster of servers, the first.
    pub nats: NatsServer,
    /// The other servers of its cluster.
    pub peers: Vec<NatsServer>,
    /// How the servers of its cluster reach each other.
    pub routes: Routes,
    dir: TempDir,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    launch: Launch,
    process: Child,
}

/// How a program is started: its path, its arguments, and what its environment has beside ours.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables that are set for it.
    pub environment: Vec<(String, String)>,
}

impl Programs {
    /// A nats-server, and nothing else yet.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::over(NatsServer::start().await?, Vec::new(), Routes::default())
    }

    /// A nats-server with a copy of what another had in JetStream, and nothing else yet.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn start_on(jetstream: &Path) -> anyhow::Result<Self> {
        Self::over(NatsServer::start_on(jetstream).await?, Vec::new(), Routes::default())
    }

    /// A cluster of three nats-servers, each stream kept on all of them, and nothing else yet.
    ///
    /// # Errors
    /// Where they do not start.
    pub async fn over_three_servers() -> anyhow::Result<Self> {
        let (mut servers, routes) = NatsServer::start_cluster(3).await?;
        let first = servers.remove(0);
        Self::over(first, servers, routes)
    }

    fn over(nats: NatsServer, peers: Vec<NatsServer>, routes: Routes) -> anyhow::Result<Self> {
        Ok(Self { nats, peers, routes, dir: TempDir::new()?, running: BTreeMap::new() })
    }

    /// All servers.
    pub fn servers(&self) -> impl Iterator<Item = &NatsServer> {
        std::iter::once(&self.nats).chain(&self.peers)
    }

    /// All servers, to be broken.
    pub fn servers_mut(&mut self) -> impl Iterator<Item = &mut NatsServer> {
        std::iter::once(&mut self.nats).chain(&mut self.peers)
    }

    /// How NATS is reached: all servers of its cluster, and on how many of them each stream is kept.
    #[must_use]
    pub fn config(&self) -> NatsConfig {
        let url = self.servers().map(NatsServer::url).collect::<Vec<_>>().join(",");
        NatsConfig { url, replicas: self.servers().count(), ..self.nats.config() }
    }

    /// The three services, without an allocator and without agents.
    ///
    /// # Errors
    /// Where a program is not built or does not start.
    pub async fn services() -> anyhow::Result<Self> {
        let mut programs = Self::start().await?;
        for service in ["registry", "offers", "dispatcher"] {
            programs.spawn(service, &format!("allot-{service}"), &[])?;
        }
        Ok(programs)
    }

    /// A cluster: the three services, an allocator of this policy, and agents `a1`, `a2`, … with so many cpus each.
    ///
    /// # Errors
    /// Where a program is not built or does not start.
    pub async fn cluster(policy: &str, agents: usize, cpus: u32) -> anyhow::Result<Self> {
        let mut programs = Self::services().await?;
        programs.spawn("allocator", &format!("allot-allocator-{policy}"), &[])?;
        for number in 1..=agents {
            programs.spawn_agent(&format!("a{number}"), cpus)?;
        }
        Ok(programs)
    }

    /// An agent with this id and so many cpus.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn spawn_agent(&mut self, id: &str, cpus: u32) -> anyhow::Result<()> {
        let data_dir = self.dir.path().join(id);
        let settings = [
            format!("id={id}"),
            format!("data_dir={}", data_dir.display()),
            format!("resources.cpus={cpus}"),
            "resources.mem=4GiB".to_owned(),
        ];
        self.spawn(id, "allot-agent", &settings)
    }

    /// Starts a program under this name, with settings such as `id=a1`.
    ///
    /// # Errors
    /// Where it is not built or does not start.
    pub fn spawn(&mut self, name: &str, program: &str, settings: &[String]) -> anyhow::Result<()> {
        let NatsConfig { url, replicas, .. } = self.config();
        let mut arguments = vec!["--nats".to_owned(), url];
        if replicas > 1 {
            arguments.extend(["--set".to_owned(), format!("nats.replicas={replicas}")]);
        }
        arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
        self.launch(name, Launch { program: built(program)?, arguments, environment: Vec::new() })
    }

    /// Starts any program under this name.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn launch(&mut self, name: &str, launch: Launch) -> anyhow::Result<()> {
        let log = self.dir.path().join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let process = Command::new(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
            .with_context(|| format!("cannot start {}", launch.program.display()))?;
        self.running.insert(name.to_owned(), Running { launch, process });
        Ok(())
    }

    /// The process of this name, where there is one that was not killed.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<Pid> {
        self.running.get(name).map(|running| Pid::from_child(&running.process))
    }

    /// Sends a signal to the process of this name; nothing where there is none, or it has ended.
    pub fn signal(&mut self, name: &str, signal: Signal) {
        if let Some(running) = self.running.get_mut(name)
            && matches!(running.process.try_wait(), Ok(None))
        {
            // Fails only where it has just ended.
            let _ = rustix::process::kill_process(Pid::from_child(&running.process), signal);
        }
    }

    /// Kills the process of this name with SIGKILL; nothing where there is none.
    pub fn kill(&mut self, name: &str) {
        if let Some(running) = self.running.get_mut(name) {
            // Both fail only where it has ended already.
            let _ = running.process.kill();
            let _ = running.process.wait();
        }
    }

    /// Kills it and starts it again as it was started.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        self.kill(name);
        let was = self.running.remove(name).with_context(|| format!("no process is called {name}"))?;
        self.launch(name, was.launch)
    }

    /// Asks the process of this name to stop, with SIGTERM, and waits until it has.
    ///
    /// # Errors
    /// Where there is no such process, or it ends otherwise than with the exit code 0.
    pub async fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let running = self.running.get_mut(name).with_context(|| format!("no process is called {name}"))?;
        let process = &mut running.process;
        rustix::process::kill_process(Pid::from_child(process), Signal::TERM)?;
        let stopped = || std::future::ready(process.try_wait().transpose());
        let status = eventually(&format!("{name} has stopped"), PATIENCE, stopped).await?;
        anyhow::ensure!(status.success(), "{name} ended with {status}");
        Ok(())
    }

    /// The names of the processes that have ended, though nobody killed them.
    pub fn ended(&mut self) -> Vec<String> {
        let ended = |running: &mut Running| !matches!(running.process.try_wait(), Ok(None));
        self.running.iter_mut().filter_map(|(name, running)| ended(running).then(|| name.clone())).collect()
    }

    /// The most memory that the process of this name has taken so far, bytes; nothing where it does not run.
    #[must_use]
    pub fn peak_memory(&self, name: &str) -> Option<u64> {
        let pid = self.running.get(name)?.process.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// What the process of this name has logged.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// The end of every log, for the message of a test that fails.
    #[must_use]
    pub fn logs(&self) -> String {
        let tail = |name: &String| {
            let log = self.log(name);
            let lines: Vec<&str> = log.lines().collect();
            format!("── {name} ──\n{}\n", lines[lines.len().saturating_sub(20)..].join("\n"))
        };
        self.running.keys().map(tail).collect()
    }

    /// A directory for the test's own files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Has all directories stay when this is dropped, and names them.
    pub fn keep(&mut self) -> Vec<PathBuf> {
        self.dir.disable_cleanup(true);
        let dir = self.dir.path().to_owned();
        std::iter::once(dir).chain(self.servers_mut().map(|server| server.keep().to_owned())).collect()
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        names.iter().for_each(|name| self.kill(name));
        let entries = std::fs::read_dir(self.dir()).into_iter().flatten().flatten();
        entries.for_each(|entry| kill_tasks(&entry.path()));
    }
}

/// A program of this workspace, from the directory in which this test was built.
///
/// # Errors
/// Where it is not there.
pub fn built(program: &str) -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let here = test.ancestors().map(|dir| dir.join(program)).find(|path| path.is_file());
    here.with_context(|| format!("{program} is not built: run `cargo build --workspace --bins` first"))
}
