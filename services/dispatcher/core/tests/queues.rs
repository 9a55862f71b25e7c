//! What an operator sets for queues is checked, and only what changes something is noted.
#![allow(clippy::unwrap_used)]

mod harness;

use allot_model::*;
use harness::*;

fn answer(house: &mut House, command: QueueSetCommand) -> Result<String, String> {
    house.set_queue(command);
    match house.answers.pop().unwrap() {
        Answer::Ok(done) => Ok(done.message),
        Answer::Error(refusal) => Err(refusal.message),
    }
}

#[test]
fn what_cannot_be_set_is_refused_and_nothing_is_noted() {
    let resources = |count: usize| {
        let entries = (0..count).map(|n| (format!("r{n}"), 1.into()));
        LimitChange::from_json(&serde_json::Value::Object(entries.collect())).unwrap()
    };
    let cases = [
        (set("a"), "nothing is to be set: give `weight`, `limit`, `no_limit`, `guarantee`"),
        (QueueSetCommand { weight: Some(0), ..set("a") }, "a weight is a whole number from 1 to 1000000"),
        (QueueSetCommand { weight: Some(1_000_001), ..set("a") }, "weight 1000001: a weight is"),
        (QueueSetCommand { limit: resources(33), ..set("a") }, "33 resources, and can name at most 32"),
    ];
    for (command, part) in cases {
        let mut house = House::new();
        let message = answer(&mut house, command).unwrap_err();
        assert!(message.contains(part), "{message}");
        assert!(house.ledger.is_empty());
    }
}

#[test]
fn limits_add_up_to_no_more_than_can_be_named() {
    let one = |n: usize| QueueSetCommand { limit: format!("r{n}=1").parse().unwrap(), ..set("a") };
    let mut house = House::new();
    (0..QueueLimit::MOST_RESOURCES).for_each(|n| assert!(answer(&mut house, one(n)).is_ok()));
    assert!(answer(&mut house, one(32)).unwrap_err().contains("33 resources"));
    let another = QueueSetCommand { no_limit: true, ..one(32) };
    assert_eq!(answer(&mut house, another), Ok("queue a has weight 1 and limit r32 1".into()));
}

#[test]
fn a_command_is_read_as_people_write_it() {
    let read = |text| serde_json::from_str::<QueueSetCommand>(text).map_err(|error| error.to_string());
    let command = QueueSetCommand { weight: Some(3), limit: "cpus=.5,mem=none".parse().unwrap(), ..set("a") };
    assert_eq!(read(r#"{"queue": "a", "weight": 3, "limit": {"cpus": 0.5, "mem": "none"}}"#), Ok(command));
    assert_eq!(
        read(r#"{"queue": "a", "no_limit": true}"#),
        Ok(QueueSetCommand { no_limit: true, ..set("a") })
    );
    for (text, part) in [
        (r#"{"queue": "a", "limit": {"cpu": 1}}"#, "did you mean `cpus`"),
        (r#"{"queue": "a", "limit": 3}"#, "write amounts by name"),
        (r#"{"queue": "a", "limits": {}}"#, "unknown field `limits`"),
    ] {
        assert!(read(text).unwrap_err().contains(part), "{text}");
    }
}

fn submit(house: &mut House, name: &str, tasks: u32) {
    house.submit_as(None, Ok((queue(name), std::sync::Arc::new(spec(tasks)))));
}

#[test]
fn no_more_jobs_wait_than_a_queue_and_those_above_it_may_have() {
    let mut house = House::new();
    house.join("m1", 1);
    let limited = |house: &mut House, name: &str, limit: &str| {
        answer(house, QueueSetCommand { limit: limit.parse().unwrap(), ..set(name) }).unwrap()
    };
    assert_eq!(
        limited(&mut house, "org", "pending_jobs=3"),
        "queue org has weight 1 and limit pending_jobs 3"
    );
    limited(&mut house, "org.a", "pending_jobs=2");
    let rejected = |house: &House, id: u64| {
        house.ledger.iter().find_map(|entry| match &entry.record {
            Record::Dispatcher(DispatcherRecord::JobRejected { job, rejection, .. }) if *job == JobId(id) => {
                Some(rejection.to_string())
            }
            _ => None,
        })
    };
    for queue in ["org.a", "org.a", "org.a", "org.b", "org.b", "other"] {
        submit(&mut house, queue, 2);
    }
    let message = rejected(&house, 3).unwrap();
    assert!(
        message.starts_with("`queue`: 2 jobs of queue org.a and of those below it have tasks"),
        "{message}"
    );
    assert!(message.contains("allot queue set org.a --limit pending_jobs=N"), "{message}");
    assert!(rejected(&house, 5).unwrap().contains("no more than 3 may"), "org has three with those below it");
    assert_eq!([1, 2, 4, 6].map(|job| rejected(&house, job)), [const { None }; 4]);

    // One of two tasks that has a place leaves one that waits; a job that is cancelled does not wait either.
    house.allocate("m1", run(1, 0, 0, 1));
    submit(&mut house, "org.b", 1);
    assert!(rejected(&house, 7).is_some());
    house.allocate("m1", run(1, 1, 1, 1));
    submit(&mut house, "org.a", 1);
    assert_eq!(rejected(&house, 8), None);
    house.cancel(2);
    submit(&mut house, "org.b", 1);
    assert_eq!(rejected(&house, 9), None);
    submit(&mut house, "org.b", 1);
    assert!(rejected(&house, 10).is_some());
    limited(&mut house, "org", "pending_jobs=none");
    submit(&mut house, "org.b", 1);
    assert_eq!(rejected(&house, 11), None);
}

#[test]
fn jobs_cannot_be_guaranteed_to_wait() {
    let command = QueueSetCommand { guarantee: "pending_jobs=4".parse().unwrap(), ..set("a") };
    assert!(answer(&mut House::new(), command).unwrap_err().contains("`pending_jobs` can be limited alone"));
}
