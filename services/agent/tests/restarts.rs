//! What becomes of tasks when their agent ends, in one way or another.

#![allow(clippy::unwrap_used, reason = "for tests")]

mod program;
mod stage;

use allot_model::view::LogStream;
use allot_model::{AgentOrder, Reason, TaskState};
use allot_testkit::{PATIENCE, eventually};
use program::Program;
use stage::*;

fn pids_in(text: &str) -> Vec<i32> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_not_acknowledged_is_reported_again_as_it_was() {
    let mut stage = Stage::without_agent(|_| {}).await;
    let program = Program::start(&stage);
    stage.admit().await;
    stage.order(vec![launch("1.0#1", shell("echo said; exit 4"))]).await;
    eventually("the output is stored", PATIENCE, || stage.stored("1.0#1", LogStream::Stdout)).await;
    let journal = stage.config.data_dir.join("journal");
    let batched = || std::fs::read_to_string(&journal).unwrap_or_default().contains("exited_nonzero");
    eventually("the end is noted", PATIENCE, || async { batched().then_some(()) }).await;
    program.kill();
    let _program = Program::start(&stage);
    stage.admit().await;
    let end = stage.end_of("1.0#1").await;
    assert_eq!(
        (end.state, end.reason, end.outcome.exit_code),
        (TaskState::Failed, Reason::ExitedNonzero, Some(4))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_stopped_takes_its_tasks_along_and_says_so() {
    let mut stage = Stage::open().await;
    stage.order(vec![launch("1.0#1", shell("echo $$; trap '' TERM; while :; do sleep 1; done"))]).await;
    stage.start_of("1.0#1").await;
    let first = || async { pids_in(&stage.stdout("1.0#1")).first().copied() };
    let pid = eventually("it runs", PATIENCE, first).await;
    stage.stop().await;
    assert!(!is_alive(pid));
    let end = stage.end_of("1.0#1").await;
    assert_eq!((end.state, end.reason), (TaskState::Gone, Reason::AgentRestarted));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_stops_and_starts_again_as_itself() {
    let mut stage = Stage::open().await;
    stage.run(shell("true")).await;
    let life = stage.incarnation;
    stage.stop().await;
    stage.start().await;
    assert_eq!(stage.incarnation, life);
    stage
        .order(vec![AgentOrder::Reconcile {
            wanted: vec!["1.0#1".parse().unwrap(), "5.0#1".parse().unwrap()],
        }])
        .await;
    let end = stage.end_of("5.0#1").await;
    assert_eq!((end.state, end.reason, end.ran), (TaskState::Gone, Reason::UnknownToAgent, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_do_not_notice_that_nats_is_away_and_are_reported_when_it_is_back() {
    let mut stage = Stage::open().await;
    stage
        .order(vec![launch("1.0#1", shell("echo on; while [ ! -e go ]; do sleep 0.01; done; echo off"))])
        .await;
    stage.start_of("1.0#1").await;
    stage.server.kill();
    std::fs::write(stage.task_dir("1.0#1").join("go"), "").unwrap();
    eventually("it ends", PATIENCE, || async { (stage.stdout("1.0#1") == "on\noff\n").then_some(()) }).await;
    stage.server.start_again().await.unwrap();
    assert_eq!(stage.end_of("1.0#1").await.state, TaskState::Finished);
    eventually("the output is stored", PATIENCE, || stage.stored("1.0#1", LogStream::Stdout)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_can_ask_for_another_hello() {
    use allot_bus::Subject;
    use allot_model::Welcome;
    use allot_proto::Wire;
    use futures::StreamExt;
    let mut stage = Stage::open().await;
    let beats = Subject::AgentBeat(stage.config.id.clone().unwrap()).to_string();
    let mut beats = stage.bus.client().subscribe(beats).await.unwrap();
    let beat = allot_testkit::within("a beat", beats.next()).await.unwrap();
    stage.bus.client().publish(beat.reply.unwrap(), Welcome::HelloNeeded.encode().into()).await.unwrap();
    stage.admit().await;
    assert_eq!(stage.run(shell("true")).await.state, TaskState::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_in_one_directory_are_one_too_many() {
    let stage = Stage::open().await;
    let bus = stage.server.bus().await.unwrap();
    let error = allot_agent::run(bus, stage.config.clone(), allot_shell::Shutdown::new()).await.unwrap_err();
    assert!(error.to_string().contains("another agent uses"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_is_set_aside_for_a_new_life() {
    let mut stage = Stage::open().await;
    stage.run(shell("true")).await;
    let life = stage.incarnation;
    stage.stop().await;
    std::fs::write(stage.config.data_dir.join("journal"), "not a journal\n").unwrap();
    stage.start().await;
    assert_ne!(stage.incarnation, life);
    assert!(stage.config.data_dir.join("journal.old").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_as_many_directories_as_wanted_are_kept() {
    let mut stage = Stage::with(|config| config.keep_tasks = 2).await;
    for index in 0..5 {
        stage.order(vec![launch(&format!("1.{index}#1"), shell("echo x"))]).await;
        stage.end_of(&format!("1.{index}#1")).await;
    }
    let there =
        || (0..5).filter(|index| stage.task_dir(&format!("1.{index}#1")).exists()).collect::<Vec<_>>();
    eventually("the oldest are removed", PATIENCE, || async { (there() == [3, 4]).then_some(()) }).await;
}
