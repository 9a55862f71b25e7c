//! A job as the services know it: every field present, checked and in one unit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::constraint::Constraint;
use crate::id::JobId;
use crate::resources::Request;
use crate::time::Span;

/// What a user submits: a command, what each task needs, and how many tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// A name for people; need not be unique.
    pub name: Option<String>,
    /// What each task runs.
    pub command: Command,
    /// Environment variables for the command, beside those that allot sets.
    pub env: BTreeMap<String, String>,
    /// Where the command runs; a directory of its own where absent.
    pub workdir: Option<String>,
    /// What each task needs.
    pub resources: Request,
    /// How many tasks there are. At least 1, at most [`JobSpec::MOST_TASKS`].
    pub tasks: u32,
    /// Larger goes first under policies that look at it. 0 unless set.
    pub priority: i32,
    /// What an agent must be like; all must hold.
    pub constraints: Vec<Constraint>,
    /// How often a task that failed is tried again, 0 unless set.
    pub retries: u32,
    /// The pause before the first further try; it doubles with each one, up to [`JobSpec::LONGEST_BACKOFF`].
    pub backoff: Span,
    /// A task that runs longer is killed and has failed.
    pub time_limit: Option<Span>,
    /// How long a task is expected to run, for policies that plan ahead; they go by the time limit where it is absent.
    pub estimate: Option<Span>,
    /// How long after its submission the job is to be done, for policies that look at it.
    pub deadline: Option<Span>,
    /// How many of the tasks have to be placed together, if any are: 1 where each goes by itself, `tasks` for a gang.
    pub min_tasks: u32,
    /// The attribute that all agents of those tasks have to have the same value of.
    pub same: Option<String>,
    /// How long a task has between SIGTERM and SIGKILL.
    pub kill_grace: Span,
    /// Jobs that must have finished first.
    pub after: Vec<JobId>,
    /// What becomes of a task whose agent is silent.
    pub on_unreachable: OnUnreachable,
    /// How agents run it.
    pub executor: Executor,
}

impl JobSpec {
    /// The largest number of tasks in a job.
    pub const MOST_TASKS: u32 = 10_000_000;
    /// The longest pause between tries.
    pub const LONGEST_BACKOFF: Span = Span::from_secs(3600);

    /// One task of `command`, with 1 cpu and everything else as it is where a job file does not say.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self {
            name: None,
            command,
            env: BTreeMap::new(),
            workdir: None,
            resources: Request::one_cpu(),
            tasks: 1,
            priority: 0,
            constraints: Vec::new(),
            retries: 0,
            backoff: Span::from_secs(1),
            time_limit: None,
            estimate: None,
            deadline: None,
            min_tasks: 1,
            same: None,
            kill_grace: Span::from_secs(10),
            after: Vec::new(),
            on_unreachable: OnUnreachable::default(),
            executor: Executor::default(),
        }
    }

    /// How long a task is expected to run, going by the estimate or else by the time limit.
    #[must_use]
    pub fn expected_run(&self) -> Option<Span> {
        self.estimate.or(self.time_limit)
    }

    /// True where a task may be run again that was stopped: its user allows for retries. One that asked for none never runs
    /// twice, unless its agent is silent and `on_unreachable` says so.
    #[must_use]
    pub fn may_run_again(&self) -> bool {
        self.retries > 0
    }

    /// The pause after try `attempt` (from 1) has failed.
    #[must_use]
    pub fn backoff_after(&self, attempt: u32) -> Span {
        let doubled = self.backoff.times(1_u64 << attempt.saturating_sub(1).min(40));
        doubled.min(Self::LONGEST_BACKOFF.max(self.backoff))
    }
}

/// What a task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments, run as they are. Not empty.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// What becomes of a task whose agent has been silent for the timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnreachable {
    /// It waits for the agent to come back.
    #[default]
    Wait,
    /// It is tried elsewhere; the old try is killed should its agent come back. The old try may still run
    /// meanwhile, unseen.
    Retry,
}

/// How an agent runs a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// As a process.
    #[default]
    Process,
    /// Not at all: it finishes at once. Measures the control plane; off unless an agent is configured for it.
    Noop,
}
