//! A job and its tasks as the ledger tells them. Tasks that are alike are one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{
    AgentId, Incarnation, JobId, JobSpec, JobState, Outcome, Placement, Preemptor, QueueName, Reason,
    Resources, RunMap, TaskCounts, TaskRange, TaskState, Time,
};

/// A run of tasks that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// The present or last try, from 1.
    pub(crate) attempt: u32,
    /// How many tries count against the job's `retries`.
    pub(crate) spent: u32,
    /// When it began to wait for a place.
    pub(crate) queued_at: Time,
    pub(crate) phase: Phase,
}

/// Where tasks are on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// They wait for other jobs.
    Waiting,
    /// They wait for a place.
    Queued,
    /// They wait out the pause before their next try.
    Backoff(Time),
    /// They hold an allocation.
    Placed(Placed),
    /// Nothing follows.
    Ended(Arc<Ended>),
}

/// Tasks that hold an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) agent: AgentId,
    pub(crate) incarnation: Incarnation,
    pub(crate) slice: Arc<Resources>,
    /// Set where the tasks that were placed together are not to be launched together with others.
    pub(crate) apart: Option<Apart>,
    pub(crate) allocated_at: Time,
    pub(crate) started_at: Option<Time>,
    /// Set once they are to be stopped.
    pub(crate) killing: Option<Killing>,
}

/// Why tasks are stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Killing {
    pub(crate) reason: Reason,
    /// Whom they are stopped for, where they are preempted.
    pub(crate) by: Option<Arc<Preemptor>>,
}

/// Tasks that take turns, or whose slice names what only one of them can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Apart {
    /// The first of them.
    pub(crate) first: u32,
    /// How many of them run at a time.
    pub(crate) slots: u64,
}

impl Placed {
    /// How many of so many of its tasks run at a time.
    pub(crate) fn slots(&self, tasks: u64) -> u64 {
        self.apart.map_or(tasks, |apart| apart.slots.min(tasks))
    }
}

impl Apart {
    /// How the tasks of a placement stand to others.
    pub(crate) fn of(placement: &Placement) -> Option<Self> {
        let Placement { run, slice, slots, .. } = placement;
        let is_apart = *slots < run.tasks.count() || !slice.is_scalar();
        is_apart.then_some(Self { first: run.tasks.first, slots: *slots })
    }
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) state: TaskState,
    pub(crate) reason: Reason,
    pub(crate) agent: Option<AgentId>,
    pub(crate) slice: Option<Arc<Resources>>,
    pub(crate) allocated_at: Option<Time>,
    pub(crate) started_at: Option<Time>,
    pub(crate) ended_at: Time,
    pub(crate) outcome: Option<Outcome>,
    /// Whom the tasks were stopped for, where they were preempted.
    pub(crate) by: Option<Arc<Preemptor>>,
}

/// A try that was followed by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Earlier {
    pub(crate) attempt: u32,
    pub(crate) queued_at: Time,
    pub(crate) ended: Arc<Ended>,
}

/// How many earlier tries of a task are kept for `job show`.
const MOST_EARLIER: usize = 10;

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Dependencies {
    /// Jobs that have not ended.
    pub(crate) open: BTreeSet<JobId>,
    /// True once one of them ended otherwise than finished.
    pub(crate) failed: bool,
}

/// A job that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) queue: QueueName,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) message_id: Option<Arc<str>>,
    pub(crate) submitted_at: Time,
    pub(crate) dependencies: Option<Dependencies>,
    /// When a user cancelled it.
    pub(crate) cancelled: Option<Time>,
    pub(crate) ended: Option<(JobState, Option<Reason>, Time)>,
    pub(crate) started_at: Option<Time>,
    pub(crate) tasks: RunMap<Task>,
    pub(crate) earlier: BTreeMap<u32, Vec<Earlier>>,
    /// True while it is counted among the jobs with tasks that wait.
    pub(crate) is_pending: bool,
    counts: TaskCounts,
}

impl Killing {
    pub(crate) fn of(reason: Reason) -> Self {
        Self { reason, by: None }
    }
}

impl Placed {
    /// Why the tasks are stopped, if they are.
    pub(crate) fn killed_for(&self) -> Option<Reason> {
        self.killing.as_ref().map(|killing| killing.reason)
    }
}

impl Job {
    pub(crate) fn new(
        at: Time,
        queue: QueueName,
        spec: Arc<JobSpec>,
        message_id: Option<Arc<str>>,
        submitted_at: Time,
        dependencies: Option<Dependencies>,
    ) -> Self {
        let mut job = Self {
            queue,
            message_id,
            submitted_at,
            cancelled: None,
            ended: None,
            started_at: None,
            tasks: RunMap::new(),
            earlier: BTreeMap::new(),
            is_pending: false,
            counts: TaskCounts::default(),
            dependencies,
            spec,
        };
        let phase = if job.dependencies.is_some() { Phase::Waiting } else { Phase::Queued };
        if let Some(all) = job.all() {
            job.set(all, Task { attempt: 1, spent: 0, queued_at: at, phase });
        }
        job
    }

    /// All its tasks.
    pub(crate) fn all(&self) -> Option<TaskRange> {
        TaskRange::new(0, self.spec.tasks.checked_sub(1)?)
    }

    /// How many tasks are in which state, as far as the job itself knows: silent agents are not looked at.
    pub(crate) fn counts(&self) -> TaskCounts {
        self.counts
    }

    /// The runs of tasks within `range`, copied.
    pub(crate) fn runs(&self, range: TaskRange) -> Vec<(TaskRange, Task)> {
        self.tasks.within(range).map(|(part, task)| (part, task.clone())).collect()
    }

    /// Puts the tasks of `range` into this state.
    pub(crate) fn set(&mut self, range: TaskRange, task: Task) {
        for (part, old) in self.tasks.remove(range) {
            *count_of(&mut self.counts, &old.phase) -= part.count();
        }
        *count_of(&mut self.counts, &task.phase) += range.count();
        self.tasks.set(range, task);
    }

    /// Keeps a try that was followed by another, for `job show`.
    pub(crate) fn remember(&mut self, tasks: TaskRange, earlier: &Earlier) {
        for index in tasks.indexes() {
            let list = self.earlier.entry(index).or_default();
            list.push(earlier.clone());
            if list.len() > MOST_EARLIER {
                list.remove(0);
            }
        }
    }

    /// True where any of its tasks waits, for a place, for another job or for its next try.
    pub(crate) fn has_waiting(&self) -> bool {
        self.counts.queued > 0
    }

    /// True where any of its tasks holds an allocation.
    pub(crate) fn has_placed(&self) -> bool {
        self.counts.starting + self.counts.running + self.counts.killing > 0
    }

    /// How many of its tasks are in a final state.
    pub(crate) fn finals(&self) -> u64 {
        let c = &self.counts;
        c.finished + c.failed + c.killed + c.dropped + c.gone
    }

    /// True where all tasks are in a final state and the job has not been ended yet.
    pub(crate) fn is_done(&self) -> bool {
        self.ended.is_none() && self.finals() == u64::from(self.spec.tasks)
    }

    /// The final state that its tasks' final states amount to.
    pub(crate) fn outcome(&self) -> (JobState, Option<Reason>) {
        let c = &self.counts;
        let failed = c.failed + c.gone + c.killed;
        match () {
            () if c.dropped > 0 => (JobState::Dropped, Some(Reason::DependencyFailed)),
            () if failed == 0 => (JobState::Finished, None),
            () if self.cancelled.is_some() => (JobState::Killed, Some(Reason::CancelledByUser)),
            () => (JobState::Failed, None),
        }
    }

    /// Where the job is on its way.
    pub(crate) fn state(&self) -> JobState {
        match (&self.ended, &self.dependencies) {
            (Some((state, _, _)), _) => *state,
            _ if self.cancelled.is_some() => JobState::Killing,
            (None, Some(_)) => JobState::Waiting,
            _ if self.has_placed() => JobState::Running,
            _ => JobState::Queued,
        }
    }

    /// Counts the tasks anew, one run after the other: for checking.
    pub(crate) fn counted(&self) -> TaskCounts {
        let mut counts = TaskCounts::default();
        self.tasks.iter().for_each(|(range, task)| *count_of(&mut counts, &task.phase) += range.count());
        counts
    }
}

/// Where tasks in this phase are counted.
fn count_of<'a>(counts: &'a mut TaskCounts, phase: &Phase) -> &'a mut u64 {
    match phase {
        Phase::Waiting | Phase::Queued | Phase::Backoff(_) => &mut counts.queued,
        Phase::Placed(placed) if placed.killing.is_some() => &mut counts.killing,
        Phase::Placed(placed) if placed.started_at.is_some() => &mut counts.running,
        Phase::Placed(_) => &mut counts.starting,
        Phase::Ended(ended) => match ended.state {
            TaskState::Finished => &mut counts.finished,
            TaskState::Killed => &mut counts.killed,
            TaskState::Dropped => &mut counts.dropped,
            TaskState::Gone => &mut counts.gone,
            _ => &mut counts.failed,
        },
    }
}
