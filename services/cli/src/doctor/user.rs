//! Who this connection is for the NATS server, and what it may do, as far as the server says.

use std::time::{Duration, UNIX_EPOCH};

use allot_model::{Span, Time};
use allot_shell::clock;
use serde::Deserialize;

use crate::client::Client;

/// Where every server of NATS tells a connection about itself.
const WHO_AM_I: &str = "$SYS.REQ.USER.INFO";
const PATIENCE: Duration = Duration::from_secs(1);

/// What the server says of this connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    /// Its name, where it gave one.
    pub(super) name: Option<String>,
    /// The account it belongs to.
    pub(super) account: Option<String>,
    /// What it may say and hear; nothing where that is not known.
    pub(super) rules: Option<Rules>,
    /// How long it took to be answered.
    pub(super) round_trip: Option<Span>,
    /// The server's clock less ours, in microseconds.
    pub(super) clock_ahead_us: Option<i64>,
}

/// What a user may say and hear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Rules {
    publish: Option<Subjects>,
    subscribe: Option<Subjects>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Subjects {
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Answer {
    server: Server,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Server {
    time: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    user: Option<String>,
    account: Option<String>,
    permissions: Option<Rules>,
}

impl User {
    /// Asks the server. What it does not say stays unknown.
    pub(super) async fn of(client: &Client) -> Self {
        let asked = clock::now();
        let request = async_nats::Request::new().timeout(Some(PATIENCE));
        let reply = client.unless_denied(client.bus().client().send_request(WHO_AM_I, request)).await;
        let took = clock::now().since(asked);
        let Ok(Ok(reply)) = reply else { return Self::default() };
        let Ok(answer) = serde_json::from_slice::<Answer>(&reply.payload) else { return Self::default() };
        Self::read(answer, asked, took)
    }

    fn read(answer: Answer, asked: Time, took: Span) -> Self {
        let half = Span::from_micros(took.as_micros() / 2);
        let ahead = answer.server.time.as_deref().and_then(moment).map(|at| difference(at, asked + half));
        let (name, account, rules) = match answer.data {
            Some(Data { user, account, permissions }) => (user, account, permissions),
            None => (None, None, None),
        };
        Self {
            name: name.filter(|name| !name.is_empty()),
            account: account.filter(|account| account != "$G"),
            rules: Some(rules.unwrap_or_default()),
            round_trip: Some(took),
            clock_ahead_us: ahead,
        }
    }
}

/// How far `a` is ahead of `b`, in microseconds.
fn difference(a: Time, b: Time) -> i64 {
    let signed = |span: Span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    signed(a.since(b)) - signed(b.since(a))
}

fn moment(text: &str) -> Option<Time> {
    let at = humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(at.as_micros()).ok().map(Time::from_micros)
}

impl Rules {
    /// True where the subject may be published to.
    pub(super) fn may_publish(&self, subject: &str) -> bool {
        self.publish.as_ref().is_none_or(|rules| rules.allows(subject))
    }

    /// The patterns that may be published to, where not all of them may.
    pub(super) fn may_publish_to(&self) -> Option<&[String]> {
        self.publish.as_ref()?.allow.as_deref()
    }
}

impl Subjects {
    fn allows(&self, subject: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, subject));
        self.allow.as_deref().is_none_or(any) && !self.deny.as_deref().is_some_and(any)
    }
}

/// True where the pattern of NATS, such as `a.*.>`, matches the subject.
fn covers(pattern: &str, subject: &str) -> bool {
    // A permission for a queue group has its name after a space.
    let pattern = pattern.split(' ').next().unwrap_or(pattern);
    let (mut wanted, mut given) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), given.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(token), Some(part)) if token == part => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_cover_what_nats_says_they_do() {
        for (pattern, subject, yes) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            ("a.b queue", "a.b", true),
            ("a.b", "a", false),
        ] {
            assert_eq!(covers(pattern, subject), yes, "{pattern} {subject}");
        }
    }

    #[test]
    fn what_is_denied_is_not_allowed_and_no_rules_allow_all() {
        let rules = |value| serde_json::from_value::<Rules>(value).unwrap();
        let some = rules(json!({"publish": {"allow": ["a.>"], "deny": ["a.secret"]}}));
        assert_eq!(["a.b", "a.secret", "b"].map(|subject| some.may_publish(subject)), [true, false, false]);
        assert!(rules(json!({})).may_publish("anything"));
        assert!(rules(json!({"publish": {"deny": ["a"]}})).may_publish("b"));
    }

    #[test]
    fn the_servers_clock_is_read_at_the_middle_of_the_round_trip() {
        let answer =
            json!({"server": {"time": "1970-01-01T00:00:10.5Z"}, "data": {"user": "", "account": "$G"}});
        let asked = Time::from_micros(8_000_000);
        let user = User::read(serde_json::from_value(answer).unwrap(), asked, Span::from_secs(1));
        assert_eq!((user.clock_ahead_us, user.name, user.account), (Some(2_000_000), None, None));
        let behind = difference(Time::from_micros(1), Time::from_micros(5));
        assert_eq!(behind, -4);
    }
}
