//! Gangs: all of their places are made or none, and as victims they are stopped whole.

use allot_model::{FeedItem, HoldBack, JobId, PoolAgent, PoolJob, RefusalCode, Span, TaskRange};
use proptest::prelude::*;

use super::{cpus, facts, fill, read, second, soft};
use crate::support::{AgentTruth, Cluster, EPOCH, cases, job, offer_item, policy, pool_agent, resources};

#[test]
fn whole_gangs_are_stopped_or_none_of_it() {
    let gang = |id, tasks| PoolJob { min_tasks: tasks, ..soft(id, "q", 0, tasks, "cpus=1000") };
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000").agent("n", "cpus=1000");
    fill(&mut cluster, vec![gang(1, 2)]);
    assert_eq!(cluster.running(1), 2);
    cluster.add_job(PoolJob { priority: 10, ..job(3, "q", 1, "cpus=1000") });
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0 1.1");
    cluster.end_victims().pass();
    assert_eq!(cluster.running(3), 1);
}

/// A gang of so many tasks of one cpu each, of priority 10.
pub(super) fn urgent_gang(id: u64, of: &str, tasks: u32) -> PoolJob {
    PoolJob { priority: 10, min_tasks: tasks, ..job(id, of, tasks, "cpus=1000") }
}

#[test]
fn a_gang_has_all_its_places_made_and_takes_them_at_once() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000").agent("n", "cpus=2000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000"), soft(2, "q", 2, 1, "cpus=1000")]);
    cluster.add_job(urgent_gang(3, "q", 3));
    assert_eq!(cluster.pass(), [], "one cpu is free, and three are asked for");
    assert_eq!(cluster.victims(), "1.0 2.0");
    let victims: Vec<_> = cluster.asked.drain(..).flat_map(|asked| asked.victims).collect();
    cluster.add_job(PoolJob { priority: 9, ..job(4, "q", 1, "cpus=1000") });
    assert_eq!(cluster.pass(), [], "what is free is held for the gang");
    cluster.end_victim(&victims[0]);
    assert_eq!(cluster.pass(), [], "and so is what has become free");
    assert_eq!(cluster.victims(), "", "nobody else is stopped for anyone");
    cluster.end_victim(&victims[1]);
    let placed = cluster.pass();
    assert!(placed.iter().all(|placed| placed.job == JobId(3)), "{placed:?}");
    assert_eq!(cluster.running(3), 3);
    second(&mut cluster);
    cluster.pass();
    assert_eq!(cluster.victims(), "", "it comes to an end");
}

#[test]
fn nobody_is_stopped_for_a_part_of_a_gang() {
    type Row<'a> = (&'a str, &'a str, Vec<PoolJob>, u32);
    let table: [Row<'_>; 4] = [
        ("there are too few agents", "priority:preempt=priority", vec![soft(1, "q", 1, 2, "cpus=1000")], 3),
        (
            "one must not run twice",
            "priority:preempt=priority",
            vec![soft(1, "q", 1, 1, "cpus=1000"), job(2, "q", 1, "cpus=1000")],
            2,
        ),
        (
            "the rate is too low",
            "priority:preempt=priority:preempt_rate=1",
            vec![soft(1, "q", 1, 2, "cpus=1000")],
            2,
        ),
        (
            "one has not run for long enough",
            "priority:preempt=priority:preempt_min_run=2s",
            vec![soft(1, "q", 1, 1, "cpus=1000"), soft(2, "q", 1, 1, "cpus=1000")],
            2,
        ),
    ];
    for (name, policy_name, running, tasks) in table {
        let mut cluster = Cluster::new(policy(policy_name));
        cluster.agent("m", "cpus=1000").agent("n", "cpus=1000");
        fill(&mut cluster, running);
        cluster.add_job(urgent_gang(3, "q", tasks));
        cluster.pass();
        assert_eq!(cluster.victims(), "", "{name}");
        assert!(cluster.engine.explain(JobId(3)).unwrap().room_made.is_empty(), "{name}");
    }
}

#[test]
fn a_gang_that_has_to_be_together_has_its_places_made_where_it_can_be() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    for (name, rack) in [("m", "x"), ("n", "y"), ("o", "x"), ("p", "y")] {
        let total = resources("cpus=1000");
        cluster.add_agent(pool_agent(name, total, &[("rack", rack)]));
    }
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000"), job(2, "q", 1, "cpus=1000")]);
    fill(&mut cluster, vec![soft(3, "q", 1, 1, "cpus=1000"), soft(4, "q", 1, 1, "cpus=1000")]);
    let on = |cluster: &Cluster, job: u64| cluster.jobs[&JobId(job)].running[0].0.to_string();
    let fixed = on(&cluster, 2);
    cluster.add_job(PoolJob { same: Some("rack".into()), ..urgent_gang(5, "q", 2) });
    cluster.pass();
    let expected = if ["m", "o"].contains(&fixed.as_str()) { ["n", "p"] } else { ["m", "o"] };
    let mut agents: Vec<_> = cluster.asked.iter().map(|asked| asked.agent.to_string()).collect();
    agents.sort();
    assert_eq!(agents, expected, "in the other rack one must not be stopped");
    cluster.end_victims().pass();
    assert_eq!(cluster.running(5), 2);
}

#[test]
fn a_gang_gets_what_is_guaranteed_to_its_queue_where_that_is_enough_for_all_of_it() {
    for (least, expected) in [("cpus=3000", 2), ("cpus=1000", 0)] {
        let mut cluster = Cluster::new(policy("drf:preempt=guarantee"));
        cluster.agent("m", "cpus=2000").agent("n", "cpus=2000").guarantee("a", least, HoldBack::Never);
        cluster.hear();
        fill(&mut cluster, vec![soft(1, "b", 0, 4, "cpus=1000")]);
        cluster.add_job(urgent_gang(2, "a", 2));
        cluster.pass();
        let stopped = cluster.asked.iter().map(allot_model::Preemption::tasks).sum::<u64>();
        assert_eq!(stopped, expected, "{least}: {}", cluster.victims());
        cluster.end_victims().pass();
        assert_eq!(cluster.running(2), stopped, "{least}");
    }
}

#[test]
fn where_one_place_of_a_gang_is_refused_or_lost_nobody_waits_for_the_others() {
    for is_refused in [true, false] {
        let mut cluster = Cluster::new(policy("priority:preempt=priority"));
        cluster.agent("m", "cpus=1000").agent("n", "cpus=1000").agent("o", "cpus=1000");
        fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000"), soft(2, "q", 2, 1, "cpus=1000")]);
        fill(&mut cluster, vec![job(3, "q", 1, "cpus=1000")]);
        cluster.add_job(urgent_gang(4, "q", 2));
        if is_refused {
            cluster.hear();
            cluster.decide();
            let asked = cluster.asked.remove(1);
            let (epoch, grant, message) = (EPOCH, asked.grant, "no".to_owned());
            let code = RefusalCode::NotPreemptible;
            let first = cluster.asked[0].clone();
            cluster
                .items
                .extend([FeedItem::Preempted(first), FeedItem::Refused { epoch, grant, code, message }]);
        } else {
            cluster.pass();
            let agent = cluster.asked.remove(1).agent;
            cluster.items.push(FeedItem::Rescinded { agent: agent.clone() });
            cluster.items.push(FeedItem::AgentLeft { agent });
        }
        let left = cluster.end_victims().pass();
        let placed: Vec<u64> = left.iter().map(|placed| placed.job.0).collect();
        assert_eq!(placed, [1], "refused: {is_refused}: the one that was stopped has its place again");
    }
}

#[test]
fn where_all_places_of_a_gang_are_refused_nobody_counts_as_stopped_and_it_asks_again_later() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000").agent("n", "cpus=1000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000"), soft(2, "q", 2, 1, "cpus=1000")]);
    cluster.add_job(urgent_gang(4, "q", 2));
    cluster.hear();
    cluster.decide();
    for asked in std::mem::take(&mut cluster.asked) {
        let (epoch, grant, message) = (EPOCH, asked.grant, "no".to_owned());
        cluster.items.push(FeedItem::Refused { epoch, grant, code: RefusalCode::TooManyPreempted, message });
    }
    cluster.hear();
    cluster.decide();
    for (seconds, expected) in [(6, ""), (60, "1.0 2.0")] {
        cluster.now = cluster.now + Span::from_secs(seconds);
        cluster.renew_offers().hear();
        cluster.decide();
        assert_eq!(cluster.victims(), expected, "after {seconds} s more");
    }
    assert_eq!(cluster.asked.len(), 2, "each place is asked for again");
}

#[test]
fn a_gang_that_no_longer_fits_where_its_places_were_made_lets_them_go() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=3000");
    fill(&mut cluster, vec![soft(1, "q", 1, 2, "cpus=1000"), job(2, "q", 1, "cpus=1000")]);
    cluster.add_job(urgent_gang(3, "q", 2));
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0 1.1");
    cluster.end_victims();
    cluster.add_job(PoolJob { priority: 5, ..job(4, "q", 1, "cpus=1000") });
    let agent = cluster.agents.get_mut(&"m".parse().unwrap()).unwrap();
    agent.facts = PoolAgent { total: resources("cpus=2000"), ..(*agent.facts).clone() }.into();
    agent.free = resources("cpus=1000");
    agent.version += 1;
    let facts = agent.facts.clone();
    let offer = offer_item(agent);
    cluster.items.extend([FeedItem::Agent(facts), offer]);
    let placed: Vec<u64> = cluster.pass().iter().map(|placed| placed.job.0).collect();
    assert_eq!(placed, [4], "nothing is held for the gang any more");
}

#[test]
fn one_that_takes_over_has_the_places_of_a_gang_made_ready() {
    let mut cluster = Cluster::new(policy("priority:preempt=priority"));
    cluster.agent("m", "cpus=1000").agent("n", "cpus=2000");
    fill(&mut cluster, vec![soft(1, "q", 1, 1, "cpus=1000"), soft(2, "q", 1, 1, "cpus=1000")]);
    cluster.add_job(urgent_gang(3, "q", 3));
    cluster.pass();
    assert_eq!(cluster.victims(), "1.0 2.0");
    cluster.start_over();
    cluster.pass();
    assert_eq!(cluster.asked.len(), 2, "nobody else is stopped");
    cluster.add_job(PoolJob { priority: 20, ..job(4, "q", 1, "cpus=3000") });
    let placed = cluster.end_victims().pass();
    assert!(placed.iter().all(|placed| placed.job == JobId(3)), "{placed:?}");
    assert_eq!(cluster.running(3), 3);
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_gang_has_places_made_just_where_there_can_be_enough(
        agents in proptest::collection::vec(1..6_u64, 1..5),
        running in proptest::collection::vec(facts(1), 1..7),
        (priority, tasks, cpus_each) in (1..5, 2..5_u32, 1..4_u64),
    ) {
        let mut cluster = Cluster::new(policy("priority:preempt=priority"));
        for (number, cpus) in agents.iter().enumerate() {
            cluster.agent(&format!("m{number}"), &format!("cpus={}", cpus * 1000));
        }
        for (id, facts) in (1..).zip(running) {
            cluster.add_job(PoolJob { priority: 0, ..read(id, facts) }).pass();
            let left: Vec<TaskRange> = cluster.jobs[&JobId(id)].pending.ranges().collect();
            left.into_iter().for_each(|tasks| _ = cluster.withdraw(id, tasks));
            second(&mut cluster);
        }
        let amount = "cpus".parse().unwrap();
        let need = cpus_each * 1000;
        let room = |with_victims: bool| -> u64 {
            let on = |(id, agent): (&allot_model::AgentId, &AgentTruth)| {
                let jobs = cluster.jobs.values().filter(|job| job.facts.preemptible && with_victims);
                let held = jobs.flat_map(|job| job.running.iter().filter(|(on, ..)| on == id)
                    .map(|(_, tasks, ..)| tasks.count() * job.facts.resources.get(&amount)));
                (agent.free.total(&amount) + held.sum::<u64>()) / need
            };
            cluster.agents.iter().map(on).sum()
        };
        let (at_once, at_most, wanted) = (room(false), room(true), u64::from(tasks));
        let asks = format!("cpus={need}");
        cluster.add_job(PoolJob { priority, min_tasks: tasks, ..job(90, "a", tasks, &asks) });
        cluster.pass();
        let has_victims = !cluster.asked.is_empty();
        prop_assert_eq!(has_victims, at_once < wanted && wanted <= at_most, "{} {}", at_once, at_most);
        for asked in &cluster.asked {
            let jobs = asked.victims.iter().map(|victim| &cluster.jobs[&victim.run.job].facts);
            let spare: u64 = asked.victims.iter().map(|victim| cpus(&cluster, victim.run.job)).min().unwrap_or(0);
            let may_be = { jobs }.all(|job| job.preemptible && job.priority < priority);
            prop_assert!(may_be, "{:?}", asked);
            let gained: u64 =
                asked.victims.iter().map(|victim| cpus(&cluster, victim.run.job) * victim.run.tasks.count()).sum();
            let free = cluster.agents[&asked.agent].free.total(&amount);
            prop_assert!(gained - spare < need + free, "{:?}: one of them need not be stopped", asked);
        }
        cluster.end_victims().pass();
        prop_assert_eq!(cluster.running(90), if wanted <= at_most { wanted } else { 0 });
        prop_assert_eq!(cluster.victims(), "");
    }
}
