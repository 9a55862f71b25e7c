//! What any allocator must do: the order of queues (F) and who gets what there is (A), row by row, and with other numbers.
//! `docs/conformance.md` lists all rows.

use allot_model::{Span, TaskRange, Time};
use proptest::prelude::*;

use crate::support::{Cluster, cases, policy};

/// The order of queues whose jobs hold this much and want more than there is.
struct Sorter(Cluster);

impl Sorter {
    fn new(total: &str) -> Self {
        let mut cluster = Cluster::new(policy("drf"));
        cluster.agent("pool", total);
        Self(cluster)
    }

    /// Its last letter.
    fn id(name: &str) -> u64 {
        u64::from(*name.as_bytes().last().unwrap())
    }

    /// A queue that holds this and has one more task waiting, too large for any agent.
    fn add(&mut self, name: &str, holds: &str) -> &mut Self {
        self.0.job(Self::id(name), name, 2, "cpus=1000000000").hold(Self::id(name), 0, holds);
        self
    }

    /// It holds this instead.
    fn change(&mut self, name: &str, holds: &str) -> &mut Self {
        self.0.end_oldest(Self::id(name)).hold(Self::id(name), 0, holds);
        self
    }

    /// It holds nothing any more, and wants nothing.
    fn drop_queue(&mut self, name: &str) -> &mut Self {
        self.0.end_oldest(Self::id(name)).forget_job(Self::id(name));
        self
    }

    fn order(&mut self) -> String {
        self.0.flush();
        let queues = self.0.engine.queue_order();
        queues.into_iter().flatten().map(|queue| queue.to_string()).collect::<Vec<_>>().join(" ")
    }
}

fn f1() -> Sorter {
    let mut sorter = Sorter::new("cpus=100 mem=100");
    sorter.add("a", "cpus=5 mem=5").add("b", "cpus=6 mem=6");
    sorter
}

fn f2() -> Sorter {
    let mut sorter = f1();
    sorter.add("c", "cpus=1 mem=1").add("d", "cpus=3 mem=1").drop_queue("a").change("b", "cpus=2 mem=2");
    sorter
}

fn f3() -> Sorter {
    let mut sorter = f2();
    sorter.add("e", "cpus=1 mem=5").0.agent("pool", "cpus=50 mem=100");
    sorter
}

fn f4() -> Sorter {
    let mut sorter = f3();
    sorter.add("f", "cpus=5 mem=1").change("c", "cpus=1 mem=16").0.agent("pool", "cpus=50 mem=200");
    sorter
}

#[test]
fn f1_queues_stand_in_the_order_of_their_dominant_shares() {
    let mut sorter = f1();
    assert_eq!(sorter.order(), "a b");
    assert_eq!(sorter.add("c", "cpus=1 mem=1").add("d", "cpus=3 mem=1").order(), "c d a b");
}

#[test]
fn f2_a_queue_that_gives_something_back_comes_forward() {
    assert_eq!(f2().order(), "c b d");
}

#[test]
fn f3_the_order_follows_the_size_of_the_pool() {
    assert_eq!(f3().order(), "c b e d", "of .02 .04 .05 .06");
}

#[test]
fn f4_a_queue_that_gets_more_of_one_resource_falls_back() {
    assert_eq!(f4().order(), "e b d c f", "of .025 .04 .06 .08 .1");
}

#[test]
fn f5_a_queue_with_nothing_to_place_is_not_in_line_and_keeps_what_it_has() {
    let mut sorter = f4();
    sorter.0.withdraw(Sorter::id("d"), TaskRange::one(1));
    assert_eq!(sorter.order(), "e b c f");
    assert_eq!((sorter.0.jobs.len(), sorter.0.running(Sorter::id("d"))), (5, 1), "and it counts as before");
    sorter.0.pending(Sorter::id("d"), TaskRange::one(1));
    assert_eq!(sorter.order(), "e b d c f", "F4 again");
}

#[test]
fn f6_weights_divide_shares() {
    let mut sorter = f1();
    sorter.0.weight("b", 2);
    assert_eq!(sorter.order(), "b a");
    assert_eq!(sorter.add("c", "cpus=4 mem=4").order(), "b c a");
}

fn f12() -> Sorter {
    let mut sorter = Sorter::new("cpus=100 mem=100");
    sorter.add("a", "cpus=6 mem=6").add("b.c", "cpus=4 mem=4").add("b.d", "cpus=3 mem=3");
    sorter
}

#[test]
fn f12_queues_are_compared_part_by_part_of_their_tree() {
    assert_eq!(f12().order(), "a b.d b.c", "b has .07 in all");
}

#[test]
fn f13_a_queue_below_another_goes_where_the_whole_of_that_part_goes() {
    let mut sorter = f12();
    assert_eq!(sorter.change("a", "cpus=8 mem=8").order(), "b.d b.c a");
    sorter.0.job(Sorter::id("f"), "b.e.f", 2, "cpus=1000000000");
    assert_eq!(sorter.order(), "b.e.f b.d b.c a", "it has nothing");
    let mut finer = Sorter::new("cpus=1000 mem=1000");
    finer.add("a", "cpus=80 mem=80").add("b.c", "cpus=40 mem=40").add("b.d", "cpus=30 mem=30");
    finer.add("b.e.f", "cpus=35 mem=35");
    assert_eq!(finer.order(), "a b.d b.e.f b.c", "all ten times as fine, as f has 3.5");
}

#[test]
fn f14_a_part_that_loses_a_queue_counts_without_it() {
    let mut sorter = f12();
    sorter.change("a", "cpus=8 mem=8").add("b.e.f", "cpus=3 mem=3");
    assert_eq!(sorter.order(), "a b.d b.e.f b.c");
    assert_eq!(sorter.drop_queue("b.e.f").order(), "b.d b.c a");
    assert_eq!(sorter.change("b.c", "cpus=1 mem=1").order(), "b.c b.d a");
}

/// The queues in the order of their dominant shares over their weights, worked out by cross-multiplication.
fn by_hand(pool: (u64, u64), queues: &[(u64, u64, u32)]) -> String {
    let pool = (u128::from(pool.0), u128::from(pool.1));
    let share = |place: usize| {
        let (cpus, mem, weight) = queues[place];
        let part = (u128::from(cpus) * pool.1).max(u128::from(mem) * pool.0);
        (part, u128::from(weight))
    };
    let mut places: Vec<usize> = (0..queues.len()).collect();
    places.sort_by_key(|place| char::from(b'a' + u8::try_from(*place).unwrap()));
    places.sort_by(|one, other| {
        let ((left, weight), (right, other_weight)) = (share(*one), share(*other));
        (left * other_weight).cmp(&(right * weight))
    });
    let name = |place: usize| char::from(b'a' + u8::try_from(place).unwrap()).to_string();
    places.into_iter().map(name).collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn f_with_any_numbers_queues_stand_in_the_order_of_their_shares_over_their_weights(
        pool in (1_u64..1_000, 1_u64..1_000),
        queues in proptest::collection::vec((1_u64..100, 1_u64..100, 1_u32..5), 1..9),
    ) {
        let mut sorter = Sorter::new(&format!("cpus={} mem={}", pool.0, pool.1));
        for (name, (cpus, mem, weight)) in ('a'..).zip(&queues) {
            sorter.add(&name.to_string(), &format!("cpus={cpus} mem={mem}"));
            sorter.0.weight(&name.to_string(), *weight);
        }
        prop_assert_eq!(sorter.order(), by_hand(pool, &queues));
    }
}

#[test]
fn a1_agents_go_to_the_queue_with_the_least() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("s1", "cpus=2 mem=1024").job(1, "r1", 1, "cpus=2 mem=1024");
    assert_eq!(cluster.pass_as_queues(), "r1");
    cluster.job(2, "r2", 1, "cpus=1 mem=512").agent("s2", "cpus=1 mem=512");
    assert_eq!(cluster.pass_as_queues(), "r2");
    cluster
        .job(3, "r1", 1, "cpus=3 mem=2048")
        .job(4, "r2", 1, "cpus=3 mem=2048")
        .agent("s3", "cpus=3 mem=2048");
    assert_eq!(cluster.pass_as_queues(), "r2", "r2 has 0.16 of the pool, r1 0.33");
}

#[test]
fn a5_what_a_whole_part_of_the_tree_holds_counts_against_each_queue_in_it() {
    for name in ["drf", "fair", "asset"] {
        let mut cluster = Cluster::new(policy(name));
        cluster.agent("s1", "cpus=2 mem=1024").job(1, "a.b", 1, "cpus=2 mem=1024");
        assert_eq!(cluster.pass_as_queues(), "a.b");
        cluster.job(2, "a.c", 1, "cpus=1 mem=512").job(3, "d.e", 1, "cpus=1 mem=512");
        cluster.agent("s2", "cpus=1 mem=512");
        assert_eq!(cluster.pass_as_queues(), "d.e", "{name}");
        cluster.withdraw(2, TaskRange::one(0));
        cluster.job(4, "a.c", 1, "cpus=2 mem=1024").job(5, "d.f", 1, "cpus=2 mem=1024");
        cluster.agent("s3", "cpus=2 mem=1024");
        assert_eq!(cluster.pass_as_queues(), "d.f", "{name}: a has .4 and d has .2");
    }
}

/// One place, and queues that always have a task for it, each of a second: whose it is, round by round.
fn rounds(policy_text: &str, weights: &[(&str, u32)], count: u64) -> String {
    let mut cluster = Cluster::new(policy(policy_text));
    cluster.agent("s1", "cpus=2 mem=1024");
    for (id, (name, weight)) in (1..).zip(weights) {
        cluster.job(id, name, 100, "cpus=2 mem=1024").weight(name, *weight);
    }
    let mut served = String::new();
    for round in 1..=count {
        let placed = cluster.pass();
        served.extend(placed.iter().map(|placed| placed.queue.to_string()));
        cluster.now = Time::ZERO + Span::from_secs(round);
        placed.iter().for_each(|placed| _ = cluster.end_oldest(placed.job.0));
        cluster.renew_offers();
    }
    served
}

#[test]
fn a7_equal_queues_take_turns_at_the_only_place_where_past_use_counts() {
    assert_eq!(rounds("usage", &[("a", 1), ("b", 1)], 10), "ababababab");
    let counts = |served: &str| ['a', 'b', 'c'].map(|name| served.matches(name).count());
    assert_eq!(counts(&rounds("usage", &[("a", 1), ("b", 1), ("c", 1)], 12)), [4, 4, 4]);
    assert_eq!(counts(&rounds("usage", &[("a", 1), ("b", 2)], 12)), [4, 8, 0], "and by weight");
    assert_eq!(rounds("drf", &[("a", 1), ("b", 1)], 4), "aaaa", "what counts is what queues hold: nothing");
}

/// How many of so many whole agents each queue gets.
fn shared_by_weight(name: &str, agents: u32, weights: &[u32]) -> Vec<u64> {
    let mut cluster = Cluster::new(policy(name));
    for (place, weight) in (1_u64..).zip(weights) {
        let queue = format!("q{place}");
        cluster.job(place, &queue, 100, "cpus=2 mem=1024").weight(&queue, *weight);
    }
    (1..=agents).for_each(|agent| _ = cluster.agent(&format!("s{agent}"), "cpus=2 mem=1024"));
    cluster.pass();
    let got = (1_u64..).zip(weights).map(|(place, _)| cluster.running(place)).collect();
    cluster.weight("q1", 100);
    assert_eq!(cluster.pass(), [], "a change of weight alone moves nothing");
    got
}

#[test]
fn a31_whole_agents_are_shared_by_weight() {
    let cases: [(u32, &[u32], &[u64]); 7] = [
        (6, &[1, 1], &[3, 3]),
        (6, &[1, 2], &[2, 4]),
        (6, &[1, 2, 3], &[1, 2, 3]),
        (10, &[1, 4], &[2, 8]),
        (7, &[1, 1, 1], &[3, 2, 2]),
        (24, &[1, 2, 3], &[4, 8, 12]),
        (2, &[1, 1, 1], &[1, 1, 0]),
    ];
    for name in ["drf", "fair", "asset"] {
        for (agents, weights, expected) in cases {
            assert_eq!(shared_by_weight(name, agents, weights), expected, "{name}: {agents} by {weights:?}");
        }
    }
}
