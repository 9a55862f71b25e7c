//! The registry over a real nats-server.
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::sync::Arc;

use allot_bus::Subject;
use allot_model::view::{AgentState, AgentView, Answer, Done};
use allot_model::{
    AgentFacts, AgentId, Attributes, Beat, Hello, Incarnation, Record, Resources, Span, Welcome,
};
use allot_proto::Wire;
use allot_registry::Config;
use allot_shell::{Bus, Shutdown};
use allot_testkit::{NatsServer, PATIENCE, eventually, within};
use tokio::task::JoinHandle;

struct Running {
    bus: Bus,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(server: &NatsServer, config: Config) -> Self {
        let (bus, shutdown) = (server.bus().await.unwrap(), Shutdown::new());
        let task = tokio::spawn(allot_registry::run(server.bus().await.unwrap(), config, shutdown.clone()));
        Self { bus, shutdown, task }
    }

    /// Asks until there is an answer.
    async fn ask(&self, subject: Subject, payload: Vec<u8>) -> Vec<u8> {
        let subject = subject.to_string();
        eventually(&subject, PATIENCE, || async {
            let answer = self.bus.client().request(subject.clone(), payload.clone().into()).await.ok()?;
            Some(answer.payload.to_vec())
        })
        .await
    }

    async fn hello(&self, facts: &Arc<AgentFacts>) -> Welcome {
        let hello = Hello { facts: facts.clone(), ended: Vec::new() };
        Welcome::decode(&self.ask(Subject::AgentHello(facts.id.clone()), hello.encode()).await).unwrap()
    }

    async fn agents(&self) -> Vec<(String, AgentState)> {
        let answer = self.ask(Subject::AgentsList, Vec::new()).await;
        match serde_json::from_slice::<Answer<Vec<AgentView>>>(&answer).unwrap() {
            Answer::Ok(views) => views.into_iter().map(|view| (view.agent.to_string(), view.state)).collect(),
            Answer::Error(refusal) => unreachable!("{refusal}"),
        }
    }

    async fn stop(self) {
        self.shutdown.trigger();
        within("the registry stops", self.task).await.unwrap().unwrap();
    }
}

fn id(text: &str) -> AgentId {
    AgentId::new(text).unwrap()
}

fn facts(agent: &str) -> Arc<AgentFacts> {
    Arc::new(AgentFacts {
        id: id(agent),
        incarnation: Incarnation(1),
        host: "host".into(),
        resources: Resources::new(),
        attributes: Attributes::new(),
        program_version: "0.1.0".into(),
    })
}

fn admitted() -> Welcome {
    Welcome::Admitted { beat_every: Config::default().beat_every }
}

#[tokio::test]
async fn an_agent_joins_is_listed_and_is_still_known_after_a_restart_of_the_registry() {
    let server = NatsServer::start().await.unwrap();
    let registry = Running::start(&server, Config::default()).await;
    assert_eq!(registry.hello(&facts("m1")).await, admitted());
    assert_eq!(registry.hello(&facts("m1")).await, admitted());
    assert_eq!(registry.agents().await, [("m1".to_owned(), AgentState::Ready)]);
    registry.stop().await;
    let registry = Running::start(&server, Config::default()).await;
    assert_eq!(registry.agents().await, [("m1".to_owned(), AgentState::Ready)]);
    let joined = allot_testkit::entries(&registry.bus).await.unwrap();
    let joined = joined.iter().filter(|entry| matches!(entry.record, Record::Registry(_)));
    assert_eq!(joined.count(), 1);
    registry.stop().await;
}

#[tokio::test]
async fn a_beat_of_an_unknown_agent_is_answered_and_one_for_another_agent_is_refused() {
    let server = NatsServer::start().await.unwrap();
    let registry = Running::start(&server, Config::default()).await;
    let beat = Beat { agent: id("m1"), incarnation: Incarnation(1), leaving: false, trouble: None }.encode();
    let answer = registry.ask(Subject::AgentBeat(id("m1")), beat.clone()).await;
    assert_eq!(Welcome::decode(&answer).unwrap(), Welcome::HelloNeeded);
    let answer = String::from_utf8(registry.ask(Subject::AgentBeat(id("m2")), beat).await).unwrap();
    assert!(answer.contains("a subject of agent m2 speaks for agent m1"), "{answer}");
    registry.stop().await;
}

#[tokio::test]
async fn a_silent_agent_becomes_unreachable_by_itself() {
    let server = NatsServer::start().await.unwrap();
    let config = Config {
        agent_timeout: Span::from_millis(200),
        beat_every: Span::from_millis(50),
        ..Config::default()
    };
    let registry = Running::start(&server, config).await;
    registry.hello(&facts("m1")).await;
    eventually("the agent is unreachable", PATIENCE, || async {
        (registry.agents().await == [("m1".to_owned(), AgentState::Unreachable)]).then_some(())
    })
    .await;
    registry.stop().await;
}

#[tokio::test]
async fn an_operator_drains_an_agent_with_or_without_a_payload_and_is_told_what_is_wrong_with_it() {
    let server = NatsServer::start().await.unwrap();
    let registry = Running::start(&server, Config::default()).await;
    registry.hello(&facts("m1")).await;
    let answer = registry.ask(Subject::AgentDrain(id("m1")), b"{\"kil\":true}".to_vec()).await;
    assert!(String::from_utf8(answer).unwrap().contains("kil"));
    let answer = registry.ask(Subject::AgentDrain(id("m1")), Vec::new()).await;
    assert!(matches!(serde_json::from_slice(&answer).unwrap(), Answer::<Done>::Ok(_)));
    assert_eq!(registry.agents().await, [("m1".to_owned(), AgentState::Drained)]);
    registry.stop().await;
}

#[tokio::test]
async fn beats_that_could_not_come_in_time_are_refused_as_configuration() {
    let server = NatsServer::start().await.unwrap();
    let config =
        Config { agent_timeout: Span::from_secs(5), beat_every: Span::from_secs(5), ..Config::default() };
    let refused =
        allot_registry::run(server.bus().await.unwrap(), config, Shutdown::new()).await.unwrap_err();
    assert!(refused.to_string().contains("beat_every"), "{refused}");
}
