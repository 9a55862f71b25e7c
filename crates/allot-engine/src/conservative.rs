//! Conservative backfilling: each job in line has a time from which on room is kept for it, and no job that comes later
//! delays it. [Mu'alem and Feitelson, Utilization, predictability, workloads, and user runtime estimates in scheduling the
//! IBM SP2 with backfilling, TPDS 12(6), 2001]
//!
//! A job gets the first time at which, going by the estimates, there is room for it all the time that it takes, beside what
//! runs and what is planned already. When there turns out to be more room, because something ended early, each job in
//! order is given an earlier time where there is one, until none can be. Only when there turns out to be less, because a
//! task takes longer than it was said to or an agent is lost, are times given anew, in the order of those before.
//! A job of several tasks has such a time for the next of them, or for those that are placed together.

use allot_model::Time;

use crate::arrivals::{Arrivals, Kind};
use crate::backlog::{Backlog, Job, Next};
use crate::gang::{self, Seats, give_back};
use crate::pass::{Pass, Step, place, place_gang};
use crate::plans::{Ask, Plan, Plans};
use crate::pool::Pool;
use crate::search::{Line, Place};
use crate::shape::Shapes;
use crate::vacancy::{RETRY_AFTER, World};

/// For how many jobs room is kept at a time. Those behind them have to wait until it is their turn to be planned, so that
/// what one event costs is bounded.
const MOST_PLANNED: usize = 10_000;

/// The next decision: what is planned for now, then who has no plan yet.
pub(crate) fn step(pool: &mut Pool, pass: Pass<'_>) -> Step {
    refresh(pool, pass.now);
    let Some(plans) = &mut pool.conservative else { return Step::Done };
    if let Some(job) = plans.first_due(pass.now) {
        return start(pool, job, pass);
    }
    if plans.len() >= MOST_PLANNED {
        return Step::Done;
    }
    // In the order of before each finds its time again, or an earlier one.
    while let Some(id) = pool.planned_before.pop_front() {
        let is_planned =
            |job: &u32| pool.conservative.as_ref().is_some_and(|plans| plans.get(*job).is_some());
        if let Some(job) =
            pool.backlog.find(id).filter(|job| pool.backlog.job(*job).queued && !is_planned(job))
        {
            return plan(pool, job, pass);
        }
    }
    match next_arrival(pool, pass.now) {
        Some(arrival) => {
            while look_around(pool, arrival.job) {}
            plan(pool, arrival.job, pass)
        }
        None => Step::Done,
    }
}

/// Brings what is planned up to date with what was heard and decided.
fn refresh(pool: &mut Pool, now: Time) {
    let Pool { shapes, fleet, dims, backlog, runs: Some(runs), conservative: Some(plans), .. } = pool else {
        return;
    };
    let mut touched = runs.take_touched();
    touched.extend(drop_left(plans, backlog));
    touched.extend(plans.catch_up(now));
    if touched.is_empty() && plans.is_settled() {
        return;
    }
    fleet.settle();
    plans.refresh(touched, World { now, dims: dims.len(), shapes, fleet, runs, backlog });
    for (kind, key, job) in plans.take_lost() {
        backlog.arrivals.iter_mut().for_each(|arrivals| arrivals.enter(kind, key, job));
    }
}

/// Drops the plans of jobs that have left the line and are not back. Returns the agents where they were planned.
fn drop_left(plans: &mut Plans, backlog: &mut Backlog) -> Vec<u32> {
    let mut agents = Vec::new();
    let left = backlog.arrivals.as_mut().map(Arrivals::take_left).unwrap_or_default();
    for id in left {
        let Some(plan) = plans.get(id) else { continue };
        let (job, kind) = (backlog.job(id), plan.ask.kind);
        if job.queued && (job.kind(), job.key.job()) == (kind, plan.key.job()) {
            let key = job.key;
            plans.rekey(id, key);
            backlog.arrivals.iter_mut().for_each(|arrivals| arrivals.remove(kind, key));
        } else {
            let gone = plans.forget_plan(id);
            agents.extend(gone.into_iter().flat_map(|plan| plan.parts).map(|(agent, _)| agent));
        }
    }
    agents
}

/// The first in order of those without a plan that may have one.
fn next_arrival(pool: &mut Pool, now: Time) -> Option<Next> {
    loop {
        let next = pool.backlog.arrival(&pool.shapes, &pool.conservative.as_ref()?.hopeless)?;
        let leaned_on = std::mem::take(&mut pool.backlog.queues.leaned_on);
        // Nothing is first because of one that there is never room for.
        if leaned_on.into_iter().filter(|place| !may_be_planned(pool, place.job, now)).count() == 0 {
            return Some(next);
        }
    }
}

/// True where there is a time for a job at which it delays nobody whom a limit holds back; notes where there is none.
fn may_be_planned(pool: &mut Pool, job: u32, now: Time) -> bool {
    while look_around(pool, job) {}
    let kind = pool.backlog.job(job).kind();
    let Pool { shapes, fleet, dims, backlog, runs: Some(runs), conservative: Some(plans), .. } = pool else {
        return true;
    };
    let ask = Ask { kind, need: shapes.get(kind.shape).need.clone() };
    let world = World { now, dims: dims.len(), shapes, fleet, runs, backlog };
    match plans.find(&ask, now, Time::MAX, world) {
        Some((start, _)) => delays_nobody(plans, kind, start, backlog, shapes),
        None => {
            plans.hopeless.insert(kind);
            false
        }
    }
}

/// True where one of a kind that starts then delays nobody whom a limit around it holds back; notes where it does.
fn delays_nobody(plans: &mut Plans, kind: Kind, start: Time, backlog: &Backlog, shapes: &Shapes) -> bool {
    let (tree, branch) = (&backlog.queues.tree, backlog.queues.lane(kind.lane).branch);
    let delays_nobody = plans.firsts.may_go(tree, branch, shapes.get(kind.shape), kind.estimate.ends(start));
    if !delays_nobody {
        plans.hopeless.insert(kind);
    }
    delays_nobody
}

/// Looks whom a limit around a job holds back, if there is one that was not looked at yet; false where there is none.
fn look_around(pool: &mut Pool, job: u32) -> bool {
    let Pool { shapes, fleet, backlog, runs: Some(runs), conservative: Some(plans), .. } = pool else {
        return false;
    };
    let branch = backlog.queues.lane(backlog.job(job).lane).branch;
    let Some(around) = plans.firsts.unknown_around(&backlog.queues.tree, branch) else { return false };
    let unplanned = backlog.arrivals.as_ref().and_then(|arrivals| arrivals.unplanned(&plans.too_large));
    let under = |unplanned| backlog.queues.first_under(around, shapes, Line::Unplanned(unplanned));
    let first = unplanned.as_ref().and_then(under);
    let is_too_large = |first: &Place| {
        let shape = shapes.get(first.shape);
        gang::most_room_ever(fleet, shape) < shape.count()
    };
    match first.filter(is_too_large) {
        Some(first) => _ = plans.too_large.insert(backlog.job(first.job).kind()),
        None => _ = plans.firsts.note(around, first, (backlog, shapes), fleet, runs),
    }
    true
}

/// Gives a job a time; where that is now, a place.
fn plan(pool: &mut Pool, job: u32, pass: Pass<'_>) -> Step {
    let (kind, key) = (pool.backlog.job(job).kind(), pool.backlog.job(job).key);
    let Pool { shapes, fleet, dims, backlog, runs: Some(runs), conservative: Some(plans), .. } = pool else {
        return Step::Done;
    };
    let ask = Ask { kind, need: shapes.get(kind.shape).need.clone() };
    let world = World { now: pass.now, dims: dims.len(), shapes, fleet, runs, backlog };
    let Some((start, parts)) = plans.find(&ask, pass.now, Time::MAX, world) else {
        plans.hopeless.insert(kind);
        return Step::Again;
    };
    if !delays_nobody(plans, kind, start, backlog, shapes) {
        return Step::Again;
    }
    backlog.arrivals.iter_mut().for_each(|arrivals| arrivals.remove(kind, key));
    let plan = Plan { key, ask, start, parts };
    if start <= pass.now {
        // Behind it nobody comes before its next tasks.
        return place_parts(pool, job, &plan, u64::MAX, pass);
    }
    plans.keep(job, plan);
    Step::Again
}

/// Places what is planned for now.
fn start(pool: &mut Pool, job: u32, pass: Pass<'_>) -> Step {
    let Some(plans) = &mut pool.conservative else { return Step::Done };
    let Some(plan) = plans.drop_plan(job) else { return Step::Again };
    if plan.ask.kind.estimate.is_unknown() {
        // Planned, it held its room beyond all times; running, it may end as soon as others that run for ever.
        plans.look_again();
    }
    place_parts(pool, job, &plan, 1, pass)
}

/// Places the next tasks of a job where they are planned, up to `most` of those that go one by one.
fn place_parts(pool: &mut Pool, job: u32, plan: &Plan, most: u64, pass: Pass<'_>) -> Step {
    let Some(next) = pool.backlog.as_next(job) else { return Step::Again };
    let (queues, shape) = (&pool.backlog.queues, pool.shapes.get(next.shape));
    if queues.takes_kept(next.lane, shape) {
        return plan_later(pool, job, plan, pass.now);
    }
    let step = if !queues.keeps_within_limits(next.lane, shape) {
        // What it does not get others may.
        pool.conservative.iter_mut().for_each(Plans::look_again);
        Step::Again
    } else if shape.gang.is_some() {
        let Some(seats) = take_seats(pool, &plan.parts, next.shape) else {
            return plan_later(pool, job, plan, pass.now);
        };
        place_gang(pool, next, seats, pass.now).map_or(Step::Again, Step::Gang)
    } else {
        let agent = plan.parts.first().map(|(agent, _)| *agent);
        let Some(agent) = agent.filter(|agent| pool.fleet.fits(*agent, shape)) else {
            return plan_later(pool, job, plan, pass.now);
        };
        let slots = slots_in_one_step(pool, next, agent, plan).min(most);
        place(pool, next, agent, slots, 1, pass.now).map_or(Step::Again, Step::Run)
    };
    arrive_again(&mut pool.backlog, job);
    step
}

/// A job that stands in line still is to be planned as if it had just come.
fn arrive_again(backlog: &mut Backlog, job: u32) {
    let Job { queued, key, .. } = *backlog.job(job);
    let kind = backlog.job(job).kind();
    if queued {
        backlog.arrivals.iter_mut().for_each(|arrivals| arrivals.enter(kind, key, job));
    }
}

/// Enough is free for what is planned for now, but in the wrong pieces or kept for others: it has to wait until that changes.
/// Nobody is planned before it meanwhile.
fn plan_later(pool: &mut Pool, job: u32, before: &Plan, now: Time) -> Step {
    let Pool { shapes, fleet, dims, backlog, runs: Some(runs), conservative: Some(plans), .. } = pool else {
        return Step::Done;
    };
    let world = World { now, dims: dims.len(), shapes, fleet, runs, backlog };
    let Plan { key, ask, .. } = before.clone();
    match plans.find(&ask, now + RETRY_AFTER, Time::MAX, world) {
        Some((start, parts)) => plans.keep(job, Plan { key, ask, start, parts }),
        None => {
            plans.hopeless.insert(ask.kind);
            arrive_again(backlog, job);
        }
    }
    Step::Again
}

/// How many tasks of a job follow each other on the agent, each starting when this one is planned to.
fn slots_in_one_step(pool: &Pool, next: Next, agent: u32, plan: &Plan) -> u64 {
    let (queues, plans) = (&pool.backlog.queues, pool.conservative.as_ref());
    let branch = queues.lane(next.lane).branch;
    if plans.is_some_and(|plans| plans.firsts.is_another_first(&queues.tree, branch, next.job)) {
        return 1;
    }
    let profile = plans.and_then(|plans| plans.profiles.get(agent as usize));
    let Some(profile) = profile.filter(|_| !pool.backlog.queues.rank()) else { return 1 };
    let shape = pool.shapes.get(next.shape);
    let planned = profile.room(plan.start, plan.end(), &shape.need);
    let waiting = pool.backlog.job(next.job).unplaced.count();
    let most = planned.min(waiting).min(pool.fleet.times(agent, shape));
    pool.backlog.queues.stretch(next.lane, &shape.need, most, &pool.shapes, pool.fleet.capacity()).max(1)
}

/// Takes room for the tasks of a gang where they are planned; for none where one has no room.
fn take_seats(pool: &mut Pool, parts: &[(u32, u64)], shape: u32) -> Option<Vec<Seats>> {
    let (fleet, shape) = (&mut pool.fleet, pool.shapes.get(shape));
    let mut seats: Vec<Seats> = Vec::new();
    for (agent, tasks) in parts.iter().copied() {
        let mut left = tasks;
        while left > 0 {
            if !fleet.fits(agent, shape) {
                give_back(fleet, shape, seats);
                return None;
            }
            let named = fleet.named(agent, shape);
            let slots = if named.is_some() { 1 } else { left.min(fleet.times(agent, shape)) };
            fleet.take(agent, shape, slots, named.as_ref());
            left -= slots;
            seats.push(Seats { agent, slots, named });
        }
    }
    Some(seats)
}
