//! The queue tree: each queue with a limit or a guarantee is a branch, and so is the whole; where queues rank, so is each
//! with queues below it.
//!
//! A branch knows what all its tasks hold together, and ranks what it has to offer: the lanes of queues that are in no
//! smaller branch, and the branches right below it. Where queues rank, each member's place is its own; in one line it is
//! that of its first job. What no branch has room for is not looked at until something there ends, however much of it
//! waits and in however many lanes.

mod tree;

use allot_model::{Limited, QueueGuarantee, QueueLimit, QueueName};

use crate::bound::{Bound, Fence};
use crate::dims::{Dim, Dims, Need};
use crate::lane::{LaneHeld, stretch};
use crate::name::NameKey;
use crate::policy::LaneKey;
use crate::rank::hdrf::{Blend, Children};
use crate::rank::lottery::Draws;
use crate::rank::{Amounts, Measure, Standing};
use crate::ranked::Ranked;
use crate::shape::Mask;
use crate::share::Share;
use crate::slab::Slab;

pub(crate) use tree::Tree;

/// The branch that is the whole. It has no limit.
pub(crate) const WHOLE: u32 = 0;

/// What a branch ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    Lane(u32),
    Branch(u32),
}

impl Default for Member {
    fn default() -> Self {
        Self::Lane(u32::MAX)
    }
}

/// What the tasks of a branch hold, those granted and not yet answered among them: always the sum of its lanes, which
/// does not fit into 64 bits where nonsense was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Held {
    amounts: Vec<u128>,
    /// How many have a slot.
    tasks: u128,
}

/// A queue and all below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Branch {
    /// Which; none for the whole.
    pub(crate) queue: Option<QueueName>,
    parent: u32,
    /// Its place among the members of its parent.
    seat: u32,
    /// The most that it may have. Of the whole it is known only which shapes may have nothing but what is kept.
    pub(crate) limit: Fence,
    /// What is guaranteed to it, if something is.
    pub(crate) guarantee: Option<Fence>,
    /// What it does not use of this is kept free for it: its guarantee, where that is held back, as far as its limit goes.
    pub(crate) keeps: Option<Bound>,
    pub(crate) held: Held,
    /// What it is entitled to beside the other members of its parent.
    pub(crate) weight: u32,
    pub(crate) standing: Standing,
    pub(crate) share: Share,
    name: NameKey,
    /// What it counts as under `hdrf`, where something in it can be placed.
    pub(crate) blend: Option<Blend>,
    /// Under `hdrf`, the members of which something can be placed.
    pub(crate) children: Children,
    /// The draws among its members under `lottery`.
    pub(crate) draws: Draws,
    members: Slab<Member>,
    /// The members with something to offer, by their first. What a branch offers may come later than its key.
    pub(crate) ranking: Ranked<LaneKey, Mask>,
    /// The branches among them that offer something which is guaranteed, to them or to a branch in them.
    pub(crate) assured: Ranked<LaneKey, Mask>,
}

/// What an operator has set for a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Settings {
    pub(crate) limit: QueueLimit,
    pub(crate) guarantee: QueueGuarantee,
}

impl Settings {
    /// True where nothing is set.
    pub(crate) fn is_none(&self) -> bool {
        self.limit.is_none() && self.guarantee.is_none()
    }
}

/// What a member of a branch offers: where it stands, and all shapes.
type Offer = Option<(LaneKey, Mask)>;

impl Branch {
    pub(crate) fn member(&self, seat: u32) -> Member {
        self.members[seat]
    }

    /// All members, those with nothing to offer too.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u32, Member)> {
        let there = self.members.iter().filter(|(_, member)| **member != Member::default());
        there.map(|(seat, member)| (seat, *member))
    }

    /// The members with something to offer, in order.
    pub(crate) fn ranked_members(&self) -> impl Iterator<Item = (u32, Member)> {
        self.ranking.in_order().into_iter().map(|seat| (seat, self.members[seat]))
    }

    /// Its place beside the other members of its parent.
    fn key(&self) -> LaneKey {
        LaneKey { share: self.share, name: self.name.clone() }
    }

    /// True where nothing would be lost without it.
    fn is_needless(&self) -> bool {
        self.limit.bound.is_none() && self.guarantee.is_none() && self.members().next().is_none()
    }

    /// The shapes that wait in it and may be served, as far as is known.
    fn offers(&self) -> Mask {
        self.ranking.all().without(self.limit.full)
    }

    /// What it offers to the branch that it is in: there it stands where it is ranked itself, or where its first is.
    fn offer(&self, nested: bool) -> Offer {
        let mask = self.offers();
        let key = self.key_of(&self.ranking, nested).filter(|_| mask != Mask::default());
        key.map(|key| (key, mask))
    }

    /// What of it is guaranteed.
    fn assured_offer(&self, nested: bool) -> Offer {
        let (key, mask) = match &self.guarantee {
            Some(guarantee) => {
                let (key, mask) = self.offer(nested)?;
                (key, mask.without(guarantee.full))
            }
            None => (self.key_of(&self.assured, nested)?, self.assured.all().without(self.limit.full)),
        };
        (mask != Mask::default()).then_some((key, mask))
    }

    fn key_of(&self, ranking: &Ranked<LaneKey, Mask>, nested: bool) -> Option<LaneKey> {
        if nested { Some(self.key()) } else { ranking.key(ranking.first()?).cloned() }
    }

    /// How many of `most` tasks may go to it one after the other before a rival with this key is preferred. At least 1.
    pub(crate) fn stretch(
        &self,
        need: &Need,
        most: u64,
        rival: Option<&LaneKey>,
        measure: &Measure<'_>,
    ) -> u64 {
        let Some(rival) = rival else { return most };
        stretch(most, |count| {
            let share = measure.share(&Raised { held: &self.held, need, count }, self.weight, &self.standing);
            LaneKey { share, name: self.name.clone() } < *rival
        })
    }

    /// The branch that it is in, and its place there.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.parent, self.seat)
    }

    /// True where so many tasks more may go to it.
    pub(crate) fn admits(&self, need: &Need, count: u64) -> bool {
        self.limit.bound.room(&self.held, need) >= count
    }

    /// How many tasks more are guaranteed to it.
    pub(crate) fn covers(&self, need: &Need) -> u64 {
        self.guarantee.as_ref().map_or(0, |guarantee| guarantee.bound.covers(&self.held, need))
    }

    /// What is limited that so many tasks more would be too much of: how much is allowed, held and asked for.
    pub(crate) fn exceeded(&self, need: &Need, count: u64, dims: &Dims) -> Option<(Limited, [u64; 3])> {
        self.limit.bound.exceeded(&self.held, (need, count), dims)
    }

    /// What is kept for it, if something is.
    fn kept(&self) -> Option<&Bound> {
        self.keeps.as_ref()
    }

    /// Its tasks hold something else than they did: forgets what was found out and does not hold any more. True where
    /// there was something.
    fn reopen(&mut self) -> bool {
        let held = &self.held;
        let limit = self.limit.reopen(|bound, _, need, count| bound.room(held, need) < count);
        let beyond =
            |fence: &mut Fence| fence.reopen(|bound, _, need, count| bound.covers(held, need) < count);
        self.guarantee.as_mut().is_some_and(beyond) || limit
    }
}

impl Held {
    /// How much of a resource, as far as it can be said.
    pub(crate) fn of(&self, dim: Dim) -> u64 {
        let amount = self.amounts.get(dim).copied().unwrap_or(0);
        u64::try_from(amount).unwrap_or(u64::MAX)
    }

    pub(crate) fn tasks(&self) -> u64 {
        u64::try_from(self.tasks).unwrap_or(u64::MAX)
    }

    /// So many tasks more hold this each.
    pub(crate) fn add(&mut self, need: &Need, count: u64) {
        self.tasks += u128::from(count);
        for (dim, amount) in need.iter() {
            self.amounts.resize(self.amounts.len().max(dim + 1), 0);
            self.amounts[dim] += u128::from(amount) * u128::from(count);
        }
    }

    /// So many tasks that held this each have ended.
    pub(crate) fn subtract(&mut self, need: &Need, count: u64) {
        self.tasks = self.tasks.saturating_sub(count.into());
        for (dim, amount) in need.iter() {
            if let Some(held) = self.amounts.get_mut(dim) {
                *held = held.saturating_sub(u128::from(amount) * u128::from(count));
            }
        }
    }

    /// True where both are the same amounts.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        let dims = self.amounts.len().max(other.amounts.len());
        self.tasks == other.tasks && (0..dims).all(|dim| self.of(dim) == other.of(dim))
    }

    /// A lane's part of it is this now.
    pub(crate) fn replace(&mut self, before: &LaneHeld, after: &LaneHeld) {
        self.tasks = self.tasks + u128::from(after.tasks) - u128::from(before.tasks);
        let dims = before.used.iter().count().max(after.used.iter().count());
        self.amounts.resize(self.amounts.len().max(dims), 0);
        for (dim, sum) in self.amounts.iter_mut().enumerate().take(dims) {
            *sum = *sum + u128::from(after.used.get(dim)) - u128::from(before.used.get(dim));
        }
    }
}

impl Amounts for Held {
    fn dims(&self) -> usize {
        self.amounts.len()
    }

    fn amount(&self, dim: Dim) -> u64 {
        self.of(dim)
    }
}

/// What a branch would hold with so many tasks more.
struct Raised<'a> {
    held: &'a Held,
    need: &'a Need,
    count: u64,
}

impl Amounts for Raised<'_> {
    fn dims(&self) -> usize {
        self.need.iter().map(|(dim, _)| dim + 1).max().unwrap_or(0).max(self.held.dims())
    }

    fn amount(&self, dim: Dim) -> u64 {
        let asked = self.need.iter().find(|(asked, _)| *asked == dim).map_or(0, |(_, amount)| amount);
        self.held.of(dim).saturating_add(asked.saturating_mul(self.count))
    }
}
