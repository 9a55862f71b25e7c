//! What went over the bus, as nats-server counts it.

use std::collections::BTreeMap;
use std::ops::Sub;

use allot_bus::Stream;
use allot_shell::services::ask_all;
use serde::{Deserialize, Serialize};

use super::numbers::per;
use crate::client::Client;
use crate::failure::Failure;

/// Every NATS server answers an ordinary client these, about the client's own account.
const ACCOUNT: &str = "$SYS.REQ.ACCOUNT.PING.STATZ";
const CONNECTIONS: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";

/// Messages, and the bytes of their headers and payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Amount {
    #[serde(alias = "msgs")]
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Amount {
    /// Messages and bytes for each of so many tasks.
    pub(super) fn per(self, tasks: u64) -> (f64, f64) {
        (per(self.messages, tasks), per(self.bytes, tasks))
    }

    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(earlier.messages),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// What clients sent to the bus, and what it sent to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Flow {
    pub(super) published: Amount,
    pub(super) delivered: Amount,
}

impl Sub for Flow {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self { published: self.published - earlier.published, delivered: self.delivered - earlier.delivered }
    }
}

/// What nats-server has counted so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Traffic {
    /// Of all clients of the account, agents and this process included. Absent where NATS does not let this user ask.
    pub(super) account: Option<Flow>,
    /// Of the connections that are open now, by the name that each gave itself.
    pub(super) connections: BTreeMap<String, Flow>,
    /// What the streams have taken.
    pub(super) stored: BTreeMap<&'static str, Amount>,
}

impl Traffic {
    /// Asks for all of it.
    pub(super) async fn take(client: &Client) -> Result<Self, Failure> {
        let (account, connections) = tokio::join!(ask(client, ACCOUNT), ask(client, CONNECTIONS));
        let mut stored = BTreeMap::new();
        for stream in Stream::ALL {
            let found = client.bus().jetstream().get_stream(stream.name()).await;
            let found = found.map_err(|error| {
                Failure::Unreachable(format!("the stream {} cannot be asked: {error}", stream.name()))
            })?;
            let state = &found.cached_info().state;
            // Its last sequence grows with every message, whatever has been removed since.
            stored.insert(stream.name(), Amount { messages: state.last_sequence, bytes: state.bytes });
        }
        Ok(Self { account: account_flow(&account?), connections: by_name(&connections?), stored })
    }

    /// What came to it since `earlier`. A connection that is new has carried all of its traffic since.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let account = self.account.zip(earlier.account).map(|(now, then)| now - then);
        let connections = self.connections.iter().map(|(name, flow)| {
            (name.clone(), *flow - earlier.connections.get(name).copied().unwrap_or_default())
        });
        let stored = self
            .stored
            .iter()
            .map(|(name, amount)| (*name, *amount - earlier.stored.get(name).copied().unwrap_or_default()));
        Self { account, connections: connections.collect(), stored: stored.collect() }
    }
}

async fn ask(client: &Client, subject: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let answers = ask_all(client.bus(), subject).await;
    let answers = answers.map_err(|error| Failure::Unreachable(format!("{error:#}")))?;
    Ok(answers.into_iter().map(|message| message.payload.to_vec()).collect())
}

/// The answer of one server.
#[derive(Debug, Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Debug, Deserialize)]
struct Accounts {
    account_statz: Vec<Account>,
}

#[derive(Debug, Deserialize)]
struct Account {
    sent: Amount,
    received: Amount,
}

#[derive(Debug, Deserialize)]
struct Connections {
    connections: Vec<Connection>,
}

#[derive(Debug, Deserialize)]
struct Connection {
    #[serde(default)]
    name: String,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
}

/// The sum over all servers; nothing where none answered.
fn account_flow(answers: &[Vec<u8>]) -> Option<Flow> {
    let read = |answer: &Vec<u8>| serde_json::from_slice::<Answer<Accounts>>(answer).ok();
    let accounts: Vec<Account> =
        answers.iter().filter_map(read).flat_map(|answer| answer.data.account_statz).collect();
    let mut flow = Flow::default();
    for account in &accounts {
        flow.published.add(account.received);
        flow.delivered.add(account.sent);
    }
    (!accounts.is_empty()).then_some(flow)
}

fn by_name(answers: &[Vec<u8>]) -> BTreeMap<String, Flow> {
    let read = |answer: &Vec<u8>| serde_json::from_slice::<Answer<Connections>>(answer).ok();
    let mut flows: BTreeMap<String, Flow> = BTreeMap::new();
    for found in answers.iter().filter_map(read).flat_map(|answer| answer.data.connections) {
        let flow = flows.entry(kind(&found.name)).or_default();
        flow.published.add(Amount { messages: found.in_msgs, bytes: found.in_bytes });
        flow.delivered.add(Amount { messages: found.out_msgs, bytes: found.out_bytes });
    }
    flows
}

/// Agents of `allot up` are told apart by their names, and a service may have a connection for one purpose, named
/// `allot-dispatcher (inbox)`: here they are one.
fn kind(name: &str) -> String {
    const AGENT: &str = "allot-agent";
    let name = if name.starts_with(AGENT) { AGENT } else { name };
    name.split(" (").next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"server":{"name":"n"},"data":{"account_statz":[{"acc":"$G",
        "sent":{"msgs":70,"bytes":700,"routes":{"msgs":1,"bytes":1}},"received":{"msgs":30,"bytes":300}}]}}"#;

    #[test]
    fn the_servers_of_a_cluster_are_added_up() {
        let two = [ANSWER.as_bytes().to_vec(), ANSWER.as_bytes().to_vec(), b"no".to_vec()];
        let flow = account_flow(&two).unwrap();
        assert_eq!(flow.published, Amount { messages: 60, bytes: 600 });
        assert_eq!(flow.delivered, Amount { messages: 140, bytes: 1_400 });
        assert_eq!(account_flow(&[]), None);
    }

    #[test]
    fn connections_of_one_name_are_added_up() {
        let answer = r#"{"data":{"connections":[
            {"name":"allot-agent (a)","in_msgs":1,"out_msgs":2,"in_bytes":10,"out_bytes":20},
            {"in_msgs":5,"out_msgs":5,"in_bytes":5,"out_bytes":5},
            {"name":"allot-agent-agent-2","in_msgs":3,"out_msgs":4,"in_bytes":30,"out_bytes":40}]}}"#;
        let flows = by_name(&[answer.as_bytes().to_vec()]);
        assert_eq!(flows["allot-agent"].published, Amount { messages: 4, bytes: 40 });
        assert_eq!(flows.len(), 2);
    }

    #[test]
    fn only_what_came_since_counts() {
        let flow = |messages| Flow { published: Amount { messages, bytes: 0 }, delivered: Amount::default() };
        let traffic = |messages| Traffic {
            account: Some(flow(messages)),
            connections: [("a".to_owned(), flow(messages))].into(),
            stored: BTreeMap::new(),
        };
        assert_eq!(traffic(10).since(&traffic(4)), traffic(6));
        let unasked = Traffic::default();
        assert_eq!(traffic(10).since(&unasked).account, None);
        assert_eq!(traffic(10).since(&unasked).connections["a"], flow(10));
    }
}
