//! Whoever is slow is waited for: nothing is dropped, nobody's memory grows with what waits, and all is as before once it is over.
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::time::Duration;

use allot_bus::Subject;
use allot_e2e::User;
use allot_model::view::{AgentUse, JobList, JobsQuery};
use allot_model::{
    AgentId, AttemptRun, Incarnation, JobId, JobState, Outcome, Reason, Report, ReportBatch, TaskRange,
    TaskState, Time,
};
use allot_proto::Wire;
use allot_shell::services;
use allot_testkit::{Launch, Programs, built, eventually};
use rustix::process::Signal;
use serde_json::json;

/// How long the whole may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
const SERVICES: [&str; 4] = ["registry", "offers", "dispatcher", "allocator"];
/// More than any of them takes for all that a test submits, and much less than what waits for them at times.
const MOST_BYTES: u64 = 192 << 20;

/// A cluster whose agent runs tasks without processes.
async fn cluster() -> (Programs, User) {
    let mut programs = Programs::services().await.unwrap();
    programs.spawn("allocator", "allot-allocator-drf", &[]).unwrap();
    let data_dir = format!("data_dir={}", programs.dir().join("a1").display());
    let settings = ["id=a1", &data_dir, "resources.cpus=64", "noop=true"].map(str::to_owned);
    programs.spawn("a1", "allot-agent", &settings).unwrap();
    let user = User::of(&programs).await.unwrap();
    let there = || async {
        let agents: Vec<AgentUse> = user.ask(Subject::AgentsUsage, &json!({})).await.ok()?;
        (agents.len() == 1).then_some(())
    };
    eventually("the agent has joined", PATIENCE, there).await;
    (programs, user)
}

async fn submit(user: &User, jobs: u64) -> JobId {
    let job = json!({"command": ["true"], "executor": "noop", "resources": {"cpus": 1}});
    let mut last = JobId(0);
    for _ in 0..jobs {
        last = user.submit("flow", &job).await.unwrap();
    }
    last
}

/// The newest job, where there is one in any of these states; every job where none is named.
async fn newest(user: &User, states: &[JobState]) -> anyhow::Result<Option<JobId>> {
    let mut query = JobsQuery { states: states.to_vec(), limit: 1, ..JobsQuery::default() };
    loop {
        let list: JobList = user.ask(Subject::JobsList, &query).await?;
        match (list.jobs.first(), list.next) {
            (Some(job), _) => return Ok(Some(job.job)),
            (None, None) => return Ok(None),
            (None, next) => query.before = next,
        }
    }
}

/// Waits until every job up to the last has finished.
async fn all_finish(user: &User, last: JobId) {
    const OTHERWISE: [JobState; 7] = [
        JobState::Waiting,
        JobState::Queued,
        JobState::Running,
        JobState::Killing,
        JobState::Failed,
        JobState::Killed,
        JobState::Rejected,
    ];
    eventually("every job has finished", PATIENCE, || async {
        let is_known = newest(user, &[]).await.ok()? == Some(last);
        (is_known && newest(user, &OTHERWISE).await.ok()?.is_none()).then_some(())
    })
    .await;
}

/// No service ended, was told of lost messages, or took much memory; and each says itself that it has caught up.
async fn are_as_before(programs: &mut Programs, user: &User) {
    assert_eq!(programs.ended(), Vec::<String>::new());
    for service in SERVICES {
        let peak = programs.peak_memory(service).unwrap();
        assert!(peak < MOST_BYTES, "{service} took {peak} bytes");
        assert!(!programs.log(service).contains("messages are lost"), "{}", programs.log(service));
    }
    eventually("every service has read the ledger to its end", PATIENCE, || async {
        let running = services::running(user.bus()).await.ok()?;
        let read: Vec<u64> =
            running.iter().filter_map(|one| Some(one.standing.as_ref()?.ledger_sequence)).collect();
        (read.len() == 3 && read.iter().all(|sequence| *sequence == read[0])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stands_still_for_a_while_catches_up_with_all_that_came_meanwhile() {
    const JOBS: u64 = 1_500;
    let (mut programs, user) = cluster().await;
    for service in SERVICES {
        programs.signal(service, Signal::STOP);
        // Takes seconds, for each is acknowledged.
        let last = submit(&user, JOBS).await;
        programs.signal(service, Signal::CONT);
        all_finish(&user, last).await;
    }
    are_as_before(&mut programs, &user).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_floods_the_dispatcher_with_reports_holds_nobody_up() {
    const BATCHES: u64 = 2_000;
    const REPORTS: u32 = 4_000;
    let (mut programs, user) = cluster().await;
    let agent = AgentId::new("a1").unwrap();
    let identity = std::fs::read(programs.dir().join("a1/identity")).unwrap();
    let identity: serde_json::Value = serde_json::from_slice(&identity).unwrap();
    let incarnation: Incarnation = serde_json::from_value(identity["incarnation"].clone()).unwrap();
    let ended = |index: u32| Report::Ended {
        run: AttemptRun { job: JobId(1 << 40), tasks: TaskRange { first: index, last: index }, attempt: 1 },
        state: TaskState::Finished,
        reason: Reason::ExitedZero,
        started_at: None,
        ended_at: Time::ZERO,
        outcome: Outcome { message: Some("x".repeat(100).into()), ..Outcome::default() },
    };
    let reports: Vec<Report> = (0..REPORTS).map(|index| ended(index * 2)).collect();
    let mut batch = ReportBatch { agent: agent.clone(), incarnation, sequence: 0, allocations: 0, reports };
    let subject = Subject::AgentReports(agent).to_string();
    let client = user.bus().client();
    let mut bytes = 0;
    // Of jobs that nobody knows, over and over, and more of them than there may be memory.
    for sequence in 0..BATCHES {
        batch.sequence = u64::MAX / 2 + sequence;
        let payload = batch.encode();
        bytes += payload.len() as u64;
        client.publish(subject.clone(), payload.into()).await.unwrap();
    }
    let last = submit(&user, 200).await;
    assert!(bytes > 4 * MOST_BYTES, "{bytes} bytes are no flood");
    all_finish(&user, last).await;
    are_as_before(&mut programs, &user).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn someone_who_watches_and_does_not_keep_up_misses_nothing_and_holds_nobody_up() {
    const JOBS: u64 = 1_500;
    let (mut programs, user) = cluster().await;
    let url = programs.config().url;
    let arguments = ["events", "--follow", "-e", "job_ended", "-o", "json"].map(str::to_owned).to_vec();
    let environment = vec![("ALLOT_NATS".to_owned(), url)];
    let launch = Launch { program: built("allot").unwrap(), arguments, environment };
    programs.launch("watcher", launch).unwrap();
    let told = |programs: &Programs| programs.log("watcher").matches("job_ended").count() as u64;
    let first = submit(&user, 1).await;
    all_finish(&user, first).await;
    // It begins with what is there when it begins, which may be before or after the first job.
    eventually("the watcher watches", PATIENCE, || async {
        submit(&user, 1).await;
        (told(&programs) > 0).then_some(())
    })
    .await;
    programs.signal("watcher", Signal::STOP);
    let last = submit(&user, JOBS).await;
    all_finish(&user, last).await;
    let before = told(&programs);
    programs.signal("watcher", Signal::CONT);
    eventually("the watcher has seen every job end", PATIENCE, || async {
        (told(&programs) >= before + JOBS).then_some(())
    })
    .await;
    are_as_before(&mut programs, &user).await;
}
