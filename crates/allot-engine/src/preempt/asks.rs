//! Who asks for a place, one job after the other, in the order of the policy.
//!
//! Jobs that ask for the same in the same line come one after the other: where there is nothing for one of them there is
//! nothing for those behind it, which are not asked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use allot_model::PreemptCause;

use super::gangs;
use super::victims::Ask;
use crate::policy::JobKey;
use crate::pool::Pool;

/// Of so many lanes with different tasks at most is asked in one pass for what is guaranteed to them.
const MOST_CELLS: usize = 256;

/// So many kinds of tasks at most are looked at in one pass.
const MOST_SHAPES: usize = 256;

/// A job that is next of those that ask for the same in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    /// What is asked for a guarantee comes first, in the order in which queues are served.
    is_for_priority: bool,
    place: usize,
    key: JobKey,
    job: u32,
    lane: u32,
    shape: u32,
}

/// The jobs that may ask.
#[derive(Debug, Default)]
pub(super) struct Asks {
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Whether any agent could ever have a task of a shape.
    possible: BTreeMap<u32, bool>,
    /// The one that asked last.
    last: Option<Waiting>,
}

impl Asks {
    pub(super) fn of(pool: &Pool) -> Self {
        let rules = &pool.preempting.rules;
        let mut asks = Self::default();
        if rules.preempt.is_for(PreemptCause::Guarantee) {
            asks.guaranteed(pool);
        }
        if rules.preempt.is_for(PreemptCause::Priority) {
            asks.more_important(pool);
        }
        asks
    }

    /// The first jobs that wait for what is guaranteed to their queues.
    fn guaranteed(&mut self, pool: &Pool) {
        let queues = &pool.backlog.queues;
        if !queues.tree.assures() {
            return;
        }
        for (place, lane) in queues.lanes_in_order(&pool.shapes).into_iter().enumerate() {
            let assured = |shape| queues.guarantees(lane, &pool.shapes.get(shape).need);
            let firsts = queues.firsts_of(lane).into_iter().filter(|(_, _, shape)| assured(*shape));
            let waiting =
                |(key, job, shape)| Reverse(Waiting { is_for_priority: false, place, key, job, lane, shape });
            self.waiting.extend(firsts.map(waiting));
            if self.waiting.len() >= MOST_CELLS {
                return;
            }
        }
    }

    /// The first jobs that wait while less important ones run: of each queue where queues rank, else of the one line.
    fn more_important(&mut self, pool: &Pool) {
        let (queues, incumbents) = (&pool.backlog.queues, &pool.preempting.incumbents);
        let lanes: Vec<u32> = if queues.rank() {
            incumbents.queues().filter_map(|queue| queues.lane_of(queue)).collect()
        } else {
            queues.lanes().map(|(lane, _)| lane).collect()
        };
        let firsts = lanes.into_iter().flat_map(|lane| {
            let firsts = queues.firsts_of(lane).into_iter();
            firsts.map(move |(key, job, shape)| Waiting {
                is_for_priority: true,
                place: 0,
                key,
                job,
                lane,
                shape,
            })
        });
        let mut firsts: Vec<Waiting> = firsts.collect();
        if queues.is_strict_line() {
            firsts.sort_unstable();
            firsts.truncate(1);
        }
        self.waiting.extend(firsts.into_iter().map(Reverse));
    }

    /// The next that may ask.
    pub(super) fn next(&mut self, pool: &Pool) -> Option<Ask> {
        loop {
            let Reverse(next) = self.waiting.pop()?;
            let cause = if next.is_for_priority { PreemptCause::Priority } else { PreemptCause::Guarantee };
            let ask = Ask { cause, job: next.job, priority: pool.backlog.job(next.job).priority };
            if self.possible.len() == MOST_SHAPES && !self.possible.contains_key(&next.shape) {
                return None;
            }
            let is_possible =
                *self.possible.entry(next.shape).or_insert_with(|| is_possible(pool, next.shape));
            if is_possible && (!next.is_for_priority || is_heard(pool, &ask)) {
                self.last = Some(next);
                return Some(ask);
            }
        }
    }

    /// The one that asked last has all the places that it wants: the one behind it may ask as well, unless nobody goes ahead
    /// of the first.
    pub(super) fn go_on(&mut self, pool: &Pool) {
        let queues = &pool.backlog.queues;
        let Some(last) = self.last.take().filter(|_| !queues.is_strict()) else { return };
        let next = queues.lane(last.lane).behind(last.shape, last.key);
        self.waiting.extend(next.map(|(key, job)| Reverse(Waiting { key, job, ..last })));
    }
}

/// True where some agent could have a task of the shape if nothing else ran there, or some agents all of a gang.
fn is_possible(pool: &Pool, shape: u32) -> bool {
    let (number, shape) = (shape, pool.shapes.get(shape));
    if !pool.fleet.largest.holds(&shape.need) {
        return false;
    }
    if shape.gang.is_some() {
        return !gangs::values(pool, number).is_empty();
    }
    pool.fleet.iter().any(|(_, agent)| {
        let takes = agent.facts.as_ref().is_some_and(|facts| !facts.draining);
        takes && agent.allows(shape.class) && agent.total.holds(&shape.need)
    })
}

/// True where tasks of less important jobs run.
fn is_heard(pool: &Pool, ask: &Ask) -> bool {
    let queues = &pool.backlog.queues;
    let lane = queues.lane(pool.backlog.job(ask.job).lane);
    let own = lane.queue.as_ref().filter(|_| queues.rank());
    pool.preempting.incumbents.in_order(own, Some(ask.priority)).next().is_some()
}
