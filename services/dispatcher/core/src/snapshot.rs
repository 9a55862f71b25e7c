//! The dispatcher's state as the items of a snapshot, and back. What follows from jobs, such as who waits for whom, is not
//! saved: it is found anew.

use std::sync::Arc;

use allot_model::{
    AgentId, DependenciesState, DispatcherAgentState, DispatcherJobState, EarlierTry, EndedState, JobId,
    JobSpec, PhaseState, PlacedState, RejectedState, Resources, StateItem, TaskRange, TaskRunState,
};

use crate::job::{Apart, Dependencies, Earlier, Ended, Job, Killing, Phase, Placed, Task};
use crate::{Agent, DispatcherCore, Pause, QueueSettings, Rejected};

impl DispatcherCore {
    /// All that it knows from the ledger, in items: a new core that is given them is as if it had folded every record.
    pub fn snapshot(&self) -> impl Iterator<Item = StateItem> + '_ {
        let inbox = std::iter::once(StateItem::Inbox { last: self.inbox, allocations: self.allocations });
        let agents = self.agents.iter().map(|(id, agent)| StateItem::DispatcherAgent(save_agent(id, agent)));
        let queues = self.queues.iter().map(|(queue, settings)| {
            let QueueSettings { weight, limit, guarantee } = settings;
            let (limit, guarantee) = (limit.clone(), guarantee.clone());
            StateItem::Queue { queue: queue.clone(), weight: *weight, limit, guarantee }
        });
        let jobs = self.save_jobs().map(|job| StateItem::DispatcherJob(Box::new(job)));
        let rejected = self.rejected.iter().map(|(id, rejected)| {
            let Rejected { queue, submitted_at, rejected_at, rejection } = rejected.clone();
            StateItem::Rejected(RejectedState { job: *id, queue, submitted_at, rejected_at, rejection })
        });
        let ended = self.ended.iter().map(|(job, tasks)| StateItem::Ended { job: *job, tasks: *tasks });
        let unwanted = self.work.unwanted.iter();
        let unwanted = unwanted.map(|(agent, run)| StateItem::Unwanted { agent: agent.clone(), run: *run });
        let preempted = self.work.preempted.iter().cloned().map(StateItem::Preempted);
        inbox
            .chain(agents)
            .chain(queues)
            .chain(jobs)
            .chain(rejected)
            .chain(ended)
            .chain(unwanted)
            .chain(preempted)
    }

    fn save_jobs(&self) -> impl Iterator<Item = DispatcherJobState> + '_ {
        let mut last: Option<&Arc<JobSpec>> = None;
        self.jobs.iter().map(move |(id, job)| {
            // Jobs that follow each other are often alike, and then share it in memory.
            let same = last.is_some_and(|last| Arc::ptr_eq(last, &job.spec));
            last = Some(&job.spec);
            DispatcherJobState { spec: (!same).then(|| job.spec.clone()), ..job.save(*id) }
        })
    }

    /// Takes an item of a snapshot; those of other services mean nothing.
    pub(crate) fn restore(&mut self, item: StateItem) {
        match item {
            StateItem::Inbox { last, allocations } => (self.inbox, self.allocations) = (last, allocations),
            StateItem::DispatcherAgent(state) => self.restore_agent(state),
            StateItem::Queue { queue, weight, limit, guarantee } => {
                self.queues.insert(queue, QueueSettings { weight, limit, guarantee });
            }
            StateItem::DispatcherJob(state) => self.restore_job(*state),
            StateItem::Rejected(RejectedState { job, queue, submitted_at, rejected_at, rejection }) => {
                self.rejected.insert(job, Rejected { queue, submitted_at, rejected_at, rejection });
            }
            StateItem::Ended { job, tasks } => {
                self.ended.push_back((job, tasks));
                self.ended_tasks += tasks;
            }
            StateItem::Preempted(preemption) => self.work.preempted.push(preemption),
            StateItem::Unwanted { agent, run } => {
                self.work.unwanted.insert((agent, run));
            }
            _ => {}
        }
    }

    fn restore_agent(&mut self, state: DispatcherAgentState) {
        let DispatcherAgentState { agent, incarnation, away, gone, kills, missed_at, unseen } = state;
        let tasks = std::collections::BTreeMap::new();
        self.agents.insert(agent, Agent { incarnation, away, missed_at, unseen, gone, kills, tasks });
    }

    fn restore_job(&mut self, mut state: DispatcherJobState) {
        let id = state.job;
        if let Some(spec) = state.spec.take() {
            self.last_spec = Some(spec);
        }
        // The first job of every snapshot says what it is.
        let Some(spec) = self.last_spec.clone() else { return };
        let mut job = Job::load(spec, state);
        self.pending.note(&mut job);
        if let Some(message_id) = &job.message_id {
            self.message_ids.insert(message_id.clone(), id);
        }
        for other in job.dependencies.iter().flat_map(|dependencies| &dependencies.open) {
            self.dependents.entry(*other).or_default().insert(id);
        }
        for (tasks, task) in job.tasks.iter() {
            match &task.phase {
                Phase::Backoff(until) => {
                    self.backoffs.insert(Pause::as_recorded(*until, id));
                }
                Phase::Placed(placed) => {
                    if let Some(agent) = self.agents.get_mut(&placed.agent) {
                        agent.tasks.entry(id).or_default().insert(tasks);
                    }
                }
                Phase::Waiting | Phase::Queued | Phase::Ended(_) => {}
            }
        }
        self.jobs.insert(id, Box::new(job));
    }
}

fn save_agent(id: &AgentId, agent: &Agent) -> DispatcherAgentState {
    let Agent { incarnation, away, missed_at, unseen, gone, kills, tasks: _ } = agent;
    DispatcherAgentState {
        agent: id.clone(),
        incarnation: *incarnation,
        away: *away,
        gone: *gone,
        kills: *kills,
        missed_at: *missed_at,
        unseen: unseen.clone(),
    }
}

impl Job {
    /// All but what it is.
    fn save(&self, id: JobId) -> DispatcherJobState {
        DispatcherJobState {
            job: id,
            queue: self.queue.clone(),
            spec: None,
            message_id: self.message_id.clone(),
            submitted_at: self.submitted_at,
            dependencies: self.dependencies.as_ref().map(|Dependencies { open, failed }| DependenciesState {
                open: open.iter().copied().collect(),
                failed: *failed,
            }),
            cancelled: self.cancelled,
            ended: self.ended,
            started_at: self.started_at,
            tasks: self.tasks.iter().map(|(tasks, task)| task.save(tasks)).collect(),
            earlier: self.save_earlier(),
        }
    }

    /// Tasks that follow each other and have had the same tries are saved together.
    fn save_earlier(&self) -> Vec<(TaskRange, Vec<EarlierTry>)> {
        let mut runs: Vec<(TaskRange, &Vec<Earlier>)> = Vec::new();
        for (index, tries) in &self.earlier {
            match runs.last_mut() {
                Some((tasks, same)) if tasks.last + 1 == *index && *same == tries => tasks.last = *index,
                _ => runs.push((TaskRange { first: *index, last: *index }, tries)),
            }
        }
        runs.into_iter().map(|(tasks, tries)| (tasks, tries.iter().map(Earlier::save).collect())).collect()
    }

    fn load(spec: Arc<JobSpec>, state: DispatcherJobState) -> Self {
        let DispatcherJobState { queue, message_id, submitted_at, dependencies, .. } = state;
        let dependencies = dependencies.map(|DependenciesState { open, failed }| Dependencies {
            open: open.into_iter().collect(),
            failed,
        });
        let mut job = Self::new(submitted_at, queue, spec, message_id, submitted_at, dependencies);
        job.cancelled = state.cancelled;
        job.ended = state.ended;
        job.started_at = state.started_at;
        let mut shared = Shared::default();
        for run in state.tasks {
            job.set(run.tasks, Task::load(run, &mut shared));
        }
        for (tasks, tries) in state.earlier {
            for earlier in tries.into_iter().map(|earlier| Earlier::load(earlier, &mut shared)) {
                job.remember(tasks, &earlier);
            }
        }
        job
    }
}

/// What the last allocation held: those of one job mostly hold the same, and then share it in memory.
#[derive(Default)]
struct Shared(Option<Arc<Resources>>);

impl Shared {
    fn slice(&mut self, slice: Arc<Resources>) -> Arc<Resources> {
        let last = self.0.take().filter(|last| *last == slice);
        Arc::clone(self.0.insert(last.unwrap_or(slice)))
    }
}

impl Task {
    fn save(&self, tasks: TaskRange) -> TaskRunState {
        let Self { attempt, spent, queued_at, phase } = self;
        let phase = match phase {
            Phase::Waiting => PhaseState::Waiting,
            Phase::Queued => PhaseState::Queued,
            Phase::Backoff(until) => PhaseState::Backoff(*until),
            Phase::Placed(placed) => PhaseState::Placed(placed.save()),
            Phase::Ended(ended) => PhaseState::Ended(ended.save()),
        };
        TaskRunState { tasks, attempt: *attempt, spent: *spent, queued_at: *queued_at, phase }
    }

    fn load(state: TaskRunState, shared: &mut Shared) -> Self {
        let TaskRunState { tasks: _, attempt, spent, queued_at, phase } = state;
        let phase = match phase {
            PhaseState::Waiting => Phase::Waiting,
            PhaseState::Queued => Phase::Queued,
            PhaseState::Backoff(until) => Phase::Backoff(until),
            PhaseState::Placed(placed) => Phase::Placed(Placed::load(placed, shared)),
            PhaseState::Ended(ended) => Phase::Ended(Arc::new(Ended::load(ended, shared))),
        };
        Self { attempt, spent, queued_at, phase }
    }
}

impl Placed {
    fn save(&self) -> PlacedState {
        let Self { agent, incarnation, slice, apart, allocated_at, started_at, killing } = self.clone();
        let (apart_from, slots) = apart.map_or((None, 0), |apart| (Some(apart.first), apart.slots));
        let by = killing.as_ref().and_then(|killing| killing.by.as_deref().cloned());
        let killing = killing.map(|killing| killing.reason);
        PlacedState { agent, incarnation, slice, slots, apart_from, allocated_at, started_at, killing, by }
    }

    fn load(state: PlacedState, shared: &mut Shared) -> Self {
        let PlacedState {
            agent,
            incarnation,
            slice,
            slots,
            apart_from,
            allocated_at,
            started_at,
            killing,
            by,
        } = state;
        let by = by.map(Arc::new);
        let killing = killing.map(|reason| Killing { reason, by });
        let slice = shared.slice(slice);
        let apart = apart_from.map(|first| Apart { first, slots });
        Self { agent, incarnation, slice, apart, allocated_at, started_at, killing }
    }
}

impl Ended {
    fn save(&self) -> EndedState {
        let Self { state, reason, agent, slice, allocated_at, started_at, ended_at, outcome, by } =
            self.clone();
        let by = by.as_deref().cloned();
        EndedState { state, reason, agent, slice, allocated_at, started_at, ended_at, outcome, by }
    }

    fn load(saved: EndedState, shared: &mut Shared) -> Self {
        let EndedState { state, reason, agent, slice, allocated_at, started_at, ended_at, outcome, by } =
            saved;
        let by = by.map(Arc::new);
        let slice = slice.map(|slice| shared.slice(slice));
        Self { state, reason, agent, slice, allocated_at, started_at, ended_at, outcome, by }
    }
}

impl Earlier {
    fn save(&self) -> EarlierTry {
        let Self { attempt, queued_at, ended } = self;
        EarlierTry { attempt: *attempt, queued_at: *queued_at, ended: ended.save() }
    }

    fn load(saved: EarlierTry, shared: &mut Shared) -> Self {
        let EarlierTry { attempt, queued_at, ended } = saved;
        Self { attempt, queued_at, ended: Arc::new(Ended::load(ended, shared)) }
    }
}
