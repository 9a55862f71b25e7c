//! What happened, in few words.

use allot_model::view::{Answer, TaskRunView};
use allot_model::{DispatcherRecord, JobState, Record, RegistryRecord};

use crate::Cluster;

impl Cluster {
    /// The tasks of a job, run by run, as `range#try state reason`.
    #[must_use]
    pub fn tasks(&self, job: u64) -> Vec<String> {
        let text = |run: &TaskRunView| {
            let state = serde_json::to_value(run.attempt.state).unwrap();
            let (attempt, reason) = (run.attempt.attempt, run.attempt.reason.as_str());
            format!("{}#{attempt} {} {reason}", run.tasks, state.as_str().unwrap())
        };
        self.job(job).runs.iter().map(text).collect()
    }

    /// The state of a job.
    #[must_use]
    pub fn state(&self, job: u64) -> JobState {
        self.job(job).summary.state
    }

    /// What the ledger says of the tasks of a job from their first start on: `started 1.0#1`, `ended 1.0#1 killed
    /// cancelled_by_user`.
    #[must_use]
    pub fn history(&self, job: u64) -> Vec<String> {
        let told = |record: &Record| match record {
            Record::Dispatcher(DispatcherRecord::TasksStarted { run, .. }) if run.job.0 == job => {
                Some(format!("started {run}"))
            }
            Record::Dispatcher(DispatcherRecord::TasksEnded { run, state, reason, .. })
                if run.job.0 == job =>
            {
                let state = serde_json::to_value(state).unwrap();
                Some(format!("ended {run} {} {}", state.as_str().unwrap(), reason.as_str()))
            }
            _ => None,
        };
        self.ledger.iter().filter_map(|entry| told(&entry.record)).collect()
    }

    /// What the registry wrote of an agent, in the words of its records.
    #[must_use]
    pub fn registered(&self, name: &str) -> Vec<&'static str> {
        let told = |record: &RegistryRecord| match record {
            RegistryRecord::AgentJoined { facts } => (facts.id.clone(), "joined"),
            RegistryRecord::AgentUnreachable { agent } => (agent.clone(), "unreachable"),
            RegistryRecord::AgentReturned { agent } => (agent.clone(), "returned"),
            RegistryRecord::AgentDraining { agent, .. } => (agent.clone(), "draining"),
            RegistryRecord::AgentDrained { agent } => (agent.clone(), "drained"),
            RegistryRecord::AgentUndrained { agent } => (agent.clone(), "undrained"),
            RegistryRecord::AgentGone { agent } => (agent.clone(), "gone"),
        };
        let records = self.ledger.iter().filter_map(|entry| match &entry.record {
            Record::Registry(record) => Some(told(record)),
            _ => None,
        });
        records.filter(|(agent, _)| agent.as_str() == name).map(|(_, words)| words).collect()
    }

    /// The last answer to a command, as `done: …` or `refused: …`.
    #[must_use]
    pub fn last_answer(&self) -> String {
        match self.answers.last() {
            Some(Answer::Ok(done)) => format!("done: {}", done.message),
            Some(Answer::Error(refusal)) => format!("refused: {}", refusal.message),
            None => String::new(),
        }
    }
}
