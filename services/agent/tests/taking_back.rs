//! What becomes of tasks when the process of their agent dies, or makes way for another.

#![allow(clippy::unwrap_used, reason = "for tests")]

mod program;
mod stage;

use std::process::{Command, Stdio};

use allot_model::view::LogStream;
use allot_model::{JobSpec, Reason, Span, TaskState};
use allot_testkit::{PATIENCE, eventually};
use program::Program;
use rustix::process::{Signal, kill_process};
use stage::*;

/// Writes a line, waits until it may go on, writes another and ends with code 3.
const GATED: &str = "echo begun; until test -e go; do sleep 0.01; done; echo ended; exit 3";

/// An agent as a program, with a task under way.
async fn with_task(spec: JobSpec) -> (Stage, Program) {
    let mut stage = Stage::without_agent(|_| {}).await;
    let program = Program::start(&stage);
    stage.admit().await;
    stage.order(vec![launch("1.0#1", spec)]).await;
    stage.start_of("1.0#1").await;
    let begun = || async { (stage.stdout("1.0#1") == "begun\n").then_some(()) };
    eventually("the task has begun", PATIENCE, begun).await;
    (stage, program)
}

fn open_gate(stage: &Stage) {
    std::fs::write(stage.task_dir("1.0#1").join("go"), "").unwrap();
}

/// The task ended as it wanted to, and ran once.
async fn ends_of_its_own(stage: &mut Stage) {
    let end = stage.end_of("1.0#1").await;
    assert_eq!((end.state, end.reason, end.ran), (TaskState::Failed, Reason::ExitedNonzero, true));
    assert_eq!(end.outcome.exit_code, Some(3));
    assert_eq!(stage.stdout("1.0#1"), "begun\nended\n");
    eventually("the output is stored", PATIENCE, || stage.stored("1.0#1", LogStream::Stdout)).await;
    stage.order(vec![launch("1.0-1#1", shell("echo again"))]).await;
    stage.end_of("1.1#1").await;
    assert_eq!(stage.ends.len(), 2, "it was not started again: {:?}", stage.ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_does_not_notice_that_its_agent_was_killed() {
    let (mut stage, program) = with_task(shell(GATED)).await;
    let life = stage.incarnation;
    kill_process(program.agent().await, Signal::KILL).unwrap();
    stage.admit().await;
    assert_eq!(stage.incarnation, life, "it remembers what it started");
    open_gate(&stage);
    ends_of_its_own(&mut stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_while_its_agent_is_away_is_reported_as_it_ended() {
    let (mut stage, program) = with_task(shell(GATED)).await;
    let agent = program.agent().await;
    // So that it cannot start another one yet.
    program.signal(Signal::STOP);
    kill_process(agent, Signal::KILL).unwrap();
    open_gate(&stage);
    eventually("it ends", PATIENCE, || async { (stage.stdout("1.0#1") == "begun\nended\n").then_some(()) })
        .await;
    program.signal(Signal::CONT);
    stage.admit().await;
    ends_of_its_own(&mut stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_started_anew_while_its_tasks_go_on() {
    let (mut stage, program) = with_task(shell(GATED)).await;
    for _ in 0..2 {
        program.signal(Signal::HUP);
        stage.admit().await;
    }
    open_gate(&stage);
    ends_of_its_own(&mut stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_guardian_was_killed_too_goes_on_and_how_it_ended_is_not_known() {
    let (mut stage, program) = with_task(shell(GATED)).await;
    program.kill();
    let _program = Program::start(&stage);
    stage.admit().await;
    stage.order(vec![launch("1.0-1#1", shell("echo other"))]).await;
    stage.end_of("1.1#1").await;
    assert_eq!(stage.stdout("1.0#1"), "begun\n", "it goes on");
    open_gate(&stage);
    let end = stage.end_of("1.0#1").await;
    assert_eq!((end.state, end.reason, end.ran), (TaskState::Gone, Reason::AgentRestarted, true));
    assert!(end.message().contains("nobody is left who knows how"), "{}", end.message());
    assert_eq!(stage.stdout("1.0#1"), "begun\nended\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_can_be_killed_and_keeps_its_time_limit() {
    let stubborn = "trap '' TERM; echo begun; while :; do sleep 0.05; done";
    let limited = JobSpec { time_limit: Some(Span::from_secs(2)), ..shell(stubborn) };
    for (spec, guardian_too, by_order) in
        [(shell(stubborn), false, true), (shell(stubborn), true, true), (limited, false, false)]
    {
        let (mut stage, program) = with_task(spec).await;
        let _program = if guardian_too {
            program.kill();
            Program::start(&stage)
        } else {
            kill_process(program.agent().await, Signal::KILL).unwrap();
            program
        };
        stage.admit().await;
        if by_order {
            stage.order(vec![kill("1.0#1", Span::from_millis(100))]).await;
        }
        let end = stage.end_of("1.0#1").await;
        let wanted = if by_order {
            (TaskState::Killed, Reason::CancelledByUser)
        } else {
            (TaskState::Failed, Reason::TimeLimit)
        };
        assert_eq!((end.state, end.reason), wanted);
        assert_eq!(end.outcome.signal, (!guardian_too).then_some(9));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_of_is_killed_and_so_is_what_a_task_leaves_behind() {
    // One has left its group, the other has lost its environment too.
    let hidden =
        format!("setsid sleep 1000 & echo $! >pids; setsid env -i sleep 1000 & echo $! >>pids; {GATED}");
    let (mut stage, program) = with_task(shell(&hidden)).await;
    let unknown = Command::new("sleep")
        .arg("1000")
        .env("ALLOT_INCARNATION", stage.incarnation.to_string())
        .env("ALLOT_JOB_ID", "9")
        .env("ALLOT_TASK_INDEX", "0")
        .env("ALLOT_ATTEMPT", "1")
        .stdin(Stdio::null())
        .spawn();
    let mut unknown = unknown.unwrap();
    let left = std::fs::read_to_string(stage.task_dir("1.0#1").join("pids")).unwrap();
    let left: Vec<i32> = left.lines().map(|line| line.parse().unwrap()).collect();
    kill_process(program.agent().await, Signal::KILL).unwrap();
    stage.admit().await;
    let killed = || std::future::ready(unknown.try_wait().unwrap());
    let _ = eventually("what is not in the journal is killed", PATIENCE, killed).await;
    assert!(left.iter().all(|pid| is_alive(*pid)), "what is of a task goes on with it");
    open_gate(&stage);
    ends_of_its_own(&mut stage).await;
    let dead = || async { (!left.iter().any(|pid| is_alive(*pid))).then_some(()) };
    eventually("what the task left is killed", PATIENCE, dead).await;
}
