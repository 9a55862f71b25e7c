//! Checking a grant: it is committed as a whole or refused as a whole, with the reason.

use std::collections::BTreeMap;

use allot_model::resources::WHOLE;
use allot_model::{
    AgentId, Amount, AttemptRun, Candidate, Epoch, Grant, InstanceId, JobId, Placement, ProposedPlacement,
    RefusalCode, Request, Resources, TaskRange, TaskSet,
};

use crate::agents::{Agent, Standing};
use crate::demand::Job;
use crate::feed;
use crate::{GrantRefusal, OffersCore};

/// The most that a grant may take in the ledger, where it is one record, and a record one message at most.
const MOST_BYTES: usize = 768 * 1024;

type Tries = Vec<(TaskRange, u32)>;

pub(crate) fn refuse<T>(code: RefusalCode, message: impl Into<String>) -> Result<T, GrantRefusal> {
    Err(GrantRefusal { code, message: message.into() })
}

impl OffersCore {
    /// The placements to commit for this grant, or why not.
    pub(crate) fn check(&self, instance: &InstanceId, grant: &Grant) -> Result<Vec<Placement>, GrantRefusal> {
        self.check_active(instance, grant.epoch)?;
        if grant.placements.is_empty() {
            return refuse(RefusalCode::Malformed, "the grant names no placement");
        }
        let mut free = BTreeMap::new();
        let mut tasks = BTreeMap::new();
        let mut checked = Vec::with_capacity(grant.placements.len());
        for proposed in &grant.placements {
            note_once(&mut tasks, proposed)?;
            self.check_one(proposed, &mut free, &mut checked)?;
        }
        for job in tasks.into_keys() {
            self.check_gang(job, &grant.placements)?;
        }
        let bytes: usize = checked.iter().map(feed::size_of_placement).sum();
        if bytes > MOST_BYTES {
            let runs = checked.len();
            return refuse(
                RefusalCode::Malformed,
                format!(
                    "the grant places {runs} runs of tasks, too many for one record: grant them in parts"
                ),
            );
        }
        match self.demand.limits.check(&checked) {
            Ok(()) => Ok(checked),
            Err(over) => refuse(RefusalCode::OverLimit, over.to_string()),
        }
    }

    pub(crate) fn check_active(&self, instance: &InstanceId, epoch: Epoch) -> Result<(), GrantRefusal> {
        if self.allocators.is_active(epoch, instance) {
            return Ok(());
        }
        let present = self.allocators.epoch();
        refuse(
            RefusalCode::NotActive,
            format!("{instance} with epoch {epoch} does not decide; the present epoch is {present}"),
        )
    }

    fn check_one<'a>(
        &'a self,
        proposed: &'a ProposedPlacement,
        free: &mut BTreeMap<&'a AgentId, Resources>,
        checked: &mut Vec<Placement>,
    ) -> Result<(), GrantRefusal> {
        let ProposedPlacement { agent: id, job: job_id, tasks, slice, slots, .. } = proposed;
        let agent = self.available(id)?;
        let (job, parts) = self.pending(*job_id, *tasks)?;
        check_slice(job, agent, proposed)?;
        check_slots(proposed, &parts)?;
        let left = free.entry(id).or_insert_with(|| agent.free.clone());
        let taken = slice.times(*slots).is_some_and(|amount| left.subtract(&amount).is_ok());
        if !taken {
            return refuse(
                RefusalCode::NotFree,
                format!("{id} has less free than {slots} tasks of job {job_id} need"),
            );
        }
        checked.extend(parts.into_iter().map(|(tasks, attempt)| Placement {
            agent: id.clone(),
            run: AttemptRun { job: *job_id, tasks, attempt },
            queue: job.pool.queue.clone(),
            slice: slice.clone(),
            slots: (*slots).min(tasks.count()),
        }));
        Ok(())
    }

    /// A gang that has not been placed yet is placed together, on agents that have in common what they have to.
    fn check_gang(&self, id: JobId, placements: &[ProposedPlacement]) -> Result<(), GrantRefusal> {
        let Some(job) = self.demand.jobs.get(&id).filter(|job| job.pool.min_tasks > 1) else { return Ok(()) };
        let parts = || placements.iter().filter(|proposed| proposed.job == id);
        let (least, slots) =
            (job.pool.min_tasks, parts().map(|part| part.slots).fold(0, u64::saturating_add));
        if slots < u64::from(least) {
            return refuse(
                RefusalCode::GangTooSmall,
                format!(
                    "job {id} needs {least} tasks to be placed together, each in a slot of its own; the grant has {slots}"
                ),
            );
        }
        let Some(same) = &job.pool.same else { return Ok(()) };
        let value = |part: &ProposedPlacement| self.agents.get(&part.agent)?.facts.attributes.get(same);
        let mut values = parts().map(|part| (&part.agent, value(part)));
        let Some((first, expected)) = values.next() else { return Ok(()) };
        match (expected, values.find(|(_, value)| *value != expected)) {
            (Some(_), None) => Ok(()),
            (None, _) => refuse(
                RefusalCode::DoesNotFit,
                format!("the agents of job {id} have to have the same `{same}`, and {first} has none"),
            ),
            (Some(expected), Some((other, value))) => refuse(
                RefusalCode::DoesNotFit,
                format!(
                    "the agents of job {id} have to have the same `{same}`: that of {first} is `{expected}`, and {other} has {}",
                    value.map_or_else(|| "none".to_owned(), |value| format!("`{value}`"))
                ),
            ),
        }
    }

    pub(crate) fn available(&self, id: &AgentId) -> Result<&Agent, GrantRefusal> {
        match self.agents.get(id) {
            None => refuse(RefusalCode::AgentUnavailable, format!("there is no agent {id}")),
            Some(agent) if agent.standing != Standing::Ready => {
                refuse(RefusalCode::AgentUnavailable, format!("{id} takes no tasks now"))
            }
            Some(agent) => Ok(agent),
        }
    }

    /// The job, and the runs of the tasks with the try that each waits for.
    fn pending(&self, id: JobId, tasks: TaskRange) -> Result<(&Job, Tries), GrantRefusal> {
        let Some(job) = self.demand.jobs.get(&id) else {
            return refuse(RefusalCode::NotPending, format!("job {id} is not known or has ended"));
        };
        let parts: Vec<_> = job.pending.within(tasks).map(|(part, attempt)| (part, *attempt)).collect();
        let count: u64 = parts.iter().map(|(part, _)| part.count()).sum();
        if count < tasks.count() {
            let missing = tasks.count() - count;
            return refuse(
                RefusalCode::NotPending,
                format!("{missing} of the tasks {id}.{tasks} do not wait for a place"),
            );
        }
        Ok((job, parts))
    }
}

/// The same task must not stand twice in one grant.
fn note_once(tasks: &mut BTreeMap<JobId, TaskSet>, proposed: &ProposedPlacement) -> Result<(), GrantRefusal> {
    let seen = tasks.entry(proposed.job).or_default();
    if seen.within(proposed.tasks).next().is_some() {
        return refuse(
            RefusalCode::Malformed,
            format!("a task of {}.{} stands twice", proposed.job, proposed.tasks),
        );
    }
    seen.insert(proposed.tasks);
    Ok(())
}

/// Tasks may take turns in fewer slots where they all wait for the same try.
fn check_slots(proposed: &ProposedPlacement, parts: &Tries) -> Result<(), GrantRefusal> {
    let ProposedPlacement { job, tasks, slots, .. } = proposed;
    let count = tasks.count();
    match (*slots, parts.len()) {
        (slots, _) if slots == count => Ok(()),
        (0, _) => refuse(RefusalCode::Malformed, format!("{job}.{tasks} has no slot: give it at least 1")),
        (slots, _) if slots > count => {
            refuse(RefusalCode::Malformed, format!("{job}.{tasks} has {slots} slots for {count} tasks"))
        }
        (_, 1) => Ok(()),
        _ => refuse(
            RefusalCode::Malformed,
            format!(
                "the tasks {job}.{tasks} wait for different tries and cannot take turns: one slot for each"
            ),
        ),
    }
}

fn check_slice(job: &Job, agent: &Agent, proposed: &ProposedPlacement) -> Result<(), GrantRefusal> {
    let ProposedPlacement { agent: id, job: job_id, tasks, slice, .. } = proposed;
    let request = &job.pool.resources;
    let plain = *job.slice == *slice && agent.facts.resources.is_scalar();
    if !plain && !answers(request, slice, &agent.facts.resources) {
        return refuse(
            RefusalCode::DoesNotFit,
            format!("the slice is not what a task of job {job_id} asks for"),
        );
    }
    if !slice.is_scalar() && tasks.count() > 1 {
        return refuse(RefusalCode::Malformed, "a slice that names items or ranges is for one task");
    }
    let facts = &agent.facts;
    let candidate = Candidate { id: &facts.id, host: &facts.host, attributes: &facts.attributes };
    match job.pool.constraints.iter().find(|constraint| !constraint.holds(candidate)) {
        Some(constraint) => refuse(RefusalCode::DoesNotFit, format!("{id} does not satisfy `{constraint}`")),
        None => Ok(()),
    }
}

/// True where the slice has just what is asked for, in the kinds that the agent has: a share of one item, or whole
/// items.
fn answers(request: &Request, slice: &Resources, total: &Resources) -> bool {
    let right_kind = |name, wanted: u64| match (slice.get(name), total.get(name)) {
        (Some(Amount::Scalar(amount)), Some(Amount::Scalar(_))) => *amount == wanted,
        (Some(Amount::Items(items)), Some(Amount::Items(_))) if wanted < WHOLE => {
            items.len() == 1 && items.values().all(|units| *units == wanted)
        }
        (Some(Amount::Items(items)), Some(Amount::Items(_))) => {
            items.values().all(|units| *units == WHOLE) && items.len() as u64 * WHOLE == wanted
        }
        (Some(amount @ Amount::Ranges(_)), Some(Amount::Ranges(_))) => amount.total() == wanted,
        _ => false,
    };
    request.iter().all(|(name, wanted)| right_kind(name, wanted))
        && slice.iter().all(|(name, _)| request.get(name) > 0)
}
