//! Killing any one service with SIGKILL at any moment and starting it again loses no job and runs no attempt twice.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use allot_e2e::User;
use allot_model::{JobId, JobState, TaskState};
use allot_testkit::{Programs, eventually};
use serde_json::json;

const TASKS: u32 = 1_000;
/// How long the whole may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the tasks wrote down themselves: `job task attempt`, one line at the start and one at the end of each.
struct Journal {
    started: BTreeMap<(u64, u32, u32), u32>,
    ended: BTreeMap<(u64, u32, u32), u32>,
}

impl Journal {
    fn read(path: &Path) -> Self {
        let mut journal = Self { started: BTreeMap::new(), ended: BTreeMap::new() };
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, job, task, attempt] = words[..] else { continue };
            let id = (job.parse().unwrap(), task.parse().unwrap(), attempt.parse().unwrap());
            let lines = if what == "start" { &mut journal.started } else { &mut journal.ended };
            *lines.entry(id).or_default() += 1;
        }
        journal
    }

    fn ended_tasks(&self) -> usize {
        self.ended.len()
    }
}

async fn submit(user: &User, journal: &Path, retries: u32) -> JobId {
    let line = r#"echo "start $ALLOT_JOB_ID $ALLOT_TASK_INDEX $ALLOT_ATTEMPT" >> "$JOURNAL"; sleep 0.02
        echo "end $ALLOT_JOB_ID $ALLOT_TASK_INDEX $ALLOT_ATTEMPT" >> "$JOURNAL""#;
    let job = json!({
        "command": line,
        "env": { "JOURNAL": journal.to_str().unwrap() },
        "resources": { "cpus": 1 },
        "tasks": TASKS,
        "retries": retries,
        "backoff": "100ms",
    });
    user.submit("chaos", &job).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_each_service_in_turn_loses_no_task_and_runs_none_twice() {
    let mut programs = Programs::cluster("drf", 2, 8).await.unwrap();
    let journal = programs.dir().join("journal");
    let user = User::of(&programs).await.unwrap();
    let careful = submit(&user, &journal, 0).await;
    let retried = submit(&user, &journal, 5).await;

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
    let job = submit(&user, &journal, 0).await;
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
}
