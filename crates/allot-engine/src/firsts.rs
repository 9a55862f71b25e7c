//! Whom a limit holds back, where room is kept for some. To the queues below it a limit is what a machine is to a line: the first of
//! them, where it leaves that no room, has room kept within it, from the first time at which, going by the estimates, there will be
//! enough. Who comes after it in one of these queues goes ahead where it has ended by then, or leaves the first its room all the
//! same.

use std::collections::BTreeMap;

use allot_model::Time;

use crate::backlog::Backlog;
use crate::branch::{Branch, Held, Tree};
use crate::dims::Need;
use crate::fleet::Fleet;
use crate::search::Place;
use crate::shape::{Shape, Shapes};
use crate::timeline::{Group, Runs, Timeline};

/// Those that limits hold back, of the branches that were looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Firsts {
    /// The first in each branch that was looked at, if there is one.
    looked_at: BTreeMap<u32, Option<u32>>,
    held_back: BTreeMap<u32, First>,
    /// What runs in each branch with a limit, once that was asked for.
    running: Option<BTreeMap<u32, Vec<Running>>>,
}

/// When tasks are expected to end, what each of them holds, and how many they are.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) end: Time,
    pub(crate) need: Need,
    pub(crate) slots: u64,
}

/// The first in a branch, which its limit holds back.
#[derive(Debug, Clone)]
struct First {
    need: Need,
    tasks: u64,
    /// When there is room for it within the limit.
    opens: Time,
    /// What the branch holds then of what it holds now.
    held: Held,
}

impl Firsts {
    /// A job is first nowhere any more.
    pub(crate) fn forget_first(&mut self, job: u32) {
        if self.looked_at.values().any(|first| *first == Some(job)) {
            self.forget();
        }
    }

    /// Something has changed: all is to be looked at again.
    pub(crate) fn forget(&mut self) {
        self.looked_at.clear();
        self.held_back.clear();
        self.running = None;
    }

    /// Tasks were placed in a branch: of those around it all is to be looked at again.
    pub(crate) fn note_placed(&mut self, tree: &Tree, branch: u32, placed: &Running) {
        for around in tree.up_from(branch) {
            self.looked_at.remove(&around);
            self.held_back.remove(&around);
            if let Some(running) = self.running.as_mut().and_then(|running| running.get_mut(&around)) {
                running.push(placed.clone());
            }
        }
    }

    /// True where some limit is known to hold somebody back.
    pub(crate) fn are_any(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// A branch with a limit around this one that was not looked at yet.
    pub(crate) fn unknown_around(&self, tree: &Tree, branch: u32) -> Option<u32> {
        let is_limited = |around: &u32| !tree.get(*around).limit.bound.is_none();
        tree.up_from(branch).filter(is_limited).find(|around| !self.looked_at.contains_key(around))
    }

    /// Notes who is first in a branch, if anyone. Returns true where its limit holds it back.
    pub(crate) fn note(
        &mut self,
        branch: u32,
        first: Option<Place>,
        (backlog, shapes): (&Backlog, &Shapes),
        fleet: &Fleet,
        runs: &Runs,
    ) -> bool {
        self.looked_at.insert(branch, first.map(|first| first.job));
        let here = backlog.queues.tree.get(branch);
        let first = first.map(|first| shapes.get(first.shape));
        let refused = first.filter(|first| !here.admits(&first.need, first.count()));
        let Some(refused) = refused else { return false };
        let running = self.running.get_or_insert_with(|| running(backlog, fleet, runs));
        let noted = First::of(here, refused, running.entry(branch).or_default());
        let is_one = noted.is_some();
        self.held_back.extend(noted.map(|first| (branch, first)));
        is_one
    }

    /// True where another job is first in a branch around this one, which has a limit.
    pub(crate) fn is_another_first(&self, tree: &Tree, branch: u32, job: u32) -> bool {
        let mut firsts = tree.up_from(branch).filter_map(|around| *self.looked_at.get(&around)?);
        firsts.any(|first| first != job)
    }

    /// True where tasks that have ended by then delay nobody whom a limit around their branch holds back.
    pub(crate) fn may_go(&self, tree: &Tree, branch: u32, shape: &Shape, end: Time) -> bool {
        let delays = |around: u32| {
            let Some(first) = self.held_back.get(&around).filter(|first| end > first.opens) else {
                return false;
            };
            let bound = &tree.get(around).limit.bound;
            bound.room_beside(&first.held, (&shape.need, shape.count()), &first.need) < first.tasks
        };
        self.held_back.is_empty() || !tree.up_from(branch).any(delays)
    }
}

/// What runs in each branch with a limit.
fn running(backlog: &Backlog, fleet: &Fleet, runs: &Runs) -> BTreeMap<u32, Vec<Running>> {
    let tree = &backlog.queues.tree;
    let mut running: BTreeMap<u32, Vec<Running>> = BTreeMap::new();
    for (end, group) in fleet.iter().filter_map(|(agent, _)| runs.on(agent)).flat_map(Timeline::iter) {
        let Some(job) = backlog.find(group.job) else { continue };
        let branch = backlog.queues.lane(backlog.job(job).lane).branch;
        let is_limited = |around: &u32| !tree.get(*around).limit.bound.is_none();
        for around in tree.up_from(branch).filter(is_limited) {
            let Group { need, slots, .. } = group;
            running.entry(around).or_default().push(Running { end, need: need.clone(), slots: *slots });
        }
    }
    running
}

impl First {
    fn of(here: &Branch, shape: &Shape, running: &mut [Running]) -> Option<Self> {
        // Sorted but for what was placed since.
        running.sort_by_key(|running| running.end);
        let (need, tasks) = (shape.need.clone(), shape.count());
        let mut held = here.held.clone();
        let mut opens = None;
        for Running { end, need: freed, slots } in running {
            if opens.is_some_and(|opens| opens < *end) {
                break;
            }
            held.subtract(freed, *slots);
            if opens.is_none() && here.limit.bound.room(&held, &need) >= tasks {
                opens = Some(*end);
            }
        }
        Some(Self { need, tasks, opens: opens?, held })
    }
}
