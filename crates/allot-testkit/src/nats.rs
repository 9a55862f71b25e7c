//! A nats-server of one's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use allot_shell::{Bus, NatsConfig};
use anyhow::Context;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::routes::Routes;
use crate::wait::eventually;

/// The environment variable that names the program.
const PROGRAM: &str = "ALLOT_NATS_SERVER";
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often another port is tried, should someone else take the one that was free.
const TRIES: usize = 5;

/// A nats-server with JetStream on a free port of the loopback interface, in a directory of its own. Killed when
/// dropped.
#[derive(Debug)]
pub struct NatsServer {
    dir: TempDir,
    port: u16,
    /// More lines of its configuration.
    more: String,
    process: Option<Child>,
}

impl NatsServer {
    /// Starts one and waits until JetStream answers.
    ///
    /// # Errors
    /// Where the program is not found or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with("").await
    }

    /// Starts one with more lines in its configuration, such as users and what they may do.
    ///
    /// # Errors
    /// Where the program is not found or does not start.
    pub async fn start_with(more: &str) -> anyhow::Result<Self> {
        let mut last = anyhow::anyhow!("nats-server was not started");
        for _ in 0..TRIES {
            let mut server =
                Self { dir: TempDir::new()?, port: free_port()?, more: more.to_owned(), process: None };
            match server.start_again().await {
                Ok(()) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts one with a copy of what another had in JetStream.
    ///
    /// # Errors
    /// As [`NatsServer::start`], and where the folder cannot be copied.
    pub async fn start_on(jetstream: &Path) -> anyhow::Result<Self> {
        let mut server = Self::start().await?;
        server.kill();
        let ours = server.jetstream();
        std::fs::remove_dir_all(&ours)?;
        copy_folder(jetstream, &ours)?;
        server.start_again().await?;
        Ok(server)
    }

    /// The folder in which it has what is in JetStream.
    #[must_use]
    pub fn jetstream(&self) -> PathBuf {
        self.dir.path().join("jetstream")
    }

    /// Starts so many as one cluster, which find each other by routes that can be broken, and by no other way.
    ///
    /// # Errors
    /// Where the program is not found or one does not start.
    pub async fn start_cluster(count: usize) -> anyhow::Result<(Vec<Self>, Routes)> {
        let ports = (0..count).map(|_| free_port()).collect::<anyhow::Result<Vec<u16>>>()?;
        let routes = Routes::between(&ports).await?;
        let start = |(number, port): (usize, &u16)| {
            let peers = routes.from(number).join(", ");
            // Nobody listens at what it advertises: peers that hear of it from others go on by their routes.
            let more = format!(
                "server_name: n{number}\ncluster {{ name: allot, listen: \"127.0.0.1:{port}\", advertise: \
                 \"127.0.0.1:1\", no_advertise: true, routes: [{peers}] }}"
            );
            async move { Self::start_with(&more).await }
        };
        let servers = futures::future::try_join_all(ports.iter().enumerate().map(start)).await?;
        Ok((servers, routes))
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How a service reaches it.
    #[must_use]
    pub fn config(&self) -> NatsConfig {
        NatsConfig { url: self.url(), ..NatsConfig::default() }
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn bus(&self) -> anyhow::Result<Bus> {
        Ok(Bus::connect(&self.config(), "test").await?)
    }

    /// A new connection to it, with all streams set up.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn bus_with_streams(&self) -> anyhow::Result<Bus> {
        let bus = self.bus().await?;
        bus.ensure_streams().await?;
        Ok(bus)
    }

    /// Kills it as a power failure would. Its directory stays.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only where it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it after [`NatsServer::kill`], on the same port and directory, and waits until JetStream answers.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Starts it after [`NatsServer::kill`], without waiting for it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        let config = self.write_config()?;
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        let process = Command::new(program())
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .with_context(|| {
                format!("cannot start {}: fetch it with `cargo xtask tools`", program().display())
            })?;
        self.process = Some(process);
        Ok(())
    }

    /// Sends it a signal; nothing where it does not run.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            // Fails only where it has ended by itself.
            let _ = rustix::process::kill_process(Pid::from_child(process), signal);
        }
    }

    /// Kills it and starts it again.
    ///
    /// # Errors
    /// Where it does not start again.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.start_again().await
    }

    fn write_config(&self) -> anyhow::Result<PathBuf> {
        let path = self.dir.path().join("nats.conf");
        let store = self.jetstream();
        let port = self.port;
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n{more}\n",
            store = store.display().to_string(),
            more = self.more,
        );
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Starts it where it does not run, and waits until JetStream answers.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        if self.process.is_none() {
            self.spawn()?;
        }
        self.ready().await
    }

    /// Waits until JetStream answers.
    ///
    /// # Errors
    /// Where it ends instead.
    async fn ready(&mut self) -> anyhow::Result<()> {
        let port = self.port;
        let mut ended = || self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
        let outcome = eventually("nats-server answers", PATIENCE, || {
            let ended = ended();
            async move { if ended.is_some() { Some(ended) } else { answers(port).await.then_some(None) } }
        });
        match outcome.await {
            None => Ok(()),
            Some(status) => anyhow::bail!("nats-server ended with {status}: {}", self.log()),
        }
    }

    /// Has its directory stay, and returns it.
    pub fn keep(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether JetStream answers. A server announces it only once its streams are there.
async fn answers(port: u16) -> bool {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let Ok(connection) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut hello = String::new();
    BufReader::new(connection).read_line(&mut hello).await.is_ok() && hello.contains("\"jetstream\":true")
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// Where something cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &into)?;
        } else {
            std::fs::copy(entry.path(), into)?;
        }
    }
    Ok(())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The program: as the environment says, as `cargo xtask tools` fetched it, or from the search path.
fn program() -> PathBuf {
    let given = std::env::var_os(PROGRAM).map(PathBuf::from);
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats-server");
    given.or_else(|| fetched.exists().then_some(fetched)).unwrap_or_else(|| "nats-server".into())
}
