//! Pages about scenarios in a few lines.

use allot_engine::Policy;
use allot_model::Format;
use allot_report::{Run, Subject, page};
use allot_sim::{Document, Measures, Outcome, Scenario, Workload, simulate};
use serde_json::Value;

/// Two queues on agents of which one leaves and comes back, and something that never ends.
pub(crate) const SMALL: &str = r#"
queues: {research.vision: {weight: 2}, batch: {}}
events:
  - {at: 0, agent: m1, resources: {cpus: 8, mem: 32GB}}
  - {at: 0, agent: m2, resources: {cpus: 8, mem: 64GB}}
  - {at: 0, submit: train, queue: research.vision, tasks: 10, resources: {cpus: 2, mem: 6GB}, run: 30s}
  - {at: 0, submit: index, queue: batch, tasks: 20, resources: {cpus: 1, mem: 4GB}, run: 17s}
  - {at: 30, submit: big, queue: batch, tasks: 2, resources: {cpus: 8, mem: 8GB}, run: 25s}
  - {at: 20, agent: m2, leaves: true}
  - {at: 25, submit: late, queue: research.vision, tasks: 3, resources: {cpus: 1, mem: 1GB}, run: forever}
  - {at: 90, agent: m2, resources: {cpus: 8, mem: 64GB}}
until: 180
"#;

/// A workload and what some policies did with it.
pub(crate) struct Runs {
    pub(crate) title: String,
    pub(crate) workload: Workload,
    pub(crate) runs: Vec<(Outcome, Measures)>,
}

impl Runs {
    pub(crate) fn of(workload: Workload, policies: &[&str]) -> Self {
        let run = |policy: &&str| {
            let outcome = simulate(&workload, &Policy::parse(policy).unwrap())
                .unwrap_or_else(|error| panic!("{error}"));
            let measures = Measures::of(&workload, &outcome);
            (outcome, measures)
        };
        let runs = policies.iter().map(run).collect();
        Self { title: "a title".to_owned(), workload, runs }
    }

    pub(crate) fn yaml(text: &str, policies: &[&str]) -> Self {
        let scenario =
            Scenario::parse(text.as_bytes(), Format::Yaml).unwrap_or_else(|error| panic!("{error}"));
        Self::of(scenario.workload, policies)
    }

    pub(crate) fn page(&self) -> String {
        let runs: Vec<_> = self.runs.iter().map(|(outcome, measures)| Run { outcome, measures }).collect();
        page(&Subject { title: &self.title, workload: &self.workload }, &runs)
    }

    /// The document about a run.
    pub(crate) fn document(&self, run: usize) -> Value {
        let (outcome, measures) = &self.runs[run];
        let policy = &outcome.policy.to_string();
        serde_json::to_value(Document { policy, workload: &self.workload, outcome, measures, grants: true })
            .unwrap()
    }
}
