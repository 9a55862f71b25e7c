//! State as a fold over the ledger: the same live and on replay.

use std::sync::Arc;

use allot_model::{
    AgentFacts, AgentId, AttemptRun, DispatcherRecord, Entry, FeedItem, JobId, OffersRecord, Placement,
    PoolJob, Record, RegistryRecord, Resources, Span, Time,
};

use crate::OffersCore;
use crate::agents::{Agent, Drain, Freed, Held};
use crate::allocators::Active;
use crate::demand::Demand;

impl OffersCore {
    pub(crate) fn fold(&mut self, entry: &Entry) {
        match &entry.record {
            Record::Writer(_) => {}
            Record::Registry(record) => self.fold_registry(record),
            Record::Offers(record) => self.fold_own(entry.at, record),
            Record::Dispatcher(record) => self.fold_dispatcher(record),
        }
    }

    fn fold_registry(&mut self, record: &RegistryRecord) {
        match record {
            RegistryRecord::AgentJoined { facts } => self.fold_joined(facts),
            RegistryRecord::AgentUnreachable { agent } => self.settle(agent, |a| a.away = true),
            RegistryRecord::AgentReturned { agent } => self.settle(agent, |a| a.away = false),
            RegistryRecord::AgentDraining { agent, .. } => self.settle(agent, |a| a.drain = Drain::Under),
            RegistryRecord::AgentDrained { agent } => self.settle(agent, |a| a.drain = Drain::Over),
            RegistryRecord::AgentUndrained { agent } => self.settle(agent, |a| a.drain = Drain::No),
            RegistryRecord::AgentGone { agent } => self.settle(agent, |a| {
                a.away = true;
                a.drain = Drain::No;
            }),
        }
    }

    fn fold_joined(&mut self, facts: &Arc<AgentFacts>) {
        let agent = self.agents.entry(facts.id.clone()).or_insert_with(|| Agent::new(facts.clone()));
        agent.facts = facts.clone();
        agent.recount();
        self.settle(&facts.id, |agent| agent.away = false);
    }

    fn settle(&mut self, id: &AgentId, change: impl FnOnce(&mut Agent)) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        change(agent);
        agent.settle();
        let item = match agent.in_pool() {
            true => FeedItem::Agent(agent.describe()),
            false => FeedItem::AgentLeft { agent: id.clone() },
        };
        self.mark(id);
        self.say(item);
    }

    /// The agent's offer may have to change.
    fn mark(&mut self, id: &AgentId) {
        if self.epoch.is_some() {
            self.dirty.insert(id.clone());
        }
    }

    fn fold_own(&mut self, at: Time, record: &OffersRecord) {
        match record {
            OffersRecord::Allocated { placements, .. } => {
                placements.iter().for_each(|placement| self.fold_placement(at, placement));
            }
            OffersRecord::Preempted(preemption) => self.fold_preempted(at, preemption),
            OffersRecord::AllocatorActivated { epoch, instance, policy } => {
                let active = Active { epoch: *epoch, instance: instance.clone(), policy: policy.clone() };
                self.allocators.active = Some(active);
            }
            OffersRecord::PolicyChosen { policy } => self.allocators.chosen = Some(policy.clone()),
        }
    }

    fn fold_placement(&mut self, at: Time, placement: &Placement) {
        let Placement { agent: id, run, queue, slice, slots } = placement;
        self.demand.unqueue(run.job, run.tasks);
        self.demand.note_placed(run.job);
        let Some(agent) = self.agents.get_mut(id) else { return };
        let slice = shared_slice(&self.demand, run.job, slice);
        self.demand.charge(queue, &slice, *slots);
        agent.hold(*run, Held { attempt: run.attempt, at, queue: queue.clone(), slice, turns: None }, *slots);
        agent.is_taken = true;
        self.mark(id);
    }

    fn fold_dispatcher(&mut self, record: &DispatcherRecord) {
        match record {
            DispatcherRecord::JobAdmitted { job, queue, submitted_at, spec, waits, .. } => {
                let job = PoolJob::of(*job, queue.clone(), *submitted_at, spec);
                self.fold_admitted(Arc::new(job), *waits);
            }
            DispatcherRecord::JobReady { job } => {
                let tasks = self.demand.jobs.get(job).map_or(0, |job| job.pool.tasks);
                if let Some(run) = all_of(*job, tasks) {
                    self.fold_queued(run);
                }
            }
            DispatcherRecord::TasksQueued { run } => self.fold_queued(*run),
            DispatcherRecord::TasksEnded { agent, run, started_at, ended_at, .. } => {
                self.fold_released(agent, *run, started_at.map(|start| ended_at.since(start)));
            }
            DispatcherRecord::AllocationReturned { agent, run } => self.fold_released(agent, *run, None),
            DispatcherRecord::JobCancelled { job } => {
                for tasks in self.demand.withdraw(*job) {
                    self.say(FeedItem::Withdrawn { job: *job, tasks });
                }
            }
            DispatcherRecord::JobEnded { job, .. } => {
                if self.demand.end(*job) {
                    self.say(FeedItem::JobEnded { job: *job });
                }
            }
            DispatcherRecord::QueueSet { queue, weight, limit, guarantee } => {
                self.demand.set_queue(queue, *weight, limit, guarantee);
                self.say(self.queue_item(queue, *weight));
            }
            DispatcherRecord::JobRejected { .. }
            | DispatcherRecord::TasksStarted { .. }
            | DispatcherRecord::TasksKilling { .. } => {}
        }
    }

    fn fold_admitted(&mut self, job: Arc<PoolJob>, waits: bool) {
        let run = all_of(job.job, job.tasks);
        self.demand.admit(job.clone(), waits);
        self.say(FeedItem::Job(job));
        if let Some(run) = run.filter(|_| !waits) {
            self.say(FeedItem::Pending { job: run.job, tasks: run.tasks });
        }
    }

    fn fold_queued(&mut self, run: AttemptRun) {
        if self.demand.queue(run) {
            self.say(FeedItem::Pending { job: run.job, tasks: run.tasks });
        }
    }

    fn fold_released(&mut self, id: &AgentId, run: AttemptRun, ran: Option<Span>) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let freed = agent.release(run);
        self.preemptions.end(id, run);
        for Freed { tasks, held, slots } in freed.into_iter().filter(|freed| freed.slots > 0) {
            self.demand.refund(&held.queue, &held.slice, slots);
            let (agent, job, slice) = (id.clone(), run.job, (*held.slice).clone());
            self.say(FeedItem::Released { agent, job, tasks, queue: held.queue, slice, slots, ran });
            self.mark(id);
        }
    }
}

/// The slice in the memory of its job, where it is the same.
pub(crate) fn shared_slice(demand: &Demand, job: JobId, slice: &Resources) -> Arc<Resources> {
    let of_job = demand.jobs.get(&job).map(|job| job.slice.clone());
    of_job.filter(|shared| **shared == *slice).unwrap_or_else(|| Arc::new(slice.clone()))
}

/// The first try of all tasks of a job.
fn all_of(job: JobId, tasks: u32) -> Option<AttemptRun> {
    let tasks = allot_model::TaskRange::new(0, tasks.checked_sub(1)?)?;
    Some(AttemptRun { job, tasks, attempt: 1 })
}
