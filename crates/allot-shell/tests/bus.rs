//! Streams and the list of services on a real nats-server.
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use allot_bus::{Stream, Subject};
use allot_model::ledger::Writer;
use allot_shell::ledger::reader::StreamReader;
use allot_shell::{Bus, health, services};
use allot_testkit::{NatsServer, PATIENCE, eventually, within};
use async_nats::jetstream::stream::Config;

async fn config_of(bus: &Bus, stream: Stream) -> Config {
    bus.jetstream().get_stream(stream.name()).await.unwrap().cached_info().config.clone()
}

#[tokio::test]
async fn streams_are_set_up_once_by_however_many_services() {
    let server = NatsServer::start().await.unwrap();
    let buses = [server.bus().await.unwrap(), server.bus().await.unwrap(), server.bus().await.unwrap()];
    for done in futures::future::join_all(buses.iter().map(Bus::ensure_streams)).await {
        done.unwrap();
    }
    for stream in Stream::ALL {
        assert_eq!(config_of(&buses[0], stream).await.subjects, stream.settings().subjects);
    }
}

#[tokio::test]
async fn a_server_that_takes_small_messages_only_is_refused_with_what_to_set() {
    let server = NatsServer::start_with("max_payload: 64KB").await.unwrap();
    let error = server.bus_with_streams().await.unwrap_err().to_string();
    assert!(error.contains("65536 bytes") && error.contains("`max_payload: 1MB`"), "{error}");
}

#[tokio::test]
async fn settings_that_allot_rests_on_are_restored_and_others_stay_as_the_operator_has_them() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let created = config_of(&bus, Stream::Inbox).await;
    let metadata = [("owner".to_owned(), "operations".to_owned())].into_iter().collect();
    let changed = Config { max_message_size: 17, metadata, ..created.clone() };
    bus.jetstream().update_stream(changed).await.unwrap();
    bus.ensure_streams().await.unwrap();
    let restored = config_of(&bus, Stream::Inbox).await;
    assert_eq!(restored.max_message_size, created.max_message_size);
    assert_eq!(restored.metadata.get("owner").map(String::as_str), Some("operations"));
    bus.ensure_streams().await.unwrap();
    assert_eq!(config_of(&bus, Stream::Inbox).await, restored);
}

#[tokio::test]
async fn a_service_that_runs_here_is_found_healthy_and_no_other() {
    let server = NatsServer::start().await.unwrap();
    let (service, asker) = (server.bus().await.unwrap(), server.bus().await.unwrap());
    assert!(health::check(&asker, "allot-test").await.is_err());
    let _listed = health::list(&service, "allot-test", "0.1.0", "tests").await.unwrap();
    eventually("it is healthy", PATIENCE, || async { health::check(&asker, "allot-test").await.ok() }).await;
    assert!(health::check(&asker, "allot-other").await.is_err());
}

#[tokio::test]
async fn services_tell_what_they_have_cost_to_whoever_asks_all_or_one() {
    let server = NatsServer::start().await.unwrap();
    let (service, asker) = (server.bus().await.unwrap(), server.bus().await.unwrap());
    let _two = health::list(&service, "allot-two", "0.1.0", "tests").await.unwrap();
    let _one = health::list(&service, "allot-one", "0.2.0", "tests").await.unwrap();
    let _other = health::list(&service, "somebody-elses", "0.1.0", "tests").await.unwrap();
    let running = eventually("both are listed", PATIENCE, || async {
        services::running(&asker).await.ok().filter(|running| running.len() == 2)
    })
    .await;
    let told: Vec<_> =
        running.iter().map(|one| (one.name.as_str(), one.version.as_str(), one.usage.pid)).collect();
    let me = std::process::id();
    assert_eq!(told, [("allot-one", "0.2.0", me), ("allot-two", "0.1.0", me)]);
    assert!(
        running.iter().all(|one| one.usage.cpu_us > 0 && one.usage.peak_mem_bytes >= one.usage.mem_bytes)
    );
    let nobody = services::ask_all(&asker, "nobody.listens").await.unwrap();
    assert!(nobody.is_empty());
}

#[tokio::test]
async fn a_hole_in_the_ledger_is_not_passed_over() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    for _ in 0..3 {
        let subject = Subject::Ledger(Writer::Registry).to_string();
        bus.jetstream().publish(subject, "x".into()).await.unwrap().await.unwrap();
    }
    bus.jetstream().get_stream(Stream::Ledger.name()).await.unwrap().delete_message(2).await.unwrap();
    let mut reader = StreamReader::open(&bus, Stream::Ledger, 1).await.unwrap();
    assert_eq!(within("the first message", reader.next()).await.unwrap().sequence, 1);
    let error = within("the hole", reader.next()).await.unwrap_err().to_string();
    assert!(error.contains("messages 2 to 2 of the ledger are gone"), "{error}");
}

#[tokio::test]
async fn reading_goes_on_where_it_was_after_a_restart_of_the_server() {
    let mut server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let subject = Subject::Ledger(Writer::Registry).to_string();
    for _ in 0..3 {
        bus.jetstream().publish(subject.clone(), "x".into()).await.unwrap().await.unwrap();
    }
    // One has read a part, the other nothing yet: neither may begin again with the first message.
    let mut some = StreamReader::open(&bus, Stream::Ledger, 1).await.unwrap();
    let mut none = StreamReader::open(&bus, Stream::Ledger, 4).await.unwrap();
    assert_eq!(within("the first message", some.next()).await.unwrap().sequence, 1);
    server.restart().await.unwrap();
    let writer = server.bus().await.unwrap();
    writer.jetstream().publish(subject, "x".into()).await.unwrap().await.unwrap();
    for sequence in 2..=4 {
        assert_eq!(within("the rest", some.next()).await.unwrap().sequence, sequence);
    }
    assert_eq!(within("the new message", none.next()).await.unwrap().sequence, 4);
}

#[tokio::test]
async fn a_ledger_that_is_shorter_than_what_was_read_of_it_is_another_one() {
    let mut server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let subject = Subject::Ledger(Writer::Registry).to_string();
    for _ in 0..3 {
        bus.jetstream().publish(subject.clone(), "x".into()).await.unwrap().await.unwrap();
    }
    let mut reader = StreamReader::open(&bus, Stream::Ledger, 1).await.unwrap();
    for sequence in 1..=3 {
        assert_eq!(within("what is there", reader.next()).await.unwrap().sequence, sequence);
    }
    server.kill();
    std::fs::remove_dir_all(server.jetstream()).unwrap();
    server.start_again().await.unwrap();
    server.bus_with_streams().await.unwrap();
    let error = within("it is noticed", reader.next()).await.unwrap_err().to_string();
    assert!(error.contains("another one than 3 messages were read of here, and has 0"), "{error}");
    let refused = StreamReader::open(&bus, Stream::Ledger, 4).await.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("is another one than 3 messages"), "{refused}");
}
