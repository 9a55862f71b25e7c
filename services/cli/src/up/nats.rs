//! A nats-server of our own: found, configured for durability, started as a child, stopped last.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use crate::failure::Failure;
use crate::output::note;
use crate::up::data_dir::DataDir;

/// How long it may take to start: it reads its streams first.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked whether it has started.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const CONFIG_FILE: &str = "nats-server.conf";
const LOG_FILE: &str = "nats-server.log";
const PID_FILE: &str = "nats-server.pid";

/// A nats-server that runs as a child of this process.
#[derive(Debug)]
pub(super) struct NatsServer {
    child: Child,
    url: String,
}

impl NatsServer {
    /// Starts one on the loopback interface, with its streams under `data_dir`; port 0 for any that is free.
    ///
    /// # Errors
    /// Where there is no nats-server, or it does not start.
    pub(super) async fn start(data_dir: &DataDir, port: u16) -> Result<Self, Failure> {
        let program = find()?;
        let dir = data_dir.within("nats")?;
        stop_leftover(&dir).await?;
        forget_ports(&dir).map_err(|error| data_dir.cannot_use(&error))?;
        let config = dir.join(CONFIG_FILE);
        fs::write(&config, configuration(&dir, port)).map_err(|error| data_dir.cannot_use(&error))?;
        let child = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal reaches the whole foreground group: the server has to outlive the services.
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::failed(format!("{} cannot be started: {error}", program.display())))?;
        let mut server = Self { child, url: String::new() };
        server.url = server.wait_for_port(&dir, port).await?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it ends by itself, which it should not.
    pub(super) async fn ended(&mut self) -> Failure {
        match self.child.wait().await {
            Ok(status) => Failure::failed(format!("nats-server ended: {status}")),
            Err(error) => Failure::failed(format!("nats-server cannot be waited for: {error}")),
        }
    }

    /// Stops it, and waits until it has stopped.
    pub(super) async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Waits until it has said where it listens, which it does once it is ready.
    async fn wait_for_port(&mut self, dir: &Path, port: u16) -> Result<String, Failure> {
        let log = dir.join(LOG_FILE);
        let mut look = interval(LOOK_EVERY);
        let ready = async {
            loop {
                look.tick().await;
                if let Some(url) = self.child.id().and_then(|pid| said_port(dir, pid)) {
                    return Ok(url);
                }
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(did_not_start(&format!("it ended with {status}"), &log, port));
                }
            }
        };
        match timeout(START_WITHIN, ready).await {
            Ok(result) => result,
            Err(_) => {
                // Not ours to keep where it never became ready.
                let _ = self.child.kill().await;
                Err(did_not_start(&format!("not ready after {} s", START_WITHIN.as_secs()), &log, port))
            }
        }
    }
}

/// Stops a server that an earlier process on this directory left behind when it was killed: two of them must never
/// write the same streams. It is known by its command line, which names this very configuration.
async fn stop_leftover(dir: &Path) -> Result<(), Failure> {
    let said = fs::read_to_string(dir.join(PID_FILE)).unwrap_or_default();
    let Some(pid) = said.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    let config = dir.join(CONFIG_FILE).into_os_string().into_encoded_bytes();
    let is_ours = || {
        let command_line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        command_line.split(|byte| *byte == 0).any(|word| word == config)
    };
    if !is_ours() {
        return Ok(());
    }
    note(&format!("allot: stopping nats-server {pid}, left behind by an `allot up` that was killed"));
    let _ = kill_process(pid, Signal::TERM);
    let mut look = interval(LOOK_EVERY);
    let gone = async {
        while is_ours() {
            look.tick().await;
        }
    };
    timeout(STOP_WITHIN, gone).await.map_err(|_| {
        Failure::failed(format!(
            "nats-server {pid} of an earlier `allot up` does not stop: end it by hand, then try again"
        ))
    })
}

/// What the server writes once it listens.
#[derive(Debug, Deserialize)]
struct Ports {
    nats: Vec<String>,
}

fn said_port(dir: &Path, pid: u32) -> Option<String> {
    let text = fs::read(dir.join(format!("nats-server_{pid}.ports"))).ok()?;
    let ports: Ports = serde_json::from_slice(&text).ok()?;
    ports.nats.into_iter().next()
}

/// Removes what an earlier server said, whose process id may come again.
fn forget_ports(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ports") {
            fs::remove_file(path)?;
        }
    }
    match fs::remove_file(dir.join(LOG_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn configuration(dir: &Path, port: u16) -> String {
    let quoted = |path: &Path| format!("{:?}", path.to_string_lossy());
    let port = if port == 0 { "-1".to_owned() } else { port.to_string() };
    format!(
        "# Written by `allot up` at each start.\n\
         server_name: allot\n\
         listen: \"127.0.0.1:{port}\"\n\
         ports_file_dir: {dir}\n\
         pid_file: {pid}\n\
         log_file: {log}\n\
         jetstream {{\n  \
           store_dir: {store}\n  \
           # Every acknowledged write is on disk: what allot has promised survives a power failure.\n  \
           sync_interval: always\n\
         }}\n",
        dir = quoted(dir),
        pid = quoted(&dir.join(PID_FILE)),
        log = quoted(&dir.join(LOG_FILE)),
        store = quoted(&dir.join("streams")),
    )
}

fn did_not_start(what: &str, log: &Path, port: u16) -> Failure {
    let said = fs::read_to_string(log).unwrap_or_default();
    if said.contains("address already in use") {
        return Failure::failed(format!(
            "port {port} is in use: another nats-server or another program listens there\n\
             choose another with --port (0 for any that is free), or use that server with --nats nats://127.0.0.1:{port}"
        ));
    }
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(5)..].join("\n  ");
    Failure::failed(format!("nats-server did not start: {what}; the end of {}:\n  {last}", log.display()))
}

/// Finds the program: `ALLOT_NATS_SERVER`, `.tools/nats-server` here or above, `PATH`.
fn find() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("ALLOT_NATS_SERVER").map(PathBuf::from) {
        let there = path.is_file();
        return if there {
            Ok(path)
        } else {
            Err(not_found(&format!("ALLOT_NATS_SERVER names {}", path.display())))
        };
    }
    candidates()
        .find(|path| path.is_file())
        .ok_or_else(|| not_found("it is neither in .tools/ nor on the PATH"))
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let roots = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let above = roots.into_iter().flatten().flat_map(|root| {
        root.ancestors().map(|dir| dir.join(".tools").join("nats-server")).collect::<Vec<_>>()
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join("nats-server")).collect();
    above.chain(on_path)
}

fn not_found(why: &str) -> Failure {
    Failure::failed(format!(
        "nats-server was not found: {why}\n\
         in a checkout of allot `cargo xtask tools` gets it; elsewhere install nats-server 2.12 or newer and set\n\
         ALLOT_NATS_SERVER to its path, or use a server that runs already with --nats URL"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_durable_and_stays_on_this_machine() {
        let text = configuration(Path::new("/data/nats"), 0);
        assert!(text.contains("sync_interval: always"), "{text}");
        assert!(text.contains("listen: \"127.0.0.1:-1\""), "{text}");
        assert!(text.contains("store_dir: \"/data/nats/streams\""), "{text}");
        assert!(configuration(Path::new("/d"), 4222).contains("127.0.0.1:4222"));
    }

    #[test]
    fn a_port_in_use_is_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("nats-server.log");
        fs::write(&log, "[FTL] Error listening on port: listen tcp: bind: address already in use").unwrap();
        assert!(did_not_start("x", &log, 4222).to_string().contains("port 4222 is in use"));
    }
}
