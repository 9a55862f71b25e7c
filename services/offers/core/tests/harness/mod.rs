//! Lets a test of the offers service read as a story.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use allot_model::*;
use allot_offers_core::{Input, OffersCore, Options, Output};

/// Tasks for an agent, with what each gets.
pub type Part<'a> = (&'a str, AttemptRun, &'a [(&'a str, u64)]);

pub const EPOCH: Epoch = Epoch(1);

/// A pool with one allocator, `a1`, that decides.
pub struct Pool {
    pub core: OffersCore,
    pub now: Time,
    /// Every record in the order of the ledger, own and others'.
    pub ledger: Vec<Entry>,
    /// What was said in the feed, and answered to hellos, since it was last looked at.
    pub heard: Vec<FeedItem>,
    pub synced: Vec<FeedItem>,
    next_grant: u64,
}

pub fn resources(text: &[(&str, u64)]) -> Resources {
    text.iter().map(|(name, units)| (ResourceName::new(name).unwrap(), Amount::Scalar(*units))).collect()
}

pub fn agent_id(text: &str) -> AgentId {
    AgentId::new(text).unwrap()
}

pub fn queue(text: &str) -> QueueName {
    QueueName::new(text).unwrap()
}

pub fn instance(text: &str) -> InstanceId {
    InstanceId::new(text).unwrap()
}

pub fn policy(text: &str) -> PolicyName {
    PolicyName::new(text).unwrap()
}

pub fn run(job: u64, first: u32, last: u32, attempt: u32) -> AttemptRun {
    AttemptRun { job: JobId(job), tasks: TaskRange { first, last }, attempt }
}

pub fn spec(tasks: u32, request: &[(&str, u64)]) -> Arc<JobSpec> {
    let resources = request.iter().map(|(name, units)| (ResourceName::new(name).unwrap(), *units)).collect();
    Arc::new(JobSpec {
        name: None,
        command: Command::Shell("true".into()),
        env: Default::default(),
        workdir: None,
        resources,
        tasks,
        priority: 0,
        constraints: Vec::new(),
        retries: 0,
        backoff: Span::from_secs(1),
        time_limit: None,
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        kill_grace: Span::from_secs(10),
        after: Vec::new(),
        on_unreachable: OnUnreachable::Wait,
        executor: Executor::Process,
    })
}

impl Pool {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let mut pool = Self {
            core: OffersCore::new(options),
            now: Time::from_micros(1_000_000),
            ledger: Vec::new(),
            heard: Vec::new(),
            synced: Vec::new(),
            next_grant: 0,
        };
        pool.give(Input::Resume { epoch: EPOCH });
        pool.hello("a1", "drf");
        pool
    }

    pub fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        if self.core.next_wake().is_some_and(|(at, _)| at <= self.now) {
            self.core.wake(self.now, &mut out);
        }
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        self.core.sanity_check();
        for output in out {
            match output {
                Output::Append(record) => self.ledger.push(Entry { at: self.now, record }),
                Output::Feed(feed) => self.heard.extend(feed.items),
                Output::Sync(_, feed) => self.synced.extend(feed.items),
                _ => {}
            }
        }
    }

    /// Lets time pass, waking the core whenever it wants to be woken.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some((at, _)) = self.core.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.core.wake(self.now, &mut out);
            self.take(out);
        }
        self.now = end;
    }

    pub fn record(&mut self, record: Record) {
        let entry = Entry { at: self.now, record };
        self.ledger.push(entry.clone());
        self.give(Input::Ledger(entry));
    }

    pub fn agent(&mut self, id: &str, amounts: &[(&str, u64)]) {
        self.join(id, resources(amounts));
    }

    pub fn join(&mut self, id: &str, resources: Resources) {
        let facts = Arc::new(AgentFacts {
            id: agent_id(id),
            incarnation: Incarnation(1),
            host: id.to_owned(),
            resources,
            attributes: [("zone".to_owned(), "a".to_owned())].into(),
            program_version: "0.1.0".into(),
        });
        self.record(Record::Registry(RegistryRecord::AgentJoined { facts }));
    }

    pub fn job(&mut self, id: u64, queue_name: &str, spec: Arc<JobSpec>) {
        self.record(Record::Dispatcher(DispatcherRecord::JobAdmitted {
            job: JobId(id),
            queue: queue(queue_name),
            message_id: None,
            submitted_at: self.now,
            spec,
            waits: false,
        }));
    }

    /// Sets a limit such as `cpus=4,tasks=2`; nothing named is no limit.
    pub fn limit(&mut self, name: &str, limit: &str) {
        let change: LimitChange = limit.parse().unwrap();
        let limit = change.applied_to(QueueLimit::default());
        self.record(Record::Dispatcher(DispatcherRecord::QueueSet {
            queue: queue(name),
            weight: 1,
            limit,
            guarantee: QueueGuarantee::default(),
        }));
    }

    /// Guarantees something such as `cpus=4`.
    pub fn guarantee(&mut self, name: &str, least: &str, hold_back: HoldBack) {
        let change: LimitChange = least.parse().unwrap();
        let guarantee = QueueGuarantee { least: change.applied_to(QueueLimit::default()), hold_back };
        let (queue, limit) = (queue(name), QueueLimit::default());
        self.record(Record::Dispatcher(DispatcherRecord::QueueSet { queue, weight: 1, limit, guarantee }));
    }

    /// What people are shown of a queue.
    pub fn view(&mut self, name: &str) -> QueueView {
        let mut out = Vec::new();
        self.core.handle(self.now, Input::ShowQueues(ReplyTo("inbox".into())), &mut out);
        let shown = out.into_iter().find_map(|output| match output {
            Output::Queues(_, Answer::Ok(views)) => {
                views.into_iter().find(|view| view.queue.as_str() == name)
            }
            _ => None,
        });
        shown.expect("the queue is shown")
    }

    pub fn ended(&mut self, agent: &str, run: AttemptRun) {
        self.record(Record::Dispatcher(DispatcherRecord::TasksEnded {
            agent: agent_id(agent),
            run,
            state: TaskState::Finished,
            reason: Reason::ExitedZero,
            started_at: None,
            ended_at: self.now,
            outcome: Outcome::default(),
            retry_at: None,
        }));
    }

    pub fn say(&mut self, from: &str, message: AllocatorMessage) {
        let message = FromAllocator { instance: instance(from), messages: vec![message] };
        self.give(Input::Allocator { reply: Some(ReplyTo("inbox".into())), message });
    }

    pub fn hello(&mut self, from: &str, runs: &str) {
        self.say(from, AllocatorMessage::Hello(Presence::of(policy(runs))));
    }

    pub fn beat(&mut self, from: &str, runs: &str) {
        self.say(from, AllocatorMessage::Beat(Presence::of(policy(runs))));
    }

    /// A grant of `a1` under epoch 1.
    pub fn grant(&mut self, parts: &[Part<'_>]) -> Result<(), RefusalCode> {
        self.grant_as("a1", Epoch(1), parts)
    }

    pub fn grant_as(&mut self, from: &str, epoch: Epoch, parts: &[Part<'_>]) -> Result<(), RefusalCode> {
        let placements = parts
            .iter()
            .map(|(agent, run, slice)| ProposedPlacement {
                agent: agent_id(agent),
                version: OfferVersion(0),
                job: run.job,
                tasks: run.tasks,
                slice: resources(slice),
                slots: run.tasks.count(),
            })
            .collect();
        self.propose(from, epoch, placements)
    }

    pub fn propose(
        &mut self,
        from: &str,
        epoch: Epoch,
        placements: Vec<ProposedPlacement>,
    ) -> Result<(), RefusalCode> {
        self.next_grant += 1;
        let number = GrantId(self.next_grant);
        let mark = self.heard.len();
        self.say(from, AllocatorMessage::Grant(Grant { epoch, grant: number, placements }));
        self.heard[mark..]
            .iter()
            .find_map(|item| match item {
                FeedItem::Allocated { grant, .. } if *grant == number => Some(Ok(())),
                FeedItem::Refused { grant, code, .. } if *grant == number => Some(Err(*code)),
                _ => None,
            })
            .expect("every grant is answered")
    }

    /// The last word in the feed on what is offered of this agent; nothing where nothing is.
    pub fn offered(&self, id: &str) -> Option<Resources> {
        self.heard.iter().rev().find_map(|item| match item {
            FeedItem::Offer { agent, free, .. } if agent.as_str() == id => Some(Some(free.clone())),
            FeedItem::Rescinded { agent } if agent.as_str() == id => Some(None),
            FeedItem::AgentLeft { agent } if agent.as_str() == id => Some(None),
            _ => None,
        })?
    }

    pub fn version(&self, id: &str) -> OfferVersion {
        let found = self.heard.iter().rev().find_map(|item| match item {
            FeedItem::Offer { agent, version, .. } if agent.as_str() == id => Some(*version),
            _ => None,
        });
        found.expect("there was an offer")
    }

    /// A service that knows this one's ledger and nothing else.
    pub fn rebuilt(&self) -> OffersCore {
        self.replayed(OffersCore::new(Options::default()), &self.ledger)
    }

    /// The core after these records.
    fn replayed<'a>(&self, mut core: OffersCore, records: impl IntoIterator<Item = &'a Entry>) -> OffersCore {
        let mut out = Vec::new();
        records.into_iter().for_each(|entry| core.handle(entry.at, Input::Replay(entry.clone()), &mut out));
        assert!(out.is_empty(), "a replay has no outputs");
        core
    }

    /// A core from a snapshot of another, as it is saved, and from the records that were not in it.
    pub fn restored<'a>(&self, of: &OffersCore, tail: impl IntoIterator<Item = &'a Entry>) -> OffersCore {
        let head = SnapshotHead {
            writer: Writer::Offers,
            epoch: Epoch(1),
            ledger_sequence: 0,
            ledger_at: Time::ZERO,
            own_sequence: 0,
            inbox_sequence: 0,
            taken_at: Time::ZERO,
            items: 0,
        };
        let bytes = allot_proto::encode_snapshot(&head, of.snapshot());
        let (mut core, mut out) = (OffersCore::new(Options::default()), Vec::new());
        for item in allot_proto::SnapshotReader::new(&bytes).unwrap() {
            core.handle(Time::ZERO, Input::Restore(item.unwrap()), &mut out);
        }
        assert!(out.is_empty(), "a snapshot has no outputs");
        core.sanity_check();
        self.replayed(core, tail)
    }

    /// A core from a snapshot of the first `cut` records, and from those after them.
    pub fn restored_at(&self, cut: usize) -> OffersCore {
        let (before, tail) = self.ledger.split_at(cut.min(self.ledger.len()));
        self.restored(&self.replayed(OffersCore::new(Options::default()), before), tail)
    }
}
