//! The bus: what is sent arrives late, twice or never; what is appended is kept.

use std::sync::Arc;

use allot_model::{FeedItem, RefusalCode, Span, Time};
use smallvec::SmallVec;

use crate::checks::{Broken, Promise};
use crate::cluster::Cluster;
use crate::event::Event;
use crate::marks::Mark;
use crate::message::{Message, NodeId, Party, To};
use crate::options::SELDOM;
use crate::process::{Heard, Role};
use crate::streams::Publication;
use crate::writer::writer_of;

/// The least time a message takes.
const LEAST_DELAY: Span = Span::from_micros(50);
/// Of a thousand messages that come a second time, how many do so very late.
const LATE_AGAIN: u32 = 300;
/// Of a thousand messages with which an agent begins, how many come once more very late, where messages are late often.
const LATE_HELLO: u32 = 400;
/// How late a message may come that is very late.
const VERY_LATE: Span = Span::from_secs(40);

impl Cluster<'_> {
    /// How long a message takes now.
    pub(crate) fn hop(&mut self) -> Span {
        let most = if self.healed { Span::from_millis(2) } else { self.options.delay };
        self.net.span(LEAST_DELAY, most)
    }

    fn is_cut(&self, node: NodeId, way: usize) -> bool {
        self.nodes[node.0].cut[way] > self.now
    }

    /// When the copies of a message arrive that is sent now; none where it is lost.
    fn arrivals(&mut self, from: NodeId, to: NodeId) -> SmallVec<[Time; 2]> {
        if self.is_cut(from, 0) || self.nodes[to.0].cut[1] > self.now {
            return SmallVec::new();
        }
        let (loss, twice) = if self.healed { (0, 0) } else { (self.options.loss, self.options.twice) };
        if self.net.chance(loss) {
            return SmallVec::new();
        }
        let copies = if self.net.chance(twice) { 2 } else { 1 };
        let overtakes = self.options.reorder && !self.healed;
        (0..copies)
            .map(|copy| {
                let mut at = self.now + self.hop() + self.hop();
                let late = if copy == 0 { self.options.late } else { LATE_AGAIN };
                if (overtakes || copy > 0) && self.net.chance(late) {
                    at = at + self.net.span(Span::from_millis(10), VERY_LATE);
                } else if !overtakes {
                    let last_from = &mut self.nodes[to.0].last_from;
                    last_from.resize(last_from.len().max(from.0 + 1), Time::ZERO);
                    at = at.max(last_from[from.0]);
                    last_from[from.0] = at;
                }
                at
            })
            .collect()
    }

    pub(crate) fn send(&mut self, from: Party, to: &To, message: Message) {
        self.look_at(from, to, &message);
        let message = if self.options.wire {
            match message.through_bytes() {
                Ok(read) if read == message => read,
                other => {
                    let how = format!("{message:?} becomes {other:?} on the wire");
                    return self.check(Err(Broken { promise: Promise::NoHarm, how }));
                }
            }
        } else {
            message
        };
        self.digest.mix(message.kind());
        let message = Arc::new(message);
        let is_hello = matches!(*message, Message::Hello(_));
        for party in self.listeners(to) {
            let mut arrivals = self.arrivals(from.node, party.node);
            if is_hello && self.options.late > SELDOM && !self.healed && self.net.chance(LATE_HELLO) {
                arrivals.push(self.now + self.net.span(Span::from_millis(10), VERY_LATE));
            }
            for at in arrivals {
                self.plan(at, Event::Tell(party, Heard::Message(from, message.clone())));
            }
        }
    }

    /// Checks and counts what leaves a process.
    fn look_at(&mut self, from: Party, to: &To, message: &Message) {
        if let Message::Reports(batch) = message
            && self.effects.reported(batch)
        {
            self.marks.see(Mark::ReportTwice);
        }
        if let Message::Feed(feed) = message {
            feed.items.iter().filter_map(refusal).for_each(|mark| self.marks.see(mark));
        }
        if self.nodes[from.node.0].role.is_writer() {
            let check = self.effects.sent(to, message, &self.chronicle);
            self.check(check);
        }
    }

    /// Something goes to a stream; what comes back is another matter.
    pub(crate) fn reach_bus(&mut self, from: Party, event: Event) {
        let loss = if self.healed { 0 } else { self.options.loss / 2 };
        if self.is_cut(from.node, 0) || self.net.chance(loss) {
            return;
        }
        let mut at = self.now + self.hop();
        if self.options.reorder && !self.healed && self.net.chance(10) {
            at = at + self.net.span(Span::from_millis(10), VERY_LATE);
        }
        self.plan(at, event);
    }

    pub(crate) fn leave_bus(&mut self, to: Party, heard: Heard) {
        let loss = if self.healed { 0 } else { self.options.loss / 2 };
        if self.is_cut(to.node, 1) || self.net.chance(loss) {
            return;
        }
        let at = self.now + self.hop();
        self.plan(at, Event::Tell(to, heard));
    }

    pub(crate) fn on_append(&mut self, from: Party, number: u64, expected: u64, payload: &Arc<[u8]>) {
        let Some(writer) = writer_of(self.nodes[from.node.0].role) else { return };
        match self.ledger.append(self.now, writer, expected, payload) {
            Ok(stored) => {
                self.write(|| format!("ledger {} {:?}", stored.sequence, stored.batch));
                self.digest.mix_bytes(payload);
                if !self.is_alive(from) {
                    self.marks.see(Mark::AppendOfTheDead);
                }
                let check = self.chronicle.read(&stored.batch, &mut self.marks);
                self.check(check);
                self.more_to_read();
                if !self.healed && self.is_alive(from) && self.fate.chance(self.options.crash_at_append) {
                    self.crash(from.node);
                }
                self.leave_bus(from, Heard::Appended { number, result: Ok(stored.sequence) });
            }
            Err(last) => self.leave_bus(from, Heard::Appended { number, result: Err(last) }),
        }
    }

    pub(crate) fn on_look(&mut self, from: Party, number: u64, expected: u64, payload: &Arc<[u8]>) {
        let Some(writer) = writer_of(self.nodes[from.node.0].role) else { return };
        let fate = self.ledger.fate(writer, expected, payload);
        self.leave_bus(from, Heard::Looked { number, fate });
    }

    pub(crate) fn on_lease(&mut self, from: Party, written: Option<(u64, bool)>) {
        let role = self.nodes[from.node.0].role;
        let (now, end) = (self.now, self.ledger.end());
        let lease = self.leases.entry(role).or_default();
        let is_news =
            written.is_some_and(|(expected, holds)| lease.write(now, expected, holds.then_some(from)));
        let heard = Heard::Lease { lease: lease.at(now), end };
        let all = (0..self.nodes.len()).map(NodeId).filter(|node| self.nodes[node.0].role == role);
        let told: Vec<Party> =
            all.map(|node| self.party(node)).filter(|party| is_news || *party == from).collect();
        told.into_iter().for_each(|party| self.leave_bus(party, heard.clone()));
    }

    pub(crate) fn on_publish(&mut self, from: Party, number: u64, publication: &Publication) {
        let (job, is_new) = self.inbox.take(self.now, publication);
        if is_new {
            self.write(|| format!("inbox {job} {:?}", publication.spec));
            self.more_to_read();
        }
        self.leave_bus(from, Heard::Published { number, job });
    }

    /// The user, of whom there is one.
    pub(crate) fn user(&self) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.role == Role::User).map(NodeId)
    }
}

fn refusal(item: &FeedItem) -> Option<Mark> {
    let FeedItem::Refused { code, .. } = item else { return None };
    match code {
        RefusalCode::NotActive => Some(Mark::RefusedNotActive),
        RefusalCode::AgentUnavailable => Some(Mark::RefusedAgentLeft),
        RefusalCode::NotFree => Some(Mark::RefusedNotFree),
        RefusalCode::NotPending => Some(Mark::RefusedNotPending),
        RefusalCode::DoesNotFit => Some(Mark::RefusedDoesNotFit),
        RefusalCode::OverLimit => Some(Mark::RefusedOverLimit),
        RefusalCode::PreemptionOff => Some(Mark::RefusedPreemption),
        RefusalCode::TooManyPreempted => Some(Mark::RefusedTooMany),
        RefusalCode::NotPreemptible => Some(Mark::RefusedNotPreemptible),
        RefusalCode::GangTooSmall | RefusalCode::Malformed => None,
    }
}
