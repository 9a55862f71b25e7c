//! Tasks that are stopped for others.

use allot_bus::Subject;
use allot_e2e::User;
use allot_model::view::AgentState;
use allot_model::{Feed, FeedItem, JobState, PoolName, Preemptor, Reason, RefusalCode, TaskState};
use allot_proto::Wire;
use allot_testkit::{PATIENCE, Programs, eventually, within};
use futures::StreamExt;
use serde_json::json;

use crate::cluster::{Cluster, lines, only_run};

/// One agent of 4 processors, and an allocator by `priority` that has tasks stopped for others; `allowed` is what the offers
/// service allows.
async fn cluster(allowed: &str) -> Cluster {
    let mut programs = Programs::start().await.unwrap();
    let set = |settings: &[&str]| settings.iter().map(|setting| (*setting).to_owned()).collect::<Vec<_>>();
    programs.spawn("registry", "allot-registry", &[]).unwrap();
    programs.spawn("offers", "allot-offers", &set(&[&format!("preempt={allowed}")])).unwrap();
    programs.spawn("dispatcher", "allot-dispatcher", &[]).unwrap();
    programs.spawn("allocator", "allot-allocator-priority", &set(&["preempt=both"])).unwrap();
    programs.spawn_agent("a1", 4).unwrap();
    let user = User::of(&programs).await.unwrap();
    let cluster = Cluster { programs, user };
    cluster.policy_decides("priority").await;
    cluster.agent_is("a1", AgentState::Ready).await;
    cluster
}

#[tokio::test]
async fn an_urgent_job_gets_its_place_and_who_made_room_runs_again_and_finishes() {
    let cluster = cluster("both").await;
    let (tries, gate, urgent_gate) =
        (cluster.scratch("tries"), cluster.scratch("gate"), cluster.scratch("urgent"));
    let line = format!(
        "echo $ALLOT_ATTEMPT >> {}; until test -e {}; do sleep 0.01; done",
        tries.display(),
        gate.display()
    );
    let patient =
        cluster.shell(&line, json!({"retries": 1, "kill_grace": "2s", "resources": {"cpus": 4}})).await;
    cluster.runs(patient, 1).await;
    let urgent = cluster.wait_for(&urgent_gate, json!({"priority": 10, "resources": {"cpus": 4}})).await;
    cluster.runs(urgent, 1).await;

    let waits = cluster.user.show(patient).await.unwrap();
    let run = only_run(&waits);
    assert_eq!((run.attempt.state, run.attempt.attempt), (TaskState::Queued, 2));
    let by = Some(Preemptor { job: urgent, queue: "default".parse().unwrap() });
    assert_eq!((run.earlier[0].reason, &run.earlier[0].by), (Reason::PreemptedForPriority, &by));
    let for_whom = format!("stopped for job {urgent} of default");
    let why = cluster.allot(&["why", &patient.to_string()]).await;
    assert!(why.out.contains(&for_whom), "{why:?}");
    let shown = cluster.allot(&["job", "show", &patient.to_string()]).await;
    assert!(shown.out.contains(&format!("for job {urgent} of default")), "{shown:?}");
    let events = cluster.allot(&["events", "-n", "1000"]).await;
    let told =
        format!("{patient}.0#1 on a1: is to make room on a1 for job {urgent} (preempted_for_priority)");
    assert!(events.out.contains(&told), "{events:?}");

    std::fs::write(&urgent_gate, "").unwrap();
    assert_eq!(cluster.ends(urgent).await, JobState::Finished);
    std::fs::write(&gate, "").unwrap();
    assert_eq!(cluster.ends(patient).await, JobState::Finished);
    assert_eq!(lines(&tries), ["1", "2"], "each try once");
}

#[tokio::test]
async fn an_urgent_gang_gets_all_of_its_places_on_several_agents() {
    let mut cluster = cluster("priority").await;
    cluster.another_agent("a2", 4).await;
    let (gate, urgent_gate) = (cluster.scratch("gate"), cluster.scratch("urgent"));
    let patient = cluster.wait_for(&gate, json!({"tasks": 5, "retries": 1, "resources": {"cpus": 1}})).await;
    cluster.runs(patient, 5).await;
    let gang = json!({"tasks": 2, "gang": true, "priority": 10, "resources": {"cpus": 4}});
    let urgent = cluster.wait_for(&urgent_gate, gang).await;
    cluster.runs(urgent, 2).await;
    let stopped = cluster.user.show(patient).await.unwrap();
    assert_eq!((stopped.summary.counts.running, stopped.summary.counts.queued), (0, 5), "{stopped:?}");
    std::fs::write(&urgent_gate, "").unwrap();
    assert_eq!(cluster.ends(urgent).await, JobState::Finished);
    std::fs::write(&gate, "").unwrap();
    assert_eq!(cluster.ends(patient).await, JobState::Finished);
}

#[tokio::test]
async fn a_queue_gets_back_what_is_guaranteed_to_it() {
    let cluster = cluster("guarantee").await;
    let gate = cluster.scratch("gate");
    cluster.command(Subject::QueuesSet, json!({"queue": "sure", "guarantee": {"cpus": 2}})).await;
    let borrower = cluster.wait_for(&gate, json!({"tasks": 4, "retries": 1, "resources": {"cpus": 1}})).await;
    cluster.runs(borrower, 4).await;
    let line = format!("until test -e {}; do sleep 0.01; done", gate.display());
    let job = json!({"command": line, "tasks": 4, "resources": {"cpus": 1}});
    let owner = cluster.user.submit("sure", &job).await.unwrap();
    cluster.runs(owner, 2).await;
    let left = cluster.job_is("down to two", borrower, |view| view.summary.counts.running == 2).await;
    assert_eq!(left.summary.counts.queued, 2, "{left:?}");
    std::fs::write(&gate, "").unwrap();
    for job in [owner, borrower] {
        assert_eq!(cluster.ends(job).await, JobState::Finished);
    }
}

#[tokio::test]
async fn where_preemption_is_off_an_allocator_that_asks_for_it_stops_nothing() {
    let cluster = cluster("none").await;
    let (gate, urgent_gate) = (cluster.scratch("gate"), cluster.scratch("urgent"));
    let patient = cluster.wait_for(&gate, json!({"retries": 1, "resources": {"cpus": 4}})).await;
    cluster.runs(patient, 1).await;
    let offers = Subject::PoolOffers(PoolName::default_pool()).to_string();
    let mut feed = cluster.user.bus().client().subscribe(offers).await.unwrap();
    let urgent = cluster.wait_for(&urgent_gate, json!({"priority": 10, "resources": {"cpus": 4}})).await;
    let refused = async {
        loop {
            let message = feed.next().await.expect("the feed goes on");
            for item in Feed::decode(&message.payload).unwrap().items {
                if let FeedItem::Refused { code, .. } = item {
                    return code;
                }
            }
        }
    };
    assert_eq!(within("the preemption is refused", refused).await, RefusalCode::PreemptionOff);
    cluster.runs(patient, 1).await;
    std::fs::write(&gate, "").unwrap();
    std::fs::write(&urgent_gate, "").unwrap();
    let view = cluster.over(patient).await;
    assert_eq!((view.summary.state, only_run(&view).attempt.attempt), (JobState::Finished, 1));
    eventually("the urgent job has its turn", PATIENCE, || async {
        cluster.user.show(urgent).await.ok().filter(|view| view.summary.state == JobState::Finished)
    })
    .await;
}
