//! Checks the promises over the records of the ledger, in its order, knowing nothing else.

use std::collections::BTreeMap;

use allot_model::{
    AgentId, AttemptRun, Batch, DispatcherRecord, Epoch, JobId, OffersRecord, Placement, Record,
    RegistryRecord, Resources, RunMap, TaskRange, Victim, Writer,
};
use serde::Serialize;

use super::held::Held;

/// More findings than these are counted and not told.
const MOST_FINDINGS: usize = 1_000;

/// A promise that the ledger does not keep somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The message of the ledger at which it shows.
    pub(super) sequence: u64,
    /// Which promise.
    pub(super) rule: &'static str,
    /// What is wrong.
    pub(super) found: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// The first message.
    first: u64,
    /// The last message.
    last: u64,
    /// How many records were looked at.
    records: u64,
    /// How many attempts hold something at the end.
    held: u64,
    /// How many jobs have not ended at the end.
    open_jobs: u64,
    /// What is wrong, the first ones of it.
    pub(super) findings: Vec<Finding>,
    /// How much more is wrong.
    more: u64,
}

/// An agent by the ledger.
#[derive(Debug, Default)]
struct Agent {
    /// What it has, nothing where that was said before the ledger begins.
    total: Option<Resources>,
    /// What it had in its life before: the offers service may have read of the new one later.
    before: Option<Resources>,
    held: Held,
}

/// A job by the ledger.
#[derive(Debug, Default)]
struct Job {
    /// The last attempt at each task that was allocated.
    allocated: RunMap<u32>,
    /// The tasks that are over.
    over: RunMap<()>,
    ended: bool,
    /// True where its tasks must not run again, as far as is known.
    runs_once: bool,
}

/// Knows what the records so far amount to.
#[derive(Debug, Default)]
pub(super) struct Audit {
    first: Option<u64>,
    last: u64,
    records: u64,
    epochs: BTreeMap<Writer, Epoch>,
    allocator: Option<Epoch>,
    agents: BTreeMap<AgentId, Agent>,
    jobs: BTreeMap<JobId, Job>,
    last_job: Option<JobId>,
    findings: Vec<Finding>,
    more: u64,
}

impl Audit {
    /// Looks at the next message.
    pub(super) fn check(&mut self, sequence: u64, batch: &Batch) {
        self.first.get_or_insert(sequence);
        self.last = sequence;
        self.records += batch.entries.len() as u64;
        if batch.epoch > Epoch(0) {
            self.epoch(batch);
        }
        for entry in &batch.entries {
            match &entry.record {
                Record::Writer(_) => {}
                Record::Registry(record) => self.registry(record),
                Record::Offers(record) => self.offers(record),
                Record::Dispatcher(record) => self.dispatcher(record),
            }
        }
    }

    /// What came of it.
    pub(super) fn report(self) -> Report {
        Report {
            first: self.first.unwrap_or(0),
            last: self.last,
            records: self.records,
            held: self.agents.values().map(|agent| agent.held.attempts()).sum(),
            open_jobs: self.jobs.values().filter(|job| !job.ended).count() as u64,
            findings: self.findings,
            more: self.more,
        }
    }

    fn find(&mut self, rule: &'static str, found: String) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { sequence: self.last, rule, found });
        } else {
            self.more += 1;
        }
    }

    /// True where the ledger is there from its beginning, so that everything in it has begun in it.
    fn is_whole(&self) -> bool {
        self.first == Some(1)
    }

    fn epoch(&mut self, batch: &Batch) {
        let (writer, epoch) = (batch.writer, batch.epoch);
        let before = self.epochs.insert(writer, epoch);
        let announced = batch.entries.iter().find_map(|entry| match &entry.record {
            Record::Writer(started) => Some(started.epoch),
            _ => None,
        });
        let is_new = before.map_or(self.is_whole(), |before| before != epoch);
        if before.is_some_and(|before| before > epoch) {
            self.find("epochs grow", format!("{} wrote in epoch {epoch} after a later one", writer.as_str()));
        } else if is_new && announced != Some(epoch) {
            self.find("epochs grow", format!("{} began epoch {epoch} without saying so", writer.as_str()));
        }
    }

    fn registry(&mut self, record: &RegistryRecord) {
        if let RegistryRecord::AgentJoined { facts } = record {
            let agent = self.agents.entry(facts.id.clone()).or_default();
            agent.before = agent.total.replace(facts.resources.clone());
        }
    }

    fn offers(&mut self, record: &OffersRecord) {
        match record {
            OffersRecord::Allocated { epoch, placements, .. } => {
                self.active(*epoch, "a grant");
                placements.iter().for_each(|placement| self.allocated(placement));
            }
            OffersRecord::AllocatorActivated { epoch, instance, .. } => {
                if self.allocator.is_some_and(|before| before >= *epoch) {
                    self.find(
                        "epochs grow",
                        format!("allocator {instance} was activated in epoch {epoch} again"),
                    );
                }
                self.allocator = Some(*epoch);
            }
            OffersRecord::Preempted(preemption) => {
                self.active(preemption.epoch, "a preemption");
                for Victim { run, .. } in &preemption.victims {
                    if self.jobs.get(&run.job).is_some_and(|job| job.runs_once) {
                        let found = format!("{} is to be stopped for job {}", text(*run), preemption.job);
                        self.find("a job without retries is not stopped for others", found);
                    }
                }
            }
            OffersRecord::PolicyChosen { .. } => {}
        }
    }

    fn active(&mut self, epoch: Epoch, what: &str) {
        if self.allocator.is_some_and(|active| active != epoch) {
            let found = format!("{what} of epoch {epoch} was committed in another one");
            self.find("the active allocator decides", found);
        }
    }

    fn allocated(&mut self, placement: &Placement) {
        let Placement { agent: id, run, .. } = placement;
        let job = self.jobs.entry(run.job).or_default();
        let repeated = job.allocated.within(run.tasks).any(|(_, attempt)| *attempt >= run.attempt);
        let is_over = job.over.within(run.tasks).next().is_some();
        job.allocated.set(run.tasks, run.attempt);
        if repeated {
            self.find("an attempt is made once", format!("{} was allocated again on {id}", text(*run)));
        }
        if is_over {
            self.find("what is over stays over", format!("{} was allocated on {id}", text(*run)));
        }
        let agent = self.agents.entry(id.clone()).or_default();
        let adds_up = agent.held.hold(placement);
        let has_room =
            |total: &Option<Resources>| total.as_ref().is_none_or(|total| total.contains(agent.held.sum()));
        // An agent that came back with less may have been granted from before the offers service had read that.
        let fits = has_room(&agent.total) || (agent.before.is_some() && has_room(&agent.before));
        if !adds_up || !fits {
            let held = agent.held.sum().clone();
            let total = agent.total.clone().unwrap_or_default();
            let found = format!("{id} has {total} and {held} is allocated with {}", text(*run));
            self.find("no agent holds more than it has", found);
        }
    }

    fn dispatcher(&mut self, record: &DispatcherRecord) {
        match record {
            DispatcherRecord::JobAdmitted { job, spec, .. } => {
                self.decided(*job);
                self.jobs.entry(*job).or_default().runs_once = !spec.may_run_again();
            }
            DispatcherRecord::JobRejected { job, .. } => self.decided(*job),
            DispatcherRecord::JobEnded { job: id, .. } => {
                let job = self.jobs.entry(*id).or_default();
                if std::mem::replace(&mut job.ended, true) {
                    self.find("a job ends once", format!("job {id} ended again"));
                }
            }
            DispatcherRecord::TasksEnded { agent, run, retry_at, .. } => {
                self.released(agent, *run);
                if retry_at.is_none() {
                    self.jobs.entry(run.job).or_default().over.set(run.tasks, ());
                }
            }
            DispatcherRecord::AllocationReturned { agent, run } => self.released(agent, *run),
            DispatcherRecord::JobReady { .. }
            | DispatcherRecord::TasksQueued { .. }
            | DispatcherRecord::TasksStarted { .. }
            | DispatcherRecord::TasksKilling { .. }
            | DispatcherRecord::JobCancelled { .. }
            | DispatcherRecord::QueueSet { .. } => {}
        }
    }

    /// Submissions are decided in the order of the inbox.
    fn decided(&mut self, job: JobId) {
        if self.last_job.is_some_and(|last| last >= job) {
            self.find("a submission is decided once", format!("job {job} was decided after a later one"));
        }
        self.last_job = self.last_job.max(Some(job));
    }

    fn released(&mut self, id: &AgentId, run: AttemptRun) {
        let known = self.jobs.get(&run.job).map_or(0, |job| {
            let of_this =
                |(part, attempt): (TaskRange, &u32)| if *attempt == run.attempt { part.count() } else { 0 };
            job.allocated.within(run.tasks).map(of_this).sum()
        });
        let released = self.agents.entry(id.clone()).or_default().held.release(run);
        let count: u64 = released.iter().map(|part| part.count()).sum();
        // What was allocated before a trimmed ledger begins is not known.
        let expected = if self.is_whole() { run.tasks.count() } else { known };
        if count < expected {
            let found =
                format!("{} of {} was released on {id} without being held", expected - count, text(run));
            self.find("an allocation is released once", found);
        }
    }
}

/// `12.0-99#1`.
fn text(run: AttemptRun) -> String {
    format!("{}.{}#{}", run.job, run.tasks, run.attempt)
}

impl Report {
    pub(super) fn text(&self) -> String {
        let Self { first, last, records, held, open_jobs, findings, more } = self;
        let mut lines: Vec<String> = findings
            .iter()
            .map(|Finding { sequence, rule, found }| format!("message {sequence}: {rule}: {found}"))
            .collect();
        if *more > 0 {
            lines.push(format!("and {more} more"));
        }
        let verdict = if findings.is_empty() { "all promises are kept" } else { "not all promises are kept" };
        lines.push(format!(
            "{records} records in messages {first} to {last}: {verdict}; at the end {open_jobs} jobs are open and {held} \
             attempts hold resources"
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
