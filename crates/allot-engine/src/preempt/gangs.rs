//! Places for gangs: for all of its tasks, or for none.
//!
//! Each place is made as for a single task, one after the other; where the agents have to have an attribute in common, on
//! those of one value. Places for which nobody has to be stopped are held as well, so that nobody else has them before the
//! others are free. Once all are, the tasks go there in one grant.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{AgentId, AllocatorMessage, Epoch, GrantId, JobId, Preemption, Time, Victim};

use super::victims::{Ask, Choice, Expected, Search};
use super::{MOST_PLACES, Made, Standing, standing};
use crate::dims::Vector;
use crate::engine::Output;
use crate::flight::Flight;
use crate::gang::Seats;
use crate::pass;
use crate::pool::Pool;

/// For a gang of more tasks nobody is stopped: how long the search takes grows with their square.
const MOST_TASKS: usize = 200;

/// A place that is held for a task of a gang.
struct Place {
    grant: GrantId,
    agent: AgentId,
    /// Who is stopped for it; nobody where there is room already, or will be.
    victims: Vec<Victim>,
}

/// Has tasks stopped for a gang that fits nowhere, if that makes places for all of it, and no more than `most`. One that is
/// too large for that has its turn where nobody was before it, up to [`MOST_TASKS`]. `expected` is what others take of what
/// becomes free.
pub(super) fn make_places(
    pool: &mut Pool,
    flight: &mut Flight,
    by: (Epoch, Time),
    ask: Ask,
    (most, expected): (usize, &mut Expected),
    out: &mut Vec<Output>,
) -> Made {
    let job = pool.backlog.job(ask.job);
    let (id, shape, together) = (job.key.job(), job.shape, job.together as usize);
    let has_turn = together <= most || (most == MOST_PLACES && together <= MOST_TASKS);
    let is_under_way = pool.preempting.claims.count_of(id) > 0;
    if !has_turn || is_under_way || pool.backlog.as_next(ask.job).is_none() {
        return Made { all: is_under_way, ..Made::default() };
    }
    let mut later = pool.preempting.is_off_until(id, by.1);
    if later.is_some() {
        return Made { later, ..Made::default() };
    }
    for value in values(pool, shape) {
        let places = places_among(pool, flight, by, (ask, together, expected), &value, &mut later);
        if places.is_empty() {
            continue;
        }
        let ((epoch, now), cause) = (by, ask.cause);
        for Place { grant, agent, victims } in places.into_iter().filter(|place| !place.victims.is_empty()) {
            let asked = Preemption { epoch, grant, job: id, agent, cause, victims };
            pool.preempting.rate.spend(now, asked.tasks());
            out.push(Output::Say(AllocatorMessage::Preempt(asked)));
        }
        return Made { places: together.min(most), all: true, later };
    }
    Made { later, ..Made::default() }
}

/// Places for all of a gang on agents of a value, which are held for it then; none where it takes more than there may be.
fn places_among(
    pool: &mut Pool,
    flight: &mut Flight,
    by: (Epoch, Time),
    (ask, together, expected): (Ask, usize, &mut Expected),
    value: &str,
    later: &mut Option<Time>,
) -> Vec<Place> {
    let (epoch, now) = by;
    let mut note_later = |at: Option<Time>| *later = [*later, at].into_iter().flatten().min();
    let (mut places, mut stopped, mut makes_room): (Vec<Place>, u64, bool) = (Vec::new(), 0, false);
    let mut trial = expected.clone();
    while places.len() < together {
        let mut search = Search::new(pool, flight, now, ask, &trial).among(value);
        let need = search.need().clone();
        let (agent, victims, freed) = if let Some(slot) = search.fits() {
            (search.agent(slot), Vec::new(), Vector::default())
        } else if let Some(slot) = search.will_fit() {
            makes_room = true;
            (search.agent(slot), Vec::new(), Vector::default())
        } else {
            let best = search.best();
            note_later(search.later);
            let Some(Choice { agent, victims, freed, .. }) = best else { break };
            makes_room = true;
            (Some(agent), victims, freed)
        };
        stopped += victims.iter().map(|victim| victim.run.tasks.count()).sum::<u64>();
        let allowed_at = pool.preempting.rate.allows_at(now, stopped);
        let Some(agent) = agent.filter(|_| allowed_at.is_some_and(|at| at <= now)) else {
            note_later(allowed_at);
            break;
        };
        trial.is_made(&need, &freed);
        let grant = pool.claim(flight, by, ask, agent.clone(), victims.clone());
        places.push(Place { grant, agent, victims });
    }
    // Where all of them are free as they are, something else is in its way.
    if places.len() < together || !makes_room {
        places.drain(..).for_each(|place| _ = pool.give_up((epoch, place.grant)));
    } else {
        *expected = trial;
    }
    places
}

/// The values of the attribute that the agents of a gang have to have in common, an empty one where there is none: those
/// whose agents would have room for all of it if nothing else ran there.
pub(super) fn values(pool: &Pool, shape: u32) -> Vec<Arc<str>> {
    let shape = pool.shapes.get(shape);
    let (mut rooms, mut values) = (BTreeMap::<Arc<str>, u64>::new(), Vec::new());
    for (slot, agent) in pool.fleet.iter() {
        let here = agent.total.times(&shape.need);
        let Some(value) = pool.fleet.value(slot, shape).filter(|_| here > 0) else { continue };
        let room = rooms.entry(value.clone()).or_default();
        let had = std::mem::replace(room, room.saturating_add(here));
        if had < shape.count() && *room >= shape.count() {
            values.push(value);
            if shape.same().is_none() {
                break;
            }
        }
    }
    values
}

/// Gives a gang the places that were made for it, once all of them are free. Where one comes to nothing, all do.
pub(super) fn take_places(
    pool: &mut Pool,
    flight: &mut Flight,
    job: JobId,
    by: (Epoch, Time),
    out: &mut Vec<Output>,
) {
    let keys = pool.preempting.claims.keys_of(job);
    let next = pool.backlog.find(job).and_then(|slot| pool.backlog.as_next(slot));
    let mut next = next.filter(|next| {
        let (lane, shape) = (pool.backlog.queues.lane(next.lane), pool.shapes.get(next.shape));
        let is_within = pool.backlog.queues.tree.refusing(lane.branch, &shape.need, shape.count()).is_none();
        is_within && keys.len() as u64 == shape.count()
    });
    let (mut slots, mut waits) = (Vec::with_capacity(keys.len()), false);
    for key in &keys {
        match standing(pool, flight, *key) {
            Standing::Waits => waits = true,
            Standing::Over => next = None,
            Standing::Free(slot) => slots.push(slot),
        }
    }
    if waits && next.is_some() {
        return;
    }
    for key in keys {
        let agent = pool.preempting.claims.get(key).map(|claim| claim.agent.clone());
        pool.let_go(key);
        agent.into_iter().for_each(|agent| pool.renew(&agent, flight));
    }
    pool.preempting.stirred = true;
    if let Some(next) = next {
        let seats = seats(pool, next.shape, slots);
        if let Some(gang) = pass::place_gang(pool, next, seats, by.1) {
            pass::send_grant(pool, flight, gang, by, out);
        }
    }
}

/// Takes room for a task of the shape on each of these agents.
fn seats(pool: &mut Pool, shape: u32, mut slots: Vec<u32>) -> Vec<Seats> {
    slots.sort_unstable();
    let Pool { shapes, fleet, .. } = pool;
    let shape = shapes.get(shape);
    let mut seats: Vec<Seats> = Vec::new();
    for agent in slots {
        let named = fleet.named(agent, shape);
        fleet.take(agent, shape, 1, named.as_ref());
        match seats.last_mut().filter(|last| last.agent == agent && last.named.is_none() && named.is_none()) {
            Some(last) => last.slots += 1,
            None => seats.push(Seats { agent, slots: 1, named }),
        }
    }
    seats
}
