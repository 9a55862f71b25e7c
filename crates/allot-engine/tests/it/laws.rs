//! The properties that every policy keeps, by the letters of the crate's README, on random clusters.

use allot_engine::{Backfill, Order, Placement, Policy, Rank};
use allot_model::{Amount, HoldBack, PoolJob, PreemptRules, Resources, Span, TaskRange, Time};
use proptest::prelude::*;

use crate::support::orders::ORDERS;
use crate::support::reference::{fits_anywhere, place_all};
use crate::support::{Cluster, Placed, Random, constraints, items, job, pool_agent, resources};

const QUEUES: [&str; 5] = ["a", "b", "b.c", "b.c.d", "b-c"];
/// None of these is below another.
const APART: [&str; 4] = ["a", "b", "b-c", "c"];

/// What happens to a cluster, in small numbers so that ties and full agents are common.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Agent {
        name: u8,
        cpus: u64,
        mem: u64,
        gpus: u8,
        zone: u8,
    },
    AgentLeaves {
        place: usize,
    },
    Job {
        queue: usize,
        tasks: u32,
        cpus: u64,
        mem: u64,
        gpus: u64,
        priority: i32,
        zone: u8,
        submitted: u64,
        estimate: u64,
    },
    /// So many seconds go by.
    Later {
        seconds: u64,
    },
    Ends {
        place: usize,
    },
    Weight {
        queue: usize,
        weight: u32,
    },
    Limit {
        queue: usize,
        limit: String,
    },
    Guarantee {
        queue: usize,
        least: String,
        hold_back: HoldBack,
    },
    Withdrawn {
        place: usize,
        first: u32,
        count: u32,
    },
    Pass,
}

fn event() -> impl Strategy<Value = Event> {
    let job = (
        0..QUEUES.len(),
        1_u32..12,
        1_u64..6,
        0_u64..6,
        prop_oneof![4 => Just(0_u64), 1 => Just(500), 1 => Just(1000)],
    );
    let more = (0_i32..3, 0_u8..4, 0_u64..3, 0_u64..5);
    prop_oneof![
        3 => (0_u8..20, 1_u64..12, 0_u64..12, 0_u8..3, 0_u8..2)
            .prop_map(|(name, cpus, mem, gpus, zone)| Event::Agent { name, cpus, mem, gpus, zone }),
        1 => any::<usize>().prop_map(|place| Event::AgentLeaves { place }),
        4 => (job, more).prop_map(|((queue, tasks, cpus, mem, gpus), (priority, zone, submitted, estimate))| {
            Event::Job { queue, tasks, cpus, mem, gpus, priority, zone, submitted, estimate }
        }),
        2 => (1_u64..7).prop_map(|seconds| Event::Later { seconds }),
        4 => any::<usize>().prop_map(|place| Event::Ends { place }),
        1 => (0..QUEUES.len(), 1_u32..4).prop_map(|(queue, weight)| Event::Weight { queue, weight }),
        2 => (0..QUEUES.len(), limit()).prop_map(|(queue, limit)| Event::Limit { queue, limit }),
        2 => (0..QUEUES.len(), limit(), hold_back())
            .prop_map(|(queue, least, hold_back)| Event::Guarantee { queue, least, hold_back }),
        1 => (any::<usize>(), 0_u32..12, 1_u32..6)
            .prop_map(|(place, first, count)| Event::Withdrawn { place, first, count }),
        4 => Just(Event::Pass),
    ]
}

fn hold_back() -> impl Strategy<Value = HoldBack> {
    prop_oneof![2 => Just(HoldBack::Fixed), 1 => Just(HoldBack::Always), 1 => Just(HoldBack::Never)]
}

fn limit() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => (0_u32..8).prop_map(|tasks| format!("tasks={tasks}")),
        3 => (0_u32..20).prop_map(|cpus| format!("cpus={cpus}")),
        2 => (0_u32..20, 0_u32..20).prop_map(|(cpus, mem)| format!("cpus={cpus} mem={mem}")),
        1 => Just("gpus=1000".to_owned()),
        1 => Just("none".to_owned()),
    ]
}

pub(crate) fn any_policy() -> impl Strategy<Value = Policy> {
    policy_with(prop_oneof![
        2 => Just(Rank::Line),
        1 => Just(Rank::Fair { resource: "cpus".parse().unwrap() }),
        2 => Just(Rank::Drf),
        1 => Just(Rank::Asset),
        2 => Just(Rank::Hdrf),
    ])
}

fn policy_by_use() -> impl Strategy<Value = Policy> {
    policy_with(Just(Rank::Usage { half_life: Span::from_secs(5) }))
}

/// Those too that go by what was before, or by lot.
fn any_policy_at_all() -> impl Strategy<Value = Policy> {
    let rest = policy_with(prop_oneof![
        (0_u64..9).prop_map(|seed| Rank::Lottery { seed }),
        Just(Rank::Karma { alpha: "0.5".parse().unwrap(), quantum: Span::from_secs(2) }),
    ]);
    prop_oneof![2 => any_policy(), 1 => policy_by_use(), 2 => rest]
}

fn policy_with(rank: impl Strategy<Value = Rank>) -> impl Strategy<Value = Policy> {
    let order = proptest::sample::select(ORDERS);
    let ageing = prop_oneof![Just(None), (1_u64..4).prop_map(|seconds| Some(Span::from_secs(seconds)))];
    let seeded = (0..3_u64).prop_map(|seed| Placement::Random { seed });
    let placement = prop_oneof![proptest::sample::select(&Placement::ALL[..]), seeded];
    let backfill = prop_oneof![3 => Just(Backfill::Skip), 1 => Just(Backfill::None)];
    (rank, order, ageing, placement, backfill).prop_map(|(rank, order, ageing, placement, backfill)| Policy {
        name: "tested".parse().unwrap(),
        rank,
        order,
        ageing: ageing.filter(|_| order == Order::Priority),
        placement,
        backfill,
        preempt: PreemptRules::default(),
    })
}

pub(crate) fn some_events() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), 1..40)
}

fn total(cpus: u64, mem: u64, gpus: u8) -> Resources {
    let mut total = resources(&format!("cpus={cpus} mem={mem}"));
    let ids: Vec<String> = (0..gpus).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    total.add(&items("gpus", &ids)).unwrap();
    total
}

fn nth<T>(all: Vec<T>, place: usize) -> Option<T> {
    let count = all.len().max(1);
    all.into_iter().nth(place % count)
}

/// Applies an event; a pass is left to the caller.
pub(crate) fn apply(cluster: &mut Cluster, event: &Event) {
    match event {
        Event::Agent { name, cpus, mem, gpus, zone } => {
            let name = format!("agent-{name}");
            if cluster.names.insert(name.clone()) {
                let zone = if *zone == 0 { "a" } else { "b" };
                cluster.add_agent(pool_agent(&name, total(*cpus, *mem, *gpus), &[("zone", zone)]));
            }
        }
        Event::AgentLeaves { place } => {
            if let Some(agent) = nth(cluster.agents.keys().cloned().collect(), *place) {
                cluster.remove_agent(agent.as_str());
            }
        }
        Event::Later { seconds } => {
            cluster.later(*seconds);
        }
        Event::Job { queue, tasks, cpus, mem, gpus, priority, zone, submitted, estimate } => {
            let id = cluster.jobs.len() as u64 + 1;
            let asks = format!("cpus={cpus} mem={mem} gpus={gpus}");
            let zone = ["zone == a", "zone != a"].get(usize::from(*zone)).copied();
            cluster.add_job(PoolJob {
                priority: *priority,
                submitted_at: Time::from_micros(*submitted * 700_000),
                estimate: Some(Span::from_secs(*estimate)).filter(|estimate| *estimate > Span::ZERO),
                deadline: [None, Some(Time::from_micros(u64::from(*tasks)))]
                    [usize::from(id.is_multiple_of(2))],
                constraints: constraints(zone.as_slice()),
                ..job(id, QUEUES[*queue], *tasks, &asks)
            });
        }
        Event::Ends { place } => {
            let running = cluster.jobs.iter().filter(|(_, job)| !job.running.is_empty());
            if let Some(id) = nth(running.map(|(id, _)| id.0).collect(), *place) {
                cluster.end_oldest(id);
            }
        }
        Event::Weight { queue, weight } => {
            cluster.weight(QUEUES[*queue], *weight);
        }
        Event::Limit { queue, limit } => {
            cluster.limit(QUEUES[*queue], limit);
        }
        Event::Guarantee { queue, least, hold_back } => {
            cluster.guarantee(QUEUES[*queue], least, *hold_back);
        }
        Event::Withdrawn { place, first, count } => {
            if let Some(id) = nth(cluster.jobs.keys().map(|id| id.0).collect(), *place) {
                cluster.withdraw(id, TaskRange { first: *first, last: first + count - 1 });
            }
        }
        Event::Pass => {}
    }
}

/// Runs the events and compares every pass with the reference.
fn compare(policy: &Policy, events: &[Event]) {
    let mut cluster = Cluster::new(policy.clone());
    for event in events.iter().chain([&Event::Pass]) {
        apply(&mut cluster, event);
        if matches!(event, Event::Pass) {
            cluster.hear();
            let expected = place_all(policy, &cluster);
            assert_eq!(cluster.pass(), expected);
        }
    }
}

proptest! {
    #![proptest_config(crate::support::cases(600))]

    // A is checked by the cluster at each commit, here and everywhere.
    #[test]
    fn every_policy_decides_as_the_plain_reference(policy in any_policy(), events in some_events()) {
        compare(&policy, &events);
    }

    #[test]
    fn past_use_decides_as_the_plain_reference(policy in policy_by_use(), events in some_events()) {
        compare(&policy, &events);
    }

    #[test]
    fn b_nothing_that_waits_would_fit(policy in any_policy_at_all(), events in some_events()) {
        let mut cluster = Cluster::new(Policy { backfill: Backfill::Skip, ..policy });
        events.iter().for_each(|event| apply(&mut cluster, event));
        cluster.pass();
        for job in cluster.jobs.values().filter(|job| !job.pending.is_empty()) {
            prop_assert!(!fits_anywhere(&cluster, &job.facts), "job {} would fit", job.facts.job);
        }
    }

    #[test]
    fn c_the_order_in_which_things_are_heard_changes_nothing(
        policy in any_policy(),
        events in some_events(),
        seed in any::<u64>(),
    ) {
        let run = |shuffle: bool| {
            let mut cluster = Cluster::new(policy.clone());
            let told = |event: &&Event| !matches!(event, Event::Ends { .. } | Event::Later { .. });
            events.iter().filter(told).for_each(|event| apply(&mut cluster, event));
            cluster.now = cluster.now + Span::from_secs(7);
            if shuffle {
                cluster.retell(seed);
            }
            cluster.pass()
        };
        prop_assert_eq!(run(false), run(true));
    }

    #[test]
    fn d_messages_told_twice_change_nothing(policy in any_policy_at_all(), events in some_events()) {
        let run = |twice: bool| {
            let mut cluster = Cluster::new(policy.clone());
            cluster.twice = twice;
            let mut placed: Vec<Placed> = Vec::new();
            for event in events.iter().chain([&Event::Pass]) {
                apply(&mut cluster, event);
                if matches!(event, Event::Pass) {
                    placed.extend(cluster.pass());
                }
            }
            placed
        };
        prop_assert_eq!(run(false), run(true));
    }

    #[test]
    fn e_more_weight_never_gets_less(
        cpus in 1_u64..40,
        demands in proptest::collection::vec((1_u32..20, 1_u32..4), 3),
        fair in any::<bool>(),
    ) {
        let run = |bonus: u32| {
            let mut cluster = Cluster::new(Policy::named(if fair { "fair" } else { "drf" }).unwrap());
            cluster.agent("m", &format!("cpus={cpus}"));
            for (place, (tasks, weight)) in demands.iter().enumerate() {
                let weight = if place == 1 { weight + bonus } else { *weight };
                cluster.job(place as u64 + 1, QUEUES[place], *tasks, "cpus=1").weight(QUEUES[place], weight);
            }
            cluster.pass();
            cluster.running(2)
        };
        prop_assert!(run(1) >= run(0));
    }

    #[test]
    fn f_a_resync_leads_to_the_same_decisions(policy in any_policy(), events in some_events()) {
        // A resync may take a second, which makes scores that go by the time others.
        let order = if policy.order == Order::Wfp3 { Order::Shortest } else { policy.order };
        let policy = Policy { order, ageing: None, ..policy };
        let run = |resync: bool| {
            let mut cluster = Cluster::new(policy.clone());
            let mut placed = Vec::new();
            for event in events.iter().chain([&Event::Pass]) {
                apply(&mut cluster, event);
                if matches!(event, Event::Pass) {
                    if resync {
                        cluster.start_over();
                    }
                    placed.extend(cluster.pass());
                }
            }
            placed
        };
        prop_assert_eq!(run(false), run(true));
    }

    #[test]
    fn l_every_queue_gets_what_is_guaranteed_to_it_and_wanted(
        policy in any_policy(),
        queues in proptest::collection::vec((0_u64..8, 0_u32..20, hold_back()), 3),
        more in 0_u64..8,
        others in 0_u32..30,
    ) {
        let mut cluster = Cluster::new(Policy { backfill: Backfill::Skip, ..policy });
        let guaranteed: u64 = queues.iter().map(|(least, ..)| least).sum();
        cluster.agent("m", &format!("cpus={}", guaranteed + more)).job(9, "0", others, "cpus=1");
        for (place, (least, wanted, hold_back)) in queues.iter().enumerate() {
            let name = ["a", "b", "b-c"][place];
            cluster.guarantee(name, &format!("cpus={least}"), *hold_back);
            cluster.job(place as u64 + 1, name, *wanted, "cpus=1");
        }
        cluster.pass();
        let mut kept = 0;
        for (place, (least, wanted, hold_back)) in queues.iter().enumerate() {
            let has = cluster.running(place as u64 + 1);
            prop_assert!(has >= (*least).min(u64::from(*wanted)), "queue {place} has {has}");
            kept += if *hold_back == HoldBack::Always { least.saturating_sub(has) } else { 0 };
        }
        prop_assert!(guaranteed + more - cluster.used("cpus") >= kept, "{kept} are held back");
    }

    #[test]
    fn h_drf_gives_no_queue_less_than_an_equal_part_would(
        cpus in 10_u64..60,
        mem in 10_u64..60,
        needs in proptest::collection::vec((1_u64..5, 1_u64..5), 2..4),
    ) {
        let mut cluster = Cluster::new(Policy::named("drf").unwrap());
        cluster.agent("m", &format!("cpus={cpus} mem={mem}"));
        for (place, (c, m)) in needs.iter().enumerate() {
            cluster.job(place as u64 + 1, APART[place], 1_000, &format!("cpus={c} mem={m}"));
        }
        cluster.pass();
        // Sharing incentive, which holds for divisible tasks: whole ones may miss it by one task of the largest kind.
        let dominant = |place: usize, tasks: u64| {
            let (c, m) = needs[place];
            (tasks * c * mem).max(tasks * m * cpus)
        };
        let largest = (0..needs.len()).map(|place| dominant(place, 1)).max().unwrap_or(0);
        for place in 0..needs.len() {
            let has = dominant(place, cluster.running(place as u64 + 1));
            prop_assert!((has + largest) * needs.len() as u64 >= cpus * mem, "queue {place} has {has}");
        }
    }
}

/// As the small random clusters, but large enough that shapes are learned and searches are long.
#[test]
fn every_policy_decides_as_the_plain_reference_on_larger_clusters() {
    for (seed, policy) in (1..).zip(Policy::names()).filter(|(_, name)| !["lottery", "karma"].contains(name))
    {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::new(Policy::named(policy).unwrap());
        for agent in 0..90 {
            let total = total(4 + random.below(12), 4 + random.below(12), u8::from(agent % 5 == 0));
            let zone = if random.below(3) == 0 { "a" } else { "b" };
            cluster.add_agent(pool_agent(&format!("agent-{agent}"), total, &[("zone", zone)]));
        }
        for round in 0..6 {
            for _ in 0..25 {
                let (cpus, mem, tasks) = (1 + random.below(4), random.below(4), 1 + random.below(30));
                let event = Event::Job {
                    queue: usize::try_from(random.below(3)).unwrap(),
                    tasks: u32::try_from(tasks).unwrap(),
                    cpus,
                    mem,
                    gpus: 500 * (random.below(6) / 5),
                    priority: i32::try_from(random.below(3)).unwrap(),
                    zone: u8::try_from(random.below(6)).unwrap(),
                    submitted: random.below(4),
                    estimate: 1 + random.below(9),
                };
                apply(&mut cluster, &event);
            }
            for _ in 0..40 * round {
                apply(&mut cluster, &Event::Ends { place: usize::try_from(random.below(1_000)).unwrap() });
            }
            let expected = place_all(cluster.engine.policy(), &cluster);
            assert_eq!(cluster.pass(), expected, "{policy}, round {round}");
        }
    }
}

#[test]
fn g_shares_are_exact_where_floating_point_is_not() {
    let mut cluster = Cluster::new(Policy::named("drf").unwrap());
    let whole = u64::MAX / 4;
    cluster.agent("m", &format!("cpus=3 mem={whole}"));
    cluster.job(1, "a", 2, &format!("mem={}", whole / 4)).job(2, "b", 2, &format!("mem={}", whole / 4 - 1));
    let order: String = cluster.pass().iter().map(|placed| placed.queue.to_string()).collect();
    assert_eq!(order, "abba", "b has one byte less after its first task");
}

#[test]
fn devices_are_named_and_never_given_twice() {
    let mut cluster = Cluster::new(Policy::named("drf").unwrap());
    cluster.add_agent(pool_agent("m", total(100, 100, 2), &[]));
    cluster.job(1, "a", 4, "cpus=1 gpus=500").job(2, "b", 3, "cpus=1 gpus=1000");
    cluster.pass();
    assert_eq!((cluster.running(1), cluster.running(2)), (2, 1), "one device is shared by two, one is whole");
    let gpus = "gpus".parse().unwrap();
    let held: Vec<Amount> = cluster
        .jobs
        .values()
        .flat_map(|job| &job.running)
        .filter_map(|run| run.2.get(&gpus).cloned())
        .collect();
    assert!(held.iter().all(|amount| matches!(amount, Amount::Items(items) if items.len() == 1)), "{held:?}");
}

#[test]
fn a_job_array_on_one_agent_is_one_grant() {
    let mut cluster = Cluster::new(Policy::named("drf").unwrap());
    cluster.agent("m", "cpus=1000000").job(1, "a", 1_000_000, "cpus=1");
    cluster.flush();
    let grants = cluster.decide();
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].placements[0].tasks, TaskRange { first: 0, last: 999_999 });
}

#[test]
fn two_arrays_that_compete_are_granted_in_runs_in_the_order_of_single_tasks() {
    let mut cluster = Cluster::new(Policy::named("drf").unwrap());
    cluster.agent("m", "cpus=40").job(1, "a", 100, "cpus=1").job(2, "b", 100, "cpus=10");
    let order: String = cluster.pass().iter().map(|placed| placed.queue.to_string()).collect();
    assert_eq!(order, format!("ab{}b{}", "a".repeat(10), "a".repeat(9)));
    cluster.now = cluster.now + Span::from_secs(1);
    assert_eq!(cluster.pass(), []);
}
