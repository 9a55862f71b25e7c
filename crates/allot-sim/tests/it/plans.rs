//! When jobs would start from where a pool stands.

use std::sync::Arc;

use allot_engine::Policy;
use allot_model::{
    AttemptRun, Epoch, FeedItem, GrantId, JobId, Placement, PoolJob, QueueGuarantee, QueueLimit, Resources,
    Span, TaskRange, Time,
};
use allot_sim::{Happening, Outcome, Plan, Present, Unknown, Workload, plan, simulate};
use proptest::prelude::*;

use crate::support::{run, yaml};

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

/// A pool as the offers service tells of it at a time of a workload that has come out so, between two events. Jobs have the
/// ids 101, 102, ….
fn told(workload: &Workload, outcome: &Outcome, now: Time) -> Vec<FeedItem> {
    let mut items = Vec::new();
    for change in workload.changes.iter().filter(|change| change.at <= now) {
        items.push(match &change.what {
            Happening::Agent { facts, .. } => FeedItem::Agent(facts.clone()),
            Happening::AgentLeaves { agent } => {
                FeedItem::AgentLeft { agent: workload.agents[*agent as usize].id.clone() }
            }
            other => panic!("{other:?}"),
        });
    }
    for queue in &workload.queues {
        let (weight, limit, guarantee) = (queue.weight, queue.limit.clone(), queue.guarantee.clone());
        items.push(FeedItem::Queue { queue: queue.name.clone(), weight, limit, guarantee });
    }
    for (number, job) in (0_u32..).zip(&workload.jobs).filter(|(_, job)| job.submit <= now) {
        let (id, asks) = (JobId(u64::from(number) + 101), &workload.asks[job.asks as usize]);
        let queue = workload.queues[job.queue as usize].name.clone();
        let stays = || outcome.stays.iter().filter(move |stay| stay.job == number && stay.start <= now);
        items.push(FeedItem::Job(Arc::new(PoolJob {
            job: id,
            queue: queue.clone(),
            submitted_at: job.submit,
            priority: job.priority,
            tasks: job.tasks,
            resources: asks.request.clone(),
            constraints: asks.constraints.clone(),
            estimate: job.estimate,
            deadline: job.deadline,
            min_tasks: job.min_tasks,
            same: None,
            preemptible: false,
        })));
        items.push(FeedItem::Pending { job: id, tasks: TaskRange { first: 0, last: job.tasks - 1 } });
        for stay in stays() {
            let agent = workload.agents[stay.agent as usize].id.clone();
            let slice: Resources = asks.slice.clone();
            let run = AttemptRun { job: id, tasks: stay.tasks, attempt: 1 };
            let placement = Placement {
                agent: agent.clone(),
                run,
                queue: queue.clone(),
                slice: slice.clone(),
                slots: stay.tasks.count(),
            };
            let (epoch, grant) = (Epoch(1), GrantId(1));
            items.push(FeedItem::Allocated { epoch, grant, placements: vec![placement], at: stay.start });
            if job.run.is_some_and(|run| stay.start + run <= now) {
                let (queue, slots) = (queue.clone(), stay.tasks.count());
                items.push(FeedItem::Released {
                    agent,
                    job: id,
                    tasks: stay.tasks,
                    queue,
                    slice,
                    slots,
                    ran: job.run,
                });
            }
        }
    }
    items
}

fn present(items: &[FeedItem]) -> Present {
    let mut present = Present::default();
    items.iter().for_each(|item| present.apply(item));
    present
}

fn planned(present: &Present, now: Time, policy: &str, job: u64) -> Plan {
    plan(present, now, &Policy::parse(policy).unwrap(), JobId(job)).unwrap().unwrap()
}

/// A workload whose tasks end by their estimates: agents, and jobs of (queue, tasks, cpus, length).
fn exact(agents: &[u64], jobs: &[(u8, u32, u64, u64)]) -> Workload {
    let mut text = "queues: {A: {weight: 2}, B: {limit: {cpus: 5}}}\nevents:\n".to_owned();
    for (number, cpus) in agents.iter().enumerate() {
        text += &format!("  - {{at: 0, agent: m{number}, resources: {{cpus: {cpus}}}}}\n");
    }
    for (number, (queue, tasks, cpus, length)) in jobs.iter().enumerate() {
        let queue = ["A", "B", "C"][usize::from(*queue)];
        text += &format!(
            "  - {{at: {}, submit: J{number}, queue: {queue}, tasks: {tasks}, resources: {{cpus: {cpus}}}, run: {length}s, \
             estimate: {length}s}}\n",
            number / 4
        );
    }
    yaml(&text).workload
}

proptest! {
    /// What a plan says from any time on is what comes to pass, where all tasks end by their estimates and nothing more is
    /// submitted.
    #[test]
    fn a_plan_comes_true(
        agents in proptest::collection::vec(1_u64..9, 1..4),
        jobs in proptest::collection::vec((0_u8..3, 1_u32..6, 1_u64..4, 1_u64..9), 1..12),
        policy in prop::sample::select(vec!["fifo", "drf", "shortest", "fair:backfill=none", "hdrf"]),
        seconds in 3_u64..20,
    ) {
        let workload = exact(&agents, &jobs);
        let outcome = run(&workload, policy);
        // Half a second past an event.
        let now = at(seconds) + Span::from_millis(500);
        let present = present(&told(&workload, &outcome, now));
        for number in 0..u32::try_from(jobs.len()).unwrap() {
            let job = JobId(u64::from(number) + 101);
            if present.waiting(job) == 0 {
                continue;
            }
            let plan = planned(&present, now, policy, job.0);
            let later = outcome.stays.iter().filter(|stay| stay.job == number && stay.start > now);
            let mut expected: Vec<(Time, String, u64)> = Vec::new();
            for stay in later {
                let agent = workload.agents[stay.agent as usize].id.to_string();
                expected.extend(stay.tasks.indexes().map(|_| (stay.start, agent.clone(), 1)));
            }
            expected.sort();
            let starts = plan.expected.starts.iter();
            let mut real: Vec<(Time, String, u64)> = starts
                .flat_map(|start| (0..start.tasks).map(|_| (start.at, start.agent.to_string(), 1)))
                .collect();
            real.sort();
            prop_assert_eq!(real, expected, "job {} under {}", job, policy);
            prop_assert_eq!(plan.earliest, None, "all is known");
        }
    }
}

/// One agent of two cpus, on which job 1 runs two tasks since the time 0, and job 2 of one task waits.
fn full(estimate: Option<u64>) -> Vec<FeedItem> {
    let text = "
events:
  - {at: 0, agent: m1, resources: {cpus: 2}}
  - {at: 0, submit: J1, tasks: 2, run: forever}
  - {at: 1, submit: J2, run: 1s, estimate: 1s}
";
    let workload = yaml(text).workload;
    let mut items = told(&workload, &run(&workload, "fifo"), at(5));
    for item in &mut items {
        if let FeedItem::Job(job) = item
            && job.job == JobId(101)
        {
            Arc::make_mut(job).estimate = estimate.map(Span::from_secs);
        }
    }
    items
}

#[test]
fn a_job_behind_running_tasks_starts_when_they_end_by_their_estimate() {
    let plan = planned(&present(&full(Some(60))), at(5), "fifo", 102);
    assert_eq!((plan.expected.first(), plan.expected.last()), (Some(at(60)), Some(at(60))));
    assert_eq!((plan.waiting, plan.expected.placed, plan.earliest), (1, 1, None));
}

#[test]
fn tasks_without_estimate_and_those_that_are_over_it_count_as_never_ending_and_are_told() {
    for (estimate, unknown) in [(None, (2, 0)), (Some(4), (0, 2))] {
        let plan = planned(&present(&full(estimate)), at(5), "fifo", 102);
        assert_eq!((plan.running_unknown, plan.running_late), unknown);
        assert_eq!(plan.expected.first(), None);
        assert_eq!(plan.expected.why.unwrap().reasons_in_words(), "1 agent busy in cpus");
        let earliest = plan.earliest.unwrap().first().unwrap();
        assert!(earliest >= at(5) && earliest < at(6), "{earliest:?}");
    }
}

#[test]
fn a_job_that_fits_nowhere_is_told_why() {
    let mut present = present(&full(Some(60)));
    let job = PoolJob { job: JobId(200), ..(**present.job(JobId(102)).unwrap()).clone() };
    let large = [("cpus".parse().unwrap(), 9_000)].into_iter().collect();
    present.apply(&FeedItem::Job(Arc::new(PoolJob { resources: large, ..job })));
    present.apply(&FeedItem::Pending { job: JobId(200), tasks: TaskRange::one(0) });
    let plan = planned(&present, at(5), "fifo", 200);
    assert_eq!(plan.expected.why.unwrap().reasons_in_words(), "1 agent too small in cpus");
}

#[test]
fn what_was_allocated_before_a_limit_was_lowered_stays_and_nothing_is_added() {
    let mut items = full(Some(60));
    let limit = QueueLimit { tasks: Some(1), ..QueueLimit::default() };
    let (queue, guarantee) = ("default".parse().unwrap(), QueueGuarantee::default());
    items.push(FeedItem::Queue { queue, weight: 1, limit, guarantee });
    items.push(FeedItem::Agent(Arc::new(allot_model::PoolAgent {
        agent: "m2".parse().unwrap(),
        host: "m2".to_owned(),
        total: [("cpus".parse().unwrap(), allot_model::Amount::Scalar(8_000))].into_iter().collect(),
        attributes: Default::default(),
        draining: false,
    })));
    assert_eq!(planned(&present(&items), at(5), "fifo", 102).expected.first(), Some(at(60)));
}

#[test]
fn tasks_on_an_agent_that_is_not_there_hold_nothing_of_the_others() {
    let mut items = full(None);
    items.push(FeedItem::AgentLeft { agent: "m1".parse().unwrap() });
    let present = present(&items);
    let plan = planned(&present, at(5), "fifo", 102);
    assert_eq!((plan.expected.first(), present.agents()), (None, 0));
}

#[test]
fn jobs_that_are_not_known_have_no_plan_and_those_that_ended_are_forgotten() {
    let mut items = full(Some(60));
    let slice = Resources::new();
    let released = |tasks| FeedItem::Released {
        agent: "m1".parse().unwrap(),
        job: JobId(101),
        tasks,
        queue: "default".parse().unwrap(),
        slice: slice.clone(),
        slots: 1,
        ran: None,
    };
    items.extend([FeedItem::JobEnded { job: JobId(101) }, released(TaskRange { first: 0, last: 1 })]);
    let present = present(&items);
    let plan_of = |job| plan(&present, at(5), &Policy::parse("fifo").unwrap(), JobId(job)).unwrap();
    assert_eq!(plan_of(101), None);
    assert_eq!(plan_of(102).unwrap().expected.first(), Some(at(5)), "there is room now");
    let begun = present.begin(at(5), Unknown::Never);
    assert_eq!(begun.jobs, [JobId(102)]);
    let outcome = simulate(&begun.workload, &Policy::parse("fifo").unwrap()).unwrap();
    assert_eq!(outcome.jobs[0].end, Some(at(6)));
}
