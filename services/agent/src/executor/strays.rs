//! Processes that tasks leave behind outside of their group, such as daemons.
//!
//! The process of the agent makes itself the one to which the system hands orphans. So what a task has left behind is
//! seen, killed once the task has ended, and reaped; and where there is none, nobody uses what the task used.

use std::collections::BTreeSet;
use std::fs;

use allot_model::{AttemptId, Incarnation};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tracing::{debug, warn};

use super::Running;
use super::command::INCARNATION;

/// Looks after orphans of the tasks of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Strays {
    incarnation: Incarnation,
    running: Running,
    /// Children of this process that were there before any task: not for us to touch.
    others: BTreeSet<i32>,
    /// False where the system does not tell which orphans there are.
    sees: bool,
}

/// Whose an orphan is.
enum Owner {
    Attempt(AttemptId),
    /// Another agent in this process: its business.
    OtherAgent,
    Unknown,
}

impl Strays {
    /// Has orphans of tasks handed to this process from here on.
    pub(crate) fn adopt(incarnation: Incarnation, running: Running) -> Self {
        let children = children();
        // Any number switches it on.
        let adopting = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let sees = children.is_some() && adopting.is_ok();
        if !sees {
            warn!("this system does not hand orphans to the agent: daemons that tasks start are not seen");
        }
        Self { incarnation, running, others: children.unwrap_or_default(), sees }
    }

    /// Kills orphans of attempts that have ended, and reaps those that have died. True where none of any attempt of
    /// this agent is left.
    pub(crate) fn sweep(&self) -> bool {
        let orphans = if self.sees { children() } else { None };
        let orphans = orphans.map(|all| all.difference(&self.others).copied().collect::<Vec<_>>());
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
            Owner::Unknown => true,
            Owner::Attempt(attempt) => {
                if !self.running.contains(attempt) {
                    debug!(%attempt, pid = orphan, "killed what a task left behind");
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
                true
            }
        }
    }

    fn owner(&self, pid: i32) -> Owner {
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

/// The children of the main thread, to which orphans are handed.
fn children() -> Option<BTreeSet<i32>> {
    let text = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).ok()?;
    Some(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}
