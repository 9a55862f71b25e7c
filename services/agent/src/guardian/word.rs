//! What a guardian tells an agent: lines of JSON. A guardian may be older or younger than its agent.

use std::collections::BTreeSet;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::executor::process::{self, Reaped};

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// A process that a dead agent left is a child of the guardian now.
    Holds {
        /// Its number.
        pid: i32,
    },
    /// Such a process has ended.
    Ended(EndOf),
    /// All that there was to say at first has been said.
    All,
}

/// How a process ended that a dead agent had left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndOf {
    /// Its number.
    pub(crate) pid: i32,
    /// When it was started, in the kernel's clock ticks since boot.
    pub(crate) began_ticks: u64,
    /// When it ended, in the kernel's clock ticks since boot.
    pub(crate) ended_ticks: u64,
    /// Its exit code, where it exited.
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended it, where one did.
    pub(crate) signal: Option<i32>,
    /// User and system CPU time, microseconds.
    pub(crate) cpu_us: u64,
    /// Largest resident memory, bytes.
    pub(crate) peak_mem_bytes: u64,
}

impl EndOf {
    /// Now.
    pub(crate) fn new(pid: i32, began_ticks: u64, reaped: &Reaped) -> Self {
        Self {
            pid,
            began_ticks,
            ended_ticks: process::ticks_since_boot(),
            exit_code: reaped.exit_code,
            signal: reaped.signal,
            cpu_us: reaped.cpu_us,
            peak_mem_bytes: reaped.peak_mem_bytes,
        }
    }
}

impl EndOf {
    pub(crate) fn reaped(&self) -> Reaped {
        Reaped {
            exit_code: self.exit_code,
            signal: self.signal,
            cpu_us: self.cpu_us,
            peak_mem_bytes: self.peak_mem_bytes,
        }
    }
}

impl Word {
    pub(crate) fn to_line(self) -> Vec<u8> {
        // Writing to memory what has only texts for keys cannot fail.
        let mut line = serde_json::to_vec(&self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The children of the main thread of this process, to which orphans are handed; nothing where the system does not say.
pub(crate) fn children() -> Option<BTreeSet<i32>> {
    children_of(i32::try_from(std::process::id()).ok()?)
}

/// The children of the main thread of a process.
pub(crate) fn children_of(pid: i32) -> Option<BTreeSet<i32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Some(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}
