//! Gangs: tasks that are placed together or not at all.
//!
//! The places are those that the tasks would get one after the other; where one finds none, none is placed. Where their
//! agents have to have an attribute in common, that is tried for each value of it in turn, in the order of the agents that
//! are preferred.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::Resources;

use crate::easy::Guard;
use crate::fleet::Fleet;
use crate::shape::Shape;

/// Slots for tasks of a gang on one agent, with the items and ranges that they get.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    pub(crate) agent: u32,
    pub(crate) slots: u64,
    pub(crate) named: Option<Resources>,
}

/// Takes room for all tasks of a gang from what is free, or for none.
pub(crate) fn place(fleet: &mut Fleet, shape: &Shape, mut guard: Option<Guard<'_>>) -> Option<Vec<Seats>> {
    fleet.settle();
    let values = values(fleet, shape);
    values.into_iter().find_map(|value| {
        guard.iter_mut().for_each(Guard::reset);
        place_where(fleet, shape, &value, guard.as_mut())
    })
}

/// True where all tasks of a gang have room.
pub(crate) fn has_room(fleet: &Fleet, shape: &Shape) -> bool {
    !values(fleet, shape).is_empty()
}

/// The value whose agents have room for the most tasks, and for how many: of equals the first by agents.
pub(crate) fn most_room(fleet: &Fleet, shape: &Shape) -> Option<(Arc<str>, u64)> {
    room_by_value(fleet, shape, u64::MAX).into_iter().rev().max_by_key(|(_, room)| *room)
}

/// For how many tasks there would be room if nothing ran, on the agents with the value that has room for the most.
pub(crate) fn most_room_ever(fleet: &Fleet, shape: &Shape) -> u64 {
    let mut rooms: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for (agent, known) in fleet.iter() {
        if let Some(value) = fleet.value(agent, shape) {
            let room = rooms.entry(value).or_default();
            *room = room.saturating_add(known.total.times(&shape.need));
        }
    }
    rooms.into_values().max().unwrap_or(0)
}

/// Puts back what was taken for a gang.
pub(crate) fn give_back(fleet: &mut Fleet, shape: &Shape, seats: Vec<Seats>) {
    for Seats { agent, slots, named } in seats {
        fleet.give_back(agent, shape, slots, named.as_ref());
    }
}

/// The values whose agents have room for all tasks, in order of the first agent that is preferred.
fn values(fleet: &Fleet, shape: &Shape) -> Vec<Arc<str>> {
    let enough = if shape.same().is_none() { shape.count() } else { u64::MAX };
    let rooms = room_by_value(fleet, shape, enough).into_iter();
    rooms.filter(|(_, room)| *room >= shape.count()).map(|(value, _)| value).collect()
}

/// How many tasks have room on the agents of each value, counted up to `enough`.
fn room_by_value(fleet: &Fleet, shape: &Shape, enough: u64) -> Vec<(Arc<str>, u64)> {
    let (mut places, mut rooms) = (BTreeMap::new(), Vec::<(Arc<str>, u64)>::new());
    let same = shape.same();
    fleet.each_fitting(shape, |_, agent| {
        let facts = agent.facts.as_ref();
        let value = match same {
            None => Some(""),
            Some(same) => facts.and_then(|facts| facts.attributes.get(same)).map(String::as_str),
        };
        let Some(value) = value else { return false };
        let place = *places.entry(value.to_owned()).or_insert_with(|| {
            rooms.push((Arc::from(value), 0));
            rooms.len() - 1
        });
        let room = &mut rooms[place].1;
        *room = room.saturating_add(agent.free.times(shape));
        *room >= enough
    });
    rooms
}

fn place_where(
    fleet: &mut Fleet,
    shape: &Shape,
    value: &str,
    mut guard: Option<&mut Guard<'_>>,
) -> Option<Vec<Seats>> {
    let (mut seats, mut left) = (Vec::<Seats>::new(), shape.count());
    while left > 0 {
        let Some(next) = next_seats(fleet, shape, value, left, guard.as_deref()) else {
            give_back(fleet, shape, seats);
            return None;
        };
        if let Some(guard) = guard.as_deref_mut() {
            guard.note(next.agent, &shape.need, fleet);
        }
        fleet.take(next.agent, shape, next.slots, next.named.as_ref());
        left -= next.slots;
        match seats
            .last_mut()
            .filter(|last| last.agent == next.agent && last.named.is_none() && next.named.is_none())
        {
            Some(last) => last.slots += next.slots,
            None => seats.push(next),
        }
    }
    Some(seats)
}

/// The best agent for one more task, with as many of those that are left as go there one after the other.
fn next_seats(
    fleet: &Fleet,
    shape: &Shape,
    value: &str,
    left: u64,
    guard: Option<&Guard<'_>>,
) -> Option<Seats> {
    let admits = |agent: u32| {
        fleet.value(agent, shape).is_some_and(|has| *has == *value)
            && guard.is_none_or(|guard| guard.admits(agent, &shape.need, fleet))
    };
    let agent = fleet.best_anywhere(shape, admits)?;
    let named = fleet.named(agent, shape);
    let is_one = named.is_some() || guard.is_some_and(|guard| !guard.ignores(agent));
    let slots = if is_one { 1 } else { fleet.times(agent, shape).min(left) };
    Some(Seats { agent, slots, named })
}
