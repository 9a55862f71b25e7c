//! What an agent does while its disk takes nothing more.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "for tests")]

mod program;
mod stage;

use allot_bus::Subject;
use allot_model::{Beat, Span};
use allot_proto::Wire;
use allot_testkit::within;
use futures::StreamExt;
use program::Program;
use stage::*;

/// Enough that what is noted of them does not fit into the room that the journal keeps for itself.
const UNKNOWN: u32 = 12_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_disk_is_full_lives_on_and_goes_on_once_there_is_room() {
    let mut stage = Stage::without_agent(|_| {}).await;
    let Some(program) = Program::start_on_a_small_disk(&stage, "4m") else {
        eprintln!("this system lets only root mount a filesystem: not tested");
        return;
    };
    stage.admit().await;
    stage.order(vec![launch("1.0#1", shell("echo on; until test -e go; do sleep 0.05; done"))]).await;
    stage.start_of("1.0#1").await;
    let data_dir = program.data_dir(&stage).await;
    let fill = data_dir.join("fill");
    // Ends with the error that the disk is full.
    let full = std::fs::write(&fill, vec![1_u8; 8 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    let beats = Subject::AgentBeat(stage.config.id.clone().unwrap()).to_string();
    let mut beats = stage.bus.client().subscribe(beats).await.unwrap();
    for index in 0..UNKNOWN {
        // Every second task, so that no two make a run.
        stage.order(vec![kill(&format!("9.{}#1", index * 2), Span::ZERO)]).await;
    }
    let journal = data_dir.join("journal");
    let noted = || std::fs::read_to_string(&journal).unwrap();
    let last = format!("9.{}#1", (UNKNOWN - 1) * 2);
    let mut before = 0;
    // It says that it lives, and notes nothing any more.
    let trouble = loop {
        let message = within("the agent says that it lives", beats.next()).await.unwrap();
        let size = noted().len();
        if size == before && size > 1 << 20 {
            break Beat::decode(&message.payload).unwrap().trouble.unwrap_or_default();
        }
        before = size;
    };
    assert!(
        trouble.contains("journal") && trouble.contains("No space left"),
        "operators hear why: {trouble}"
    );
    assert!(!noted().contains(&last), "the disk took all of it");
    std::fs::remove_file(&fill).unwrap();
    std::fs::write(data_dir.join("tasks/1.0.1/go"), "").unwrap();
    stage.end_of("1.0#1").await;
    stage.end_of(&last).await;
    assert_eq!(stage.ends.len(), 1 + UNKNOWN as usize, "each was answered once");
}
