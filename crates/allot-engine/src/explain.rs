//! Why tasks have no place: worked out when someone asks, at no cost to decisions.

use std::collections::BTreeMap;

use allot_model::view::lowest_terms;
use allot_model::{
    Amount, GangRoom, JobId, KeptForOthers, LimitReached, PlaceInLine, QueueShare, Reservation, Span, Time,
    WhyView,
};

use crate::backlog::{Backlog, Job};
use crate::gang;
use crate::policy::Policy;
use crate::pool::Pool;
use crate::queues::Queues;
use crate::shape::{Gang, Shapes};
use crate::survey::survey;
use crate::timeline::FOREVER;

/// Where the tasks of a job stand. What was heard has to be taken in before.
pub(crate) fn explain(pool: &Pool, policy: &Policy, id: JobId) -> Option<WhyView> {
    let backlog = &pool.backlog;
    let job = backlog.job(backlog.find(id)?);
    let found = survey(pool, pool.shapes.get(job.shape));
    let waiting = job.unplaced.count();
    let ahead = lanes_ahead(&backlog.queues, &pool.shapes, job.lane);
    Some(WhyView {
        job: id,
        policy: policy.name.clone(),
        waiting,
        granted: job.wanted.count().saturating_sub(waiting),
        held: backlog.held(id),
        limit: if waiting > 0 { limit_reached(pool, job) } else { None },
        kept: if waiting > 0 { kept_for_others(pool, job) } else { None },
        gang: gang_room(pool, job),
        reservation: reservation(pool, job),
        room_made: pool.room_made_for(id),
        reasons: found.reasons,
        nearest: found.nearest,
        line: job.queued.then(|| place_in_line(backlog, job)),
        share: share(pool, job.lane),
        queues_ahead: ahead.len() as u64,
        behind: served_first(pool, &ahead).and_then(|lane| share(pool, lane)),
    })
}

/// The nearest limit that one more task of the job would exceed.
fn limit_reached(pool: &Pool, job: &Job) -> Option<LimitReached> {
    let (queues, shape) = (&pool.backlog.queues, pool.shapes.get(job.shape));
    let (need, count) = (&shape.need, shape.count());
    let branch = queues.tree.get(queues.tree.refusing(queues.lane(job.lane).branch, need, count)?);
    let (limited, [limit, held, asked]) = branch.exceeded(need, count, &pool.dims)?;
    let words = |units| limited.to_json(units);
    let (limit, held, asked) = (words(limit), words(held), words(asked));
    Some(LimitReached { queue: branch.queue.clone()?, limited: limited.to_string(), limit, held, asked })
}

/// How many of the tasks that are placed together have room now.
fn gang_room(pool: &Pool, job: &Job) -> Option<GangRoom> {
    let shape = pool.shapes.get(job.shape);
    let Gang { tasks, same } = shape.gang.as_ref().filter(|_| !job.unplaced.is_empty())?;
    let most = gang::most_room(&pool.fleet, shape);
    let (value, room) = most.map_or((None, 0), |(value, room)| (Some(value.to_string()), room));
    Some(GangRoom {
        tasks: u64::from(*tasks),
        same: same.as_ref().map(ToString::to_string),
        room,
        value: value.filter(|_| same.is_some()),
        most: Some(gang::most_room_ever(&pool.fleet, shape)),
    })
}

/// For whom room is kept that concerns the job.
fn reservation(pool: &Pool, job: &Job) -> Option<Reservation> {
    let id = job.key.job();
    let (job, at) = match (&pool.easy, &pool.conservative) {
        _ if !job.queued => None,
        (Some(easy), _) => easy.kept.as_ref().map(|kept| (kept.job, kept.shadow())),
        (_, Some(plans)) => plans.start_of(pool.backlog.find(id)?).map(|start| (id, start)),
        _ => None,
    }?;
    Some(Reservation {
        job,
        at: Some(at).filter(|at| (Time::ZERO + Span::from_micros(1)..FOREVER).contains(at)),
    })
}

/// What too little is left of beside what is kept for other queues.
fn kept_for_others(pool: &Pool, job: &Job) -> Option<KeptForOthers> {
    let (queues, shape) = (&pool.backlog.queues, pool.shapes.get(job.shape));
    if queues.is_strict_line() {
        return None;
    }
    let guaranteed = queues.assured_by(job.lane, shape);
    let (dim, amounts) = queues.tree.kept_from(&shape.need, shape.count(), guaranteed)?;
    let resource = pool.dims.name(dim)?.clone();
    let [free, kept, asked] = amounts.map(|units| Amount::Scalar(units).to_json(&resource));
    Some(KeptForOthers { resource, free, kept, asked })
}

fn place_in_line(backlog: &Backlog, job: &Job) -> PlaceInLine {
    let queues = &backlog.queues;
    let lanes = queues.lanes().filter(|(slot, _)| *slot == job.lane || !queues.rank());
    let (mut jobs_ahead, mut tasks_ahead, mut first) = (0, 0, None);
    for (key, slot) in lanes.flat_map(|(_, lane)| lane.waiting()).flat_map(|cell| cell.before(job.key)) {
        jobs_ahead += 1;
        tasks_ahead += backlog.job(slot).unplaced.count();
        first = first.min(Some(key)).or(Some(key));
    }
    let queue = queues.lane(job.lane).queue.clone().filter(|_| queues.rank());
    let first = first.map(crate::policy::JobKey::job);
    PlaceInLine { queue, jobs_ahead, tasks_ahead, first, strict: queues.is_strict() }
}

/// The lanes with waiting tasks that are preferred to this one, in order.
fn lanes_ahead(queues: &Queues, shapes: &Shapes, lane: u32) -> Vec<u32> {
    if !queues.rank() {
        return Vec::new();
    }
    let order = queues.lanes_in_order(shapes);
    if let Some(place) = order.iter().position(|other| *other == lane) {
        return order.into_iter().take(place).collect();
    }
    // One with nothing that waits stands nowhere.
    let path = |lane| queues.tree.path(queues.lane(lane).branch, queues.key(lane));
    let own = path(lane);
    order.into_iter().filter(|other| path(*other) < own).collect()
}

/// The first of these lanes with something that fits now, the first of all where none has.
fn served_first(pool: &Pool, lanes: &[u32]) -> Option<u32> {
    let mut known = BTreeMap::new();
    let mut fits = |shape: u32| {
        *known.entry(shape).or_insert_with(|| {
            let known = pool.shapes.get(shape);
            pool.shapes.is_open(shape)
                && match known.gang {
                    Some(_) => gang::has_room(&pool.fleet, known),
                    None => pool.fleet.with_room(known).0.is_some(),
                }
        })
    };
    let queues = &pool.backlog.queues;
    let with_room = lanes.iter().copied().find(|lane| queues.has_next_in(*lane, &pool.shapes, &mut fits));
    with_room.or_else(|| lanes.first().copied())
}

fn share(pool: &Pool, lane: u32) -> Option<QueueShare> {
    let queues = &pool.backlog.queues;
    if !queues.rank() {
        return None;
    }
    let known = queues.lane(lane);
    let counts = queues.counts_by(lane, pool.fleet.capacity());
    let resource = counts.and_then(|(dim, _, _)| pool.dims.name(dim).cloned());
    let share = counts.map_or([0, 1], |(_, held, whole)| lowest_terms(held, whole));
    Some(QueueShare {
        queue: known.queue.clone()?,
        weight: queues.weight_of(known.queue.as_ref()?),
        resource,
        share,
    })
}
