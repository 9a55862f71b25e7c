//! How good a policy was for a workload: the measures of the literature, and what each queue has at the end.

use std::collections::BTreeMap;

use allot_model::{Request, ResourceName, Span, TaskRange, Time};
use allot_workload::Distribution;
use serde::Serialize;

use super::fairness;
use super::gpus;
pub use super::gpus::Gpus;
use super::outcome::Outcome;
use crate::workload::Workload;

/// How good a policy was. Times are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measures {
    /// How many jobs were submitted by the end.
    pub submitted: usize,
    /// How many of them started.
    pub started: usize,
    /// How many of them were over, those included that were cancelled before they started.
    pub ended: usize,
    /// How many of them were rejected, as more jobs of their queue would have waited than may.
    #[serde(skip_serializing_if = "is_none")]
    pub rejected: usize,
    /// Of jobs that started: from submission to the start of the first task.
    pub wait: Option<Distribution>,
    /// Of jobs that were over: from submission to the end.
    pub response: Option<Distribution>,
    /// Of jobs that started and were over: the response in run times of at least 10 s; at least 1.
    pub bounded_slowdown: Option<Distribution>,
    /// From the first submission to the last end, or to the end of the simulation where something still runs.
    pub makespan: f64,
    /// What part of the processors was held over that time, from 0 to 1.
    pub utilisation: Option<f64>,
    /// The same of every resource.
    pub utilisation_of: BTreeMap<String, f64>,
    /// Jobs that were over, for each hour of the makespan.
    pub jobs_per_hour: f64,
    /// Jain's index of what queues received over what they were entitled to while they had jobs; 1 is perfectly fair.
    pub jain_index: f64,
    /// What part of all GPUs is held at the end, from 0 to 1; absent where there are none.
    pub gpu_allocation: Option<f64>,
    /// What part of all GPUs is free at the end and of no use to the jobs of this workload, as they come on average.
    pub gpu_fragmentation: Option<f64>,
    /// How many tasks were stopped for others.
    pub preempted: u64,
    /// For how long these had run, added up: it was for nothing.
    pub lost: f64,
}

/// What a queue and those below it have at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueState {
    /// How many tasks run.
    pub running: u64,
    /// What they hold.
    pub allocated: Request,
    /// The largest part that this is of any resource there is: numerator and denominator, reduced.
    pub dominant_share: (u64, u64),
}

impl Measures {
    /// Measures what happened.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are small beside 2^53")]
    pub fn of(workload: &Workload, outcome: &Outcome) -> Self {
        let fates = || workload.jobs.iter().zip(&outcome.jobs);
        let waits = fates().filter_map(|(job, fate)| Some(fate.start?.since(job.submit).as_secs_f64()));
        let responses = || fates().filter_map(|(job, fate)| fate.response(job));
        let window = Window::of(workload, outcome);
        let utilisation_of = utilisation(workload, outcome, window);
        let ended = responses().count();
        let hours = window.span().as_secs_f64() / 3_600.0;
        let gpus = gpus::measure(workload, outcome);
        Self {
            submitted: workload.jobs.iter().filter(|job| job.submit <= outcome.ended_at).count(),
            started: fates().filter(|(_, fate)| fate.start.is_some()).count(),
            ended,
            rejected: fates().filter(|(_, fate)| fate.rejected).count(),
            wait: Distribution::of(waits),
            response: Distribution::of(responses().map(Span::as_secs_f64)),
            bounded_slowdown: Distribution::of(fates().filter_map(|(job, fate)| fate.bounded_slowdown(job))),
            makespan: window.span().as_secs_f64(),
            utilisation: utilisation_of.get("cpus").copied(),
            utilisation_of,
            jobs_per_hour: if hours > 0.0 { ended as f64 / hours } else { 0.0 },
            jain_index: fairness::jain_index(workload, outcome),
            gpu_allocation: gpus.map(|gpus| gpus.allocated()),
            gpu_fragmentation: gpus.map(|gpus| gpus.fragmented()),
            preempted: outcome.preempted.iter().map(|stopped| stopped.tasks.count()).sum(),
            lost: lost(outcome),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// How many seconds tasks had run that were stopped for others.
#[allow(clippy::cast_precision_loss)]
fn lost(outcome: &Outcome) -> f64 {
    let ran = outcome.preempted.iter().map(|stopped| {
        u128::from(stopped.at.since(stopped.start).as_micros()) * u128::from(stopped.tasks.count())
    });
    ran.sum::<u128>() as f64 / 1e6
}

/// The time that is measured.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Time,
    to: Time,
}

impl Window {
    fn of(workload: &Workload, outcome: &Outcome) -> Self {
        let from = workload.jobs.iter().map(|job| job.submit).min().unwrap_or_default();
        Self { from, to: outcome.last_end().unwrap_or(from).max(from) }
    }

    fn span(self) -> Span {
        self.to.since(self.from)
    }

    /// How much of a time lies in it.
    fn covers(self, from: Time, to: Time) -> u64 {
        to.min(self.to).since(from.max(self.from)).as_micros()
    }
}

/// What part of each resource was held, counted in integers up to the one division.
#[allow(clippy::cast_precision_loss)]
fn utilisation(workload: &Workload, outcome: &Outcome, window: Window) -> BTreeMap<String, f64> {
    let there = capacity(workload, outcome.ended_at, window);
    let mut by_asks: Vec<u128> = vec![0; workload.asks.len()];
    let mut note = |job: u32, from: Time, to: Time, tasks: u64| {
        let asks = workload.jobs.get(job as usize).map(|job| job.asks as usize);
        if let Some(held) = asks.and_then(|asks| by_asks.get_mut(asks)) {
            *held += u128::from(window.covers(from, to)) * u128::from(tasks);
        }
    };
    let early = early_by_stay(outcome);
    for (number, stay) in (0_u32..).zip(&outcome.stays) {
        let end = stay.end().unwrap_or(outcome.ended_at);
        let gone = early.get(&number).map_or(&[][..], Vec::as_slice);
        let left = stay.tasks.count() - gone.iter().map(|(tasks, _)| tasks.count()).sum::<u64>();
        note(stay.job, stay.start, end, left);
        gone.iter().for_each(|(tasks, at)| note(stay.job, stay.start, *at, tasks.count()));
    }
    let mut held: BTreeMap<&ResourceName, u128> = BTreeMap::new();
    for (asks, time) in workload.asks.iter().zip(by_asks) {
        for (name, amount) in asks.request.iter() {
            *held.entry(name).or_insert(0) += time * u128::from(amount);
        }
    }
    let part = |(name, there): (ResourceName, u128)| {
        let held = held.get(&name).copied().unwrap_or(0);
        (there > 0).then(|| (name.to_string(), held as f64 / there as f64))
    };
    there.into_iter().filter_map(part).collect()
}

/// When tasks ended before the others of their stay, by the number of the stay.
pub(super) fn early_by_stay(outcome: &Outcome) -> BTreeMap<u32, Vec<(TaskRange, Time)>> {
    let mut by_stay: BTreeMap<u32, Vec<(TaskRange, Time)>> = BTreeMap::new();
    for early in &outcome.early {
        by_stay.entry(early.stay).or_default().push((early.tasks, early.at));
    }
    by_stay
}

/// How much there was of each resource, times how many microseconds of the window.
fn capacity(workload: &Workload, end: Time, window: Window) -> BTreeMap<ResourceName, u128> {
    use crate::workload::Happening;
    let mut since: Vec<Option<(Time, &allot_model::PoolAgent)>> = vec![None; workload.agents.len()];
    let mut sum: BTreeMap<ResourceName, u128> = BTreeMap::new();
    let mut note = |had: Option<(Time, &allot_model::PoolAgent)>, to: Time| {
        if let Some((from, agent)) = had {
            for (name, amount) in agent.total.iter() {
                let time = u128::from(window.covers(from, to));
                *sum.entry(name.clone()).or_insert(0) += time * u128::from(amount.total());
            }
        }
    };
    for change in workload.changes.iter().filter(|change| change.at <= end) {
        let (agent, facts) = match &change.what {
            Happening::Agent { agent, facts } => (*agent, Some((change.at, &**facts))),
            Happening::AgentLeaves { agent } => (*agent, None),
            _ => continue,
        };
        if let Some(slot) = since.get_mut(agent as usize) {
            note(std::mem::replace(slot, facts), change.at);
        }
    }
    since.into_iter().for_each(|had| note(had, end));
    sum
}

/// What each queue has at the end, and each queue above one: queues that are set or have jobs, by name.
#[must_use]
pub fn queue_states(workload: &Workload, outcome: &Outcome) -> BTreeMap<String, QueueState> {
    let mut states: BTreeMap<String, QueueState> = BTreeMap::new();
    for queue in &workload.queues {
        for path in queue.name.lineage() {
            states.entry(path.to_owned()).or_default();
        }
    }
    for stay in &outcome.stays {
        let Some(job) = workload.jobs.get(stay.job as usize) else { continue };
        let named = workload.queues.get(job.queue as usize).zip(workload.asks.get(job.asks as usize));
        let (Some((queue, asks)), Some(left)) = (named, stay.left()) else { continue };
        for path in queue.name.lineage() {
            let state = states.entry(path.to_owned()).or_default();
            state.running += left.count();
            for (name, amount) in asks.request.iter() {
                let held = state.allocated.get(name).saturating_add(amount.saturating_mul(left.count()));
                state.allocated.set(name.clone(), held);
            }
        }
    }
    let there = total(workload, outcome.ended_at);
    states.values_mut().for_each(|state| state.dominant_share = dominant(&state.allocated, &there));
    states
}

/// How much there is of each resource on all agents together.
fn total(workload: &Workload, at: Time) -> BTreeMap<ResourceName, u64> {
    let mut total: BTreeMap<ResourceName, u64> = BTreeMap::new();
    for agent in workload.agents_at(at) {
        for (name, amount) in agent.total.iter() {
            let sum = total.entry(name.clone()).or_insert(0);
            *sum = sum.saturating_add(amount.total());
        }
    }
    total
}

/// The largest part that is held of any resource, reduced. What does not exist counts as if there were one unit of it.
fn dominant(held: &Request, there: &BTreeMap<ResourceName, u64>) -> (u64, u64) {
    let part = |(name, held): (&ResourceName, u64)| (held, there.get(name).copied().unwrap_or(0).max(1));
    let larger = |a: (u64, u64), b: (u64, u64)| {
        let (left, right) = (u128::from(a.0) * u128::from(b.1), u128::from(b.0) * u128::from(a.1));
        if left >= right { a } else { b }
    };
    let (held, there) = held.iter().map(part).fold((0, 1), larger);
    let common = gcd(held, there);
    (held / common, there / common)
}

fn gcd(left: u64, right: u64) -> u64 {
    if right == 0 { left.max(1) } else { gcd(right, left % right) }
}
