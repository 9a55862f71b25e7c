//! What allot promises, checked from its ledger and from what tasks wrote down themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use allot_e2e::Journal;
use allot_model::ledger::{Batch, DispatcherRecord, OffersRecord, Placement, Record, RegistryRecord, Writer};
use allot_model::view::AgentUse;
use allot_model::{AgentId, AttemptRun, Epoch, JobId, JobView, Resources, TaskSet, TaskState};

use crate::load::Submitted;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Promises that were not kept; none where all is well.
    pub broken: Vec<String>,
    /// How many jobs were submitted.
    pub jobs: usize,
    /// How many attempts began.
    pub attempts: usize,
    /// How many of them did not come to their end.
    pub cut_short: usize,
    /// How often each kind of thing was broken.
    pub faults: BTreeMap<&'static str, u32>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(|(what, count)| format!("{count} {what}")).collect();
        writeln!(f, "{} jobs, {} attempts, {} of them cut short", self.jobs, self.attempts, self.cut_short)?;
        writeln!(f, "faults: {}", faults.join(", "))?;
        self.broken.iter().take(50).try_for_each(|broken| writeln!(f, "BROKEN: {broken}"))
    }
}

/// Checks everything.
pub(crate) fn check(
    jobs: &[Submitted],
    views: &BTreeMap<JobId, JobView>,
    ledger: &[Batch],
    journal: &Path,
    at_rest: Vec<AgentUse>,
    faults: BTreeMap<&'static str, u32>,
) -> Found {
    let journal = Journal::read(journal);
    let mut found = Found {
        jobs: jobs.len(),
        attempts: journal.started.len(),
        cut_short: journal.started.len().saturating_sub(journal.ended.len()),
        faults,
        broken: Vec::new(),
    };
    found.broken.extend(each_job_ends_once(jobs, views, ledger));
    found.broken.extend(each_attempt_runs_once(&journal));
    found.broken.extend(jobs_without_retry_run_once(jobs, &journal));
    found.broken.extend(what_finished_came_to_its_end(views, &journal));
    found.broken.extend(epochs_grow(ledger));
    found.broken.extend(Allocations::fold(ledger).broken);
    found.broken.extend(at_rest.iter().map(|one| {
        format!("at rest {} has {} free of {}, available: {}", one.agent, one.free, one.total, one.available)
    }));
    found
}

/// A job whose publish was acknowledged reaches a final state, once.
fn each_job_ends_once(jobs: &[Submitted], views: &BTreeMap<JobId, JobView>, ledger: &[Batch]) -> Vec<String> {
    let mut ends: BTreeMap<JobId, u32> = BTreeMap::new();
    let mut admitted: BTreeMap<JobId, u32> = BTreeMap::new();
    for record in records(ledger) {
        match record {
            Record::Dispatcher(DispatcherRecord::JobAdmitted { job, .. }) => {
                *admitted.entry(*job).or_default() += 1;
            }
            Record::Dispatcher(DispatcherRecord::JobEnded { job, .. }) => *ends.entry(*job).or_default() += 1,
            _ => {}
        }
    }
    let mut broken = Vec::new();
    for Submitted { job, .. } in jobs {
        if !views.contains_key(job) {
            broken.push(format!("job {job} did not end in time"));
        }
        let times = |counts: &BTreeMap<JobId, u32>| counts.get(job).copied().unwrap_or(0);
        if (times(&admitted), times(&ends)) != (1, 1) {
            broken.push(format!(
                "job {job} was admitted {} and ended {} times",
                times(&admitted),
                times(&ends)
            ));
        }
    }
    broken
}

/// No attempt is started twice.
fn each_attempt_runs_once(journal: &Journal) -> Vec<String> {
    let twice = journal.started.iter().chain(&journal.ended).filter(|(_, count)| **count != 1);
    twice.map(|((job, task, attempt), count)| format!("{job}.{task}#{attempt} ran {count} times")).collect()
}

/// A task that asked for no retry never runs twice.
fn jobs_without_retry_run_once(jobs: &[Submitted], journal: &Journal) -> Vec<String> {
    let once: BTreeSet<u64> = jobs.iter().filter(|one| one.runs_once).map(|one| one.job.0).collect();
    let mut tries: BTreeMap<(u64, u32), Vec<u32>> = BTreeMap::new();
    for (job, task, attempt) in journal.started.keys().filter(|(job, ..)| once.contains(job)) {
        tries.entry((*job, *task)).or_default().push(*attempt);
    }
    let twice = tries.into_iter().filter(|(_, tries)| tries.len() > 1);
    twice
        .map(|((job, task), tries)| format!("{job}.{task} ran as {tries:?} and asked for no retry"))
        .collect()
}

/// What is said to have finished wrote its last line.
fn what_finished_came_to_its_end(views: &BTreeMap<JobId, JobView>, journal: &Journal) -> Vec<String> {
    let finished = views.iter().flat_map(|(job, view)| {
        let runs = view.runs.iter().filter(|run| run.attempt.state == TaskState::Finished);
        runs.flat_map(|run| run.tasks.indexes().map(|task| (job.0, task, run.attempt.attempt)))
    });
    let without = finished.filter(|attempt| journal.ended.get(attempt) != Some(&1));
    without.map(|(job, task, attempt)| format!("{job}.{task}#{attempt} finished without an end")).collect()
}

/// A writer that was replaced writes nothing any more.
fn epochs_grow(ledger: &[Batch]) -> Vec<String> {
    let mut newest: BTreeMap<Writer, Epoch> = BTreeMap::new();
    let mut broken = Vec::new();
    for Batch { writer, epoch, .. } in ledger {
        let newest = newest.entry(*writer).or_insert(*epoch);
        if *epoch < *newest {
            broken.push(format!("{} wrote in epoch {epoch} after {newest}", writer.as_str()));
        }
        *newest = (*newest).max(*epoch);
    }
    broken
}

/// What is allocated, by a fold over the ledger.
#[derive(Debug, Default)]
struct Allocations {
    totals: BTreeMap<AgentId, Resources>,
    held: BTreeMap<AgentId, Resources>,
    /// What is left of each placement.
    placements: BTreeMap<(AgentId, JobId, u32), Vec<Held>>,
    broken: Vec<String>,
}

#[derive(Debug)]
struct Held {
    left: TaskSet,
    slots: u64,
    slice: Resources,
}

impl Held {
    /// How many slots it holds: once fewer tasks than slots are left, each end frees one.
    fn slots(&self) -> u64 {
        self.slots.min(self.left.count())
    }
}

impl Allocations {
    /// Resources are never over-allocated, and each allocation is released exactly once.
    fn fold(ledger: &[Batch]) -> Self {
        let mut all = Self::default();
        for record in records(ledger) {
            match record {
                Record::Registry(RegistryRecord::AgentJoined { facts }) => {
                    all.totals.insert(facts.id.clone(), facts.resources.clone());
                }
                Record::Offers(OffersRecord::Allocated { placements, .. }) => {
                    placements.iter().for_each(|placement| all.allocate(placement));
                }
                Record::Dispatcher(
                    DispatcherRecord::TasksEnded { agent, run, .. }
                    | DispatcherRecord::AllocationReturned { agent, run },
                ) => all.release(agent, *run),
                _ => {}
            }
        }
        let left = all.held.iter().filter(|(_, held)| !held.is_empty());
        let left: Vec<String> = left.map(|(agent, held)| format!("{agent} holds {held} at rest")).collect();
        all.broken.extend(left);
        all
    }

    fn allocate(&mut self, placement: &Placement) {
        let Placement { agent, run, slice, slots, .. } = placement;
        let held = self.held.entry(agent.clone()).or_default();
        let taken = slice.times(*slots).is_some_and(|taken| held.add(&taken).is_ok());
        if !taken || !self.totals.get(agent).is_some_and(|total| total.contains(held)) {
            self.broken.push(format!("{agent} is over-allocated by {run}: {held} are held"));
        }
        let key = (agent.clone(), run.job, run.attempt);
        let left = std::iter::once(run.tasks).collect();
        self.placements.entry(key).or_default().push(Held { left, slots: *slots, slice: slice.clone() });
    }

    fn release(&mut self, agent: &AgentId, run: AttemptRun) {
        let mut released = 0;
        let placements = self.placements.entry((agent.clone(), run.job, run.attempt)).or_default();
        let held = self.held.entry(agent.clone()).or_default();
        for placement in placements.iter_mut() {
            let before = placement.slots();
            let removed: u64 = placement.left.remove(run.tasks).into_iter().map(|range| range.count()).sum();
            released += removed;
            let freed = placement.slice.times(before - placement.slots()).unwrap_or_default();
            if held.subtract(&freed).is_err() {
                self.broken.push(format!("{agent} gave back more than it held with {run}"));
            }
        }
        placements.retain(|placement| !placement.left.is_empty());
        if released != run.tasks.count() {
            self.broken.push(format!("{run} on {agent} was released though only {released} of it were held"));
        }
    }
}

fn records(ledger: &[Batch]) -> impl Iterator<Item = &Record> {
    ledger.iter().flat_map(|batch| &batch.entries).map(|entry| &entry.record)
}
