//! Many jobs and many tasks at a time, as a person has them.

use std::process::Stdio;

use allot_testkit::{PATIENCE, eventually, within};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use crate::{Up, allot, pid, said};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn the_tasks_of_a_run_print_with_their_numbers_and_the_largest_exit_code_is_the_commands() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &["--agent-resources", "cpus=8"]).await;
    let line = "echo task $ALLOT_TASK_INDEX; echo oops >&2; exit $((ALLOT_TASK_INDEX % 3))";
    let said = up.allot(&["run", "--tasks", "11", "--", "sh", "-c", line]).await;
    let mut lines: Vec<&str> = said.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        (said.code, lines.len(), lines[0], lines[10]),
        (2, 11, " 0: task 0", "10: task 10"),
        "{said:?}"
    );
    assert!(
        said.err.contains("job 1 in queue default: 11 tasks\n") && said.err.contains(" 4: oops\n"),
        "{said:?}"
    );
    assert!(said.err.contains("task 1.5 failed (exited_nonzero): exit code 2"), "{said:?}");
    let said = up.allot(&["run", "--quiet", "--tasks", "2", "--", "echo", "x"]).await;
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "x\nx\n", ""));
    let said = up.allot(&["run", "--tasks", "2", "--", "/no/such/program"]).await;
    assert!(said.code == 1 && said.err.contains("launch_failed"), "{said:?}");
    up.stop().await;
}

#[tokio::test]
async fn a_second_ctrl_c_leaves_at_once() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &[]).await;
    let stubborn = "trap '' TERM; echo here; while :; do sleep 1; done";
    let mut running = allot(Some(&up.url), &["run", "--kill-grace", "1h", "--", "sh", "-c", stubborn])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = [0; 5];
    within("the job prints", running.stdout.as_mut().unwrap().read_exact(&mut printed)).await.unwrap();
    kill_process(pid(&running), Signal::INT).unwrap();
    eventually("the job is being cancelled", PATIENCE, || async {
        let job = json(&up.allot(&["job", "show", "1", "-o", "json"]).await.out);
        (job["state"] == "killing").then_some(())
    })
    .await;
    // The first signal was taken in before the job was cancelled because of it.
    kill_process(pid(&running), Signal::INT).unwrap();
    let said = said(within("the command is over", running.wait_with_output()).await.unwrap());
    assert_eq!(said.code, 130, "{said:?}");
    up.stop().await;
}

#[tokio::test]
async fn jobs_are_submitted_waited_for_and_cancelled_by_the_dozen() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &["--agent-resources", "cpus=4"]).await;
    let path = dir.path().join("jobs");
    let line = |code: u32| format!("{{\"command\": \"exit {code}\", \"resources\": {{\"cpus\": 0.1}}}}\n");
    std::fs::write(&path, line(0).repeat(30)).unwrap();
    let path = path.display().to_string();
    let said = up.allot(&["submit", "--lines", &path, "--wait"]).await;
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((said.code, lines.len(), lines[29]), (0, 60, "30"), "{said:?}");
    assert!(
        lines[30..].iter().all(|line| line.starts_with("job ") && line.ends_with(" finished")),
        "{said:?}"
    );
    std::fs::write(&path, line(0) + &line(3)).unwrap();
    let said = up.allot(&["submit", "--lines", &path, "--wait", "-o", "json"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.err, "allot: 1 of 2 jobs did not finish\n");
    assert!(said.out.lines().any(|line| json(line)["state"] == "failed"), "{said:?}");
    let said = up.allot(&["wait", "1", "2", "32"]).await;
    assert_eq!(
        (said.code, said.out.as_str()),
        (1, "job 1 finished\njob 2 finished\njob 32 failed\n"),
        "{said:?}"
    );
    let said = up.allot(&["wait", "999"]).await;
    assert!(said.code == 1 && said.err.contains("there is no job 999"), "{said:?}");

    for name in ["a-1", "a-2", "b-1"] {
        assert_eq!(
            up.allot(&["submit", "-q", "big", "-n", name, "--cpus", "100", "--", "true"]).await.code,
            0
        );
    }
    let waiting = up.allot(&["wait", "33", "--timeout", "50ms"]).await;
    assert!(waiting.code == 1 && waiting.err.contains("not all jobs have ended within 50ms"), "{waiting:?}");
    eventually("the jobs wait", PATIENCE, || async {
        (up.allot(&["jobs", "-q", "big"]).await.out.lines().count() == 4).then_some(())
    })
    .await;
    let asked = up.allot(&["cancel", "--name", "a-*"]).await;
    assert!(asked.code == 2 && asked.err.contains("2 jobs would be cancelled: add --yes"), "{asked:?}");
    let listed = up.allot(&["cancel", "--queue", "big", "--dry-run"]).await;
    assert_eq!((listed.code, listed.out.as_str()), (0, "35\n34\n33\n"));
    let said = up.allot(&["cancel", "--name", "a-*", "--yes"]).await;
    assert_eq!((said.code, said.out.lines().count()), (0, 2), "{said:?}");
    let said = up.allot(&["wait", "33", "34"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, "job 33 killed\njob 34 killed\n"), "{said:?}");
    let said = up.allot(&["cancel", "--queue", "big", "--yes"]).await;
    assert!(said.code == 0 && said.out.starts_with("job 35 "), "{said:?}");
    let said = up.allot(&["cancel", "--queue", "big", "--yes"]).await;
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", "no jobs\n"));
    up.stop().await;
}

#[tokio::test]
async fn operators_wait_for_what_they_asked_for_and_shells_complete_what_there_is() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &["--agents", "2", "--policy", "drf,fifo"]).await;
    let said = up.allot(&["policy", "use", "fifo", "--wait"]).await;
    assert!(said.code == 0 && said.out.ends_with(" decides with policy fifo\n"), "{said:?}");
    assert!(up.allot(&["policy"]).await.out.lines().any(|line| line.starts_with("fifo    active")));
    let said = up.allot(&["policy", "use", "fair", "--wait"]).await;
    assert!(said.code == 1 && said.err.contains("start allot-allocator-fair"), "{said:?}");
    let said = up.allot(&["agent", "drain", "agent-1", "--wait"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "agent agent-1 is drained\n"), "{said:?}");
    let listed = up.allot(&["agents", "--state", "drained"]).await;
    assert!(listed.out.contains("agent-1") && !listed.out.contains("agent-2"), "{listed:?}");

    assert_eq!(
        up.allot(&["submit", "-q", "research.vision", "-n", "train", "--wait", "--", "true"]).await.code,
        0
    );
    assert_eq!(up.allot(&["queue", "set", "research.vision", "--weight", "2"]).await.code, 0);
    let complete = async |words: &[&str]| {
        let mut command = allot(Some(&up.url), &[&["--", "allot"], words].concat());
        let output = command.env("ALLOT_COMPLETE", "fish").output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete(&["cancel", ""]).await.lines().next(), Some("1\ttrain: finished (1 finished)"));
    assert_eq!(complete(&["agent", "show", "agent-"]).await, "agent-1\tdrained\nagent-2\tready\n");
    assert!(complete(&["policy", "use", "f"]).await.starts_with("fifo\t"));
    assert!(complete(&["jobs", "--queue", "res"]).await.starts_with("research.vision\t"));
    assert!(complete(&["canc"]).await.starts_with("cancel\tCancel jobs"));
    up.stop().await;
}
