//! Ranks that go by more than what queues hold now: past use, lots, credits.

use std::collections::BTreeMap;

use allot_model::{Span, TaskRange, Time};
use proptest::prelude::*;

use crate::support::{Cluster, Random, cases, policy};

fn at(second: u64) -> Time {
    Time::ZERO + Span::from_secs(second)
}

/// One agent of so many cpus.
fn cluster(policy_text: &str, cpus: u64) -> Cluster {
    let mut cluster = Cluster::new(policy(policy_text));
    cluster.agent("m", &format!("cpus={cpus}"));
    cluster
}

/// Ends everything that runs.
fn end_all(cluster: &mut Cluster) {
    let running: Vec<(u64, usize)> = cluster.jobs.iter().map(|(id, job)| (id.0, job.running.len())).collect();
    for (id, runs) in running {
        (0..runs).for_each(|_| _ = cluster.end_oldest(id));
    }
}

#[test]
fn who_has_used_less_goes_first() {
    let mut cluster = cluster("usage", 10);
    cluster.job(1, "a", 10, "cpus=1");
    assert_eq!(cluster.pass_as_queues(), "a".repeat(10));
    cluster.now = at(100);
    end_all(&mut cluster);
    cluster.job(2, "a", 5, "cpus=1").job(3, "b", 8, "cpus=1").renew_offers();
    assert_eq!(cluster.pass_as_queues(), format!("{}aa", "b".repeat(8)));
}

#[test]
fn use_is_forgotten_by_half_in_each_half_life() {
    // a used 10 cpus for 10 s long ago, b 2 cpus for 10 s just now.
    let first = |half_life: &str| {
        let mut cluster = cluster(&format!("usage:half_life={half_life}"), 10);
        cluster.job(1, "a", 10, "cpus=1");
        cluster.pass();
        cluster.now = at(10);
        end_all(&mut cluster);
        cluster.pass();
        cluster.now = at(100);
        cluster.job(2, "b", 2, "cpus=1").renew_offers();
        cluster.pass();
        cluster.now = at(110);
        end_all(&mut cluster);
        cluster.job(3, "a", 1, "cpus=9").job(4, "b", 1, "cpus=9").renew_offers();
        cluster.pass_as_queues()
    };
    assert_eq!(first("7d"), "b", "100 cpu seconds and 20");
    assert_eq!(first("20s"), "a", "100 through 32, and 20");
}

#[test]
fn what_still_runs_counts_up_to_now() {
    let mut cluster = cluster("usage", 4);
    cluster.job(1, "a", 2, "cpus=1").job(2, "b", 1, "cpus=1");
    assert_eq!(cluster.pass_as_queues(), "aab");
    cluster.now = at(5);
    cluster.job(3, "a", 1, "cpus=1").job(4, "b", 1, "cpus=1").renew_offers();
    assert_eq!(cluster.pass_as_queues(), "b");
}

#[test]
fn use_is_compared_part_by_part_of_the_tree_and_by_weight() {
    let mut cluster = cluster("usage", 9);
    cluster.weight("a", 2).job(1, "a.x", 4, "cpus=1").job(2, "b", 3, "cpus=1");
    cluster.pass();
    cluster.now = at(50);
    end_all(&mut cluster);
    cluster.job(3, "a.y", 1, "cpus=9").job(4, "b", 1, "cpus=9").renew_offers();
    assert_eq!(cluster.pass_as_queues(), "a.y", "4 over 2 is less than 3");
    cluster.now = at(70);
    end_all(&mut cluster);
    cluster.job(5, "a.z", 1, "cpus=9").job(6, "b", 1, "cpus=9").renew_offers();
    assert_eq!(cluster.pass_as_queues(), "b", "a.z has used nothing, and a 200 + 180 over 2");
}

#[test]
fn past_use_outlives_the_last_task_and_a_resync() {
    let mut cluster = cluster("usage", 10);
    cluster.job(1, "a", 10, "cpus=1");
    cluster.pass();
    cluster.now = at(100);
    end_all(&mut cluster);
    cluster.forget_job(1);
    cluster.pass();
    cluster.sync();
    cluster.job(2, "a", 1, "cpus=9").job(3, "b", 1, "cpus=9").renew_offers();
    assert_eq!(cluster.pass_as_queues(), "b");
}

/// How often each queue is served where each always has more to do, one task at a time.
fn served(policy_text: &str, weights: &[(&str, u32)], tasks: u64) -> BTreeMap<String, u64> {
    let mut cluster = Cluster::new(policy(policy_text));
    cluster.agent("m", &format!("cpus={tasks}"));
    for (id, (name, weight)) in (1..).zip(weights) {
        cluster.job(id, name, u32::try_from(tasks).unwrap(), "cpus=1").weight(name, *weight);
    }
    let placed = cluster.pass();
    let mut counts = BTreeMap::new();
    placed.iter().for_each(|placed| *counts.entry(placed.queue.to_string()).or_default() += 1);
    counts
}

/// The same by drawing tickets, as plainly as it can be said.
fn drawn(weights: &[(&str, u32)], tasks: u64, seed: u64) -> BTreeMap<String, u64> {
    let mut random = Random::new(seed);
    let mut counts = BTreeMap::new();
    let all: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
    for _ in 0..tasks {
        let mut ticket = random.below(all);
        for (name, weight) in weights {
            if ticket < u64::from(*weight) {
                *counts.entry((*name).to_owned()).or_default() += 1;
                break;
            }
            ticket -= u64::from(*weight);
        }
    }
    counts
}

#[test]
fn lots_fall_by_weight_as_if_tickets_were_drawn() {
    let weights = [("a", 1), ("b", 2), ("c", 3), ("d", 14)];
    let (tasks, naive) = (20_000, drawn(&[("a", 1), ("b", 2), ("c", 3), ("d", 14)], 20_000, 1));
    for seed in 0..5 {
        let counts = served(&format!("lottery:seed={seed}"), &weights, tasks);
        for (name, weight) in weights {
            let expected = tasks * u64::from(weight) / 20;
            // Four standard deviations of the binomial distribution, at most √(n/4) each.
            assert!(
                counts[name].abs_diff(expected) < 283,
                "seed {seed}: {name} was served {} times",
                counts[name]
            );
            assert!(naive[name].abs_diff(expected) < 283);
        }
    }
}

#[test]
fn lots_are_drawn_at_each_level_of_the_tree() {
    let weights = [("a.x", 1), ("a.y", 3), ("b", 1)];
    let counts = served("lottery:seed=3", &weights, 8_000);
    for (name, expected) in [("a.x", 1_000), ("a.y", 3_000), ("b", 4_000)] {
        assert!(counts[name].abs_diff(expected) < 200, "{counts:?}");
    }
}

#[test]
fn equal_seeds_draw_alike_and_others_do_not() {
    let run = |seed: u64| {
        let mut cluster = Cluster::new(policy(&format!("lottery:seed={seed}")));
        cluster.agent("m", "cpus=40").job(1, "a", 40, "cpus=1").job(2, "b", 40, "cpus=1");
        cluster.pass_as_queues()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_queue_that_had_nothing_to_do_has_no_turns_to_catch_up_on() {
    let mut counts = BTreeMap::new();
    for seed in 0..400 {
        let mut cluster = cluster(&format!("lottery:seed={seed}"), 300);
        cluster.job(1, "a", 200, "cpus=1");
        cluster.pass();
        cluster.job(2, "a", 100, "cpus=1").job(3, "b", 100, "cpus=1");
        let placed = cluster.pass();
        let early = placed.iter().take(2).filter(|placed| placed.queue.as_str() == "b").count();
        *counts.entry(early).or_insert(0_u32) += 1;
    }
    // Two fair coins: 100, 200, 100.
    assert!(
        counts[&0].abs_diff(100) < 36 && counts[&1].abs_diff(200) < 40 && counts[&2].abs_diff(100) < 36,
        "{counts:?}"
    );
}

/// Karma as the paper has it: each quantum all is given out anew, slice by slice; what donors earn they earn by the same
/// level, in parts of a slice.
struct Karma {
    slice: i128,
    fair: u64,
    credits: Vec<i128>,
}

impl Karma {
    fn quantum(&mut self, demands: &[u64]) -> Vec<u64> {
        let guaranteed = self.fair / 2;
        let users = 0..demands.len();
        let mut given: Vec<u64> = demands.iter().map(|demand| (*demand).min(guaranteed)).collect();
        let mut left = self.fair * demands.len() as u64 - given.iter().sum::<u64>();
        let mut purse = self.credits.clone();
        while left > 0 {
            let wants = users.clone().filter(|user| given[*user] < demands[*user]);
            let Some(richest) = wants.min_by_key(|user| (-purse[*user], *user)) else { break };
            (given[richest], purse[richest], left) =
                (given[richest] + 1, purse[richest] - self.slice, left - 1);
        }
        let borrowed: Vec<i128> =
            given.iter().map(|given| i128::from(given.saturating_sub(guaranteed)) * self.slice).collect();
        let donated: Vec<i128> = demands
            .iter()
            .map(|demand| i128::from(guaranteed.saturating_sub(*demand)) * self.slice)
            .collect();
        let earned = self.earned(&donated, borrowed.iter().sum::<i128>().min(donated.iter().sum()));
        for user in users {
            self.credits[user] +=
                i128::from(self.fair - guaranteed) * self.slice + earned[user] - borrowed[user];
        }
        given
    }

    /// Fills up the poorest donors, from level to level.
    fn earned(&self, donated: &[i128], mut supply: i128) -> Vec<i128> {
        let mut earned = vec![0; donated.len()];
        loop {
            let open = |earned: &[i128]| {
                (0..donated.len()).filter(|user| earned[*user] < donated[*user]).collect::<Vec<_>>()
            };
            let donors = open(&earned);
            let purse = |user: usize, earned: &[i128]| self.credits[user] + earned[user];
            let Some(low) = donors.iter().map(|user| purse(*user, &earned)).min() else { return earned };
            let lowest: Vec<usize> =
                donors.iter().copied().filter(|user| purse(*user, &earned) == low).collect();
            let next = donors.iter().map(|user| purse(*user, &earned)).filter(|purse| *purse > low).min();
            let room = lowest.iter().map(|user| donated[*user] - earned[*user]).min().unwrap();
            let step = next.map_or(room, |next| room.min(next - low)).min(supply / lowest.len() as i128);
            if step == 0 {
                return earned;
            }
            lowest.iter().for_each(|user| earned[*user] += step);
            supply -= step * lowest.len() as i128;
        }
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn karma_gives_out_each_quantum_as_the_paper_does(
        demands in proptest::collection::vec(proptest::collection::vec(0_u64..9, 4), 1..12),
    ) {
        let mut cluster = Cluster::new(policy("karma:alpha=0.5,quantum=5s"));
        cluster.agent("m", "cpus=16");
        for name in ["a", "b", "c", "d"] {
            cluster.weight(name, 1);
        }
        cluster.pass();
        let mut plain = Karma { slice: (1 << 32) / 16, fair: 4, credits: vec![0; 4] };
        let mut id = 0;
        for (round, wanted) in (1..).zip(demands) {
            cluster.now = at(round * 5);
            end_all(&mut cluster);
            let waiting: Vec<u64> = cluster.jobs.keys().map(|id| id.0).collect();
            for old in waiting {
                cluster.withdraw(old, TaskRange { first: 0, last: 99 }).forget_job(old);
            }
            for (name, demand) in ["a", "b", "c", "d"].iter().zip(&wanted) {
                id += 1;
                if *demand > 0 {
                    cluster.job(id, name, u32::try_from(*demand).unwrap(), "cpus=1");
                }
            }
            cluster.renew_offers();
            let placed = cluster.pass();
            let given = |name: &str| placed.iter().filter(|placed| placed.queue.as_str() == name).count() as u64;
            let given: Vec<u64> = ["a", "b", "c", "d"].map(given).into();
            prop_assert_eq!(given, plain.quantum(&wanted), "quantum {} of {:?}", round, wanted);
        }
    }
}

#[test]
fn who_left_its_part_to_others_has_more_when_it_wants_it() {
    let mut cluster = cluster("karma:quantum=10s", 16);
    cluster.weight("lender", 1).weight("borrower", 1).job(1, "borrower", 16, "cpus=1");
    assert_eq!(cluster.pass().len(), 16);
    cluster.now = at(100);
    end_all(&mut cluster);
    cluster.job(2, "borrower", 16, "cpus=1").job(3, "lender", 16, "cpus=1").renew_offers();
    cluster.pass();
    assert_eq!(
        (cluster.running(2), cluster.running(3)),
        (4, 12),
        "each the half of its part, and all else the lender"
    );
}
