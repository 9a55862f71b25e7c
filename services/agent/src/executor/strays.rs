//! Processes that tasks leave behind outside of their group, such as daemons.
//!
//! The process of the agent makes itself the one to which the system hands orphans. So what a task has left behind is
//! seen, killed once the task has ended, and reaped; and where there is none, nobody uses what the task used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use allot_model::{AttemptId, Incarnation};
use rustix::process::{Pid, WaitId, WaitIdOptions};
use tracing::{debug, warn};

use super::Running;
use super::mark::Mark;
use super::process::{has_ended, kill, start_ticks_of};
use crate::guardian::word::{children, children_of};
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
    /// Who has orphans of tasks of an earlier process of the agent.
    guardian: Option<Pid>,
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

impl Strays {
    /// Has orphans of tasks handed to this process from here on. Those of tasks of an earlier process of the agent are
    /// handed to its guardian.
    pub(crate) fn adopt(
        incarnation: Incarnation,
        running: Running,
        dirs: TaskDirs,
        guardian: Option<Pid>,
    ) -> Self {
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
        Self { incarnation, running, others, sees, dirs, unclaimed, guardian }
    }

    /// Kills orphans of attempts that have ended, and reaps those that have died. True where none of any attempt of
    /// this agent is left.
    pub(crate) fn sweep(&self) -> bool {
        let orphans = if self.sees && !self.running.has_strangers() { self.orphans() } else { None };
        let orphans = orphans.map(|all| all.difference(&self.others).copied().collect::<BTreeSet<_>>());
        if let Some(orphans) = &orphans {
            self.with_unclaimed(|unclaimed| unclaimed.retain(|pid, _| orphans.contains(pid)));
        }
        let left = orphans.map(|orphans| orphans.into_iter().filter(|pid| self.is_left(*pid)).count());
        left == Some(0)
    }

    /// The children of this process and of its guardian.
    fn orphans(&self) -> Option<BTreeSet<i32>> {
        let mut orphans = children()?;
        if let Some(guardian) = self.guardian {
            let us = i32::try_from(std::process::id()).ok()?;
            orphans
                .extend(children_of(guardian.as_raw_nonzero().get())?.into_iter().filter(|pid| *pid != us));
        }
        Some(orphans)
    }

    /// Whether this orphan is, or may be, of an attempt of this agent and lives on for now.
    fn is_left(&self, orphan: i32) -> bool {
        let Some(pid) = Pid::from_raw(orphan).filter(|pid| !self.running.leads(*pid) && !reap(*pid)) else {
            return false;
        };
        match self.owner(orphan) {
            Mark::OtherAgent => false,
            Mark::Ours(None) | Mark::None => {
                if is_in_another_group(pid) && self.is_nobodys(orphan) {
                    debug!(pid = orphan, "killed what one of the tasks before left behind");
                    kill(pid);
                }
                true
            }
            Mark::Ours(Some(attempt)) => {
                if !self.running.contains(attempt) {
                    debug!(%attempt, pid = orphan, "killed what a task left behind");
                    kill(pid);
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

    fn owner(&self, pid: i32) -> Mark {
        match Mark::of(pid, self.incarnation) {
            Mark::Ours(None) | Mark::None => {
                self.owner_by_directory(pid).map_or(Mark::None, |attempt| Mark::Ours(Some(attempt)))
            }
            known => known,
        }
    }

    /// The attempt in whose directory the process is.
    fn owner_by_directory(&self, pid: i32) -> Option<AttemptId> {
        let here: PathBuf = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        self.dirs.attempt_at(&here)
    }
}

/// Takes the end of an orphan, where it has ended.
fn reap(pid: Pid) -> bool {
    let ended = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    match ended {
        Ok(ended) => ended.is_some(),
        // No child of ours: whose it is reaps it.
        Err(_) => has_ended(pid.as_raw_nonzero().get()),
    }
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
