//! A shadow: a policy that follows a pool for which another decides, and tells how it compares. Two things are compared:
//!
//! - *Agreement*: whenever something is granted, the shadow is asked what it would grant from the state just before. What
//!   was granted counts as agreed, slot by slot, where the shadow would have given it to the same job, and to the same job on the
//!   same agent. Its answer is then taken back: it follows the real world, whatever it would have done.
//! - *How queues fare*: the last minutes are played again in a world of the shadow's own, with the same jobs, agents and queues,
//!   in which it decided all the time, and tasks run as long as they did. That costs something, and is done when someone asks.

mod again;
mod agreement;
mod fared;
mod real;
mod window;

use std::collections::BTreeMap;

use allot_engine::{Engine, Heard, Limits, Output, Policy};
use allot_model::{
    CompareView, Compared, Core, Feed, FeedItem, Grant, InstanceId, JobId, Placement, QueueCompared,
    QueueName, Time,
};

use crate::output::outcome::{Outcome, Stay};
use crate::pool::simulator::{SimulationError, simulate};
use crate::present::Begun;
use crate::workload::{Job, Workload};
use agreement::Differences;
use fared::Account;
use real::Real;
use window::{Mark, Window};

/// A policy that follows, and is compared.
#[derive(Debug, Clone)]
pub struct Shadow {
    me: InstanceId,
    /// Follows the real world.
    engine: Engine,
    window: Window,
    differences: Differences,
}

impl Shadow {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(me: InstanceId, policy: Policy, limits: Limits) -> Self {
        let engine = Engine::shadow(me.clone(), policy, limits);
        Self { me, engine, window: Window::default(), differences: Differences::default() }
    }

    /// The engine that follows; it never grants anything.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes a message of the feed.
    pub fn follow(&mut self, now: Time, mut feed: Feed) {
        let would = if feed.items.iter().any(is_granted) { self.engine.rehearse(now) } else { Vec::new() };
        self.engine.follow(now, &mut feed);
        self.learn(now, &would);
    }

    /// A message could not be read.
    pub fn missed(&mut self, now: Time) {
        self.engine.handle(now, allot_engine::Input::Unreadable, &mut Vec::new());
    }

    /// Says what is due: hellos and beats.
    pub fn wake(&mut self, now: Time, out: &mut Vec<Output>) {
        self.engine.wake(now, out);
    }

    fn learn(&mut self, now: Time, would: &[Grant]) {
        let mut granted: Vec<Placement> = Vec::new();
        for heard in self.engine.take_heard() {
            match heard {
                Heard::Reset => {
                    self.window.reset();
                    self.differences = Differences::default();
                    granted.clear();
                }
                Heard::Item(item) => {
                    if let FeedItem::Allocated { placements, .. } = &item
                        && is_granted(&item)
                    {
                        granted.extend(placements.iter().cloned());
                    }
                    self.window.take(now, item);
                }
            }
        }
        let granted: Vec<&Placement> = granted.iter().collect();
        self.window.count(agreement::compare(now, would, &granted, &mut self.differences));
        if self.engine.is_following() {
            self.window.settle(now);
        }
    }

    /// How it compares with whoever decided. Plays the window again.
    #[must_use]
    pub fn view(&self, now: Time) -> CompareView {
        let mut view = CompareView {
            instance: self.me.clone(),
            policy: self.engine.policy().to_string(),
            since: now,
            until: now,
            placed: 0,
            same_job: 0,
            same_agent: 0,
            differences: Vec::new(),
            all: Compared::default(),
            queues: Vec::new(),
            unknown_length: 0,
            unknown: None,
        };
        let Some((mark, changes)) = self.window.since() else {
            view.unknown = Some("it does not know yet how things stand".to_owned());
            return view;
        };
        view.since = mark.at;
        (view.placed, view.same_job, view.same_agent) =
            (mark.tally.placed, mark.tally.same_job, mark.tally.same_agent);
        let recent = self.differences.iter().filter(|difference| difference.at >= mark.at);
        view.differences = recent.cloned().collect();
        view.until = now.max(mark.at);
        if let Err(error) = self.worlds(mark, changes, &mut view) {
            view.unknown = Some(error.to_string());
        }
        view
    }

    /// How queues fared in the real world and in that of the shadow.
    fn worlds(
        &self,
        mark: &Mark,
        changes: &[(Time, FeedItem)],
        view: &mut CompareView,
    ) -> Result<(), SimulationError> {
        let (real, until) = (Real::of(mark, changes), view.until);
        let begun = again::workload(mark, changes, &real, until);
        let outcome = simulate(&begun.workload, self.engine.policy())?;
        let (active, shadow) =
            (real_account(mark, changes, &real, until), own_account(&begun, &outcome, mark.at, until));
        let (all, queues) = fared::compared(&active, &shadow, &fared::capacity(mark, changes, until));
        view.all = all;
        view.queues = queues.into_iter().map(|(queue, compared)| QueueCompared { queue, compared }).collect();
        view.unknown_length = unknown_length(&begun, &outcome);
        Ok(())
    }
}

/// True where something was granted now, rather than told of as granted before.
fn is_granted(item: &FeedItem) -> bool {
    matches!(item, FeedItem::Allocated { epoch, .. } if epoch.0 > 0)
}

fn real_account(mark: &Mark, changes: &[(Time, FeedItem)], real: &Real, until: Time) -> Account {
    let mut account = Account::new(mark.at, until);
    for stretch in &real.stretches {
        let slots = stretch.tasks.count();
        account.held(&stretch.queue, &stretch.slice, slots, stretch.start, stretch.end);
    }
    real.placed.iter().for_each(|placed| account.placed(&placed.queue, placed.tasks, placed.waited));
    let mut queues: BTreeMap<JobId, &QueueName> = BTreeMap::new();
    for (id, open) in mark.present.jobs() {
        queues.extend(open.job.as_ref().map(|job| (id, &job.queue)));
    }
    for (_, item) in changes {
        if let FeedItem::Job(job) = item {
            queues.insert(job.job, &job.queue);
        }
    }
    for (job, tasks) in &real.waiting {
        if let Some(queue) = queues.get(job).filter(|_| !tasks.is_empty()) {
            account.waits(queue, tasks.count());
        }
    }
    account
}

fn own_account(begun: &Begun, outcome: &Outcome, from: Time, until: Time) -> Account {
    let workload = &begun.workload;
    let mut account = Account::new(from, until);
    let (before, mut left) = (ran_before(workload), tasks_to_place(workload));
    for (number, stay) in (0_u32..).zip(&outcome.stays) {
        let Some(job) = workload.jobs.get(stay.job as usize) else { continue };
        let Some(queue) = workload.queues.get(job.queue as usize).map(|queue| &queue.name) else { continue };
        if let Some(slice) = outcome.slice(workload, number) {
            account.held(queue, slice, stay.tasks.count(), stay.start, stay.end());
        }
        if number as usize >= before {
            account.placed(queue, stay.tasks.count(), stay.start.since(job.submit));
            if let Some(left) = left.get_mut(stay.job as usize) {
                *left = left.saturating_sub(stay.tasks.count());
            }
        }
    }
    for ((job, fate), left) in workload.jobs.iter().zip(&outcome.jobs).zip(left) {
        if let Some(queue) =
            workload.queues.get(job.queue as usize).filter(|_| left > 0 && fate.end.is_none())
        {
            account.waits(&queue.name, left);
        }
    }
    account
}

/// How many of the first stays began before the workload does.
fn ran_before(workload: &Workload) -> usize {
    workload.begin.as_ref().map_or(0, |begin| begin.running.len())
}

/// How many tasks were placed there of which nobody knows how long they run.
fn unknown_length(Begun { workload, .. }: &Begun, outcome: &Outcome) -> u64 {
    let unknown = |stay: &&Stay| workload.jobs.get(stay.job as usize).is_some_and(|job| job.run.is_none());
    let own = outcome.stays.iter().skip(ran_before(workload));
    own.filter(unknown).map(|stay| stay.tasks.count()).sum()
}

/// How many tasks of each job are to be placed.
fn tasks_to_place(workload: &Workload) -> Vec<u64> {
    let began = workload.begin.as_ref().map_or(Time::ZERO, |begin| begin.at);
    let later = |job: &Job| if job.submit > began { u64::from(job.tasks) } else { 0 };
    let mut left: Vec<u64> = workload.jobs.iter().map(later).collect();
    for (job, tasks) in workload.begin.iter().flat_map(|begin| &begin.waiting) {
        if let Some(left) = left.get_mut(*job as usize) {
            *left += tasks.count();
        }
    }
    left
}
