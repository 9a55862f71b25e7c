//! Processes that tasks leave behind outside of their group, such as daemons.
//!
//! The process of the agent makes itself the one to which the system hands orphans. So what a task has left behind is
//! seen, killed once the task has ended, and reaped; and where there is none, nobody uses what the task used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use allot_model::{AttemptId, Incarnation};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tracing::{debug, warn};

use super::Running;
use super::command::INCARNATION;
use super::process::start_ticks_of;
use crate::output::TaskDirs;

/// Looks after orphans of the tasks of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Strays {
    incarnation: Incarnation,
    running: Running,
    /// Children of this process that were there before any task: not for us to touch.
    others: BTreeSet<i32>,
    /// False where the system does not tell which orphans there are.
    sees: bool,
    dirs: TaskDirs,
    /// Orphans that say nothing of whose they are, by number: when each began, and whose it may be.
    unclaimed: Arc<Mutex<BTreeMap<i32, Unclaimed>>>,
}

/// An orphan that has rid itself of its environment and its directory.
#[derive(Debug, Clone)]
struct Unclaimed {
    began_ticks: u64,
    /// The tasks' processes of this whole program that ran when it was first seen, and had begun before it did.
    suspects: Vec<Leader>,
}

/// The process of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leader {
    pid: i32,
    began_ticks: u64,
}

/// The attempts of all agents of this program.
static ALL_RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

/// Whose an orphan is.
enum Owner {
    Attempt(AttemptId),
    /// Another agent in this process: its business.
    OtherAgent,
    Unknown,
}

impl Strays {
    /// Has orphans of tasks handed to this process from here on.
    pub(crate) fn adopt(incarnation: Incarnation, running: Running, dirs: TaskDirs) -> Self {
        let children = children();
        // Any number switches it on.
        let adopting = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let sees = children.is_some() && adopting.is_ok();
        if !sees {
            warn!("this system does not hand orphans to the agent: daemons that tasks start are not seen");
        }
        let mut all = ALL_RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(Running::is_used_elsewhere);
        all.push(running.clone());
        let (others, unclaimed) = (children.unwrap_or_default(), Arc::default());
        Self { incarnation, running, others, sees, dirs, unclaimed }
    }

    /// Kills orphans of attempts that have ended, and reaps those that have died. True where none of any attempt of
    /// this agent is left.
    pub(crate) fn sweep(&self) -> bool {
        let orphans = if self.sees { children() } else { None };
        let orphans = orphans.map(|all| all.difference(&self.others).copied().collect::<BTreeSet<_>>());
        if let Some(orphans) = &orphans {
            self.with_unclaimed(|unclaimed| unclaimed.retain(|pid, _| orphans.contains(pid)));
        }
        let left = orphans.map(|orphans| orphans.into_iter().filter(|pid| self.is_left(*pid)).count());
        left == Some(0)
    }

    /// Whether this orphan is, or may be, of an attempt of this agent and lives on for now.
    fn is_left(&self, orphan: i32) -> bool {
        let Some(pid) = Pid::from_raw(orphan).filter(|pid| !self.running.leads(*pid) && !reap(*pid)) else {
            return false;
        };
        match self.owner(orphan) {
            Owner::OtherAgent => false,
            Owner::Unknown => {
                if is_in_another_group(pid) && self.is_nobodys(orphan) {
                    debug!(pid = orphan, "killed what one of the tasks before left behind");
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
                true
            }
            Owner::Attempt(attempt) => {
                if !self.running.contains(attempt) {
                    debug!(%attempt, pid = orphan, "killed what a task left behind");
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
                true
            }
        }
    }

    /// True once every task has ended whose this orphan may be: those that ran when it was first seen and had begun
    /// before it. It may live longer than its task by that, and never shorter.
    fn is_nobodys(&self, orphan: i32) -> bool {
        let Some(began_ticks) = start_ticks_of(orphan) else { return false };
        let leaders = leaders();
        self.with_unclaimed(|unclaimed| {
            let seen =
                unclaimed.entry(orphan).or_insert_with(|| Unclaimed { began_ticks: 0, suspects: Vec::new() });
            if seen.began_ticks != began_ticks {
                let before = leaders.iter().filter(|leader| leader.began_ticks <= began_ticks);
                *seen = Unclaimed { began_ticks, suspects: before.copied().collect() };
            }
            seen.suspects.retain(|suspect| leaders.contains(suspect));
            seen.suspects.is_empty()
        })
    }

    fn with_unclaimed<T>(&self, look: impl FnOnce(&mut BTreeMap<i32, Unclaimed>) -> T) -> T {
        look(&mut self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn owner(&self, pid: i32) -> Owner {
        match self.owner_by_environment(pid) {
            Owner::Unknown => self.owner_by_directory(pid).map_or(Owner::Unknown, Owner::Attempt),
            known => known,
        }
    }

    /// The attempt in whose directory the process is.
    fn owner_by_directory(&self, pid: i32) -> Option<AttemptId> {
        let here: PathBuf = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        self.dirs.attempt_at(&here)
    }

    fn owner_by_environment(&self, pid: i32) -> Owner {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let value = |name: &str| {
            let variables =
                environ.split(|byte| *byte == 0).filter_map(|bytes| std::str::from_utf8(bytes).ok());
            variables
                .filter_map(|variable| variable.split_once('='))
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value)
        };
        let attempt = || {
            let number = |name| value(name)?.parse::<u32>().ok();
            let job = value("ALLOT_JOB_ID")?.parse().ok()?;
            Some(AttemptId::new(job, number("ALLOT_TASK_INDEX")?, number("ALLOT_ATTEMPT")?))
        };
        match value(INCARNATION).map(|text| text == self.incarnation.to_string()) {
            Some(true) => attempt().map_or(Owner::Unknown, Owner::Attempt),
            Some(false) => Owner::OtherAgent,
            None => Owner::Unknown,
        }
    }
}

/// Takes the end of an orphan, where it has ended.
fn reap(pid: Pid) -> bool {
    let ended = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    !matches!(ended, Ok(None))
}

/// True where the process is not of our own group: what this program starts by itself is, and what a task starts is not.
fn is_in_another_group(pid: Pid) -> bool {
    rustix::process::getpgid(Some(pid)).is_ok_and(|group| group != rustix::process::getpgrp())
}

/// The processes of all tasks of this program.
fn leaders() -> Vec<Leader> {
    let all = ALL_RUNNING.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let pids = all.iter().flat_map(Running::pids);
    pids.filter_map(|pid| Some(Leader { pid, began_ticks: start_ticks_of(pid)? })).collect()
}

/// The children of the main thread, to which orphans are handed.
fn children() -> Option<BTreeSet<i32>> {
    let text = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).ok()?;
    Some(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}
