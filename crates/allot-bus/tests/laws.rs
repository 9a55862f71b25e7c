//! What holds for every subject.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use allot_bus::headers::Encoding;
use allot_bus::{Kind, Stream, Subject, kind};
use allot_model::view::LogStream;
use allot_model::{AgentId, AttemptId, InstanceId, JobId, JobSpec, PoolName, QueueName, Writer};
use proptest::prelude::*;

const TOKEN: &str = "[A-Za-z0-9_-]{1,64}";

fn agent_subjects() -> impl Strategy<Value = Subject> {
    let verbs: [fn(AgentId) -> Subject; 8] = [
        Subject::AgentHello,
        Subject::AgentBeat,
        Subject::AgentOrders,
        Subject::AgentReports,
        Subject::AgentLogs,
        Subject::AgentDrain,
        Subject::AgentUndrain,
        Subject::AgentGone,
    ];
    (TOKEN, prop::sample::select(verbs.to_vec())).prop_map(|(id, verb)| verb(AgentId::new(&id).unwrap()))
}

fn pool_subjects() -> impl Strategy<Value = Subject> {
    let verbs: [fn(PoolName) -> Subject; 6] = [
        Subject::PoolOffers,
        Subject::PoolGrants,
        Subject::PoolPolicy,
        Subject::PoolUse,
        Subject::PoolWhy,
        Subject::PoolAccount,
    ];
    (TOKEN, prop::sample::select(verbs.to_vec())).prop_map(|(id, verb)| verb(PoolName::new(&id).unwrap()))
}

fn outputs() -> impl Strategy<Value = Subject> {
    let stream = prop::sample::select(vec![LogStream::Stdout, LogStream::Stderr]);
    (any::<u64>(), any::<u32>(), 1..=u32::MAX, stream)
        .prop_map(|(job, index, attempt, s)| Subject::Output(AttemptId::new(JobId(job), index, attempt), s))
}

fn plain_subjects() -> impl Strategy<Value = Subject> {
    use Subject::{AgentsList, AgentsUsage, JobsList, QueuesList, QueuesSet};
    prop::sample::select(vec![AgentsList, AgentsUsage, JobsList, QueuesList, QueuesSet])
}

fn subjects() -> impl Strategy<Value = Subject> {
    prop_oneof![
        "[A-Za-z0-9_-]{1,12}(\\.[A-Za-z0-9_-]{1,12}){0,5}"
            .prop_map(|q| Subject::Submit(QueueName::new(&q).unwrap())),
        prop::sample::select(Writer::ALL.to_vec()).prop_map(Subject::Ledger),
        prop::sample::select(Writer::ALL.to_vec()).prop_map(Subject::Lease),
        outputs(),
        agent_subjects(),
        pool_subjects(),
        (TOKEN, TOKEN).prop_map(|(pool, instance)| Subject::PoolCompare(
            PoolName::new(&pool).unwrap(),
            InstanceId::new(&instance).unwrap()
        )),
        plain_subjects(),
        any::<u64>().prop_map(|job| Subject::JobShow(JobId(job))),
        any::<u64>().prop_map(|job| Subject::JobCancel(JobId(job))),
    ]
}

/// What a NATS server does to see whether a subject matches a pattern.
fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(p), Some(s)) if p == "*" || p == s => {}
            _ => return false,
        }
    }
}

proptest! {
    #[test]
    fn subjects_are_read_as_they_are_written(subject in subjects()) {
        prop_assert_eq!(subject.to_string().parse::<Subject>(), Ok(subject));
    }

    #[test]
    fn what_is_read_is_written_as_it_was(text in "(allot\\.v1\\.)?(submit|ledger|output|agent|job|pool|jobs)(\\.[a-z0-9+]{0,3}|\\.hello|\\.show|\\.stdout){0,4}") {
        if let Ok(subject) = Subject::parse(&text) {
            prop_assert_eq!(subject.to_string(), text);
        }
    }

    #[test]
    fn any_text_is_a_subject_or_refused(text in "\\PC{0,20}|allot\\.v1\\.(\\PC{0,6}\\.?){0,6}") {
        match Subject::parse(&text) {
            Ok(subject) => prop_assert_eq!(subject.to_string(), text),
            Err(error) => prop_assert!(error.to_string().len() < 10_000),
        }
    }

    #[test]
    fn a_subject_matches_the_pattern_of_its_own_kind_and_no_other(subject in subjects()) {
        let text = subject.to_string();
        for row in &kind::TABLE {
            prop_assert_eq!(matches(&row.kind.pattern(), &text), row.kind == subject.kind(), "{}", row.form);
        }
    }
}

#[test]
fn the_table_is_in_the_order_of_the_kinds() {
    for row in &kind::TABLE {
        assert_eq!(row.kind.row(), row);
    }
}

#[test]
fn texts_that_nobody_would_write_are_not_subjects() {
    let bad = [
        "",
        "allot.v1",
        "allot.v1.submit",
        "allot.v1.submit.",
        "allot.v1.submit.a..b",
        "allot.v1.ledger.console",
        "allot.v1.output.1.0.0.stdout",
        "allot.v1.output.1.0.01.stdout",
        "allot.v1.job.+7.show",
        "allot.v1.agent.a.hello.",
        "allot.v1.agent.a.dance",
        "allot.v2.jobs.list",
    ];
    for text in bad {
        assert!(Subject::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_error_names_the_part_that_is_wrong() {
    let error = Subject::parse("allot.v1.job.x.show").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"in the subject "allot.v1.job.x.show": "x" is not a job id: a whole number"#
    );
}

#[test]
fn a_submission_to_no_queue_still_says_what_was_given() {
    let text = "allot.v1.submit.é.b";
    assert!(Subject::parse(text).is_err());
    assert_eq!(Subject::queue_as_given(text), Some("é.b"));
    assert_eq!(Subject::queue_as_given("allot.v1.jobs.list"), None);
}

#[test]
fn the_inbox_has_room_for_the_largest_job_and_its_headers() {
    assert!(Stream::MAX_SUBMISSION_BYTES as usize >= JobSpec::MOST_BYTES + 4 * 1024);
}

#[test]
fn patterns_cover_exactly_what_the_streams_store() {
    let stored: Vec<_> = Stream::ALL.iter().flat_map(|stream| stream.settings().subjects).collect();
    let expected =
        ["allot.v1.submit.>", "allot.v1.ledger.*", "allot.v1.output.*.*.*.*", "$KV.ALLOT_LEASES.*"];
    assert_eq!(stored, expected);
    assert_eq!(Kind::AgentReports.pattern(), Subject::pattern_agent_reports());
}

#[test]
fn a_submission_is_written_as_its_header_says_or_as_its_first_byte_looks() {
    let cases: [(Option<&str>, &[u8], Encoding); 8] = [
        (Some("application/json"), b"\x12\x03", Encoding::Json),
        (Some("Application/JSON; charset=utf-8"), b"", Encoding::Json),
        (Some("application/protobuf"), b"{", Encoding::Protobuf),
        (Some("text/plain"), b"{}", Encoding::Json),
        (None, b"{}", Encoding::Json),
        (None, b"\n {}", Encoding::Json),
        (None, b"", Encoding::Json),
        (None, b"\x12\x06\x0a\x04true", Encoding::Protobuf),
    ];
    for (content_type, payload, encoding) in cases {
        assert_eq!(Encoding::of(content_type, payload), encoding, "{content_type:?} {payload:?}");
    }
}
