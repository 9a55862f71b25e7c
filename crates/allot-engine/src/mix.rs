//! Fragments: gpus that are free and that tasks like those submitted cannot use
//! [Weng et al.: Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent, USENIX ATC
//! 2023].
//!
//! To a task that does not fit on an agent all free gpus there are fragments; to one that fits, those devices that
//! have less left than it asks for of one. What is counted is the mean over the tasks of all jobs that have not ended, by
//! what they ask for: a type of task counts for its part of them, in parts of [`PARTS`]. A task without gpus cannot use any
//! wherever it goes and makes no difference.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use allot_model::JobId;
use allot_model::resources::WHOLE;

use crate::dims::{Dim, GPUS, Need};
use crate::shape::{Classes, Shapes, UNCONSTRAINED};

/// The part that a type of task is of all, in so many parts, rounded half up.
pub(crate) const PARTS: u64 = 1_024;

/// How many types of task count: those that most tasks are of.
pub(crate) const MOST_TYPES: usize = 64 * WORDS;
const WORDS: usize = 8;

/// Types of task, by their place.
type Set = [u64; WORDS];

/// What is submitted, and what that says of agents.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskMix {
    /// The jobs that ask for gpus, with their shapes and numbers of tasks.
    jobs: BTreeMap<JobId, (u32, u32)>,
    /// How many tasks there are of each shape.
    tasks: BTreeMap<u32, u64>,
    /// True where tasks changed since the types were made of them.
    changed: bool,
    types: Types,
    /// What was found out about agents, by slot.
    agents: Vec<Known>,
}

/// Types of task in the order of what they ask of devices: shares from the smallest, then whole devices from the fewest,
/// then what no devices can be given for.
#[derive(Debug, Clone, Default)]
struct Types {
    shapes: Vec<u32>,
    asks: Vec<u64>,
    weights: Vec<u64>,
    whole_weight: u64,
    /// Where shares end, and where whole devices do.
    shares: usize,
    wholes: usize,
    /// What fits which amount of each resource but gpus.
    by_dim: Vec<(Dim, Steps)>,
    by_class: BTreeMap<u32, Set>,
    /// Grows when other types count, and when any of them counts for more or less.
    made: u64,
    weighed: u64,
}

/// What fits which amount of one resource.
#[derive(Debug, Clone)]
struct Steps {
    indifferent: Set,
    /// Amounts in order, each with the types that ask for no more.
    amounts: Vec<(u64, Set)>,
}

/// What was found out about an agent, and of which types.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    made: u64,
    /// The types whose constraints hold there.
    allowed: Set,
    weighed: u64,
    fragments: u64,
}

/// What is free on an agent: what of each resource, and of each device, the fullest first.
pub(crate) struct Vacancy<'a, F> {
    pub(crate) amount: F,
    pub(crate) devices: &'a [u64],
}

impl TaskMix {
    /// A job was submitted.
    pub(crate) fn admit(&mut self, job: JobId, shape: u32, need: &Need, tasks: u32) {
        if need.get(GPUS) > 0 && self.jobs.insert(job, (shape, tasks)).is_none() {
            *self.tasks.entry(shape).or_insert(0) += u64::from(tasks);
            self.changed = true;
        }
    }

    /// A job ended.
    pub(crate) fn end(&mut self, job: JobId) {
        let Some((shape, tasks)) = self.jobs.remove(&job) else { return };
        self.changed = true;
        if let Some(held) = self.tasks.get_mut(&shape) {
            *held -= u64::from(tasks);
            if *held == 0 {
                self.tasks.remove(&shape);
                // Another shape may come under its number.
                self.types.shapes.clear();
            }
        }
    }

    /// Takes in what was submitted; true where that changes what fragments are.
    pub(crate) fn refresh(&mut self, shapes: &Shapes, classes: &Classes) -> bool {
        if !std::mem::take(&mut self.changed) {
            return false;
        }
        let counted = self.most_frequent(shapes, classes);
        let is_known = |shape: &u32| counted.contains_key(shape);
        // Shapes that are forgotten leave what was made of them behind.
        let is_made = [self.types.shapes.len(), self.types.asks.len()] == [counted.len(); 2];
        let same_types = is_made && self.types.shapes.iter().all(is_known);
        if !same_types {
            self.types.make(counted.keys().copied(), shapes);
        }
        self.types.weigh(&counted) || !same_types
    }

    fn most_frequent(&self, shapes: &Shapes, classes: &Classes) -> BTreeMap<u32, u64> {
        if self.tasks.len() <= MOST_TYPES {
            return self.tasks.clone();
        }
        let mut all: Vec<(u32, u64)> = self.tasks.iter().map(|(shape, tasks)| (*shape, *tasks)).collect();
        all.sort_by_cached_key(|(shape, tasks)| {
            let known = shapes.get(*shape);
            (Reverse(*tasks), known.request.clone(), classes.get(known.class).to_vec())
        });
        all.into_iter().take(MOST_TYPES).collect()
    }

    /// Something about an agent has changed.
    pub(crate) fn note(&mut self, slot: u32) {
        if let Some(known) = self.agents.get_mut(slot as usize) {
            *known = Known::default();
        }
    }

    /// How many fragments more there are on an agent once what is free there is `after` and not `before`: in thousandths of a
    /// gpu times the whole weight of all types.
    pub(crate) fn growth<F: Fn(Dim) -> u64, G: Fn(Dim) -> u64>(
        &mut self,
        slot: u32,
        classes: &BTreeSet<u32>,
        before: &Vacancy<'_, F>,
        after: &Vacancy<'_, G>,
    ) -> i128 {
        let slot = slot as usize;
        if self.agents.len() <= slot {
            self.agents.resize(slot + 1, Known::default());
        }
        let (known, types) = (&mut self.agents[slot], &self.types);
        if known.made != types.made {
            *known = Known { made: types.made, allowed: types.allowed(classes), ..Known::default() };
        }
        if known.weighed != types.weighed {
            known.weighed = types.weighed;
            known.fragments = types.fragments(before, &known.allowed);
        }
        i128::from(types.fragments(after, &known.allowed)) - i128::from(known.fragments)
    }
}

impl Types {
    fn make(&mut self, counted: impl Iterator<Item = u32>, shapes: &Shapes) {
        let ask = |shape: &u32| shapes.get(*shape).need.get(GPUS);
        let mut order: Vec<u32> = counted.collect();
        let kind = |ask: u64| (ask >= WHOLE, !ask.is_multiple_of(WHOLE) && ask >= WHOLE);
        order.sort_by_key(|shape| (kind(ask(shape)).1, kind(ask(shape)).0, ask(shape)));
        self.asks = order.iter().map(ask).collect();
        self.shares = self.asks.iter().filter(|ask| !kind(**ask).0).count();
        self.wholes = self.asks.iter().filter(|ask| !kind(**ask).1).count();
        let needs: Vec<&Need> = order.iter().map(|shape| &shapes.get(*shape).need).collect();
        let dims: BTreeSet<Dim> = needs.iter().flat_map(|need| need.iter().map(|(dim, _)| dim)).collect();
        let others = dims.into_iter().filter(|dim| *dim != GPUS);
        self.by_dim = others.map(|dim| (dim, Steps::of(needs.iter().map(|need| need.get(dim))))).collect();
        self.by_class.clear();
        for (place, shape) in order.iter().enumerate() {
            add(self.by_class.entry(shapes.get(*shape).class).or_insert([0; WORDS]), place);
        }
        self.shapes = order;
        self.made += 1;
    }

    /// Counts each type for its part of the tasks; true where that is not as before.
    fn weigh(&mut self, counted: &BTreeMap<u32, u64>) -> bool {
        let all = counted.values().map(|tasks| u128::from(*tasks)).sum::<u128>().max(1);
        let part = |shape: &u32| {
            let tasks = counted.get(shape).copied().map_or(0, u128::from);
            u64::try_from((2 * tasks * u128::from(PARTS) + all) / (2 * all)).unwrap_or(PARTS)
        };
        let weights: Vec<u64> = self.shapes.iter().map(part).collect();
        let differs = weights != self.weights;
        if differs {
            self.weights = weights;
            self.whole_weight = self.weights.iter().sum();
        }
        // Where other types count, their weights are others even if they are the same numbers.
        self.weighed += 1;
        differs
    }

    fn allowed(&self, classes: &BTreeSet<u32>) -> Set {
        let all = [UNCONSTRAINED].into_iter().chain(classes.iter().copied());
        let sets = all.filter_map(|class| self.by_class.get(&class));
        sets.fold([0; WORDS], |allowed, set| std::array::from_fn(|word| allowed[word] | set[word]))
    }

    /// The free gpus that the tasks of each type cannot use, times its weight, summed over all types.
    fn fragments<F: Fn(Dim) -> u64>(&self, free: &Vacancy<'_, F>, allowed: &Set) -> u64 {
        let total = free.devices.iter().sum::<u64>();
        if total == 0 {
            return 0;
        }
        let mut fitting = *allowed;
        for (dim, steps) in &self.by_dim {
            let fit = steps.fitting((free.amount)(*dim));
            fitting.iter_mut().zip(fit).for_each(|(word, fit)| *word &= fit);
        }
        total * self.whole_weight - self.usable(free.devices, total, &fitting)
    }

    /// What of the devices the types in the set can use, times their weights.
    fn usable(&self, devices: &[u64], total: u64, fitting: &Set) -> u64 {
        let largest = devices.last().copied().unwrap_or(0);
        let idle = devices.iter().rev().take_while(|left| **left == WHOLE).count() as u64;
        let mut smaller = devices.iter().copied().peekable();
        let (mut below, mut usable) = (0, 0);
        let mut count = |place: usize, ask: u64| {
            while let Some(left) = smaller.next_if(|left| *left < ask) {
                below += left;
            }
            let bit = fitting[place / 64] >> (place % 64) & 1;
            usable += bit * self.weights[place] * (total - below);
        };
        let shares = (0..self.shares).zip(&self.asks[..self.shares]);
        shares.take_while(|(_, ask)| **ask <= largest).for_each(|(place, ask)| count(place, *ask));
        let wholes = (self.shares..self.wholes).zip(&self.asks[self.shares..self.wholes]);
        wholes.take_while(|(_, ask)| **ask <= idle * WHOLE).for_each(|(place, _)| count(place, WHOLE));
        usable
    }
}

fn add(set: &mut Set, place: usize) {
    if let Some(word) = set.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}

impl Steps {
    fn of(asks: impl Iterator<Item = u64>) -> Self {
        let mut by_amount: BTreeMap<u64, Set> = BTreeMap::new();
        asks.enumerate().for_each(|(place, ask)| add(by_amount.entry(ask).or_insert([0; WORDS]), place));
        let indifferent = by_amount.remove(&0).unwrap_or([0; WORDS]);
        let mut fitting = indifferent;
        let amounts = by_amount.into_iter().map(|(amount, set)| {
            fitting.iter_mut().zip(set).for_each(|(word, more)| *word |= more);
            (amount, fitting)
        });
        Self { indifferent, amounts: amounts.collect() }
    }

    fn fitting(&self, amount: u64) -> Set {
        match self.amounts.last() {
            Some((most, all)) if *most <= amount => *all,
            _ => {
                let step = self.amounts.partition_point(|(asked, _)| *asked <= amount);
                step.checked_sub(1).map_or(self.indifferent, |step| self.amounts[step].1)
            }
        }
    }
}
