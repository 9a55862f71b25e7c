//! Following the feed: in order, without gaps, from a full account of the state on.

use std::collections::VecDeque;

use allot_model::{Epoch, Feed, FeedItem, Span, SyncPart, Time};

/// How long to wait for the answer to a hello, and for each part of it after the one before, and how far apart hellos are at
/// least.
const HELLO_EVERY: Span = Span::from_secs(1);

/// Messages kept while the account is on its way. If more come, a gap follows, and with it another hello.
const MOST_BUFFERED: usize = 65_536;

/// What to do with what was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Apply {
    /// Forget everything.
    Reset,
    /// These happened, in order.
    Items(Vec<FeedItem>),
}

/// Where it stands with the feed.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    state: State,
    /// When to say hello, unless it follows by then.
    hello_at: Time,
    /// No hello before this.
    hello_after: Time,
    /// What came to everyone while the account was on its way.
    buffered: VecDeque<Feed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of the account has come.
    Asking,
    /// Parts of this account have come; the part of this number is next.
    Syncing(Point, u32),
    /// Everything up to this is known.
    Following(Point),
}

/// A place in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    session: Epoch,
    sequence: u64,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Asking,
            hello_at: Time::ZERO,
            hello_after: Time::ZERO,
            buffered: VecDeque::new(),
        }
    }

    pub(crate) fn is_following(&self) -> bool {
        matches!(self.state, State::Following(_))
    }

    /// True where the account has begun to come, or is there: a hello has been answered, and none is due.
    pub(crate) fn is_answered(&self) -> bool {
        self.state != State::Asking
    }

    /// When to say hello.
    pub(crate) fn next_hello(&self) -> Option<Time> {
        (!self.is_following()).then_some(self.hello_at)
    }

    /// True where a hello is due; it counts as said.
    pub(crate) fn says_hello(&mut self, now: Time) -> bool {
        let due = self.next_hello().is_some_and(|at| at <= now);
        if due {
            self.state = State::Asking;
            self.hello_after = now + HELLO_EVERY;
            self.hello_at = self.hello_after;
        }
        due
    }

    /// What is known cannot be relied on: a full account is needed.
    pub(crate) fn ask(&mut self, now: Time) {
        self.state = State::Asking;
        self.hello_at = self.hello_after.max(now);
        self.buffered.clear();
    }

    /// True where this is the message that follows; it counts as taken.
    pub(crate) fn follows(&mut self, feed: &Feed) -> bool {
        let State::Following(at) = self.state else { return false };
        let next = Point { session: at.session, sequence: at.sequence.saturating_add(1) };
        let is_next = feed.sync.is_none() && next == Point { session: feed.session, sequence: feed.sequence };
        if is_next {
            self.state = State::Following(next);
        }
        is_next
    }

    /// Takes a message, which may be late, doubled, or of an earlier session.
    pub(crate) fn take(&mut self, now: Time, feed: Feed) -> Vec<Apply> {
        match feed.sync {
            None => self.on_message(now, feed).into_iter().collect(),
            Some(part) => self.on_part(now, part, feed),
        }
    }

    fn on_message(&mut self, now: Time, feed: Feed) -> Option<Apply> {
        if self.follows(&feed) {
            return Some(Apply::Items(feed.items));
        }
        let State::Following(at) = self.state else {
            self.buffer(feed);
            return None;
        };
        let this = Point { session: feed.session, sequence: feed.sequence };
        if this.session > at.session || (this.session == at.session && this.sequence > at.sequence) {
            // The account that is asked for covers this message, if there is such a message at all.
            self.ask(now);
        }
        None
    }

    fn buffer(&mut self, feed: Feed) {
        if self.buffered.len() == MOST_BUFFERED {
            self.buffered.pop_front();
        }
        self.buffered.push_back(feed);
    }

    fn on_part(&mut self, now: Time, part: SyncPart, feed: Feed) -> Vec<Apply> {
        let point = Point { session: feed.session, sequence: feed.sequence };
        let mut apply = Vec::new();
        let expected = match part {
            SyncPart::First | SyncPart::Only => {
                apply.push(Apply::Reset);
                !self.is_following()
            }
            SyncPart::Middle | SyncPart::Last => self.state == State::Syncing(point, feed.part),
        };
        if !expected {
            return Vec::new();
        }
        apply.push(Apply::Items(feed.items));
        self.state = State::Syncing(point, feed.part.saturating_add(1));
        self.hello_at = self.hello_at.max(now + HELLO_EVERY);
        if matches!(part, SyncPart::Last | SyncPart::Only) {
            self.state = State::Following(point);
            let buffered = std::mem::take(&mut self.buffered);
            apply.extend(buffered.into_iter().filter_map(|feed| self.on_message(now, feed)));
        }
        apply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Span::from_millis(millis)
    }

    fn feed(session: u64, sequence: u64, sync: Option<SyncPart>) -> Feed {
        Feed { session: Epoch(session), sequence, sync, part: 0, items: Vec::new() }
    }

    fn part(number: u32, feed: Feed) -> Feed {
        Feed { part: number, ..feed }
    }

    #[test]
    fn an_account_with_a_part_lost_in_the_middle_is_asked_for_again() {
        let mut session = Session::new();
        assert!(session.says_hello(Time::ZERO));
        session.take(at(1), feed(1, 6, Some(SyncPart::First)));
        assert!(
            session.take(at(1), part(2, feed(1, 6, Some(SyncPart::Last)))).is_empty(),
            "part 1 is missing"
        );
        assert!(!session.is_following());
        assert!(session.says_hello(at(1_001)), "a second after the last part that came");
        session.take(at(1_002), feed(1, 6, Some(SyncPart::Only)));
        assert!(session.is_following());
    }

    #[test]
    fn an_account_that_takes_long_is_waited_for_as_long_as_parts_come() {
        let mut session = Session::new();
        assert!(session.says_hello(Time::ZERO));
        session.take(at(900), feed(1, 6, Some(SyncPart::First)));
        assert!(!session.says_hello(at(1_800)));
        session.take(at(1_800), part(1, feed(1, 6, Some(SyncPart::Middle))));
        assert!(!session.says_hello(at(2_799)));
        let mut stalled = session.clone();
        assert!(stalled.says_hello(at(2_800)), "the rest is lost");
        session.take(at(2_700), part(2, feed(1, 6, Some(SyncPart::Last))));
        assert!(session.is_following());
    }

    fn following(session: u64, sequence: u64) -> Session {
        let mut started = Session::new();
        assert!(started.says_hello(Time::ZERO));
        assert_eq!(started.take(at(1), feed(session, sequence, Some(SyncPart::Only))).len(), 2);
        started
    }

    #[test]
    fn says_hello_at_once_and_again_until_it_is_answered() {
        let mut session = Session::new();
        assert!(session.says_hello(Time::ZERO));
        assert!(!session.says_hello(at(999)));
        assert!(session.says_hello(at(1_000)));
        session.take(at(1_001), feed(1, 7, Some(SyncPart::Only)));
        assert_eq!(session.next_hello(), None);
    }

    #[test]
    fn messages_in_order_are_applied_once() {
        let mut session = following(1, 7);
        assert!(session.take(at(2), feed(1, 7, None)).is_empty(), "covered by the account");
        assert_eq!(session.take(at(2), feed(1, 8, None)).len(), 1);
        assert!(session.take(at(2), feed(1, 8, None)).is_empty(), "doubled");
        assert!(session.take(at(2), feed(0, 9, None)).is_empty(), "of an earlier session");
        assert!(session.is_following());
    }

    #[test]
    fn a_gap_or_a_new_session_asks_for_everything_again() {
        for (of, sequence) in [(1, 9), (2, 1), (2, 8)] {
            let mut session = following(1, 7);
            assert!(session.take(at(2_000), feed(of, sequence, None)).is_empty());
            assert!(session.says_hello(at(2_000)), "{of} {sequence}");
        }
    }

    #[test]
    fn a_message_that_nobody_sent_costs_one_account_and_no_more() {
        for (of, sequence) in [(99, 1), (1, u64::MAX)] {
            let mut session = following(1, 7);
            assert!(session.take(at(2_000), feed(of, sequence, None)).is_empty());
            assert!(session.says_hello(at(2_000)));
            session.take(at(2_001), feed(of, sequence, None));
            session.take(at(2_001), feed(1, 8, None));
            session.take(at(2_002), feed(1, 8, Some(SyncPart::Only)));
            assert!(session.says_hello(at(3_000)), "it came again while the account was on its way");
            session.take(at(3_001), feed(1, 8, Some(SyncPart::Only)));
            assert_eq!(session.take(at(3_002), feed(1, 9, None)).len(), 1, "and now it follows");
        }
    }

    #[test]
    fn hellos_keep_their_distance() {
        let mut session = following(1, 7);
        session.ask(at(10));
        assert_eq!(session.next_hello(), Some(at(1_000)));
    }

    #[test]
    fn what_comes_while_the_account_is_on_its_way_is_applied_after_it() {
        let mut session = Session::new();
        session.says_hello(Time::ZERO);
        for sequence in 5..9 {
            assert!(session.take(at(1), feed(1, sequence, None)).is_empty());
        }
        assert_eq!(session.take(at(2), feed(1, 6, Some(SyncPart::First))).len(), 2);
        assert_eq!(session.take(at(2), part(1, feed(1, 6, Some(SyncPart::Middle)))).len(), 1);
        let applied = session.take(at(2), part(2, feed(1, 6, Some(SyncPart::Last))));
        assert_eq!(applied.len(), 3, "the last part, 7 and 8");
        assert_eq!(session.take(at(3), feed(1, 9, None)).len(), 1);
    }

    #[test]
    fn parts_of_an_account_that_was_not_begun_are_ignored() {
        let mut session = Session::new();
        session.says_hello(Time::ZERO);
        assert!(session.take(at(1), feed(1, 6, Some(SyncPart::Last))).is_empty());
        session.take(at(1), feed(1, 6, Some(SyncPart::First)));
        assert!(
            session.take(at(1), part(1, feed(1, 7, Some(SyncPart::Last)))).is_empty(),
            "of another account"
        );
        assert!(!session.is_following());
        let mut session = following(1, 7);
        assert!(session.take(at(1), feed(1, 3, Some(SyncPart::Only))).is_empty(), "nobody asked");
    }
}
