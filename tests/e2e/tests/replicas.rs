//! Two instances of every service: whatever happens to the active one, the other goes on with its work.
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use allot_bus::Stream;
use allot_e2e::{Journal, User, verify_ledger};
use allot_model::{JobId, JobState};
use allot_shell::{Role, services};
use allot_testkit::{Launch, Programs, Proxy, built, eventually};
use serde_json::json;

const TASKS: u32 = 1_500;
/// How long the whole may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);
const SERVICES: [&str; 3] = ["registry", "offers", "dispatcher"];

/// A cluster with two instances of everything but agents. A silent instance is replaced after `takeover_after`.
async fn cluster(takeover_after: &str) -> (Programs, User) {
    let mut programs = Programs::start().await.unwrap();
    let settings = [format!("standby.takeover_after={takeover_after}")];
    for number in 1..=2 {
        for service in SERVICES {
            programs.spawn(&format!("{service}-{number}"), &format!("allot-{service}"), &settings).unwrap();
        }
        programs.spawn(&format!("allocator-{number}"), "allot-allocator-drf", &[]).unwrap();
        programs.spawn_agent(&format!("a{number}"), 8).unwrap();
    }
    let user = User::of(&programs).await.unwrap();
    all_follow(&user).await;
    (programs, user)
}

/// Waits until there are two of each that know who they are, and of each service one is active.
async fn all_follow(user: &User) {
    eventually("there is an active one and a standby of each", PATIENCE, || async {
        let running = services::running(user.bus()).await.ok()?;
        let of = |name: &str| running.iter().filter(|one| one.name == name).collect::<Vec<_>>();
        let is_pair = |name: &str| {
            let mut roles: Vec<String> = of(name)
                .iter()
                .filter_map(|one| Some(format!("{:?}", one.standing.as_ref()?.role)))
                .collect();
            roles.sort();
            roles == ["Active", "Standby"]
        };
        let pairs = SERVICES.iter().all(|service| is_pair(&format!("allot-{service}")));
        (pairs && of("allot-allocator-drf").len() == 2).then_some(())
    })
    .await;
}

async fn ran(journal: &Path, enough: usize) {
    eventually(&format!("{enough} tasks have run"), PATIENCE, || async {
        (Journal::read(journal).ended_tasks() >= enough).then_some(())
    })
    .await;
}

/// Every task of the job ran once and finished.
async fn lost_and_repeated_nothing(user: &User, programs: &mut Programs, job: JobId, journal: &Path) {
    let view = user.ended(job, PATIENCE).await;
    assert_eq!(view.summary.state, JobState::Finished, "{:?}\n{}", view.summary, programs.logs());
    let journal = Journal::read(journal);
    assert_eq!(journal.started.len(), TASKS as usize);
    assert!(journal.started.values().chain(journal.ended.values()).all(|count| *count == 1));
    // A try that never had its turn is handed back, and the next one is the first to run.
    let tasks: BTreeSet<u32> = journal.started.keys().map(|(_, task, _)| *task).collect();
    assert_eq!(tasks.len(), TASKS as usize);
    verify_ledger(programs).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_every_service_loses_and_repeats_nothing() {
    // So long that an instance that is not handed over to never takes over.
    let (mut programs, user) = cluster("1h").await;
    let journal = programs.dir().join("journal");
    let job = Journal::submit(&user, &journal, TASKS, 0).await.unwrap();
    let instances: Vec<String> = ["registry", "offers", "dispatcher", "allocator"]
        .into_iter()
        .flat_map(|service| [1, 2].map(|number| format!("{service}-{number}")))
        .collect();
    for (place, name) in instances.iter().enumerate() {
        ran(&journal, (place + 1) * TASKS as usize / (instances.len() + 2)).await;
        programs.stop(name).await.unwrap();
        programs.restart(name).unwrap();
        all_follow(&user).await;
    }
    lost_and_repeated_nothing(&user, &mut programs, job, &journal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_one_of_each_service_for_good_loses_and_repeats_nothing() {
    let (mut programs, user) = cluster("500ms").await;
    let journal = programs.dir().join("journal");
    let job = Journal::submit(&user, &journal, TASKS, 0).await.unwrap();
    // The first ones were active first, mostly: where one was not, the standby is lost, and that is no less to be borne.
    for (place, name) in ["registry-1", "offers-1", "dispatcher-1", "allocator-1"].into_iter().enumerate() {
        ran(&journal, (place + 1) * TASKS as usize / 6).await;
        programs.kill(name);
    }
    lost_and_repeated_nothing(&user, &mut programs, job, &journal).await;
}

/// How far the standby dispatcher has read in the ledger, where there is one.
async fn standby_has_read(user: &User) -> Option<u64> {
    let running = services::running(user.bus()).await.ok()?;
    let dispatchers = running.into_iter().filter(|one| one.name == "allot-dispatcher");
    let standby =
        dispatchers.filter_map(|one| one.standing).find(|standing| standing.role == Role::Standby)?;
    Some(standby.ledger_sequence)
}

/// The first and the last message of the ledger.
async fn ledger_holds(user: &User) -> (u64, u64) {
    let mut ledger = user.bus().jetstream().get_stream(Stream::Ledger.name()).await.unwrap();
    let state = &ledger.info().await.unwrap().state;
    (state.first_sequence, state.last_sequence)
}

async fn run_one(user: &User) {
    let id = user.submit("q", &json!({"command": ["true"], "resources": {"cpus": 1}})).await.unwrap();
    assert_eq!(user.ended(id, PATIENCE).await.summary.state, JobState::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_left_behind_by_the_trimming_begins_anew_and_takes_over() {
    let mut programs = Programs::start().await.unwrap();
    let settings = ["standby.takeover_after=500ms", "snapshots.every_records=10", "snapshots.keep_ledger=0s"];
    let settings = settings.map(str::to_owned);
    for service in SERVICES {
        programs.spawn(service, &format!("allot-{service}"), &settings).unwrap();
    }
    programs.spawn("allocator", "allot-allocator-drf", &[]).unwrap();
    programs.spawn_agent("a1", 8).unwrap();
    let user = User::of(&programs).await.unwrap();
    run_one(&user).await;

    let proxy = Proxy::before(programs.servers().next().unwrap()).await.unwrap();
    let mut arguments = vec!["--nats".to_owned(), proxy.url()];
    arguments.extend(settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
    let program = built("allot-dispatcher").unwrap();
    programs.launch("standby", Launch { program, arguments, environment: Vec::new() }).unwrap();
    let follows = || async {
        let (_, last) = ledger_holds(&user).await;
        standby_has_read(&user).await.filter(|read| *read >= last)
    };
    let read = eventually("the standby follows", PATIENCE, follows).await;

    proxy.cut();
    let trimmed = || async {
        run_one(&user).await;
        let (first, _) = ledger_holds(&user).await;
        (first > read + 1).then_some(())
    };
    eventually("what the standby was going to read next is trimmed", PATIENCE, trimmed).await;
    proxy.heal();
    eventually("the standby follows again", PATIENCE, follows).await;
    let log = programs.log("standby");
    assert!(log.contains("it begins anew from a snapshot"), "{log}");

    programs.kill("dispatcher");
    run_one(&user).await;
    verify_ledger(&programs).await.unwrap();
}
