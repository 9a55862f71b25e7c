//! What agents have started, found by their environment.

use std::fs;
use std::path::Path;

use allot_model::Incarnation;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// How often it is looked again for what was started while what was there was killed.
const ROUNDS: usize = 10;

/// What an agent writes down of itself.
#[derive(Deserialize)]
struct Identity {
    incarnation: Incarnation,
}

/// The processes that the present life of the agent with this directory has started, and what these have.
#[must_use]
pub fn tasks(data_dir: &Path) -> Vec<Pid> {
    let identity = fs::read(data_dir.join("identity")).ok();
    let identity = identity.and_then(|bytes| serde_json::from_slice::<Identity>(&bytes).ok());
    let Some(Identity { incarnation }) = identity else { return Vec::new() };
    let mark = format!("ALLOT_INCARNATION={incarnation}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| environment(*pid).split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
        .collect()
}

/// Kills them. An agent that is killed leaves them running, for it is to find them again.
pub fn kill_tasks(data_dir: &Path) {
    for _ in 0..ROUNDS {
        let tasks = tasks(data_dir);
        if tasks.is_empty() {
            return;
        }
        for pid in tasks {
            // Fails only where it has ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Nothing of a process that has ended.
fn environment(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default()
}
