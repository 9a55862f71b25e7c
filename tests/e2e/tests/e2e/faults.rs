//! What goes wrong, and what must not come of it.

use allot_bus::Stream;
use allot_model::view::AgentState;
use allot_model::{JobState, Reason, TaskState};
use allot_testkit::{PATIENCE, eventually};
use serde_json::json;

use crate::cluster::{Cluster, agent_id, lines, only_run};

#[tokio::test]
async fn a_task_outlives_a_restart_of_every_service_but_its_agent() {
    let mut cluster = Cluster::start().await;
    let gate = cluster.scratch("gate");
    let job = cluster.wait_for(&gate, json!({})).await;
    cluster.runs(job, 1).await;
    for service in ["registry", "offers", "dispatcher", "allocator"] {
        cluster.programs.restart(service).unwrap();
    }
    cluster.runs(job, 1).await;
    std::fs::write(&gate, "").unwrap();
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, only_run(&view).attempt.attempt), (JobState::Finished, 1));
    let next = cluster.shell("true", json!({"resources": {"cpus": 4}})).await;
    assert_eq!(cluster.ends(next).await, JobState::Finished, "what it held was freed");
}

#[tokio::test]
async fn a_task_outlives_its_agent_being_killed_and_started_again() {
    let mut cluster = Cluster::start().await;
    let gate = cluster.scratch("gate");
    let file = cluster.scratch("ran");
    let wait =
        format!("echo ran >> {}; until test -e {}; do sleep 0.01; done", file.display(), gate.display());
    let job = cluster.shell(&wait, json!({"retries": 1, "backoff": "10ms"})).await;
    cluster.runs(job, 1).await;
    cluster.programs.restart("a1").unwrap();
    std::fs::write(&gate, "").unwrap();
    let view = cluster.over(job).await;
    assert_eq!(view.summary.state, JobState::Finished);
    assert_eq!(
        lines(&file).len(),
        usize::try_from(only_run(&view).attempt.attempt).unwrap(),
        "each try ran once"
    );
}

#[tokio::test]
async fn tasks_of_a_silent_agent_wait_or_are_tried_elsewhere_as_their_job_says() {
    let mut cluster = Cluster::of("drf", 1, 2).await;
    cluster.programs.kill("registry");
    let settings = ["agent_timeout=1s".to_owned(), "beat_every=200ms".to_owned()];
    cluster.programs.spawn("registry", "allot-registry", &settings).unwrap();
    let stays = cluster.shell("exec sleep 60", json!({"on_unreachable": "wait"})).await;
    let moves = cluster
        .shell("exec sleep 60", json!({"on_unreachable": "retry", "retries": 1, "backoff": "10ms"}))
        .await;
    cluster.runs(stays, 1).await;
    cluster.runs(moves, 1).await;
    cluster.programs.kill("a1");
    cluster.agent_is("a1", AgentState::Unreachable).await;
    cluster.another_agent("a2", 2).await;
    let moved = cluster
        .job_is("tried elsewhere", moves, |view| only_run(view).attempt.agent == Some(agent_id("a2")))
        .await;
    assert_eq!(only_run(&moved).earlier[0].reason, Reason::AgentUnreachable);
    let waiting = cluster.user.show(stays).await.unwrap();
    let attempt = &only_run(&waiting).attempt;
    assert_eq!((attempt.state, attempt.reason), (TaskState::Unreachable, Reason::AgentUnreachable));
}

#[tokio::test]
async fn a_second_agent_under_the_same_id_is_refused_and_takes_no_task_from_the_first() {
    let mut cluster = Cluster::start().await;
    cluster.programs.kill("registry");
    let settings = ["agent_timeout=20s".to_owned(), "beat_every=100ms".to_owned()];
    cluster.programs.spawn("registry", "allot-registry", &settings).unwrap();
    let (gate, file) = (cluster.scratch("gate"), cluster.scratch("ran"));
    let wait =
        format!("echo ran >> {}; until test -e {}; do sleep 0.01; done", file.display(), gate.display());
    let job = cluster.shell(&wait, json!({"retries": 3, "backoff": "10ms"})).await;
    cluster.runs(job, 1).await;
    let data_dir = cluster.scratch("another");
    let twin =
        ["id=a1".to_owned(), format!("data_dir={}", data_dir.display()), "resources.cpus=4".to_owned()];
    cluster.programs.spawn("twin", "allot-agent", &twin).unwrap();
    eventually("the second one is refused", PATIENCE, || async {
        cluster.programs.log("twin").contains("another agent runs under the id a1").then_some(())
    })
    .await;
    for _ in 0..4 {
        let said = cluster.allot(&["logs", &job.to_string()]).await;
        assert_eq!(said.code, 0, "the one that has the output is asked: {said:?}");
    }
    std::fs::write(&gate, "").unwrap();
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, only_run(&view).attempt.attempt), (JobState::Finished, 1));
    assert_eq!(lines(&file).len(), 1);
    cluster.agent_is("a1", AgentState::Ready).await;
}

/// A cluster in which jobs 1 to 3 have ended.
async fn with_three_jobs_done() -> Cluster {
    let cluster = Cluster::start().await;
    for _ in 0..3 {
        let job = cluster.shell("true", json!({})).await;
        assert_eq!(cluster.ends(job).await, JobState::Finished);
    }
    cluster
}

#[tokio::test]
async fn an_inbox_that_is_lost_is_made_anew_and_no_id_is_given_twice() {
    let mut cluster = with_three_jobs_done().await;
    let jetstream = cluster.user.bus().jetstream().clone();
    // While the dispatcher reads it, and while none runs.
    let mut newest = 3;
    for is_there in [true, false] {
        if !is_there {
            cluster.programs.kill("dispatcher");
        }
        jetstream.delete_stream(Stream::Inbox.name()).await.unwrap();
        cluster.programs.restart("registry").unwrap();
        if !is_there {
            cluster.programs.spawn("dispatcher", "allot-dispatcher", &[]).unwrap();
        }
        eventually("the inbox is there again", PATIENCE, || async {
            jetstream.get_stream(Stream::Inbox.name()).await.ok()
        })
        .await;
        let job = cluster.shell("true", json!({})).await;
        assert!(job.0 >= newest + 1_000_000, "{job} may have been given to one that was lost");
        assert_eq!(cluster.ends(job).await, JobState::Finished);
        newest = job.0;
    }
    allot_testkit::verify_ledger(&cluster.programs).await.unwrap();
}

#[tokio::test]
async fn ids_go_on_above_all_that_were_given_where_somebody_made_the_inbox_anew() {
    let mut cluster = with_three_jobs_done().await;
    cluster.programs.kill("dispatcher");
    let jetstream = cluster.user.bus().jetstream().clone();
    let inbox = jetstream.get_stream(Stream::Inbox.name()).await.unwrap().cached_info().config.clone();
    jetstream.delete_stream(Stream::Inbox.name()).await.unwrap();
    jetstream.create_stream(inbox).await.unwrap();
    assert_eq!(cluster.shell("true", json!({})).await.0, 1, "it has the id of another");
    cluster.programs.spawn("dispatcher", "allot-dispatcher", &[]).unwrap();
    eventually("the dispatcher says so", PATIENCE, || async {
        cluster.programs.log("dispatcher").contains("the inbox is another one").then_some(())
    })
    .await;
    let job = cluster.shell("true", json!({})).await;
    assert!(job.0 >= 1_000_004);
    assert_eq!(cluster.ends(job).await, JobState::Finished);
}

#[tokio::test]
async fn services_stop_that_have_read_another_ledger_than_there_is() {
    let cluster = Cluster::start().await;
    let job = cluster.shell("true", json!({})).await;
    assert_eq!(cluster.ends(job).await, JobState::Finished);
    let jetstream = cluster.user.bus().jetstream().clone();
    jetstream.delete_stream(Stream::Ledger.name()).await.unwrap();
    cluster.user.bus().ensure_streams().await.unwrap();
    for service in ["registry", "offers", "dispatcher"] {
        eventually("it says that the ledger is another one", PATIENCE, || async {
            cluster.programs.log(service).contains("the ledger is another one").then_some(())
        })
        .await;
    }
}
