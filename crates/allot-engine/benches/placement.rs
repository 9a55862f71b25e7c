//! What each placement costs, and how the cost of decisions grows with agents, queues and tasks.
//!
//! `cargo bench -p allot-engine --bench placement` runs all of it; `-- agents`, `-- queues`, `-- tasks`, `-- placements`,
//! `-- limited`, `-- mix`, `-- openb` runs one part. Times are processor time of the engine alone, without what makes and
//! reads the messages. `ALLOT_BENCH_SEEDS=10` has `openb` do ten runs.

use std::sync::Arc;
use std::time::Duration;

use allot_engine::{Engine, Input, Limits, Output, Placement, Policy};
use allot_model::{
    AgentId, AllocatorMessage, Amount, AttemptRun, Core, Epoch, Feed, FeedItem, Grant, JobId, OfferVersion,
    PoolAgent, PoolJob, QueueGuarantee, QueueLimit, QueueName, Request, Resources, Span, SyncPart, TaskRange,
    Time,
};
use allot_workload::openb;

/// As in all programs: see `allot_shell`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EPOCH: Epoch = Epoch(1);
const TTL: Span = Span::from_secs(1_000_000);
const MIB: u64 = 1 << 20;

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [(&str, fn()); 7] = [
        ("agents", by_agents),
        ("queues", by_queues),
        ("tasks", by_tasks),
        ("placements", placements),
        ("limited", limited),
        ("mix", mix),
        ("openb", openb_runs),
    ];
    for (name, run) in parts {
        if chosen.is_empty() || chosen.iter().any(|part| part == name) {
            run();
        }
    }
}

/// A hundred thousand tasks on more and more agents.
fn by_agents() {
    println!("agents: drf + best-fit, 1,000 queues, 100,000 jobs of one task in 100 shapes");
    let one = |agents| Crowd { agents, ..Crowd::default() };
    series("agents", &[1_000, 10_000, 100_000], |agents| one(agents).run("drf", Placement::BestFit));
}

fn by_queues() {
    println!("queues: drf + best-fit, 10,000 agents, 100,000 jobs of one task in 100 shapes");
    let one = |queues| Crowd { queues, ..Crowd::default() };
    series("queues", &[1_000, 10_000, 100_000], |queues| one(queues).run("drf", Placement::BestFit));
}

fn by_tasks() {
    println!("tasks: drf + best-fit, 10,000 agents, 1,000 queues, jobs of one task in 100 shapes");
    let one = |tasks| Crowd { tasks, ..Crowd::default() };
    series("tasks", &[1_000, 10_000, 100_000], |tasks| one(tasks).run("drf", Placement::BestFit));
}

/// Each placement on more and more agents, half of which have four GPUs.
fn placements() {
    println!("placements: drf, 100 queues, 20,000 jobs of one task in 100 shapes, half with GPUs");
    for placement in Placement::ALL {
        let one = |agents| Crowd { agents, queues: 100, tasks: 20_000, gpus: true };
        series(&format!("agents, {placement}"), &[1_000, 10_000, 100_000], |agents| {
            one(agents).run("drf", placement)
        });
    }
}

/// Runs a size after the other and fits the power by which time grows, by least squares over the logarithms.
#[allow(clippy::cast_precision_loss)]
fn series(of: &str, sizes: &[u64], run: impl Fn(u64) -> (u64, Duration)) {
    let mut points = Vec::new();
    for size in sizes {
        let (placed, took) = run(*size);
        let each = took.as_nanos() / u128::from(placed.max(1));
        println!("  {size:7} {of}: {placed} placements in {took:.1?}, {each} ns each");
        points.push(((*size as f64).ln(), took.as_secs_f64().ln()));
    }
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>()
        / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
    println!("  grows with the power {slope:.2}");
}

/// Agents, queues and jobs of one task each.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    agents: u64,
    queues: u64,
    tasks: u64,
    gpus: bool,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { agents: 10_000, queues: 1_000, tasks: 100_000, gpus: false }
    }
}

impl Crowd {
    /// Places all that fit; how many those are, and how long that took.
    fn run(self, policy: &str, placement: Placement) -> (u64, Duration) {
        let mut pool = Pool::new(policy, placement);
        for agent in 0..self.agents {
            let size = 1 + agent % 4;
            let gpus = if self.gpus && agent % 2 == 0 { 4 } else { 0 };
            pool.add_agent(&format!("agent-{agent:06}"), resources(16_000 * size, 65_536 * size, gpus), &[]);
        }
        for job in 0..self.tasks {
            let gpus = [0, 250, 0, 500, 0, 1_000, 0, 2_000, 0, 700][usize::try_from(job % 10).unwrap_or(0)];
            let gpus = if self.gpus { gpus } else { 0 };
            let (cpus, mem) = (500 * (1 + job % 10), 1_024 * (1 + job / 10 % 10));
            pool.add_job(&format!("queue{:06}", job % self.queues), 1, request(cpus, mem, gpus), Vec::new());
        }
        let before = pool.took;
        (pool.fill(), pool.took - before)
    }
}

/// As the worst that is reported of Mesos: a queue with a limit of its own for each agent.
fn limited() {
    let mut pool = Pool::new("drf", Placement::BestFit);
    for agent in 0..3_000 {
        pool.add_agent(&format!("agent-{agent:06}"), resources(16_000, 65_536, 0), &[]);
    }
    let limit = |cpus| QueueLimit { resources: [(name("cpus"), cpus)].into(), ..QueueLimit::default() };
    let item = |queue: u64| FeedItem::Queue {
        queue: name(&format!("queue{queue:06}")),
        weight: 1,
        limit: limit(8_000),
        guarantee: QueueGuarantee::default(),
    };
    pool.tell(None, (0..3_000).map(item).collect());
    (0..3_500).for_each(|job| {
        pool.add_job(&format!("queue{:06}", job % 3_000), 1, request(1_000, 1_024, 0), Vec::new())
    });
    let told = pool.took;
    let placed = pool.fill();
    println!(
        "limited: 3,000 agents, 3,000 queues each with a limit, {placed} placements in {:.2?} (wanted: 100 ms), told in {told:.2?}",
        pool.took - told
    );
}

/// 19,500 tasks of three kinds on 80 agents.
fn mix() {
    for placement in [Placement::BestFit, Placement::WorstFit, Placement::Alignment] {
        let mut pool = Pool::new("drf", placement);
        for agent in 0..80 {
            let total = Resources::from_iter([
                (name("cpus"), Amount::Scalar(64_000)),
                (name("mem"), Amount::Scalar(488_000_000_000)),
            ]);
            pool.add_agent(&format!("agent-{agent:02}"), total, &[]);
        }
        let megabytes =
            |cpus: u64, mb: u64| Request::from_iter([(name("cpus"), cpus), (name("mem"), mb * 1_000_000)]);
        let kinds = [
            (4, 4_000, megabytes(70, 400)),
            (500, 5, megabytes(100, 4_000)),
            (50, 20, megabytes(1_000, 1_000)),
        ];
        for (jobs, tasks, asks) in kinds {
            (0..jobs).for_each(|job| pool.add_job(&format!("queue{job}"), tasks, asks.clone(), Vec::new()));
        }
        let told = pool.took;
        let placed = pool.fill();
        println!(
            "mix: {placed} of 19,500 tasks on 80 agents, {placement}, in {:.2?} (wanted: 50 ms), told in {told:.2?}",
            pool.took - told
        );
    }
}

/// The study of GPU sharing, one run a placement.
fn openb_runs() {
    let beside = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/workloads");
    let folder = std::env::var_os("ALLOT_WORKLOADS").map_or_else(beside, Into::into).join("openb");
    let read = |file: &str| std::fs::read(folder.join(file)).ok();
    let lists = read("openb_node_list_gpu_node.csv").zip(read("openb_pod_list_default.csv"));
    let Some((nodes, pods)) = lists else {
        println!("openb: skipped, as there are no lists in {}; set ALLOT_WORKLOADS", folder.display());
        return;
    };
    let nodes = openb::parse_nodes(&nodes).expect("a list of nodes");
    let pods = openb::parse_pods(&pods).expect("a list of pods");
    let capacity = openb::gpu_capacity_milli(&nodes);
    let seeds = std::env::var("ALLOT_BENCH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1);
    println!(
        "openb: {} agents, tasks that arrive one after the other, {seeds} runs each (wanted: best fit 0.2 s, fgd 2 s)",
        nodes.len()
    );
    for placement in Placement::ALL {
        let (mut allocated, mut took) = (0, Duration::ZERO);
        for seed in 1..=seeds {
            let placement = match placement {
                Placement::Random { .. } => Placement::Random { seed },
                other => other,
            };
            let order = openb::arrivals(&pods, capacity * 13 / 10, seed);
            let arriving = order.iter().filter_map(|place| pods.get(*place));
            let (gpus, run) = openb_run(placement, &nodes, arriving);
            allocated += gpus;
            took += run;
        }
        let part = allocated * 10_000 / capacity / seeds;
        let took = took / u32::try_from(seeds).unwrap_or(1);
        println!("  {placement:12} {}.{:02} % of the GPUs in use, {took:.0?}", part / 100, part % 100);
    }
}

/// The GPUs in use in the end, in thousandths of one, and how long the engine took.
fn openb_run<'a>(
    placement: Placement,
    nodes: &[openb::Node],
    arriving: impl Iterator<Item = &'a openb::Pod>,
) -> (u64, Duration) {
    let mut pool = Pool::new("fifo", placement);
    for node in nodes {
        let attributes: Vec<_> = node.attributes().into_iter().collect();
        pool.add_agent(&node.name, node.resources(), &attributes);
    }
    let mut gpus = 0;
    for pod in arriving {
        pool.add_job("pods", 1, pod.request(), pod.constraints());
        gpus += pool.fill() * pod.gpu_milli;
    }
    (gpus, pool.took)
}

/// An engine, what the offers service would know, and how long the engine took so far.
struct Pool {
    engine: Engine,
    sequence: u64,
    jobs: Vec<(QueueName, Resources)>,
    agents: std::collections::BTreeMap<AgentId, (Resources, u64)>,
    took: Duration,
}

impl Pool {
    fn new(policy: &str, placement: Placement) -> Self {
        let policy = Policy { placement, ..Policy::named(policy).expect("a policy") };
        let limits = Limits { unanswered: usize::MAX, ..Limits::default() };
        let engine = Engine::with_limits(name("bench"), policy, limits);
        let (jobs, agents) = (Vec::new(), [].into());
        let mut pool = Self { engine, sequence: 0, jobs, agents, took: Duration::ZERO };
        pool.wake();
        let active = vec![FeedItem::Active { epoch: EPOCH, instance: name("bench") }];
        pool.tell(Some(SyncPart::Only), active);
        pool
    }

    fn tell(&mut self, sync: Option<SyncPart>, items: Vec<FeedItem>) {
        self.sequence += u64::from(sync.is_none());
        let feed = Feed { session: EPOCH, sequence: self.sequence, sync, part: 0, items };
        let before = processor_time();
        self.engine.handle(Time::ZERO, Input::Feed(feed), &mut Vec::new());
        self.took += processor_time() - before;
    }

    fn wake(&mut self) -> Vec<Grant> {
        let mut out = Vec::new();
        let before = processor_time();
        self.engine.wake(Time::ZERO, &mut out);
        self.took += processor_time() - before;
        let grant = |output| match output {
            Output::Say(AllocatorMessage::Grant(grant)) => Some(grant),
            _ => None,
        };
        out.into_iter().filter_map(grant).collect()
    }

    fn add_agent(&mut self, id: &str, total: Resources, attributes: &[(String, String)]) {
        let (agent, host): (AgentId, _) = (name(id), id.to_owned());
        let attributes = attributes.iter().cloned().collect();
        let facts =
            PoolAgent { agent: agent.clone(), host, total: total.clone(), attributes, draining: false };
        let offer =
            FeedItem::Offer { agent: agent.clone(), version: OfferVersion(0), free: total.clone(), ttl: TTL };
        self.agents.insert(agent, (total, 0));
        self.tell(None, vec![FeedItem::Agent(Arc::new(facts)), offer]);
    }

    fn add_job(
        &mut self,
        queue: &str,
        tasks: u32,
        resources: Request,
        constraints: Vec<allot_model::Constraint>,
    ) {
        let (job, queue) = (JobId(self.jobs.len() as u64 + 1), name::<QueueName>(queue));
        self.jobs.push((queue.clone(), resources.as_scalars()));
        let facts = PoolJob {
            job,
            queue,
            submitted_at: Time::ZERO,
            priority: 0,
            tasks,
            resources,
            constraints,
            estimate: None,
            deadline: None,
            min_tasks: 1,
            same: None,
            preemptible: false,
        };
        let tasks = TaskRange { first: 0, last: tasks - 1 };
        self.tell(None, vec![FeedItem::Job(Arc::new(facts)), FeedItem::Pending { job, tasks }]);
    }

    /// Passes until nothing more fits, each grant committed; how many tasks were placed.
    fn fill(&mut self) -> u64 {
        let mut placed = 0;
        loop {
            let grants = self.wake();
            placed += grants.iter().map(|grant| grant.placements[0].tasks.count()).sum::<u64>();
            grants.iter().for_each(|grant| self.commit(grant));
            if self.engine.next_wake().is_none_or(|(_, what)| what != "pass") {
                return placed;
            }
            if grants.is_empty() && self.wake().is_empty() {
                return placed;
            }
        }
    }

    /// The agent's next offer comes with the commit, as the offers service would make it.
    fn commit(&mut self, grant: &Grant) {
        let part = &grant.placements[0];
        let Some((free, version)) = self.agents.get_mut(&part.agent) else { return };
        let held = part.slice.times(part.slots).expect("a slice");
        free.subtract(&held).expect("room");
        *version += 1;
        let (agent, free, version) = (part.agent.clone(), free.clone(), OfferVersion(*version));
        let offer = FeedItem::Offer { agent: agent.clone(), version, free, ttl: TTL };
        let run = AttemptRun { job: part.job, tasks: part.tasks, attempt: 1 };
        let (slice, slots) = (part.slice.clone(), part.slots);
        let queue = self.jobs[usize::try_from(part.job.0 - 1).unwrap_or(0)].0.clone();
        let placements = vec![allot_model::Placement { agent, run, queue, slice, slots }];
        let (epoch, grant, at) = (grant.epoch, grant.grant, Time::ZERO);
        self.tell(None, vec![FeedItem::Allocated { epoch, grant, placements, at }, offer]);
    }
}

/// How long this thread has had a processor so far: on a machine that others use too, this is the time to look at.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

fn request(cpus: u64, mem_mib: u64, gpus: u64) -> Request {
    [(name("cpus"), cpus), (name("mem"), mem_mib * MIB), (name("gpus"), gpus)].into_iter().collect()
}

/// GPUs are devices.
fn resources(cpus: u64, mem_mib: u64, gpus: u64) -> Resources {
    let devices = (0..gpus).map(|gpu| (gpu.to_string(), 1_000)).collect();
    let amounts = [
        (name("cpus"), Amount::Scalar(cpus)),
        (name("mem"), Amount::Scalar(mem_mib * MIB)),
        (name("gpus"), Amount::Items(devices)),
    ];
    amounts.into_iter().collect()
}
