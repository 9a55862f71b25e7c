//! Allocators and the offers service over a real nats-server: the worked examples again, and who decides when.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

use std::sync::Arc;

use allot_allocator::Config;
use allot_bus::Subject;
use allot_model::{
    AgentFacts, AgentId, AllocatorView, Answer, Attributes, Batch, Command, DispatcherRecord, Entry, Epoch,
    Executor, Incarnation, InstanceId, JobId, JobSpec, OffersRecord, OnUnreachable, Placement, PolicyName,
    PolicyUseCommand, PolicyView, QueueGuarantee, QueueLimit, Record, RegistryRecord, Request, Span, WhyView,
    Writer, WriterStarted,
};
use allot_proto::Wire;
use allot_shell::{Bus, Shutdown, clock};
use allot_testkit::{NatsServer, PATIENCE, entries, eventually, within};
use tokio::task::JoinHandle;

/// A service that runs in this process.
struct Running {
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.trigger();
        within("a service stops", self.task).await.unwrap().unwrap();
    }
}

/// A nats-server, the offers service, and what registry and dispatcher would have written.
struct Pool {
    server: NatsServer,
    bus: Bus,
    offers: Option<Running>,
}

impl Pool {
    async fn start(records: Vec<Record>) -> Self {
        let server = NatsServer::start().await.unwrap();
        let bus = server.bus_with_streams().await.unwrap();
        let mut pool = Self { server, bus, offers: None };
        pool.append(Writer::Registry, records.iter().filter(|r| matches!(r, Record::Registry(_)))).await;
        pool.append(Writer::Dispatcher, records.iter().filter(|r| matches!(r, Record::Dispatcher(_)))).await;
        pool.start_offers().await;
        pool
    }

    async fn append(&self, writer: Writer, records: impl Iterator<Item = &Record>) {
        let instance: InstanceId = "test".parse().unwrap();
        let started = Record::Writer(WriterStarted { writer, epoch: Epoch(1), instance });
        let records = [started].into_iter().chain(records.cloned());
        let entries = records.map(|record| Entry { at: clock::now(), record }).collect();
        let batch = Batch { writer, epoch: Epoch(1), entries };
        let stored = self.bus.jetstream().publish(Subject::Ledger(writer).to_string(), batch.encode().into());
        stored.await.unwrap().await.unwrap();
    }

    async fn start_offers(&mut self) {
        let (bus, shutdown) = (self.server.bus().await.unwrap(), Shutdown::new());
        let task = tokio::spawn(allot_offers::run(bus, allot_offers::Config::default(), shutdown.clone()));
        self.offers = Some(Running { shutdown, task });
    }

    async fn allocator(&self, policy: &'static str) -> Running {
        let (bus, shutdown) = (self.server.bus().await.unwrap(), Shutdown::new());
        let stop = shutdown.clone();
        let task =
            tokio::spawn(
                async move { allot_allocator::run(bus, Some(policy), Config::default(), stop).await },
            );
        Running { shutdown, task }
    }

    /// Everything that was allocated, in order.
    async fn allocated(&self) -> Vec<Placement> {
        let placements = |entry: Entry| match entry.record {
            Record::Offers(OffersRecord::Allocated { placements, .. }) => placements,
            _ => Vec::new(),
        };
        entries(&self.bus).await.unwrap().into_iter().flat_map(placements).collect()
    }

    /// Waits until so many tasks are allocated; returns whose each is, in order.
    async fn queues_of(&self, tasks: u64) -> String {
        let what = format!("{tasks} tasks are allocated");
        let all = eventually(&what, PATIENCE, || async {
            let all = self.allocated().await;
            (count(&all) >= tasks).then_some(all)
        })
        .await;
        let of_task = |placement: &Placement| {
            let queue = placement.queue.to_string();
            placement.run.tasks.indexes().map(move |_| queue.clone()).collect::<String>()
        };
        all.iter().map(of_task).collect()
    }

    async fn policy(&self) -> Option<PolicyView> {
        let subject = Subject::PoolPolicy(Config::default().pool).to_string();
        let answer = self.bus.client().request(subject, "".into()).await.ok()?;
        match serde_json::from_slice(&answer.payload).unwrap() {
            Answer::Ok(view) => Some(view),
            Answer::Error(_) => None,
        }
    }

    /// Waits until an allocator of this policy decides and says which it is.
    async fn decides(&self, policy: &str) -> AllocatorView {
        let policy: PolicyName = policy.parse().unwrap();
        eventually(&format!("{policy} decides"), PATIENCE, || async {
            let allocators = self.policy().await?.allocators;
            allocators.into_iter().find(|allocator| allocator.active && allocator.policy == policy)
        })
        .await
    }
}

fn count(placements: &[Placement]) -> u64 {
    placements.iter().map(|placement| placement.run.tasks.count()).sum()
}

fn request(cpus: u64, mem: u64) -> Request {
    [("cpus".parse().unwrap(), cpus), ("mem".parse().unwrap(), mem)].into_iter().collect()
}

fn agent(name: &str, cpus: u64, mem: u64) -> Record {
    let facts = AgentFacts {
        id: AgentId::new(name).unwrap(),
        incarnation: Incarnation(1),
        host: "host".into(),
        resources: request(cpus, mem).as_scalars(),
        attributes: Attributes::new(),
        program_version: "0".into(),
    };
    Record::Registry(RegistryRecord::AgentJoined { facts: Arc::new(facts) })
}

fn job(id: u64, queue: &str, tasks: u32, resources: Request) -> Record {
    let spec = JobSpec {
        name: None,
        command: Command::Argv(vec!["true".into()]),
        env: [].into(),
        workdir: None,
        resources,
        tasks,
        priority: 0,
        constraints: Vec::new(),
        retries: 0,
        backoff: Span::ZERO,
        time_limit: None,
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        kill_grace: Span::ZERO,
        after: Vec::new(),
        on_unreachable: OnUnreachable::Wait,
        executor: Executor::Noop,
    };
    Record::Dispatcher(DispatcherRecord::JobAdmitted {
        job: JobId(id),
        queue: queue.parse().unwrap(),
        message_id: None,
        submitted_at: clock::now(),
        spec: Arc::new(spec),
        waits: false,
    })
}

fn weight(queue: &str, weight: u32) -> Record {
    let limit = QueueLimit::default();
    Record::Dispatcher(DispatcherRecord::QueueSet {
        queue: queue.parse().unwrap(),
        weight,
        limit,
        guarantee: QueueGuarantee::default(),
    })
}

/// The pool and demands of the DRF paper.
fn nsdi() -> Vec<Record> {
    vec![agent("m1", 9, 18), job(1, "A", 100, request(1, 4)), job(2, "B", 100, request(3, 1))]
}

#[tokio::test]
async fn g1_and_g2_hold_over_the_wire() {
    let weighted = || nsdi().into_iter().chain([weight("A", 2)]).collect();
    let cases = [
        ("drf", nsdi(), "ABABA"),
        ("drf", weighted(), "ABAAA"),
        ("fair", nsdi(), "ABAAA"),
        ("hdrf", nsdi(), "ABABA"),
        ("asset", nsdi(), "ABABA"),
        ("drf:order=shortest", weighted(), "ABAAA"),
        ("fifo", nsdi(), "AAAAB"),
        ("priority", nsdi(), "AAAAB"),
    ];
    for (policy, records, expected) in cases {
        let pool = Pool::start(records).await;
        let allocator = pool.allocator(policy).await;
        assert_eq!(pool.queues_of(5).await, expected, "{policy}");
        allocator.stop().await;
    }
}

#[tokio::test]
async fn a_whole_backlog_is_placed_task_by_task_exactly_once() {
    let agents = (0..20).map(|n| agent(&format!("m{n:02}"), 2_000, 2_000));
    let jobs = (1..=40).map(|id| job(id, &format!("q{}", id % 7), 250, request(1 + id % 3, 2)));
    let pool = Pool::start(agents.chain(jobs).collect()).await;
    let allocator = pool.allocator("drf").await;
    pool.queues_of(10_000).await;
    let mut tasks: Vec<(JobId, u32)> = Vec::new();
    for placement in pool.allocated().await {
        tasks.extend(placement.run.tasks.indexes().map(|index| (placement.run.job, index)));
    }
    let placed = tasks.len();
    tasks.sort_unstable();
    tasks.dedup();
    assert_eq!((placed, tasks.len()), (10_000, 10_000));
    allocator.stop().await;
}

#[tokio::test]
async fn another_takes_over_when_the_one_that_decides_says_goodbye_and_when_another_policy_is_chosen() {
    let pool = Pool::start(vec![agent("m1", 9, 18)]).await;
    let first = pool.allocator("drf").await;
    pool.decides("drf").await;
    let second = pool.allocator("fifo").await;
    eventually("both are heard from", PATIENCE, || async {
        (pool.policy().await?.allocators.len() == 2).then_some(())
    })
    .await;
    let command = PolicyUseCommand { policy: "fifo".parse().unwrap() };
    let subject = Subject::PoolUse(Config::default().pool).to_string();
    pool.bus.client().request(subject, serde_json::to_vec(&command).unwrap().into()).await.unwrap();
    pool.decides("fifo").await;
    second.stop().await;
    pool.decides("drf").await;
    pool.append(Writer::Dispatcher, [job(1, "A", 2, request(1, 1))].iter()).await;
    assert_eq!(pool.queues_of(2).await, "AA");
    first.stop().await;
}

#[tokio::test]
async fn why_a_job_waits_is_told_by_the_allocator_that_decides_and_by_nobody_else() {
    let pool = Pool::start(nsdi()).await;
    let subject = || Subject::PoolWhy(Config::default().pool).to_string();
    let client = pool.bus.client();
    let ask = async |payload: &'static str| -> Option<Answer<WhyView>> {
        let answer = client.request(subject(), payload.into()).await.ok()?;
        Some(serde_json::from_slice(&answer.payload).unwrap())
    };
    assert_eq!(ask(r#"{"job": 1}"#).await, None, "nobody decides yet");
    let drf = pool.allocator("drf").await;
    pool.decides("drf").await;
    let fifo = pool.allocator("fifo").await;
    assert_eq!(pool.queues_of(5).await, "ABABA");
    let view = eventually("all is placed that fits", PATIENCE, || async {
        match ask(r#"{"job": 1}"#).await {
            Some(Answer::Ok(view)) if view.granted == 0 && view.waiting == 97 => Some(view),
            _ => None,
        }
    })
    .await;
    assert_eq!((view.policy.as_str(), view.reasons_in_words().as_str()), ("drf", "1 agent busy in cpus"));
    assert_eq!(view.share.unwrap().share, [2, 3]);
    for (payload, part) in [(r#"{"job": 9}"#, "job 9"), ("{}", "missing field `job`"), ("\u{1}", "JSON")] {
        let refusal = match ask(payload).await {
            Some(Answer::Error(refusal)) => refusal,
            other => panic!("{payload}: {other:?}"),
        };
        assert!(refusal.message.contains(part), "{refusal:?}");
    }
    drf.stop().await;
    pool.decides("fifo").await;
    eventually("the other tells now", PATIENCE, || async {
        let told = ask(r#"{"job": 1}"#).await;
        matches!(told, Some(Answer::Ok(view)) if view.policy.as_str() == "fifo").then_some(())
    })
    .await;
    fifo.stop().await;
}

#[tokio::test]
async fn an_allocator_goes_on_after_the_offers_service_and_nats_were_restarted() {
    let mut pool = Pool::start(vec![agent("m1", 9, 18)]).await;
    let allocator = pool.allocator("drf").await;
    pool.decides("drf").await;
    pool.offers.take().unwrap().stop().await;
    pool.start_offers().await;
    pool.append(Writer::Dispatcher, [job(1, "A", 2, request(1, 1))].iter()).await;
    assert_eq!(pool.queues_of(2).await, "AA");
    pool.server.restart().await.unwrap();
    pool.append(Writer::Dispatcher, [job(2, "B", 1, request(1, 1))].iter()).await;
    assert_eq!(pool.queues_of(3).await, "AAB");
    allocator.stop().await;
}
