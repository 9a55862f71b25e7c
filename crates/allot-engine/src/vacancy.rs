//! When there is room for a job that is to be planned, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{Span, Time};

use crate::backlog::Backlog;
use crate::fleet::Fleet;
use crate::plans::{Ask, Plans};
use crate::profile::Profile;
use crate::shape::Shapes;
use crate::timeline::Runs;

/// After how long it is tried again to place a task for which enough is free, but in the wrong pieces or kept for others.
pub(crate) const RETRY_AFTER: Span = Span::from_secs(1);

/// A time, and how many tasks can start then on which agents.
pub(crate) type Vacancy = (Time, Vec<(u32, u64)>);

/// What plans are made by.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) now: Time,
    pub(crate) dims: usize,
    pub(crate) shapes: &'a Shapes,
    pub(crate) fleet: &'a Fleet,
    pub(crate) runs: &'a Runs,
    pub(crate) backlog: &'a Backlog,
}

impl Plans {
    /// The first time from `from` on and before `until` at which there is room for what a job asks for, and where that is;
    /// of agents where it is at the same time those that are preferred. Not now where it would take what is kept for others.
    pub(crate) fn find(&self, ask: &Ask, from: Time, until: Time, world: World<'_>) -> Option<Vacancy> {
        let World { now, shapes, backlog, .. } = world;
        let takes_kept = || backlog.queues.takes_kept(ask.kind.lane, shapes.get(ask.kind.shape));
        let from = if from <= now && takes_kept() { now + RETRY_AFTER } else { from };
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

    fn find_together(&self, ask: &Ask, from: Time, until: Time, world: World<'_>) -> Option<Vacancy> {
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

/// What is free on an agent beside what is planned.
pub(crate) fn base(agent: u32, World { now, dims, fleet, runs, .. }: World<'_>) -> Profile {
    let known = fleet.get(agent);
    if known.facts.as_ref().is_none_or(|facts| facts.draining) {
        return Profile::default();
    }
    Profile::new(now, &known.free.amounts, runs.on(agent), dims)
}
