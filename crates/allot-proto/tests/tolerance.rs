//! What is done with messages that are not as expected.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use allot_model::{Batch, Feed, Hello, OrderBatch};
use allot_proto::{Wire, decode_submission, v1};
use prost::Message;

fn field_error<M: Wire + std::fmt::Debug>(message: &impl Message) -> String {
    M::decode(&message.encode_to_vec()).unwrap_err().to_string()
}

fn facts(id: &str) -> v1::AgentFacts {
    v1::AgentFacts {
        id: id.to_owned(),
        resources: Some(v1::Resources::default()),
        ..v1::AgentFacts::default()
    }
}

fn resources(amount: v1::amount::Kind) -> Option<v1::Resources> {
    Some(v1::Resources { amounts: [("gpus".to_owned(), v1::Amount { kind: Some(amount) })].into() })
}

#[test]
fn an_error_names_the_field_by_its_path() {
    let hello = v1::Hello { facts: Some(facts("a b")), ended: Vec::new() };
    assert_eq!(
        field_error::<Hello>(&hello),
        "field `facts.id`: \"a b\" is not an agent id: 1 to 64 letters, digits, `-` and `_`"
    );
    let run = v1::AttemptRun { job: 1, first_task: 9, last_task: 3, attempt: 1 };
    let entry = |record| v1::Entry { after_base_us: 0, record: Some(record) };
    let entries = vec![
        entry(v1::entry::Record::JobReady(v1::JobNamed { job: 1 })),
        entry(v1::entry::Record::TasksQueued(run)),
    ];
    let batch = v1::Batch { writer: v1::Writer::Dispatcher.into(), entries, ..v1::Batch::default() };
    assert_eq!(field_error::<Batch>(&batch), "field `entries[1].last_task`: 3 comes before `first_task`, 9");
}

#[test]
fn amounts_that_cannot_be_are_refused() {
    let items = v1::amount::Kind::Items(v1::Items { amounts_milli: [("0".to_owned(), 1_001)].into() });
    let twice = vec![v1::Range { first: 1, last: 5 }, v1::Range { first: 5, last: 6 }];
    let cases = [
        (items, "field `facts.resources.amounts[gpus].items`: 1001 thousandths of one item, \"0\""),
        (
            v1::amount::Kind::Ranges(v1::Ranges { runs: twice }),
            "field `facts.resources.amounts[gpus].ranges`: 5-6 runs backwards, or overlaps another run",
        ),
    ];
    for (amount, message) in cases {
        let hello = v1::Hello {
            facts: Some(v1::AgentFacts { resources: resources(amount), ..facts("a") }),
            ended: Vec::new(),
        };
        let error = field_error::<Hello>(&hello);
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn a_launch_of_a_job_that_is_not_in_the_batch_is_refused() {
    let launch = v1::agent_order::Launch { job_index: 1, ..v1::agent_order::Launch::default() };
    let order = v1::AgentOrder { order: Some(v1::agent_order::Order::Launch(launch)) };
    let batch = v1::OrderBatch { orders: vec![order], ..v1::OrderBatch::default() };
    assert_eq!(field_error::<OrderBatch>(&batch), "field `orders[0].job_index`: 1 is not in `jobs`");
}

#[test]
fn an_allocator_skips_a_change_that_it_does_not_know() {
    let unknown = v1::FeedItem { change: None };
    let ended = v1::feed_item::Change::JobEnded(v1::JobNamed { job: 1 });
    let items = vec![unknown, v1::FeedItem { change: Some(ended) }];
    let feed = Feed::decode(&v1::Feed { items, ..v1::Feed::default() }.encode_to_vec()).unwrap();
    assert_eq!(feed.items.len(), 1);
}

#[test]
fn a_record_that_is_not_known_is_refused_because_state_would_be_wrong_without_it() {
    let entries = vec![v1::Entry::default()];
    let batch = v1::Batch { writer: v1::Writer::Offers.into(), entries, ..v1::Batch::default() };
    assert_eq!(field_error::<Batch>(&batch), "field `entries[0].record`: missing");
}

#[test]
fn what_is_no_protobuf_is_refused_with_the_name_of_the_message() {
    let error = Hello::decode(b"\xff\xff").unwrap_err().to_string();
    assert!(error.starts_with("not a protobuf message of type allot.v1.Hello: "), "{error}");
}

#[test]
fn a_job_in_protobuf_is_rejected_for_the_same_reasons_in_the_same_words_as_one_in_json() {
    let argv = v1::job_spec::Command::Argv(v1::Argv { args: vec!["true".to_owned()] });
    let good = || v1::JobSpec { command: Some(argv.clone()), ..v1::JobSpec::default() };
    let cases = [
        (v1::JobSpec { command: None, ..good() }, r"{}"),
        (v1::JobSpec { tasks: Some(0), ..good() }, r#"{"command": ["true"], "tasks": 0}"#),
        (v1::JobSpec { time_limit_us: Some(0), ..good() }, r#"{"command": ["true"], "time_limit": 0}"#),
        (v1::JobSpec { executor: 9, ..good() }, r#"{"command": ["true"], "executor": 9}"#),
        (
            v1::JobSpec { constraints: vec!["rack = c".to_owned()], ..good() },
            r#"{"command": ["true"], "constraints": ["rack = c"]}"#,
        ),
        (
            v1::JobSpec { resources_units: [("memory".to_owned(), 5)].into(), ..good() },
            r#"{"command": ["true"], "resources": {"memory": 5}}"#,
        ),
        (
            v1::JobSpec { resources_units: [("gpus".to_owned(), 1_500)].into(), ..good() },
            r#"{"command": ["true"], "resources": {"gpus": 1.5}}"#,
        ),
    ];
    for (spec, json) in cases {
        let refused = decode_submission(&spec.encode_to_vec(), Some("application/protobuf")).unwrap_err();
        assert_eq!(Err(refused), decode_submission(json.as_bytes(), None), "{json}");
    }
}

#[test]
fn a_command_alone_is_a_job_in_protobuf_too() {
    let line = v1::job_spec::Command::Shell("true".to_owned());
    let spec = v1::JobSpec { command: Some(line), ..v1::JobSpec::default() };
    assert_eq!(
        decode_submission(&spec.encode_to_vec(), None),
        decode_submission(br#"{"command": "true"}"#, None)
    );
}

#[test]
fn text_that_is_neither_is_told_what_a_job_looks_like() {
    for bytes in [b"command=true".as_slice(), b"\xff\xff", b"[1]"] {
        let rejection = decode_submission(bytes, None).unwrap_err();
        assert_eq!(rejection.field, "");
        assert!(rejection.message.starts_with("not JSON, which begins with `{`"), "{}", rejection.message);
        assert!(
            rejection.message.ends_with(r#"write a job such as {"command": ["true"]}"#),
            "{}",
            rejection.message
        );
    }
}
