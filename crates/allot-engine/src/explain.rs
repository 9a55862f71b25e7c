//! Why tasks have no place: worked out when someone asks, at no cost to decisions.

use std::collections::BTreeMap;

use allot_model::view::lowest_terms;
use allot_model::{JobId, PlaceInLine, QueueShare, WhyView};

use crate::backlog::{Backlog, Job};
use crate::policy::Policy;
use crate::pool::Pool;
use crate::survey::survey;

/// Where the tasks of a job stand. What was heard has to be taken in before.
pub(crate) fn explain(pool: &Pool, policy: &Policy, id: JobId) -> Option<WhyView> {
    let backlog = &pool.backlog;
    let job = backlog.job(backlog.find(id)?);
    let found = survey(pool, pool.shapes.get(job.shape));
    let waiting = job.unplaced.count();
    let ahead = lanes_ahead(backlog, job.lane);
    Some(WhyView {
        job: id,
        policy: policy.name.clone(),
        waiting,
        granted: job.wanted.count().saturating_sub(waiting),
        held: backlog.held(id),
        reasons: found.reasons,
        nearest: found.nearest,
        line: job.queued.then(|| place_in_line(backlog, job)),
        share: share(pool, job.lane),
        queues_ahead: ahead.len() as u64,
        behind: served_first(pool, &ahead).and_then(|lane| share(pool, lane)),
    })
}

fn place_in_line(backlog: &Backlog, job: &Job) -> PlaceInLine {
    let lane = backlog.lane(job.lane);
    let (mut jobs_ahead, mut tasks_ahead, mut first) = (0, 0, None);
    for (key, slot) in lane.waiting().flat_map(|cell| cell.before(job.key)) {
        jobs_ahead += 1;
        tasks_ahead += backlog.job(slot).unplaced.count();
        first = first.min(Some(key)).or(Some(key));
    }
    let first = first.map(crate::policy::JobKey::job);
    PlaceInLine { queue: lane.queue.clone(), jobs_ahead, tasks_ahead, first, strict: backlog.is_strict() }
}

/// The lanes with waiting tasks that are preferred to this one, in order.
fn lanes_ahead(backlog: &Backlog, lane: u32) -> Vec<u32> {
    let own = backlog.lane(lane).key();
    let mut ahead = backlog.ranked();
    ahead.retain(|other| *other != lane && backlog.ranked_key(*other) < Some(&own));
    ahead
}

/// The first of these lanes with something that fits now, the first of all where none has.
fn served_first(pool: &Pool, lanes: &[u32]) -> Option<u32> {
    let mut known = BTreeMap::new();
    let mut fits = |shape: u32| {
        *known.entry(shape).or_insert_with(|| {
            pool.shapes.is_open(shape) && pool.fleet.best(pool.shapes.get(shape)).0.is_some()
        })
    };
    let with_room = lanes.iter().copied().find(|lane| pool.backlog.has_next_in(*lane, &mut fits));
    with_room.or_else(|| lanes.first().copied())
}

fn share(pool: &Pool, lane: u32) -> Option<QueueShare> {
    if !pool.backlog.ranks_queues() {
        return None;
    }
    let known = pool.backlog.lane(lane);
    let counts = pool.backlog.counts_by(lane, pool.fleet.capacity());
    let resource = counts.and_then(|(dim, _, _)| pool.dims.name(dim).cloned());
    let share = counts.map_or([0, 1], |(_, held, whole)| lowest_terms(held, whole));
    Some(QueueShare { queue: known.queue.clone()?, weight: known.weight, resource, share })
}
