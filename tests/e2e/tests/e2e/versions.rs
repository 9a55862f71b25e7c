//! What an earlier version left behind goes on under this one, and its agents work with these services.
//!
//! `tests/e2e/versions` has, of each version that may be upgraded from, its messages, an agent that speaks them, and what a
//! cluster of it left behind: the streams and the snapshots of nats-server, and the directory of an agent that was killed with a
//! report that nobody had taken yet. A version is added before its messages change: its `schemas/allot` beside a copy of the
//! last `agent.py`, and `ALLOT_RECORD=tests/e2e/versions/0.2 cargo nextest run -p allot-e2e --run-ignored only leaves_behind`.

use std::path::{Path, PathBuf};
use std::process::Command;

use allot_bus::Subject;
use allot_bus::stream::SNAPSHOTS;
use allot_e2e::{User, old_agent, root, verify_ledger};
use allot_model::view::AgentState;
use allot_model::{JobId, JobState, Reason, TaskState};
use allot_testkit::{PATIENCE, Programs, copy_folder, eventually};
use futures::TryStreamExt;
use serde_json::json;

use crate::cluster::{Cluster, numbers, only_run, reason};

/// The versions that may be upgraded from.
const VERSIONS: [&str; 1] = ["0.1"];

/// The jobs of a cluster that is left behind, in order of submission.
const MANY: JobId = JobId(1);
const FAILED: JobId = JobId(2);
const BAD: JobId = JobId(3);
const UNREPORTED: JobId = JobId(4);
const LOST: JobId = JobId(5);
const LOST_FOR_GOOD: JobId = JobId(6);
const WAITS: JobId = JobId(7);
const NOWHERE: JobId = JobId(8);
const AFTER: JobId = JobId(9);

#[tokio::test]
async fn agents_of_earlier_versions_work_with_these_services() {
    for version in VERSIONS {
        let mut cluster = Cluster::of("drf", 0, 0).await;
        cluster.programs.launch("old", old_agent(&cluster.programs, version, "old").unwrap()).unwrap();
        cluster.agent_is("old", AgentState::Ready).await;
        let ran = cluster.scratch("ran");
        let many = cluster
            .shell(&format!("echo $ALLOT_TASK_INDEX >> {}", ran.display()), json!({"tasks": 40}))
            .await;
        assert_eq!(cluster.ends(many).await, JobState::Finished);
        assert_eq!(numbers(&ran), (0..40).collect::<Vec<_>>());
        let failing = cluster.shell("exit 3", json!({"retries": 1, "backoff": "10ms"})).await;
        let failed = cluster.over(failing).await;
        assert_eq!(only_run(&failed).attempt.outcome.as_ref().and_then(|how| how.exit_code), Some(3));
        let endless = cluster.shell("sleep 600", json!({"tasks": 4})).await;
        cluster.runs(endless, 4).await;
        // Whoever leads next finds out from the agent what runs.
        cluster.programs.restart("dispatcher").unwrap();
        cluster.programs.restart("registry").unwrap();
        cluster.runs(endless, 4).await;
        cluster.user.ask::<_, serde_json::Value>(Subject::JobCancel(endless), &json!({})).await.unwrap();
        let killed = cluster.over(endless).await;
        let how = (killed.summary.state, killed.summary.reason, killed.summary.counts.killed);
        assert_eq!(how, (JobState::Killed, Some(Reason::CancelledByUser), 4));
        verify_ledger(&cluster.programs).await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_goes_on_from_what_an_earlier_version_left_behind() {
    for version in VERSIONS {
        let left = Left::of(version);
        let mut programs = Programs::start_on(&left.path("jetstream")).await.unwrap();
        left.agent_of_this_machine(&programs.dir().join("a1"));
        for service in ["registry", "offers", "dispatcher"] {
            programs.spawn(service, &format!("allot-{service}"), &[]).unwrap();
        }
        programs.spawn("allocator", "allot-allocator-drf", &[]).unwrap();
        let user = User::of(&programs).await.unwrap();
        let mut cluster = Cluster { programs, user };
        let show = |job: JobId| {
            let user = cluster.user.clone();
            async move { eventually("the job is known", PATIENCE, || async { user.show(job).await.ok() }).await }
        };
        let many = show(MANY).await.summary;
        assert_eq!((many.state, many.counts.finished), (JobState::Finished, 60));
        let failed = show(FAILED).await;
        assert_eq!((failed.summary.state, reason(&failed)), (JobState::Failed, Reason::ExitedNonzero));
        assert_eq!(show(BAD).await.summary.state, JobState::Rejected);
        let queue = cluster.queue("research").await.unwrap();
        assert_eq!(queue.weight, 3);

        cluster.programs.spawn_agent("a1", 3).unwrap();
        cluster.agent_is("a1", AgentState::Ready).await;
        let told = cluster.over(UNREPORTED).await;
        assert_eq!(
            (told.summary.state, only_run(&told).attempt.attempt),
            (JobState::Finished, 1),
            "told late"
        );
        let again = cluster.over(LOST).await;
        assert_eq!((again.summary.state, only_run(&again).attempt.attempt), (JobState::Finished, 2));
        let lost = cluster.over(LOST_FOR_GOOD).await;
        assert_eq!(only_run(&lost).attempt.state, TaskState::Gone, "it asked for no retry");
        assert_eq!(cluster.ends(WAITS).await, JobState::Finished);
        assert_eq!(cluster.ends(AFTER).await, JobState::Finished);
        cluster.user.ask::<_, serde_json::Value>(Subject::JobCancel(NOWHERE), &json!({})).await.unwrap();
        assert_eq!(cluster.ends(NOWHERE).await, JobState::Killed);
        let new = cluster.submit(json!({"command": ["true"]})).await;
        assert_eq!((new.0, cluster.ends(new).await), (AFTER.0 + 1, JobState::Finished));
        verify_ledger(&cluster.programs).await.unwrap();
    }
}

/// What a cluster of an earlier version left behind, unpacked.
struct Left(tempfile::TempDir);

impl Left {
    fn of(version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let packed = root().join("tests/e2e/versions").join(version).join("left.tar.gz");
        run(Command::new("tar").arg("-xzf").arg(packed).arg("-C").arg(dir.path()));
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Copies the agent's directory as if it had been left behind on this machine since it was started.
    fn agent_of_this_machine(&self, to: &Path) {
        copy_folder(&self.path("a1"), to).unwrap();
        let identity = to.join("identity");
        let mut known: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&identity).unwrap()).unwrap();
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        known["boot_id"] = boot_id.trim().into();
        std::fs::write(identity, known.to_string()).unwrap();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// Records what the programs of this version leave behind.
#[tokio::test]
#[ignore = "writes into the repository: see the beginning of this file"]
async fn what_this_version_leaves_behind() {
    let to = root().join(std::env::var("ALLOT_RECORD").expect("the folder of a version, in ALLOT_RECORD"));
    let mut programs = Programs::start().await.unwrap();
    let settings = ["snapshots.every_records=40", "snapshots.keep_ledger=0s"].map(str::to_owned);
    for service in ["registry", "offers", "dispatcher"] {
        programs.spawn(service, &format!("allot-{service}"), &settings).unwrap();
    }
    programs.spawn("allocator", "allot-allocator-drf", &[]).unwrap();
    programs.spawn_agent("a1", 3).unwrap();
    let user = User::of(&programs).await.unwrap();
    let mut cluster = Cluster { programs, user };
    cluster.agent_is("a1", AgentState::Ready).await;
    cluster
        .command(Subject::QueuesSet, json!({"queue": "research", "weight": 3, "limit": {"cpus": 2}}))
        .await;
    let many = json!({"command": ["true"], "tasks": 60});
    assert_eq!(cluster.user.submit("research.vision", &many).await.unwrap(), MANY);
    assert_eq!(cluster.shell("exit 3", json!({})).await, FAILED);
    assert_eq!(cluster.shell("true", json!({"tasks": 0})).await, BAD);
    assert_eq!(cluster.ends(MANY).await, JobState::Finished);
    assert_eq!(cluster.ends(FAILED).await, JobState::Failed);

    let gate = Path::new("/tmp/allot-left-behind");
    // Those that are lost run until then, and at once where they are tried again.
    std::fs::write(gate, "").unwrap();
    let until_gone = format!("test ! -e {0} || while test -e {0}; do sleep 0.01; done", gate.display());
    let unreported = cluster.scratch("unreported");
    assert_eq!(cluster.wait_for(&unreported, json!({})).await, UNREPORTED);
    assert_eq!(cluster.shell(&until_gone, json!({"retries": 1, "backoff": "10ms"})).await, LOST);
    assert_eq!(cluster.shell(&until_gone, json!({})).await, LOST_FOR_GOOD);
    for job in [UNREPORTED, LOST, LOST_FOR_GOOD] {
        cluster.runs(job, 1).await;
    }
    assert_eq!(cluster.shell("true", json!({"tasks": 5, "resources": {"cpus": 2}})).await, WAITS);
    assert_eq!(cluster.shell("true", json!({"constraints": ["zone == b"]})).await, NOWHERE);
    assert_eq!(cluster.shell("true", json!({"after": [WAITS.0]})).await, AFTER);
    cluster.job_is("known", AFTER, |_| true).await;
    eventually("there are snapshots of all", PATIENCE, || async {
        let bucket = cluster.user.bus().jetstream().get_object_store(SNAPSHOTS).await.ok()?;
        let all: Vec<_> = bucket.list().await.ok()?.try_collect().await.ok()?;
        let has = |writer: &str| all.iter().any(|info| info.name.starts_with(writer));
        ["registry", "offers", "dispatcher"].into_iter().all(has).then_some(())
    })
    .await;

    cluster.programs.nats.kill();
    std::fs::write(&unreported, "").unwrap();
    let agent = cluster.programs.dir().join("a1");
    eventually("the agent has noted it", PATIENCE, || async {
        let journal = std::fs::read_to_string(agent.join("journal")).unwrap_or_default();
        let entries = journal.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let ended = |entry: serde_json::Value| {
            entry.pointer("/ended/end/run") == Some(&json!(format!("{UNREPORTED}.0#1")))
        };
        entries.into_iter().any(ended).then_some(())
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    copy_folder(&cluster.programs.nats.jetstream(), &dir.path().join("jetstream")).unwrap();
    copy_folder(&agent, &dir.path().join("a1")).unwrap();
    std::fs::remove_file(gate).unwrap();
    run(Command::new("tar")
        .arg("-czf")
        .arg(to.join("left.tar.gz"))
        .arg("-C")
        .arg(dir.path())
        .args(["jetstream", "a1"]));
}
