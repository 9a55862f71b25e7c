//! Whose a process is, by the environment that its task was given.

use std::fs;

use allot_model::{AttemptId, Incarnation};
use rustix::process::{Pid, getpgid};

use super::command::INCARNATION;
use super::process::{kill, start_ticks_of};

/// What the environment of a process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is of this agent, and of this attempt where that can be read.
    Ours(Option<AttemptId>),
    /// It is of another agent.
    OtherAgent,
    /// Nothing.
    None,
}

/// A process of this agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marked {
    pub(crate) pid: Pid,
    pub(crate) attempt: Option<AttemptId>,
}

impl Mark {
    /// Of this process, seen by this life of an agent.
    pub(crate) fn of(pid: i32, incarnation: Incarnation) -> Self {
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
        match value(INCARNATION).map(|text| text == incarnation.to_string()) {
            Some(true) => Self::Ours(attempt()),
            Some(false) => Self::OtherAgent,
            None => Self::None,
        }
    }
}

/// All processes of this life of an agent.
pub(crate) fn marked(incarnation: Incarnation) -> Vec<Marked> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid| match (Mark::of(pid, incarnation), Pid::from_raw(pid)) {
        (Mark::Ours(attempt), Some(pid)) => Some(Marked { pid, attempt }),
        _ => None,
    };
    pids.filter_map(ours).collect()
}

/// Kills every process of this life of an agent but those of attempts that are to be spared.
pub(crate) fn kill_marked(incarnation: Incarnation, spared: impl Fn(AttemptId) -> bool) {
    let found = marked(incarnation).into_iter();
    found.filter(|one| !one.attempt.is_some_and(&spared)).for_each(|one| kill(one.pid));
}

/// The process with which an attempt began, as far as it lives: the oldest that leads a group.
pub(crate) fn leader(marked: &[Marked], attempt: AttemptId) -> Option<Pid> {
    let leads = |pid: Pid| getpgid(Some(pid)).is_ok_and(|group| group == pid);
    let of_it = marked.iter().filter(|one| one.attempt == Some(attempt) && leads(one.pid));
    of_it.map(|one| one.pid).min_by_key(|pid| start_ticks_of(pid.as_raw_nonzero().get()))
}
