//! How evenly queues were served: what each received over what it was entitled to while it had jobs.
//!
//! A queue is entitled to its weight's part of what its siblings with jobs and it have together, down the tree; it
//! receives its dominant share. Both are summed over time, and Jain's index [Jain, Chiu, Hawe 1984] taken over the
//! quotients of the queues with jobs of their own. Entitlements grow with a virtual time at each node of the tree, so that
//! an event costs as much as the tree is deep.

use std::collections::BTreeMap;

use allot_model::{ResourceName, Time};

use super::metrics::early_by_stay;
use super::outcome::Outcome;
use crate::workload::{Happening, Workload};

/// What happens to the shares of queues, in the order in which it is applied within one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Tasks end: the job's number, how many.
    Ends(u32, u32),
    /// Agents or weights change: the number of the change.
    Changes(u32),
    /// Tasks start.
    Starts(u32, u32),
    /// A job is submitted.
    Opens(u32),
    /// A job is over.
    Closes(u32),
}

/// Jain's index; 1 where there are not two queues to compare.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub(super) fn jain_index(workload: &Workload, outcome: &Outcome) -> f64 {
    let mut with_jobs: Vec<u32> = workload.jobs.iter().map(|job| job.queue).collect();
    with_jobs.sort_unstable();
    with_jobs.dedup();
    if with_jobs.len() < 2 {
        return 1.0;
    }
    let mut fairness = Fairness::new(workload);
    for (at, event) in events(workload, outcome) {
        fairness.apply(at, event);
    }
    let quotients = with_jobs.iter().filter_map(|queue| fairness.quotient(*queue, outcome.ended_at));
    let (count, sum, squares) =
        quotients.fold((0_u32, 0.0, 0.0), |(count, sum, squares), x| (count + 1, sum + x, squares + x * x));
    if squares > 0.0 { sum * sum / (f64::from(count) * squares) } else { 1.0 }
}

fn events(workload: &Workload, outcome: &Outcome) -> Vec<(Time, Event)> {
    let count = |tasks: allot_model::TaskRange| u32::try_from(tasks.count()).unwrap_or(u32::MAX);
    let early = early_by_stay(outcome);
    let mut events = Vec::with_capacity(2 * (outcome.stays.len() + workload.jobs.len()));
    for (number, stay) in (0_u32..).zip(&outcome.stays) {
        let gone = early.get(&number).map_or(&[][..], Vec::as_slice);
        let left = count(stay.tasks) - gone.iter().map(|(tasks, _)| count(*tasks)).sum::<u32>();
        events.push((stay.start, Event::Starts(stay.job, count(stay.tasks))));
        events.extend(gone.iter().map(|(tasks, at)| (*at, Event::Ends(stay.job, count(*tasks)))));
        events.extend(stay.end().map(|at| (at, Event::Ends(stay.job, left))));
    }
    for (number, (job, fate)) in (0_u32..).zip(workload.jobs.iter().zip(&outcome.jobs)) {
        if job.submit <= outcome.ended_at && !fate.rejected {
            events.push((job.submit, Event::Opens(number)));
        }
        events.extend(fate.end.map(|at| (at, Event::Closes(number))));
    }
    let changes = (0_u32..).zip(&workload.changes).filter(|(_, change)| change.at <= outcome.ended_at);
    events.extend(changes.map(|(number, change)| (change.at, Event::Changes(number))));
    events.sort_unstable();
    events
}

/// A queue, or one above a queue.
#[derive(Debug, Clone, Default)]
struct Node {
    parent: Option<usize>,
    weight: f64,
    /// Jobs of its own that are not over.
    open: u32,
    /// True where it or a queue below it has such jobs.
    active: bool,
    /// Children of which that is true, and their weights together.
    active_children: u32,
    active_weight: f64,
    /// What it has been entitled to so far, in shares times seconds.
    entitled: f64,
    /// What a child of weight 1 was entitled to while it was active.
    virtual_time: f64,
    /// The virtual time of its parent when it was looked at last.
    seen: f64,
    /// What its tasks hold of each resource.
    used: Vec<u64>,
    /// Its dominant share times seconds so far.
    received: f64,
    received_at: Time,
}

struct Fairness<'a> {
    workload: &'a Workload,
    /// The root comes first.
    nodes: Vec<Node>,
    /// The node of each queue.
    of_queue: Vec<usize>,
    dims: BTreeMap<&'a ResourceName, usize>,
    capacity: Vec<u64>,
    totals: Vec<BTreeMap<usize, u64>>,
    now: Time,
}

impl<'a> Fairness<'a> {
    fn new(workload: &'a Workload) -> Self {
        let mut nodes = vec![Node::default()];
        let mut by_path: BTreeMap<String, usize> = BTreeMap::new();
        let mut of_queue = Vec::new();
        for queue in &workload.queues {
            let mut paths: Vec<&str> = queue.name.lineage().collect();
            paths.reverse();
            let mut at = 0;
            for path in paths {
                let parent = Some(at);
                at = *by_path.entry(path.to_owned()).or_insert_with(|| {
                    nodes.push(Node { parent, weight: 1.0, ..Node::default() });
                    nodes.len() - 1
                });
            }
            of_queue.push(at);
        }
        let names = workload.asks.iter().flat_map(|asks| asks.request.iter()).map(|(name, _)| name);
        let mut dims = BTreeMap::new();
        for name in names {
            let next = dims.len();
            dims.entry(name).or_insert(next);
        }
        let mut fairness = Self {
            workload,
            nodes,
            of_queue,
            capacity: vec![0; dims.len()],
            totals: vec![BTreeMap::new(); workload.agents.len()],
            dims,
            now: Time::ZERO,
        };
        for (queue, node) in workload.queues.iter().zip(fairness.of_queue.clone()) {
            fairness.node(node).weight = f64::from(queue.weight);
        }
        fairness
    }

    #[allow(clippy::indexing_slicing)]
    fn node(&mut self, node: usize) -> &mut Node {
        &mut self.nodes[node]
    }

    fn apply(&mut self, at: Time, event: Event) {
        self.now = at;
        match event {
            Event::Ends(job, tasks) => self.hold(job, tasks, u64::saturating_sub),
            Event::Starts(job, tasks) => self.hold(job, tasks, u64::saturating_add),
            Event::Changes(number) => self.change(number),
            Event::Opens(job) => self.open(job, true),
            Event::Closes(job) => self.open(job, false),
        }
    }

    fn node_of(&self, job: u32) -> Option<usize> {
        let job = self.workload.jobs.get(job as usize)?;
        self.of_queue.get(job.queue as usize).copied()
    }

    /// A queue holds more or less from now on.
    fn hold(&mut self, job: u32, tasks: u32, change: fn(u64, u64) -> u64) {
        let Some(at) = self.node_of(job) else { return };
        self.receive(at);
        let workload = self.workload;
        let asks = workload.jobs.get(job as usize).and_then(|job| workload.asks.get(job.asks as usize));
        let Some(asks) = asks else { return };
        let dims = self.dims.len();
        for (name, amount) in asks.request.iter() {
            let Some(dim) = self.dims.get(name).copied() else { continue };
            let used = &mut self.node(at).used;
            used.resize(dims, 0);
            if let Some(held) = used.get_mut(dim) {
                *held = change(*held, amount.saturating_mul(u64::from(tasks)));
            }
        }
    }

    /// Counts what a queue has received up to now.
    #[allow(clippy::cast_precision_loss)]
    fn receive(&mut self, at: usize) {
        let (now, capacity) = (self.now, std::mem::take(&mut self.capacity));
        let node = self.node(at);
        let part = |(held, there): (&u64, &u64)| *held as f64 / (*there).max(1) as f64;
        let share = node.used.iter().zip(&capacity).map(part).fold(0.0, f64::max);
        node.received += share * now.since(node.received_at).as_secs_f64();
        node.received_at = now;
        self.capacity = capacity;
    }

    fn change(&mut self, number: u32) {
        let workload = self.workload;
        match workload.changes.get(number as usize).map(|change| &change.what) {
            Some(Happening::Agent { agent, facts }) => {
                let amounts = facts.total.iter().map(|(name, amount)| (name, amount.total()));
                let known = amounts.filter_map(|(name, amount)| Some((*self.dims.get(name)?, amount)));
                self.resize(*agent, known.collect());
            }
            Some(Happening::AgentLeaves { agent }) => self.resize(*agent, BTreeMap::new()),
            Some(Happening::Queue { queue, weight, .. }) => {
                let Some(at) = self.of_queue.get(*queue as usize).copied() else { return };
                self.weigh(at, f64::from(*weight));
            }
            _ => {}
        }
    }

    /// An agent has so much from now on.
    fn resize(&mut self, agent: u32, amounts: BTreeMap<usize, u64>) {
        (0..self.nodes.len()).for_each(|node| self.receive(node));
        let Some(before) = self.totals.get_mut(agent as usize) else { return };
        let before = std::mem::replace(before, amounts.clone());
        for (dim, amount) in before {
            self.capacity.get_mut(dim).into_iter().for_each(|sum| *sum = sum.saturating_sub(amount));
        }
        for (dim, amount) in amounts {
            self.capacity.get_mut(dim).into_iter().for_each(|sum| *sum = sum.saturating_add(amount));
        }
    }

    /// A queue has one job more or less that is not over.
    fn open(&mut self, job: u32, more: bool) {
        let Some(at) = self.node_of(job) else { return };
        self.settle(at);
        let node = self.node(at);
        node.open = if more { node.open + 1 } else { node.open.saturating_sub(1) };
        self.recount(at);
    }

    /// Has a node, and those above it, count among the active children of its parent where it is one. All of them are
    /// settled already.
    fn recount(&mut self, mut at: usize) {
        while let Some(parent) = self.node(at).parent {
            let node = self.node(at);
            let (is_active, weight) = (node.open > 0 || node.active_children > 0, node.weight);
            if node.active == is_active {
                return;
            }
            node.active = is_active;
            let above = self.node(parent);
            if is_active {
                above.active_children += 1;
                above.active_weight += weight;
            } else {
                above.active_children = above.active_children.saturating_sub(1);
                above.active_weight -= weight;
            }
            at = parent;
        }
    }

    fn weigh(&mut self, at: usize, weight: f64) {
        self.settle(at);
        let node = self.node(at);
        let (before, parent, active) = (node.weight, node.parent, node.active);
        node.weight = weight;
        if let Some(parent) = parent.filter(|_| active) {
            self.node(parent).active_weight += weight - before;
        }
    }

    /// Counts what a node, and those above it, have been entitled to up to now.
    fn settle(&mut self, at: usize) {
        let entitled = match self.node(at).parent {
            None => self.now.since(Time::ZERO).as_secs_f64(),
            Some(parent) => {
                self.settle(parent);
                let virtual_time = self.node(parent).virtual_time;
                let node = self.node(at);
                let earned = if node.active { node.weight * (virtual_time - node.seen) } else { 0.0 };
                node.seen = virtual_time;
                node.entitled + earned
            }
        };
        self.grow(at, entitled);
    }

    /// The node has been entitled to so much in all: its children divide what is new.
    fn grow(&mut self, at: usize, entitled: f64) {
        let node = self.node(at);
        if node.active_children > 0 {
            node.virtual_time += (entitled - node.entitled) / node.active_weight;
        }
        node.entitled = entitled;
    }

    /// What a queue received over what it was entitled to; nothing where it was entitled to nothing.
    fn quotient(&mut self, queue: u32, end: Time) -> Option<f64> {
        let at = self.of_queue.get(queue as usize).copied()?;
        self.now = end;
        self.settle(at);
        self.receive(at);
        let node = self.node(at);
        (node.entitled > 0.0).then(|| node.received / node.entitled)
    }
}
