//! A cluster of three nats-servers: the loss of one is not noticed, the loss of two stops allot until one is back.
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::time::Duration;

use allot_e2e::{Journal, User, verify_ledger};
use allot_model::JobState;
use allot_testkit::{Programs, built, eventually};

const TASKS: u32 = 600;
/// How long the whole may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The services, an allocator and an agent over three servers.
async fn cluster() -> (Programs, User) {
    let mut programs = Programs::over_three_servers().await.unwrap();
    for service in ["registry", "offers", "dispatcher"] {
        programs.spawn(service, &format!("allot-{service}"), &[]).unwrap();
    }
    programs.spawn("allocator", "allot-allocator-drf", &[]).unwrap();
    programs.spawn_agent("a1", 8).unwrap();
    let user = User::of(&programs).await.unwrap();
    (programs, user)
}

async fn ran(programs: &Programs, enough: usize) {
    let journal = programs.dir().join("journal");
    eventually(&format!("{enough} tasks have run"), PATIENCE, || async {
        (Journal::read(&journal).ended_tasks() >= enough).then_some(())
    })
    .await;
}

/// Submits with the command line; its exit code and what it says.
async fn submit(programs: &Programs) -> (i32, String) {
    let url = programs.config().url;
    let said = tokio::process::Command::new(built("allot").unwrap())
        .args(["submit", "--", "true"])
        .env("ALLOT_NATS", url)
        .output()
        .await
        .unwrap();
    (said.status.code().unwrap_or(-1), String::from_utf8(said.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_any_one_server_is_not_noticed() {
    let (mut programs, user) = cluster().await;
    let journal = programs.dir().join("journal");
    let job = Journal::submit(&user, &journal, TASKS, 0).await.unwrap();
    for lost in 0..3 {
        ran(&programs, (lost + 1) * TASKS as usize / 5).await;
        let server = programs.servers_mut().nth(lost).unwrap();
        server.kill();
        ran(&programs, (lost + 1) * TASKS as usize / 5 + 60).await;
        let (code, said) = submit(&programs).await;
        assert_eq!(code, 0, "with server {lost} lost: {said}");
        let server = programs.servers_mut().nth(lost).unwrap();
        server.start_again().await.unwrap();
        eventually("every server has every message again", PATIENCE, || async {
            let stream = user.bus().jetstream().get_stream("ALLOT_LEDGER").await.ok()?;
            let replicas = &stream.cached_info().cluster.as_ref()?.replicas;
            replicas.iter().all(|peer| peer.current && !peer.offline).then_some(())
        })
        .await;
    }
    let view = user.ended(job, PATIENCE).await;
    assert_eq!(view.summary.state, JobState::Finished, "{:?}\n{}", view.summary, programs.logs());
    let journal = Journal::read(&journal);
    assert_eq!(journal.started.len(), TASKS as usize);
    assert!(journal.started.values().chain(journal.ended.values()).all(|count| *count == 1));
    assert_eq!(programs.ended(), Vec::<String>::new());
    verify_ledger(&programs).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_accepted_and_all_goes_on_once_there_is_one() {
    let (mut programs, user) = cluster().await;
    let journal = programs.dir().join("journal");
    let job = Journal::submit(&user, &journal, TASKS, 0).await.unwrap();
    ran(&programs, 100).await;
    programs.peers.iter_mut().for_each(allot_testkit::NatsServer::kill);
    let (code, said) = submit(&programs).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("majority") || said.contains("did not acknowledge"), "{said}");
    programs.peers[0].start_again().await.unwrap();
    eventually("jobs are accepted again", PATIENCE, || async {
        (submit(&programs).await.0 == 0).then_some(())
    })
    .await;
    let view = user.ended(job, PATIENCE).await;
    assert_eq!(view.summary.state, JobState::Finished, "{:?}\n{}", view.summary, programs.logs());
    let journal = Journal::read(&journal);
    assert_eq!(journal.started.len(), TASKS as usize);
    assert!(journal.started.values().chain(journal.ended.values()).all(|count| *count == 1));
    assert_eq!(programs.ended(), Vec::<String>::new());
    verify_ledger(&programs).await.unwrap();
}
