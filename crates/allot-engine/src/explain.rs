//! Why tasks have no place: worked out when someone asks, at no cost to decisions.

use std::collections::BTreeMap;

use allot_model::view::lowest_terms;
use allot_model::{Amount, JobId, KeptForOthers, LimitReached, PlaceInLine, QueueShare, WhyView};

use crate::backlog::{Backlog, Job};
use crate::policy::Policy;
use crate::pool::Pool;
use crate::queues::Queues;
use crate::shape::Shapes;
use crate::survey::survey;

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
    let (queues, need) = (&pool.backlog.queues, &pool.shapes.get(job.shape).need);
    let branch = queues.tree.get(queues.tree.refusing(queues.lane(job.lane).branch, need)?);
    let (limited, [limit, held, asked]) = branch.exceeded(need, &pool.dims)?;
    let words = |units| limited.to_json(units);
    let (limit, held, asked) = (words(limit), words(held), words(asked));
    Some(LimitReached { queue: branch.queue.clone()?, limited: limited.to_string(), limit, held, asked })
}

/// What too little is left of beside what is kept for other queues.
fn kept_for_others(pool: &Pool, job: &Job) -> Option<KeptForOthers> {
    let (queues, need) = (&pool.backlog.queues, &pool.shapes.get(job.shape).need);
    if queues.is_strict_line() {
        return None;
    }
    let guaranteed = queues.assured_by(job.lane, need);
    let (dim, amounts) = queues.tree.kept_from(need, guaranteed)?;
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
            pool.shapes.is_open(shape) && pool.fleet.with_room(pool.shapes.get(shape)).0.is_some()
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
