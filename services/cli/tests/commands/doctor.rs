//! `allot doctor` at clusters with something wrong.

use allot_bus::{Stream, Subject};
use allot_model::{DispatcherRecord, JobId, PoolName};
use allot_shell::{Bus, NatsConfig, Secret, health};
use allot_testkit::{NatsServer, PATIENCE, eventually};
use async_nats::jetstream::stream::Config;
use serde_json::{Value, json};

use crate::{Said, World, allot, command, said};

/// What was found about something, as `state: found`.
fn found(said: &Said, check: &str) -> String {
    let report = said.json();
    let checks = report["checks"].as_array().unwrap();
    let text = |check: &Value| {
        let word = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
        assert!(word("state") == "ok" || !word("advice").is_empty(), "says what to do: {check}");
        format!("{}: {}", word("state"), word("found"))
    };
    checks.iter().find(|one| one["check"] == check).map(text).unwrap_or_default()
}

#[tokio::test]
async fn a_server_that_is_not_there_is_all_that_is_told() {
    let said = allot("nats://127.0.0.1:1", &["doctor"]).await;
    assert_eq!((said.code, said.err.as_str()), (1, ""), "{said:?}");
    assert!(said.out.starts_with("error    connection  no NATS server answers at nats://127.0.0.1:1"));
    assert!(said.out.contains("→ start a cluster with `allot up`") && said.out.ends_with("\n1 error\n"));
}

#[tokio::test]
async fn a_server_on_which_allot_never_ran_lacks_everything_but_itself() {
    let world = World::without_streams().await;
    let said = world.allot(&["doctor", "-o", "json"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(found(&said, "connection").starts_with("ok: nats://127.0.0.1:"), "{said:?}");
    assert!(found(&said, "server").starts_with("ok: nats-server 2."), "{said:?}");
    assert!(found(&said, "jetstream").starts_with("ok: on"), "{said:?}");
    for check in ["ALLOT_LEDGER", "registry", "offers", "dispatcher", "submitting"] {
        assert!(found(&said, check).starts_with("error: "), "{check}: {said:?}");
    }
}

#[tokio::test]
async fn a_cluster_of_which_only_a_part_is_there_is_told_part_by_part() {
    let world = World::new().await;
    let _listed = health::list(&world.bus, "allot-registry", "0.0.1", "a test").await.unwrap();
    world.answering(&Subject::AgentsList, json!({"ok": []})).await;
    let _silent =
        health::list(&world.bus, "allot-dispatcher", env!("CARGO_PKG_VERSION"), "a test").await.unwrap();
    world
        .answering(
            &Subject::PoolPolicy(PoolName::default_pool()),
            json!({"ok": {"chosen": null, "epoch": 0, "allocators": []}}),
        )
        .await;
    let said = world.allot(&["doctor", "-o", "json"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let registry = found(&said, "registry");
    assert!(registry.starts_with("warning: 0.0.1 on ") && registry.contains("answers in"), "{said:?}");
    assert!(found(&said, "dispatcher").ends_with("but does not answer"), "{said:?}");
    assert!(found(&said, "offers").contains("not listed by name"), "{said:?}");
    assert_eq!(found(&said, "policy"), "error: no allocator is active: nothing is placed");
    assert_eq!(found(&said, "agents"), "error: none");
    assert!(found(&said, "submitting").starts_with("ok: to queue default is allowed"), "{said:?}");
    let mut inbox = world.bus.jetstream().get_stream(Stream::Inbox.name()).await.unwrap();
    assert_eq!(inbox.info().await.unwrap().state.last_sequence, 0, "nothing was submitted");
}

#[tokio::test]
async fn a_stream_that_is_not_as_allot_made_it_is_told_field_by_field() {
    let world = World::new().await;
    let jetstream = world.bus.jetstream();
    let made = jetstream.get_stream(Stream::Ledger.name()).await.unwrap().cached_info().config.clone();
    let changed = Config { max_age: std::time::Duration::from_secs(3_600), max_messages: 5, ..made };
    jetstream.update_stream(changed).await.unwrap();
    let said = world.allot(&["doctor", "-o", "json"]).await;
    let ledger = found(&said, "ALLOT_LEDGER");
    for part in ["error: ", "max_age is 1h and has to be unlimited", "max_msgs is 5 and has to be unlimited"]
    {
        assert!(ledger.contains(part), "{part}: {ledger}");
    }
    assert!(found(&said, "ALLOT_OUTPUT").starts_with("ok: 0 messages"), "{said:?}");
}

#[tokio::test]
async fn a_stream_that_was_lost_is_told_from_one_that_never_was() {
    let world = World::new().await;
    world.happened([DispatcherRecord::JobReady { job: JobId(12) }]).await;
    let jetstream = world.bus.jetstream();
    let config = jetstream.get_stream(Stream::Inbox.name()).await.unwrap().cached_info().config.clone();
    jetstream.delete_stream(Stream::Inbox.name()).await.unwrap();
    let said = world.allot(&["doctor", "-o", "json"]).await;
    let inbox = found(&said, "ALLOT_INBOX");
    assert!(inbox.starts_with("error: lost: it is not there, and ALLOT_LEDGER has messages"), "{inbox}");
    // Made anew by someone who does not know the ids that jobs have.
    jetstream.create_stream(config).await.unwrap();
    let job = json!({
        "job": 12, "name": null, "queue": "web", "state": "running", "reason": null, "tasks": 1, "counts": {},
        "submitted_at": 1, "started_at": 2, "ended_at": null,
    });
    world.answering(&Subject::JobsList, json!({"ok": {"jobs": [job], "next": null, "looked_at": 1}})).await;
    let said = world.allot(&["doctor", "-o", "json"]).await;
    let inbox = found(&said, "ALLOT_INBOX");
    assert!(inbox.contains("its last id is 0, and job 12 was read from it"), "{inbox}");
}

#[tokio::test]
async fn in_a_cluster_it_is_told_what_the_loss_of_servers_does_and_that_no_majority_is_up() {
    let (mut servers, _routes) = NatsServer::start_cluster(3).await.unwrap();
    let url = servers[0].url();
    let ledger = async |replicas| {
        let config = NatsConfig { replicas, ..servers[0].config() };
        Bus::connect(&config, "test").await.unwrap().ensure_streams().await.unwrap();
        let all_are_up_to_date = || async {
            let ledger = found(&allot(&url, &["doctor", "-o", "json"]).await, "ALLOT_LEDGER");
            let settled =
                ["not up to date", "about to agree", "no server"].iter().all(|not| !ledger.contains(not));
            settled.then_some(ledger)
        };
        eventually("the servers agree", PATIENCE, all_are_up_to_date).await
    };
    let once = ledger(1).await;
    assert!(
        once.starts_with("warning: ") && once.contains("the loss of that server stops everything"),
        "{once}"
    );
    let twice = ledger(2).await;
    assert!(
        twice.starts_with("warning: ") && twice.contains("the loss of either stops everything"),
        "{twice}"
    );
    let thrice = ledger(3).await;
    assert!(thrice.starts_with("ok: ") && thrice.ends_with("on 3 servers"), "{thrice}");
    servers[1..].iter_mut().for_each(NatsServer::kill);
    // A server takes ten seconds to notice that nobody follows it any more, and may take its peers for well until then.
    eventually("it is said that no majority is up", 2 * PATIENCE, || async {
        let said = allot(&url, &["doctor", "-o", "json"]).await;
        assert_eq!(said.code, 1, "{said:?}");
        let is_told = |found: String| {
            found.starts_with("error: ")
                && ["no majority: ", "no server", "about to agree"].iter().any(|told| found.contains(told))
        };
        (is_told(found(&said, "jetstream")) && is_told(found(&said, "ALLOT_LEDGER"))).then_some(())
    })
    .await;
}

/// A tenant that may submit to its own queue, list jobs and see what the server says of it; and someone who may do all.
const USERS: &str = r#"authorization { users: [
    { user: research, password: p, permissions: {
        publish: ["allot.v1.submit.research", "allot.v1.submit.research.>", "allot.v1.jobs.list", "allot.v1.job.*.show", "$SYS.REQ.USER.INFO"]
        subscribe: ["_INBOX_research.>"] } }
    { user: operator, password: p }
] }"#;

async fn as_tenant(url: &str, words: &[&str]) -> Said {
    let mut command = command(url, words);
    command.env("ALLOT_NATS_USER", "research").env("ALLOT_NATS_PASSWORD", "p");
    said(command.env("ALLOT_NATS_INBOX_PREFIX", "_INBOX_research").output().await.unwrap())
}

#[tokio::test]
async fn a_user_is_told_what_is_not_allowed_with_the_subject() {
    let server = NatsServer::start_with(USERS).await.unwrap();
    let config = NatsConfig {
        user: Some("operator".into()),
        password: Some(Secret::new("p".into())),
        ..server.config()
    };
    let bus = Bus::connect(&config, "test").await.unwrap();
    bus.ensure_streams().await.unwrap();
    let url = server.url();
    let tenant = async |words: &[&str]| as_tenant(&url, words).await;
    let said = tenant(&["doctor", "-o", "json"]).await;
    assert!(found(&said, "connection").contains("as user research"), "{said:?}");
    assert!(found(&said, "submitting").starts_with("ok: to queue research is allowed"), "{said:?}");
    assert_eq!(found(&said, "allowed"), "ok: list jobs, show jobs");
    let denied = found(&said, "not allowed");
    for part in [
        "cancel jobs: NATS does not let this user publish to allot.v1.job.0.cancel",
        "drain agents: ",
        "read output: ",
    ] {
        assert!(denied.contains(part), "{part}: {denied}");
    }
    let other = tenant(&["doctor", "--queue", "web", "-o", "json"]).await;
    let submitting = found(&other, "submitting");
    assert!(
        submitting.starts_with("error: to queue web: NATS does not let")
            && submitting.ends_with("allot.v1.submit.web")
    );
    // Other commands say it too, rather than that nobody answers.
    let said = tenant(&["cancel", "1"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("publish to allot.v1.job.1.cancel") && said.err.contains("allot doctor"),
        "{said:?}"
    );
    let said = tenant(&["events"]).await;
    assert!(said.code == 1 && said.err.contains("$JS.API.STREAM.INFO.ALLOT_LEDGER"), "{said:?}");
    let said = tenant(&["submit", "-q", "web", "--", "true"]).await;
    assert!(said.code == 1 && said.err.contains("allot.v1.submit.web"), "{said:?}");
    let said = tenant(&["submit", "-q", "research", "--", "true"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "1\n"), "{said:?}");
    // Without the ledger, ends are heard of by asking.
    let asked = std::sync::atomic::AtomicU64::new(0);
    let world = World { server, bus };
    let job = move |_| {
        let state =
            if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 2 { "failed" } else { "running" };
        json!({"ok": {
            "job": 2, "name": null, "queue": "research", "state": state, "reason": null, "tasks": 1, "counts": {},
            "submitted_at": 1, "started_at": 2, "ended_at": null, "spec": null, "rejection": null, "more_runs": false, "runs": [],
        }})
    };
    world.answering_with(&Subject::JobShow(JobId(2)), job).await;
    let said = tenant(&["submit", "-q", "research", "--wait", "--", "true"]).await;
    assert_eq!((said.code, said.out.as_str()), (1, "2\n"), "{said:?}");
    assert!(said.err.contains("job 2 failed"), "{said:?}");
}
