//! States of tasks and jobs, and the closed list of reasons for each change.

use serde::{Deserialize, Serialize};

/// Where a task is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits to be placed (or, with a reason that says so, for a dependency or for the next try).
    Queued,
    /// A place is committed; the launch has not been sent because the agent cannot be reached now.
    Allocated,
    /// The launch is under way to the agent or in its hands.
    Starting,
    /// Its process runs.
    Running,
    /// It has been asked to stop.
    Killing,
    /// Its agent is silent; not final.
    Unreachable,
    /// Final: it ended with exit code 0.
    Finished,
    /// Final: it ended otherwise, or could not be started.
    Failed,
    /// Final: it was stopped because someone asked for it.
    Killed,
    /// Final: its job was not admitted.
    Rejected,
    /// Final: it never ran, because what it waited for did not finish.
    Dropped,
    /// Final: its agent does not have it any more, how it ended is not known.
    Gone,
}

impl TaskState {
    /// True for the states that nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Failed | Self::Killed | Self::Rejected | Self::Dropped | Self::Gone
        )
    }
}

/// Why a task is in its state. A closed list: what cannot be said with it gets a new word here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Admitted and waiting for a place.
    Admitted,
    /// Waits for the jobs named in `after`.
    WaitsForDependency,
    /// Waits out the pause before its next try.
    WaitsForBackoff,
    /// Tried again after a try that failed.
    Retried,
    /// The offers service committed a place.
    Granted,
    /// The agent started its process.
    Launched,
    /// The process ended with exit code 0.
    ExitedZero,
    /// The process ended with another exit code.
    ExitedNonzero,
    /// The process was ended by a signal that allot did not send.
    Signalled,
    /// The command could not be started: not found, not executable, no such directory.
    LaunchFailed,
    /// It ran longer than its time limit.
    TimeLimit,
    /// A user cancelled the job.
    CancelledByUser,
    /// Its agent is being drained with its tasks killed.
    AgentDrained,
    /// Its agent has not been heard from for the timeout.
    AgentUnreachable,
    /// Its agent came back.
    AgentReturned,
    /// Its agent restarted and the process was lost with it.
    AgentRestarted,
    /// An operator declared the agent gone.
    AgentGoneByOperator,
    /// The agent does not know the attempt.
    UnknownToAgent,
    /// A job named in `after` did not finish.
    DependencyFailed,
    /// The allocation came when the task was not wanted any more.
    NotWanted,
    /// The submission is not a job that can be admitted.
    Invalid,
    /// The agent gave the task back before its turn came: what ran before it took longer than expected.
    HandedBack,
    /// It was stopped so that a job of a higher priority got its place, and runs again.
    PreemptedForPriority,
    /// It was stopped so that a queue got what is guaranteed to it, and runs again.
    PreemptedForGuarantee,
}

impl Reason {
    /// True where it was stopped so that others got its place.
    #[must_use]
    pub fn is_preemption(self) -> bool {
        matches!(self, Self::PreemptedForPriority | Self::PreemptedForGuarantee)
    }

    /// The word used on the wire, in JSON and in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::WaitsForDependency => "waits_for_dependency",
            Self::WaitsForBackoff => "waits_for_backoff",
            Self::Retried => "retried",
            Self::Granted => "granted",
            Self::Launched => "launched",
            Self::ExitedZero => "exited_zero",
            Self::ExitedNonzero => "exited_nonzero",
            Self::Signalled => "signalled",
            Self::LaunchFailed => "launch_failed",
            Self::TimeLimit => "time_limit",
            Self::CancelledByUser => "cancelled_by_user",
            Self::AgentDrained => "agent_drained",
            Self::AgentUnreachable => "agent_unreachable",
            Self::AgentReturned => "agent_returned",
            Self::AgentRestarted => "agent_restarted",
            Self::AgentGoneByOperator => "agent_gone_by_operator",
            Self::UnknownToAgent => "unknown_to_agent",
            Self::DependencyFailed => "dependency_failed",
            Self::NotWanted => "not_wanted",
            Self::Invalid => "invalid",
            Self::HandedBack => "handed_back",
            Self::PreemptedForPriority => "preempted_for_priority",
            Self::PreemptedForGuarantee => "preempted_for_guarantee",
        }
    }
}

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for the jobs named in `after`.
    Waiting,
    /// Tasks wait to be placed, none runs.
    Queued,
    /// At least one task has a place.
    Running,
    /// A user cancelled it; tasks are still being stopped.
    Killing,
    /// Final: every task finished.
    Finished,
    /// Final: at least one task failed or is gone.
    Failed,
    /// Final: it was cancelled.
    Killed,
    /// Final: it was not admitted.
    Rejected,
    /// Final: it never ran, because a job it waited for did not finish.
    Dropped,
}

impl JobState {
    /// True for the states that nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed | Self::Rejected | Self::Dropped)
    }
}

/// How a process ended, as its agent measured it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Its exit code, where it exited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// From start to end, microseconds.
    pub wall_us: u64,
    /// User and system CPU time, microseconds.
    pub cpu_us: u64,
    /// Largest resident memory of its largest process, bytes: as the kernel counts it, no less than its agent had when it
    /// started it.
    pub peak_mem_bytes: u64,
    /// What went wrong, in words, where there is more to say than the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<std::sync::Arc<str>>,
}
