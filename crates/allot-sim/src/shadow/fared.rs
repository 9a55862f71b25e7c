//! How queues fared over a time: what they held of what there was, and how long their tasks waited.

use std::collections::BTreeMap;

use allot_model::{AgentId, Compared, Fared, FeedItem, QueueName, ResourceName, Resources, Span, Time};

use super::window::Mark;

/// Units of each resource over time, in unit-microseconds.
type Amounts = BTreeMap<ResourceName, u128>;

/// The sums of one queue.
#[derive(Debug, Clone, Default)]
struct Sums {
    held: Amounts,
    placed: u64,
    waited_us: u128,
    waiting: u64,
}

/// How all queues fared from `from` until `until`.
#[derive(Debug)]
pub(crate) struct Account {
    from: Time,
    until: Time,
    queues: BTreeMap<QueueName, Sums>,
}

impl Account {
    pub(crate) fn new(from: Time, until: Time) -> Self {
        Self { from, until, queues: BTreeMap::new() }
    }

    /// Slots of a queue held so much each, over this time.
    pub(crate) fn held(
        &mut self,
        queue: &QueueName,
        slice: &Resources,
        slots: u64,
        start: Time,
        end: Option<Time>,
    ) {
        let (from, until) = (self.from.max(start), self.until.min(end.unwrap_or(self.until)));
        add(&mut self.sums(queue).held, slice, slots, until.since(from));
    }

    /// Tasks of a queue were placed after they had waited for so long.
    pub(crate) fn placed(&mut self, queue: &QueueName, tasks: u64, waited: Span) {
        let sums = self.sums(queue);
        sums.placed += tasks;
        sums.waited_us += u128::from(waited.as_micros()) * u128::from(tasks);
    }

    /// Tasks of a queue wait at the end.
    pub(crate) fn waits(&mut self, queue: &QueueName, tasks: u64) {
        self.sums(queue).waiting += tasks;
    }

    fn sums(&mut self, queue: &QueueName) -> &mut Sums {
        self.queues.entry(queue.clone()).or_default()
    }

    fn all(&self) -> Sums {
        let mut all = Sums::default();
        for sums in self.queues.values() {
            sums.held.iter().for_each(|(name, held)| *all.held.entry(name.clone()).or_default() += held);
            all.placed += sums.placed;
            all.waited_us += sums.waited_us;
            all.waiting += sums.waiting;
        }
        all
    }
}

fn add(amounts: &mut Amounts, slice: &Resources, slots: u64, length: Span) {
    let times = u128::from(slots) * u128::from(length.as_micros());
    for (name, amount) in slice.iter() {
        *amounts.entry(name.clone()).or_default() += u128::from(amount.total()) * times;
    }
}

/// What there was, over the window.
pub(crate) fn capacity(mark: &Mark, changes: &[(Time, FeedItem)], until: Time) -> Amounts {
    let mut there: BTreeMap<&AgentId, (Time, &Resources)> =
        mark.present.described().map(|facts| (&facts.agent, (mark.at, &facts.total))).collect();
    let mut amounts = Amounts::new();
    for (at, item) in changes {
        let (agent, now) = match item {
            FeedItem::Agent(facts) => (&facts.agent, Some(&facts.total)),
            FeedItem::AgentLeft { agent } => (agent, None),
            _ => continue,
        };
        let before = match now {
            Some(total) => there.insert(agent, (*at, total)),
            None => there.remove(agent),
        };
        before.into_iter().for_each(|(since, total)| add(&mut amounts, total, 1, at.since(since)));
    }
    there.values().for_each(|(since, total)| add(&mut amounts, total, 1, until.since(*since)));
    amounts
}

#[allow(clippy::cast_precision_loss, reason = "a share for people to read")]
fn fared(sums: &Sums, capacity: &Amounts) -> Fared {
    let part = |(name, held): (&ResourceName, &u128)| {
        let there = capacity.get(name).copied().filter(|there| *there > 0)?;
        Some(*held as f64 / there as f64)
    };
    let mean = sums.waited_us.checked_div(u128::from(sums.placed)).and_then(|mean| u64::try_from(mean).ok());
    Fared {
        share: sums.held.iter().filter_map(part).fold(0.0, f64::max),
        placed: sums.placed,
        wait: mean.map(Span::from_micros),
        waiting: sums.waiting,
    }
}

/// How all queues together and each of them fared in both.
pub(crate) fn compared(
    active: &Account,
    shadow: &Account,
    capacity: &Amounts,
) -> (Compared, Vec<(QueueName, Compared)>) {
    let both = |active: &Sums, shadow: &Sums| Compared {
        active: fared(active, capacity),
        shadow: fared(shadow, capacity),
    };
    let names: std::collections::BTreeSet<&QueueName> =
        active.queues.keys().chain(shadow.queues.keys()).collect();
    let nothing = Sums::default();
    let of = |name: &QueueName| {
        let sums = |account: &Account| account.queues.get(name).cloned().unwrap_or_else(|| nothing.clone());
        (name.clone(), both(&sums(active), &sums(shadow)))
    };
    (both(&active.all(), &shadow.all()), names.into_iter().map(of).collect())
}
