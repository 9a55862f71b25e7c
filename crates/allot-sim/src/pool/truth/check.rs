//! What is checked of every grant, as the offers service does.

use allot_model::{
    Amount, Candidate, FeedItem, Grant, OfferVersion, Placement, ProposedPlacement, Resources, TaskRange,
    Time,
};

use super::{EPOCH, Truth};
use crate::workload::Asks;

/// A grant that must not have been made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {}s grant {grant} is wrong: {message}", at.as_micros() / 1_000_000)]
pub struct WrongGrant {
    /// When it was made.
    pub at: Time,
    /// Its number.
    pub grant: u64,
    /// What is wrong with it.
    pub message: String,
}

impl Truth<'_> {
    /// Checks a grant and carries it out. `placed` is told each stay that begins and when it ends by itself.
    pub(crate) fn commit(
        &mut self,
        now: Time,
        grant: Grant,
        mut placed: impl FnMut(u32, Option<Time>),
    ) -> Result<(), WrongGrant> {
        let number = grant.grant;
        let wrong = |message| WrongGrant { at: now, grant: number.0, message };
        if grant.epoch != EPOCH || number <= self.last_grant || grant.placements.is_empty() {
            return Err(wrong("its epoch or number is not right, or it places nothing".to_owned()));
        }
        self.last_grant = number;
        self.check_together(&grant).map_err(wrong)?;
        let mut placements: Vec<Placement> = Vec::with_capacity(grant.placements.len());
        for proposed in grant.placements {
            let (stay, ends, placement) = self.place(now, proposed).map_err(wrong)?;
            placed(stay, ends);
            placements.push(placement);
        }
        self.items.push(FeedItem::Allocated { epoch: EPOCH, grant: number, placements, at: now });
        Ok(())
    }

    /// The first tasks of a job that wants some placed together are so many, in one grant, on agents that are alike.
    fn check_together(&self, grant: &Grant) -> Result<(), String> {
        for placement in &grant.placements {
            let Some(number) = super::number(placement.job) else { continue };
            let job = self.workload.jobs.get(number as usize);
            // Once so many were placed together, the others follow one by one, and so does what is tried again.
            let is_first = self.jobs.get(number as usize).is_some_and(|job| job.fate.start.is_none());
            let Some(job) = job.filter(|job| is_first && job.min_tasks > 1) else { continue };
            let parts = || grant.placements.iter().filter(|other| other.job == placement.job);
            let tasks: u64 = parts().map(|part| part.tasks.count()).sum();
            if tasks < u64::from(job.min_tasks) {
                return Err(format!(
                    "it places {tasks} tasks of job {}, which wants {} placed together",
                    placement.job, job.min_tasks
                ));
            }
            let same = self.workload.asks.get(job.asks as usize).and_then(|asks| asks.same.as_ref());
            if let Some(attribute) = same.filter(|attribute| !self.are_alike(parts(), attribute)) {
                return Err(format!("its agents are not of the same `{attribute}`"));
            }
        }
        Ok(())
    }

    /// True where the agents of all parts have the same value of an attribute.
    fn are_alike<'p>(&self, parts: impl Iterator<Item = &'p ProposedPlacement>, attribute: &str) -> bool {
        let mut values = parts.map(|part| {
            let agent = self.by_id.get(&part.agent).and_then(|agent| self.agents.get(*agent as usize));
            agent.and_then(|agent| agent.facts.as_ref()?.attributes.get(attribute))
        });
        let first = values.next().flatten();
        first.is_some() && values.all(|value| value == first)
    }

    /// Everything that can be said of a placement by itself; takes what it holds.
    pub(super) fn check(
        &mut self,
        job: u32,
        agent: u32,
        version: OfferVersion,
        tasks: TaskRange,
        slice: &Resources,
        slots: u64,
    ) -> Result<(), String> {
        let facts = self.workload.jobs.get(job as usize);
        let asks = facts.and_then(|job| self.workload.asks.get(job.asks as usize));
        let (Some(facts), Some(asks)) = (facts, asks) else { return Err(format!("there is no job {job}")) };
        if slots != tasks.count() {
            return Err(format!(
                "it has {slots} slots for {} tasks, and none take turns here",
                tasks.count()
            ));
        }
        let queue = self.workload.queues.get(facts.queue as usize);
        if let (Some(held), Some(queue)) = (&mut self.held, queue) {
            held.take(&queue.name, slice, slots)?;
        }
        let agent = self.agents.get_mut(agent as usize).ok_or("there is no such agent")?;
        let described = agent.facts.as_ref().filter(|_| agent.offered_as(version));
        let described = described.ok_or("its agent offers nothing, or has made another offer since")?;
        let candidate =
            Candidate { id: &described.agent, host: &described.host, attributes: &described.attributes };
        if !asks.constraints.iter().all(|constraint| constraint.holds(candidate)) {
            return Err(format!("a constraint does not hold on {}", described.agent));
        }
        if *slice != asks.slice {
            check_named(asks, slice, described.total.take(&asks.request).is_some())?;
        }
        let name = described.agent.clone();
        if agent.take(slice, slots) {
            Ok(())
        } else {
            Err(format!("{name} has not so much free: {}", slice.to_json()))
        }
    }
}

/// A slice with items or ranges is of the amounts that are asked for, and of nothing else.
fn check_named(asks: &Asks, slice: &Resources, can_be: bool) -> Result<(), String> {
    let alike = slice.iter().count() == asks.request.iter().count();
    let amounts = asks.request.iter().all(|(name, wanted)| slice.total(name) == wanted);
    let in_pieces = asks.request.iter().all(|(name, wanted)| match slice.get(name) {
        Some(Amount::Items(items)) if wanted < 1_000 => items.len() == 1,
        Some(Amount::Items(items)) => items.values().all(|part| *part == 1_000),
        _ => true,
    });
    if alike && amounts && in_pieces && can_be {
        Ok(())
    } else {
        Err(format!("{} is not what is asked for", slice.to_json()))
    }
}
