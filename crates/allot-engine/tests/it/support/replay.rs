//! A log of a real workload played to an engine: the offers service in as few words as it takes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allot_engine::{Engine, Input, Output, Policy};
use allot_model::{
    AgentId, AllocatorMessage, AttemptRun, Core, Epoch, Feed, FeedItem, Grant, InstanceId, JobId,
    OfferVersion, Placement, PoolAgent, PoolJob, QueueName, Request, ResourceName, Resources, Span, SyncPart,
    TaskRange, Time,
};
use allot_workload::{Filter, Log, LogJob};

/// How the machine of a log is modelled, and what of the log is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Play {
    /// The processors of the machine, each an agent of its own or all one agent.
    pub(crate) procs: u64,
    /// True for an agent a processor, and jobs as gangs of tasks of one processor each.
    pub(crate) gangs: bool,
    /// True where jobs are estimated to run as long as they do.
    pub(crate) exact: bool,
}

/// The folder of the logs, or nothing and a word about it.
pub(crate) fn logs() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/workloads");
    let folder = std::env::var_os("ALLOT_WORKLOADS").map_or_else(beside, PathBuf::from).join("swf");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no workload logs in {}; set ALLOT_WORKLOADS to where they are", folder.display());
    None
}

/// The jobs of a log under the strong filter.
pub(crate) fn jobs_of(folder: &Path, file: &str, procs: u64) -> Vec<LogJob> {
    let log = std::fs::read(folder.join(file)).ok().and_then(|bytes| Log::parse(&bytes).ok());
    log.map_or_else(Vec::new, |log| Filter::Strong.jobs(&log, procs))
}

fn at(secs: u64) -> Time {
    Time::from_micros(secs * 1_000_000)
}

/// A cluster that does as the log says.
struct Player<'a> {
    play: Play,
    engine: Engine,
    jobs: &'a [LogJob],
    now: Time,
    sequence: u64,
    queue: QueueName,
    cpus: ResourceName,
    agents: Vec<(AgentId, u64, u64)>,
    by_id: BTreeMap<AgentId, usize>,
    /// Where each running job is: agent, tasks, processors of each.
    places: BTreeMap<usize, Vec<(usize, TaskRange, u64)>>,
    ends: BinaryHeap<Reverse<(Time, usize)>>,
    starts: Vec<Option<Time>>,
    items: Vec<FeedItem>,
    changed: BTreeSet<usize>,
}

/// When each job of a log starts.
pub(crate) fn starts(policy: Policy, jobs: &[LogJob], play: Play) -> Vec<Time> {
    let mut player = Player::new(policy, jobs, play);
    let mut next = 0;
    loop {
        let arrives = jobs.get(next).map(|job| at(job.submit_s.unsigned_abs()));
        let ends = player.ends.peek().map(|Reverse((end, _))| *end);
        let looks = player.engine.next_wake().filter(|(_, what)| what.starts_with("what was expected"));
        let Some(now) = arrives.into_iter().chain(ends).chain(looks.map(|(at, _)| at)).min() else { break };
        player.now = now;
        player.end_what_is_due();
        while let Some(job) = jobs.get(next).filter(|job| at(job.submit_s.unsigned_abs()) == now) {
            player.submit(next, job);
            next += 1;
        }
        player.decide();
    }
    let started = player.starts.into_iter();
    started.map(|start| start.unwrap_or(Time::MAX)).collect()
}

impl<'a> Player<'a> {
    fn new(policy: Policy, jobs: &'a [LogJob], play: Play) -> Self {
        let (me, cpus) = ("me".parse::<InstanceId>(), "cpus".parse::<ResourceName>());
        let (Ok(me), Ok(cpus), Ok(queue)) = (me, cpus, "log".parse::<QueueName>()) else {
            unreachable!("these are names")
        };
        let (count, each) = if play.gangs { (play.procs, 1) } else { (1, play.procs) };
        let ids = (0..count).filter_map(|number| format!("agent-{number:05}").parse::<AgentId>().ok());
        let agents: Vec<(AgentId, u64, u64)> = ids.map(|id| (id, each, 1)).collect();
        let by_id = agents.iter().enumerate().map(|(place, (id, ..))| (id.clone(), place)).collect();
        let mut player = Self {
            play,
            engine: Engine::new(me.clone(), policy),
            jobs,
            now: Time::ZERO,
            sequence: 0,
            queue,
            cpus,
            agents,
            by_id,
            places: BTreeMap::new(),
            ends: BinaryHeap::new(),
            starts: vec![None; jobs.len()],
            items: vec![FeedItem::Active { epoch: Epoch(1), instance: me }],
            changed: (0..usize::try_from(count).unwrap_or(0)).collect(),
        };
        for (id, each, _) in &player.agents {
            let (total, host) = (player.amount(*each), id.to_string());
            let facts =
                PoolAgent { agent: id.clone(), host, total, attributes: BTreeMap::new(), draining: false };
            player.items.push(FeedItem::Agent(Arc::new(facts)));
        }
        player.engine.wake(Time::ZERO, &mut Vec::new());
        player.send(Some(SyncPart::Only));
        player
    }

    fn amount(&self, cpus: u64) -> Resources {
        [(self.cpus.clone(), allot_model::Amount::Scalar(cpus))].into_iter().collect()
    }

    fn send(&mut self, sync: Option<SyncPart>) {
        for place in std::mem::take(&mut self.changed) {
            let (agent, free, version) = self.agents[place].clone();
            let (version, free, ttl) = (OfferVersion(version), self.amount(free), Span::from_secs(1 << 40));
            self.items.push(FeedItem::Offer { agent, version, free, ttl });
        }
        let items = std::mem::take(&mut self.items);
        self.sequence += u64::from(sync.is_none());
        let feed = Feed { session: Epoch(1), sequence: self.sequence, sync, part: 0, items };
        self.engine.handle(self.now, Input::Feed(feed), &mut Vec::new());
    }

    fn submit(&mut self, place: usize, job: &LogJob) {
        let (tasks, cpus) = if self.play.gangs { (job.procs, 1) } else { (1, job.procs) };
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        let estimate = if self.play.exact { job.run_s } else { job.requested_s };
        let id = JobId(place as u64 + 1);
        self.items.push(FeedItem::Job(Arc::new(PoolJob {
            job: id,
            queue: self.queue.clone(),
            submitted_at: self.now,
            priority: 0,
            tasks,
            resources: [(self.cpus.clone(), cpus)].into_iter().collect::<Request>(),
            constraints: Vec::new(),
            estimate: Some(Span::from_secs(estimate)),
            deadline: None,
            min_tasks: tasks,
            same: None,
            preemptible: false,
        })));
        self.items.push(FeedItem::Pending { job: id, tasks: TaskRange { first: 0, last: tasks - 1 } });
    }

    fn end_what_is_due(&mut self) {
        while let Some(Reverse((_, place))) =
            self.ends.peek().copied().filter(|Reverse((end, _))| *end <= self.now)
        {
            self.ends.pop();
            let job = JobId(place as u64 + 1);
            for (agent, tasks, cpus) in self.places.remove(&place).unwrap_or_default() {
                let slots = tasks.count();
                self.agents[agent].1 += cpus * slots;
                self.agents[agent].2 += 1;
                self.changed.insert(agent);
                let (agent, queue, slice) =
                    (self.agents[agent].0.clone(), self.queue.clone(), self.amount(cpus));
                self.items.push(FeedItem::Released { agent, job, tasks, queue, slice, slots, ran: None });
            }
            self.items.push(FeedItem::JobEnded { job });
        }
    }

    fn decide(&mut self) {
        self.send(None);
        loop {
            let mut out = Vec::new();
            self.engine.wake(self.now, &mut out);
            for output in out {
                if let Output::Say(AllocatorMessage::Grant(grant)) = output {
                    self.commit(grant);
                }
            }
            if !self.engine.next_wake().is_some_and(|(at, what)| at <= self.now && what == "pass") {
                return;
            }
        }
    }

    fn commit(&mut self, grant: Grant) {
        let mut placements = Vec::with_capacity(grant.placements.len());
        for part in grant.placements {
            let place = usize::try_from(part.job.0 - 1).unwrap_or(0);
            let agent = self.by_id[&part.agent];
            let cpus = part.slice.total(&self.cpus);
            assert!(self.agents[agent].1 >= cpus * part.slots, "never more than there is");
            self.agents[agent].1 -= cpus * part.slots;
            if self.starts[place].replace(self.now).is_none() {
                self.ends.push(Reverse((self.now + Span::from_secs(self.jobs[place].run_s), place)));
            }
            self.places.entry(place).or_default().push((agent, part.tasks, cpus));
            let run = AttemptRun { job: part.job, tasks: part.tasks, attempt: 1 };
            let (agent, queue, slice, slots) = (part.agent, self.queue.clone(), part.slice, part.slots);
            placements.push(Placement { agent, run, queue, slice, slots });
        }
        self.items.push(FeedItem::Allocated {
            epoch: grant.epoch,
            grant: grant.grant,
            placements,
            at: self.now,
        });
    }
}

/// The mean bounded slowdown, and the mean time from submission to end in seconds.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn figures(jobs: &[LogJob], starts: &[Time]) -> (f64, f64) {
    let response = |(job, start): (&LogJob, &Time)| {
        start.since(at(job.submit_s.unsigned_abs())).as_secs_f64() + job.run_s as f64
    };
    let all = || jobs.iter().zip(starts);
    let slowdown = |(job, start)| (response((job, start)) / job.run_s.max(10) as f64).max(1.0);
    let count = jobs.len() as f64;
    (all().map(slowdown).sum::<f64>() / count, all().map(response).sum::<f64>() / count)
}
