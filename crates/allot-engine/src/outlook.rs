//! When there will be room for as many tasks as have to be placed at a time, going by when what runs is expected to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::Time;

use crate::fleet::Fleet;
use crate::shape::Shape;
use crate::timeline::Runs;

/// When how much room appears for tasks of one shape, on all agents together or, where they have to have an attribute in
/// common, on those of each value. Kept up to date agent by agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outlook {
    /// The shape that it is of; nothing where it is of none.
    shape: Option<u32>,
    by_agent: BTreeMap<u32, Steps>,
    /// How many tasks more have room from when on, on which agent.
    by_value: BTreeMap<Arc<str>, BTreeMap<(Time, u32), u64>>,
}

/// When room for how many tasks more appears on an agent.
#[derive(Debug, Clone)]
struct Steps {
    /// The agent's value of the attribute that all have to have in common.
    value: Arc<str>,
    steps: Vec<(Time, u64)>,
}

/// When there is room for all tasks of a gang, and on the agents of which value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) at: Time,
    /// For how many tasks more there is room then.
    pub(crate) surplus: u64,
    value: Arc<str>,
}

impl Outlook {
    /// Brings it up to date, for this shape.
    pub(crate) fn look(&mut self, id: u32, shape: &Shape, fleet: &Fleet, runs: &mut Runs) {
        let touched = runs.take_touched();
        if self.shape == Some(id) {
            touched.into_iter().for_each(|agent| self.look_at(agent, shape, fleet, runs));
            return;
        }
        *self = Self { shape: Some(id), ..Self::default() };
        fleet.iter().for_each(|(agent, _)| self.look_at(agent, shape, fleet, runs));
    }

    /// The shape is not in use any more.
    pub(crate) fn forget(&mut self, id: u32) {
        if self.shape == Some(id) {
            *self = Self::default();
        }
    }

    fn look_at(&mut self, agent: u32, shape: &Shape, fleet: &Fleet, runs: &Runs) {
        if let Some(Steps { value, steps }) = self.by_agent.remove(&agent)
            && let Some(entries) = self.by_value.get_mut(&value)
        {
            steps.iter().for_each(|(at, _)| {
                entries.remove(&(*at, agent));
            });
        }
        let Some(value) = fleet.value(agent, shape) else { return };
        let steps = steps(agent, shape, fleet, runs);
        if !steps.is_empty() {
            let entries = self.by_value.entry(value.clone()).or_default();
            entries.extend(steps.iter().map(|(at, tasks)| ((*at, agent), *tasks)));
            self.by_agent.insert(agent, Steps { value, steps });
        }
    }

    /// The first time at which there is room for so many tasks, and not before `from`; of values that have it at the same
    /// time the first.
    pub(crate) fn opening(&self, tasks: u64, from: Time) -> Option<Opening> {
        let of_value = |(value, entries): (&Arc<str>, &BTreeMap<(Time, u32), u64>)| {
            let (mut room, mut opens) = (0_u64, None);
            for ((at, _), more) in entries {
                if opens.is_some_and(|opens| opens < *at) {
                    break;
                }
                room = room.saturating_add(*more);
                opens = opens.or((room >= tasks).then_some((*at).max(from)));
            }
            opens.map(|at| Opening { at, surplus: room - tasks, value: value.clone() })
        };
        self.by_value.iter().filter_map(of_value).min_by_key(|opening| opening.at)
    }

    /// For how many tasks there will be room on an agent by then, as far as it counts for the opening.
    pub(crate) fn room_on(&self, agent: u32, opening: &Opening) -> u64 {
        let steps = self.by_agent.get(&agent).filter(|steps| steps.value == opening.value);
        let by_then = steps.into_iter().flat_map(|steps| &steps.steps).filter(|(at, _)| *at <= opening.at);
        by_then.map(|(_, tasks)| tasks).sum()
    }
}

/// When room for how many tasks more appears on an agent, up to as many as are placed at a time.
fn steps(agent: u32, shape: &Shape, fleet: &Fleet, runs: &Runs) -> Vec<(Time, u64)> {
    let (free, most) = (&fleet.get(agent).free.amounts, shape.count());
    let now = free.times(&shape.need).min(most);
    let mut steps = Vec::new();
    if now > 0 {
        steps.push((Time::ZERO, now));
    }
    let mut room = now;
    while let Some(timeline) = runs.on(agent).filter(|_| room < most)
        && let Some(at) = timeline.room_at(free, &shape.need, room + 1)
    {
        let then = timeline.free_at(free, at, &shape.need).times(&shape.need).clamp(room + 1, most);
        steps.push((at, then - room));
        room = then;
    }
    steps
}
