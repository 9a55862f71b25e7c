//! Accounts of everything that are on their way: some parts at a time, so that none comes faster than it is read. NATS gives
//! a connection up for which too much is waiting, and its reader would have to ask for everything anew, again and again.

use std::collections::VecDeque;

use allot_model::{Feed, InstanceId, ReplyTo, Span, Time};

use crate::Output;

/// So many parts of an account go out at once. With the pause that is some 50 MB a second.
const PARTS_AT_ONCE: usize = 6;
/// How long after that the next ones do.
const PAUSE: Span = Span::from_millis(10);

/// What is still to be told to whom. Soft: whoever misses the rest asks for all of it again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    under_way: Vec<Account>,
    next_at: Time,
}

#[derive(Debug, Clone)]
struct Account {
    /// The allocator that said hello; nobody's where someone only asked.
    instance: Option<InstanceId>,
    to: ReplyTo,
    rest: VecDeque<Feed>,
}

impl Accounts {
    /// True where parts of an account for this allocator are still to come.
    pub(crate) fn is_under_way(&self, instance: &InstanceId) -> bool {
        self.under_way.iter().any(|account| account.instance.as_ref() == Some(instance))
    }

    /// Tells the first parts at once, and the others by and by.
    pub(crate) fn begin(
        &mut self,
        now: Time,
        (instance, to): (Option<InstanceId>, ReplyTo),
        parts: Vec<Feed>,
        out: &mut Vec<Output>,
    ) {
        let mut account = Account { instance, to, rest: parts.into() };
        account.tell_some(out);
        if !account.rest.is_empty() {
            self.next_at = self.next_at.max(now + PAUSE);
            self.under_way.push(account);
        }
    }

    /// Tells the next parts, where it is time to.
    pub(crate) fn go_on(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.next().is_none_or(|at| at > now) {
            return;
        }
        self.under_way.iter_mut().for_each(|account| account.tell_some(out));
        self.under_way.retain(|account| !account.rest.is_empty());
        self.next_at = now + PAUSE;
    }

    /// When to go on.
    pub(crate) fn next(&self) -> Option<Time> {
        (!self.under_way.is_empty()).then_some(self.next_at)
    }
}

impl Account {
    fn tell_some(&mut self, out: &mut Vec<Output>) {
        let some = self.rest.drain(..PARTS_AT_ONCE.min(self.rest.len()));
        out.extend(some.map(|part| Output::Sync(self.to.clone(), part)));
    }
}
