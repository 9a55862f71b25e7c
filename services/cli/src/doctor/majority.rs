//! Whether enough servers of a cluster are up: more than half of those that keep a stream have to agree on each message.

use std::time::Duration;

use async_nats::jetstream::stream::{Info, PeerInfo};

/// Servers of a cluster hear of each other every second: one that was silent for so long is not there.
const SILENCE: Duration = Duration::from_secs(5);
/// Without a leader servers hear of each other in elections, of which none takes so long. What a server says of another that was up
/// to date when the last leader went stays as it was.
const LONGEST_ELECTION: Duration = Duration::from_secs(15);
/// What is to be done while a cluster agrees anew who leads.
pub(super) const LOOK_AGAIN: &str = "look again in a few seconds; where it stays, start the servers that are down, and see the logs of nats-server";

/// The servers of a cluster that keep a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Servers {
    /// How many there are.
    all: usize,
    /// Those that do not answer.
    silent: Vec<String>,
    /// Whether one of them leads.
    led: bool,
}

impl Servers {
    /// Those that keep this stream; nothing where its server is not one of a cluster.
    pub(super) fn of(info: &Info) -> Option<Self> {
        // A server by itself tells of a cluster that has no name.
        let cluster = info.cluster.as_ref().filter(|cluster| cluster.name.is_some())?;
        // A stream that is kept once has no group that could elect anyone.
        let led =
            cluster.leader.as_ref().is_some_and(|leader| !leader.is_empty()) || info.config.num_replicas <= 1;
        let is_silent = |peer: &&PeerInfo| {
            peer.offline
                || (!peer.current && (!led || peer.active > SILENCE))
                || (!led && peer.active > LONGEST_ELECTION)
        };
        let mut silent: Vec<String> =
            cluster.replicas.iter().filter(is_silent).map(|peer| peer.name.clone()).collect();
        silent.sort_unstable();
        Some(Self { all: info.config.num_replicas, silent, led })
    }

    /// Whether one of them leads; where none does they are about to agree on one.
    pub(super) fn is_led(&self) -> bool {
        self.led
    }

    /// What keeps them from agreeing on anything, and what to do about it.
    pub(super) fn no_majority(&self) -> Option<(String, String)> {
        let up = self.all.saturating_sub(self.silent.len());
        let missing = (self.all / 2 + 1).saturating_sub(up);
        (missing > 0 && !self.silent.is_empty())
            .then(|| (format!("no majority: {}", self.count(up)), self.advice(missing)))
    }

    fn count(&self, up: usize) -> String {
        let verb = if self.silent.len() == 1 { "does" } else { "do" };
        let are = if up == 1 { "is" } else { "are" };
        format!("{} {verb} not answer, {up} of {} servers {are} up", self.silent.join(", "), self.all)
    }

    fn advice(&self, missing: usize) -> String {
        let which = match (missing, self.silent.len()) {
            (1, 1) => "it".to_owned(),
            (1, _) => "one of them".to_owned(),
            (missing, all) if missing == all => "them".to_owned(),
            (missing, _) => format!("{missing} of them"),
        };
        format!("start {which}: until then nothing is accepted and nothing is decided")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// What a server says of a stream that is kept so many times, of who leads it, and of the others.
    pub(in super::super) fn info(replicas: usize, leader: Option<&str>, peers: &[Value]) -> Info {
        serde_json::from_value(json!({
            "config": {"name": "ALLOT_LEDGER", "num_replicas": replicas, "max_consumers": -1, "max_msgs": -1,
                "max_bytes": -1, "discard": "old", "retention": "limits", "storage": "file", "max_age": 0,
                "max_msgs_per_subject": -1, "max_msg_size": -1},
            "created": "2026-11-22T17:04:31Z",
            "state": {"messages": 7, "bytes": 100, "first_seq": 1, "last_seq": 7, "consumer_count": 0,
                "first_ts": "2026-11-22T17:04:31Z", "last_ts": "2026-11-22T17:04:31Z"},
            "cluster": {"name": "allot", "leader": leader, "replicas": peers},
        }))
        .unwrap()
    }

    fn peer(name: &str, current: bool, active_s: u64) -> Value {
        json!({"name": name, "current": current, "active": active_s * 1_000_000_000})
    }

    #[test]
    fn without_a_majority_those_that_do_not_answer_are_named() {
        let told = |replicas, leader, peers: &[Value]| {
            Servers::of(&info(replicas, leader, peers)).unwrap().no_majority()
        };
        let (found, advice) =
            told(3, None, &[peer("n1", true, 2), peer("n2", false, 0), peer("n3", false, 0)]).unwrap();
        assert_eq!(found, "no majority: n2, n3 do not answer, 1 of 3 servers is up");
        assert_eq!(advice, "start one of them: until then nothing is accepted and nothing is decided");
        let (found, advice) = told(2, None, &[peer("n1", true, 0), peer("n2", false, 0)]).unwrap();
        assert_eq!(found, "no majority: n2 does not answer, 1 of 2 servers is up");
        assert!(advice.starts_with("start it: "), "{advice}");
        let of_five = ["n2", "n3", "n4", "n5"].map(|name| peer(name, false, 9));
        assert!(told(5, Some("n1"), &of_five).unwrap().1.starts_with("start 2 of them: "));
    }

    #[test]
    fn a_majority_may_lack_one_catch_up_or_elect() {
        let of = |leader, peers: &[Value]| Servers::of(&info(3, leader, peers)).unwrap();
        let one_lost = of(Some("n1"), &[peer("n2", true, 0), peer("n3", false, 60)]);
        assert!(one_lost.no_majority().is_none() && one_lost.is_led());
        let behind = of(Some("n1"), &[peer("n2", false, 0), peer("n3", false, 0)]);
        assert!(behind.no_majority().is_none() && behind.is_led());
        let electing = of(None, &[peer("n1", true, 0), peer("n2", true, 0), peer("n3", false, 0)]);
        assert!(electing.no_majority().is_none() && !electing.is_led());
        let for_long = of(None, &[peer("n1", true, 16), peer("n2", true, 16)]);
        assert!(for_long.no_majority().is_some_and(|(found, _)| found.contains("n1, n2 do not answer")));
        let kept_once = Servers::of(&info(1, None, &[])).unwrap();
        assert!(kept_once.no_majority().is_none() && kept_once.is_led());
        let mut alone = info(1, Some("n1"), &[]);
        alone.cluster.as_mut().unwrap().name = None;
        assert_eq!(Servers::of(&alone), None);
    }
}
