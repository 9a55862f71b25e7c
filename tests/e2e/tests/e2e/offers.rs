//! The offers service as a test plays it: what it says is what the test wants, to an allocator that runs as a process over a
//! real nats-server, with the policy `fifo` and the first agent with room.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_bus::Subject;
use allot_e2e::python_allocator;
use allot_model::{
    AgentId, AllocatorMessage, AttemptRun, Epoch, Feed, FeedItem, FromAllocator, Grant, GrantId, InstanceId,
    JobId, OfferVersion, Placement, PoolAgent, PoolJob, PoolName, QueueName, RefusalCode, Request, Resources,
    Span, SyncPart, TaskRange, Time,
};
use allot_proto::Wire;
use allot_testkit::{Launch, Programs, built, within};
use async_nats::{Client, Subscriber};
use futures::StreamExt;

use crate::cluster::agent_id;

/// The epoch in which the allocator decides, unless a test says otherwise.
pub(crate) const EPOCH: Epoch = Epoch(7);

/// The offers service as an allocator sees it.
pub(crate) struct Offers {
    programs: Programs,
    client: Client,
    said: Subscriber,
    pub(crate) session: Epoch,
    pub(crate) sequence: u64,
    version: u64,
    /// Who speaks, once it has said hello, and where the answer goes.
    instance: InstanceId,
    reply: String,
    /// What it said in one message and was not looked at yet.
    heard: Vec<AllocatorMessage>,
    jobs: BTreeMap<JobId, Arc<PoolJob>>,
    numbers: Vec<GrantId>,
}

impl Offers {
    /// Starts the allocator, and waits until it has said hello.
    pub(crate) async fn of(kind: &str) -> Self {
        let mut programs = Programs::start().await.unwrap();
        let client = programs.nats.bus().await.unwrap().client().clone();
        let grants = Subject::PoolGrants(PoolName::default_pool()).to_string();
        let said = client.subscribe(grants).await.unwrap();
        client.flush().await.unwrap();
        let launch = launch(&programs, kind);
        programs.launch("allocator", launch).unwrap();
        let mut offers = Self {
            programs,
            client,
            said,
            session: Epoch(3),
            sequence: 40,
            version: 0,
            instance: "nobody".parse().unwrap(),
            reply: String::new(),
            heard: Vec::new(),
            jobs: BTreeMap::new(),
            numbers: Vec::new(),
        };
        offers.hello().await;
        offers
    }

    /// As [`Offers::of`], and the allocator follows and decides: on agents of so many cpus, for jobs of so many tasks
    /// of one cpu.
    pub(crate) async fn deciding(kind: &str, agents: &[(&str, u64)], jobs: &[(u64, u32)]) -> Self {
        let mut offers = Self::of(kind).await;
        let mut items = vec![offers.names_it(EPOCH)];
        for (agent, cpus) in agents {
            items.extend([pool_agent(agent, *cpus), offers.offer(agent, *cpus)]);
        }
        jobs.iter().for_each(|(id, tasks)| items.extend(offers.job(*id, *tasks)));
        offers.account(vec![items]).await;
        offers
    }

    pub(crate) fn names_it(&self, epoch: Epoch) -> FeedItem {
        FeedItem::Active { epoch, instance: self.instance.clone() }
    }

    pub(crate) fn offer(&mut self, agent: &str, cpus: u64) -> FeedItem {
        self.offer_of(agent, cpus_of(cpus))
    }

    fn offer_of(&mut self, agent: &str, free: Resources) -> FeedItem {
        self.version += 1;
        let (agent, version, ttl) = (agent_id(agent), OfferVersion(self.version), Span::from_secs(60));
        FeedItem::Offer { agent, version, free, ttl }
    }

    /// A job of tasks of one cpu, all of which wait.
    pub(crate) fn job(&mut self, id: u64, tasks: u32) -> [FeedItem; 2] {
        self.job_for(id, tasks, "cpus")
    }

    /// A job of tasks of one of this resource, all of which wait.
    fn job_for(&mut self, id: u64, tasks: u32, resource: &str) -> [FeedItem; 2] {
        let job = Arc::new(PoolJob {
            job: JobId(id),
            queue: QueueName::new("q").unwrap(),
            submitted_at: Time::from_micros(id),
            priority: 0,
            tasks,
            resources: Request::from_iter([(resource.parse().unwrap(), 1_000)]),
            constraints: Vec::new(),
            estimate: None,
            deadline: None,
            min_tasks: 1,
            same: None,
            preemptible: false,
        });
        self.jobs.insert(job.job, job.clone());
        [
            FeedItem::Job(job),
            FeedItem::Pending { job: JobId(id), tasks: TaskRange { first: 0, last: tasks - 1 } },
        ]
    }

    /// Tells all allocators.
    pub(crate) async fn tell(&mut self, items: Vec<FeedItem>) {
        self.sequence += 1;
        let feed = Feed { session: self.session, sequence: self.sequence, sync: None, part: 0, items };
        self.publish(feed.encode()).await;
    }

    pub(crate) async fn publish(&self, payload: Vec<u8>) {
        let subject = Subject::PoolOffers(PoolName::default_pool()).to_string();
        self.client.publish(subject, payload.into()).await.unwrap();
    }

    /// Answers the last hello in these parts.
    pub(crate) async fn account(&self, parts: Vec<Vec<FeedItem>>) {
        for part in 0..parts.len() {
            self.part(&parts, part).await;
        }
    }

    pub(crate) async fn part(&self, parts: &[Vec<FeedItem>], number: usize) {
        let sync = match (number == 0, number + 1 == parts.len()) {
            (true, true) => SyncPart::Only,
            (true, false) => SyncPart::First,
            (false, true) => SyncPart::Last,
            (false, false) => SyncPart::Middle,
        };
        let (part, items) = (u32::try_from(number).unwrap(), parts[number].clone());
        let feed = Feed { session: self.session, sequence: self.sequence, sync: Some(sync), part, items };
        self.client.publish(self.reply.clone(), feed.encode().into()).await.unwrap();
    }

    /// The next thing that it says.
    pub(crate) async fn next(&mut self) -> AllocatorMessage {
        while self.heard.is_empty() {
            let message = within("the allocator says something", self.said.next()).await.unwrap();
            let said = FromAllocator::decode(&message.payload).unwrap();
            self.instance = said.instance;
            self.reply = message.reply.map_or_else(String::new, |reply| reply.to_string());
            self.heard = said.messages;
        }
        self.heard.remove(0)
    }

    /// Waits for a hello, which is a request.
    pub(crate) async fn hello(&mut self) {
        let asks = async { while !matches!(self.next().await, AllocatorMessage::Hello { .. }) {} };
        within("the allocator says hello", asks).await;
        assert_ne!(self.reply, "", "a hello is a request");
    }

    async fn grant(&mut self) -> Grant {
        let grants = async {
            loop {
                match self.next().await {
                    AllocatorMessage::Grant(grant) => return grant,
                    AllocatorMessage::Hello { .. } => panic!("a hello in place of a grant"),
                    _ => {}
                }
            }
        };
        let grant = within("the allocator grants", grants).await;
        self.check(&grant);
        grant
    }

    /// What holds for every grant of these tests.
    fn check(&mut self, grant: &Grant) {
        assert!(!self.numbers.contains(&grant.grant), "{} stood in an earlier grant", grant.grant.0);
        self.numbers.push(grant.grant);
        for placement in &grant.placements {
            let job = &self.jobs[&placement.job];
            assert_eq!(placement.slice, job.resources.as_scalars(), "a slice is what a task asks for");
            assert_eq!(placement.slots, placement.tasks.count(), "nothing is known of how long tasks take");
        }
    }

    /// Grants up to those of so many tasks.
    pub(crate) async fn grants(&mut self, tasks: u64) -> Vec<Grant> {
        let mut grants: Vec<Grant> = Vec::new();
        while tasks_of(&grants) < tasks {
            grants.push(self.grant().await);
        }
        assert_eq!(tasks_of(&grants), tasks, "{grants:?}");
        grants
    }

    /// All that it grants now: up to the grant of a job that comes last and is the only one for its agent.
    pub(crate) async fn all_grants(&mut self) -> Vec<Grant> {
        let (id, marker) = (self.sequence + 1_000, format!("marker-{}", self.sequence));
        let mut items: Vec<FeedItem> = self.job_for(id, 1, &marker).into();
        items.push(FeedItem::Agent(agent_with(&marker, one(&marker))));
        items.push(self.offer_of(&marker, one(&marker)));
        self.tell(items).await;
        let mut grants = Vec::new();
        loop {
            let grant = self.grant().await;
            if grant.placements[0].job == JobId(id) {
                self.tell(vec![committed(&grant)]).await;
                return grants;
            }
            grants.push(grant);
        }
    }

    /// Commits the grants, and offers what is left of the agent afterwards.
    pub(crate) async fn commit(&mut self, grants: &[Grant], agent: &str, left: u64) {
        let mut items: Vec<FeedItem> = grants.iter().map(committed).collect();
        items.push(self.offer(agent, left));
        self.tell(items).await;
    }

    pub(crate) async fn refuse(&mut self, grants: &[Grant], code: RefusalCode) {
        let refused = |grant: &Grant| FeedItem::Refused {
            epoch: grant.epoch,
            grant: grant.grant,
            code,
            message: "because the test wants it so".to_owned(),
        };
        self.tell(grants.iter().map(refused).collect()).await;
    }
}

/// The allocator in Rust, or the one in another language: that in Python unless the environment names one.
fn launch(programs: &Programs, kind: &str) -> Launch {
    let given = std::env::var("ALLOT_ALLOCATOR").unwrap_or_default().replace("{nats}", &programs.nats.url());
    let mut words = given.split_whitespace().map(str::to_owned);
    match (kind, words.next()) {
        ("rust", _) => {
            let settings =
                ["--nats", &programs.nats.url(), "--set", "placement=first-fit"].map(str::to_owned);
            let program = built("allot-allocator-fifo").unwrap();
            Launch { program, arguments: settings.into(), environment: Vec::new() }
        }
        (_, Some(program)) => {
            Launch { program: program.into(), arguments: words.collect(), environment: Vec::new() }
        }
        (_, None) => python_allocator(programs, "fifo").unwrap(),
    }
}

impl Drop for Offers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.programs.logs());
        }
    }
}

pub(crate) fn cpus_of(cpus: u64) -> Resources {
    Request::from_iter([("cpus".parse().unwrap(), cpus * 1_000)]).as_scalars()
}

fn one(resource: &str) -> Resources {
    Request::from_iter([(resource.parse().unwrap(), 1_000)]).as_scalars()
}

pub(crate) fn pool_agent(agent: &str, cpus: u64) -> FeedItem {
    FeedItem::Agent(agent_with(agent, cpus_of(cpus)))
}

fn agent_with(agent: &str, total: Resources) -> Arc<PoolAgent> {
    let (agent, host, attributes) = (agent_id(agent), "host".to_owned(), BTreeMap::new());
    Arc::new(PoolAgent { agent, host, total, attributes, draining: false })
}

fn committed(grant: &Grant) -> FeedItem {
    let placement = |proposed: &allot_model::ProposedPlacement| Placement {
        agent: proposed.agent.clone(),
        run: AttemptRun { job: proposed.job, tasks: proposed.tasks, attempt: 1 },
        queue: QueueName::new("q").unwrap(),
        slice: proposed.slice.clone(),
        slots: proposed.slots,
    };
    let placements = grant.placements.iter().map(placement).collect();
    FeedItem::Allocated { epoch: grant.epoch, grant: grant.grant, placements, at: Time::ZERO }
}

fn tasks_of(grants: &[Grant]) -> u64 {
    grants.iter().flat_map(|grant| &grant.placements).map(|placement| placement.tasks.count()).sum()
}

pub(crate) fn agents_of(grants: &[Grant]) -> Vec<AgentId> {
    grants.iter().flat_map(|grant| &grant.placements).map(|placement| placement.agent.clone()).collect()
}
