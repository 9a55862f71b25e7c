//! What becomes of real processes.

mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use allot_bus::headers;
use allot_model::view::LogStream;
use allot_model::{Executor, JobSpec, Reason, Span, TaskState};
use allot_testkit::{PATIENCE, eventually};
use stage::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_in_the_state_that_its_exit_calls_for() {
    let mut stage = Stage::open().await;
    let cases = [
        (shell("exit 0"), TaskState::Finished, Reason::ExitedZero, Some(0), None),
        (shell("exit 3"), TaskState::Failed, Reason::ExitedNonzero, Some(3), None),
        (shell("kill -SEGV $$"), TaskState::Failed, Reason::Signalled, None, Some(11)),
        (argv(&["sh", "-c", "exit 200"]), TaskState::Failed, Reason::ExitedNonzero, Some(200), None),
        (argv(&["/bin/true"]), TaskState::Finished, Reason::ExitedZero, Some(0), None),
    ];
    for (index, (spec, state, reason, exit_code, signal)) in cases.into_iter().enumerate() {
        let text = format!("1.{index}#1");
        let command = spec.command.clone();
        stage.order(vec![launch(&text, spec)]).await;
        let end = stage.end_of(&text).await;
        assert_eq!((end.state, end.reason), (state, reason), "{command:?}");
        assert_eq!((end.outcome.exit_code, end.outcome.signal), (exit_code, signal), "{command:?}");
        assert!(end.ran && end.message().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_used_is_measured() {
    let mut stage = Stage::open().await;
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 80000000 /dev/zero | tail -c 80000000 | wc -c";
    let outcome = stage.run(shell(busy)).await.outcome;
    assert!(outcome.wall_us > 10_000, "{outcome:?}");
    assert!(outcome.cpu_us > 10_000, "{outcome:?}");
    assert!(outcome.peak_mem_bytes > 70_000_000, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_says_why() {
    let mut stage = Stage::open().await;
    let plain = stage.dir.path().join("plain");
    fs::write(&plain, "echo no").unwrap();
    let headless = stage.dir.path().join("headless");
    fs::write(&headless, "echo no first line").unwrap();
    let lost = stage.dir.path().join("lost");
    fs::write(&lost, "#!/no/such/interpreter\n").unwrap();
    for path in [&headless, &lost] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = |path: &std::path::Path| argv(&[path.to_str().unwrap()]);
    let cases = [
        (argv(&["no-such-program"]), "there is no program `no-such-program` in PATH="),
        (argv(&["/no/such/program"]), "there is no program `/no/such/program` on this agent"),
        (argv(&["./missing"]), "there is no program `./missing`"),
        (path(&plain), "is not executable: `chmod +x` it"),
        (argv(&["/tmp"]), "`/tmp` is a directory"),
        (path(&headless), "may lack a first line such as `#!/bin/sh`"),
        (path(&lost), "the interpreter that it names is not there"),
        (
            JobSpec { workdir: Some("/no/such/dir".into()), ..shell("true") },
            "there is no directory `/no/such/dir`",
        ),
        (argv(&["true", &"x".repeat(200_000)]), "too long"),
    ];
    for (index, (spec, message)) in cases.into_iter().enumerate() {
        let text = format!("1.{index}#1");
        stage.order(vec![launch(&text, spec)]).await;
        let end = stage.end_of(&text).await;
        assert_eq!((end.state, end.reason), (TaskState::Failed, Reason::LaunchFailed), "{message}");
        assert!(!end.ran && end.message().contains(message), "{message}: {}", end.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_the_environment_of_its_task_and_nothing_of_the_agents() {
    let mut stage = Stage::with(|config| {
        config.resources =
            resources(r#"{"cpus": 64, "mem": "1GiB", "gpus": ["0", "1"], "ports": "31000-31010"}"#);
    })
    .await;
    let slice = resources(r#"{"cpus": 0.5, "mem": "512MiB", "gpus": ["1"], "ports": "31000,31003-31004"}"#);
    let with = JobSpec {
        env: [("GREETING".into(), "hello".into()), ("ALLOT_QUEUE".into(), "mine".into())].into(),
        ..shell("env")
    };
    stage.order(vec![launch_with("12.3#2", with, slice), launch("12.4#1", argv(&["env"]))]).await;
    stage.end_of("12.3#2").await;
    let env = |text: String| -> BTreeMap<String, String> {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    };
    let found = env(stage.stdout("12.3#2"));
    let expected = [
        ("GREETING", "hello"),
        ("ALLOT_JOB_ID", "12"),
        ("ALLOT_TASK_INDEX", "3"),
        ("ALLOT_TASK_COUNT", "5"),
        ("ALLOT_ATTEMPT", "2"),
        ("ALLOT_QUEUE", "research.vision"),
        ("ALLOT_AGENT", "a1"),
        ("ALLOT_CPUS", "0.5"),
        ("ALLOT_MEM", "536870912"),
        ("ALLOT_PORTS", "31000,31003,31004"),
        ("ALLOT_GPUS", "1"),
        ("CUDA_VISIBLE_DEVICES", "1"),
    ];
    for (name, value) in expected {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!found.keys().any(|name| name.starts_with("CARGO") || name.starts_with("NEXTEST")), "{found:?}");
    stage.end_of("12.4#1").await;
    assert_eq!(env(stage.stdout("12.4#1"))["CUDA_VISIBLE_DEVICES"], "", "a task without a gpu sees none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_gets_none_of_the_files_that_its_agent_was_started_with() {
    let mut stage = Stage::without_agent(|_| {}).await;
    let lock = fs::File::create(stage.dir.path().join("lock-of-another")).unwrap();
    // As it is handed on to programs that are started.
    let _inherited = rustix::io::dup(&lock).unwrap();
    stage.start().await;
    stage.run(shell("ls -l /proc/$$/fd")).await;
    let open = stage.stdout("1.0#1");
    assert!(open.contains("/dev/null") && !open.contains("lock-of-another"), "{open}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_works_in_a_directory_of_its_own_or_in_the_one_it_names() {
    let mut stage = Stage::open().await;
    let elsewhere = stage.dir.path().canonicalize().unwrap();
    let there = JobSpec { workdir: Some(elsewhere.to_str().unwrap().into()), ..shell("pwd; cat") };
    stage.order(vec![launch("1.0#1", shell("pwd; echo x > file")), launch("1.1#1", there)]).await;
    stage.end_of("1.0#1").await;
    stage.end_of("1.1#1").await;
    assert_eq!(
        stage.stdout("1.0#1").trim(),
        stage.task_dir("1.0#1").canonicalize().unwrap().to_str().unwrap()
    );
    assert!(stage.task_dir("1.0#1").join("file").exists());
    assert_eq!(stage.stdout("1.1#1").trim(), elsewhere.to_str().unwrap(), "and standard input is empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ignores_sigterm_is_killed_after_its_grace() {
    let mut stage = Stage::open().await;
    stage.order(vec![launch("1.0#1", shell("trap '' TERM; echo ready; while :; do sleep 1; done"))]).await;
    stage.start_of("1.0#1").await;
    eventually("the trap is set", PATIENCE, || async { (stage.stdout("1.0#1") == "ready\n").then_some(()) })
        .await;
    stage.order(vec![kill("1.0#1", Span::from_millis(300))]).await;
    let end = stage.end_of("1.0#1").await;
    assert_eq!(
        (end.state, end.reason, end.outcome.signal),
        (TaskState::Killed, Reason::CancelledByUser, Some(9))
    );
    assert!(end.outcome.wall_us >= 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_heeds_sigterm_can_tidy_up() {
    let mut stage = Stage::open().await;
    let tidy = "trap 'echo tidied; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    stage.order(vec![launch("1.0#1", shell(tidy))]).await;
    stage.start_of("1.0#1").await;
    eventually("the trap is set", PATIENCE, || async { (stage.stdout("1.0#1") == "ready\n").then_some(()) })
        .await;
    stage.order(vec![kill("1.0#1", Span::from_secs(60))]).await;
    let end = stage.end_of("1.0#1").await;
    assert_eq!((end.state, end.outcome.exit_code), (TaskState::Killed, Some(7)));
    assert_eq!(stage.stdout("1.0#1"), "ready\ntidied\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_outlive_their_process_are_killed_with_its_group() {
    let mut stage = Stage::open().await;
    let end = stage.run(shell("sleep 1000 & echo $!; (trap '' TERM; sleep 1000) & echo $!")).await;
    assert_eq!(end.state, TaskState::Finished);
    let pids: Vec<i32> = stage.stdout("1.0#1").lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    eventually("they are gone", PATIENCE, || async {
        (!pids.iter().any(|pid| is_alive(*pid))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_lives_as_long_as_its_task_and_no_longer() {
    let mut stage = Stage::open().await;
    let daemon = "setsid sh -c 'echo $$; exec sleep 1000' & while [ ! -e go ]; do sleep 0.01; done";
    stage.order(vec![launch("1.0#1", shell(daemon)), launch("1.1#1", shell("true"))]).await;
    stage.end_of("1.1#1").await;
    let pid =
        eventually("the daemon runs", PATIENCE, || async { stage.stdout("1.0#1").trim().parse().ok() }).await;
    assert!(is_alive(pid));
    fs::write(stage.task_dir("1.0#1").join("go"), "").unwrap();
    stage.end_of("1.0#1").await;
    eventually("the daemon is gone", PATIENCE, || async { (!is_alive(pid)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hides_is_killed_once_no_task_is_left_whose_it_may_be() {
    let mut stage = Stage::open().await;
    let wait = "while [ ! -e go ]; do sleep 0.01; done";
    stage.order(vec![launch("1.0#1", shell(wait))]).await;
    stage.start_of("1.0#1").await;
    // Neither its environment nor its directory nor its group tells whose it is.
    let hide = "cd /; env -i setsid sh -c 'echo $$; exec sleep 1000 > /dev/null 2>&1'";
    stage
        .order(vec![launch(
            "1.1#1",
            shell(&format!("({hide} &); while [ ! -s stdout ]; do sleep 0.01; done")),
        )])
        .await;
    assert_eq!(stage.end_of("1.1#1").await.state, TaskState::Finished);
    let pid: i32 = stage.stdout("1.1#1").trim().parse().unwrap();
    // One that begins later is not suspected.
    stage.order(vec![launch("1.2#1", shell(wait))]).await;
    stage.start_of("1.2#1").await;
    assert!(is_alive(pid), "it may be of the task that began before it");
    fs::write(stage.task_dir("1.0#1").join("go"), "").unwrap();
    stage.end_of("1.0#1").await;
    eventually("the daemon is gone", PATIENCE, || async { (!is_alive(pid)).then_some(()) }).await;
    fs::write(stage.task_dir("1.2#1").join("go"), "").unwrap();
    assert_eq!(stage.end_of("1.2#1").await.state, TaskState::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_its_environment_is_known_by_its_directory() {
    let mut stage = Stage::open().await;
    let hide =
        "(env -i setsid sh -c 'echo $$; exec sleep 1000' &); while [ ! -s stdout ]; do sleep 0.01; done";
    let wait = "while [ ! -e go ]; do sleep 0.01; done";
    stage.order(vec![launch("1.0#1", shell(wait)), launch("1.1#1", shell(hide))]).await;
    stage.end_of("1.1#1").await;
    let pid: i32 = stage.stdout("1.1#1").trim().parse().unwrap();
    eventually("the daemon is gone", PATIENCE, || async { (!is_alive(pid)).then_some(()) }).await;
    fs::write(stage.task_dir("1.0#1").join("go"), "").unwrap();
    assert_eq!(stage.end_of("1.0#1").await.state, TaskState::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_over_its_time_limit_has_failed() {
    let mut stage = Stage::open().await;
    let end = stage.run(JobSpec { time_limit: Some(Span::from_millis(100)), ..shell("sleep 1000") }).await;
    assert_eq!((end.state, end.reason, end.outcome.signal), (TaskState::Failed, Reason::TimeLimit, Some(15)));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_kept_byte_for_byte_in_the_stream_and_can_be_read_from_the_agent() {
    let mut stage = Stage::open().await;
    let binary = r"printf '\000\377\n\001' ; printf 'oops' >&2";
    stage.run(shell(binary)).await;
    let stored = stage.stored("1.0#1", LogStream::Stdout).await.expect("stored before the end is reported");
    assert_eq!(stored.payload.as_ref(), b"\0\xff\n\x01");
    assert_eq!(header(Some(&stored.headers), headers::ALLOT_SIZE), "4");
    assert_eq!(stage.stored("1.0#1", LogStream::Stderr).await.unwrap().payload.as_ref(), b"oops");
    let answer = stage.logs("1.0#1", LogStream::Stdout, 1, 2).await;
    assert_eq!(answer.payload.as_ref(), b"\xff\n");
    let headers = answer.headers.as_ref();
    assert_eq!(header(headers, headers::ALLOT_OFFSET), "1");
    assert_eq!(header(headers, headers::ALLOT_SIZE), "4");
    assert_eq!(header(headers, headers::ALLOT_ENDED), "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_of_a_process_that_wrote_nothing() {
    let mut stage = Stage::open().await;
    stage.run(argv(&["true"])).await;
    assert!(stage.stored("1.0#1", LogStream::Stdout).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn output_can_be_followed_while_the_process_runs() {
    let mut stage = Stage::open().await;
    stage
        .order(vec![launch(
            "1.0#1",
            shell("echo first; while [ ! -e go ]; do sleep 0.01; done; echo second"),
        )])
        .await;
    stage.start_of("1.0#1").await;
    eventually("the first line", PATIENCE, || async {
        let answer = stage.logs("1.0#1", LogStream::Stdout, 0, 100).await;
        let running = header(answer.headers.as_ref(), headers::ALLOT_ENDED) == "false";
        (running && answer.payload.as_ref() == b"first\n").then_some(())
    })
    .await;
    fs::write(stage.task_dir("1.0#1").join("go"), "").unwrap();
    stage.end_of("1.0#1").await;
    let answer = stage.logs("1.0#1", LogStream::Stdout, 6, 100).await;
    assert_eq!(answer.payload.as_ref(), b"second\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_an_unknown_attempt_is_answered_with_what_is_wrong() {
    let stage = Stage::open().await;
    let answer = stage.logs("9.9#9", LogStream::Stdout, 0, 100).await;
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(
        answer.headers.is_none() && text.contains("not_found") && text.contains("no output of 9.9#9"),
        "{text}"
    );
    let subject = allot_bus::Subject::AgentLogs(stage.config.id.clone().unwrap()).to_string();
    let answer = stage.bus.client().request(subject, "{}".into()).await.unwrap();
    assert!(String::from_utf8_lossy(&answer.payload).contains("not a log query"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_writes_without_end_keeps_only_the_last_of_it() {
    let mut stage = Stage::with(|config| config.output_cap = 1 << 20).await;
    stage.run(shell("head -c 300000000 /dev/zero; echo the end")).await;
    let answer = stage.logs("1.0#1", LogStream::Stdout, 0, 600_000).await;
    let number = |name| header(answer.headers.as_ref(), name).parse::<u64>().unwrap();
    assert_eq!(number(headers::ALLOT_SIZE), 300_000_008);
    assert!(number(headers::ALLOT_OFFSET) >= 300_000_008 - (1 << 20), "what is older was dropped");
    let stored = stage.stored("1.0#1", LogStream::Stdout).await.unwrap();
    assert_eq!(stored.payload.len(), 64 << 10);
    assert!(stored.payload.ends_with(b"the end\n"));
    use std::os::unix::fs::MetadataExt;
    let kept = fs::metadata(stage.task_dir("1.0#1").join("stdout")).unwrap().blocks() * 512;
    assert!(kept <= (1 << 20) + 8_192, "{kept} bytes are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cap_holds_while_the_process_runs() {
    let mut stage = Stage::with(|config| config.output_cap = 1 << 20).await;
    stage.order(vec![launch("1.0#1", shell("head -c 30000000 /dev/zero; sleep 1000"))]).await;
    stage.start_of("1.0#1").await;
    use std::os::unix::fs::MetadataExt;
    let file = stage.task_dir("1.0#1").join("stdout");
    eventually("the file is cut", PATIENCE, || async {
        let file = fs::metadata(&file).unwrap();
        (file.len() == 30_000_000 && file.blocks() * 512 <= (1 << 20) + 8_192).then_some(())
    })
    .await;
    stage.order(vec![kill("1.0#1", Span::ZERO)]).await;
    stage.end_of("1.0#1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noop_tasks_end_without_a_process() {
    let mut stage = Stage::with(|config| config.noop = true).await;
    stage.order(vec![launch("1.0-99999#1", JobSpec { executor: Executor::Noop, ..shell("exit 1") })]).await;
    assert_eq!(stage.end_of("1.99999#1").await.state, TaskState::Finished);
    assert!(!stage.task_dir("1.0#1").exists());
}
