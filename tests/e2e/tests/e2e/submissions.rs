//! What is submitted, and how.

use allot_bus::Subject;
use allot_model::view::JobList;
use allot_model::{JobId, JobState};
use serde_json::json;

use crate::cluster::Cluster;

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
