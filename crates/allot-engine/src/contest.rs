//! The agent that costs the least, for placements whose costs depend on the task: one contest a shape.
//!
//! A contest is a tree in which the cheaper of two goes on; its leaves are groups of a few agents, each of which sends its
//! cheapest. It is brought up to date when the shape is next looked at, by playing anew the matches of the groups that
//! have changed since, which a log tells. So a decision costs as much as a few agents changed meanwhile, not as there are
//! agents, and a contest takes three bytes an agent.

use std::collections::BTreeMap;

/// What it costs to place a task where it does not fit.
pub(crate) const NOWHERE: u128 = u128::MAX;

const NOBODY: u32 = u32::MAX;

/// How many agents are a group.
const GROUP: usize = 8;

/// So many groups are kept in all contests together, and at least so many contests. The one that was looked at least
/// recently makes room.
const MOST_GROUPS: usize = 1 << 21;
const LEAST_CONTESTS: usize = 8;

/// The contests of shapes that are in use, and what changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contests {
    by_shape: BTreeMap<u32, Contest>,
    /// The agents that changed, in order.
    log: Vec<u32>,
    /// How many entries of the log were dropped.
    dropped: u64,
    /// Grows with everything that changes what all agents cost.
    generation: u64,
    /// Counts how often a contest was looked at.
    looks: u64,
}

/// Who is the cheapest for a task of one shape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contest {
    /// What the cheapest of each group costs.
    costs: Vec<u128>,
    /// The winner of the matches below each place of the tree: 1 is the last match, those before `2 i` and `2 i + 1`
    /// decide who plays in `i`, and from `costs.len()` on stand the cheapest of each group.
    winners: Vec<u32>,
    generation: u64,
    /// Up to where it knows the log.
    known: u64,
    looked_at: u64,
}

impl Contests {
    /// What an agent costs may have changed.
    pub(crate) fn note(&mut self, slot: u32, agents: usize) {
        self.log.push(slot);
        if self.log.len() > 2 * agents.max(512) {
            let old = self.log.len() / 2;
            self.log.drain(..old);
            self.dropped += old as u64;
        }
    }

    /// What all agents cost may have changed.
    pub(crate) fn start_over(&mut self) {
        self.generation += 1;
        self.log.clear();
        self.dropped = 0;
    }

    /// The shape is not used any more.
    pub(crate) fn forget(&mut self, shape: u32) {
        self.by_shape.remove(&shape);
    }

    /// The cheapest agent for the shape. `cost` says what one costs, `is_before` which of two goes first at equal
    /// costs.
    pub(crate) fn best(
        &mut self,
        shape: u32,
        agents: usize,
        cost: impl FnMut(u32) -> u128,
        is_before: impl Fn(u32, u32) -> bool,
    ) -> Option<u32> {
        if !self.by_shape.contains_key(&shape) {
            self.make_room(agents);
        }
        self.looks += 1;
        let contest = self.by_shape.entry(shape).or_default();
        contest.looked_at = self.looks;
        let fresh = contest.known.checked_sub(self.dropped).and_then(|known| usize::try_from(known).ok());
        let changed = fresh.and_then(|known| self.log.get(known..));
        let is_current = contest.generation == self.generation && contest.seats() >= agents.div_ceil(GROUP);
        let mut field = Field { agents, cost, is_before };
        match changed.filter(|changed| is_current && 4 * changed.len() <= agents) {
            Some(changed) => contest.catch_up(changed, &mut field),
            None => contest.start(&mut field),
        }
        contest.generation = self.generation;
        contest.known = self.dropped + self.log.len() as u64;
        contest.winner()
    }

    fn make_room(&mut self, agents: usize) {
        let groups = agents.div_ceil(GROUP).next_power_of_two();
        let most = (MOST_GROUPS / groups).max(LEAST_CONTESTS);
        while self.by_shape.len() >= most {
            let oldest = self.by_shape.iter().min_by_key(|(_, contest)| contest.looked_at);
            let Some(shape) = oldest.map(|(shape, _)| *shape) else { return };
            self.by_shape.remove(&shape);
        }
    }
}

/// Who takes part, and who is better.
struct Field<C, B> {
    agents: usize,
    cost: C,
    is_before: B,
}

impl<C: FnMut(u32) -> u128, B: Fn(u32, u32) -> bool> Field<C, B> {
    /// The better of two at these costs, where there are two.
    fn better(&self, left: (u128, u32), right: (u128, u32)) -> (u128, u32) {
        match (left, right) {
            ((_, NOBODY), other) | (other, (_, NOBODY)) => other,
            _ if right.0 < left.0 || right.0 == left.0 && (self.is_before)(right.1, left.1) => right,
            _ => left,
        }
    }

    /// The cheapest of a group and what it costs.
    fn cheapest(&mut self, group: usize) -> (u128, u32) {
        let mut best = (NOWHERE, NOBODY);
        let members = GROUP * group..self.agents.min(GROUP * (group + 1));
        for slot in members.filter_map(|slot| u32::try_from(slot).ok()) {
            let cost = (self.cost)(slot);
            if cost != NOWHERE {
                best = self.better(best, (cost, slot));
            }
        }
        best
    }
}

impl Contest {
    fn seats(&self) -> usize {
        self.costs.len()
    }

    fn winner(&self) -> Option<u32> {
        self.winners.get(1).copied().filter(|winner| *winner != NOBODY)
    }

    fn start<C: FnMut(u32) -> u128, B: Fn(u32, u32) -> bool>(&mut self, field: &mut Field<C, B>) {
        let groups = field.agents.div_ceil(GROUP);
        let seats = groups.next_power_of_two().max(2);
        self.costs.clear();
        self.costs.resize(seats, NOWHERE);
        self.winners.clear();
        self.winners.resize(2 * seats, NOBODY);
        (0..groups).for_each(|group| self.enter(group, field));
        (1..seats).rev().for_each(|place| self.play(place, field));
    }

    fn catch_up<C: FnMut(u32) -> u128, B: Fn(u32, u32) -> bool>(
        &mut self,
        changed: &[u32],
        field: &mut Field<C, B>,
    ) {
        let mut groups: Vec<usize> = changed.iter().map(|slot| *slot as usize / GROUP).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|group| *group < self.seats());
        for group in groups {
            self.enter(group, field);
            let mut place = self.seats() + group;
            while place > 1 {
                place /= 2;
                self.play(place, field);
            }
        }
    }

    /// A group sends its cheapest.
    fn enter<C: FnMut(u32) -> u128, B: Fn(u32, u32) -> bool>(
        &mut self,
        group: usize,
        field: &mut Field<C, B>,
    ) {
        let (cost, slot) = field.cheapest(group);
        self.costs[group] = cost;
        let seats = self.seats();
        self.winners[seats + group] = slot;
    }

    /// The match of a place in the tree.
    fn play<C: FnMut(u32) -> u128, B: Fn(u32, u32) -> bool>(&mut self, place: usize, field: &Field<C, B>) {
        let [left, right] = [2 * place, 2 * place + 1].map(|before| {
            let winner = self.winners[before];
            (self.costs.get(winner as usize / GROUP).copied().unwrap_or(NOWHERE), winner)
        });
        self.winners[place] = field.better(left, right).1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_winner_is_the_cheapest_and_of_equals_the_one_that_goes_first(
            steps in proptest::collection::vec((0_u32..40, 0_u128..6, 0_u32..3, 0_u8..30), 1..300),
        ) {
            let mut contests = Contests::default();
            let mut costs = vec![NOWHERE; 40];
            for (slot, cost, shape, event) in steps {
                // The second and third shape cost more where the slot is odd.
                let cost_for = |costs: &[u128], slot: u32, shape: u32| match costs[slot as usize] {
                    NOWHERE => NOWHERE,
                    cost => cost + u128::from(shape * (slot % 2)),
                };
                costs[slot as usize] = if cost == 5 { NOWHERE } else { cost };
                match event {
                    0 => contests.start_over(),
                    1 => contests.forget(shape),
                    _ => {}
                }
                contests.note(slot, 40);
                if event % 3 == 0 {
                    let best = contests.best(shape, 40, |slot| cost_for(&costs, slot, shape), |a, b| a > b);
                    let plain = (0..40).filter(|slot| costs[*slot as usize] != NOWHERE);
                    let plain = plain.min_by_key(|slot| (cost_for(&costs, *slot, shape), std::cmp::Reverse(*slot)));
                    prop_assert_eq!(best, plain);
                }
            }
        }
    }
}
