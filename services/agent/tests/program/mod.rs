//! The agent as a program of its own, to be killed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "for tests, each of which uses its part")]

use std::process::{Child, Command, Stdio};

use allot_testkit::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::Stage;

/// The guardian that was started, which starts the agent.
pub struct Program(Child);

impl Program {
    pub fn start(stage: &Stage) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_allot-agent"))
            .args(Self::arguments(stage))
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// In a filesystem of this size that nobody else sees; nothing where this system does not allow that.
    pub fn start_on_a_small_disk(stage: &Stage, size: &str) -> Option<Self> {
        let namespace = ["--user", "--map-root-user", "--mount"];
        let allowed =
            Command::new("unshare").args(namespace).args(["mount", "-t", "tmpfs", "none", "/mnt"]).status();
        if !allowed.is_ok_and(|status| status.success()) {
            return None;
        }
        let dir = stage.config.data_dir.display();
        std::fs::create_dir_all(&stage.config.data_dir).unwrap();
        let line = format!("mount -t tmpfs -o size={size} none {dir} && exec \"$@\"");
        let child = Command::new("unshare")
            .args(namespace)
            .args(["sh", "-c", &line, "sh", env!("CARGO_BIN_EXE_allot-agent")])
            .args(Self::arguments(stage))
            .stdin(Stdio::null())
            .spawn();
        Some(Self(child.unwrap()))
    }

    /// The directory of an agent as it sees it, from here.
    pub async fn data_dir(&self, stage: &Stage) -> std::path::PathBuf {
        let root =
            format!("/proc/{}/root{}", self.agent().await.as_raw_nonzero(), stage.config.data_dir.display());
        root.into()
    }

    fn arguments(stage: &Stage) -> Vec<String> {
        let resources = "resources={cpus = 64, mem = \"1GiB\", disk = \"1GiB\"}";
        let data_dir = format!("data_dir={}", stage.config.data_dir.display());
        let url = stage.server.url();
        ["--nats", &url, "--set", "id=a1", "--set", resources, "--set", &data_dir].map(str::to_owned).to_vec()
    }

    /// Kills the guardian, and with it the agent.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Sends a signal to the guardian.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// The process of the agent. Asked for before it has died for the first time.
    pub async fn agent(&self) -> Pid {
        let guardian = self.0.id();
        let children = format!("/proc/{guardian}/task/{guardian}/children");
        let child = || async {
            let text = std::fs::read_to_string(&children).unwrap();
            Pid::from_raw(text.split_whitespace().next()?.parse().ok()?)
        };
        eventually("the agent is there", PATIENCE, child).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
