//! Conservative backfilling: each job in line has a time from which on room is kept for it, and no job that comes later
//! delays it. [Mu'alem and Feitelson, Utilization, predictability, workloads, and user runtime estimates in scheduling the
//! IBM SP2 with backfilling, TPDS 12(6), 2001]
//!
//! A job gets the first time at which, going by the estimates, there is room for it all the time that it takes, beside what
//! runs and what is planned already. When there turns out to be more room, because something ended early, each job in
//! order is given an earlier time where there is one, until none can be. Only when there turns out to be less, because a
//! task takes longer than it was said to or an agent is lost, are times given anew, in the order of those before.
//! A job of several tasks has such a time for the next of them, or for those that are placed together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{Span, Time};

use crate::arrivals::{Arrivals, Kind};
use crate::backlog::{Backlog, Job, Next};
use crate::dims::Need;
use crate::fleet::Fleet;
use crate::gang::Seats;
use crate::pass::{Pass, Step, place, place_gang};
use crate::policy::{JobKey, LaneKey};
use crate::pool::Pool;
use crate::profile::Profile;
use crate::queues::Queues;
use crate::shape::Shapes;
use crate::timeline::Runs;

/// For how many jobs room is kept at a time. Those behind them have to wait until it is their turn to be planned, so that
/// what one event costs is bounded.
const MOST_PLANNED: usize = 10_000;

/// After how long it is tried again to place a task for which enough is free, but in the wrong pieces.
const RETRY_AFTER: Span = Span::from_secs(1);

/// What is planned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conservative {
    /// By agent.
    profiles: Vec<Profile>,
    /// By job.
    plans: BTreeMap<u32, Plan>,
    /// Which jobs are planned on each agent.
    on_agent: BTreeSet<(u32, u32)>,
    by_start: BTreeSet<(Time, JobKey, u32)>,
    /// What was found to have no time at all in this pass.
    hopeless: BTreeSet<Kind>,
    /// True where an agent is gone on which something was planned.
    broken: bool,
    /// The jobs that have lost their plan, and are to be planned like those that have just come.
    lost: Vec<(Kind, JobKey, u32)>,
}

/// From when on room is kept for a job, and where.
#[derive(Debug, Clone)]
struct Plan {
    key: JobKey,
    ask: Ask,
    start: Time,
    /// So many tasks on each of these agents.
    parts: Vec<(u32, u64)>,
}

/// What a job asks for.
#[derive(Debug, Clone)]
struct Ask {
    kind: Kind,
    need: Need,
}

impl Plan {
    fn end(&self) -> Time {
        self.ask.kind.estimate.ends(self.start)
    }
}

/// A time, and how many tasks can start then on which agents.
type Found = (Time, Vec<(u32, u64)>);

/// What plans are made by.
#[derive(Clone, Copy)]
struct World<'a> {
    now: Time,
    dims: usize,
    shapes: &'a Shapes,
    fleet: &'a Fleet,
    runs: &'a Runs,
    backlog: &'a Backlog,
}

impl Conservative {
    /// A pass begins.
    pub(crate) fn begin(&mut self) {
        self.hopeless.clear();
    }

    /// When the first for which room is kept is to be placed.
    pub(crate) fn next_start(&self) -> Option<Time> {
        self.by_start.first().map(|(start, ..)| *start)
    }

    /// What was to start before now is to start now. Returns the agents where that is.
    fn catch_up(&mut self, now: Time) -> Vec<u32> {
        let mut agents = Vec::new();
        while let Some((_, _, job)) = self.by_start.first().copied().filter(|(start, ..)| *start < now) {
            let Some(plan) = self.forget_plan(job) else { return agents };
            agents.extend(plan.parts.iter().map(|(agent, _)| *agent));
            self.note(job, Plan { start: now, ..plan });
        }
        agents
    }

    /// Takes notice of what has changed on these agents.
    fn refresh(&mut self, touched: BTreeSet<u32>, world: World<'_>) {
        let (mut is_more, mut is_less) = (false, std::mem::take(&mut self.broken));
        for agent in touched {
            let before = self.take_profile(agent);
            let mut fresh = base(agent, world);
            for job in self.jobs_on(agent) {
                is_less |= !self.is_kept(job, agent, &mut fresh, world);
            }
            is_more |= fresh.exceeds(&before, world.now);
            self.profiles[agent as usize] = fresh;
        }
        if is_less {
            self.plan_anew(world);
        }
        if is_more || is_less {
            self.hopeless.clear();
            self.advance(world);
        }
    }

    /// An agent is gone; another may get its slot.
    pub(crate) fn forget_agent(&mut self, agent: u32) {
        self.broken |= !self.jobs_on(agent).is_empty();
        self.take_profile(agent);
    }

    fn take_profile(&mut self, agent: u32) -> Profile {
        if self.profiles.len() <= agent as usize {
            self.profiles.resize_with(agent as usize + 1, Profile::default);
        }
        std::mem::take(&mut self.profiles[agent as usize])
    }

    fn jobs_on(&self, agent: u32) -> Vec<u32> {
        self.on_agent.range((agent, 0)..=(agent, u32::MAX)).map(|(_, job)| *job).collect()
    }

    /// Keeps room for a job in a profile; false where there is none.
    fn is_kept(&self, job: u32, agent: u32, profile: &mut Profile, world: World<'_>) -> bool {
        let Some(plan) = self.plans.get(&job) else { return true };
        let allowed = world.fleet.value(agent, world.shapes.get(plan.ask.kind.shape)).is_some();
        let tasks = plan.parts.iter().filter(|(on, _)| *on == agent).map(|(_, tasks)| count(*tasks)).sum();
        allowed && profile.take(plan.start, plan.end(), &plan.ask.need, tasks)
    }

    /// Gives all jobs new times, in the order of those that they had.
    fn plan_anew(&mut self, world: World<'_>) {
        let jobs: Vec<u32> = std::mem::take(&mut self.by_start).into_iter().map(|(.., job)| job).collect();
        let mut plans = std::mem::take(&mut self.plans);
        let agents: BTreeSet<u32> =
            std::mem::take(&mut self.on_agent).into_iter().map(|(agent, _)| agent).collect();
        agents.into_iter().for_each(|agent| self.profiles[agent as usize] = base(agent, world));
        for job in jobs {
            let Some(Plan { key, ask, .. }) = plans.remove(&job) else { continue };
            match self.find(&ask, world.now, Time::MAX, world) {
                Some((start, parts)) => self.keep(job, Plan { key, ask, start, parts }),
                None => self.lost.push((ask.kind, key, job)),
            }
        }
    }

    /// Has each job start earlier where it can, in order, until none can.
    fn advance(&mut self, world: World<'_>) {
        let queues = &world.backlog.queues;
        let rank = |job: u32| rank_of(queues, world.backlog.job(job).lane);
        let mut order: Vec<(Vec<LaneKey>, JobKey, u32)> =
            self.plans.iter().map(|(job, plan)| (rank(*job), plan.key, *job)).collect();
        order.sort_unstable();
        while order.iter().filter(|(.., job)| self.advance_one(*job, world)).count() > 0 {}
    }

    /// Has a job start earlier, if it can.
    fn advance_one(&mut self, job: u32, world: World<'_>) -> bool {
        let Some(plan) = self.plans.get(&job).filter(|plan| plan.start > world.now) else { return false };
        let plan = plan.clone();
        self.change_profiles(&plan, -1);
        let Some((start, parts)) = self.find(&plan.ask, world.now, plan.start, world) else {
            self.change_profiles(&plan, 1);
            return false;
        };
        self.change_profiles(&plan, 1);
        self.drop_plan(job);
        self.keep(job, Plan { start, parts, ..plan });
        true
    }

    /// The first time from `from` on and before `until` at which there is room for what a job asks for, and where that is;
    /// of agents where it is at the same time those that are preferred.
    fn find(&self, ask: &Ask, from: Time, until: Time, world: World<'_>) -> Option<Found> {
        if world.shapes.get(ask.kind.shape).gang.is_some() {
            return self.find_together(ask, from, until, world);
        }
        if from <= world.now
            && let Some(agent) = self.find_now(ask, world)
        {
            return Some((world.now, vec![(agent, 1)]));
        }
        let World { fleet, .. } = world;
        let mut best: Option<(Time, u32)> = None;
        for (agent, _) in fleet.iter() {
            let until = best.map_or(until, |(start, _)| start + Span::from_micros(1));
            let Some(start) = self.earliest_on(agent, ask, (from, until), world) else { continue };
            let is_better = |(first, other)| {
                start < first || start == first && fleet.preference(agent) < fleet.preference(other)
            };
            if best.is_none_or(is_better) {
                best = Some((start, agent));
            }
        }
        best.map(|(start, agent)| (start, vec![(agent, 1)]))
    }

    /// The agent on which a task can start now without delaying anyone.
    fn find_now(&self, ask: &Ask, World { now, shapes, fleet, .. }: World<'_>) -> Option<u32> {
        let end = ask.kind.estimate.ends(now);
        let has_room = |agent: u32| {
            let profile = self.profiles.get(agent as usize);
            profile.is_some_and(|profile| profile.room(now, end, &ask.need) > 0)
        };
        fleet.best_anywhere(shapes.get(ask.kind.shape), has_room)
    }

    fn earliest_on(
        &self,
        agent: u32,
        ask: &Ask,
        (from, until): (Time, Time),
        World { now, shapes, fleet, .. }: World<'_>,
    ) -> Option<Time> {
        let shape = shapes.get(ask.kind.shape);
        fleet.value(agent, shape)?;
        let profile = self.profiles.get(agent as usize)?;
        let start = profile.earliest(from, until, &ask.need, ask.kind.estimate)?;
        if start > now || fleet.fits(agent, shape) {
            return Some(start);
        }
        profile.earliest(now + RETRY_AFTER, until, &ask.need, ask.kind.estimate)
    }

    fn find_together(&self, ask: &Ask, from: Time, until: Time, world: World<'_>) -> Option<Found> {
        let shape = world.shapes.get(ask.kind.shape);
        let value =
            |agent| Some((agent, world.fleet.value(agent, shape)?, self.profiles.get(agent as usize)?));
        let agents: Vec<(u32, Arc<str>, &Profile)> =
            world.fleet.iter().filter_map(|(agent, _)| value(agent)).collect();
        let times: BTreeSet<Time> = agents.iter().flat_map(|(.., profile)| profile.changes(from)).collect();
        for start in times.into_iter().take_while(|start| *start < until) {
            let end = ask.kind.estimate.ends(start);
            let mut rooms: BTreeMap<&str, Vec<(u32, u64)>> = BTreeMap::new();
            for (agent, value, profile) in &agents {
                rooms.entry(value).or_default().push((*agent, profile.room(start, end, &ask.need)));
            }
            let is_enough = |room: &Vec<(u32, u64)>| {
                room.iter().fold(0, |sum: u64, (_, tasks)| sum.saturating_add(*tasks)) >= shape.count()
            };
            if let Some(room) = rooms.into_values().find(is_enough) {
                return Some((start, spread(room, shape.count(), world.fleet)));
            }
        }
        None
    }

    fn change_profiles(&mut self, plan: &Plan, sign: i64) {
        for (agent, tasks) in &plan.parts {
            if let Some(profile) = self.profiles.get_mut(*agent as usize) {
                profile.take(plan.start, plan.end(), &plan.ask.need, sign * count(*tasks));
            }
        }
    }

    /// Keeps room for a job.
    fn keep(&mut self, job: u32, plan: Plan) {
        self.change_profiles(&plan, 1);
        self.note(job, plan);
    }

    /// Notes a plan, for which room is taken.
    fn note(&mut self, job: u32, plan: Plan) {
        self.on_agent.extend(plan.parts.iter().map(|(agent, _)| (*agent, job)));
        self.by_start.insert((plan.start, plan.key, job));
        self.plans.insert(job, plan);
    }

    /// Keeps no room any more for a job; returns the agents where there was.
    fn drop_plan(&mut self, job: u32) -> Vec<u32> {
        let Some(plan) = self.forget_plan(job) else { return Vec::new() };
        self.change_profiles(&plan, -1);
        plan.parts.into_iter().map(|(agent, _)| agent).collect()
    }

    /// A job has another place in the order.
    fn rekey(&mut self, job: u32, key: JobKey) {
        if let Some(plan) = self.forget_plan(job) {
            self.note(job, Plan { key, ..plan });
        }
    }

    /// Forgets a plan, for which room stays taken.
    fn forget_plan(&mut self, job: u32) -> Option<Plan> {
        let plan = self.plans.remove(&job)?;
        self.by_start.remove(&(plan.start, plan.key, job));
        plan.parts.iter().for_each(|(agent, _)| {
            self.on_agent.remove(&(*agent, job));
        });
        Some(plan)
    }
}

/// Gives so many tasks to the agents that are preferred, on each as many as there is room for.
fn spread(mut room: Vec<(u32, u64)>, tasks: u64, fleet: &Fleet) -> Vec<(u32, u64)> {
    room.retain(|(_, room)| *room > 0);
    room.sort_by_cached_key(|(agent, _)| fleet.preference(*agent));
    let mut left = tasks;
    for (_, room) in &mut room {
        *room = (*room).min(left);
        left -= *room;
    }
    room.retain(|(_, room)| *room > 0);
    room
}

fn count(tasks: u64) -> i64 {
    i64::try_from(tasks).unwrap_or(i64::MAX)
}

/// What is free on an agent beside what is planned.
fn base(agent: u32, World { now, dims, fleet, runs, .. }: World<'_>) -> Profile {
    let known = fleet.get(agent);
    if known.facts.as_ref().is_none_or(|facts| facts.draining) {
        return Profile::default();
    }
    Profile::new(now, &known.free.amounts, runs.on(agent), dims)
}

/// The next decision: what is planned for now, then who has no plan yet.
pub(crate) fn step(pool: &mut Pool, pass: Pass<'_>) -> Step {
    refresh(pool, pass.now);
    let Some(plans) = &mut pool.conservative else { return Step::Done };
    if let Some((_, _, job)) = plans.by_start.first().copied().filter(|(start, ..)| *start <= pass.now) {
        return start(pool, job, pass);
    }
    if plans.plans.len() >= MOST_PLANNED {
        return Step::Done;
    }
    match next_arrival(pool) {
        Some(arrival) => plan(pool, arrival, pass),
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
    if touched.is_empty() {
        return;
    }
    fleet.settle();
    plans.refresh(touched, World { now, dims: dims.len(), shapes, fleet, runs, backlog });
    for (kind, key, job) in std::mem::take(&mut plans.lost) {
        backlog.arrivals.iter_mut().for_each(|arrivals| arrivals.enter(kind, key, job));
    }
}

/// Drops the plans of jobs that have left the line and are not back. Returns the agents where they were planned.
fn drop_left(plans: &mut Conservative, backlog: &mut Backlog) -> Vec<u32> {
    let mut agents = Vec::new();
    let left = backlog.arrivals.as_mut().map(Arrivals::take_left).unwrap_or_default();
    for id in left {
        let Some(plan) = plans.plans.get(&id) else { continue };
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

/// A lane's place among the lanes, where queues rank.
fn rank_of(queues: &Queues, lane: u32) -> Vec<LaneKey> {
    if queues.rank() { queues.tree.path(queues.lane(lane).branch, queues.key(lane)) } else { Vec::new() }
}

/// The first in order of those without a plan that may have one.
fn next_arrival(pool: &mut Pool) -> Option<(Kind, JobKey, u32)> {
    loop {
        let first = first_arrival(pool)?;
        if !pool.backlog.queues.draw_again(first.0.lane) {
            return Some(first);
        }
    }
}

fn first_arrival(pool: &Pool) -> Option<(Kind, JobKey, u32)> {
    let (queues, plans) = (&pool.backlog.queues, pool.conservative.as_ref()?);
    let may_be = |kind: &Kind| {
        let branch = queues.lane(kind.lane).branch;
        !plans.hopeless.contains(kind) && queues.may_have(branch, kind.shape, &pool.shapes, &mut Vec::new())
    };
    let firsts = pool.backlog.arrivals.as_ref()?.firsts().filter(|(kind, ..)| may_be(kind));
    firsts.min_by_key(|(kind, key, _)| (rank_of(queues, kind.lane), *key))
}

/// Gives a job a time; where that is now, a place.
fn plan(pool: &mut Pool, (kind, key, job): (Kind, JobKey, u32), pass: Pass<'_>) -> Step {
    let Pool { shapes, fleet, dims, backlog, runs: Some(runs), conservative: Some(plans), .. } = pool else {
        return Step::Done;
    };
    let ask = Ask { kind, need: shapes.get(kind.shape).need.clone() };
    let world = World { now: pass.now, dims: dims.len(), shapes, fleet, runs, backlog };
    let Some((start, parts)) = plans.find(&ask, pass.now, Time::MAX, world) else {
        plans.hopeless.insert(kind);
        return Step::Again;
    };
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
    let Some(plan) = pool.conservative.as_mut().and_then(|plans| plans.forget_plan(job)) else {
        return Step::Again;
    };
    if let Some(runs) = &mut pool.runs {
        plan.parts.iter().for_each(|(agent, _)| runs.touch(*agent));
    }
    place_parts(pool, job, &plan, 1, pass)
}

/// Places the next tasks of a job where they are planned, up to `most` of those that go one by one.
fn place_parts(pool: &mut Pool, job: u32, plan: &Plan, most: u64, pass: Pass<'_>) -> Step {
    let Some(next) = pool.backlog.as_next(job, false) else { return Step::Again };
    let branch = pool.backlog.queues.lane(next.lane).branch;
    let may_have = pool.backlog.queues.may_have(branch, next.shape, &pool.shapes, &mut Vec::new());
    let step = match may_have {
        false => Step::Again,
        true if pool.shapes.get(next.shape).gang.is_some() => match take_seats(pool, &plan.parts, next.shape)
        {
            Some(seats) => place_gang(pool, next, seats, pass.now).map_or(Step::Again, Step::Gang),
            None => return plan_later(pool, job, plan, pass.now),
        },
        true => {
            let Some((agent, _)) = plan.parts.first().copied() else { return Step::Again };
            if !pool.fleet.fits(agent, pool.shapes.get(next.shape)) {
                return plan_later(pool, job, plan, pass.now);
            }
            let slots = slots_in_one_step(pool, next, agent, plan).min(most);
            place(pool, next, agent, slots, 1, pass.now).map_or(Step::Again, Step::Run)
        }
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

/// Enough is free for what is planned for now, but in the wrong pieces: it has to wait until that changes.
fn plan_later(pool: &mut Pool, job: u32, before: &Plan, now: Time) -> Step {
    refresh(pool, now);
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
    let profile = pool.conservative.as_ref().and_then(|plans| plans.profiles.get(agent as usize));
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
                let back =
                    |taken: Seats| fleet.give_back(taken.agent, shape, taken.slots, taken.named.as_ref());
                seats.into_iter().for_each(back);
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
