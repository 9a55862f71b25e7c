//! The allocator of `examples/allocator-python` in clusters of the real services: an allocator in another language is one
//! like any other.

use allot_bus::Subject;
use allot_e2e::{User, python, python_allocator, root};
use allot_model::view::AgentState;
use allot_model::{AllocatorMessage, Feed, FromAllocator, JobId, JobState, OffersRecord, PoolName, Record};
use allot_proto::Wire;
use allot_testkit::{PATIENCE, Programs, entries, eventually, within};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::cluster::{Cluster, lines, numbers};

/// The services and the Python allocator with this policy, and no agent.
async fn without_agents(policy: &str) -> Cluster {
    let programs = Programs::services().await.unwrap();
    let user = User::of(&programs).await.unwrap();
    let mut cluster = Cluster { programs, user };
    launch(&mut cluster, policy);
    cluster.policy_decides(&format!("python-{policy}")).await;
    cluster
}

fn launch(cluster: &mut Cluster, policy: &str) {
    let launch = python_allocator(&cluster.programs, policy).unwrap();
    cluster.programs.launch("python", launch).unwrap();
}

async fn with_agents(policy: &str, agents: usize, cpus: u32) -> Cluster {
    let mut cluster = without_agents(policy).await;
    for number in 1..=agents {
        cluster.another_agent(&format!("a{number}"), cpus).await;
    }
    cluster
}

async fn use_policy(cluster: &Cluster, policy: &str) {
    cluster.command(Subject::PoolUse(PoolName::default_pool()), json!({"policy": policy})).await;
    cluster.policy_decides(policy).await;
}

#[tokio::test]
async fn jobs_of_several_queues_run_all_their_tasks_once() {
    let cluster = with_agents("drf", 2, 4).await;
    let ran = cluster.scratch("ran");
    let line = format!("echo $ALLOT_JOB_ID.$ALLOT_TASK_INDEX.$ALLOT_AGENT >> {}", ran.display());
    let jobs = [
        ("research.vision", json!({"tasks": 60})),
        ("research.audio", json!({"tasks": 40, "resources": {"cpus": 0.5, "mem": "64MiB"}})),
        ("web", json!({"tasks": 1, "resources": {"cpus": 4}})),
        ("web", json!({"tasks": 25, "constraints": ["agent.id == a2"]})),
        ("web", json!({"tasks": 5, "constraints": ["agent.id not in (a2, \"a 3\")", "not exists zone"]})),
    ];
    let mut expected = Vec::new();
    let mut ids = Vec::new();
    for (queue, mut job) in jobs {
        job["command"] = line.clone().into();
        let id = cluster.user.submit(queue, &job).await.unwrap();
        expected.extend((0..job["tasks"].as_u64().unwrap()).map(|task| format!("{id}.{task}")));
        ids.push(id);
    }
    for id in &ids {
        assert_eq!(cluster.ends(*id).await, JobState::Finished);
    }
    let ran = lines(&ran);
    let mut tasks: Vec<&str> =
        ran.iter().filter_map(|line| line.rsplit_once('.')).map(|(task, _)| task).collect();
    tasks.sort_unstable();
    expected.sort_unstable();
    assert_eq!(tasks, expected);
    let on = |job: JobId, agent: &str| {
        ran.iter().filter(|line| line.starts_with(&format!("{job}."))).all(|line| line.ends_with(agent))
    };
    assert!(on(ids[3], "a2") && on(ids[4], "a1"), "{ran:?}");
}

/// What the queues `A` and `B` of the goldens ask for: 100 tasks of 1 cpu and 4 GB, and of 3 cpus and 1 GB.
fn demand(queue: &str, priority: i32) -> Value {
    let resources =
        if queue == "A" { json!({"cpus": 1, "mem": "4GB"}) } else { json!({"cpus": 3, "mem": "1GB"}) };
    json!({"command": ["sleep", "600"], "tasks": 100, "resources": resources, "priority": priority})
}

/// The goldens G1 and G2: an agent of 9 cpus and 18 GB joins a cluster in which both queues wait, and the grants come in
/// this order, a letter for each task.
async fn grants_come(policy: &str, weights: [u32; 2], priorities: [i32; 2], expected: &str) {
    let mut cluster = without_agents(policy).await;
    let mut jobs = Vec::new();
    for (queue, (weight, priority)) in ["A", "B"].into_iter().zip(weights.into_iter().zip(priorities)) {
        cluster.command(Subject::QueuesSet, json!({"queue": queue, "weight": weight})).await;
        jobs.push(cluster.user.submit(queue, &demand(queue, priority)).await.unwrap());
        let waits = || async { cluster.queue(queue).await.filter(|view| view.pending == 100) };
        eventually(&format!("{queue} waits"), PATIENCE, waits).await;
    }
    let settings = ["id=m1", "resources.cpus=9", "resources.mem=18GB"].map(str::to_owned);
    let data_dir = format!("data_dir={}", cluster.scratch("m1").display());
    cluster.programs.spawn("m1", "allot-agent", &[settings.to_vec(), vec![data_dir]].concat()).unwrap();
    cluster.agent_is("m1", AgentState::Ready).await;
    let grants = eventually("the agent is full", PATIENCE, || async {
        let grants = grants(&cluster, &jobs).await;
        (grants.len() >= expected.len()).then_some(grants)
    })
    .await;
    assert_eq!(grants, expected, "{policy} with weights {weights:?} and priorities {priorities:?}");
}

/// Whose tasks were placed, in order: `A` for the first job, `B` for the second.
async fn grants(cluster: &Cluster, jobs: &[JobId]) -> String {
    let mut letters = String::new();
    for entry in entries(cluster.user.bus()).await.unwrap() {
        let Record::Offers(OffersRecord::Allocated { placements, .. }) = entry.record else { continue };
        for placement in placements {
            let letter = if placement.run.job == jobs[0] { "A" } else { "B" };
            letters += &letter.repeat(usize::try_from(placement.run.tasks.count()).unwrap());
        }
    }
    letters
}

#[tokio::test]
async fn golden_drf() {
    grants_come("drf", [1, 1], [0, 0], "ABABA").await;
}

#[tokio::test]
async fn golden_drf_with_weights() {
    grants_come("drf", [2, 1], [0, 0], "ABAAA").await;
}

#[tokio::test]
async fn golden_fair_on_cpus() {
    grants_come("fair", [1, 1], [0, 0], "ABAAA").await;
}

#[tokio::test]
async fn golden_priority_of_a() {
    grants_come("priority", [1, 1], [2, 1], "AAAAB").await;
}

#[tokio::test]
async fn golden_priority_of_b() {
    grants_come("priority", [1, 1], [1, 2], "BBB").await;
}

#[tokio::test]
async fn golden_fifo() {
    grants_come("fifo", [1, 1], [0, 0], "AAAAB").await;
}

/// A job of so many short tasks, each of which writes its number down, and the file.
async fn counting(cluster: &Cluster, tasks: u32) -> (JobId, std::path::PathBuf) {
    let file = cluster.scratch("counted");
    let line = format!("echo $ALLOT_TASK_INDEX >> {}; sleep 0.02", file.display());
    (cluster.shell(&line, json!({"tasks": tasks})).await, file)
}

async fn counted(file: &std::path::Path, enough: usize) {
    eventually(&format!("{enough} tasks have run"), PATIENCE, || async {
        (lines(file).len() >= enough).then_some(())
    })
    .await;
}

#[tokio::test]
async fn restarts_of_the_offers_service_and_of_itself_lose_no_task_and_run_none_twice() {
    let mut cluster = with_agents("fifo", 2, 4).await;
    let (job, file) = counting(&cluster, 400).await;
    counted(&file, 50).await;
    cluster.programs.restart("offers").unwrap();
    counted(&file, 150).await;
    cluster.programs.restart("python").unwrap();
    counted(&file, 250).await;
    cluster.programs.restart("offers").unwrap();
    cluster.programs.restart("python").unwrap();
    assert_eq!(cluster.ends(job).await, JobState::Finished);
    assert_eq!(numbers(&file), (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn handing_over_to_an_allocator_in_rust_and_back_loses_no_task_and_runs_none_twice() {
    let mut cluster = with_agents("drf", 2, 4).await;
    cluster.standby("drf").await;
    let (job, file) = counting(&cluster, 400).await;
    for (enough, policy) in [(50, "drf"), (150, "python-drf"), (250, "drf"), (300, "python-drf")] {
        counted(&file, enough).await;
        use_policy(&cluster, policy).await;
    }
    assert_eq!(cluster.ends(job).await, JobState::Finished);
    assert_eq!(numbers(&file), (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_says_goodbye_when_it_is_asked_to_stop_and_another_takes_over() {
    let mut cluster = with_agents("drf", 1, 4).await;
    cluster.standby("fifo").await;
    let subject = Subject::PoolGrants(PoolName::default_pool()).to_string();
    let mut said = cluster.user.bus().client().subscribe(subject).await.unwrap();
    cluster.user.bus().client().flush().await.unwrap();
    cluster.programs.stop("python").await.unwrap();
    let goodbye = async {
        loop {
            let said = FromAllocator::decode(&said.next().await.unwrap().payload).unwrap();
            if said.messages.contains(&AllocatorMessage::Goodbye) {
                return said.instance;
            }
        }
    };
    let instance = within("it says goodbye", goodbye).await;
    assert!(instance.as_str().starts_with("python-"));
    cluster.policy_decides("fifo").await;
    let job = cluster.shell("true", json!({"tasks": 10})).await;
    assert_eq!(cluster.ends(job).await, JobState::Finished);
}

/// The page's example is played to the allocator by `documentation.py`; here its messages are read as the services do.
#[test]
fn the_session_in_the_documentation_goes_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let (script, page) =
        (root().join("tests/e2e/documentation.py"), root().join("docs/allocator-protocol.md"));
    let launch = python(dir.path(), &[script.to_str().unwrap(), page.to_str().unwrap()]).unwrap();
    let mut command = std::process::Command::new(launch.program);
    let output = command.args(launch.arguments).envs(launch.environment).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    let (mut heard, mut said_back) = (0, 0);
    for (who, digits) in said.lines().filter_map(|line| line.split_once(' ')) {
        let bytes: Vec<u8> = digits.as_bytes().chunks(2).map(byte).collect();
        if who == "offers" {
            heard += 1;
            assert!(Feed::decode(&bytes).unwrap().session.0 == 4);
        } else {
            said_back += 1;
            assert_eq!(FromAllocator::decode(&bytes).unwrap().instance.as_str(), "mine-1");
        }
    }
    assert_eq!((heard, said_back), (5, 5));
}
