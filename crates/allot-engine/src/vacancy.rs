//! When there is room for a job that is to be planned, and where.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{Span, Time};

use crate::backlog::Backlog;
use crate::fleet::Fleet;
use crate::plans::{Ask, Plans};
use crate::policy::AgentKey;
use crate::profile::Profile;
use crate::shape::Shapes;
use crate::timeline::Runs;

/// After how long it is tried again to place a task for which enough is free, but in the wrong pieces or kept for others.
pub(crate) const RETRY_AFTER: Span = Span::from_secs(1);

/// A time, and how many tasks can start then on which agents.
pub(crate) type Vacancy = (Time, Vec<(u32, u64)>);

/// An agent's place among those where a task can start at the same time: the least is taken.
type Choice = (Reverse<Time>, AgentKey, u32);

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
    /// The first time from `from` on and before `until` at which there is room for what a job asks for, and where that is. Of
    /// agents where it is at the same time those that have had room for the shortest time by then, so that what goes ahead finds the
    /// others; of these those that are preferred. Not now where it would take what is kept for others.
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
        let mut best: Option<(Time, Choice)> = None;
        for (agent, _) in world.fleet.iter() {
            let until = best.as_ref().map_or(until, |(start, _)| *start + Span::from_micros(1));
            let Some(start) = self.earliest_on(agent, ask, (from, until), world) else { continue };
            let choice = (start, self.choice(agent, ask, start, world));
            if best.as_ref().is_none_or(|best| choice < *best) {
                best = Some(choice);
            }
        }
        best.map(|(start, (.., agent))| (start, vec![(agent, 1)]))
    }

    /// An agent's place among those where a task can start at this time: the least is taken.
    fn choice(&self, agent: u32, ask: &Ask, start: Time, World { now, fleet, .. }: World<'_>) -> Choice {
        let profile = self.profiles.get(agent as usize);
        let since = profile.map_or(start, |profile| profile.vacant_since(start, &ask.need));
        (Reverse(since.max(now)), fleet.preference(agent), agent)
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
        let mut by_value: BTreeMap<Arc<str>, Vec<Seat<'_>>> = BTreeMap::new();
        for (agent, _) in world.fleet.iter() {
            let profile = self.profiles.get(agent as usize);
            if let Some((value, profile)) = world.fleet.value(agent, shape).zip(profile) {
                let most = profile.most(from, &ask.need);
                by_value.entry(value).or_default().push(Seat { agent, profile, most, opens: Some(from) });
            }
        }
        let mut best: Option<(Time, Vec<(u32, u64)>)> = None;
        for mut seats in by_value.into_values() {
            let until = best.as_ref().map_or(until, |(start, _)| *start);
            best = first_together(&mut seats, ask, shape.count(), (from, until)).or(best);
        }
        let (start, rooms) = best?;
        Some((start, self.spread(rooms, shape.count(), ask, start, world)))
    }

    /// Gives so many tasks to these agents in the order in which they are taken, to each as many as it has room for.
    fn spread(
        &self,
        mut rooms: Vec<(u32, u64)>,
        tasks: u64,
        ask: &Ask,
        start: Time,
        world: World<'_>,
    ) -> Vec<(u32, u64)> {
        rooms.sort_by_cached_key(|(agent, _)| self.choice(*agent, ask, start, world));
        let mut left = tasks;
        for (_, room) in &mut rooms {
            *room = (*room).min(left);
            left -= *room;
        }
        rooms.retain(|(_, room)| *room > 0);
        rooms
    }
}

/// An agent that may take tasks of a gang.
struct Seat<'a> {
    agent: u32,
    profile: &'a Profile,
    /// For how many tasks it has room at most, whenever that is.
    most: u64,
    /// When it has room for one, as far as that is known: not before. Never where absent.
    opens: Option<Time>,
}

/// The first time from `from` on and before `until` at which these agents have room for so many tasks together, and how many
/// each. Times are passed over at which not enough of them have any.
fn first_together(
    seats: &mut [Seat<'_>],
    ask: &Ask,
    tasks: u64,
    (from, until): (Time, Time),
) -> Option<Vacancy> {
    let (need, estimate) = (&ask.need, ask.kind.estimate);
    let mut start = from;
    loop {
        let mut rooms = Vec::new();
        let mut sum: u64 = 0;
        // When something changes next that may give more room.
        let mut next = Time::MAX;
        for seat in seats.iter_mut() {
            if seat.opens.is_some_and(|opens| opens <= start) {
                seat.opens = seat.profile.earliest(start, until, need, estimate);
            }
            match seat.opens {
                Some(opens) if opens == start => {
                    let room = seat.profile.room(start, estimate.ends(start), need);
                    sum = sum.saturating_add(room);
                    rooms.push((seat.agent, room));
                    if room < seat.most {
                        next = next.min(seat.profile.next_change(start).unwrap_or(Time::MAX));
                    }
                }
                Some(opens) => next = next.min(opens),
                None => {}
            }
        }
        if sum >= tasks {
            return Some((start, rooms));
        }
        start = next.max(enough_open(seats, tasks)?);
        if start >= until {
            return None;
        }
    }
}

/// When so many agents have room that all of them together could have enough; never where absent.
fn enough_open(seats: &[Seat<'_>], tasks: u64) -> Option<Time> {
    let mut open: Vec<(Time, u64)> = seats.iter().filter_map(|seat| Some((seat.opens?, seat.most))).collect();
    open.sort_unstable();
    let mut sum: u64 = 0;
    open.into_iter().find_map(|(opens, most)| {
        sum = sum.saturating_add(most);
        (sum >= tasks).then_some(opens)
    })
}

/// What is free on an agent beside what is planned.
pub(crate) fn base(agent: u32, World { now, dims, fleet, runs, .. }: World<'_>) -> Profile {
    let known = fleet.get(agent);
    if known.facts.as_ref().is_none_or(|facts| facts.draining) {
        return Profile::default();
    }
    Profile::new(now, &known.free.amounts, runs.on(agent), dims)
}
