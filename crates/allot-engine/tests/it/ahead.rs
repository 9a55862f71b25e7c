//! Policies that look ahead, on random clusters and in small stories.

use allot_engine::{Backfill, Order, Placement, Policy, Rank};
use allot_model::{HoldBack, PoolJob, Span, TaskRange};
use proptest::prelude::*;

use crate::support::reference::ahead::{Plans, conservative, easy};
use crate::support::*;

const QUEUES: [&str; 3] = ["a", "b", "b.c"];

/// What happens to a cluster.
#[derive(Debug, Clone)]
enum Event {
    Agent {
        cpus: u64,
        mem: u64,
        zone: u8,
    },
    AgentLeaves {
        place: usize,
    },
    Job {
        queue: usize,
        tasks: u32,
        gang: u32,
        cpus: u64,
        mem: u64,
        estimate: Option<u64>,
        same: bool,
        priority: i32,
    },
    Ends {
        place: usize,
        again: bool,
    },
    Limit {
        queue: usize,
        tasks: u32,
    },
    Guarantee {
        queue: usize,
        cpus: u64,
        hold_back: HoldBack,
    },
    Withdrawn {
        place: usize,
        first: u32,
    },
    Wait {
        secs: u64,
    },
    Pass,
}

fn event() -> impl Strategy<Value = Event> {
    let estimate = prop_oneof![1 => Just(None), 5 => (1_u64..40).prop_map(Some)];
    let job = (0..QUEUES.len(), 1_u32..6, prop_oneof![2 => Just(1_u32), 1 => 2_u32..6], 1_u64..7, 0_u64..4);
    let more = (estimate, any::<bool>(), 0_i32..3);
    prop_oneof![
        2 => (1_u64..10, 0_u64..8, 0_u8..3).prop_map(|(cpus, mem, zone)| Event::Agent { cpus, mem, zone }),
        1 => any::<usize>().prop_map(|place| Event::AgentLeaves { place }),
        8 => (job, more).prop_map(|((queue, tasks, gang, cpus, mem), (estimate, same, priority))| {
            Event::Job { queue, tasks: tasks.max(gang), gang, cpus, mem, estimate, same, priority }
        }),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(place, again)| Event::Ends { place, again }),
        1 => (0..QUEUES.len(), 0_u32..6).prop_map(|(queue, tasks)| Event::Limit { queue, tasks }),
        1 => (any::<usize>(), 0_u32..6).prop_map(|(place, first)| Event::Withdrawn { place, first }),
        6 => (1_u64..30).prop_map(|secs| Event::Wait { secs }),
        8 => Just(Event::Pass),
    ]
}

fn any_hold_back() -> impl Strategy<Value = HoldBack> {
    prop_oneof![Just(HoldBack::Fixed), Just(HoldBack::Always), Just(HoldBack::Never)]
}

/// The same with guarantees.
fn guaranteed_event(hold_back: impl Strategy<Value = HoldBack>) -> impl Strategy<Value = Event> {
    let guarantee = (0..QUEUES.len(), 0_u64..9, hold_back);
    prop_oneof![
        9 => event(),
        1 => guarantee.prop_map(|(queue, cpus, hold_back)| Event::Guarantee { queue, cpus, hold_back }),
    ]
}

fn events(event: impl Strategy<Value = Event>) -> impl Strategy<Value = Vec<Event>> {
    let agents = proptest::collection::vec((1_u64..10, 0_u64..8, 0_u8..3), 1..4);
    let agents = agents.prop_map(|agents| {
        agents.into_iter().map(|(cpus, mem, zone)| Event::Agent { cpus, mem, zone }).collect::<Vec<_>>()
    });
    (agents, proptest::collection::vec(event, 1..50))
        .prop_map(|(agents, more)| agents.into_iter().chain(more).collect())
}

fn nth<T>(all: Vec<T>, place: usize) -> Option<T> {
    let count = all.len().max(1);
    all.into_iter().nth(place % count)
}

fn apply(cluster: &mut Cluster, event: &Event) {
    match event {
        Event::Agent { cpus, mem, zone } => {
            let name = format!("agent-{}", cluster.names.len());
            cluster.names.insert(name.clone());
            let zone = [("zone", "a"), ("zone", "b")].get(usize::from(*zone)).copied();
            let total = resources(&format!("cpus={cpus} mem={mem}"));
            cluster.add_agent(pool_agent(&name, total, zone.as_slice()));
        }
        Event::AgentLeaves { place } => {
            if let Some(agent) = nth(cluster.agents.keys().cloned().collect(), *place) {
                cluster.remove_agent(agent.as_str());
            }
        }
        Event::Job { queue, tasks, gang, cpus, mem, estimate, same, priority } => {
            let id = cluster.jobs.len() as u64 + 1;
            cluster.add_job(PoolJob {
                estimate: estimate.map(Span::from_secs),
                min_tasks: *gang,
                same: same.then(|| "zone".to_owned()),
                priority: *priority,
                submitted_at: cluster.now,
                ..job(id, QUEUES[*queue], *tasks, &format!("cpus={cpus} mem={mem}"))
            });
        }
        Event::Ends { place, again } => {
            let running = cluster.jobs.iter().filter(|(_, job)| !job.running.is_empty());
            if let Some(id) = nth(running.map(|(id, _)| id.0).collect(), *place) {
                let tasks = cluster.jobs[&allot_model::JobId(id)].running[0].1;
                cluster.end_oldest(id);
                if *again {
                    cluster.pending(id, tasks);
                }
            }
        }
        Event::Limit { queue, tasks } => {
            let limit = if *tasks == 0 { "none".to_owned() } else { format!("tasks={tasks}") };
            cluster.limit(QUEUES[*queue], &limit);
        }
        Event::Guarantee { queue, cpus, hold_back } => {
            cluster.guarantee(QUEUES[*queue], &format!("cpus={cpus}"), *hold_back);
        }
        Event::Withdrawn { place, first } => {
            if let Some(id) = nth(cluster.jobs.keys().map(|id| id.0).collect(), *place) {
                cluster.withdraw(id, TaskRange { first: *first, last: first + 2 });
            }
        }
        Event::Wait { secs } => {
            cluster.now = cluster.now + Span::from_secs(*secs);
            cluster.renew_offers();
        }
        Event::Pass => {}
    }
}

fn any_policy(backfill: impl Strategy<Value = Backfill>) -> impl Strategy<Value = Policy> {
    let fair = Rank::Fair { resource: "cpus".parse().unwrap() };
    let rank = prop_oneof![3 => Just(Rank::Line), 1 => Just(Rank::Drf), 1 => Just(fair)];
    let order = prop_oneof![2 => Just(Order::Fifo), 2 => Just(Order::Priority), 1 => Just(Order::Shortest)];
    let placement = prop_oneof![Just(Placement::FirstFit), Just(Placement::BestFit)];
    let ageing = prop_oneof![2 => Just(None), 1 => Just(Some(Span::from_secs(10)))];
    (rank, order, ageing, placement, backfill).prop_map(|(rank, order, ageing, placement, backfill)| Policy {
        name: "tested".parse().unwrap(),
        rank,
        order,
        ageing,
        placement,
        backfill,
        preempt: allot_model::PreemptRules::default(),
    })
}

fn easy_policy() -> impl Strategy<Value = Policy> {
    any_policy(prop_oneof![2 => Just(Backfill::Easy), 1 => Just(Backfill::EasyShortest)])
}

fn equals_easy(policy: &Policy, events: &[Event]) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::new(policy.clone());
    for event in events.iter().chain([&Event::Pass]) {
        apply(&mut cluster, event);
        if matches!(event, Event::Pass) {
            cluster.hear();
            let expected = easy(policy, &cluster);
            prop_assert_eq!(cluster.pass(), expected);
        }
    }
    Ok(())
}

fn equals_conservative(policy: &Policy, events: &[Event]) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::new(policy.clone());
    let mut plans = Plans::new();
    // Where limits or guarantees make it necessary to tell queues apart that stood in one line, all is told anew, and plans
    // with it.
    let sets_queue = |event: &&Event| matches!(event, Event::Limit { .. } | Event::Guarantee { .. });
    let is_told_anew = |event: &&Event| policy.rank == Rank::Line && sets_queue(event);
    for event in events.iter().filter(|event| !is_told_anew(event)).chain([&Event::Pass]) {
        apply(&mut cluster, event);
        if matches!(event, Event::Pass) {
            cluster.hear();
            let expected = conservative(policy, &cluster, &mut plans);
            prop_assert_eq!(cluster.pass(), expected);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn easy_decides_as_the_plain_reference(policy in easy_policy(), events in events(event())) {
        equals_easy(&policy, &events)?;
    }

    #[test]
    fn easy_decides_as_the_plain_reference_where_resources_are_guaranteed(
        policy in easy_policy(),
        events in events(guaranteed_event(any_hold_back())),
    ) {
        equals_easy(&policy, &events)?;
    }

    #[test]
    fn conservative_decides_as_the_plain_reference(
        policy in any_policy(Just(Backfill::Conservative)),
        events in events(event()),
    ) {
        equals_conservative(&policy, &events)?;
    }

    #[test]
    fn conservative_decides_as_the_plain_reference_where_resources_are_guaranteed(
        policy in any_policy(Just(Backfill::Conservative)),
        events in events(guaranteed_event(Just(HoldBack::Never))),
    ) {
        equals_conservative(&policy, &events)?;
    }
}
