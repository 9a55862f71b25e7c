//! An offers service in small: it tells an engine what there is, checks and commits its grants, and remembers who
//! got what in which order. Every step checks the engine from within.

pub(crate) mod orders;
pub(crate) mod past;
mod placing;
mod preempting;
pub(crate) mod reference;
pub(crate) mod replay;
pub(crate) mod transcript;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_engine::{Engine, Input, Limits, Output, Policy};
use allot_model::{
    AgentId, AllocatorMessage, Amount, AttemptRun, Constraint, Core, Epoch, Feed, FeedItem, Grant, GrantId,
    HoldBack, Holding, InstanceId, JobId, OfferVersion, Placement, PoolAgent, PoolJob, Preemption,
    QueueGuarantee, QueueLimit, QueueName, Request, Resources, Span, SyncPart, TaskRange, TaskSet, Time,
};
use proptest::prelude::ProptestConfig;

/// How long offers stand in tests.
pub(crate) const TTL: Span = Span::from_secs(10);

/// A task and where it was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) queue: QueueName,
    pub(crate) job: JobId,
    pub(crate) task: u32,
    pub(crate) agent: AgentId,
}

/// An agent as the offers service knows it.
#[derive(Debug, Clone)]
pub(crate) struct AgentTruth {
    pub(crate) facts: Arc<PoolAgent>,
    pub(crate) free: Resources,
    pub(crate) version: u64,
}

/// A job as the offers service knows it.
#[derive(Debug, Clone)]
pub(crate) struct JobTruth {
    pub(crate) facts: Arc<PoolJob>,
    pub(crate) pending: TaskSet,
    pub(crate) running: Vec<Run>,
}

/// Tasks that were placed together.
pub(crate) type Run = (AgentId, TaskRange, Resources, u64);

/// The offers service in small, and the engine under test.
pub(crate) struct Cluster {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    pub(crate) sequence: u64,
    pub(crate) agents: BTreeMap<AgentId, AgentTruth>,
    pub(crate) jobs: BTreeMap<JobId, JobTruth>,
    pub(crate) weights: BTreeMap<QueueName, u32>,
    pub(crate) limits: BTreeMap<QueueName, QueueLimit>,
    pub(crate) guarantees: BTreeMap<QueueName, QueueGuarantee>,
    pub(crate) items: Vec<FeedItem>,
    /// Agents that were there at some time: none comes back under its name.
    pub(crate) names: BTreeSet<String>,
    /// True to have every message arrive twice.
    pub(crate) twice: bool,
    /// How long tasks are said to have run.
    pub(crate) ran: Option<Span>,
    /// What was held until now.
    pub(crate) past: Vec<past::Interval>,
    /// When each task was placed last.
    pub(crate) starts: BTreeMap<(JobId, u32), Time>,
    /// The preemptions that were asked for and of which no victim has ended.
    pub(crate) asked: Vec<Preemption>,
}

pub(crate) const EPOCH: Epoch = Epoch(3);
pub(crate) const SESSION: Epoch = Epoch(1);

/// What all of something is in, where parts are added up.
pub(crate) const PARTS: u64 = 1_470_268_800;

/// So many random cases, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        config
    } else {
        ProptestConfig { cases: count, ..config }
    }
}

pub(crate) fn me() -> InstanceId {
    InstanceId::new("me").unwrap()
}

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub(crate) fn agent_id(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// Reads `cpus=1 mem=4`, in the smallest units.
pub(crate) fn request(text: &str) -> Request {
    let read = |part: &str| {
        let (name, amount) = part.split_once('=').unwrap();
        (name.parse().unwrap(), amount.parse().unwrap())
    };
    text.split_whitespace().map(read).collect()
}

pub(crate) fn resources(text: &str) -> Resources {
    request(text).as_scalars()
}

/// A job that differs from others only in what is said here.
pub(crate) fn job(id: u64, of: &str, tasks: u32, asks: &str) -> PoolJob {
    PoolJob {
        job: JobId(id),
        queue: queue(of),
        submitted_at: Time::ZERO,
        priority: 0,
        tasks,
        resources: request(asks),
        constraints: Vec::new(),
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        preemptible: false,
    }
}

pub(crate) fn pool_agent(name: &str, total: Resources, attributes: &[(&str, &str)]) -> PoolAgent {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (agent, host) = (agent_id(name), format!("{name}.test"));
    PoolAgent { agent, host, total, attributes: attributes.collect(), draining: false }
}

pub(crate) fn constraints(texts: &[&str]) -> Vec<Constraint> {
    texts.iter().map(|text| Constraint::parse(text).unwrap()).collect()
}

pub(crate) fn policy(name: &str) -> Policy {
    Policy::parse(name).unwrap()
}

impl Cluster {
    /// A cluster whose engine is synchronised and active, with nothing in it.
    pub(crate) fn new(policy: Policy) -> Self {
        Self::with_limits(policy, Limits::default())
    }

    pub(crate) fn with_limits(policy: Policy, limits: Limits) -> Self {
        let mut cluster = Self {
            engine: Engine::with_limits(me(), policy, limits),
            now: Time::ZERO,
            sequence: 1,
            agents: BTreeMap::new(),
            jobs: BTreeMap::new(),
            weights: BTreeMap::new(),
            limits: BTreeMap::new(),
            guarantees: BTreeMap::new(),
            items: Vec::new(),
            names: BTreeSet::new(),
            twice: false,
            ran: None,
            past: Vec::new(),
            starts: BTreeMap::new(),
            asked: Vec::new(),
        };
        assert_eq!(cluster.wake(), [Output::Hello]);
        cluster.sync();
        cluster
    }

    /// Answers a hello with everything there is.
    pub(crate) fn sync(&mut self) {
        let mut items = vec![FeedItem::Active { epoch: EPOCH, instance: me() }];
        items.extend(self.weights.keys().map(|queue| self.queue_item(queue)));
        for agent in self.agents.values() {
            items.push(FeedItem::Agent(agent.facts.clone()));
            items.push(offer_item(agent));
        }
        for job in self.jobs.values() {
            items.push(FeedItem::Job(job.facts.clone()));
            let pending = job.pending.ranges();
            items.extend(pending.map(|tasks| FeedItem::Pending { job: job.facts.job, tasks }));
            items.extend(job.running.iter().map(|run| {
                let (placements, started) = (vec![placement(&job.facts, run)], (job.facts.job, run.1.first));
                let at = self.starts.get(&started).copied().unwrap_or(self.now);
                FeedItem::Allocated { epoch: Epoch(0), grant: GrantId(0), placements, at }
            }));
        }
        items.extend(self.asked.iter().cloned().map(FeedItem::Preempted));
        let sync = Some(SyncPart::Only);
        self.items.clear();
        self.send(Feed { session: SESSION, sequence: self.sequence, sync, part: 0, items });
    }

    /// Hands a message to the engine as it is.
    pub(crate) fn send(&mut self, feed: Feed) {
        let mut out = Vec::new();
        self.engine.handle(self.now, Input::Feed(feed), &mut out);
        assert_eq!(out, [], "a message alone decides nothing");
        self.engine.sanity_check().unwrap();
    }

    /// Hands what has gathered to the engine as one message.
    pub(crate) fn flush(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.sequence += 1;
        let feed = Feed { session: SESSION, sequence: self.sequence, sync: None, part: 0, items };
        if self.twice {
            self.send(feed.clone());
        }
        self.send(feed);
    }

    /// Replaces the engine by a new one that is told everything from the start.
    pub(crate) fn start_over(&mut self) {
        self.engine = Engine::new(me(), self.engine.policy().clone());
        assert_eq!(self.wake(), [Output::Hello]);
        self.sync();
    }

    /// Replaces what has gathered by a full account in another order, as far as what depends on what allows.
    pub(crate) fn retell(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let agents =
            self.agents.values().map(|agent| vec![FeedItem::Agent(agent.facts.clone()), offer_item(agent)]);
        let jobs = self.jobs.values().map(|job| {
            let pending = job.pending.ranges().map(|tasks| FeedItem::Pending { job: job.facts.job, tasks });
            [FeedItem::Job(job.facts.clone())].into_iter().chain(pending).collect()
        });
        let weights = self.weights.keys().map(|queue| vec![self.queue_item(queue)]);
        let mut groups: Vec<(u64, Vec<FeedItem>)> =
            agents.chain(jobs).chain(weights).map(|group| (random.next(), group)).collect();
        groups.sort_by_key(|(order, _)| *order);
        self.items = groups.into_iter().flat_map(|(_, group)| group).collect();
    }

    /// Tells the engine what has gathered, and everything where it asks for it, which may take a second.
    pub(crate) fn hear(&mut self) {
        self.flush();
        self.answer_hello();
    }

    /// Has the engine do what is due now.
    pub(crate) fn wake(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        self.engine.wake(self.now, &mut out);
        self.engine.sanity_check().unwrap();
        out
    }

    pub(crate) fn weight(&mut self, of: &str, weight: u32) -> &mut Self {
        self.weights.insert(queue(of), weight);
        self.items.push(self.queue_item(&queue(of)));
        self
    }

    /// Sets a limit such as `cpus=4 tasks=2` in the smallest units, or `none`.
    pub(crate) fn limit(&mut self, of: &str, limit: &str) -> &mut Self {
        self.limits.insert(queue(of), read_limit(limit));
        self.weights.entry(queue(of)).or_insert(1);
        self.items.push(self.queue_item(&queue(of)));
        self
    }

    /// Guarantees something such as `cpus=4 tasks=2` in the smallest units, or `none`.
    pub(crate) fn guarantee(&mut self, of: &str, least: &str, hold_back: HoldBack) -> &mut Self {
        let least = read_limit(least);
        self.guarantees.insert(queue(of), QueueGuarantee { least, hold_back });
        self.weights.entry(queue(of)).or_insert(1);
        self.items.push(self.queue_item(&queue(of)));
        self
    }

    fn queue_item(&self, queue: &QueueName) -> FeedItem {
        let weight = self.weights.get(queue).copied().unwrap_or(1);
        FeedItem::Queue {
            queue: queue.clone(),
            weight,
            limit: self.limits.get(queue).cloned().unwrap_or_default(),
            guarantee: self.guarantees.get(queue).cloned().unwrap_or_default(),
        }
    }

    /// What the tasks of a queue and of all queues below it hold.
    pub(crate) fn holding(&self, of: &str) -> Holding {
        holding(self.jobs.values(), of)
    }

    /// Tells everything where the engine asks for it, which it does where a limit is the first of all and queues stand
    /// in one line.
    pub(crate) fn answer_hello(&mut self) {
        while !self.engine.is_active() {
            let (at, _) = self.engine.next_wake().expect("a hello is due");
            self.now = self.now.max(at);
            if self.wake().contains(&Output::Hello) {
                self.sync();
            }
        }
    }

    pub(crate) fn agent(&mut self, name: &str, total: &str) -> &mut Self {
        self.add_agent(pool_agent(name, resources(total), &[]))
    }

    pub(crate) fn add_agent(&mut self, facts: PoolAgent) -> &mut Self {
        let facts = Arc::new(facts);
        let truth = AgentTruth { facts: facts.clone(), free: facts.total.clone(), version: 1 };
        self.items.push(FeedItem::Agent(facts.clone()));
        self.items.push(offer_item(&truth));
        self.agents.insert(facts.agent.clone(), truth);
        self
    }

    pub(crate) fn remove_agent(&mut self, name: &str) -> &mut Self {
        self.agents.remove(&agent_id(name));
        self.items.push(FeedItem::AgentLeft { agent: agent_id(name) });
        self
    }

    pub(crate) fn job(&mut self, id: u64, of: &str, tasks: u32, asks: &str) -> &mut Self {
        self.add_job(job(id, of, tasks, asks))
    }

    pub(crate) fn add_job(&mut self, facts: PoolJob) -> &mut Self {
        let facts = Arc::new(facts);
        let pending = TaskSet::first(facts.tasks);
        self.items.push(FeedItem::Job(facts.clone()));
        self.items.extend(pending.ranges().map(|tasks| FeedItem::Pending { job: facts.job, tasks }));
        self.jobs.insert(facts.job, JobTruth { facts, pending, running: Vec::new() });
        self
    }

    /// Says that a task of a job holds this somewhere that is not in the pool.
    pub(crate) fn hold(&mut self, id: u64, task: u32, slice: &str) -> &mut Self {
        let Some(job) = self.jobs.get_mut(&JobId(id)) else { return self };
        let tasks = TaskRange::one(task);
        job.pending.remove(tasks);
        let run = (agent_id("elsewhere"), tasks, resources(slice), 1);
        let placements = vec![placement(&job.facts, &run)];
        self.items.push(FeedItem::Allocated { epoch: Epoch(1), grant: GrantId(1), placements, at: self.now });
        job.running.push(run);
        self
    }

    /// Takes tasks out of those that wait.
    pub(crate) fn withdraw(&mut self, id: u64, tasks: TaskRange) -> &mut Self {
        if let Some(job) = self.jobs.get_mut(&JobId(id)) {
            job.pending.remove(tasks);
        }
        self.items.push(FeedItem::Withdrawn { job: JobId(id), tasks });
        self
    }

    /// Has tasks wait for a place again.
    pub(crate) fn pending(&mut self, id: u64, tasks: TaskRange) -> &mut Self {
        if let Some(job) = self.jobs.get_mut(&JobId(id)) {
            job.pending.insert(tasks);
        }
        self.items.push(FeedItem::Pending { job: JobId(id), tasks });
        self
    }

    /// Offers once more what is offered.
    pub(crate) fn renew_offers(&mut self) -> &mut Self {
        self.items.extend(self.agents.values().map(offer_item));
        self
    }

    /// Ends the run of tasks that has run longest in a job.
    pub(crate) fn end_oldest(&mut self, id: u64) -> &mut Self {
        let Some(job) = self.jobs.get_mut(&JobId(id)) else { return self };
        let (agent, tasks, slice, slots) = job.running.remove(0);
        let queue = job.facts.queue.clone();
        let held = slice.times(slots).unwrap();
        let (job, ran) = (JobId(id), self.ran);
        self.items.push(FeedItem::Released { agent: agent.clone(), job, tasks, queue, slice, slots, ran });
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.free.add(&held).unwrap();
            agent.version += 1;
            self.items.push(offer_item(agent));
        }
        self
    }

    /// Ends the task of a job that has run longest, by itself.
    pub(crate) fn end_one(&mut self, id: u64) -> &mut Self {
        let Some(job) = self.jobs.get_mut(&JobId(id)) else { return self };
        let (agent, tasks, slice, slots) = job.running.remove(0);
        let (first, rest) = (TaskRange::one(tasks.first), TaskRange::new(tasks.first + 1, tasks.last));
        rest.into_iter()
            .for_each(|rest| job.running.insert(0, (agent.clone(), rest, slice.clone(), slots - 1)));
        job.running.insert(0, (agent, first, slice, 1));
        self.end_oldest(id)
    }

    pub(crate) fn forget_job(&mut self, id: u64) -> &mut Self {
        self.jobs.remove(&JobId(id));
        self.items.push(FeedItem::JobEnded { job: JobId(id) });
        self
    }

    /// Tells the engine what has gathered, has it decide, commits its grants, and tells it so. Returns who got what,
    /// in the order of the decisions.
    pub(crate) fn pass(&mut self) -> Vec<Placed> {
        self.hear();
        let grants = self.decide();
        let placed = grants.iter().flat_map(|grant| self.commit(grant)).collect();
        self.confirm_preemptions();
        self.flush();
        placed
    }

    /// The grants the engine makes now, over as many passes as it wants.
    pub(crate) fn decide(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        loop {
            let before = grants.len();
            for output in self.wake() {
                match output {
                    Output::Say(AllocatorMessage::Grant(grant)) => grants.push(grant),
                    Output::Say(AllocatorMessage::Beat { .. }) => {}
                    Output::Say(AllocatorMessage::Preempt(asked)) => self.asked.push(asked),
                    other => panic!("unexpected {other:?}"),
                }
            }
            let due = self.engine.next_wake().is_some_and(|(at, what)| at <= self.now && what == "pass");
            assert!(!due || grants.len() > before, "wants a pass that does nothing");
            if !due {
                return grants;
            }
        }
    }

    /// Commits a grant as the offers service would, which fails the test where it may not be committed. A.
    pub(crate) fn commit(&mut self, grant: &Grant) -> Vec<Placed> {
        assert_eq!(grant.epoch, EPOCH);
        let mut placed = Vec::new();
        let mut placements = Vec::new();
        self.check_gang(grant);
        for part in &grant.placements {
            let queue = self.jobs[&part.job].facts.queue.clone();
            for (above, limit) in queue.lineage().filter_map(|above| self.limits.get_key_value(above)) {
                let held = self.holding(above.as_str());
                assert_eq!(limit.exceeded(&held, &part.slice, part.slots), None, "K: {above} has its limit");
            }
            let agent = self.agents.get_mut(&part.agent).expect("a grant names an agent that is there");
            assert_eq!(part.version, OfferVersion(agent.version), "a grant is taken from the latest offer");
            let job = self.jobs.get_mut(&part.job).expect("a grant names a job that is there");
            let wants = job.facts.resources.iter().all(|(name, amount)| part.slice.total(name) == amount);
            assert!(wants, "a slice is what the job asks for");
            agent.free.subtract(&part.slice.times(part.slots).unwrap()).expect("A: never over-allocates");
            let taken: u64 = job.pending.remove(part.tasks).into_iter().map(TaskRange::count).sum();
            assert_eq!(taken, part.tasks.count(), "every task of a grant waits");
            assert!((1..=part.tasks.count()).contains(&part.slots), "as many slots as tasks at most");
            let run = (part.agent.clone(), part.tasks, part.slice.clone(), part.slots);
            placements.push(placement(&job.facts, &run));
            job.running.push(run);
            self.starts.extend(part.tasks.indexes().map(|task| ((part.job, task), self.now)));
            let (queue, agent) = (job.facts.queue.clone(), part.agent.clone());
            let place = |task| Placed { queue: queue.clone(), job: part.job, task, agent: agent.clone() };
            placed.extend(part.tasks.indexes().map(place));
        }
        let (epoch, number) = (grant.epoch, grant.grant);
        self.items.push(FeedItem::Allocated { epoch, grant: number, placements, at: self.now });
        self.reoffer(grant);
        placed
    }

    /// Fails the test where a gang is not placed together, and notes that it is.
    fn check_gang(&mut self, grant: &Grant) {
        let Some(job) = grant.placements.first().and_then(|part| self.jobs.get_mut(&part.job)) else {
            return;
        };
        if job.facts.min_tasks <= 1 {
            return;
        }
        let slots: u64 = grant.placements.iter().map(|part| part.slots).sum();
        assert!(slots >= u64::from(job.facts.min_tasks), "a gang is placed together");
        if let Some(same) = &job.facts.same {
            let value = |agent: &AgentId| self.agents[agent].facts.attributes.get(same).cloned();
            let values: BTreeSet<_> = grant.placements.iter().map(|part| value(&part.agent)).collect();
            assert!(
                values.len() == 1 && !values.contains(&None),
                "its agents have the same {same}: {values:?}"
            );
        }
        job.facts = Arc::new(PoolJob { min_tasks: 1, ..(*job.facts).clone() });
    }

    /// New offers of the agents that a grant was taken from. The versions stay within a pass, as all its grants
    /// were made before any was committed.
    fn reoffer(&mut self, grant: &Grant) {
        for part in &grant.placements {
            if let Some(agent) = self.agents.get(&part.agent) {
                self.items.push(offer_item(agent));
            }
        }
    }

    /// Which queue each task of the next pass belongs to, such as `ABABA`.
    pub(crate) fn pass_as_queues(&mut self) -> String {
        self.pass().iter().map(|placed| placed.queue.to_string()).collect()
    }

    /// How many tasks of each job run.
    pub(crate) fn running(&self, id: u64) -> u64 {
        self.jobs[&JobId(id)].running.iter().map(|(_, tasks, _, _)| tasks.count()).sum()
    }

    /// All that is held on all agents of one resource.
    pub(crate) fn used(&self, name: &str) -> u64 {
        let name = name.parse().unwrap();
        self.agents.values().map(|agent| agent.facts.total.total(&name) - agent.free.total(&name)).sum()
    }
}

/// Numbers that look random and are the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }
}

/// What the tasks of a queue and of all queues below it hold.
pub(crate) fn holding<'a>(jobs: impl Iterator<Item = &'a JobTruth>, of: &str) -> Holding {
    let mut held = Holding::default();
    for job in jobs.filter(|job| job.facts.queue.is_within(of)) {
        job.running.iter().for_each(|(_, _, slice, slots)| held.add(slice, *slots));
    }
    held
}

/// Reads `cpus=1 mem=4 tasks=2`, in the smallest units; `none` is no limit.
pub(crate) fn read_limit(text: &str) -> QueueLimit {
    let mut limit = QueueLimit::default();
    for (name, amount) in text.split_whitespace().filter_map(|part| part.split_once('=')) {
        let amount = amount.parse().unwrap();
        match name {
            "tasks" => limit.tasks = Some(amount),
            name => {
                limit.resources.insert(name.parse().unwrap(), amount);
            }
        }
    }
    limit
}

pub(crate) fn offer_item(agent: &AgentTruth) -> FeedItem {
    let (id, version) = (agent.facts.agent.clone(), OfferVersion(agent.version));
    FeedItem::Offer { agent: id, version, free: agent.free.clone(), ttl: TTL }
}

fn placement(job: &PoolJob, (agent, tasks, slice, slots): &Run) -> Placement {
    let run = AttemptRun { job: job.job, tasks: *tasks, attempt: 1 };
    Placement { agent: agent.clone(), run, queue: job.queue.clone(), slice: slice.clone(), slots: *slots }
}

/// Named items of a resource, all whole.
pub(crate) fn items(name: &str, ids: &[&str]) -> Resources {
    let ids = ids.iter().map(|id| ((*id).to_owned(), 1_000)).collect();
    Resources::from_iter([(name.parse().unwrap(), Amount::Items(ids))])
}
