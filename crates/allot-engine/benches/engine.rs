//! How fast the engine fills a cluster, how soon a freed task is granted again, and what a waiting job takes.
//!
//! `cargo bench -p allot-engine` runs all of it; `-- memory`, `-- fill`, `-- freed`, `-- growth`, `-- why`, `-- limits`,
//! `-- guarantees` runs one part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use allot_engine::{Engine, Input, Limits, Output, Policy};
use allot_model::{
    AgentId, AllocatorMessage, AttemptRun, Core, Epoch, Feed, FeedItem, Grant, GrantId, InstanceId, JobId,
    OfferVersion, Placement, PoolAgent, PoolJob, QueueGuarantee, QueueLimit, QueueName, Request,
    ResourceName, Span, SyncPart, TaskRange, Time,
};

/// As in all programs: see `allot_shell`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EPOCH: Epoch = Epoch(1);
const GIB: u64 = 1 << 30;
const TTL: Span = Span::from_secs(1_000_000);

/// How large a cluster and its backlog are.
#[derive(Debug, Clone, Copy)]
struct Scale {
    agents: u64,
    queues: u64,
    tasks: u64,
    tasks_per_job: u32,
}

const FULL: Scale = Scale { agents: 10_000, queues: 1_000, tasks: 1_000_000, tasks_per_job: 1 };

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [(&str, fn()); 7] = [
        // First, while nothing that was freed before is used again for it.
        ("memory", memory),
        ("fill", fill),
        ("freed", freed),
        ("growth", growth),
        ("why", why),
        ("limits", limits),
        ("guarantees", guarantees),
    ];
    for (name, run) in parts {
        if chosen.is_empty() || chosen.iter().any(|part| part == name) {
            run();
        }
    }
}

/// The policies named in `ALLOT_BENCH_POLICIES`; where it is not set, all that rank queues, and two that do not.
fn policies() -> Vec<String> {
    let usual = || "fifo,priority,fair,drf,hdrf,asset,usage,lottery,karma".to_owned();
    let named = std::env::var("ALLOT_BENCH_POLICIES").unwrap_or_else(|_| usual());
    named.split(',').map(str::to_owned).collect()
}

#[allow(clippy::disallowed_methods, reason = "a bench measures time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// How long this thread has had a processor so far: on a machine that others use too, this is the time to look at.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Fills the cluster and counts placements.
fn fill() {
    println!("fill: 10,000 agents, 1,000 queues, 1,000,000 pending tasks of 100 shapes");
    for policy in policies() {
        for tasks_per_job in [1, 100] {
            let mut world = World::new(&policy, Scale { tasks_per_job, ..FULL });
            let Filled { grants, took, answered } = world.fill();
            let placed = tasks_of(&grants);
            let (rate, with_answers) = (per_second(placed, took), per_second(placed, took + answered));
            println!(
                "  {policy:8} jobs of {tasks_per_job:3} tasks: {placed} tasks in {took:.0?}, {rate}/s, {} grants; {with_answers}/s with \
                 their answers",
                grants.len()
            );
        }
    }
}

/// Frees one task at a time on a full cluster.
fn freed() {
    println!("freed: one task ends on the full cluster, until the grant that follows");
    for policy in policies() {
        let mut world = World::new(&policy, FULL);
        let Filled { grants, .. } = world.fill();
        world.take_back_offers(&grants);
        let mut times = world.free_one_by_one(&grants, 20_000);
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 1_000];
        let (p50, p99, p999, most) = (at(500), at(990), at(999), at(1_000));
        println!("  {policy:8} p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, max {most:?} of {}", times.len());
    }
}

/// Fills the cluster and then frees tasks one by one, in one line.
fn fill_and_free(policy: &str, world: &mut World) {
    let Filled { grants, took, .. } = world.fill();
    let rate = per_second(tasks_of(&grants), took);
    world.take_back_offers(&grants);
    let mut times = world.free_one_by_one(&grants, 20_000);
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1_000];
    let (p50, p99, most) = (at(500), at(990), at(1_000));
    println!(
        "  {policy:8} {} tasks, {rate}/s; freed: p50 {p50:?}, p99 {p99:?}, max {most:?}",
        tasks_of(&grants)
    );
}

/// The same as `fill` and `freed` where half of the cluster is all that queues may have: ten queues with limits, a
/// hundred queues with limits of their own below each.
fn limits() {
    println!("limits: 10 queues that may have a twentieth of the cpus each, 100 with a limit below each");
    for policy in policies() {
        let mut world = World::empty(&policy);
        world.limit_queues(FULL);
        world.add_agents_and_jobs(FULL);
        fill_and_free(&policy, &mut world);
    }
}

/// A queue for each of 3,000 agents, with a guarantee and a limit each, and 3,500 tasks; then the same as `limits` with
/// half of each limit guaranteed.
fn guarantees() {
    println!("guarantees: 3,000 agents, 3,000 queues with a guarantee and a limit each, 3,500 tasks");
    for (kind, most) in [("borrowed", 2), ("held back", 1)] {
        for policy in policies() {
            let mut world = World::empty(&policy);
            world.guarantee_queues(3_000, 24_000, most * 24_000);
            let scale = Scale { agents: 3_000, queues: 3_000, tasks: 3_500, tasks_per_job: 1 };
            world.add_agents_and_jobs(scale);
            let Filled { grants, took, .. } = world.fill();
            println!("  {policy:8} {kind:9} {} placements in {took:.1?}", tasks_of(&grants));
        }
    }
    println!(
        "guarantees: 1,000 queues that are guaranteed a thousandth of half of the cpus each, full cluster"
    );
    for policy in policies() {
        let mut world = World::empty(&policy);
        world.guarantee_queues(FULL.queues, 800_000, 16_000_000);
        world.add_agents_and_jobs(FULL);
        fill_and_free(&policy, &mut world);
    }
}

/// Explains jobs that wait behind many others on the full cluster.
fn why() {
    println!("why: a job explained on the full cluster");
    for policy in policies() {
        let mut world = World::new(&policy, FULL);
        let Filled { grants, .. } = world.fill();
        world.take_back_offers(&grants);
        let placed: std::collections::BTreeSet<JobId> = grants.iter().map(|grant| grant.job).collect();
        let waiting = (1..=FULL.tasks).rev().map(JobId).filter(|job| !placed.contains(job));
        let mut times: Vec<Duration> = Vec::new();
        let mut ahead = 0;
        for job in waiting.step_by(997).take(50) {
            let (view, took) = timed(|| world.engine.explain(job));
            ahead = view.and_then(|view| view.line).map_or(ahead, |line| ahead.max(line.jobs_ahead));
            times.push(took);
        }
        times.sort_unstable();
        let most = times.last().copied().unwrap_or_default();
        println!(
            "  {policy:8} p50 {:.1?}, max {most:.1?}, behind up to {ahead} jobs",
            times[times.len() / 2]
        );
    }
}

/// What a waiting job takes in memory.
fn memory() {
    let before = resident_bytes();
    let world = World::new("drf", FULL);
    let each = resident_bytes().saturating_sub(before) / FULL.tasks;
    println!("memory: {each} bytes for each of 1,000,000 waiting jobs (10,000 agents among it)");
    drop(world);
}

/// The time to fill clusters that grow in everything at once, and how it grows.
fn growth() {
    println!("growth: drf, agents and queues grow with the tasks");
    let mut points = Vec::new();
    for tasks in [1_000, 10_000, 100_000, 1_000_000] {
        let scale = Scale { agents: tasks / 100, queues: tasks / 1_000, tasks, tasks_per_job: 1 };
        let Filled { grants, took, .. } = World::new("drf", scale).fill();
        println!("  {tasks:8} tasks: {took:.1?}, {}/s", per_second(tasks_of(&grants), took));
        points.push((tasks_of(&grants), took));
    }
    if let [(few, short), .., (many, long)] = points[..] {
        #[allow(clippy::cast_precision_loss)]
        let exponent = (long.as_secs_f64() / short.as_secs_f64()).ln() / (many as f64 / few as f64).ln();
        println!("  grows with the power {exponent:.2} of the number of tasks");
    }
}

fn tasks_of(grants: &[Noted]) -> u64 {
    grants.iter().map(|grant| grant.tasks.count()).sum()
}

#[allow(clippy::cast_possible_truncation)]
fn per_second(count: u64, took: Duration) -> u64 {
    (u128::from(count) * 1_000_000_000 / took.as_nanos().max(1)) as u64
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// An engine and what the offers service would know.
struct World {
    engine: Engine,
    sequence: u64,
    queues: Vec<QueueName>,
    now: Time,
}

impl World {
    fn new(policy: &str, scale: Scale) -> Self {
        let mut world = Self::empty(policy);
        world.queues = (0..scale.queues).map(|queue| name(&format!("queue{queue:04}"))).collect();
        world.add_agents_and_jobs(scale);
        world
    }

    /// Ten parents, and the queues of the scale below them.
    fn limit_queues(&mut self, scale: Scale) {
        let below = |queue: u64| name(&format!("org{}.queue{queue:04}", queue % 10));
        self.queues = (0..scale.queues).map(below).collect();
        let limit = |amounts: &[(&str, u64)]| QueueLimit {
            resources: amounts.iter().map(|(resource, most)| (name(resource), *most)).collect(),
            ..QueueLimit::default()
        };
        let mut limits: Vec<(QueueName, _)> =
            (0..10).map(|org| (name(&format!("org{org}")), limit(&[("cpus", 80_000_000)]))).collect();
        limits.extend(self.queues.iter().map(|queue| (queue.clone(), limit(&[("cpus", 1_000_000)]))));
        let item = |(queue, limit)| FeedItem::Queue {
            queue,
            weight: 1,
            limit,
            guarantee: QueueGuarantee::default(),
        };
        self.feed(None, limits.into_iter().map(item).collect());
    }

    /// So many queues that are guaranteed so many thousandths of a cpu, and may have so many.
    fn guarantee_queues(&mut self, queues: u64, least: u64, most: u64) {
        self.queues = (0..queues).map(|queue| name(&format!("queue{queue:04}"))).collect();
        let cpus =
            |amount| QueueLimit { resources: [(name("cpus"), amount)].into(), ..QueueLimit::default() };
        let item = |queue: &QueueName| FeedItem::Queue {
            queue: queue.clone(),
            weight: 1,
            limit: cpus(most),
            guarantee: QueueGuarantee { least: cpus(least), ..QueueGuarantee::default() },
        };
        self.feed(None, self.queues.iter().map(item).collect());
    }

    fn empty(policy: &str) -> Self {
        let policy = Policy::parse(policy).expect("a policy");
        let limits = Limits { unanswered: usize::MAX, ..Limits::default() };
        let engine = Engine::with_limits(name::<InstanceId>("bench"), policy, limits);
        let mut world = Self { engine, sequence: 0, queues: Vec::new(), now: Time::ZERO };
        world.wake();
        let active = vec![FeedItem::Active { epoch: EPOCH, instance: name("bench") }];
        world.feed(Some(SyncPart::Only), active);
        world
    }

    fn add_agents_and_jobs(&mut self, scale: Scale) {
        (0..scale.agents).for_each(|agent| self.feed(None, agent_items(agent)));
        self.add_jobs(scale);
    }

    fn feed(&mut self, sync: Option<SyncPart>, items: Vec<FeedItem>) {
        self.sequence += u64::from(sync.is_none());
        let feed = Feed { session: Epoch(1), sequence: self.sequence, sync, part: 0, items };
        self.engine.handle(self.now, Input::Feed(feed), &mut Vec::new());
    }

    fn add_jobs(&mut self, scale: Scale) {
        for job in 0..scale.tasks / u64::from(scale.tasks_per_job) {
            let queue = &self.queues[usize::try_from(job % scale.queues).unwrap_or(0)];
            let items = job_items(job, queue.clone(), scale.tasks_per_job);
            self.feed(None, items);
        }
    }

    fn wake(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        self.engine.wake(self.now, &mut out);
        out
    }

    /// Passes until nothing fits. The grants of each are answered before the next, as a service would, with what the offers
    /// service would say.
    fn fill(&mut self) -> Filled {
        let (mut all, mut took, mut answered) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        loop {
            let before = processor_time();
            let out = self.wake();
            took += processor_time() - before;
            let grants: Vec<Noted> =
                out.into_iter().filter_map(grant).map(|grant| Noted::of(&grant)).collect();
            let answers = grants.iter().map(|grant| self.allocated(grant)).collect();
            let before = processor_time();
            self.feed(None, answers);
            answered += processor_time() - before;
            all.extend(grants);
            if self.engine.next_wake().is_none_or(|(_, what)| what != "pass") {
                return Filled { grants: all, took, answered };
            }
        }
    }

    /// What is left of the offers is taken back, as if others had it: the cluster is full.
    fn take_back_offers(&mut self, grants: &[Noted]) {
        let agents: std::collections::BTreeSet<u64> = grants.iter().map(|grant| grant.agent).collect();
        let items = agents.into_iter().map(|agent| FeedItem::Rescinded { agent: agent_id(agent) }).collect();
        self.feed(None, items);
        self.wake();
    }

    fn queue_of(&self, job: JobId) -> QueueName {
        self.queues[usize::try_from(job.0 - 1).unwrap_or(0) % self.queues.len()].clone()
    }

    fn allocated(&self, grant: &Noted) -> FeedItem {
        let Noted { number, agent, job, tasks } = *grant;
        let run = AttemptRun { job, tasks, attempt: 1 };
        let slice = asked_by(job).as_scalars();
        let placement = Placement {
            agent: agent_id(agent),
            run,
            queue: self.queue_of(job),
            slice,
            slots: run.tasks.count(),
        };
        FeedItem::Allocated { epoch: EPOCH, grant: number, placements: vec![placement], at: self.now }
    }

    /// Ends one granted task after the other; returns how long each took until its place was granted again.
    fn free_one_by_one(&mut self, grants: &[Noted], rounds: usize) -> Vec<Duration> {
        let mut times = Vec::with_capacity(rounds);
        let stride = 7_919;
        for round in 0..rounds {
            let ended = &grants[round * stride % grants.len()];
            let items = self.release(ended, round);
            let (out, took) = timed(|| {
                self.feed(None, items);
                self.wake()
            });
            let grants: Vec<Noted> =
                out.into_iter().filter_map(grant).map(|grant| Noted::of(&grant)).collect();
            // Where all small tasks run already, nothing that waits fits what one of them held.
            if !grants.is_empty() {
                times.push(took);
            }
            self.take_up(grants);
        }
        times
    }

    /// One task of a grant ends, and what it held is offered.
    fn release(&self, grant: &Noted, round: usize) -> Vec<FeedItem> {
        let (agent, free) = (agent_id(grant.agent), asked_by(grant.job).as_scalars());
        let (tasks, queue) = (TaskRange::one(grant.tasks.first), self.queue_of(grant.job));
        let (agent_id, job, slice) = (agent.clone(), grant.job, free.clone());
        let released = FeedItem::Released { agent: agent_id, job, tasks, queue, slice, slots: 1, ran: None };
        let version = OfferVersion(2 + round as u64);
        vec![released, FeedItem::Offer { agent, version, free, ttl: TTL }]
    }

    fn take_up(&mut self, grants: Vec<Noted>) {
        for grant in grants {
            let rescinded = FeedItem::Rescinded { agent: agent_id(grant.agent) };
            self.feed(None, vec![self.allocated(&grant), rescinded]);
        }
        self.wake();
    }
}

/// What filled a cluster, and the processor time that it took to decide it and to take in the answers.
struct Filled {
    grants: Vec<Noted>,
    took: Duration,
    answered: Duration,
}

/// What is kept of a grant.
#[derive(Debug, Clone, Copy)]
struct Noted {
    number: GrantId,
    agent: u64,
    job: JobId,
    tasks: TaskRange,
}

impl Noted {
    fn of(grant: &Grant) -> Self {
        let part = &grant.placements[0];
        let agent = part.agent.as_str().trim_start_matches("agent-").parse().unwrap_or(0);
        Self { number: grant.grant, agent, job: part.job, tasks: part.tasks }
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

fn grant(output: Output) -> Option<Grant> {
    match output {
        Output::Say(AllocatorMessage::Grant(grant)) => Some(grant),
        _ => None,
    }
}

fn agent_id(agent: u64) -> AgentId {
    name(&format!("agent-{agent:05}"))
}

/// Agents of four sizes.
fn agent_items(agent: u64) -> Vec<FeedItem> {
    let size = 1 + agent % 4;
    let id = agent_id(agent);
    let total = request(64_000 * size, 192 * GIB * size).as_scalars();
    let (host, attributes) = (id.to_string(), [].into());
    let facts = PoolAgent { agent: id.clone(), host, total: total.clone(), attributes, draining: false };
    let offer = FeedItem::Offer { agent: id, version: OfferVersion(1), free: total, ttl: TTL };
    vec![FeedItem::Agent(Arc::new(facts)), offer]
}

/// A hundred shapes: ten amounts of cpus by ten of memory.
fn asked_by(job: JobId) -> Request {
    let shape = (job.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 100;
    request(250 + 500 * (shape % 10), GIB / 2 + GIB * (shape / 10))
}

fn job_items(job: u64, queue: QueueName, tasks: u32) -> Vec<FeedItem> {
    let id = JobId(job + 1);
    let facts = PoolJob {
        job: id,
        queue,
        submitted_at: Time::from_micros(job),
        priority: i32::try_from(job % 3).unwrap_or(0),
        tasks,
        resources: asked_by(id),
        constraints: Vec::new(),
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        preemptible: false,
    };
    let all = TaskRange { first: 0, last: tasks - 1 };
    vec![FeedItem::Job(Arc::new(facts)), FeedItem::Pending { job: id, tasks: all }]
}

fn request(cpus: u64, mem: u64) -> Request {
    let name = |text: &str| name::<ResourceName>(text);
    [(name("cpus"), cpus), (name("mem"), mem)].into_iter().collect()
}
