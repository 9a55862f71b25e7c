//! Texts.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use allot_agent_core::{JournalEntry, Memory};
use allot_bus::Subject;
use allot_model::job_file::{Format, JobFile, parse_file};
use allot_model::resources::Ranges;
use allot_model::{
    AgentId, Amount, AttemptId, AttemptRun, Candidate, Constraint, JobSpec, LimitChange, QueueLimit,
    QueueName, Request, ResourceName, Resources, Span, TaskId, TaskSet,
};
use allot_proto::{Wire, decode_submission};
use allot_sim::Scenario;
use allot_workload::{Filter, Log, openb};
use serde_json::Value;

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

/// Reads the text; what was read is written so that it is read as the same.
fn comes_back<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T>
where
    T::Err: Debug + Display,
{
    match text.parse::<T>() {
        Ok(read) => {
            let written = read.to_string();
            assert_eq!(written.parse::<T>().expect(&written), read, "{text:?} is written {written:?}");
            Some(read)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// A byte that says which format, and a job file.
pub fn job_file(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let format = [Format::Toml, Format::Yaml, Format::Json][usize::from(which % 3)];
    match parse_file(bytes, format) {
        Ok(file) => is_sound(&file),
        Err(error) => is_told(&error.to_string()),
    }
}

/// A byte that says which format, and a scenario: read or refused.
pub fn scenario(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let format = [Format::Toml, Format::Yaml, Format::Json][usize::from(which % 3)];
    match Scenario::parse(bytes, format) {
        Ok(scenario) => assert!(scenario.policy().is_ok()),
        Err(error) => is_told(&error.to_string()),
    }
}

/// A byte that says how it is encoded, and a submission.
pub fn submission(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let content_type = [None, Some("application/json"), Some("application/protobuf")][usize::from(which % 3)];
    match decode_submission(bytes, content_type) {
        Ok(file) => {
            is_sound(&file);
            let written = file.spec.encode();
            assert_eq!(JobSpec::decode(&written).as_ref(), Ok(&file.spec));
            let again = decode_submission(&written, Some("application/protobuf"));
            assert_eq!(again, Ok(JobFile { queue: None, spec: file.spec }));
        }
        Err(rejection) => is_told(&rejection.message),
    }
}

/// A job that was read is within its limits, and comes back from JSON as it was.
fn is_sound(file: &JobFile) {
    assert_eq!(file.spec.check(), Ok(()));
    assert_eq!(JobFile::from_json(&file.to_json()).as_ref(), Ok(file));
    let bytes = file.to_json().to_string().len();
    assert!(bytes <= 2 * JobSpec::MOST_BYTES, "{bytes} bytes in JSON");
}

/// What is wrong is said, at a length that people read and messages hold.
fn is_told(message: &str) {
    assert!(!message.is_empty() && message.len() < 10_000, "{} bytes: {message:.200}", message.len());
}

/// A constraint.
pub fn constraint(data: &[u8]) {
    let source = text(data);
    match Constraint::parse(source) {
        Ok(constraint) => {
            let written = constraint.to_string();
            assert_eq!(
                Constraint::parse(&written).as_ref(),
                Ok(&constraint),
                "{source:?} is written {written:?}"
            );
            let id = AgentId::new("a1").expect("an id");
            let attributes =
                [("zone".to_owned(), "b".to_owned()), ("n".to_owned(), "-1.5".to_owned())].into();
            let candidate = Candidate { id: &id, host: "host", attributes: &attributes };
            let again = Constraint::parse(&written).expect("read before");
            assert_eq!(constraint.holds(candidate), again.holds(candidate));
        }
        Err(error) => {
            assert!(error.column <= source.chars().count() + 1, "column {} of {source:?}", error.column);
            is_told(&error.to_string());
        }
    }
}

/// A byte that says of what, and an amount.
pub fn resources(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let source = text(bytes);
    match which % 4 {
        0 | 1 => {
            let name = ResourceName::new(["cpus", "mem"][usize::from(which % 4)]).expect("a name");
            match Amount::parse_scalar(&name, source) {
                Ok(units) => {
                    let written = Amount::scalar_text(&name, units);
                    assert_eq!(Amount::parse_scalar(&name, &written), Ok(units), "{source:?}, {written:?}");
                }
                Err(message) => is_told(&message),
            }
        }
        2 => drop(comes_back::<Ranges>(source)),
        _ => {
            let Ok(value) = serde_json::from_str::<Value>(source) else { return };
            if let Ok(read) = Resources::from_json(&value) {
                assert_eq!(Resources::from_json(&read.to_json()).as_ref(), Ok(&read));
                let _ = (read.to_string(), read.times(3), read.contains(&read));
                let mut sum = read.clone();
                if sum.add(&read).is_ok() {
                    sum.subtract(&read).expect("what was added");
                    assert_eq!(sum, read);
                }
            }
            if let Ok(read) = Request::from_json(&value) {
                assert_eq!(Request::from_json(&read.to_json()).as_ref(), Ok(&read));
            }
            if let Ok(read) = LimitChange::from_json(&value) {
                assert_eq!(LimitChange::from_json(&read.to_json()).as_ref(), Ok(&read));
                let limit = read.applied_to(QueueLimit::default());
                assert_eq!(read.applied_to(limit.clone()), limit, "{source:?}");
            }
        }
    }
}

/// A subject.
pub fn subject(data: &[u8]) {
    let source = text(data);
    match Subject::parse(source) {
        Ok(subject) => assert_eq!(subject.to_string(), source, "one way to write each"),
        Err(error) => is_told(&error.to_string()),
    }
    let _ = (Subject::queue_as_given(source), Subject::takes_answers(source));
}

/// The identifiers that are made of parts.
pub fn ids(data: &[u8]) {
    let source = text(data);
    let _ = comes_back::<TaskId>(source);
    let _ = comes_back::<AttemptRun>(source);
    let _ = comes_back::<QueueName>(source);
    let _ = comes_back::<ResourceName>(source);
    if let Some(attempt) = comes_back::<AttemptId>(source) {
        assert!(attempt.attempt > 0);
    }
}

/// A set of tasks.
pub fn task_set(data: &[u8]) {
    let source = text(data);
    let Some(set) = comes_back::<TaskSet>(source) else { return };
    let runs: Vec<_> = set.ranges().collect();
    assert_eq!(runs.iter().map(|run| run.count()).sum::<u64>(), set.count());
    let apart = |pair: &[allot_model::TaskRange]| {
        pair[0].last.checked_add(1).is_some_and(|next| next < pair[1].first)
    };
    assert!(runs.windows(2).all(apart), "runs are in order and apart");
}

/// A length of time.
pub fn span(data: &[u8]) {
    let _ = comes_back::<Span>(text(data));
}

/// A log of a workload.
pub fn swf(data: &[u8]) {
    match Log::parse(data) {
        Ok(log) => {
            for filter in [Filter::Raw, Filter::Strong] {
                let procs = log.machine_procs.unwrap_or(64);
                let _ = filter.jobs(&log, procs);
            }
        }
        Err(error) => is_told(&error.to_string()),
    }
}

/// A list of openb, of nodes or of pods.
pub fn openb(data: &[u8]) {
    match openb::parse_nodes(data) {
        Ok(nodes) => nodes.iter().for_each(|node| {
            let _ = (node.resources(), node.attributes());
        }),
        Err(error) => is_told(&error.to_string()),
    }
    match openb::parse_pods(data) {
        Ok(pods) => {
            for pod in &pods {
                let _ = (pod.request(), pod.constraints());
            }
            // Few, as a pod may ask for so little that a great many have to arrive.
            let _ = openb::arrivals(&pods, 10, 1);
        }
        Err(error) => is_told(&error.to_string()),
    }
}

/// An agent's journal.
pub fn journal(data: &[u8]) {
    let mut memory = Memory::default();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(entry) = serde_json::from_slice::<JournalEntry>(line) else { continue };
        if entry.check().is_err() {
            continue;
        }
        let written = serde_json::to_vec(&entry).expect("what was read is written");
        assert_eq!(
            serde_json::from_slice::<JournalEntry>(&written).expect("what was written is read"),
            entry
        );
        memory.fold(entry);
    }
    let snapshot =
        serde_json::to_vec(&JournalEntry::Snapshot(Box::new(memory.clone()))).expect("it is written");
    let mut again = Memory::default();
    again.fold(serde_json::from_slice(&snapshot).expect("it is read"));
    assert_eq!(again, memory);
}
