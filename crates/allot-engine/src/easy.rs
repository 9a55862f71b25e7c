//! EASY backfilling: room is kept for the first in line alone, and behind it goes ahead what does not delay it.
//!
//! [Lifka, The ANL/IBM SP scheduling system, JSSPP 1995], on vectors of resources and many agents: the *shadow* is the
//! first time at which, going by the estimates, there is room for the first in line; the *extra* is for how many tasks like
//! its own there is room then beyond those it has. What is expected to have ended by the shadow may go ahead. Something
//! else may where as many tasks of the first in line as have to be placed have room all the same at the shadow.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use allot_model::{JobId, Time};

use crate::backlog::{Backlog, Next};
use crate::branch::Tree;
use crate::dims::{Dim, Need, Vector};
use crate::firsts::{Firsts, Running};
use crate::fleet::Fleet;
use crate::kept::Lacking;
use crate::outlook::{Opening, Outlook};
use crate::search::{Hopeless, Line, Place};
use crate::shape::{Hope, Shape, Shapes};
use crate::timeline::{Estimate, Group, Runs};

/// Where there are no more agents than these, each is looked at before anything is decided.
const FEW: u64 = 8;

/// What EASY knows beside the pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Easy {
    outlook: Outlook,
    pub(crate) hopeless: Hopeless,
    /// Whom limits hold back.
    pub(crate) firsts: Firsts,
    /// Shapes of them that some agents will have room for, as was found out in this pass.
    hoped: BTreeSet<u32>,
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
    /// The branch of its queue.
    branch: u32,
    /// How many tasks are to have room, each with this need.
    tasks: u64,
    need: Need,
    opening: Opening,
    /// How much will be free then of all that they ask for, beside what they get and what is kept for others; nothing where
    /// nothing is kept for others.
    spare: Vec<(Dim, u64)>,
}

impl Kept {
    /// When there is room; [`Time::ZERO`] where there is, and it is in the wrong pieces.
    pub(crate) fn shadow(&self) -> Time {
        self.opening.at
    }

    /// True where something may go ahead that could not while this was kept.
    fn may_admit_more(&self, before: &Self) -> bool {
        let has_more = |(left, had): (&(Dim, u64), &(Dim, u64))| left.1 > had.1;
        (before.job, before.shadow()) != (self.job, self.shadow())
            || before.spare.len() != self.spare.len()
            || self.spare.iter().zip(&before.spare).any(has_more)
    }

    /// True where so many tasks that outlast the shadow leave what it needs of all that is free then, and what is kept for
    /// others.
    fn spares(&self, need: &Need, count: u64) -> bool {
        self.spare.iter().all(|(dim, left)| need.get(*dim).saturating_mul(count) <= *left)
    }
}

/// What is to be free on all agents together for the first in line, beside what is kept for others, and what ends meanwhile.
struct Balance<'a> {
    lacking: Vec<Lacking>,
    ends: Vec<(Time, &'a Group)>,
}

impl<'a> Balance<'a> {
    /// What the tasks of queues hold for which something is kept does not count: once free it is kept for these.
    fn of((lane, shape): (u32, &Shape), backlog: &Backlog, fleet: &Fleet, runs: &'a Runs) -> Option<Self> {
        let lacking = backlog.queues.lacking(lane, shape);
        let counts = |group: &Group| {
            backlog.find(group.job).is_none_or(|job| !backlog.queues.is_kept_for(backlog.job(job).lane))
        };
        let ends = || runs.ends(fleet.lasting()).into_iter().filter(|(_, group)| counts(group)).collect();
        (!lacking.is_empty()).then(|| Self { lacking, ends: ends() })
    }

    /// When enough is free; [`Time::ZERO`] where it is now.
    fn opens_at(&self) -> Option<Time> {
        let lacks = |lacking: &Lacking| (lacking.dim, lacking.wanted.saturating_sub(lacking.free));
        let mut lacks: Vec<(Dim, u64)> = self.lacking.iter().map(lacks).collect();
        let mut are_there = |ended: Option<&Group>| {
            for (dim, lacks) in &mut lacks {
                let freed = ended.map_or(0, |group| group.need.get(*dim).saturating_mul(group.slots));
                *lacks = lacks.saturating_sub(freed);
            }
            lacks.iter().all(|(_, lacks)| *lacks == 0)
        };
        if are_there(None) {
            return Some(Time::ZERO);
        }
        self.ends.iter().find_map(|(end, group)| are_there(Some(group)).then_some(*end))
    }

    /// How much will be free by then beside what is wanted.
    fn spare_at(&self, at: Time) -> Vec<(Dim, u64)> {
        let left = |Lacking { dim, wanted, free }: &Lacking| {
            let ended = self.ends.iter().take_while(|(end, _)| *end <= at);
            let freed = ended.map(|(_, group)| group.need.get(*dim).saturating_mul(group.slots));
            (*dim, freed.fold(*free, u64::saturating_add).saturating_sub(*wanted))
        };
        self.lacking.iter().map(left).collect()
    }
}

impl Easy {
    /// A pass begins: what was found out in the one before may not hold any more.
    pub(crate) fn begin(&mut self) {
        self.kept = None;
        self.delaying.clear();
        self.hoped.clear();
        self.start_over();
    }

    fn start_over(&mut self) {
        self.hopeless.aside.clear();
        self.hopeless.closed.clear();
        self.firsts.forget();
    }

    /// Tasks were placed in a branch: what is kept for others may be less by it, and limits around it leave less room.
    pub(crate) fn note_placed(&mut self, tree: &Tree, branch: u32, placed: &Running) {
        if !tree.kept.is_idle() {
            return self.start_over();
        }
        self.firsts.note_placed(tree, branch, placed);
        tree.up_from(branch).for_each(|around| _ = self.hopeless.closed.remove(&around));
    }

    /// Looks whom the limits around a lane hold back, as far as that is not known yet. True where it was not: whatever was
    /// found out before is to be asked for again.
    pub(crate) fn look_around(
        &mut self,
        lane: u32,
        backlog: &Backlog,
        shapes: &Shapes,
        fleet: &Fleet,
        runs: &mut Runs,
    ) -> bool {
        let (tree, branch) = (&backlog.queues.tree, backlog.queues.lane(lane).branch);
        let Some(around) = self.firsts.unknown_around(tree, branch) else { return false };
        let first = backlog.queues.first_under(around, shapes, Line::All(&self.hopeless));
        let is_known = |shape| tree.kept.is_idle() && self.hoped.contains(&shape);
        let has_hope = match first {
            Some(Place { lane, shape, .. }) if !is_known(shape) => {
                let has_hope = self.opening((lane, shape), backlog, shapes, fleet, runs).is_some();
                self.hoped.extend(has_hope.then_some(shape));
                has_hope
            }
            _ => true,
        };
        if has_hope && self.firsts.note(around, first, (backlog, shapes), fleet, runs) {
            self.hopeless.closed.insert(around);
        }
        true
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
        let Some(opening) = self.opening((head.lane, head.shape), backlog, shapes, fleet, runs) else {
            return false;
        };
        let shape = shapes.get(head.shape);
        let (job, tasks, need) = (backlog.job(head.job).key.job(), shape.count(), shape.need.clone());
        let branch = backlog.queues.lane(head.lane).branch;
        let balance = Balance::of((head.lane, shape), backlog, fleet, runs);
        let spare = balance.map(|balance| balance.spare_at(opening.at)).unwrap_or_default();
        let kept = Kept { job, branch, tasks, need, opening, spare };
        if self.kept.as_ref().is_none_or(|before| kept.may_admit_more(before)) {
            self.delaying.clear();
        }
        self.kept = Some(kept);
        true
    }

    /// When there is or will be room for a lane's next tasks of a shape; notes where there will be none.
    pub(crate) fn opening(
        &mut self,
        (lane, id): (u32, u32),
        backlog: &Backlog,
        shapes: &Shapes,
        fleet: &Fleet,
        runs: &mut Runs,
    ) -> Option<Opening> {
        let shape = shapes.get(id);
        let balance = Balance::of((lane, shape), backlog, fleet, runs);
        let Some(from) = balance.map_or(Some(Time::ZERO), |balance| balance.opens_at()) else {
            self.hopeless.aside.insert((lane, id));
            return None;
        };
        self.outlook.look(id, shape, fleet, runs);
        let opening = self.outlook.opening(shape.count(), from);
        if opening.is_none() {
            self.hopeless.shapes.insert(id);
        }
        opening
    }

    /// The shape is not in use any more.
    pub(crate) fn forget(&mut self, shape: u32) {
        self.outlook.forget(shape);
        self.hopeless.shapes.remove(&shape);
        self.delaying.remove(&shape);
    }

    /// An agent has changed. Where it would have more free than before if all that runs there ended, no shape that it
    /// could take is hopeless for now.
    pub(crate) fn reconsider(&mut self, agent: u32, shapes: &Shapes, fleet: &Fleet, runs: &Runs) {
        if self.hopeless.shapes.is_empty() {
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
        self.hopeless.shapes.retain(|shape| !takes(shape));
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
        let kept = self.kept.as_ref();
        let is_in_time = |estimate: Estimate| kept.is_none_or(|kept| estimate.ends(now) <= kept.shadow());
        let delaying = RefCell::new(std::mem::take(&mut self.delaying));
        let may_outlast = |id: u32| {
            if delaying.borrow().contains(&id) {
                return false;
            }
            let shape = shapes.get(id);
            let spares = kept.is_none_or(|kept| kept.spares(&shape.need, shape.count()));
            let may_go = spares && self.may_outlast(id, shapes, fleet, runs);
            if !may_go {
                delaying.borrow_mut().insert(id);
            }
            may_go
        };
        let keeps_limits = |tree: &Tree, branch: u32, shape: u32, estimate: Estimate| {
            self.firsts.may_go(tree, branch, shapes.get(shape), estimate.ends(now))
        };
        let first = kept.map(|kept| (kept.branch, &kept.need, kept.tasks));
        let next = backlog.candidate(shapes, &is_in_time, &may_outlast, &keeps_limits, first);
        self.delaying = delaying.into_inner();
        next
    }

    /// True where a task of the shape may be placed that outlasts the shadow, or that takes a search to find out.
    fn may_outlast(&self, shape: u32, shapes: &Shapes, fleet: &Fleet, runs: &Runs) -> bool {
        let known = shapes.get(shape);
        let Some(guard) = self.guard(runs, false) else { return true };
        let admits = |agent: u32| fleet.fits(agent, known) && guard.admits(agent, &known.need, fleet);
        match &known.hope {
            Hope::Among(few) => few.iter().copied().any(admits),
            // So few are looked at here; finding out by a search takes a whole decision.
            _ => fleet.len() > FEW || fleet.iter().any(|(agent, _)| admits(agent)),
        }
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
