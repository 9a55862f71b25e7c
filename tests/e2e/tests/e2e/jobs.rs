//! What becomes of jobs.

use allot_bus::Subject;
use allot_model::view::{AgentState, LogStream};
use allot_model::{AttemptId, JobState, Reason, Span, TaskState};
use allot_testkit::{PATIENCE, eventually};
use serde_json::json;

use crate::cluster::{Cluster, lines, numbers, only_run, reason};

#[tokio::test]
async fn a_job_runs_as_a_process_and_its_output_and_outcome_can_be_read() {
    let cluster = Cluster::start().await;
    let line = "echo $ALLOT_JOB_ID.$ALLOT_TASK_INDEX of $ALLOT_TASK_COUNT $GREETING; echo oops >&2; exit 3";
    let job = cluster.shell(line, json!({"env": {"GREETING": "hello"}, "resources": {"cpus": 0.5}})).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, reason(&view)), (JobState::Failed, Reason::ExitedNonzero));
    let attempt = &only_run(&view).attempt;
    assert_eq!(attempt.outcome.as_ref().and_then(|outcome| outcome.exit_code), Some(3));
    assert!(attempt.started_at <= attempt.ended_at && attempt.started_at.is_some(), "{attempt:?}");
    let id = AttemptId::new(job, 0, 1);
    assert_eq!(cluster.printed("a1", id, LogStream::Stdout).await, format!("{job}.0 of 1 hello\n"));
    assert_eq!(cluster.printed("a1", id, LogStream::Stderr).await, "oops\n");
}

#[tokio::test]
async fn every_task_of_an_array_runs_once() {
    let cluster = Cluster::start().await;
    let file = cluster.scratch("ran");
    let line = format!("echo $ALLOT_TASK_INDEX >> {}", file.display());
    let job = cluster.shell(&line, json!({"tasks": 50, "resources": {"cpus": 1}})).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, view.summary.counts.finished), (JobState::Finished, 50));
    assert_eq!(numbers(&file), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_task_that_fails_is_tried_again_after_a_pause_that_doubles() {
    let cluster = Cluster::start().await;
    let file = cluster.scratch("tries");
    let line = format!("echo $ALLOT_ATTEMPT >> {}; test $ALLOT_ATTEMPT -ge 3", file.display());
    let job = cluster.shell(&line, json!({"retries": 5, "backoff": "100ms"})).await;
    let view = cluster.over(job).await;
    assert_eq!(
        (view.summary.state, lines(&file)),
        (JobState::Finished, vec!["1".into(), "2".into(), "3".into()])
    );
    let run = only_run(&view);
    assert_eq!((run.attempt.attempt, run.attempt.state), (3, TaskState::Finished));
    let tries: Vec<_> = run.earlier.iter().chain([&run.attempt]).collect();
    let pause = |index: usize| tries[index + 1].queued_at.since(tries[index].ended_at.unwrap());
    let (first, second) = (pause(0), pause(1));
    assert!(first >= Span::from_millis(100) && second >= Span::from_millis(200), "{first} {second}");
    assert!(tries.iter().take(2).all(|attempt| attempt.reason == Reason::ExitedNonzero), "{tries:?}");
}

#[tokio::test]
async fn a_task_without_tries_left_has_failed() {
    let cluster = Cluster::start().await;
    let job = cluster.shell("exit 1", json!({"retries": 1, "backoff": "10ms"})).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, only_run(&view).attempt.attempt), (JobState::Failed, 2));
}

#[tokio::test]
async fn a_task_beyond_its_time_limit_is_killed_and_has_failed() {
    let cluster = Cluster::start().await;
    let job =
        cluster.shell("trap '' TERM; sleep 60", json!({"time_limit": "200ms", "kill_grace": "200ms"})).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, reason(&view)), (JobState::Failed, Reason::TimeLimit));
    let outcome = only_run(&view).attempt.outcome.clone().unwrap();
    assert_eq!(outcome.signal, Some(9), "what ignores SIGTERM gets SIGKILL: {outcome:?}");
}

#[tokio::test]
async fn a_job_waits_for_those_it_is_to_run_after() {
    let cluster = Cluster::start().await;
    let (gate, order) = (cluster.scratch("gate"), cluster.scratch("order"));
    let first = cluster.wait_for(&gate, json!({})).await;
    let second =
        cluster.shell(&format!("echo second >> {}", order.display()), json!({"after": [first]})).await;
    let waiting = cluster.job_is("waiting", second, |view| view.summary.state == JobState::Waiting).await;
    assert_eq!(reason(&waiting), Reason::WaitsForDependency);
    std::fs::write(&gate, "").unwrap();
    assert_eq!(cluster.ends(second).await, JobState::Finished);
    let ended = cluster.over(first).await.summary.ended_at;
    assert!(ended.is_some() && ended <= cluster.over(second).await.summary.started_at);
    assert_eq!(lines(&order), ["second"]);
}

#[tokio::test]
async fn a_job_is_dropped_with_all_that_wait_for_it_where_one_before_it_fails() {
    let cluster = Cluster::start().await;
    let first = cluster.shell("exit 1", json!({})).await;
    let second = cluster.shell("true", json!({"after": [first]})).await;
    let third = cluster.shell("true", json!({"after": [second]})).await;
    for job in [second, third] {
        let view = cluster.over(job).await;
        assert_eq!(
            (view.summary.state, view.summary.reason),
            (JobState::Dropped, Some(Reason::DependencyFailed))
        );
        assert_eq!(view.summary.counts.dropped, 1);
    }
}

#[tokio::test]
async fn a_cancelled_job_stops_what_runs_and_never_runs_the_rest() {
    let cluster = Cluster::start().await;
    let job = cluster.shell("exec sleep 60", json!({"tasks": 10, "resources": {"cpus": 1}})).await;
    cluster.runs(job, 4).await;
    let message = cluster.command(Subject::JobCancel(job), json!({})).await;
    assert!(message.contains(&job.to_string()), "{message}");
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, view.summary.counts.killed), (JobState::Killed, 10));
    assert!(view.runs.iter().all(|run| run.attempt.reason == Reason::CancelledByUser), "{view:?}");
    let next = cluster.shell("true", json!({"resources": {"cpus": 4}})).await;
    assert_eq!(cluster.ends(next).await, JobState::Finished, "what it held is free");
}

#[tokio::test]
async fn a_command_that_cannot_be_started_fails_with_words() {
    let cluster = Cluster::start().await;
    let job = cluster.submit(json!({"command": ["/no/such/program"]})).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, reason(&view)), (JobState::Failed, Reason::LaunchFailed));
    let message = only_run(&view).attempt.outcome.clone().unwrap().message.unwrap();
    assert!(message.contains("/no/such/program"), "{message}");
}

#[tokio::test]
async fn a_job_that_fits_nowhere_waits_and_harms_nobody() {
    let cluster = Cluster::start().await;
    let large = cluster.shell("true", json!({"resources": {"cpus": 64}})).await;
    let strange = cluster.shell("true", json!({"constraints": ["zone == nowhere"]})).await;
    let small = cluster.shell("true", json!({})).await;
    assert_eq!(cluster.ends(small).await, JobState::Finished);
    for job in [large, strange] {
        assert_eq!(cluster.user.show(job).await.unwrap().summary.state, JobState::Queued);
    }
}

#[tokio::test]
async fn the_end_of_an_output_outlives_its_agent() {
    let mut cluster = Cluster::start().await;
    let job = cluster.shell("seq 1 20000", json!({})).await;
    assert_eq!(cluster.ends(job).await, JobState::Finished);
    cluster.programs.kill("a1");
    let subject = Subject::Output(AttemptId::new(job, 0, 1), LogStream::Stdout).to_string();
    let stream = cluster.user.bus().jetstream().get_stream_no_info("ALLOT_OUTPUT").await.unwrap();
    let kept = eventually("the output is kept", PATIENCE, || async {
        stream.get_last_raw_message_by_subject(&subject).await.ok()
    });
    let kept = kept.await.payload;
    assert_eq!(kept.len(), 64 * 1024);
    assert!(kept.ends_with(b"\n20000\n"));
}

#[tokio::test]
async fn modelled_agents_finish_tasks_that_run_nothing_and_run_others_until_they_are_cancelled() {
    let mut cluster = Cluster::of("drf", 0, 0).await;
    let settings = ["id=m", "modelled=20", "cpus=4", "mem=1GiB"].map(str::to_owned);
    cluster.programs.spawn("modelled", "allot-agent", &settings).unwrap();
    for number in 1..=20 {
        cluster.agent_is(&format!("m-{number}"), AgentState::Ready).await;
    }
    let noop = json!({"command": ["true"], "executor": "noop", "tasks": 500, "resources": {"cpus": 1}});
    let job = cluster.submit(noop).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, view.summary.counts.finished), (JobState::Finished, 500));
    let job = cluster.shell("true", json!({})).await;
    cluster.runs(job, 1).await;
    cluster.command(Subject::JobCancel(job), json!({})).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, reason(&view)), (JobState::Killed, Reason::CancelledByUser));
}
