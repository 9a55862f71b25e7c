//! Scenarios in a line, and what came of them in a line.

use allot_engine::Policy;
use allot_model::Format;
use allot_sim::{Document, Measures, Outcome, Scenario, Workload, queue_states, simulate};

/// A scenario of the folder `scenarios`.
pub(crate) fn file(name: &str) -> Scenario {
    let path = format!("{}/tests/scenarios/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Scenario::parse(&bytes, Format::of_path(name).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn yaml(text: &str) -> Scenario {
    Scenario::parse(text.as_bytes(), Format::Yaml).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn run(workload: &Workload, policy: &str) -> Outcome {
    let policy = Policy::parse(policy).unwrap();
    simulate(workload, &policy).unwrap_or_else(|error| panic!("{error}"))
}

/// The whole document of a run.
pub(crate) fn json(workload: &Workload, policy: &str) -> String {
    let outcome = run(workload, policy);
    let measures = Measures::of(workload, &outcome);
    let policy = &outcome.policy.to_string();
    let document = Document { policy, workload, outcome: &outcome, measures: &measures, grants: true };
    serde_json::to_string(&document).unwrap()
}

/// `0 J1.0 m1`: when which task was placed where, in seconds and in the order of the grants.
pub(crate) fn grants(workload: &Workload, outcome: &Outcome) -> Vec<String> {
    let told = |stay: &allot_sim::Stay| {
        let (at, agent) = (seconds(stay.start), &workload.agents[stay.agent as usize].id);
        let job = workload.name(stay.job as usize);
        stay.tasks.indexes().map(move |task| format!("{at} {job}.{task} {agent}")).collect::<Vec<_>>()
    };
    outcome.stays.iter().flat_map(told).collect()
}

/// The queues that got tasks, in the order of the grants, such as `ABABA`.
pub(crate) fn queues(workload: &Workload, outcome: &Outcome) -> String {
    let queue = |stay: &allot_sim::Stay| {
        let job = &workload.jobs[stay.job as usize];
        let name = workload.queues[job.queue as usize].name.to_string();
        name.repeat(usize::try_from(stay.tasks.count()).unwrap())
    };
    outcome.stays.iter().map(queue).collect()
}

/// When each job started, in seconds.
pub(crate) fn starts(outcome: &Outcome) -> Vec<Option<u64>> {
    outcome.jobs.iter().map(|fate| fate.start.map(seconds)).collect()
}

/// `A 3 2/3`: what each queue has at the end.
pub(crate) fn states(workload: &Workload, outcome: &Outcome) -> Vec<String> {
    let states = queue_states(workload, outcome);
    let told = |(name, state): (&String, &allot_sim::QueueState)| {
        let (held, there) = state.dominant_share;
        format!("{name} {} {held}/{there}", state.running)
    };
    states.iter().map(told).collect()
}

pub(crate) fn seconds(time: allot_model::Time) -> u64 {
    time.as_micros() / 1_000_000
}
