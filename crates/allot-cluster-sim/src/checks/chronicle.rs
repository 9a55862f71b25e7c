//! What the ledger says, record by record, told by none of the cores: what may follow what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{
    AgentId, AttemptId, AttemptRun, Batch, DispatcherRecord, Epoch, GrantId, Incarnation, JobId, JobSpec,
    JobState, OffersRecord, OnUnreachable, Placement, PreemptRules, Reason, Record, RegistryRecord,
    Resources, TaskState, Time, Writer,
};

use super::Promise::{NoHarm, NoOverallocation, OneEnd, OneRelease, OneRun};
use super::preemptions::Preemptions;
use super::{Check, hold};
use crate::marks::{Mark, Marks};

#[cfg(test)]
mod tests;

/// How an attempt ended that held something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttemptEnd {
    pub(crate) state: TaskState,
    pub(crate) reason: Reason,
    /// True where its agent was given up since it was placed: called unreachable or gone, or another life of it joined.
    pub(crate) lost: bool,
    /// True where it may go on unseen, for all that anybody has promised.
    pub(crate) may_go_on: bool,
}

/// The ledger so far.
#[derive(Debug, Default)]
pub(crate) struct Chronicle {
    epochs: BTreeMap<Writer, Epoch>,
    pub(crate) agents: BTreeMap<AgentId, AgentLine>,
    pub(crate) jobs: BTreeMap<JobId, JobLine>,
    placements: BTreeMap<AttemptId, PlacementLine>,
    /// The attempts that hold something, and the first of their placement.
    held: BTreeMap<AttemptId, AttemptId>,
    /// How attempts ended that held something.
    pub(crate) ended: BTreeMap<AttemptId, AttemptEnd>,
    returned: BTreeSet<AttemptId>,
    killing: BTreeSet<AttemptId>,
    preemptions: Preemptions,
    allocator: Epoch,
    pub(crate) grants: BTreeSet<(Epoch, GrantId)>,
    message_ids: BTreeMap<Arc<str>, JobId>,
    /// The last submission that was decided on.
    pub(crate) decided: u64,
    /// How many jobs have not ended.
    pub(crate) open: usize,
    records: u64,
}

#[derive(Debug, Default)]
pub(crate) struct AgentLine {
    pub(crate) incarnations: Vec<Incarnation>,
    total: Resources,
    allocated: Resources,
    pub(crate) away: bool,
    pub(crate) gone: bool,
    draining: bool,
    /// The number of the last record that gave up what was there.
    lost_at: u64,
    /// The number of the last record by which an operator gave it up.
    gone_at: u64,
    /// The number of the last record by which another life began, and nobody knew that the one before was over.
    unseen_at: u64,
}

#[derive(Debug)]
pub(crate) struct JobLine {
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) cancelled: bool,
    pub(crate) ended: Option<JobState>,
    tasks: Vec<TaskLine>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TaskLine {
    phase: Phase,
    /// How many tries count against the job's retries.
    spent: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Queued(u32),
    Placed(u32),
    /// The next try follows.
    Pausing(u32),
    /// Cancelled while this try was queued: an allocation that was under way may still come.
    Cancelled(u32),
    Ended(TaskState),
}

#[derive(Debug)]
struct PlacementLine {
    agent: AgentId,
    slice: Resources,
    slots: u64,
    left: u64,
    at: u64,
    committed_at: Time,
}

/// A placement, as far as it counts whether its tasks may be stopped for others.
pub(crate) struct Held<'a> {
    pub(crate) agent: &'a AgentId,
    pub(crate) since: Time,
}

impl Chronicle {
    /// A ledger without records, where such preemptions are allowed.
    pub(crate) fn of(preempt: PreemptRules) -> Self {
        Self { preemptions: Preemptions::of(preempt), ..Self::default() }
    }

    /// Takes the next message of the ledger.
    pub(crate) fn read(&mut self, batch: &Batch, marks: &mut Marks) -> Check {
        let known = self.epochs.get(&batch.writer).copied().unwrap_or_default();
        for entry in &batch.entries {
            self.records += 1;
            if let Record::Writer(started) = &entry.record {
                let next = started.epoch.0 == known.0 + 1 && started.epoch == batch.epoch;
                hold(NoHarm, next, || {
                    format!("{:?} went from epoch {known} to {}", batch.writer, started.epoch)
                })?;
                self.epochs.insert(batch.writer, started.epoch);
                continue;
            }
            hold(NoHarm, batch.epoch == known, || {
                format!("{:?} of epoch {} wrote in epoch {known}", batch.writer, batch.epoch)
            })?;
            match &entry.record {
                Record::Writer(_) => {}
                Record::Registry(record) => self.registry(record, marks),
                Record::Offers(record) => self.offers(entry.at, record, marks)?,
                Record::Dispatcher(record) => self.dispatcher(record, marks)?,
            }
        }
        Ok(())
    }

    fn registry(&mut self, record: &RegistryRecord, marks: &mut Marks) {
        let at = self.records;
        match record {
            RegistryRecord::AgentJoined { facts } => {
                let agent = self.agents.entry(facts.id.clone()).or_default();
                if agent.incarnations.last().is_some_and(|last| *last != facts.incarnation) {
                    marks.see(Mark::AgentReborn);
                    agent.lost_at = at;
                    if agent.away && !agent.gone {
                        marks.see(Mark::RebornUnseen);
                        agent.unseen_at = at;
                    }
                }
                agent.incarnations.push(facts.incarnation);
                agent.total = facts.resources.clone();
                (agent.away, agent.gone) = (false, false);
            }
            RegistryRecord::AgentUnreachable { agent } => self.agent(agent, |agent| {
                marks.see(Mark::AgentUnreachable);
                (agent.away, agent.lost_at) = (true, at);
            }),
            RegistryRecord::AgentReturned { agent } => self.agent(agent, |agent| {
                marks.see(Mark::AgentReturned);
                agent.away = false;
            }),
            RegistryRecord::AgentDraining { agent, .. } => self.agent(agent, |agent| agent.draining = true),
            RegistryRecord::AgentDrained { .. } => marks.see(Mark::Drained),
            RegistryRecord::AgentUndrained { agent } => self.agent(agent, |agent| agent.draining = false),
            RegistryRecord::AgentGone { agent } => self.agent(agent, |agent| {
                if !agent.allocated.is_empty() {
                    marks.see(Mark::DeclaredGone);
                }
                (agent.gone, agent.lost_at, agent.gone_at) = (true, at, at);
            }),
        }
    }

    fn agent(&mut self, id: &AgentId, change: impl FnOnce(&mut AgentLine)) {
        if let Some(agent) = self.agents.get_mut(id) {
            change(agent);
        }
    }

    fn offers(&mut self, at: Time, record: &OffersRecord, marks: &mut Marks) -> Check {
        match record {
            OffersRecord::PolicyChosen { .. } => Ok(()),
            OffersRecord::AllocatorActivated { epoch, .. } => {
                if self.allocator.0 > 0 {
                    marks.see(Mark::AllocatorReplaced);
                }
                let before = std::mem::replace(&mut self.allocator, *epoch);
                hold(NoHarm, epoch.0 == before.0 + 1, || {
                    format!("allocators went from epoch {before} to {epoch}")
                })
            }
            OffersRecord::Allocated { epoch, grant, placements } => {
                let current = self.allocator;
                hold(NoHarm, *epoch == current, || {
                    format!("a grant of epoch {epoch} was committed in {current}")
                })?;
                self.grants.insert((*epoch, *grant));
                placements.iter().try_for_each(|placement| self.allocated(at, placement))
            }
            OffersRecord::Preempted(preemption) => {
                let (epoch, current) = (preemption.epoch, self.allocator);
                hold(NoHarm, epoch == current, || {
                    format!("a preemption of epoch {epoch} was committed in {current}")
                })?;
                let mut preemptions = std::mem::take(&mut self.preemptions);
                let check = preemptions.committed(at, preemption, self);
                self.preemptions = preemptions;
                check
            }
        }
    }

    fn allocated(&mut self, committed_at: Time, placement: &Placement) -> Check {
        let Placement { agent: id, run, slice, slots, .. } = placement;
        let job = self.jobs.get_mut(&run.job);
        hold(OneRun, job.is_some(), || format!("{run} was allocated and there is no such job"))?;
        for attempt in run.attempts() {
            let task = job_task(&mut self.jobs, attempt);
            let waits = task.as_ref().is_some_and(|task| {
                [Phase::Queued(attempt.attempt), Phase::Cancelled(attempt.attempt)].contains(&task.phase)
            });
            let phase = task.as_ref().map(|task| task.phase);
            hold(OneRun, waits, || format!("{attempt} was allocated on {id}, while the task is {phase:?}"))?;
            if let Some(task) = task {
                task.phase = match task.phase {
                    Phase::Cancelled(_) => Phase::Ended(TaskState::Killed),
                    _ => Phase::Placed(attempt.attempt),
                };
            }
            self.held.insert(attempt, AttemptId::new(run.job, run.tasks.first, run.attempt));
        }
        let left = run.tasks.count();
        hold(NoOverallocation, *slots >= 1 && *slots <= left, || format!("{run} has {slots} slots"))?;
        // Lost already, where the offers service had not read of that: its tasks may be given up though it comes back.
        let away = self.agents.get(id).filter(|agent| agent.away);
        let at = away.map_or(self.records, |agent| agent.lost_at.saturating_sub(1));
        let (agent, slice, slots) = (id.clone(), slice.clone(), *slots);
        let amount = slice.times(slots).unwrap_or_default();
        let line = PlacementLine { agent, slice, slots, left, at, committed_at };
        self.placements.insert(AttemptId::new(run.job, run.tasks.first, run.attempt), line);
        let agent = self.agents.entry(id.clone()).or_default();
        let adds = agent.allocated.add(&amount).is_ok() && agent.total.contains(&agent.allocated);
        hold(NoOverallocation, adds, || {
            format!("{run} on {id}: {} would be allocated of {}", agent.allocated, agent.total)
        })
    }

    fn dispatcher(&mut self, record: &DispatcherRecord, marks: &mut Marks) -> Check {
        match record {
            DispatcherRecord::JobAdmitted { job, message_id, spec, waits, .. } => {
                self.decide(*job)?;
                if let Some(id) = message_id {
                    let before = self.message_ids.insert(id.clone(), *job);
                    hold(OneEnd, before.is_none(), || {
                        format!("job {job} was submitted before, as {before:?}")
                    })?;
                }
                let phase = if *waits { Phase::Waiting } else { Phase::Queued(1) };
                let tasks = vec![TaskLine { phase, spent: 0 }; spec.tasks as usize];
                let line = JobLine { spec: spec.clone(), cancelled: false, ended: None, tasks };
                self.jobs.insert(*job, line);
                self.open += 1;
                Ok(())
            }
            DispatcherRecord::JobRejected { job, rejection, .. } => {
                marks.see(match rejection.field.as_str() {
                    "Nats-Msg-Id" => Mark::SubmittedTwice,
                    "queue" => Mark::QueueFull,
                    _ => Mark::Rejected,
                });
                self.decide(*job)
            }
            DispatcherRecord::JobReady { job } => {
                let line = self.jobs.get_mut(job);
                let waits = line.as_ref().is_some_and(|line| {
                    line.ended.is_none() && line.tasks.iter().all(|task| task.phase == Phase::Waiting)
                });
                hold(OneEnd, waits, || format!("job {job} is ready and did not wait"))?;
                line.into_iter()
                    .flat_map(|line| &mut line.tasks)
                    .for_each(|task| task.phase = Phase::Queued(1));
                Ok(())
            }
            DispatcherRecord::TasksQueued { run } => self.each(*run, |attempt, task| {
                let holds = task.phase == Phase::Pausing(attempt.attempt);
                let phase = task.phase;
                task.phase = Phase::Queued(attempt.attempt);
                hold(OneRun, holds, || format!("{attempt} was queued while the task is {phase:?}"))
            }),
            DispatcherRecord::TasksStarted { run, .. } => self.each(*run, |attempt, task| {
                let phase = task.phase;
                hold(OneRun, phase == Phase::Placed(attempt.attempt), || {
                    format!("{attempt} started while the task is {phase:?}")
                })
            }),
            DispatcherRecord::TasksKilling { run, reason, by, .. } => {
                self.killing.extend(run.attempts());
                let job = by.as_ref().map(|by| by.job);
                run.attempts().try_for_each(|attempt| self.preemptions.stopping(attempt, *reason, job))
            }
            DispatcherRecord::TasksEnded { agent, run, state, reason, retry_at, .. } => {
                run.attempts().try_for_each(|attempt| {
                    self.attempt_ended(agent, attempt, *state, *reason, retry_at.is_some(), marks)
                })
            }
            DispatcherRecord::AllocationReturned { agent, run } => {
                marks.see(Mark::AllocationReturned);
                run.attempts().try_for_each(|attempt| self.give_back(agent, attempt))
            }
            DispatcherRecord::JobCancelled { job } => {
                let Some(line) = self.jobs.get_mut(job) else { return Ok(()) };
                line.cancelled = true;
                for task in &mut line.tasks {
                    task.phase = match task.phase {
                        Phase::Queued(attempt) => Phase::Cancelled(attempt),
                        Phase::Waiting | Phase::Pausing(_) => Phase::Ended(TaskState::Killed),
                        phase => phase,
                    };
                }
                Ok(())
            }
            DispatcherRecord::JobEnded { job, state, .. } => self.job_ended(*job, *state, marks),
            DispatcherRecord::QueueSet { .. } => Ok(()),
        }
    }

    /// Submissions are decided on in order, each once.
    fn decide(&mut self, job: JobId) -> Check {
        let before = std::mem::replace(&mut self.decided, job.0);
        hold(OneEnd, job.0 == before + 1, || format!("job {job} was decided on after {before}"))
    }

    fn each(&mut self, run: AttemptRun, mut change: impl FnMut(AttemptId, &mut TaskLine) -> Check) -> Check {
        run.attempts().try_for_each(|attempt| match job_task(&mut self.jobs, attempt) {
            Some(task) => change(attempt, task),
            None => hold(OneEnd, false, || format!("there is no task for {attempt}")),
        })
    }

    fn attempt_ended(
        &mut self,
        agent: &AgentId,
        attempt: AttemptId,
        state: TaskState,
        reason: Reason,
        retried: bool,
        marks: &mut Marks,
    ) -> Check {
        let placed_at = self.placed_at(attempt);
        self.release(agent, attempt)?;
        match reason {
            Reason::HandedBack => marks.see(Mark::HandedBack),
            Reason::TimeLimit => marks.see(Mark::TimeLimit),
            Reason::AgentUnreachable if retried => marks.see(Mark::RetriedElsewhere),
            _ => {}
        }
        let is_lost = |agent: &AgentLine| agent.lost_at > placed_at || agent.away || agent.gone;
        let lost = self.agents.get(agent).is_some_and(is_lost);
        let later =
            |number: fn(&AgentLine) -> u64| self.agents.get(agent).is_some_and(|a| number(a) > placed_at);
        let (unseen, by_operator) = (later(|agent| agent.unseen_at), later(|agent| agent.gone_at));
        let Some(job) = self.jobs.get_mut(&attempt.task.job) else { return Ok(()) };
        let waits = job.spec.on_unreachable == OnUnreachable::Wait;
        let may_go_on = lost && (by_operator || (reason == Reason::AgentUnreachable && !waits));
        self.ended.insert(attempt, AttemptEnd { state, reason, lost, may_go_on });
        let wanted = lost && (!waits || unseen);
        hold(OneRun, reason != Reason::AgentUnreachable || wanted, || {
            format!(
                "{attempt} was given up with {agent}, which is not unreachable or whose tasks wait for it"
            )
        })?;
        let (cancelled, retries) = (job.cancelled, job.spec.retries);
        self.preemptions.ended(attempt, (state, reason), retried || cancelled, marks)?;
        let Some(task) = job_task(&mut self.jobs, attempt) else { return Ok(()) };
        let phase = task.phase;
        hold(OneRun, phase == Phase::Placed(attempt.attempt), || {
            format!("{attempt} ended while the task is {phase:?}")
        })?;
        if !retried {
            task.phase = Phase::Ended(state);
            return Ok(());
        }
        let is_to_blame =
            !reason.is_preemption() && !matches!(reason, Reason::AgentUnreachable | Reason::HandedBack);
        task.spent += u32::from(is_to_blame);
        task.phase = Phase::Pausing(attempt.attempt + 1);
        let spent = task.spent;
        hold(OneRun, !cancelled && spent <= retries, || {
            format!("{attempt} is tried again after {spent} tries of 1+{retries}, cancelled: {cancelled}")
        })?;
        hold(OneRun, state != TaskState::Finished, || format!("{attempt} finished and is tried again"))
    }

    fn placed_at(&self, attempt: AttemptId) -> u64 {
        self.held.get(&attempt).and_then(|first| self.placements.get(first)).map_or(0, |line| line.at)
    }

    fn give_back(&mut self, agent: &AgentId, attempt: AttemptId) -> Check {
        self.release(agent, attempt)?;
        self.returned.insert(attempt);
        let cancelled = self.jobs.get(&attempt.task.job).is_some_and(|job| job.cancelled);
        hold(OneEnd, cancelled, || format!("{attempt} was given back, and its job is not cancelled"))?;
        if let Some(task) = job_task(&mut self.jobs, attempt)
            && task.phase == Phase::Placed(attempt.attempt)
        {
            task.phase = Phase::Ended(TaskState::Killed);
        }
        Ok(())
    }

    fn release(&mut self, id: &AgentId, attempt: AttemptId) -> Check {
        let first = self.held.remove(&attempt);
        let placement = first.and_then(|first| self.placements.get_mut(&first));
        let there = placement.as_ref().is_some_and(|placement| placement.agent == *id);
        hold(OneRelease, there, || format!("{attempt} was released on {id}, and holds nothing there"))?;
        let (Some(placement), Some(agent)) = (placement, self.agents.get_mut(id)) else { return Ok(()) };
        placement.left -= 1;
        let freed = placement.slots.saturating_sub(placement.left);
        placement.slots -= freed;
        let amount = placement.slice.times(freed).unwrap_or_default();
        let holds = agent.allocated.subtract(&amount).is_ok();
        hold(OneRelease, holds, || format!("{attempt} released {amount}, which was not allocated on {id}"))
    }

    fn job_ended(&mut self, job: JobId, state: JobState, marks: &mut Marks) -> Check {
        let Some(line) = self.jobs.get_mut(&job) else {
            return hold(OneEnd, false, || format!("job {job} ended and was never admitted"));
        };
        let before = line.ended.replace(state);
        hold(OneEnd, before.is_none(), || format!("job {job} ended twice: {before:?}, {state:?}"))?;
        self.open -= 1;
        if state == JobState::Dropped {
            marks.see(Mark::Dropped);
            line.tasks.iter_mut().filter(|task| task.phase == Phase::Waiting).for_each(|task| {
                task.phase = Phase::Ended(TaskState::Dropped);
            });
        }
        // An allocation that came after the cancellation was decided on is given back later.
        let over = |task: &TaskLine| match task.phase {
            Phase::Ended(_) | Phase::Cancelled(_) => true,
            Phase::Placed(_) => line.cancelled,
            _ => false,
        };
        let all_over = line.tasks.iter().all(over);
        hold(OneEnd, all_over, || format!("job {job} ended as {state:?} with tasks {:?}", line.tasks))?;
        let failed = line.tasks.iter().any(|task| task.phase != Phase::Ended(TaskState::Finished));
        hold(OneEnd, failed != (state == JobState::Finished), || {
            format!("job {job} ended as {state:?}: {:?}", line.tasks)
        })
    }

    /// The generation that writes now.
    pub(crate) fn epoch_of(&self, writer: Writer) -> Epoch {
        self.epochs.get(&writer).copied().unwrap_or_default()
    }

    /// True where the attempt holds an allocation on that agent.
    pub(crate) fn holds(&self, agent: &AgentId, attempt: AttemptId) -> bool {
        let placement = self.held.get(&attempt).and_then(|first| self.placements.get(first));
        placement.is_some_and(|placement| placement.agent == *agent)
    }

    /// What an attempt holds, where by the ledger it does.
    pub(crate) fn held_by(&self, attempt: AttemptId) -> Option<Held<'_>> {
        let placement = self.placements.get(self.held.get(&attempt)?)?;
        Some(Held { agent: &placement.agent, since: placement.committed_at })
    }

    /// True where the attempt was ever given a place.
    pub(crate) fn was_placed(&self, attempt: AttemptId) -> bool {
        self.held.contains_key(&attempt)
            || self.ended.contains_key(&attempt)
            || self.returned.contains(&attempt)
    }

    /// True where the ledger says that the attempt is to stop, or has no place any more.
    pub(crate) fn is_unwanted(&self, attempt: AttemptId) -> bool {
        let cancelled = self.jobs.get(&attempt.task.job).is_none_or(|job| job.cancelled);
        cancelled || self.killing.contains(&attempt) || !self.held.contains_key(&attempt)
    }

    /// Nothing is held, nothing waits.
    pub(crate) fn at_rest(&self) -> Check {
        let held = self.held.keys().next();
        hold(OneRelease, held.is_none(), || format!("{held:?} was never released"))?;
        let allocated = self.agents.iter().find(|(_, agent)| !agent.allocated.is_empty());
        hold(OneRelease, allocated.is_none(), || {
            format!("at rest there is something allocated: {allocated:?}")
        })?;
        let open = self.jobs.iter().find(|(_, job)| job.ended.is_none());
        hold(OneEnd, open.is_none(), || format!("a job has not ended: {open:?}"))
    }
}

fn job_task(jobs: &mut BTreeMap<JobId, JobLine>, attempt: AttemptId) -> Option<&mut TaskLine> {
    jobs.get_mut(&attempt.task.job)?.tasks.get_mut(attempt.task.index as usize)
}
