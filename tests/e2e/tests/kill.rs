//! Killing any one service with SIGKILL at any moment and starting it again loses no job and runs no attempt twice.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use allot_e2e::{Journal, User, verify_ledger};
use allot_model::{JobState, TaskState};
use allot_testkit::{Programs, eventually};
use rustix::process::Signal;
use serde_json::json;

const TASKS: u32 = 1_000;
/// How long the whole may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn killing_each_service_in_turn_loses_no_task_and_runs_none_twice() {
    let mut programs = Programs::cluster("drf", 2, 8).await.unwrap();
    let journal = programs.dir().join("journal");
    let user = User::of(&programs).await.unwrap();
    let careful = Journal::submit(&user, &journal, TASKS, 0).await.unwrap();
    let retried = Journal::submit(&user, &journal, TASKS, 5).await.unwrap();

    let parts = ["registry", "offers", "dispatcher", "allocator", "a1"];
    for (number, name) in parts.into_iter().enumerate() {
        let enough = (number + 1) * 2 * TASKS as usize / (parts.len() + 2);
        eventually(&format!("{enough} tasks have run, before {name} is killed"), PATIENCE, || async {
            (Journal::read(&journal).ended_tasks() >= enough).then_some(())
        })
        .await;
        programs.restart(name).unwrap();
    }
    let careful_view = user.ended(careful, PATIENCE).await;
    let retried_view = user.ended(retried, PATIENCE).await;

    let journal = Journal::read(&journal);
    let twice: Vec<_> = journal.started.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "attempts that ran twice: {twice:?}");

    verify_ledger(&programs).await.unwrap();
    // With tries left every task finishes, in the end.
    assert_eq!(retried_view.summary.state, JobState::Finished, "{:?}", retried_view.summary);
    assert_eq!(retried_view.summary.counts.finished, u64::from(TASKS));
    // Without, the only tasks that did not finish are those that were lost with their agent; none ran again.
    let counts = careful_view.summary.counts;
    assert_eq!(counts.finished + counts.gone, u64::from(TASKS), "{counts:?}");
    assert!(
        journal.started.keys().filter(|(job, ..)| *job == careful.0).all(|(_, _, attempt)| *attempt == 1)
    );

    for (job, view) in [(careful, &careful_view), (retried, &retried_view)] {
        for run in view.runs.iter().filter(|run| run.attempt.state == TaskState::Finished) {
            for task in run.tasks.indexes() {
                let last = (job.0, task, run.attempt.attempt);
                assert_eq!(journal.ended.get(&last), Some(&1), "{last:?} is said to have finished");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarting_nats_server_loses_no_task_and_runs_none_twice() {
    let mut programs = Programs::cluster("fifo", 2, 8).await.unwrap();
    let journal = programs.dir().join("journal");
    let user = User::of(&programs).await.unwrap();
    let job = Journal::submit(&user, &journal, TASKS, 0).await.unwrap();
    for enough in [200, 600] {
        eventually(&format!("{enough} tasks have run"), PATIENCE, || async {
            (Journal::read(&journal).ended_tasks() >= enough).then_some(())
        })
        .await;
        programs.nats.restart().await.unwrap();
    }
    let view = user.ended(job, PATIENCE).await;
    assert_eq!(view.summary.state, JobState::Finished, "{:?}", view.summary);
    let journal = Journal::read(&journal);
    assert_eq!(journal.started.len(), TASKS as usize);
    assert!(journal.started.values().all(|count| *count == 1));
    verify_ledger(&programs).await.unwrap();
}

/// Shorter than what keeps the registry from hearing anybody.
const AGENT_TIMEOUT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_may_move_stays_where_it_is_when_only_the_registry_could_not_hear_its_agent() {
    let mut programs = Programs::start().await.unwrap();
    let silence = ["agent_timeout=2s", "beat_every=400ms"].map(str::to_owned);
    programs.spawn("registry", "allot-registry", &silence).unwrap();
    for (name, program) in
        [("offers", "allot-offers"), ("dispatcher", "allot-dispatcher"), ("allocator", "allot-allocator-drf")]
    {
        programs.spawn(name, program, &[]).unwrap();
    }
    (1..=2).for_each(|number| programs.spawn_agent(&format!("a{number}"), 4).unwrap());
    let user = User::of(&programs).await.unwrap();
    let (journal, gate) = (programs.dir().join("journal"), programs.dir().join("gate"));
    let line = r#"me="$ALLOT_JOB_ID $ALLOT_TASK_INDEX $ALLOT_ATTEMPT"; echo "start $me" >> "$JOURNAL"
        until test -e "$GATE"; do sleep 0.05; done; echo "end $me" >> "$JOURNAL""#;
    let env = json!({"JOURNAL": journal, "GATE": gate});
    let moves = json!({"command": line, "env": env, "tasks": 4, "retries": 3, "on_unreachable": "retry"});
    let job = user.submit("chaos", &moves).await.unwrap();
    let started = || async { (Journal::read(&journal).started.len() == 4).then_some(()) };
    eventually("its tasks run", PATIENCE, started).await;

    programs.nats.kill();
    tokio::time::sleep(AGENT_TIMEOUT * 2).await;
    programs.nats.start_again().await.unwrap();
    settles(&user).await;
    programs.signal("registry", Signal::STOP);
    tokio::time::sleep(AGENT_TIMEOUT * 2).await;
    programs.signal("registry", Signal::CONT);
    settles(&user).await;

    std::fs::write(&gate, "").unwrap();
    let view = user.ended(job, PATIENCE).await;
    assert_eq!(view.summary.state, JobState::Finished, "{:?}", view.summary);
    let journal = Journal::read(&journal);
    assert!(journal.started.keys().all(|(_, _, attempt)| *attempt == 1), "{:?}", journal.started);
    assert_eq!(journal.started, journal.ended);
}

/// Waits until the registry has judged its agents, which goes by the time, and jobs run as before.
async fn settles(user: &User) {
    tokio::time::sleep(AGENT_TIMEOUT).await;
    let job = eventually("jobs are taken", PATIENCE, || async {
        user.submit("chaos", &json!({"command": ["true"]})).await.ok()
    })
    .await;
    assert_eq!(user.ended(job, PATIENCE).await.summary.state, JobState::Finished);
}
