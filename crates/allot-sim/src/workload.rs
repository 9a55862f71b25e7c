//! What is to happen in a simulation, whichever file it came from: small, so that a log of half a million jobs is a
//! few tens of megabytes.

use std::borrow::Cow;
use std::sync::Arc;

use allot_model::{
    AgentId, Constraint, PoolAgent, QueueGuarantee, QueueLimit, QueueName, Request, Resources, Span,
    TaskRange, Time,
};

/// What is to happen: jobs that are submitted, and all else that changes.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// All agents that are ever there, by the numbers in [`Happening`].
    pub agents: Vec<Agent>,
    /// All queues by the numbers in [`Job`] and [`Happening`], as they are at the beginning.
    pub queues: Vec<Queue>,
    /// What tasks ask for, each kind once, by the numbers in [`Job`].
    pub asks: Vec<Asks>,
    /// The jobs in the order of their submission. The place of a job, counted from 1, is its id for the engine.
    pub jobs: Vec<Job>,
    /// What else happens, in order.
    pub changes: Vec<Change>,
    /// What is there already when it begins, where that is not with nothing at the time 0.
    pub begin: Option<Begin>,
    /// When to stop, if not when nothing is left to happen.
    pub until: Option<Time>,
    /// What jobs are called where they are not numbered, in the order of the jobs.
    pub names: Vec<Arc<str>>,
}

/// An agent that is there at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub id: AgentId,
}

/// A queue and what it is entitled to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its path.
    pub name: QueueName,
    /// Its share beside its siblings.
    pub weight: u32,
    /// The most that it and all queues below it may hold.
    pub limit: QueueLimit,
    /// What it and all queues below it are to have before others.
    pub guarantee: QueueGuarantee,
}

/// What the tasks of some jobs ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asks {
    /// What each task needs.
    pub request: Request,
    /// The same as plain resources: what a task holds on an agent that merely counts them.
    pub slice: Resources,
    /// What an agent must be like.
    pub constraints: Vec<Constraint>,
    /// The attribute that all agents of tasks placed together must have the same value of.
    pub same: Option<String>,
}

/// A job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// When it is submitted.
    pub submit: Time,
    /// How long each task runs; forever where absent.
    pub run: Option<Span>,
    /// How long each task is said to run.
    pub estimate: Option<Span>,
    /// When it is to be done.
    pub deadline: Option<Time>,
    /// Its number in the log, where it has one.
    pub number: i64,
    /// Whose it is.
    pub queue: u32,
    /// What each task asks for.
    pub asks: u32,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many of them have to be placed together.
    pub min_tasks: u32,
    /// Larger goes first.
    pub priority: i32,
    /// True where its tasks may be stopped for others.
    pub preemptible: bool,
}

/// What is there already when a workload begins. Changes and submissions up to then have happened, and no task waits or runs
/// but these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// When that is.
    pub at: Time,
    /// The tasks that wait, each job by its number.
    pub waiting: Vec<(u32, TaskRange)>,
    /// The tasks that run, those first that began first.
    pub running: Vec<Running>,
}

/// Tasks of a job that run on an agent when a workload begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The number of the job.
    pub job: u32,
    /// The number of the agent, which need not be there.
    pub agent: u32,
    /// Which tasks.
    pub tasks: TaskRange,
    /// What each of them holds.
    pub slice: Resources,
    /// Since when.
    pub start: Time,
    /// When all of them end; never where absent.
    pub ends: Option<Time>,
}

/// Something that happens beside submissions.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// When.
    pub at: Time,
    /// What.
    pub what: Happening,
}

/// What can happen beside submissions. In the order in which it happens within one instant: ends, agents, queues.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The oldest running tasks of a job end; all that run where `tasks` is absent.
    Ends {
        /// Which job.
        job: u32,
        /// How many tasks.
        tasks: Option<u32>,
    },
    /// A job is cancelled: what runs ends, what waits does not any more.
    Cancelled {
        /// Which.
        job: u32,
    },
    /// An agent joins, has other resources or attributes than before, or is to drain.
    Agent {
        /// Which.
        agent: u32,
        /// As it is from now on.
        facts: Arc<PoolAgent>,
    },
    /// An agent leaves. Its tasks wait for another place.
    AgentLeaves {
        /// Which.
        agent: u32,
    },
    /// A queue is entitled to something else.
    Queue {
        /// Which.
        queue: u32,
        /// Its weight from now on.
        weight: u32,
        /// Its limit from now on.
        limit: QueueLimit,
        /// What is guaranteed to it from now on.
        guarantee: QueueGuarantee,
    },
}

/// What a job is called in the output.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(untagged)]
pub enum JobName<'a> {
    /// A number of a log.
    Number(i64),
    /// A name of a scenario.
    Text(Cow<'a, str>),
}

impl std::fmt::Display for JobName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.pad(text),
        }
    }
}

impl Asks {
    /// Tasks that need this, anywhere.
    #[must_use]
    pub fn anywhere(request: Request) -> Self {
        Self { slice: request.as_scalars(), request, constraints: Vec::new(), same: None }
    }
}

impl Workload {
    /// What a job is called.
    #[must_use]
    pub fn name(&self, job: usize) -> JobName<'_> {
        match (self.names.get(job), self.jobs.get(job)) {
            (Some(name), _) => JobName::Text(Cow::Borrowed(name)),
            (None, Some(job)) => JobName::Number(job.number),
            (None, None) => JobName::Number(-1),
        }
    }

    /// All agents that are there at the time `at`, each as it is then.
    pub fn agents_at(&self, at: Time) -> impl Iterator<Item = &Arc<PoolAgent>> {
        let mut there: Vec<Option<&Arc<PoolAgent>>> = vec![None; self.agents.len()];
        for change in self.changes.iter().take_while(|change| change.at <= at) {
            let (agent, facts) = match &change.what {
                Happening::Agent { agent, facts } => (*agent, Some(facts)),
                Happening::AgentLeaves { agent } => (*agent, None),
                _ => continue,
            };
            if let Some(slot) = there.get_mut(agent as usize) {
                *slot = facts;
            }
        }
        there.into_iter().flatten()
    }
}
