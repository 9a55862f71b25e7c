//! What is submitted, good and bad.

use allot_bus::Subject;
use allot_model::view::JobList;
use allot_model::{JobId, JobState};
use serde_json::json;

use crate::cluster::Cluster;

#[tokio::test]
async fn a_bad_job_is_rejected_by_its_field_and_the_next_one_runs() {
    let cluster = Cluster::start().await;
    let cases: [(&[u8], &str); 14] = [
        (b"", ""),
        (b"{", ""),
        (b"null", ""),
        (b"[1, 2]", ""),
        (b"\x00\xff\xfe\x80", ""),
        (b"{\"command\": [\"true\"], \"tsks\": 3}", "tsks"),
        (b"{\"command\": \"\"}", "command"),
        (b"{\"tasks\": 3}", "command"),
        (b"{\"command\": [\"true\"], \"tasks\": 0}", "tasks"),
        (b"{\"command\": [\"true\"], \"tasks\": -1}", "tasks"),
        (b"{\"command\": [\"true\"], \"tasks\": 99999999999999999999}", "tasks"),
        (b"{\"command\": [\"true\"], \"resources\": {\"cpus\": \"many\"}}", "resources.cpus"),
        (b"{\"command\": [\"true\"], \"resources\": {\"mem\": -5}}", "resources.mem"),
        (b"{\"command\": [\"true\"], \"after\": [999999]}", "after"),
    ];
    for (payload, field) in cases {
        let shown = String::from_utf8_lossy(payload).into_owned();
        let bad = cluster.user.publish("research", payload.to_vec(), None).await.unwrap();
        let view = cluster.over(bad).await;
        assert_eq!(view.summary.state, JobState::Rejected, "{shown}");
        let rejection = view.rejection.unwrap();
        assert!(
            rejection.field.starts_with(field) && rejection.field.is_empty() == field.is_empty(),
            "{shown}: {rejection:?}"
        );
        assert!(!rejection.message.is_empty(), "{shown}");
    }
    let good = cluster.user.submit("research", &json!({"command": ["true"]})).await.unwrap();
    assert_eq!(good, JobId(15));
    assert_eq!(cluster.ends(good).await, JobState::Finished);
}

#[tokio::test]
async fn the_same_message_id_twice_is_one_job() {
    let cluster = Cluster::start().await;
    let job = || b"{\"command\": [\"true\"]}".to_vec();
    let first = cluster.user.publish("default", job(), Some("nightly")).await.unwrap();
    let again = cluster.user.publish("default", job(), Some("nightly")).await.unwrap();
    let other = cluster.user.publish("default", job(), Some("weekly")).await.unwrap();
    assert_eq!((again, other), (first, JobId(first.0 + 1)));
    assert_eq!(cluster.ends(other).await, JobState::Finished);
    assert_eq!(cluster.ends(first).await, JobState::Finished);
    let list: JobList = cluster.user.ask(Subject::JobsList, &json!({})).await.unwrap();
    assert_eq!(list.jobs.iter().map(|job| job.job).collect::<Vec<_>>(), [other, first]);
}

#[tokio::test]
async fn a_job_can_be_published_with_nothing_but_a_nats_client() {
    let cluster = Cluster::start().await;
    let nats = async_nats::connect(cluster.programs.nats.url()).await.unwrap();
    let payload = "{\"command\": [\"true\"], \"resources\": {\"cpus\": 1}}";
    nats.publish("allot.v1.submit.research.vision", payload.into()).await.unwrap();
    nats.flush().await.unwrap();
    let view = cluster.over(JobId(1)).await;
    assert_eq!((view.summary.state, view.summary.queue.as_str()), (JobState::Finished, "research.vision"));
}
