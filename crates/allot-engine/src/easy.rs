//! EASY backfilling: room is kept for the first in line alone, and behind it goes ahead what does not delay it.
//!
//! [Lifka, The ANL/IBM SP scheduling system, JSSPP 1995], on vectors of resources and many agents: the *shadow* is the
//! first time at which, going by the estimates, there is room for the first in line; the *extra* is for how many tasks like
//! its own there is room then beyond those it has. What is expected to have ended by the shadow may go ahead. Something
//! else may where as many tasks of the first in line as have to be placed have room all the same at the shadow.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use allot_model::{JobId, Time};

use crate::backlog::{Backlog, Next};
use crate::candidates::Candidate;
use crate::dims::{Need, Vector};
use crate::fleet::Fleet;
use crate::outlook::{Opening, Outlook};
use crate::ranked::Summary;
use crate::shape::{Hope, Mask, Shapes};
use crate::timeline::Runs;

/// What EASY knows beside the pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Easy {
    outlook: Outlook,
    /// The shapes for which there will be no room, whatever ends.
    pub(crate) hopeless: BTreeSet<u32>,
    /// For whom room is kept.
    pub(crate) kept: Option<Kept>,
    /// The shapes that fit now, and would delay the first in line if they ran beyond the shadow.
    delaying: BTreeSet<u32>,
    /// What each agent would have free if all that runs there ended, as far as it was looked at for hopeless shapes.
    potential: BTreeMap<u32, Vector>,
}

/// Room that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) job: JobId,
    shape: u32,
    /// How many tasks are to have room, each with this need.
    tasks: u64,
    need: Need,
    opening: Opening,
}

impl Kept {
    /// When there is room; [`Time::ZERO`] where there is, and it is in the wrong pieces.
    pub(crate) fn shadow(&self) -> Time {
        self.opening.at
    }
}

impl Easy {
    /// A pass begins: what was found out in the one before may not hold any more.
    pub(crate) fn begin(&mut self) {
        self.kept = None;
        self.delaying.clear();
    }

    /// Keeps room for the first in line. False where there will be none.
    pub(crate) fn keep(
        &mut self,
        head: Next,
        backlog: &Backlog,
        shapes: &Shapes,
        fleet: &Fleet,
        runs: &mut Runs,
    ) -> bool {
        let shape = shapes.get(head.shape);
        self.outlook.look(head.shape, shape, fleet, runs);
        let Some(opening) = self.outlook.opening(shape.count()) else {
            self.hopeless.insert(head.shape);
            return false;
        };
        let (job, tasks, need) = (backlog.job(head.job).key.job(), shape.count(), shape.need.clone());
        let kept = Kept { job, shape: head.shape, tasks, need, opening };
        if self.kept.as_ref().is_none_or(|before| (before.job, before.shadow()) != (job, kept.shadow())) {
            self.delaying.clear();
        }
        self.kept = Some(kept);
        true
    }

    /// The shape is not in use any more.
    pub(crate) fn forget(&mut self, shape: u32) {
        self.outlook.forget(shape);
        self.hopeless.remove(&shape);
        self.delaying.remove(&shape);
    }

    /// An agent has changed. Where it would have more free than before if all that runs there ended, no shape that it
    /// could take is hopeless for now.
    pub(crate) fn reconsider(&mut self, agent: u32, shapes: &Shapes, fleet: &Fleet, runs: &Runs) {
        if self.hopeless.is_empty() {
            return;
        }
        let free = &fleet.get(agent).free.amounts;
        let ended = |need: &Need| match runs.on(agent) {
            Some(timeline) => timeline.free_at(free, Time::MAX, need),
            None => free.clone(),
        };
        let potential = ended(&Need::default());
        if self.potential.get(&agent) == Some(&potential) {
            return;
        }
        self.potential.insert(agent, potential);
        let takes = |shape: &u32| {
            let shape = shapes.get(*shape);
            fleet.value(agent, shape).is_some() && ended(&shape.need).times(&shape.need) > 0
        };
        self.hopeless.retain(|shape| !takes(shape));
    }

    /// An agent is another than it was.
    pub(crate) fn forget_agent(&mut self, agent: u32) {
        self.potential.remove(&agent);
    }

    /// The shape cannot go ahead beyond the shadow for now.
    pub(crate) fn note_delaying(&mut self, shape: u32) {
        self.delaying.insert(shape);
    }

    /// The first job that may go ahead, as far as can be said without looking for a place for it.
    pub(crate) fn candidate(
        &mut self,
        now: Time,
        backlog: &mut Backlog,
        shapes: &Shapes,
        fleet: &Fleet,
        runs: &Runs,
    ) -> Option<Next> {
        let shadow = self.kept.as_ref()?.shadow();
        let delaying = RefCell::new(std::mem::take(&mut self.delaying));
        let closed = Cell::new(Mask::default());
        let close = |shape: u32| {
            if shapes.is_alone(shape) {
                let mut bits = closed.get();
                bits.join(&Mask::of(shape));
                closed.set(bits);
            }
        };
        delaying.borrow().iter().for_each(|shape| close(*shape));
        let accept = |asks: Candidate| {
            if asks.estimate.ends(now) <= shadow {
                return true;
            }
            if delaying.borrow().contains(&asks.shape) {
                return false;
            }
            let may_go = self.may_outlast(asks.shape, shapes, fleet, runs);
            if !may_go {
                delaying.borrow_mut().insert(asks.shape);
                close(asks.shape);
            }
            may_go
        };
        let enter = |reach: &crate::candidates::Reach| {
            reach.shortest.ends(now) <= shadow || reach.shapes.meets(shapes.open().without(closed.get()))
        };
        let job = backlog.candidate(shapes, enter, accept);
        self.delaying = delaying.into_inner();
        backlog.as_next(job?, true)
    }

    /// True where a task of the shape may be placed that outlasts the shadow, or that takes a search to find out.
    fn may_outlast(&self, shape: u32, shapes: &Shapes, fleet: &Fleet, runs: &Runs) -> bool {
        let known = shapes.get(shape);
        let Hope::Among(few) = &known.hope else { return true };
        let Some(guard) = self.guard(runs, false) else { return true };
        few.iter().any(|agent| fleet.fits(*agent, known) && guard.admits(*agent, &known.need, fleet))
    }

    /// What says on which agents a task of a candidate may be placed; nothing where no room is kept.
    pub(crate) fn guard<'a>(&'a self, runs: &'a Runs, ends_before: bool) -> Option<Guard<'a>> {
        let kept = self.kept.as_ref()?;
        Some(Guard { kept, outlook: &self.outlook, runs, ends_before, lost: BTreeMap::new() })
    }
}

/// Guards the room that is kept against tasks that are about to go ahead.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    kept: &'a Kept,
    outlook: &'a Outlook,
    runs: &'a Runs,
    /// True where they are expected to have ended by the shadow.
    ends_before: bool,
    /// For how many tasks less there is room at the shadow on each agent, because of what was placed under this guard.
    lost: BTreeMap<u32, u64>,
}

impl Guard<'_> {
    /// True where the tasks are expected to run beyond the shadow.
    pub(crate) fn outlasts(&self) -> bool {
        !self.ends_before
    }

    /// True where whatever is placed on the agent delays nobody.
    pub(crate) fn ignores(&self, agent: u32) -> bool {
        self.ends_before || self.outlook.room_on(agent, &self.kept.opening) == 0
    }

    /// For how many tasks less there would be room on an agent with one more task of this need there.
    fn loss(&self, agent: u32, need: &Need, fleet: &Fleet) -> u64 {
        let Kept { tasks, need: kept, opening, .. } = self.kept;
        let before = self.outlook.room_on(agent, opening);
        let free = &fleet.get(agent).free.amounts;
        let mut then = match self.runs.on(agent) {
            Some(timeline) => timeline.free_at(free, opening.at, kept),
            None => free.clone(),
        };
        then.subtract_need(need, 1);
        before.saturating_sub(then.times(kept).min(*tasks))
    }

    /// True where one more task of this need may be placed on the agent.
    pub(crate) fn admits(&self, agent: u32, need: &Need, fleet: &Fleet) -> bool {
        if self.ignores(agent) {
            return true;
        }
        let elsewhere: u64 =
            self.lost.iter().filter(|(other, _)| **other != agent).map(|(_, lost)| lost).sum();
        elsewhere.saturating_add(self.loss(agent, need, fleet)) <= self.kept.opening.surplus
    }

    /// One more task of this need is about to be placed on the agent.
    pub(crate) fn note(&mut self, agent: u32, need: &Need, fleet: &Fleet) {
        if !self.ignores(agent) {
            let loss = self.loss(agent, need, fleet);
            self.lost.insert(agent, loss);
        }
    }

    /// Forgets what was placed under this guard.
    pub(crate) fn reset(&mut self) {
        self.lost.clear();
    }
}
