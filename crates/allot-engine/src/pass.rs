//! One pass: decision after decision until nothing that waits fits anywhere.
//!
//! The order of decisions is that of one task at a time: the queue that ranks first, its first job that fits, the
//! best agent for it. Where the next decisions would be the same, they are made in one step.

use allot_model::{
    AgentId, AllocatorMessage, Epoch, Grant, GrantId, JobId, ProposedPlacement, Resources, Span, TaskRange,
    Time,
};

use crate::backlog::Next;
use crate::engine::{Limits, Output};
use crate::flight::{Flight, Unanswered};
use crate::pool::Pool;
use crate::shape::{Hope, Shape};

/// Decisions about tasks of one job on one agent that follow each other, on their way to become a grant.
struct Draft {
    next: Next,
    job: JobId,
    agent: u32,
    tasks: TaskRange,
    slots: u64,
    named: Option<Resources>,
}

impl Draft {
    /// Takes in a decision that differs only in following directly; gives it back where it is another.
    fn extend(&mut self, other: Self) -> Option<Self> {
        let follows = self.tasks.last.checked_add(1) == Some(other.tasks.first);
        let alike = self.named.is_none() && other.named.is_none();
        if follows && alike && self.is_for(other.next, other.agent) {
            self.tasks.last = other.tasks.last;
            self.slots += other.slots;
            return None;
        }
        Some(other)
    }

    fn is_for(&self, next: Next, agent: u32) -> bool {
        self.next.job == next.job && self.agent == agent
    }
}

/// Decides until nothing fits or the limits are reached. Returns the time where another pass is to go on.
pub(crate) fn run(
    pool: &mut Pool,
    flight: &mut Flight,
    limits: &Limits,
    epoch: Epoch,
    now: Time,
    out: &mut Vec<Output>,
) -> Option<Time> {
    pool.refresh(flight);
    let mut waiting = flight.count();
    let mut send = |pool: &mut Pool, draft: Draft| send_grant(pool, flight, draft, epoch, now, out);
    let mut draft: Option<Draft> = None;
    let (mut made, mut decided) = (0, 0);
    let goes_on = loop {
        if made >= limits.grants_per_pass || decided >= limits.decisions_per_pass {
            break Some(now);
        }
        decided += 1;
        // Answers to grants in flight start the next pass.
        if waiting >= limits.unanswered {
            break None;
        }
        let Some(next) = pool.next() else { break None };
        let Some(decision) = decide(pool, next, draft.as_ref(), limits.ahead) else { continue };
        let finished = match &mut draft {
            None => draft.replace(decision),
            Some(open) => open.extend(decision).and_then(|other| draft.replace(other)),
        };
        if let Some(finished) = finished {
            made += 1;
            waiting = send(pool, finished);
        }
    };
    draft.into_iter().for_each(|last| {
        send(pool, last);
    });
    pool.fleet.settle();
    goes_on
}

/// Places the next tasks of a job. Nothing where they fit nowhere, which is then known of all that ask for the same.
fn decide(pool: &mut Pool, next: Next, before: Option<&Draft>, ahead: Span) -> Option<Draft> {
    let Some(agent) = pool.best_agent(next.shape, next.job) else {
        pool.shapes.set_hope(next.shape, Hope::None);
        return None;
    };
    let slots = slots_in_one_step(pool, next, agent, before);
    let shape = pool.shapes.get(next.shape);
    let named = pool.fleet.named(agent, shape);
    let turns = if named.is_some() { 1 } else { pool.turns(next.job, slots, ahead) };
    let (tasks, slots) = pool.backlog.serve(next, &shape.need, slots, turns, pool.fleet.capacity())?;
    pool.fleet.take(agent, shape, slots, named.as_ref());
    pool.taken(agent);
    Some(Draft { next, job: pool.backlog.job(next.job).key.job(), agent, tasks, slots, named })
}

/// How many slots follow each other on this agent before another decision is due. Asking who is next costs as much
/// as a decision, so where queues compete it is asked only once the same decision has come twice.
fn slots_in_one_step(pool: &Pool, next: Next, agent: u32, before: Option<&Draft>) -> u64 {
    let repeats = before.is_some_and(|draft| draft.is_for(next, agent));
    if pool.backlog.queues.rank() && !repeats {
        return 1;
    }
    let shape = pool.shapes.get(next.shape);
    let waiting = pool.backlog.job(next.job).unplaced.count();
    let most = pool.fleet.times(agent, shape).min(waiting);
    pool.backlog.queues.stretch(next.lane, &shape.need, most, &pool.shapes, pool.fleet.capacity())
}

/// Makes a grant of the decisions; returns how many grants wait for an answer now.
fn send_grant(
    pool: &mut Pool,
    flight: &mut Flight,
    draft: Draft,
    epoch: Epoch,
    now: Time,
    out: &mut Vec<Output>,
) -> usize {
    let Some((id, version)) = offer_of(pool, draft.agent) else { return flight.count() };
    let Draft { next, job, agent, tasks, slots, named } = draft;
    let slice = slice_of(pool.shapes.get(next.shape), named.as_ref());
    let (lane, shape) = (next.lane, next.shape);
    let agent = Some(agent);
    let grant = Unanswered { epoch, sent_at: now, agent, version, lane, shape, job, tasks, slots, named };
    let number = flight.next_number();
    pool.on_granted(&grant, number);
    flight.add(grant);
    let placements = vec![ProposedPlacement { agent: id, version, job, tasks, slice, slots }];
    let grant = Grant { epoch, grant: GrantId(number), placements };
    out.push(Output::Say(AllocatorMessage::Grant(grant)));
    flight.count()
}

fn offer_of(pool: &Pool, agent: u32) -> Option<(AgentId, allot_model::OfferVersion)> {
    let agent = pool.fleet.get(agent);
    Some((agent.facts.as_ref()?.agent.clone(), agent.offer.as_ref()?.version))
}

fn slice_of(shape: &Shape, named: Option<&Resources>) -> Resources {
    let mut slice = shape.slice.clone();
    for (name, amount) in named.into_iter().flat_map(Resources::iter) {
        slice.set(name.clone(), amount.clone());
    }
    slice
}
