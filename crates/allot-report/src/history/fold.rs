//! Counts how things stand, event by event, and notes it at the end of each instant.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{PoolAgent, ResourceName, Time};
use allot_sim::{Happening, Outcome, Workload};

use super::events::{Event, events};
use super::{History, Series, WHOLE_PPM, Window};

/// Amounts of the resources that any job asks for, by their number.
type Amounts = Vec<u64>;

struct Fold<'a> {
    workload: &'a Workload,
    /// What jobs ask for.
    names: Vec<&'a ResourceName>,
    /// What each task of a job holds, by the number of what it asks for.
    asks: Vec<Amounts>,
    there: Amounts,
    of_agent: Vec<Amounts>,
    held: Amounts,
    held_by: Vec<Amounts>,
    waiting: u64,
    waiting_of: Vec<u64>,
    /// Queues that hold something else than when it was noted last.
    touched: BTreeSet<u32>,
    /// True where there is something else than when it was noted last.
    resized: bool,
    utilisation: Vec<Series>,
    waiting_series: Series,
    shares: Vec<Series>,
}

pub(super) fn fold(workload: &Workload, outcome: &Outcome) -> History {
    let mut fold = Fold::new(workload);
    let events = events(workload, outcome);
    for instant in events.chunk_by(|(left, _), (right, _)| left == right) {
        instant.iter().for_each(|(_, event)| fold.apply(*event));
        instant.first().into_iter().for_each(|(at, _)| fold.note(*at));
    }
    fold.into_history(Window::of(workload, outcome))
}

impl<'a> Fold<'a> {
    fn new(workload: &'a Workload) -> Self {
        let requests = || workload.asks.iter().map(|asks| &asks.request);
        let names: BTreeSet<_> = requests().flat_map(|asks| asks.iter()).map(|(name, _)| name).collect();
        let names: Vec<_> = names.into_iter().collect();
        let asks = requests().map(|request| names.iter().map(|name| request.get(name)).collect());
        let none = vec![0; names.len()];
        Self {
            workload,
            asks: asks.collect(),
            there: none.clone(),
            of_agent: vec![Amounts::new(); workload.agents.len()],
            held: none.clone(),
            held_by: vec![none; workload.queues.len()],
            waiting: 0,
            waiting_of: vec![0; workload.jobs.len()],
            touched: BTreeSet::new(),
            resized: false,
            utilisation: vec![Series::default(); names.len()],
            waiting_series: Series::default(),
            shares: vec![Series::default(); workload.queues.len()],
            names,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Changes(number) => self.on_change(number),
            Event::Waits(job, tasks) => self.wait(job, tasks, u64::saturating_add),
            Event::Starts(job, tasks) => {
                self.wait(job, tasks, u64::saturating_sub);
                self.hold(job, tasks, u64::saturating_add);
            }
            Event::Ends(job, tasks) => self.hold(job, tasks, u64::saturating_sub),
            Event::Closes(job) => self.wait(job, u64::MAX, u64::saturating_sub),
        }
    }

    fn on_change(&mut self, number: u32) {
        let workload = self.workload;
        match workload.changes.get(number as usize).map(|change| &change.what) {
            Some(Happening::Agent { agent, facts }) => self.resize(*agent, Some(facts)),
            Some(Happening::AgentLeaves { agent }) => self.resize(*agent, None),
            _ => {}
        }
    }

    fn resize(&mut self, agent: u32, facts: Option<&PoolAgent>) {
        let Some(slot) = self.of_agent.get_mut(agent as usize) else { return };
        let amounts: Amounts = facts.map_or_else(Amounts::new, |facts| {
            self.names.iter().map(|name| facts.total.total(name)).collect()
        });
        let before = std::mem::replace(slot, amounts.clone());
        change(&mut self.there, &amounts, 1, u64::saturating_add);
        change(&mut self.there, &before, 1, u64::saturating_sub);
        self.resized = true;
    }

    fn wait(&mut self, job: u32, tasks: u64, by: fn(u64, u64) -> u64) {
        let Some(slot) = self.waiting_of.get_mut(job as usize) else { return };
        let others = self.waiting - *slot;
        *slot = by(*slot, tasks);
        self.waiting = others + *slot;
    }

    fn hold(&mut self, job: u32, tasks: u64, by: fn(u64, u64) -> u64) {
        let Some(job) = self.workload.jobs.get(job as usize) else { return };
        let (Some(asks), Some(queue)) =
            (self.asks.get(job.asks as usize), self.held_by.get_mut(job.queue as usize))
        else {
            return;
        };
        change(queue, asks, tasks, by);
        change(&mut self.held, asks, tasks, by);
        self.touched.insert(job.queue);
    }

    fn note(&mut self, at: Time) {
        self.waiting_series.set(at, self.waiting);
        if self.resized {
            self.touched.extend((0..).zip(&self.shares).map(|(queue, _)| queue));
        }
        for ((series, held), there) in self.utilisation.iter_mut().zip(&self.held).zip(&self.there) {
            series.set(at, part(*held, *there));
        }
        while let Some(queue) = self.touched.pop_first() {
            let (Some(series), Some(held)) =
                (self.shares.get_mut(queue as usize), self.held_by.get(queue as usize))
            else {
                continue;
            };
            let parts = held.iter().zip(&self.there).map(|(held, there)| part(*held, *there));
            series.set(at, parts.max().unwrap_or(0));
        }
        self.resized = false;
    }

    fn into_history(self, window: Window) -> History {
        let names = self.names.into_iter().cloned();
        let utilisation: BTreeMap<_, _> = names.zip(self.utilisation).collect();
        History { window, utilisation, waiting: self.waiting_series, shares: self.shares }
    }
}

fn change(amounts: &mut Amounts, by: &Amounts, times: u64, with: fn(u64, u64) -> u64) {
    for (amount, by) in amounts.iter_mut().zip(by) {
        *amount = with(*amount, by.saturating_mul(times));
    }
}

/// What part is held, in parts per million, rounded down; nothing where there is nothing.
fn part(held: u64, there: u64) -> u64 {
    let part = (u128::from(held) * u128::from(WHOLE_PPM)).checked_div(u128::from(there)).unwrap_or(0);
    u64::try_from(part).unwrap_or(u64::MAX)
}
