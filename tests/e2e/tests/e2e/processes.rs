//! Processes of every kind: each ends in the right state, leaves nothing behind and harms nothing else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use allot_model::{JobId, JobState, Reason};
use allot_testkit::{PATIENCE, built, eventually, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cluster::{Cluster, only_run, reason};

/// The variable by which processes of a test are found again.
const MARK: &str = "ALLOT_E2E_MARK";

/// A command, what else its job says, and how it ends.
struct Case {
    command: Value,
    fields: Value,
    reason: Reason,
    /// Its exit code, or the signal that ended it, negative.
    exit: Option<i32>,
    /// What is said about it.
    says: String,
}

impl Case {
    fn line(line: &str, reason: Reason, exit: i32) -> Self {
        Self { command: line.into(), fields: json!({}), reason, exit: Some(exit), says: String::new() }
    }

    fn not_started(command: Value, says: impl Into<String>) -> Self {
        Self { command, fields: json!({}), reason: Reason::LaunchFailed, exit: None, says: says.into() }
    }

    fn with(self, fields: Value) -> Self {
        Self { fields, ..self }
    }
}

/// What cannot be started.
fn unstartable(scratch: &Path) -> Vec<Case> {
    let file = |name: &str, text: &str, mode: u32| {
        let path = scratch.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        json!([path])
    };
    let workdir = scratch.join("plain").display().to_string();
    vec![
        Case::not_started(json!(["/no/such/program"]), "no program `/no/such/program`"),
        Case::not_started(json!(["no-such-program"]), "no program `no-such-program` in PATH="),
        Case::not_started(file("plain", "echo no", 0o644), "is not executable"),
        Case::not_started(json!([scratch]), "is a directory"),
        Case::not_started(file("headless", "echo no", 0o755), "may lack a first line"),
        Case::not_started(
            file("lost", "#!/no/such/interpreter\n", 0o755),
            "interpreter that it names is not there",
        ),
        Case::not_started(json!("true"), "no directory `/no/such/dir`")
            .with(json!({"workdir": "/no/such/dir"})),
        Case::not_started(json!("true"), "no directory").with(json!({"workdir": workdir})),
        Case::not_started(json!(["true"]), "in PATH=/nowhere").with(json!({"env": {"PATH": "/nowhere"}})),
        Case::not_started(json!(["x".repeat(100_000)]), "no program `xxx"),
    ]
}

/// What starts and behaves badly.
fn unruly() -> Vec<Case> {
    let words: Vec<String> =
        std::iter::once("true".to_owned()).chain((0..9_999).map(|n| n.to_string())).collect();
    let variables: serde_json::Map<String, Value> =
        (0..999).map(|n| (format!("V{n}"), "x".repeat(150).into())).collect();
    let stop = || json!({"time_limit": "300ms", "kill_grace": "200ms"});
    vec![
        Case::line("exit 200", Reason::ExitedNonzero, 200),
        Case::line("kill -SEGV $$", Reason::Signalled, -11),
        Case::line("kill -KILL $$", Reason::Signalled, -9),
        Case::line("kill -KILL -$$", Reason::Signalled, -9),
        Case::line("exec >&- 2>&- <&-; sleep 0.1; exit 3", Reason::ExitedNonzero, 3),
        Case::line("rm -rf \"$PWD\"; exit 4", Reason::ExitedNonzero, 4),
        Case::line("rm stdout stderr; mkdir stdout; echo gone >&2; exit 5", Reason::ExitedNonzero, 5),
        Case::line(
            "head -c 50000000 /dev/zero > fill; for n in $(seq 2000); do : > f$n; done",
            Reason::ExitedZero,
            0,
        ),
        Case::line("for n in $(seq 100); do sleep 1000 & done", Reason::ExitedZero, 0),
        Case::line("sleep 1000 & (trap '' TERM HUP; sleep 1000) & exit 0", Reason::ExitedZero, 0),
        Case::line(
            "(setsid sleep 1000 &); (setsid sh -c \"trap '' TERM; sleep 1000; :\" &); sleep 0.1",
            Reason::ExitedZero,
            0,
        ),
        Case::line("nohup setsid sleep 1000 > /dev/null 2>&1 & sleep 0.1", Reason::ExitedZero, 0),
        Case::line("trap '' TERM; while :; do sleep 0.05; done", Reason::TimeLimit, -9).with(stop()),
        Case::line("trap '' TERM; setsid sleep 1000 & wait; sleep 1000", Reason::TimeLimit, -9).with(stop()),
        Case::line("kill -STOP $$", Reason::TimeLimit, -9).with(stop()),
        Case::line("trap 'exit 7' TERM; while :; do sleep 0.01; done", Reason::TimeLimit, 7).with(stop()),
        Case { command: json!(words), ..Case::line("", Reason::ExitedZero, 0) },
        Case::line("test ${#V998} = 150", Reason::ExitedZero, 0).with(json!({"env": variables})),
        Case::line("true", Reason::ExitedZero, 0).with(json!({"env": {"LD_PRELOAD": "/no/such/library.so"}})),
    ]
}

/// The processes that carry the mark of this test.
fn marked(mark: &str) -> Vec<String> {
    let mark = format!("{MARK}={mark}").into_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter(|entry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark)
    });
    let words = |entry: std::fs::DirEntry| {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        format!("{} {}", entry.file_name().display(), String::from_utf8_lossy(&words).replace('\0', " "))
    };
    pids.map(words).collect()
}

#[tokio::test]
async fn every_process_ends_as_it_should_leaves_nothing_behind_and_harms_nothing_else() {
    let cluster = Cluster::of("drf", 1, 16).await;
    let mark = cluster.scratch("mark").display().to_string();
    let submit = async |command: &Value, mut fields: Value| {
        fields["command"] = command.clone();
        let mut env = fields["env"].take();
        env[MARK] = mark.clone().into();
        fields["env"] = env;
        cluster.submit(fields).await
    };
    let gate = cluster.scratch("gate");
    let neighbour = format!("until test -e {}; do sleep 0.01; done; echo still here", gate.display()).into();
    let neighbour = submit(&neighbour, json!({})).await;
    cluster.runs(neighbour, 1).await;
    let cases: Vec<Case> = unstartable(cluster.programs.dir()).into_iter().chain(unruly()).collect();
    let mut jobs: Vec<JobId> = Vec::new();
    for case in &cases {
        jobs.push(submit(&case.command, case.fields.clone()).await);
    }
    for (case, job) in cases.iter().zip(jobs) {
        let (view, what) = (cluster.over(job).await, case.command.to_string());
        let state = if case.reason == Reason::ExitedZero { JobState::Finished } else { JobState::Failed };
        assert_eq!((view.summary.state, reason(&view)), (state, case.reason), "{what}");
        let outcome = only_run(&view).attempt.outcome.clone().unwrap();
        assert_eq!(
            outcome.exit_code.or(outcome.signal.map(|signal| -signal)),
            case.exit,
            "{what}: {outcome:?}"
        );
        let said = outcome.message.unwrap_or_default();
        assert!(said.contains(&case.says) && said.len() < 2_000, "{what}: {said}");
    }
    eventually("nothing is left but the neighbour", PATIENCE, || async {
        let left = marked(&mark);
        let is_neighbour = |words: &String| words.contains(" sleep 0.01") || words.contains("until test -e");
        left.iter().all(is_neighbour).then_some(())
    })
    .await;
    std::fs::write(&gate, "").unwrap();
    assert_eq!(cluster.ends(neighbour).await, JobState::Finished);
    assert_eq!(cluster.allot(&["logs", &neighbour.to_string()]).await.out, "still here\n");
    eventually("nothing is left", PATIENCE, || async { marked(&mark).is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_after_its_grace_when_its_job_is_cancelled() {
    let cluster = Cluster::start().await;
    let job = cluster
        .shell("trap '' TERM; echo ready; while :; do sleep 0.05; done", json!({"kill_grace": "300ms"}))
        .await;
    eventually("the trap is set", PATIENCE, || async {
        (cluster.allot(&["logs", &job.to_string()]).await.out == "ready\n").then_some(())
    })
    .await;
    assert_eq!(cluster.allot(&["cancel", &job.to_string()]).await.code, 0);
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, reason(&view)), (JobState::Killed, Reason::CancelledByUser));
    assert_eq!(only_run(&view).attempt.outcome.clone().unwrap().signal, Some(9));
}

#[tokio::test]
async fn output_of_any_bytes_and_any_length_can_be_read_and_is_bounded() {
    let cluster = Cluster::start().await;
    let binary = cluster.scratch("binary");
    let line = format!("head -c 300000 /dev/urandom | tee {}; printf '\\377\\033[2J' >&2", binary.display());
    let noise = cluster.shell(&line, json!({})).await;
    let flood = cluster.shell("head -c 1000000000 /dev/zero; echo the end", json!({})).await;
    let followed = cluster.allot(&["logs", "-f", &noise.to_string()]).await;
    assert_eq!(cluster.ends(noise).await, JobState::Finished);
    assert!(followed.code == 0 && followed.bytes == std::fs::read(&binary).unwrap(), "{}", followed.err);
    let lines = cluster.allot(&["logs", "-f", &noise.to_string(), "-o", "json"]).await;
    assert_eq!(lines.code, 0, "{}", lines.err);
    let offsets =
        lines.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["offset"].clone());
    assert_eq!(offsets.collect::<Vec<_>>()[0], 0);
    let errors = cluster.allot(&["logs", "--stderr", &noise.to_string()]).await;
    assert_eq!(errors.bytes, b"\xff\x1b[2J");

    assert_eq!(cluster.ends(flood).await, JobState::Finished);
    let tail = cluster.allot(&["logs", &flood.to_string(), "--tail", "8"]).await;
    assert_eq!((tail.code, tail.out.as_str()), (0, "the end\n"));
    let kept = cluster.allot(&["logs", &flood.to_string()]).await;
    assert!(kept.err.contains("bytes of the output are not kept any more"), "{}", kept.err);
    assert!(kept.bytes.len() <= 64 << 20 && kept.bytes.ends_with(b"the end\n"), "{}", kept.bytes.len());
    assert!(
        allocated(&cluster.scratch("a1")) < 70 << 20,
        "{} bytes on the disk",
        allocated(&cluster.scratch("a1"))
    );
    let memory = cluster.programs.peak_memory("a1").unwrap();
    assert!(memory < 200 << 20, "the agent took {memory} bytes");
}

#[tokio::test]
async fn a_task_is_followed_from_try_to_try() {
    let cluster = Cluster::start().await;
    let gate = cluster.scratch("gate");
    let line = format!(
        "echo try $ALLOT_ATTEMPT; until test -e {}$ALLOT_ATTEMPT; do sleep 0.01; done; exit 1",
        gate.display()
    );
    let job = cluster.shell(&line, json!({"retries": 2, "backoff": "300ms"})).await;
    let mut following = tokio::process::Command::new(built("allot").unwrap())
        .args(["logs", "-f", &job.to_string()])
        .env("ALLOT_NATS", cluster.programs.nats.url())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    for attempt in 1..=3 {
        let line = within("the next try prints", lines.next_line()).await.unwrap();
        assert_eq!(line, Some(format!("try {attempt}")));
        std::fs::write(format!("{}{attempt}", gate.display()), "").unwrap();
    }
    assert_eq!(within("nothing follows the last try", lines.next_line()).await.unwrap(), None);
    assert!(within("it ends", following.wait()).await.unwrap().success());
    assert_eq!(cluster.ends(job).await, JobState::Failed);
}

/// How much the files below a directory take on the disk, bytes.
fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        inner if inner.is_dir() => allocated(&entry.path()),
        file => file.blocks() * 512,
    };
    entries.map(size).sum()
}
