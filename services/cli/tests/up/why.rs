//! `allot why` on a whole cluster: each way in which a job can wait, and some in which it does not.

use allot_testkit::{PATIENCE, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Said, Up};

impl Up {
    async fn submit(&self, words: &[&str]) -> String {
        let said = self.allot(&[&["submit"], words].concat()).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.out.trim().to_owned()
    }

    async fn why(&self, what: &str) -> String {
        let Said { code, out, err } = self.allot(&["why", what]).await;
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        out
    }

    async fn why_as_json(&self, what: &str) -> Value {
        serde_json::from_str(&self.allot(&["why", what, "-o", "json"]).await.out).unwrap()
    }

    /// Waits until what is told of a job holds all of this.
    async fn is_told(&self, what: &str, parts: &[&str]) -> String {
        eventually(&format!("{what} is told {parts:?}"), PATIENCE, || async {
            let told = self.why(what).await;
            parts.iter().all(|part| told.contains(part)).then_some(told)
        })
        .await
    }
}

#[tokio::test]
async fn a_wait_for_a_place_is_explained_by_the_allocator_that_decides() {
    let dir = TempDir::new().unwrap();
    let words = ["--agents", "2", "--agent-resources", "cpus=2,mem=1GiB", "--policy", "drf,fifo"];
    let up = Up::start(dir.path(), &words).await;
    let running = up.submit(&["-q", "web", "--tasks", "2", "--cpus", "1.5", "--", "sleep", "60"]).await;
    up.is_told(&running, &["does not wait: 2 running"]).await;
    let large = up.submit(&["-q", "research.big", "--cpus", "64", "--", "true"]).await;
    let busy = up.submit(&["-q", "research.big", "--tasks", "3", "--cpus", "1", "--", "true"]).await;
    let nowhere = up.submit(&["-q", "web", "--constraint", "zone == b", "--", "true"]).await;
    let told = up.is_told(&busy, &["all 3 tasks of job", "2 agents  busy in cpus"]).await;
    for part in [
        "is short of 0.5 cpus (1 asked, 0.5 free)",
        &format!("2nd in research.big, behind job {large} with 1 task\n"),
        "research.big has nothing, weight 1; no queue is served before it",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let told = up.is_told(&large, &["2 agents  too small in cpus"]).await;
    assert!(told.contains("short of 62 cpus (64 asked, 2 in all)"), "{told}");
    let told = up.is_told(&nowhere, &["2 agents  excluded by `zone == b`"]).await;
    for part in ["none: `zone == b` alone excludes 2", "web has 75.0% of cpus", "research.big has nothing"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let view = up.why_as_json(&busy).await;
    assert_eq!(view["place"]["reasons"], json!([{"reason": "busy", "resource": "cpus", "agents": 2}]));
    assert_eq!((&view["place"]["policy"], &view["waiting"]["for_place"]), (&json!("drf"), &json!(3)));
    assert_eq!(view["place"]["nearest"]["agent"]["short"][0]["short"], json!(0.5));
    let told = up.why(&format!("{busy}.2")).await;
    assert!(told.starts_with(&format!("task {busy}.2 has waited for a place for ")), "{told}");
    assert_eq!(up.allot(&["policy", "use", "fifo"]).await.code, 0);
    let told = up.is_told(&busy, &["2nd of all jobs", "2 agents  busy in cpus"]).await;
    assert!(!told.contains("share"), "under fifo queues do not rank: {told}");
    let agent =
        up.why_as_json(&busy).await["place"]["nearest"]["agent"]["agent"].as_str().unwrap().to_owned();
    assert_eq!(up.allot(&["agent", "drain", &agent]).await.code, 0);
    up.is_told(&busy, &["1 agent  busy in cpus", "1 agent  draining"]).await;
    up.stop().await;
}

#[tokio::test]
async fn a_job_that_waits_for_something_else_or_for_nothing_is_told_so() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &["--agent-resources", "cpus=2,mem=1GiB"]).await;
    let gate = dir.path().join("gate").display().to_string();
    let first = up.submit(&["--", "sh", "-c", &format!("until test -e {gate}; do sleep 0.02; done")]).await;
    let after = up.submit(&["--after", &first, "--", "true"]).await;
    up.is_told(&after, &["waits until the jobs have finished", &format!("job {first}  running")]).await;
    let flaky = up.submit(&["--retries", "1", "--backoff", "1h", "--", "false"]).await;
    up.is_told(&flaky, &["waits for its next try", "1 task, in 59m"]).await;
    let failed = up.submit(&["--tasks", "2", "--", "sh", "-c", "exit $((3 * ALLOT_TASK_INDEX))"]).await;
    let told = up.is_told(&failed, &["has failed", "1 finished, 1 failed"]).await;
    assert!(
        told.contains(&format!("task {failed}.1 is failed (exited_nonzero)")) && told.contains("exit code 3"),
        "{told}"
    );
    std::fs::write(&gate, "").unwrap();
    up.is_told(&after, &["has finished"]).await;
    let never = up.submit(&["--after", &failed, "--", "true"]).await;
    up.is_told(&never, &["never ran", &format!("job {failed}  failed")]).await;
    let said = up.allot(&["why", "99"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("there is no job 99 yet"), "{said:?}");
    let said = up.allot(&["why", &format!("{failed}.7")]).await;
    assert!(
        said.code == 1 && said.err.contains(&format!("its tasks are {failed}.0 to {failed}.1")),
        "{said:?}"
    );
    up.stop().await;
}

#[tokio::test]
async fn agents_that_are_drained_are_told_of_where_they_would_suit() {
    let dir = TempDir::new().unwrap();
    let up = Up::start(dir.path(), &["--agents", "2", "--agent-resources", "cpus=2,mem=1GiB"]).await;
    let agents: Value = serde_json::from_str(&up.allot(&["agents", "-o", "json"]).await.out).unwrap();
    let ids = [0, 1].map(|n: usize| agents[n]["agent"].as_str().unwrap().to_owned());
    assert_eq!(up.allot(&["agent", "drain", &ids[1]]).await.code, 0);
    let job = up.submit(&["--constraint", &format!("agent.id == {}", ids[1]), "--", "true"]).await;
    let drained = format!("drained: {}", ids[1]);
    let told = up.is_told(&job, &[&drained, "excluded by"]).await;
    assert!(told.contains(&format!("1 agent  {drained}")), "{told}");
    for words in [vec!["plan", "--job", &job], vec!["job", "show", &job]] {
        let said = up.allot(&words).await;
        assert!(said.out.contains(&format!("1 agent {drained}")), "{said:?}");
    }
    assert_eq!(up.allot(&["agent", "drain", &ids[0]]).await.code, 0);
    let told = up.is_told(&job, &["1 agent  drained: "]).await;
    assert!(!told.contains("the pool is empty"), "{told}");
    let said = up.allot(&["doctor"]).await;
    assert!(said.out.contains("allot agent undrain"), "{said:?}");
    up.stop().await;
}
