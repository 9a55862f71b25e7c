//! Lists of jobs: which are on them, and how much is looked at for them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::sync::Arc;

use allot_dispatcher_core::{DispatcherCore, Input, Options, Output};
use allot_model::view::{Answer, JobList};
use allot_model::*;
use harness::*;
use proptest::prelude::*;

/// The most jobs that are looked at for one page.
const MOST_LOOKED_AT: u64 = 4_096 + 64;

fn page(core: &mut DispatcherCore, query: &JobsQuery) -> JobList {
    let mut out = Vec::new();
    core.handle(Time::ZERO, Input::ListJobs(ReplyTo("r".into()), query.clone()), &mut out);
    match out.pop() {
        Some(Output::Jobs(_, Answer::Ok(list))) => list,
        other => panic!("{other:?}"),
    }
}

/// All pages as one, with how many were asked for.
fn all(core: &mut DispatcherCore, query: &JobsQuery) -> (Vec<JobSummary>, u64, u64) {
    let (mut jobs, mut looked_at, mut pages) = (Vec::new(), 0, 0);
    let mut query = query.clone();
    loop {
        let list = page(core, &query);
        assert!(list.looked_at <= MOST_LOOKED_AT, "{} for {query:?}", list.looked_at);
        assert!(list.jobs.len() <= query.limit as usize);
        jobs.extend(list.jobs);
        looked_at += list.looked_at;
        pages += 1;
        let Some(next) = list.next else { return (jobs, looked_at, pages) };
        assert!(query.before.is_none_or(|before| next < before), "it goes on");
        query.before = Some(next);
    }
}

fn ids(jobs: &[JobSummary]) -> Vec<u64> {
    jobs.iter().map(|job| job.job.0).collect()
}

fn admitted(job: u64, queue: &str, spec: &Arc<JobSpec>, submitted_at: Time) -> Entry {
    let record = DispatcherRecord::JobAdmitted {
        job: JobId(job),
        queue: queue.parse().unwrap(),
        message_id: None,
        submitted_at,
        spec: spec.clone(),
        waits: false,
    };
    Entry { at: submitted_at, record: Record::Dispatcher(record) }
}

fn named(name: &str) -> Arc<JobSpec> {
    Arc::new(JobSpec { name: Some(name.to_owned()), ..spec(1) })
}

/// Job n was submitted n seconds after 1970.
fn at(job: u64) -> Time {
    Time::from_micros(job * 1_000_000)
}

const MILLION: u64 = 1_000_000;

/// A million jobs that wait, every thousandth of queue `b.c` with another name, and three that run.
fn million() -> DispatcherCore {
    let mut house = House::new();
    house.join("m1", 1);
    house.join("m2", 1);
    let mut core = DispatcherCore::new(Options::default());
    let mut out = Vec::new();
    let (plain, other) = (named("plain"), named("other"));
    let jobs = (1..=MILLION).map(|job| {
        let odd = job.is_multiple_of(1_000);
        admitted(job, if odd { "b.c" } else { "a" }, if odd { &other } else { &plain }, at(job))
    });
    let placed = [("m1", 7), ("m1", 500_000), ("m2", 8)]
        .map(|(agent, job)| house.allocated(agent, run(job, 0, 0, 1), 1));
    for entry in house.ledger.iter().cloned().chain(jobs).chain(placed) {
        core.handle(entry.at, Input::Replay(entry), &mut out);
    }
    core
}

#[test]
fn a_page_of_a_million_jobs_is_found_by_looking_at_few() {
    let mut core = million();
    let newest = page(&mut core, &JobsQuery::default());
    assert_eq!((ids(&newest.jobs), newest.looked_at), ((MILLION - 49..=MILLION).rev().collect(), 51));
    let next = page(&mut core, &JobsQuery { before: newest.next, ..JobsQuery::default() });
    assert_eq!((next.jobs[0].job.0, next.looked_at), (MILLION - 50, 51));

    let running = JobsQuery { states: vec![JobState::Running], ..JobsQuery::default() };
    let (jobs, looked_at, pages) = all(&mut core, &running);
    assert_eq!((ids(&jobs), looked_at, pages), (vec![500_000, 8, 7], 3, 1), "agents know what runs");

    // Nothing but the ids and times of the jobs themselves is searched for the time of submission.
    let window = JobsQuery { since: Some(at(400_000)), until: Some(at(400_009)), ..JobsQuery::default() };
    let (jobs, looked_at, pages) = all(&mut core, &window);
    assert_eq!((ids(&jobs), pages), ((400_000..=400_009).rev().collect(), 1));
    assert!(looked_at < 60, "{looked_at}");

    let rejected = JobsQuery { states: vec![JobState::Rejected], ..JobsQuery::default() };
    assert_eq!(all(&mut core, &rejected), (Vec::new(), 0, 1));

    // What has to be looked for job by job is looked for a bounded number of jobs at a time.
    let pages_needed = MILLION.div_ceil(4_096);
    let none = JobsQuery { name: Some("nobody".into()), ..JobsQuery::default() };
    assert_eq!(all(&mut core, &none), (Vec::new(), MILLION, pages_needed));
    let below = JobsQuery { queue: Some(queue("b")), limit: 1_000, ..JobsQuery::default() };
    let (jobs, looked_at, pages) = all(&mut core, &below);
    assert_eq!((jobs.len(), looked_at, pages), (1_000, MILLION, pages_needed));
    let long = "*?".repeat(200);
    let slow = page(&mut core, &JobsQuery { name: Some(long), ..JobsQuery::default() });
    assert!(
        slow.looked_at < 1_000 && slow.next.is_some(),
        "a pattern that is much work is tried on fewer jobs"
    );
}

#[test]
fn a_page_fits_into_a_message_however_long_the_names_are() {
    let mut house = House::new();
    let long = "日".repeat(200);
    (0..1_000).for_each(|_| {
        house.submit(JobSpec { name: Some(long.clone()), ..spec(1) });
    });
    let query = JobsQuery { limit: 1_000, ..JobsQuery::default() };
    let first = page(&mut house.core, &query);
    assert!(serde_json::to_vec(&first).unwrap().len() < 900_000);
    assert_eq!(first.next, first.jobs.last().map(|job| job.job));
    assert_eq!(all(&mut house.core, &query).0.len(), 1_000);
}

/// Jobs of all kinds: queue, name, state, seconds since the one before.
fn house(jobs: &[(u8, u8, u8, u8)]) -> House {
    let mut house = House::new();
    house.join("m1", 1);
    for (queue_of, name, state, after) in jobs {
        house.now = house.now + Span::from_secs(u64::from(*after));
        let rejection = || Err(Rejection { field: String::new(), message: "no".into() });
        let spec = JobSpec { name: (*name > 0).then(|| "n".repeat(usize::from(*name))), ..spec(1) };
        let of = ["a", "a.b", "ab"][usize::from(*queue_of)];
        let content = if *state == 4 { rejection() } else { Ok((queue(of), Arc::new(spec))) };
        let job = house.submit_as(None, content);
        if matches!(state, 1..=3) {
            house.allocate("m1", run(job, 0, 0, 1));
        }
        match state {
            2 => house.cancel(job),
            3 => house.ended("m1", run(job, 0, 0, 1), FINE),
            _ => {}
        }
    }
    house
}

#[test]
fn a_job_is_found_by_its_message_id_at_once() {
    let mut house = House::new();
    let content = || Ok((queue("a"), Arc::new(spec(1))));
    let job = JobId(house.submit_as(Some("x"), content()));
    house.submit_as(Some("x"), content());
    house.submit_as(None, content());
    let with_id = |id: &str| JobsQuery { message_id: Some(id.into()), ..JobsQuery::default() };
    let ids = |list: JobList| list.jobs.into_iter().map(|job| job.job).collect::<Vec<_>>();
    let found = page(&mut house.core, &with_id("x"));
    assert_eq!((found.looked_at, ids(found)), (1, vec![job]));
    assert!(page(&mut house.core, &with_id("y")).jobs.is_empty());
    let finished = JobsQuery { states: vec![JobState::Finished], ..with_id("x") };
    assert!(page(&mut house.core, &finished).jobs.is_empty());
}

fn query() -> impl Strategy<Value = JobsQuery> {
    let states = proptest::sample::subsequence(
        vec![JobState::Queued, JobState::Running, JobState::Killing, JobState::Finished, JobState::Rejected],
        0..4,
    );
    let queue_of = proptest::option::of(prop_oneof![Just("a"), Just("a.b"), Just("b")].prop_map(queue));
    let name = proptest::option::of(prop_oneof![Just("n"), Just("nn*"), Just("n?"), Just("x")]);
    let moment =
        || proptest::option::of((0_u64..60).prop_map(|s| Time::from_micros((1_000 + s) * 1_000_000)));
    (queue_of, states, name, moment(), moment(), proptest::option::of(0_u64..25), 1_u32..8).prop_map(
        |(queue, states, name, since, until, before, limit)| JobsQuery {
            queue,
            states,
            name: name.map(str::to_owned),
            message_id: None,
            since,
            until,
            before: before.map(JobId),
            limit,
        },
    )
}

/// What the query says, said of one job.
fn is_meant(query: &JobsQuery, job: &JobSummary) -> bool {
    let below =
        |queue: &QueueName| job.queue == queue.as_str() || job.queue.starts_with(&format!("{queue}."));
    let name = |text: &String| job.name.as_ref().is_some_and(|name| name_matches(text, name));
    query.before.is_none_or(|before| job.job < before)
        && query.queue.as_ref().is_none_or(below)
        && (query.states.is_empty() || query.states.contains(&job.state))
        && query.name.as_ref().is_none_or(name)
        && query.since.is_none_or(|since| job.submitted_at >= since)
        && query.until.is_none_or(|until| job.submitted_at <= until)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn all_pages_together_are_the_jobs_that_are_meant_newest_first(
        jobs in proptest::collection::vec((0_u8..3, 0_u8..4, 0_u8..5, 0_u8..5), 0..20),
        queries in proptest::collection::vec(query(), 8),
    ) {
        let mut house = house(&jobs);
        let (everything, ..) = all(&mut house.core, &JobsQuery { limit: 1_000, ..JobsQuery::default() });
        prop_assert_eq!(everything.len(), jobs.len());
        for query in queries {
            let wanted: Vec<_> = everything.iter().filter(|job| is_meant(&query, job)).cloned().collect();
            prop_assert_eq!(&all(&mut house.core, &query).0, &wanted, "{:?}", query);
            let whole = page(&mut house.core, &query);
            prop_assert_eq!(whole.next.is_some(), whole.jobs.len() < wanted.len(), "{:?}", query);
        }
    }
}
