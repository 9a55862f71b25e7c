//! An outcome as a document for programs, and as a list of start times.

use std::collections::BTreeMap;
use std::io;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::metrics::{Measures, QueueState, queue_states};
use super::outcome::Outcome;
use super::seconds::Seconds;
use crate::workload::{JobName, Workload};

/// The rules by which time passes in a simulation.
pub const RULES: [&str; 5] = [
    "All events of one instant are applied before anything is decided: ends of tasks, then agents and queues, then submissions.",
    "Then the policy passes over what waits, again and again at the same instant until it grants nothing more.",
    "Tasks start when they are granted and run for exactly their run time. Nothing is lost or late.",
    "Tasks on an agent that leaves wait again. What an agent has less than its tasks hold is missing until enough of them end.",
    "Every grant is checked against an account of its own; a wrong one ends the simulation with an error.",
];

/// An outcome, to be written as one document.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// What the policy is called.
    pub policy: &'a str,
    /// What was to happen.
    pub workload: &'a Workload,
    /// What happened.
    pub outcome: &'a Outcome,
    /// How good it was.
    pub measures: &'a Measures,
    /// False leaves out the list of grants.
    pub grants: bool,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let policy = &self.outcome.policy;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("policy", self.policy)?;
        map.serialize_entry("order", &policy.order.to_string())?;
        map.serialize_entry("placement", &policy.placement.to_string())?;
        map.serialize_entry("backfill", &policy.backfill.to_string())?;
        map.serialize_entry("preempt", &policy.preempt.preempt.to_string())?;
        map.serialize_entry("rules", &RULES)?;
        map.serialize_entry("ended_at", &Seconds::at(self.outcome.ended_at))?;
        if self.grants {
            map.serialize_entry("grants", &Grants(self))?;
        }
        map.serialize_entry("queues", &queues(self.workload, self.outcome))?;
        map.serialize_entry("jobs", &Jobs(self))?;
        map.serialize_entry("metrics", self.measures)?;
        map.end()
    }
}

impl Document<'_> {
    /// Writes `job,start` for each job that started, in the order of submission; times in seconds.
    ///
    /// # Errors
    /// Where `to` cannot be written.
    pub fn write_starts(&self, mut to: impl io::Write) -> io::Result<()> {
        writeln!(to, "job,start")?;
        for (number, fate) in self.outcome.jobs.iter().enumerate() {
            let Some(start) = fate.start else { continue };
            let start = serde_json::to_string(&Seconds::at(start))?;
            writeln!(to, "{},{start}", self.workload.name(number))?;
        }
        Ok(())
    }
}

/// The queues by name.
fn queues(workload: &Workload, outcome: &Outcome) -> BTreeMap<String, Value> {
    let states = queue_states(workload, outcome);
    states.into_iter().map(|(name, state)| (name, state.to_json())).collect()
}

impl QueueState {
    #[allow(clippy::cast_precision_loss)]
    fn to_json(&self) -> Value {
        let (held, there) = self.dominant_share;
        json!({
            "running": self.running,
            "allocated": self.allocated.to_json(),
            "dominant_share": [held, there],
            "dominant_share_number": held as f64 / there as f64,
        })
    }
}

/// One entry a task, in the order of the grants.
struct Grants<'a>(&'a Document<'a>);

#[derive(Serialize)]
struct GrantEntry<'a> {
    t: Seconds,
    job: JobName<'a>,
    task: u32,
    queue: &'a str,
    agent: &'a str,
}

impl Serialize for Grants<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Document { workload, outcome, .. } = self.0;
        let mut list = serializer.serialize_seq(None)?;
        for stay in &outcome.stays {
            let queue = workload.jobs.get(stay.job as usize).map_or(0, |job| job.queue);
            let queue = workload.queues.get(queue as usize).map_or("", |queue| queue.name.as_str());
            let agent = workload.agents.get(stay.agent as usize).map_or("", |agent| agent.id.as_str());
            for task in stay.tasks.indexes() {
                let job = workload.name(stay.job as usize);
                let entry = GrantEntry { t: Seconds::at(stay.start), job, task, queue, agent };
                list.serialize_element(&entry)?;
            }
        }
        list.end()
    }
}

/// One entry a job that was submitted by the end, in the order of submission.
struct Jobs<'a>(&'a Document<'a>);

#[derive(Serialize)]
struct JobEntry<'a> {
    job: JobName<'a>,
    submit: Seconds,
    start: Option<Seconds>,
    end: Option<Seconds>,
    wait: Option<Seconds>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    rejected: bool,
}

impl Serialize for Jobs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Document { workload, outcome, .. } = self.0;
        let fates = workload.jobs.iter().zip(&outcome.jobs).enumerate();
        let submitted = fates.filter(|(_, (job, _))| job.submit <= outcome.ended_at);
        serializer.collect_seq(submitted.map(|(number, (job, fate))| JobEntry {
            job: workload.name(number),
            submit: Seconds::at(job.submit),
            start: fate.start.map(Seconds::at),
            end: fate.end.map(Seconds::at),
            wait: fate.start.map(|start| Seconds::long(start.since(job.submit))),
            rejected: fate.rejected,
        }))
    }
}
