//! Scenarios played in a live cluster of the real services, with modelled agents: the allocators there grant what the
//! simulation does, in the same order.

use allot_e2e::{User, python_allocator, root};
use allot_testkit::{PATIENCE, Programs, eventually};
use serde_json::Value;

use crate::cluster::Cluster;

/// The services, without agents, and an allocator of this policy: `fifo` and the like, or `python-fifo`.
async fn cluster(policy: &str) -> Cluster {
    let mut programs = Programs::services().await.unwrap();
    match policy.strip_prefix("python-") {
        Some(policy) => {
            let launch = python_allocator(&programs, policy).unwrap();
            programs.launch("allocator", launch).unwrap();
        }
        None => {
            let first_fit = ["placement=first-fit".to_owned()];
            programs.spawn("allocator", &format!("allot-allocator-{policy}"), &first_fit).unwrap();
        }
    }
    let user = User::of(&programs).await.unwrap();
    let cluster = Cluster { programs, user };
    cluster.policy_decides(policy).await;
    cluster
}

/// Plays a scenario, a file or its text, and returns the document and the exit code.
async fn play(cluster: &Cluster, scenario: &str, allocator: &str) -> (Value, i32) {
    let written = cluster.scratch("scenario.yaml");
    let path = if scenario.contains('\n') {
        std::fs::write(&written, scenario).unwrap();
        written
    } else {
        root().join("crates/allot-sim/tests/scenarios").join(scenario)
    };
    let words = ["scenario", path.to_str().unwrap(), "--live", "--json", "--allocator", allocator];
    let said = cluster.allot(&words).await;
    assert!(!said.out.is_empty(), "{}", said.err);
    (serde_json::from_str(&said.out).unwrap(), said.code)
}

/// The queues of the grants that were made live, as a word.
fn queues(document: &Value) -> String {
    let grants = document["live"]["grants"].as_array().unwrap();
    grants.iter().map(|grant| grant["queue"].as_str().unwrap()).collect()
}

/// Plays scenarios one after the other; each has to come out as simulated.
async fn come_out_the_same(allocator: &str, scenarios: &[&str]) {
    let cluster = cluster(allocator).await;
    for scenario in scenarios {
        let (document, code) = play(&cluster, scenario, allocator).await;
        let live = &document["live"];
        assert_eq!(live["refused"], Value::Array(Vec::new()), "{scenario}");
        assert_eq!((&live["grants"], code), (&document["grants"], 0), "{scenario}");
        assert_eq!(live["equal"], Value::Bool(true));
    }
}

/// Everything that can happen: ends that are told and those that come by themselves, agents that join, leave, drain, shrink
/// and grow, cancellations.
const FIFO: [&str; 6] = [
    "backfill.yaml",
    UNTIL,
    "
policy: fifo:placement=first-fit
events:
  - {at: 5, submit: late, run: 1s}
  - {at: 5, agent: m2, resources: {cpus: 1}}
  - {at: 0, agent: m1, resources: {cpus: 1}}
  - {at: 0, submit: first, run: 5s}
  - {at: 0, submit: second, run: 1s}
",
    "
policy: fifo:placement=first-fit
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: J1, tasks: 2, run: 10s}
  - {at: 4, agent: m1, leaves: true}
  - {at: 5, agent: m2, resources: {cpus: 1}}
  - {at: 6, agent: m1, resources: {cpus: 1}, attributes: {zone: b}}
  - {at: 7, submit: J2, constraints: [zone == b], run: 1s}
",
    "
policy: fifo:placement=first-fit
events:
  - {at: 0, agent: m1, resources: {cpus: 1}}
  - {at: 0, submit: J1, tasks: 2, run: 2s}
  - {at: 1, agent: m1, drains: true}
  - {at: 9, agent: m1, drains: false}
",
    "
policy: fifo:placement=first-fit
events:
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: old, tasks: 4, run: forever}
  - {at: 1, agent: m1, resources: {cpus: 2}}
  - {at: 1, submit: new, tasks: 9, run: forever}
  - {at: 2, end: old, tasks: 2}
  - {at: 3, end: old, tasks: 1}
  - {at: 4, agent: m1, resources: {cpus: 4}}
  - {at: 5, cancel: new}
  - {at: 5, submit: last, tasks: 3, run: 1s}
",
];

/// Weights that change, under a policy that looks at them.
const WEIGHTS: &str = "
policy: drf
queues: {A: {}, B: {}}
events:
  - {at: 0, agent: m1, resources: {cpus: 6}}
  - {at: 0, submit: J1, queue: A, tasks: 50, run: 2s}
  - {at: 0, submit: J2, queue: B, tasks: 50, run: 2s}
  - {at: 1.5, queue: A, weight: 2}
until: 4.5
";

/// A limit that is raised, lowered below what is held, and lifted.
const LIMITS: &str = "
policy: drf
queues: {A: {limit: {cpus: 1}}, B: {}}
events:
  - {at: 0, agent: m1, resources: {cpus: 6}}
  - {at: 0, submit: J1, queue: A.x, tasks: 50, run: 2s}
  - {at: 0, submit: J2, queue: B, tasks: 5, run: 3s}
  - {at: 3, queue: A, limit: {cpus: 3}}
  - {at: 5, queue: A, limit: {tasks: 1}}
  - {at: 9, queue: A, limit: {}}
until: 12
";

/// A guarantee that is held back, then lent, then taken away, so that others borrow what it was.
const GUARANTEES: &str = "
policy: drf
queues: {rq: {guarantee: {cpus: 2}, hold_back: always}, other: {}}
events:
  - {at: 0, agent: m1, resources: {cpus: 4}}
  - {at: 0, submit: J1, queue: other, tasks: 30, run: 2s}
  - {at: 3, submit: J2, queue: rq, tasks: 3, run: 5s}
  - {at: 9, queue: rq, hold_back: never}
  - {at: 13, submit: J3, queue: rq, tasks: 2, run: 1s}
  - {at: 14, queue: rq, guarantee: {}}
until: 20
";

/// What is to happen after `until` does not, and what runs then is ended.
const UNTIL: &str = "
policy: fifo:placement=first-fit
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: J1, tasks: 9, run: 2s}
  - {at: 4, submit: last, run: 1s}
  - {at: 5, agent: m2, resources: {cpus: 8}}
  - {at: 5, submit: never, run: 1s}
until: 4
";

/// The pool and demands of the rows that compare policies [Ghodsi et al., NSDI 2011, §4.1].
fn compared(policy: &str, priorities: [i32; 2]) -> String {
    let [a, b] = priorities;
    format!(
        "
policy: {policy}
events:
  - {{at: 0, agent: m1, resources: {{cpus: 9, mem: 18GB}}}}
  - {{at: 0, submit: J1, queue: A, tasks: 100, priority: {a}, resources: {{cpus: 1, mem: 4GB}}}}
  - {{at: 0, submit: J2, queue: B, tasks: 100, priority: {b}, resources: {{cpus: 3, mem: 1GB}}}}
until: 10
"
    )
}

#[tokio::test]
async fn fifo_in_rust() {
    come_out_the_same("fifo", &FIFO).await;
}

#[tokio::test]
async fn fifo_in_python() {
    come_out_the_same("python-fifo", &FIFO).await;
}

#[tokio::test]
async fn drf_in_rust() {
    come_out_the_same("drf", &["nsdi.yaml", "nsdi-weighted.json", WEIGHTS, LIMITS, GUARANTEES]).await;
}

#[tokio::test]
async fn each_policy_grants_live_what_its_row_of_the_comparison_says() {
    let rows = [
        ("drf", [0, 0], "ABABA"),
        ("fair", [0, 0], "ABAAA"),
        ("asset", [0, 0], "ABABA"),
        ("priority", [1, 0], "AAAAB"),
        ("priority", [0, 1], "BBB"),
    ];
    for (policy, priorities, expected) in rows {
        let cluster = cluster(policy).await;
        let (document, code) = play(&cluster, &compared(policy, priorities), policy).await;
        assert_eq!((queues(&document).as_str(), code), (expected, 0), "{policy} {priorities:?}");
    }
}

#[tokio::test]
async fn drf_in_python() {
    come_out_the_same("python-drf", &["nsdi.yaml", "nsdi-weighted.json", WEIGHTS]).await;
}

#[tokio::test]
async fn priority_in_rust_and_in_python() {
    come_out_the_same("priority", &["nsdi-priority.toml"]).await;
    come_out_the_same("python-priority", &["nsdi-priority.toml"]).await;
}

#[tokio::test]
async fn an_allocator_that_does_something_else_is_told_so_and_the_cluster_is_left_empty() {
    let cluster = cluster("fifo").await;
    let (document, code) = play(&cluster, "nsdi.yaml", "fifo").await;
    assert_eq!(code, 1);
    assert_eq!(
        (&document["live"]["equal"], &document["live"]["differs_at"]),
        (&Value::Bool(false), &Value::from(1))
    );
    assert_eq!(document["live"]["grants"][1]["job"], "J1", "{document}");
    let said = cluster.allot(&["jobs", "--state", "running,queued", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap()["jobs"], Value::Array(Vec::new()));
    cluster.policy_decides("fifo").await;
    let gone = || async {
        let said = cluster.allot(&["agents", "-o", "json"]).await;
        let agents: Vec<Value> = serde_json::from_str(&said.out).ok()?;
        agents.iter().all(|agent| agent["state"] == "gone").then_some(())
    };
    eventually("the agents are gone", PATIENCE, gone).await;
}

#[tokio::test]
async fn a_cluster_with_agents_or_without_the_allocator_is_refused() {
    let mut cluster = cluster("fifo").await;
    let path = root().join("crates/allot-sim/tests/scenarios/nsdi.yaml");
    let words = ["scenario", path.to_str().unwrap(), "--live"];
    // A shadow of the policy does not decide.
    cluster.programs.spawn("shadow", "allot-allocator-drf", &["mode=shadow".to_owned()]).unwrap();
    eventually("the shadow is there", PATIENCE, || async {
        cluster.policy().await.filter(|view| view.allocators.len() == 2)
    })
    .await;
    let said = cluster.allot(&words).await;
    assert!(
        said.code == 1 && said.err.contains("no allocator of policy drf is heard from (there are: fifo)"),
        "{said:?}"
    );
    cluster.another_agent("mine", 1).await;
    let said = cluster.allot(&[&words[..], &["--allocator", "fifo"]].concat()).await;
    assert!(said.code == 1 && said.err.contains("agents of its own (mine)"), "{said:?}");
}
