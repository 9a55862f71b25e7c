//! The agent that costs the least, for placements whose costs depend on the task: one contest a shape.
//!
//! A contest is a tree in which the cheaper of two agents goes on. It is brought up to date when the shape is
//! next looked at, by playing anew the matches of the agents that have changed since, which a log tells. So a decision
//! costs as much as a few agents changed meanwhile, not as there are agents.

use std::collections::BTreeMap;

/// What it costs to place a task where it does not fit.
pub(crate) const NOWHERE: u128 = u128::MAX;

const NOBODY: u32 = u32::MAX;

/// So many places of agents are kept in all contests together, and at least so many contests. The one that was looked at
/// least recently makes room.
const MOST_PLACES: usize = 1 << 22;
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

/// The costs of a task of one shape on each agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contest {
    costs: Vec<u128>,
    /// The winner of the matches below each place of the tree: 1 is the last match, those before `2 i` and `2 i + 1`
    /// decide who plays in `i`, and from `costs.len()` on stand the agents.
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
        let is_current = contest.generation == self.generation && contest.seats() >= agents;
        match changed.filter(|changed| is_current && 4 * changed.len() <= agents) {
            Some(changed) => contest.catch_up(changed, cost, is_before),
            None => contest.start(agents, cost, is_before),
        }
        contest.generation = self.generation;
        contest.known = self.dropped + self.log.len() as u64;
        contest.winner()
    }

    fn make_room(&mut self, agents: usize) {
        let most = (MOST_PLACES / agents.max(1)).max(LEAST_CONTESTS);
        while self.by_shape.len() >= most {
            let oldest = self.by_shape.iter().min_by_key(|(_, contest)| contest.looked_at);
            let Some(shape) = oldest.map(|(shape, _)| *shape) else { return };
            self.by_shape.remove(&shape);
        }
    }
}

impl Contest {
    fn seats(&self) -> usize {
        self.costs.len()
    }

    fn winner(&self) -> Option<u32> {
        self.winners.get(1).copied().filter(|winner| *winner != NOBODY)
    }

    fn start(
        &mut self,
        agents: usize,
        mut cost: impl FnMut(u32) -> u128,
        is_before: impl Fn(u32, u32) -> bool,
    ) {
        let seats = agents.next_power_of_two().max(2);
        self.costs.clear();
        self.costs.resize(seats, NOWHERE);
        self.winners.clear();
        self.winners.resize(2 * seats, NOBODY);
        for (place, slot) in (0..agents).zip(0_u32..) {
            self.costs[place] = cost(slot);
            self.winners[seats + place] = if self.costs[place] == NOWHERE { NOBODY } else { slot };
        }
        (1..seats).rev().for_each(|place| self.play(place, &is_before));
    }

    fn catch_up(
        &mut self,
        changed: &[u32],
        mut cost: impl FnMut(u32) -> u128,
        is_before: impl Fn(u32, u32) -> bool,
    ) {
        for (index, slot) in changed.iter().enumerate() {
            // What is told of an agent again further on is as true now.
            if changed.get(index + 1) == Some(slot) {
                continue;
            }
            let seat = *slot as usize;
            let Some(held) = self.costs.get_mut(seat) else { continue };
            *held = cost(*slot);
            let mut place = self.costs.len() + seat;
            self.winners[place] = if self.costs[seat] == NOWHERE { NOBODY } else { *slot };
            while place > 1 {
                place /= 2;
                self.play(place, &is_before);
            }
        }
    }

    /// The match of a place in the tree.
    fn play(&mut self, place: usize, is_before: &impl Fn(u32, u32) -> bool) {
        let (left, right) = (self.winners[2 * place], self.winners[2 * place + 1]);
        self.winners[place] = match (left, right) {
            (NOBODY, other) | (other, NOBODY) => other,
            _ => {
                let (a, b) = (self.costs[left as usize], self.costs[right as usize]);
                if b < a || b == a && is_before(right, left) { right } else { left }
            }
        };
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
