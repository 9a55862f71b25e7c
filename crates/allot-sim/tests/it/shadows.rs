//! How a shadow compares with the policy that decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_engine::{Limits, Output, Policy};
use allot_model::{
    AgentId, AllocatorMessage, AllocatorMode, Amount, AttemptRun, CompareView, Epoch, Feed, FeedItem,
    GrantId, InstanceId, JobId, OfferVersion, Placement, PoolJob, Resources, Span, SyncPart, TaskRange, Time,
};
use allot_sim::{Happening, Outcome, Shadow, Stay, Workload};
use proptest::prelude::*;

use crate::support::{run, yaml};

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

/// The offers service of a pool in which a workload comes out as it did, and a shadow that hears of it.
struct Pool<'a> {
    workload: &'a Workload,
    outcome: &'a Outcome,
    shadow: Shadow,
    free: BTreeMap<AgentId, u64>,
    sequence: u64,
}

impl<'a> Pool<'a> {
    fn new(workload: &'a Workload, outcome: &'a Outcome, policy: &str) -> Self {
        let me = InstanceId::new("shadow-1").unwrap();
        let limits = Limits { ahead: Span::ZERO, ..Limits::default() };
        let shadow = Shadow::new(me, Policy::parse(policy).unwrap(), limits);
        let mut pool = Self { workload, outcome, shadow, free: BTreeMap::new(), sequence: 1 };
        let mut out = Vec::new();
        pool.shadow.wake(Time::ZERO, &mut out);
        assert_eq!(out, [Output::Hello]);
        let active = FeedItem::Active { epoch: Epoch(1), instance: InstanceId::new("other").unwrap() };
        pool.say(Time::ZERO, Some(SyncPart::Only), vec![active]);
        pool
    }

    fn say(&mut self, now: Time, sync: Option<SyncPart>, items: Vec<FeedItem>) {
        self.sequence += u64::from(sync.is_none());
        let feed = Feed { session: Epoch(1), sequence: self.sequence, sync, part: 0, items };
        self.shadow.follow(now, feed);
        let mut out = Vec::new();
        self.shadow.wake(now, &mut out);
        let beats = |output: &Output| matches!(output, Output::Say(AllocatorMessage::Beat(presence)) if presence.mode == AllocatorMode::Shadow);
        assert!(
            out.iter().all(|output| *output == Output::Hello || beats(output)),
            "a shadow never says more: {out:?}"
        );
    }

    fn agent(&self, number: u32) -> AgentId {
        self.workload.agents[number as usize].id.clone()
    }

    fn slice(&self, job: u32) -> Resources {
        self.workload.asks[self.workload.jobs[job as usize].asks as usize].slice.clone()
    }

    fn offers(&mut self) -> Vec<FeedItem> {
        let version = OfferVersion(self.sequence + 1);
        let offer = |(agent, free): (&AgentId, &u64)| FeedItem::Offer {
            agent: agent.clone(),
            version,
            free: cpus(*free),
            ttl: Span::from_secs(1_000_000),
        };
        self.free.iter().map(offer).collect()
    }

    /// All that happens at a time, as two messages: what opens decisions, and what was decided.
    fn instant(&mut self, now: Time) {
        let mut items = Vec::new();
        for change in self.workload.changes.iter().filter(|change| change.at == now) {
            let Happening::Agent { facts, .. } = &change.what else { panic!("{change:?}") };
            let Some(Amount::Scalar(cpus)) = facts.total.get(&"cpus".parse().unwrap()) else { panic!() };
            self.free.insert(facts.agent.clone(), *cpus);
            items.push(FeedItem::Agent(facts.clone()));
        }
        for stay in &self.outcome.stays {
            let job = &self.workload.jobs[stay.job as usize];
            if job.run.is_some_and(|run| stay.start + run == now) {
                let (agent, slice, slots) =
                    (self.agent(stay.agent), self.slice(stay.job), stay.tasks.count());
                *self.free.get_mut(&agent).unwrap() += slice.total(&"cpus".parse().unwrap()) * slots;
                let queue = self.workload.queues[job.queue as usize].name.clone();
                let (id, tasks, ran) = (JobId(u64::from(stay.job) + 1), stay.tasks, job.run);
                items.push(FeedItem::Released { agent, job: id, tasks, queue, slice, slots, ran });
            }
        }
        for (number, job) in (0_u32..).zip(&self.workload.jobs).filter(|(_, job)| job.submit == now) {
            let (id, asks) = (JobId(u64::from(number) + 1), &self.workload.asks[job.asks as usize]);
            items.push(FeedItem::Job(Arc::new(PoolJob {
                job: id,
                queue: self.workload.queues[job.queue as usize].name.clone(),
                submitted_at: job.submit,
                priority: job.priority,
                tasks: job.tasks,
                resources: asks.request.clone(),
                constraints: Vec::new(),
                estimate: job.estimate,
                deadline: None,
                min_tasks: 1,
                same: None,
                preemptible: false,
            })));
            items.push(FeedItem::Pending { job: id, tasks: TaskRange { first: 0, last: job.tasks - 1 } });
        }
        items.extend(self.offers());
        self.say(now, None, items);
        let mut placed = Vec::new();
        for stay in self.outcome.stays.iter().filter(|stay| stay.start == now) {
            let (agent, slice, slots) = (self.agent(stay.agent), self.slice(stay.job), stay.tasks.count());
            *self.free.get_mut(&agent).unwrap() -= slice.total(&"cpus".parse().unwrap()) * slots;
            let queue =
                self.workload.queues[self.workload.jobs[stay.job as usize].queue as usize].name.clone();
            let run = AttemptRun { job: JobId(u64::from(stay.job) + 1), tasks: stay.tasks, attempt: 1 };
            placed.push(Placement { agent, run, queue, slice, slots });
        }
        if !placed.is_empty() {
            let allocated = FeedItem::Allocated {
                epoch: Epoch(1),
                grant: GrantId(self.sequence),
                placements: placed,
                at: now,
            };
            let offers = self.offers();
            self.say(now, None, [vec![allocated], offers].concat());
        }
    }
}

fn cpus(units: u64) -> Resources {
    [("cpus".parse().unwrap(), Amount::Scalar(units))].into_iter().filter(|_| units > 0).collect()
}

/// What a shadow of this policy says after `seconds` of a workload under another.
fn compared(workload: &Workload, decides: &str, shadow: &str, seconds: u64) -> CompareView {
    let outcome = run(workload, decides);
    let mut pool = Pool::new(workload, &outcome, shadow);
    for second in 0..=seconds {
        pool.instant(at(second));
    }
    pool.shadow.view(at(seconds))
}

/// A job of (queue, tasks, cpus, length).
type Drawn = (u8, u32, u64, u64);

/// Agents, and jobs that tell how long they run, or do not.
fn workload(agents: &[u64], jobs: &[Drawn], estimated: bool) -> Workload {
    let mut text = "events:\n".to_owned();
    for (number, cpus) in agents.iter().enumerate() {
        text += &format!("  - {{at: 0, agent: m{number}, resources: {{cpus: {cpus}}}}}\n");
    }
    for (number, (queue, tasks, cpus, length)) in jobs.iter().enumerate() {
        let queue = ["A", "B", "C"][usize::from(*queue)];
        let estimate = if estimated { format!(", estimate: {length}s") } else { String::new() };
        text += &format!(
            "  - {{at: {}, submit: J{number}, queue: {queue}, tasks: {tasks}, resources: {{cpus: {cpus}}}, run: {length}s{estimate}}}\n",
            number / 3
        );
    }
    yaml(&text).workload
}

/// Seconds that tasks had waited in all which were placed up to a time, and how many these were.
fn waits(workload: &Workload, outcome: &Outcome, until: Time) -> (u64, u64) {
    let placed = outcome.stays.iter().filter(|stay| stay.start <= until);
    placed.fold((0, 0), |(waited, count), stay| {
        let wait = stay.start.since(workload.jobs[stay.job as usize].submit).as_micros() / 1_000_000;
        (waited + wait * stay.tasks.count(), count + stay.tasks.count())
    })
}

/// The workload as it can be known at a time: tasks of which nobody has told how long they run, and of whose job none has
/// ended, run on.
fn as_known(workload: &Workload, outcome: &Outcome, until: Time) -> Workload {
    let mut known = workload.clone();
    for (number, job) in (0..).zip(&mut known.jobs) {
        let ended = |stay: &Stay| stay.job == number && job.run.is_some_and(|run| stay.start + run <= until);
        if job.estimate.is_none() && !outcome.stays.iter().any(ended) {
            job.run = None;
        }
    }
    known
}

/// Both worlds are what a simulation says of the two policies: of the workload as it is, and as it is known by then.
fn fares_as_simulated(workload: &Workload, decides: &str, shadow: &str, seconds: u64) {
    let view = compared(workload, decides, shadow, seconds);
    assert_eq!(view.unknown, None);
    let real = run(workload, decides);
    let known = as_known(workload, &real, at(seconds));
    let own = run(&known, shadow);
    for (workload, outcome, fared) in [(workload, real, view.all.active), (&known, own, view.all.shadow)] {
        let (waited, placed) = waits(workload, &outcome, at(seconds));
        assert_eq!(fared.placed, placed, "{decides} beside {shadow}");
        let mean = fared.wait.map(|wait| wait.as_micros());
        assert_eq!(mean, (waited * 1_000_000).checked_div(placed), "{decides} beside {shadow}");
        let there = workload.jobs.iter().filter(|job| job.submit <= at(seconds));
        let submitted: u64 = there.map(|job| u64::from(job.tasks)).sum();
        assert_eq!(fared.waiting, submitted - placed, "{decides} beside {shadow}");
    }
}

#[test]
fn tasks_of_which_nobody_knows_how_long_they_run_run_on_in_the_world_of_the_shadow() {
    // Under fifo no task of J1 has ended by then. Under drf one would have, and made room for the other, if that were known.
    let jobs = [(0, 1, 1, 5), (1, 2, 2, 5), (0, 3, 1, 4), (0, 1, 2, 5)];
    for (estimated, would_be_placed, of_unknown_length) in [(false, 5, 1), (true, 6, 0)] {
        let workload = workload(&[2], &jobs, estimated);
        fares_as_simulated(&workload, "fifo", "drf", 14);
        let view = compared(&workload, "fifo", "drf", 14);
        let told = (view.all.shadow.placed, view.unknown_length);
        assert_eq!(told, (would_be_placed, of_unknown_length), "estimates: {estimated}");
    }
}

proptest! {
    #[test]
    fn a_shadow_fares_as_if_it_had_decided_all_the_time(
        agents in proptest::collection::vec(1_u64..9, 1..4),
        jobs in proptest::collection::vec((0_u8..3, 1_u32..6, 1_u64..4, 1_u64..9), 1..12),
        estimated: bool,
        policies in (
            prop::sample::select(vec!["fifo", "drf", "shortest:placement=first-fit"]),
            prop::sample::select(vec!["fifo", "drf", "fair:backfill=none", "largest"]),
        ),
        seconds in 3_u64..40,
    ) {
        fares_as_simulated(&workload(&agents, &jobs, estimated), policies.0, policies.1, seconds);
    }

    /// What a policy would grant it does grant, so it agrees with itself, however often it is asked.
    #[test]
    fn a_shadow_of_the_policy_that_decides_agrees_with_it(
        agents in proptest::collection::vec(1_u64..9, 1..4),
        jobs in proptest::collection::vec((0_u8..3, 1_u32..6, 1_u64..4, 1_u64..9), 1..12),
        policy in prop::sample::select(vec!["fifo", "drf", "hdrf", "asset", "fair:backfill=none", "shortest", "priority"]),
    ) {
        let view = compared(&workload(&agents, &jobs, false), policy, policy, 40);
        prop_assert_eq!((view.same_job, view.same_agent), (view.placed, view.placed));
        prop_assert_eq!(view.differences, []);
        for queue in &view.queues {
            prop_assert_eq!(queue.compared.active, queue.compared.shadow);
        }
    }
}

#[test]
fn what_another_policy_would_have_done_is_told_with_what_it_would_have_changed() {
    // Under fifo J0 has the machine for ten seconds; under shortest-first J1 goes first, and J0 waits for one.
    let text = "
events:
  - {at: 0, agent: m1, resources: {cpus: 1}}
  - {at: 0, submit: J0, queue: A, run: 10s, estimate: 10s}
  - {at: 0, submit: J1, queue: B, run: 1s, estimate: 1s}
";
    let workload = yaml(text).workload;
    let view = compared(&workload, "fifo", "shortest", 20);
    assert_eq!((view.placed, view.same_job, view.same_agent), (2, 1, 1));
    let difference = &view.differences[0];
    assert_eq!((difference.job, difference.instead.as_ref().unwrap().job), (JobId(1), JobId(2)));
    let waits: Vec<_> = view
        .queues
        .iter()
        .map(|queue| (queue.queue.as_str(), queue.compared.active.wait, queue.compared.shadow.wait))
        .collect();
    let seconds = |seconds| Some(Span::from_secs(seconds));
    assert_eq!(waits, [("A", seconds(0), seconds(1)), ("B", seconds(10), seconds(0))]);
    assert!((view.all.active.share - 11.0 / 20.0).abs() < 1e-9, "{}", view.all.active.share);
}

#[test]
fn a_resync_begins_the_comparison_anew() {
    let workload = workload(&[2], &[(0, 4, 1, 5)], false);
    let outcome = run(&workload, "fifo");
    let mut pool = Pool::new(&workload, &outcome, "drf");
    (0..=3).for_each(|second| pool.instant(at(second)));
    assert_eq!(pool.shadow.view(at(3)).placed, 2);
    pool.sequence += 5;
    pool.say(at(4), None, Vec::new());
    pool.say(at(5), Some(SyncPart::Only), Vec::new());
    let view = pool.shadow.view(at(6));
    assert_eq!((view.since, view.placed, view.queues.len()), (at(5), 0, 0));
}
