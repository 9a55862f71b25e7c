//! `allot up` and what is done with it, as a person does it: one binary, from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod docs;
mod many;
mod why;

use std::path::Path;
use std::process::{Output, Stdio};

use allot_testkit::{NatsServer, PATIENCE, eventually, within};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// A running `allot up`.
struct Up {
    child: Child,
    /// What it says after the ready line.
    _said: BufReader<ChildStdout>,
    url: String,
}

impl Up {
    /// Starts one, on any port unless it joins a server that runs, and waits for its ready line.
    async fn start(data_dir: &Path, words: &[&str]) -> Self {
        let port: &[&str] = if words.contains(&"--nats") { &[] } else { &["--port", "0"] };
        let mut child = allot(None, &["up", "-o", "json"])
            .args(port)
            .args(words)
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        within("allot up is ready", said.read_line(&mut line)).await.unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, _said: said, url: ready["url"].as_str().unwrap().to_owned() }
    }

    async fn allot(&self, words: &[&str]) -> Said {
        said(allot(Some(&self.url), words).output().await.unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Stops it as Ctrl-C does, and returns once it has stopped.
    async fn stop(mut self) {
        self.signal(Signal::INT);
        let status = within("allot up stops", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap()
}

/// The nats-server of a data directory.
fn nats_pid(data_dir: &Path) -> Pid {
    let text = std::fs::read_to_string(data_dir.join("nats/nats-server.pid")).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn allot(url: Option<&str>, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_allot"));
    command.args(words).env_remove("ALLOT_NATS").stdin(Stdio::null());
    if let Some(url) = url {
        command.env("ALLOT_NATS", url);
    }
    command
}

/// What a command said, and its exit code.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn said(Output { status, stdout, stderr }: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

#[tokio::test]
async fn a_command_runs_on_the_cluster_as_if_it_ran_here() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &[]).await;
    let said = up.allot(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).await;
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (7, "out\n", "allot: job 1 in queue default\nerr\n")
    );
    let said = up.allot(&["run", "--quiet", "--", "seq", "1", "100000"]).await;
    assert_eq!((said.code, said.out.lines().count(), said.err.as_str()), (0, 100_000, ""));
    let said = up.allot(&["run", "--", "sh", "-c", "kill -9 $$"]).await;
    assert_eq!(said.code, 137, "{said:?}");
    let said = up.allot(&["run", "--", "/no/such/program"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("launch_failed") && said.err.contains("/no/such/program"), "{said:?}");
    let flaky = "test $ALLOT_ATTEMPT = 2 || { echo no; exit 1; }; echo yes";
    let said = up.allot(&["run", "--retries", "1", "--backoff", "10ms", "--", "sh", "-c", flaky]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "no\nyes\n"), "{said:?}");
    let events = up.allot(&["events", "--job", "5"]).await.out;
    let told = ["job 5 admitted", "5.0#1", "exit code 1, ", "next try", "5.0#2", "job 5 finished"];
    assert!(told.iter().all(|part| events.contains(part)) && !events.contains("job 4"), "{events}");
    let said = up.allot(&["doctor"]).await;
    assert_eq!((said.code, said.out.lines().last()), (0, Some("all is well")), "{said:?}");
    up.stop().await;
}

#[tokio::test]
async fn ctrl_c_cancels_a_job_that_runs_here() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &[]).await;
    let mut running = allot(Some(&up.url), &["run", "--", "sh", "-c", "echo here; exec sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = [0; 5];
    within("the job prints", running.stdout.as_mut().unwrap().read_exact(&mut printed)).await.unwrap();
    kill_process(pid(&running), Signal::INT).unwrap();
    let said = said(within("the job is over", running.wait_with_output()).await.unwrap());
    assert_eq!(said.code, 143, "{said:?}");
    assert!(said.err.contains("cancelling job 1") && said.err.contains("cancelled_by_user"), "{said:?}");
    up.stop().await;
}

#[tokio::test]
async fn what_was_submitted_is_there_after_a_restart_and_nothing_runs_on_without_the_cluster() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &[]).await;
    assert_eq!(up.allot(&["submit", "--wait", "--", "echo", "kept"]).await.code, 0);
    let waiting = up.allot(&["submit", "--cpus", "9999", "--", "true"]).await;
    assert_eq!(waiting.out, "2\n");
    let nats = nats_pid(dir.path());
    up.stop().await;
    assert!(test_kill_process(nats).is_err(), "nats-server is gone");

    let up = Up::start(dir.path(), &[]).await;
    let jobs = up.allot(&["jobs", "-o", "json"]).await;
    let jobs: Value = serde_json::from_str(&jobs.out).unwrap();
    let states: Vec<&str> =
        jobs["jobs"].as_array().unwrap().iter().map(|job| job["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["queued", "finished"]);
    assert_eq!(up.allot(&["logs", "1"]).await.out, "kept\n");
    assert_eq!(up.allot(&["run", "--", "true"]).await.code, 0);
    up.stop().await;
}

#[tokio::test]
async fn a_cluster_that_was_killed_starts_again_over_the_server_that_it_left_behind() {
    let dir = TempDir::new().unwrap();
    let mut up = Up::start(dir.path(), &[]).await;
    assert_eq!(up.allot(&["submit", "--wait", "--", "true"]).await.code, 0);
    let left = nats_pid(dir.path());
    up.signal(Signal::KILL);
    up.child.wait().await.unwrap();
    assert!(test_kill_process(left).is_ok(), "nothing stopped it");

    let up = Up::start(dir.path(), &[]).await;
    eventually("the old nats-server is gone", PATIENCE, || async { test_kill_process(left).err() }).await;
    assert_eq!(up.allot(&["job", "show", "1"]).await.code, 0);
    assert_eq!(up.allot(&["run", "--", "true"]).await.code, 0);
    up.stop().await;
}

#[tokio::test]
async fn a_data_directory_or_a_port_in_use_is_said_to_be() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &[]).await;
    let path = dir.path().display().to_string();
    let said = up_fails(&["up", "--port", "0", "--data-dir", &path]).await;
    assert!(said.err.contains("in use by another `allot up`") && said.err.contains("--data-dir"), "{said:?}");
    let other = TempDir::new().unwrap();
    let port = up.url.rsplit(':').next().unwrap();
    let said = up_fails(&["up", "--port", port, "--data-dir", &other.path().display().to_string()]).await;
    assert!(said.err.contains(&format!("port {port} is in use")) && said.err.contains("--port"), "{said:?}");
    up.stop().await;
}

#[tokio::test]
async fn a_port_beside_the_address_of_a_server_that_runs_is_refused() {
    let other = "nats://127.0.0.1:1";
    let said = said(allot(Some(other), &["up", "--port", "14622"]).output().await.unwrap());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("--port 14622") && said.err.contains(other), "{said:?}");
}

#[tokio::test]
async fn without_a_nats_server_it_is_said_what_to_do() {
    let dir = TempDir::new().unwrap();
    let mut command = allot(None, &["up", "--data-dir", &dir.path().display().to_string()]);
    let said = said(command.env("ALLOT_NATS_SERVER", "/no/such/server").output().await.unwrap());
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("/no/such/server") && said.err.contains("cargo xtask tools"), "{said:?}");
}

async fn up_fails(words: &[&str]) -> Said {
    let said = said(within("allot up gives up", allot(None, words).output()).await.unwrap());
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    said
}

#[tokio::test]
async fn a_server_that_runs_already_is_used_and_left_alone() {
    let server = NatsServer::start().await.unwrap();
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &["--nats", &server.url()]).await;
    assert_eq!(up.url, server.url());
    assert_eq!(up.allot(&["run", "--", "true"]).await.code, 0);
    up.stop().await;
    assert!(server.bus().await.is_ok());
}

#[tokio::test]
async fn a_second_cluster_on_the_same_server_stands_by_and_goes_on_when_the_first_one_stops() {
    let server = NatsServer::start().await.unwrap();
    let (first_dir, second_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let first = Up::start(first_dir.path(), &["--nats", &server.url()]).await;
    assert_eq!(first.allot(&["run", "--", "true"]).await.code, 0);
    let second = Up::start(second_dir.path(), &["--nats", &server.url(), "--agents", "0"]).await;
    assert_eq!(second.allot(&["run", "--", "true"]).await.code, 0);
    first.stop().await;
    let jobs = second.allot(&["jobs", "-o", "json"]).await;
    assert_eq!(jobs.code, 0, "{jobs:?}");
    let jobs: Value = serde_json::from_str(&jobs.out).unwrap();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2, "{jobs}");
    second.stop().await;
}

#[tokio::test]
async fn several_agents_and_policies_make_one_cluster() {
    let dir = TempDir::new().unwrap();
    let words = ["--agents", "3", "--agent-resources", "cpus=4,mem=1GiB", "--policy", "fair,fifo"];
    let up = Up::start(dir.path(), &words).await;
    let agents: Value = serde_json::from_str(&up.allot(&["agents", "-o", "json"]).await.out).unwrap();
    let cpus: Vec<&Value> = agents.as_array().unwrap().iter().map(|agent| &agent["total"]["cpus"]).collect();
    assert_eq!(cpus, [&Value::from(4); 3]);
    let active = |said: Said| {
        let view: Value = serde_json::from_str(&said.out).unwrap();
        let allocators = view["allocators"].as_array().unwrap().clone();
        allocators
            .iter()
            .find(|one| one["active"] == true)
            .map(|one| one["policy"].as_str().unwrap().to_owned())
    };
    assert_eq!(active(up.allot(&["policy", "-o", "json"]).await).as_deref(), Some("fair"));
    assert_eq!(up.allot(&["policy", "use", "fifo"]).await.code, 0);
    eventually("fifo decides", PATIENCE, || async {
        (active(up.allot(&["policy", "-o", "json"]).await)? == "fifo").then_some(())
    })
    .await;
    assert_eq!(up.allot(&["submit", "--wait", "--tasks", "12", "--", "true"]).await.code, 0);
    up.stop().await;
}

#[tokio::test]
async fn a_workload_log_is_replayed_with_every_job_accounted_for() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(&dir.path().join("data"), &["--agent-resources", "cpus=8"]).await;
    let log = dir.path().join("log.swf");
    let row = |job: u32, submit: u32, run: u32, procs: u32, user: u32| {
        format!("{job} {submit} 0 {run} {procs} -1 -1 {procs} 9999 -1 1 {user} 1 -1 1 -1 -1 -1\n")
    };
    let jobs: String = (0..20).map(|job| row(job, job * 100, 200, 4, job % 3)).collect();
    std::fs::write(&log, format!("; MaxProcs: 64\n{jobs}{}", row(20, 2_000, 10, 64, 0))).unwrap();
    let said = up.allot(&["replay", &log.display().to_string(), "--speed", "2000", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("1 more are left out"), "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["submitted"], &report["finished"]), (&20.into(), &20.into()));
    assert!(report["metrics"]["utilisation"].as_f64().unwrap() > 0.1, "{report}");
    let queues: Value =
        serde_json::from_str(&up.allot(&["jobs", "-o", "json", "-q", "replay.user1"]).await.out).unwrap();
    assert_eq!(queues["jobs"].as_array().unwrap().len(), 7);
    up.stop().await;
}

#[tokio::test]
async fn a_cluster_is_measured_with_both_executors_and_both_shapes_of_jobs() {
    let dir = TempDir::new().unwrap();
    let up =
        Up::start(dir.path(), &["--noop", "--agents", "2", "--agent-resources", "cpus=4,mem=1GiB"]).await;
    let shapes: [(&str, u64, u64); 5] = [
        ("--executor noop --tasks 200", 200, 1),
        ("--executor noop --tasks 60 --jobs 6 --encoding json", 60, 6),
        ("--executor noop --tasks 40 --separate --in-flight 3", 40, 40),
        ("--tasks 20", 20, 1),
        ("--tasks 10 --separate --batch 1", 10, 10),
    ];
    for (words, tasks, jobs) in shapes {
        let words: Vec<&str> = ["bench", "-o", "json"].into_iter().chain(words.split(' ')).collect();
        let said = up.allot(&words).await;
        assert_eq!(said.code, 0, "{said:?}");
        let report: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((&report["tasks"], &report["jobs"]), (&tasks.into(), &jobs.into()), "{report}");
        let count = |stage: &str| {
            let stages = report["stages"].as_array().unwrap();
            stages.iter().find(|of| of["stage"] == stage).map(|of| of["count"].as_u64().unwrap())
        };
        assert_eq!((count("allocated_started"), count("submitted_admitted")), (Some(tasks), Some(jobs)));
        let service = &report["cost"]["services"][0];
        assert_eq!(service["pid"], Value::from(up.child.id()));
        assert!(service["names"].as_array().unwrap().contains(&"allot-dispatcher".into()), "{report}");
        assert!(service["cpu_us"].as_u64() > Some(0) && service["mem_bytes"].as_u64() > Some(0), "{report}");
        assert!(
            report["cost"]["traffic"]["account"]["published"]["messages"].as_u64() > Some(jobs),
            "{report}"
        );
    }
    up.stop().await;
}

#[tokio::test]
async fn measuring_leaves_nothing_behind_and_says_what_did_not_finish() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &["--agent-resources", "cpus=2,mem=1GiB"]).await;
    let said = up.allot(&["bench", "--pending", "--tasks", "30", "--jobs", "3", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let pending: Value = serde_json::from_str(&said.out).unwrap();
    assert!(pending["cost"]["control_plane"]["mem_bytes"].as_u64() > Some(1 << 20), "{pending}");
    let said = up.allot(&["bench", "--tasks", "2", "--cpus", "3", "--patience", "300ms"]).await;
    assert!(said.code == 1 && said.err.contains("nothing has become of any task for 300ms"), "{said:?}");
    eventually("all jobs are over", PATIENCE, || async {
        let open = up.allot(&["jobs", "--state", "queued,running,killing", "-o", "json"]).await;
        let open: Value = serde_json::from_str(&open.out).unwrap();
        (open["jobs"] == Value::from(Vec::<u8>::new())).then_some(())
    })
    .await;
    let said = up.allot(&["bench", "--tasks", "3", "--executor", "noop"]).await;
    assert!(said.code == 1 && said.out.contains("3 did not finish: failed (launch_failed)"), "{said:?}");
    let said = up.allot(&["bench", "--idle", "50ms"]).await;
    assert!(said.code == 0 && said.out.contains("of one core"), "{said:?}");
    for words in ["--tasks 10 --jobs 3", "--tasks 0", "--idle 0s", "--cpus none", "--idle 1s --pending"] {
        let said = up.allot(&["bench"].into_iter().chain(words.split(' ')).collect::<Vec<_>>()).await;
        assert!(said.code == 2 && !said.err.is_empty(), "{words}: {said:?}");
    }
    up.stop().await;
}
