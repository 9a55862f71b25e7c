//! Karma [Vuppalapati et al., OSDI 2023]: credits for queues whose demands come and go.
//!
//! A queue is entitled to its part by weight. Of that a part `alpha` is guaranteed; what a queue has of the rest, or of the
//! guaranteed part of others that do not want it now, is borrowed. Each quantum everyone earns the rest of its part in
//! credits, who borrows pays what it borrows, and who leaves guaranteed resources to borrowers earns what they borrow
//! of them, the poorest first. Whoever has less than is guaranteed goes first, then the richest.
//!
//! Two things differ from the paper, where all is given out anew each quantum and no credits means nothing: tasks keep
//! what they have until they end, and a queue without credits may still take what nobody else wants.

use crate::rank::Alpha;
use crate::share::Share;

/// All of the pool, in the parts that amounts are in here: a number that can be divided by many, so that parts of round numbers
/// are whole.
pub(crate) const WHOLE: u64 = (1 << 7) * 27 * 125 * 7 * 11 * 13 * 17;

/// Credits that differ by less than half of this are equal: parts of other numbers are rounded.
const ROUNDED: i128 = 1 << 10;

/// The most credits, and the most debts, that make a difference.
const MOST: i128 = 1 << 62;

/// What a queue has earned, and what it is entitled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Account {
    /// For each unit of weight.
    credits: i128,
    entitled: u64,
    guaranteed: u64,
}

/// A member of a node when a quantum ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) account: Account,
    pub(crate) weight: u32,
    /// Its dominant share, in parts of [`WHOLE`].
    pub(crate) held: u64,
    /// True where it has something waiting.
    pub(crate) wants: bool,
}

impl Account {
    /// Of one that joins: as rich as the others are on the average.
    pub(crate) fn of_newcomer<'a>(others: impl Iterator<Item = &'a Self>) -> Self {
        let (mut sum, mut count) = (0_i128, 0);
        for other in others {
            sum += other.credits;
            count += 1;
        }
        Self { credits: if count == 0 { 0 } else { sum.div_euclid(count) }, ..Self::default() }
    }

    /// What it is entitled to.
    pub(crate) fn entitled(&self) -> u64 {
        self.entitled
    }

    /// Its place: below 1 while it has less than it is guaranteed.
    pub(crate) fn share(&self, held: u64, weight: u32) -> Share {
        if held < self.guaranteed {
            return Share::of(held, self.guaranteed, 1);
        }
        let left = self.credits - per_weight(held - self.guaranteed, weight);
        let poverty = (MOST - left.clamp(-MOST, MOST - 1) + ROUNDED / 2) / ROUNDED;
        Share::of(u64::try_from(poverty).unwrap_or(u64::MAX), 1, 1)
    }

    /// It and those beside it have a part of this by weight.
    pub(crate) fn entitle(&mut self, all: u64, weight: u32, weights: u64, alpha: Alpha) {
        let part = u128::from(all) * u128::from(weight) / u128::from(weights.max(1));
        self.entitled = u64::try_from(part).unwrap_or(all);
        self.guaranteed = alpha.of(self.entitled);
    }
}

impl Member {
    fn borrowed(&self) -> u64 {
        self.held.saturating_sub(self.account.guaranteed)
    }

    fn donated(&self) -> u64 {
        if self.wants { 0 } else { self.account.guaranteed.saturating_sub(self.held) }
    }

    /// What it takes of guaranteed resources to bring the credits up to a level, as far as it has any.
    fn up_to(&self, level: i128) -> u64 {
        let lacks = (level - self.account.credits).clamp(0, MOST).saturating_mul(i128::from(self.weight));
        u64::try_from(lacks).unwrap_or(u64::MAX).min(self.donated())
    }
}

/// In credits, which are for a unit of weight. Rounded down.
fn per_weight(amount: u64, weight: u32) -> i128 {
    i128::from(amount / u64::from(weight.max(1)))
}

/// One quantum ends for all members of a node, which are in the order of their names.
pub(crate) fn settle(members: &mut [Member]) {
    let borrowed: u64 = members.iter().map(Member::borrowed).sum();
    let donated: u64 = members.iter().map(Member::donated).sum();
    let level = level(members, borrowed.min(donated));
    for member in members {
        let Member { account, weight, .. } = *member;
        let earned = account.entitled - account.guaranteed + member.up_to(level);
        member.account.credits += per_weight(earned, weight) - per_weight(member.borrowed(), weight);
    }
}

/// Up to where the poorest are brought with this much: the highest level that it is enough for.
fn level(members: &[Member], enough: u64) -> i128 {
    let taken = |level: i128| members.iter().map(|member| u128::from(member.up_to(level))).sum::<u128>();
    let donors = || members.iter().filter(|member| member.donated() > 0).map(|member| member.account.credits);
    let Some(poorest) = donors().min() else { return 0 };
    let (mut low, mut high) = (poorest, donors().max().unwrap_or(poorest) + i128::from(WHOLE));
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if taken(middle) <= u128::from(enough) { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(credits: i128, held: u64, wants: bool) -> Member {
        let mut account = Account { credits, ..Account::default() };
        account.entitle(30, 1, 3, "0.5".parse().unwrap());
        Member { account, weight: 1, held, wants }
    }

    fn after(mut members: [Member; 3]) -> [i128; 3] {
        settle(&mut members);
        members.map(|member| member.account.credits)
    }

    #[test]
    fn everyone_earns_the_rest_of_its_part_and_borrowers_pay() {
        // Entitled to 10, guaranteed 5 each.
        assert_eq!(after([member(0, 10, true), member(0, 10, true), member(0, 10, true)]), [0, 0, 0]);
        assert_eq!(after([member(0, 20, true), member(0, 5, true), member(0, 5, true)]), [-10, 5, 5]);
    }

    #[test]
    fn who_leaves_guaranteed_resources_to_others_earns_them_the_poorest_first() {
        assert_eq!(after([member(0, 15, true), member(0, 0, false), member(0, 0, false)]), [-5, 10, 10]);
        assert_eq!(after([member(0, 9, true), member(0, 0, false), member(9, 0, false)]), [1, 9, 14]);
        assert_eq!(after([member(0, 11, true), member(0, 0, false), member(3, 0, false)]), [-1, 9, 9]);
        assert_eq!(
            after([member(0, 5, true), member(0, 0, false), member(0, 0, true)]),
            [5, 5, 5],
            "nobody borrows"
        );
    }

    #[test]
    fn below_its_guarantee_a_queue_goes_first_then_the_richest() {
        let share = |member: Member| member.account.share(member.held, 1);
        assert!(share(member(-99, 4, true)) < share(member(99, 5, true)));
        let rich =
            |credits: i128, borrowed: u64| share(member(credits * ROUNDED, 5 + borrowed * (1 << 10), true));
        assert!(rich(2, 0) < rich(1, 0));
        assert!(rich(2, 2) > rich(1, 0), "it would pay 2 for what it has");
        assert_eq!(share(member(2, 5, true)), share(member(1, 5, true)), "that is rounding");
    }

    #[test]
    fn a_newcomer_is_as_rich_as_the_others() {
        let others = [member(4, 0, true).account, member(-9, 0, true).account];
        assert_eq!(Account::of_newcomer(others.iter()).credits, -3);
        assert_eq!(Account::of_newcomer([].iter()).credits, 0);
    }
}
