//! The queues that have a limit or a guarantee, and what their tasks and those of all queues below them hold.

use std::collections::BTreeMap;

use allot_model::{Holding, Limited, Placement, QueueGuarantee, QueueLimit, QueueName, Resources};

/// All limits and guarantees. Only limits are kept here: whether guarantees are met is the allocator's to see to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Limits(BTreeMap<QueueName, Account>);

/// What a queue may have and is to have, and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    limit: QueueLimit,
    guarantee: QueueGuarantee,
    held: Holding,
}

/// A grant for which a limit leaves no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OverLimit {
    queue: QueueName,
    what: Limited,
    most: u64,
    held: u64,
}

/// Tasks that are stopped: of which queue, what each holds, and how many.
pub(crate) type Stopped<'a> = (&'a QueueName, &'a Resources, u64);

fn stop(all: &mut BTreeMap<&str, Holding>, (queue, slice, count): Stopped<'_>) {
    for name in queue.lineage() {
        all.get_mut(name).into_iter().for_each(|held| held.subtract(slice, count));
    }
}

impl Limits {
    /// Sets the limit and the guarantee of a queue, where it and those below it hold this now.
    pub(crate) fn set(
        &mut self,
        queue: &QueueName,
        limit: QueueLimit,
        guarantee: QueueGuarantee,
        held: Holding,
    ) {
        if limit.is_none() && guarantee == QueueGuarantee::default() {
            self.0.remove(queue);
        } else {
            self.0.insert(queue.clone(), Account { limit, guarantee, held });
        }
    }

    /// The limit of a queue itself; none where it has none.
    pub(crate) fn of(&self, queue: &QueueName) -> QueueLimit {
        self.0.get(queue).map_or_else(QueueLimit::default, |account| account.limit.clone())
    }

    /// What is guaranteed to a queue itself.
    pub(crate) fn guarantee(&self, queue: &QueueName) -> QueueGuarantee {
        self.0.get(queue).map_or_else(QueueGuarantee::default, |account| account.guarantee.clone())
    }

    /// What a queue and those below it hold of what its limit and its guarantee name.
    pub(crate) fn held(&self, queue: &QueueName) -> QueueLimit {
        let beside = |account: &Account| account.held.beside(&account.limit.or(&account.guarantee.least));
        self.0.get(queue).map_or_else(QueueLimit::default, beside)
    }

    /// So many tasks of a queue hold this each.
    pub(crate) fn charge(&mut self, queue: &QueueName, slice: &Resources, count: u64) {
        self.above(queue, |account| account.held.add(slice, count));
    }

    /// So many tasks of a queue do not hold this any more.
    pub(crate) fn refund(&mut self, queue: &QueueName, slice: &Resources, count: u64) {
        self.above(queue, |account| account.held.subtract(slice, count));
    }

    fn above(&mut self, queue: &QueueName, change: impl Fn(&mut Account)) {
        if self.0.is_empty() {
            return;
        }
        for name in queue.lineage() {
            self.0.get_mut(name).into_iter().for_each(&change);
        }
    }

    /// Whether all of these can be committed together.
    pub(crate) fn check(&self, placements: &[Placement]) -> Result<(), OverLimit> {
        let mut after: BTreeMap<&str, Account> = BTreeMap::new();
        for placement in placements.iter().filter(|_| !self.0.is_empty()) {
            let Placement { queue, slice, slots, .. } = placement;
            for (name, account) in queue.lineage().filter_map(|name| self.0.get_key_value(name)) {
                let account = after.entry(name.as_str()).or_insert_with(|| account.clone());
                if let Some(what) = account.limit.exceeded(&account.held, slice, *slots) {
                    return Err(OverLimit::new(name, what, account));
                }
                account.held.add(slice, *slots);
            }
        }
        Ok(())
    }

    /// True where one more task of a queue with this slice is guaranteed, to it or to a queue above it that another queue is
    /// not in, once tasks of other queues have started, each with its slice.
    pub(crate) fn guarantees(
        &self,
        queue: &QueueName,
        slice: &Resources,
        against: &QueueName,
        starting: &[(&QueueName, &Resources)],
    ) -> bool {
        let lineage = queue.lineage().filter(|name| !against.is_within(name));
        let mut accounts = lineage.filter_map(|name| self.0.get_key_value(name));
        accounts.any(|(name, account)| {
            let mut held = account.held.clone();
            let theirs = starting.iter().filter(|(queue, _)| queue.is_within(name.as_str()));
            theirs.for_each(|(_, slice)| held.add(slice, 1));
            account.guarantee.covers(&held, slice, 1)
        })
    }

    /// A queue that would have less of what is guaranteed to it than once those have ended that are being stopped, if so
    /// many tasks more of queues were stopped, each with its slice, and one task had started.
    pub(crate) fn left_short<'a>(
        &self,
        stopping: impl Iterator<Item = Stopped<'a>>,
        stopped: impl Iterator<Item = Stopped<'a>>,
        (queue, slice): (&QueueName, &Resources),
    ) -> Option<&QueueName> {
        let guaranteed = self.0.iter().filter(|(_, account)| !account.guarantee.is_none());
        let mut before: BTreeMap<&str, Holding> =
            guaranteed.map(|(name, account)| (name.as_str(), account.held.clone())).collect();
        stopping.for_each(|stopped| stop(&mut before, stopped));
        let mut after = before.clone();
        stopped.for_each(|stopped| stop(&mut after, stopped));
        for name in queue.lineage() {
            after.get_mut(name).into_iter().for_each(|held| held.add(slice, 1));
        }
        let has_less = |(name, account): &(&QueueName, &Account)| {
            let least = &account.guarantee.least;
            let of = |all: &BTreeMap<&str, Holding>| all.get(name.as_str()).map(|held| held.beside(least));
            of(&before).zip(of(&after)).is_some_and(|(before, after)| {
                least.iter().any(|(what, least)| after.most(&what) < before.most(&what).min(Some(least)))
            })
        };
        self.0.iter().find(has_less).map(|(name, _)| name)
    }

    /// All limited queues with what they hold, for checks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&QueueName, &Holding)> {
        self.0.iter().map(|(queue, account)| (queue, &account.held))
    }
}

impl OverLimit {
    fn new(queue: &QueueName, what: Limited, Account { limit, held, .. }: &Account) -> Self {
        let of = |amounts: &QueueLimit| amounts.most(&what).unwrap_or(0);
        let (most, held) = (of(limit), of(&held.beside(limit)));
        Self { queue: queue.clone(), what, most, held }
    }
}

impl std::fmt::Display for OverLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { queue, what, most, held } = self;
        let (verb, when) = if *what == Limited::Tasks { ("run", " at a time") } else { ("hold", "") };
        let (most, held) = (what.text(*most), what.text(*held));
        write!(
            f,
            "queue {queue} and those below it may {verb} {most} {what}{when}, and with this they would {verb} more: they \
             {verb} {held} now"
        )
    }
}
