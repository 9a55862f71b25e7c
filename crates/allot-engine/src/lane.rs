//! A lane: the jobs that stand in one line behind each other, which is a queue, or everyone where queues do not
//! rank.

use std::collections::BTreeMap;
use std::ops::Bound;

use allot_model::QueueName;

use crate::dims::{Dim, Need, Vector};
use crate::name::NameKey;
use crate::policy::{Backfill, JobKey, LaneKey};
use crate::rank::{Amounts, Measure, Standing, hdrf};
use crate::ranked::Summary;
use crate::shape::Mask;
use crate::share::Share;
use crate::slab::Slab;

/// Jobs in order, and what they hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    /// Whose it is; nobody's where all stand in one line.
    pub(crate) queue: Option<QueueName>,
    name: NameKey,
    pub(crate) weight: u32,
    /// The branch of the queue tree that it is in, and its place among the members there.
    pub(crate) branch: u32,
    pub(crate) seat: u32,
    pub(crate) held: LaneHeld,
    pub(crate) standing: Standing,
    share: Share,
    /// One cell for each shape that some waiting job has.
    cells: Slab<Cell>,
    by_shape: BTreeMap<u32, u32>,
    /// The cells in order of their first jobs. Those that are not open are stepped over one by one, which takes less
    /// than to keep a tree of them for every queue.
    heads: BTreeMap<JobKey, Head>,
    /// The shapes that have a cell.
    mask: Mask,
    /// How many jobs, grants in flight and the like need it to be there.
    pub(crate) users: u64,
}

/// What the tasks of a lane hold, those granted and not yet answered among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LaneHeld {
    pub(crate) used: Vector,
    /// How many have a slot.
    pub(crate) tasks: u64,
}

/// The first job of a cell, where it stands, and what it asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) cell: u32,
    pub(crate) job: u32,
    pub(crate) shape: u32,
}

/// The waiting jobs of one shape in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub(crate) shape: u32,
    jobs: BTreeMap<JobKey, u32>,
}

impl Lane {
    pub(crate) fn new(queue: Option<QueueName>) -> Self {
        let name = NameKey::new(queue.as_ref().map_or("", QueueName::as_str));
        Self { queue, name, weight: 1, ..Self::default() }
    }

    pub(crate) fn share(&self) -> Share {
        self.share
    }

    pub(crate) fn name(&self) -> NameKey {
        self.name.clone()
    }

    /// True where nobody needs it.
    pub(crate) fn is_idle(&self) -> bool {
        self.users == 0 && self.held.tasks == 0 && self.held.used.is_zero()
    }

    /// Puts a job in its place. True where no waiting job had this shape before.
    pub(crate) fn enter(&mut self, shape: u32, key: JobKey, job: u32) -> bool {
        let known = self.by_shape.get(&shape).copied();
        let slot = known.unwrap_or_else(|| self.open_cell(shape));
        let cell = &mut self.cells[slot];
        let before = cell.first();
        cell.jobs.insert(key, job);
        if before.is_none_or(|(first, _)| key < first) {
            before.into_iter().for_each(|(first, _)| {
                self.heads.remove(&first);
            });
            self.heads.insert(key, Head { cell: slot, job, shape });
        }
        known.is_none()
    }

    fn open_cell(&mut self, shape: u32) -> u32 {
        let slot = self.cells.insert(Cell { shape, jobs: BTreeMap::new() });
        self.by_shape.insert(shape, slot);
        self.mask.join(&Mask::of(shape));
        slot
    }

    /// Takes a job out of its place.
    pub(crate) fn leave(&mut self, shape: u32, key: JobKey) {
        if let Some(slot) = self.by_shape.get(&shape).copied() {
            self.leave_cell(slot, key);
        }
    }

    /// Takes a job out of this cell.
    pub(crate) fn leave_cell(&mut self, slot: u32, key: JobKey) {
        let cell = &mut self.cells[slot];
        cell.jobs.remove(&key);
        let (first, shape) = (cell.first(), cell.shape);
        if first.is_some_and(|(first, _)| first < key) {
            return;
        }
        self.heads.remove(&key);
        match first {
            Some((first, job)) => {
                self.heads.insert(first, Head { cell: slot, job, shape });
            }
            None => self.close_cell(slot),
        }
    }

    fn close_cell(&mut self, slot: u32) {
        let gone = self.cells.remove(slot);
        self.by_shape.remove(&gone.shape);
        self.mask = Mask::default();
        self.by_shape.keys().for_each(|shape| self.mask.join(&Mask::of(*shape)));
    }

    /// The waiting job of a shape behind this one.
    pub(crate) fn behind(&self, shape: u32, key: JobKey) -> Option<(JobKey, u32)> {
        let cell = &self.cells[self.cell_of(shape)?];
        let behind = cell.jobs.range((Bound::Excluded(key), Bound::Unbounded)).next();
        behind.map(|(key, job)| (*key, *job))
    }

    /// The cell of the waiting jobs of a shape.
    pub(crate) fn cell_of(&self, shape: u32) -> Option<u32> {
        self.by_shape.get(&shape).copied()
    }

    /// The cells with waiting jobs.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Cell> {
        self.by_shape.values().map(|slot| &self.cells[*slot])
    }

    /// The shapes that could be next.
    pub(crate) fn mask(&self, backfill: Backfill) -> Mask {
        match backfill {
            Backfill::None => {
                self.heads.values().next().map_or_else(Mask::default, |head| Mask::of(head.shape))
            }
            _ => self.mask,
        }
    }

    /// The first job in order whose shape may fit somewhere.
    pub(crate) fn next(
        &self,
        backfill: Backfill,
        mut is_open: impl FnMut(u32) -> bool,
    ) -> Option<(JobKey, Head)> {
        let mut heads = self.heads.iter();
        let head = match backfill {
            Backfill::None => heads.next().filter(|(_, head)| is_open(head.shape)),
            _ => heads.find(|(_, head)| is_open(head.shape)),
        };
        head.map(|(key, head)| (*key, *head))
    }

    /// The first jobs in order, one for each shape, by their slots and shapes.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (JobKey, u32, u32)> {
        self.heads.iter().map(|(key, head)| (*key, head.job, head.shape))
    }

    /// The first job in order.
    pub(crate) fn head(&self) -> Option<(JobKey, Head)> {
        self.heads.first_key_value().map(|(key, head)| (*key, *head))
    }

    /// Its tasks hold `count` times `need` more.
    pub(crate) fn charge(&mut self, need: &Need, count: u64, rank: &Measure<'_>) {
        self.held.used.add_need(need, count);
        self.held.tasks = self.held.tasks.saturating_add(count);
        self.measure(rank);
    }

    /// Its tasks hold `count` times `need` less.
    pub(crate) fn refund(&mut self, need: &Need, count: u64, rank: &Measure<'_>) {
        self.held.used.subtract_need(need, count);
        self.held.tasks = self.held.tasks.saturating_sub(count);
        self.measure(rank);
    }

    /// What it holds, what there is, its weight or its standing has changed.
    pub(crate) fn measure(&mut self, rank: &Measure<'_>) {
        if let Standing::Direction(direction) = &mut self.standing {
            *direction = hdrf::direction(&self.held.used, rank);
        }
        self.share = rank.share(&self.held.used, self.weight, &self.standing);
    }

    /// How many of `most` tasks go one after the other before a rival with this key is preferred. At least 1.
    pub(crate) fn stretch(&self, need: &Need, most: u64, rival: Option<&LaneKey>, rank: &Measure<'_>) -> u64 {
        let Some(rival) = rival else { return most };
        stretch(most, |count| {
            let mut used = self.held.used.clone();
            used.add_need(need, count);
            let share = rank.share(&used, self.weight, &self.standing);
            LaneKey { share, name: self.name.clone() } < *rival
        })
    }
}

/// How many of `most` tasks go one after the other where after `stays_first` of them the next is preferred as well. At
/// least 1. Shares only grow, so the numbers after which it is still first are those below some number.
pub(crate) fn stretch(most: u64, stays_first: impl Fn(u64) -> bool) -> u64 {
    let (mut stays, mut yields) = (0, most);
    while stays + 1 < yields {
        let middle = stays + (yields - stays) / 2;
        if stays_first(middle) { stays = middle } else { yields = middle }
    }
    yields
}

impl Amounts for Vector {
    fn dims(&self) -> usize {
        self.iter().count()
    }

    fn amount(&self, dim: Dim) -> u64 {
        self.get(dim)
    }
}

impl Cell {
    /// The first job in order, and its slot.
    pub(crate) fn first(&self) -> Option<(JobKey, u32)> {
        self.jobs.first_key_value().map(|(key, job)| (*key, *job))
    }

    /// The waiting jobs before this one in order, itself excluded.
    pub(crate) fn before(&self, key: JobKey) -> impl Iterator<Item = (&JobKey, u32)> {
        self.jobs.range(..key).map(|(key, job)| (key, *job))
    }

    /// All waiting jobs.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (&JobKey, u32)> {
        self.jobs.iter().map(|(key, job)| (key, *job))
    }
}
