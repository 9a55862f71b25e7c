//! The modelled offers service: what is really free and who really waits, counted by itself and not by what the engine
//! believes. It tells the engine what happens, and checks every grant; one that is wrong is a bug.

mod agent;
mod begin;
mod check;
mod limits;
mod preempt;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_engine::Policy;
use allot_model::{
    AgentId, AttemptRun, Epoch, FeedItem, GrantId, JobId, OfferVersion, Placement, PoolAgent, PoolJob,
    ProposedPlacement, Resources, Span, TaskRange, Time,
};

use crate::output::outcome::{EarlyEnd, Fate, Outcome, Preempted, Requeued, Stay};
use crate::workload::{Happening, Workload};
use agent::AgentTruth;
pub use check::WrongGrant;
use limits::Held;
use waiting::Waiting;

/// The generation of the allocator: there is one, from the beginning to the end.
pub(crate) const EPOCH: Epoch = Epoch(1);

/// Offers do not expire: nothing is lost on the way, so none needs to be told again.
const FOREVER: Span = Span::from_micros(u64::MAX);

/// All there is to know about a pool.
#[derive(Debug)]
pub(crate) struct Truth<'a> {
    workload: &'a Workload,
    agents: Vec<AgentTruth>,
    by_id: BTreeMap<AgentId, u32>,
    jobs: Vec<JobTruth>,
    /// Everything that was ever placed, in order.
    stays: Vec<Stay>,
    early: Vec<EarlyEnd>,
    requeued: Vec<Requeued>,
    preempted: Vec<Preempted>,
    /// What the tasks of a stay hold where it names items or ranges.
    named: BTreeMap<u32, Resources>,
    /// What the queues hold, where any has a limit.
    held: Option<Held>,
    /// The job that was told last for each kind of asks.
    last_told: Vec<Option<Arc<PoolJob>>>,
    /// Agents whose offer is to be told.
    changed: Vec<u32>,
    /// What is to be told.
    items: Vec<FeedItem>,
    last_grant: GrantId,
}

/// A job as it stands.
#[derive(Debug, Clone, Default)]
struct JobTruth {
    waiting: Waiting,
    running: u32,
    fate: Fate,
    /// Of its stays, none before this one runs.
    first_stay: u32,
    /// Submitted, and not over.
    is_open: bool,
    /// Counted among those that wait, where limits make that matter.
    is_pending: bool,
}

impl<'a> Truth<'a> {
    /// Nothing has happened yet.
    pub(crate) fn new(workload: &'a Workload) -> Self {
        let agents = &workload.agents;
        Self {
            workload,
            agents: agents.iter().map(|_| AgentTruth::default()).collect(),
            by_id: agents.iter().zip(0..).map(|(agent, number)| (agent.id.clone(), number)).collect(),
            jobs: vec![JobTruth::default(); workload.jobs.len()],
            stays: Vec::with_capacity(workload.jobs.len()),
            early: Vec::new(),
            requeued: Vec::new(),
            preempted: Vec::new(),
            named: BTreeMap::new(),
            held: Held::of(workload),
            last_told: vec![None; workload.asks.len()],
            changed: Vec::new(),
            items: Vec::new(),
            last_grant: GrantId(0),
        }
    }

    /// Moves what is to be told to `items`, with the offers of agents that have changed. False where there is nothing.
    pub(crate) fn news(&mut self, items: &mut Vec<FeedItem>) -> bool {
        for agent in self.changed.drain(..) {
            if let Some(truth) = self.agents.get_mut(agent as usize) {
                self.items.extend(truth.offer());
            }
        }
        std::mem::swap(items, &mut self.items);
        !items.is_empty()
    }

    /// A job is submitted.
    pub(crate) fn submit(&mut self, number: u32) {
        let (Some(job), Some(truth)) =
            (self.workload.jobs.get(number as usize), self.jobs.get_mut(number as usize))
        else {
            return;
        };
        let Some(tasks) = job.tasks.checked_sub(1).and_then(|last| TaskRange::new(0, last)) else { return };
        let queue = self.workload.queues.get(job.queue as usize).map(|queue| &queue.name);
        if let Some((held, queue)) = self.held.as_ref().zip(queue)
            && !held.may_wait(queue)
        {
            truth.fate.rejected = true;
            return;
        }
        truth.waiting = Waiting::Run(tasks);
        truth.is_open = true;
        truth.first_stay = u32::try_from(self.stays.len()).unwrap_or(u32::MAX);
        self.note_waiting(number);
        let told = self.told(number);
        self.items.extend(told.map(FeedItem::Job));
        self.items.push(FeedItem::Pending { job: id(number), tasks });
    }

    /// A job as allocators are told of it: the one that was told last of those that ask for the same, changed where it
    /// stands, unless an allocator still looks at it.
    fn told(&mut self, number: u32) -> Option<Arc<PoolJob>> {
        let job = self.workload.jobs.get(number as usize)?;
        let queue = self.workload.queues.get(job.queue as usize)?;
        if let Some(last) = self.last_told.get_mut(job.asks as usize).and_then(Option::as_mut)
            && let Some(told) = Arc::get_mut(last)
        {
            told.job = id(number);
            told.queue.clone_from(&queue.name);
            told.submitted_at = job.submit;
            told.priority = job.priority;
            told.tasks = job.tasks;
            told.estimate = job.estimate;
            told.deadline = job.deadline;
            told.min_tasks = job.min_tasks;
            told.preemptible = job.preemptible;
            return Some(last.clone());
        }
        let told = self.described(number)?;
        if let Some(last) = self.last_told.get_mut(job.asks as usize) {
            *last = Some(told.clone());
        }
        Some(told)
    }

    /// A job as allocators are told of it.
    fn described(&self, number: u32) -> Option<Arc<PoolJob>> {
        let job = self.workload.jobs.get(number as usize)?;
        let asks = self.workload.asks.get(job.asks as usize)?;
        Some(Arc::new(PoolJob {
            job: id(number),
            queue: self.workload.queues.get(job.queue as usize)?.name.clone(),
            submitted_at: job.submit,
            priority: job.priority,
            tasks: job.tasks,
            resources: asks.request.clone(),
            constraints: asks.constraints.clone(),
            estimate: job.estimate,
            deadline: job.deadline,
            // A gang that was placed once is none any more.
            min_tasks: if self.jobs[number as usize].fate.start.is_some() { 1 } else { job.min_tasks },
            same: asks.same.clone(),
            preemptible: job.preemptible,
        }))
    }

    /// Something happens that the workload says.
    pub(crate) fn change(&mut self, now: Time, what: &Happening) {
        match what {
            Happening::Ends { job, tasks } => self.end_oldest(now, *job, tasks.unwrap_or(u32::MAX)),
            Happening::Cancelled { job } => self.cancel(now, *job),
            Happening::Agent { agent, facts } => self.describe_agent(*agent, facts),
            Happening::AgentLeaves { agent } => self.agent_leaves(now, *agent),
            Happening::Queue { queue, weight, limit, guarantee } => {
                if let Some(queue) = self.workload.queues.get(*queue as usize) {
                    let queue = queue.name.clone();
                    self.held.iter_mut().for_each(|held| held.set(&queue, limit));
                    let (weight, limit, guarantee) = (*weight, limit.clone(), guarantee.clone());
                    self.items.push(FeedItem::Queue { queue, weight, limit, guarantee });
                }
            }
        }
    }

    fn describe_agent(&mut self, number: u32, facts: &Arc<PoolAgent>) {
        let held: Vec<Resources> = self.running_on(number).map(|stay| self.holds(stay)).collect();
        if let Some(agent) = self.agents.get_mut(number as usize) {
            agent.describe(facts, &held);
            self.items.push(FeedItem::Agent(facts.clone()));
            self.note_changed(number);
        }
    }

    fn agent_leaves(&mut self, now: Time, number: u32) {
        let stays: Vec<u32> = self.running_on(number).collect();
        if let Some(agent) = self.agents.get_mut(number as usize).and_then(AgentTruth::leave) {
            self.items.push(FeedItem::AgentLeft { agent });
        }
        for stay in stays {
            if let Some((job, tasks)) = self.stop(now, stay, u32::MAX) {
                self.requeue(Requeued { job, tasks, at: now });
            }
        }
    }

    /// Tasks that were stopped wait again.
    fn requeue(&mut self, again: Requeued) {
        let Requeued { job, tasks, .. } = again;
        if let Some(truth) = self.jobs.get_mut(job as usize) {
            truth.waiting.insert(tasks);
        }
        self.note_waiting(job);
        self.requeued.push(again);
        self.items.push(FeedItem::Pending { job: id(job), tasks });
    }

    /// The stays on an agent that have not ended.
    fn running_on(&self, agent: u32) -> impl Iterator<Item = u32> {
        let runs = move |(number, stay): (u32, &Stay)| (stay.agent == agent && stay.runs()).then_some(number);
        (0..).zip(&self.stays).filter_map(runs)
    }

    /// All that the tasks of a stay that still run hold together.
    fn holds(&self, stay: u32) -> Resources {
        let count = self.stays.get(stay as usize).map_or(0, |stay| stay.left().map_or(0, TaskRange::count));
        self.slice(stay).and_then(|slice| slice.times(count)).unwrap_or_default()
    }

    /// What each task of a stay holds.
    fn slice(&self, number: u32) -> Option<&Resources> {
        let stay = self.stays.get(number as usize)?;
        let job = self.workload.jobs.get(stay.job as usize)?;
        let plain = self.workload.asks.get(job.asks as usize).map(|asks| &asks.slice);
        if self.named.is_empty() { plain } else { self.named.get(&number).or(plain) }
    }

    /// Counts a job among those that wait, or not any more, where limits make that matter.
    fn note_waiting(&mut self, number: u32) {
        let Some(held) = &mut self.held else { return };
        let (Some(truth), Some(job)) =
            (self.jobs.get_mut(number as usize), self.workload.jobs.get(number as usize))
        else {
            return;
        };
        let waits = !truth.waiting.is_empty();
        if let Some(queue) =
            self.workload.queues.get(job.queue as usize).filter(|_| waits != truth.is_pending)
        {
            truth.is_pending = waits;
            held.note_waiting(&queue.name, waits);
        }
    }

    fn note_changed(&mut self, number: u32) {
        if let Some(agent) = self.agents.get_mut(number as usize)
            && !agent.noted
        {
            agent.noted = true;
            self.changed.push(number);
        }
    }

    /// A stay has run for as long as its tasks do.
    pub(crate) fn end(&mut self, now: Time, stay: u32) {
        if let Some((job, _)) = self.stop(now, stay, u32::MAX) {
            self.close(now, job);
        }
    }

    /// The oldest running tasks of a job end.
    fn end_oldest(&mut self, now: Time, job: u32, tasks: u32) {
        let mut left = tasks;
        let mut stay = self.jobs.get(job as usize).map_or(0, |job| job.first_stay);
        while let Some(next) = self.stays.get(stay as usize).filter(|_| left > 0) {
            if next.job == job
                && let Some((_, ended)) = self.stop(now, stay, left)
            {
                left -= ended.last - ended.first + 1;
            }
            stay += 1;
        }
        self.close(now, job);
    }

    fn cancel(&mut self, now: Time, job: u32) {
        if let Some(truth) = self.jobs.get_mut(job as usize) {
            let waiting = std::mem::take(&mut truth.waiting);
            self.items.extend(
                waiting.ranges().into_iter().map(|tasks| FeedItem::Withdrawn { job: id(job), tasks }),
            );
        }
        self.note_waiting(job);
        self.end_oldest(now, job, u32::MAX);
    }

    /// Up to `most` tasks of a stay end. Returns which, and whose.
    fn stop(&mut self, now: Time, number: u32, most: u32) -> Option<(u32, TaskRange)> {
        let slice = self.slice(number)?.clone();
        let stay = self.stays.get_mut(number as usize)?;
        let (job, agent, start) = (stay.job, stay.agent, stay.start);
        let ended = stay.stop(now, most)?;
        if !stay.runs() && ended.first == stay.tasks.first {
            self.named.remove(&number);
        } else {
            self.early.push(EarlyEnd { stay: number, tasks: ended, at: now });
        }
        let truth = self.jobs.get_mut(job as usize)?;
        let slots = ended.count();
        truth.running -= u32::try_from(slots).unwrap_or(truth.running);
        let queue = self.workload.jobs.get(job as usize)?.queue;
        let queue = self.workload.queues.get(queue as usize)?.name.clone();
        self.held.iter_mut().for_each(|held| held.release(&queue, &slice, slots));
        let agent_truth = self.agents.get_mut(agent as usize)?;
        let still_there = agent_truth.release(&slice, slots);
        if let Some(agent) = self.workload.agents.get(agent as usize).map(|agent| agent.id.clone()) {
            let ran = Some(now.since(start));
            let (job, tasks) = (id(job), ended);
            self.items.push(FeedItem::Released { agent, job, tasks, queue, slice, slots, ran });
        }
        match still_there {
            agent::Left::More => self.note_changed(agent),
            agent::Left::Recount => self.recount(agent),
            agent::Left::Nothing => {}
        }
        Some((job, ended))
    }

    /// Counts anew what is free on an agent that has less than its tasks hold.
    fn recount(&mut self, number: u32) {
        let held: Vec<Resources> = self.running_on(number).map(|stay| self.holds(stay)).collect();
        if let Some(agent) = self.agents.get_mut(number as usize) {
            agent.recount(&held);
        }
        self.note_changed(number);
    }

    /// A job is over once nothing of it waits or runs.
    fn close(&mut self, now: Time, job: u32) {
        let Some(truth) = self.jobs.get_mut(job as usize) else { return };
        if truth.is_open && truth.running == 0 && truth.waiting.is_empty() {
            truth.is_open = false;
            truth.fate.end = Some(now);
            self.items.push(FeedItem::JobEnded { job: id(job) });
        }
    }

    /// Checks a placement of a grant and carries it out. Returns the stay, and when it ends by itself.
    fn place(
        &mut self,
        now: Time,
        proposed: ProposedPlacement,
    ) -> Result<(u32, Option<Time>, Placement), String> {
        let ProposedPlacement { agent: agent_id, version, job: job_id, tasks, slice, slots } = proposed;
        let number = number(job_id).ok_or_else(|| format!("there is no job {job_id}"))?;
        let agent = *self.by_id.get(&agent_id).ok_or_else(|| format!("there is no agent {agent_id}"))?;
        self.check(number, agent, version, tasks, &slice, slots)?;
        let stay = u32::try_from(self.stays.len()).map_err(|_| "too many tasks were placed".to_owned())?;
        let (truth, job) = match (self.jobs.get_mut(number as usize), self.workload.jobs.get(number as usize))
        {
            (Some(truth), Some(job)) => (truth, job),
            _ => return Err(format!("there is no job {job_id}")),
        };
        if !truth.waiting.remove(tasks) {
            return Err(format!("tasks {tasks} of job {job_id} do not all wait"));
        }
        truth.running += u32::try_from(slots).unwrap_or(u32::MAX);
        truth.fate.start.get_or_insert(now);
        self.note_waiting(number);
        self.stays.push(Stay::new(number, agent, tasks, now));
        if !slice.is_scalar() {
            self.named.insert(stay, slice.clone());
        }
        let queue = self.workload.queues.get(job.queue as usize).map(|queue| queue.name.clone());
        let queue = queue.ok_or_else(|| format!("job {job_id} has no queue"))?;
        let run = AttemptRun { job: job_id, tasks, attempt: 1 };
        let ends = job.run.map(|run| now + run);
        Ok((stay, ends, Placement { agent: agent_id, run, queue, slice, slots }))
    }

    /// Everything as it stands, for an allocator that has to be told from the start.
    pub(crate) fn account(&mut self, active: FeedItem, queues: Vec<FeedItem>) -> Vec<FeedItem> {
        self.items.clear();
        self.changed.clear();
        let mut items = vec![active];
        items.extend(queues);
        for agent in &mut self.agents {
            items.extend(agent.facts.clone().map(FeedItem::Agent));
            items.extend(agent.offer());
        }
        for (number, truth) in (0..).zip(&self.jobs).filter(|(_, truth)| truth.is_open) {
            items.extend(self.described(number).map(FeedItem::Job));
            let ranges = truth.waiting.ranges().into_iter();
            items.extend(ranges.map(|tasks| FeedItem::Pending { job: id(number), tasks }));
        }
        let (epoch, grant) = (Epoch(0), GrantId(0));
        items.extend((0..).zip(&self.stays).filter_map(|(number, stay)| {
            let placements = vec![self.running(number, stay)?];
            Some(FeedItem::Allocated { epoch, grant, placements, at: stay.start })
        }));
        items
    }

    fn running(&self, number: u32, stay: &Stay) -> Option<Placement> {
        let tasks = stay.left()?;
        let job = self.workload.jobs.get(stay.job as usize)?;
        Some(Placement {
            agent: self.workload.agents.get(stay.agent as usize)?.id.clone(),
            run: AttemptRun { job: id(stay.job), tasks, attempt: 1 },
            queue: self.workload.queues.get(job.queue as usize)?.name.clone(),
            slice: self.slice(number)?.clone(),
            slots: tasks.count(),
        })
    }

    /// What became of everything.
    pub(crate) fn outcome(self, policy: Policy, ended_at: Time) -> Outcome {
        let Self { stays, early, requeued, preempted, named, jobs, .. } = self;
        Outcome {
            policy,
            stays,
            early,
            requeued,
            preempted,
            named,
            jobs: jobs.into_iter().map(|job| job.fate).collect(),
            ended_at,
        }
    }
}

/// The id of a job by its number.
pub(crate) fn id(number: u32) -> JobId {
    JobId(u64::from(number) + 1)
}

/// The number of a job by its id.
fn number(job: JobId) -> Option<u32> {
    job.0.checked_sub(1).and_then(|number| u32::try_from(number).ok())
}

/// The version of an offer.
fn version(number: u64) -> OfferVersion {
    OfferVersion(number)
}
