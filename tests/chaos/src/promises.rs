//! What allot promises, checked from its ledger and from what tasks wrote down themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use allot_model::ledger::{Batch, DispatcherRecord, OffersRecord, Placement, Record, RegistryRecord, Writer};
use allot_model::view::AgentUse;
use allot_model::{
    AgentId, AttemptId, AttemptRun, Epoch, JobId, JobView, Resources, Span, TaskId, TaskSet, TaskState,
};

use crate::breaking::Faults;
use crate::journal::Journal;
use crate::load::Submitted;

/// All that is known once everything has come to rest, or should have.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// What was submitted.
    pub(crate) jobs: Vec<Submitted>,
    /// What became of those that ended.
    pub(crate) ends: BTreeMap<JobId, JobView>,
    /// Agents of which something is allocated, or that are not available.
    pub(crate) busy: Vec<AgentUse>,
    /// The ledger from its beginning.
    pub(crate) ledger: Vec<Batch>,
    /// What the tasks wrote down.
    pub(crate) journal: Journal,
    /// How many processes of tasks there still are.
    pub(crate) left_running: usize,
    /// What `allot ledger verify` finds wrong.
    pub(crate) audit: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// Promises that were not kept; none where all is well.
    pub broken: Vec<String>,
    /// How many jobs were submitted.
    pub jobs: usize,
    /// How many tasks they have together.
    pub tasks: usize,
    /// How many attempts began.
    pub attempts: usize,
    /// How many of them did not come to their end.
    pub cut_short: usize,
    /// How many tasks began more than once.
    pub tried_again: usize,
    /// How many times a writer took the lead.
    pub leads: usize,
    /// How often each kind of thing was broken.
    pub faults: BTreeMap<String, u32>,
    /// How long it took until everything was at rest, once nothing was broken any more.
    pub rested_after: Span,
}

impl Found {
    pub(crate) fn new(evidence: &Evidence, broken: Vec<String>, faults: Faults, rested_after: Span) -> Self {
        let Evidence { jobs, ledger, journal, .. } = evidence;
        let mut tries: BTreeMap<TaskId, u32> = BTreeMap::new();
        journal.started.keys().for_each(|attempt| *tries.entry(attempt.task).or_default() += 1);
        Self {
            broken,
            jobs: jobs.len(),
            tasks: jobs.iter().map(|job| job.terms.tasks).sum(),
            attempts: journal.started.len(),
            cut_short: journal.started.len().saturating_sub(journal.ended.len()),
            tried_again: tries.values().filter(|tries| **tries > 1).count(),
            leads: records(ledger).filter(|record| matches!(record, Record::Writer(_))).count(),
            faults,
            rested_after,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, tasks, attempts, cut_short, tried_again, leads, faults, rested_after, broken } =
            self;
        writeln!(f, "{jobs} jobs with {tasks} tasks: {attempts} attempts began, {cut_short} were cut short")?;
        writeln!(f, "{tried_again} tasks began more than once; writers took the lead {leads} times")?;
        writeln!(f, "faults: {}", faults.values().sum::<u32>())?;
        faults.iter().try_for_each(|(what, count)| writeln!(f, "{count:>7} {what}"))?;
        writeln!(f, "at rest {rested_after} after the last")?;
        broken.iter().take(50).try_for_each(|broken| writeln!(f, "BROKEN: {broken}"))
    }
}

/// Checks everything, and returns what does not hold.
pub(crate) fn check(evidence: &Evidence) -> Vec<String> {
    let Evidence { jobs, ends, busy, ledger, journal, left_running, audit } = evidence;
    let mut allocations = Allocations::fold(ledger);
    let mut broken = each_job_ends_once(jobs, ends, ledger);
    broken.extend(each_attempt_runs_once(journal));
    broken.extend(tasks_run_as_often_as_they_may(jobs, journal));
    broken.extend(attempts_do_not_overlap(jobs, journal));
    broken.extend(what_finished_came_to_its_end(ends, journal));
    broken.extend(what_ran_was_allocated(journal, &allocations));
    broken.extend(epochs_grow(ledger));
    broken.append(&mut allocations.broken);
    broken.extend(busy.iter().map(|AgentUse { agent, free, total, available, .. }| {
        format!("at rest {agent} has {free} free of {total}, available: {available}")
    }));
    if *left_running > 0 {
        broken.push(format!("{left_running} processes of tasks run on when all is over"));
    }
    broken.extend(audit.iter().map(|found| format!("allot ledger verify: {found}")));
    broken
}

/// A job whose publish was acknowledged reaches a final state, once.
fn each_job_ends_once(jobs: &[Submitted], ends: &BTreeMap<JobId, JobView>, ledger: &[Batch]) -> Vec<String> {
    let mut told: BTreeMap<JobId, (u32, u32)> = BTreeMap::new();
    for record in records(ledger) {
        match record {
            Record::Dispatcher(DispatcherRecord::JobAdmitted { job, .. }) => {
                told.entry(*job).or_default().0 += 1;
            }
            Record::Dispatcher(DispatcherRecord::JobEnded { job, .. }) => {
                told.entry(*job).or_default().1 += 1
            }
            _ => {}
        }
    }
    let mut broken = Vec::new();
    for Submitted { job, .. } in jobs {
        if !ends.contains_key(job) {
            broken.push(format!("job {job} did not end in time"));
        }
        let (admitted, ended) = told.remove(job).unwrap_or_default();
        if (admitted, ended) != (1, 1) {
            broken.push(format!("job {job} was admitted {admitted} and ended {ended} times"));
        }
    }
    broken.extend(told.keys().map(|job| format!("job {job} is in the ledger and nobody submitted it")));
    broken
}

/// No attempt is started twice.
fn each_attempt_runs_once(journal: &Journal) -> Vec<String> {
    let started = journal.started.iter().filter(|(_, agents)| agents.len() != 1);
    let started = started.map(|(attempt, agents)| format!("{attempt} began on {}", agents.join(", ")));
    let ended = journal.ended.iter().filter(|(_, count)| **count != 1);
    started.chain(ended.map(|(attempt, count)| format!("{attempt} ended {count} times"))).collect()
}

/// A task runs as often as it may be tried, or as often as its agent was lost where it moves: one that asked for no retry once.
fn tasks_run_as_often_as_they_may(jobs: &[Submitted], journal: &Journal) -> Vec<String> {
    let bound = jobs.iter().filter(|job| !job.terms.moves).map(|one| (one.job, one.terms.retries + 1));
    let bound: BTreeMap<JobId, usize> = bound.collect();
    let mut tries: BTreeMap<TaskId, Vec<u32>> = BTreeMap::new();
    for attempt in journal.started.keys() {
        tries.entry(attempt.task).or_default().push(attempt.attempt);
    }
    let too_many = tries.into_iter().filter_map(|(task, tries)| {
        let most = *bound.get(&task.job)?;
        (tries.len() > most).then(|| format!("{task} ran as {tries:?}, and may only run {most} times"))
    });
    too_many.collect()
}

/// A task that does not move is tried again only once the attempt before has ended.
fn attempts_do_not_overlap(jobs: &[Submitted], journal: &Journal) -> Vec<String> {
    let stays: BTreeSet<JobId> = jobs.iter().filter(|one| !one.terms.moves).map(|one| one.job).collect();
    let overlaps = journal.outrun.iter().filter(|attempt| stays.contains(&attempt.task.job));
    overlaps.map(|attempt| format!("{attempt} still ran when a later attempt had begun")).collect()
}

/// What is said to have finished wrote its last line.
fn what_finished_came_to_its_end(ends: &BTreeMap<JobId, JobView>, journal: &Journal) -> Vec<String> {
    let finished = ends.iter().flat_map(|(job, view)| {
        let runs = view.runs.iter().filter(|run| run.attempt.state == TaskState::Finished);
        runs.flat_map(|run| run.tasks.indexes().map(|task| AttemptId::new(*job, task, run.attempt.attempt)))
    });
    let without = finished.filter(|attempt| journal.ended.get(attempt) != Some(&1));
    without.map(|attempt| format!("{attempt} finished without having come to its end")).collect()
}

/// Nothing runs that was not allocated, nor anywhere else.
fn what_ran_was_allocated(journal: &Journal, allocations: &Allocations) -> Vec<String> {
    let ran = journal.started.iter().flat_map(|(attempt, agents)| agents.iter().map(move |on| (attempt, on)));
    let strange = ran.filter(|(attempt, agent)| {
        allocations.all.get(attempt).is_none_or(|allocated| allocated.as_str() != agent.as_str())
    });
    strange
        .map(|(attempt, agent)| format!("{attempt} ran on {agent} without being allocated there"))
        .collect()
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
    /// Where each attempt was allocated.
    all: BTreeMap<AttemptId, AgentId>,
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
        for attempt in run.attempts() {
            if self.all.insert(attempt, agent.clone()).is_some() {
                self.broken.push(format!("{attempt} was allocated twice"));
            }
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
