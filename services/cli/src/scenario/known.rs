//! What the conductor knows of the pool, from the feed and from what the allocators say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_model::{
    AgentId, AllocatorMessage, Epoch, Feed, FeedItem, FromAllocator, GrantId, InstanceId, JobId, Placement,
    PoolAgent, Preemption, QueueGuarantee, QueueLimit, QueueName, TaskRange, TaskSet,
};

/// What a queue is entitled to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entitled {
    pub(super) weight: u32,
    pub(super) limit: QueueLimit,
    pub(super) guarantee: QueueGuarantee,
}

impl Default for Entitled {
    fn default() -> Self {
        Self { weight: 1, limit: QueueLimit::default(), guarantee: QueueGuarantee::default() }
    }
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    at: (Epoch, u64),
    active: Option<(Epoch, InstanceId)>,
    /// The queues that were named.
    queues: BTreeMap<QueueName, Entitled>,
    waiting: BTreeMap<JobId, TaskSet>,
    pub(super) agents: BTreeMap<AgentId, Arc<PoolAgent>>,
    offered: BTreeSet<AgentId>,
    /// Where tasks hold something.
    held: BTreeMap<JobId, BTreeMap<u32, AgentId>>,
    /// What was placed since the beginning, in order.
    pub(super) placed: Vec<Placement>,
    /// What was refused, in words.
    pub(super) refused: Vec<String>,
    /// Grants that were not answered yet.
    flight: BTreeSet<(Epoch, GrantId)>,
    /// Beats of the allocator that decides since anything happened.
    pub(super) beats: u32,
}

impl Known {
    /// Learns a part of the account.
    pub(super) fn learn(&mut self, part: Feed) {
        self.at = (part.session, part.sequence);
        part.items.into_iter().for_each(|item| self.apply(item));
        self.placed.clear();
    }

    /// Hears what all are told; false where something was missed.
    pub(super) fn hear(&mut self, feed: Feed) -> bool {
        let place = (feed.session, feed.sequence);
        if place <= self.at {
            return true;
        }
        let follows = place == (self.at.0, self.at.1 + 1);
        self.at = place;
        feed.items.into_iter().for_each(|item| self.apply(item));
        follows
    }

    /// Overhears what an allocator says.
    pub(super) fn overhear(&mut self, said: &FromAllocator) {
        if !self.decides(&said.instance) {
            return;
        }
        for message in &said.messages {
            match message {
                AllocatorMessage::Grant(grant) => {
                    self.flight.insert((grant.epoch, grant.grant));
                    self.beats = 0;
                }
                AllocatorMessage::Preempt(Preemption { epoch, grant, .. }) => {
                    self.flight.insert((*epoch, *grant));
                    self.beats = 0;
                }
                AllocatorMessage::Beat { .. } if self.flight.is_empty() => self.beats += 1,
                _ => {}
            }
        }
    }

    fn apply(&mut self, item: FeedItem) {
        if !matches!(item, FeedItem::Offer { .. }) {
            self.beats = 0;
        }
        match item {
            FeedItem::Active { epoch, instance } => self.active = Some((epoch, instance)),
            FeedItem::Queue { queue, weight, limit, guarantee } => {
                self.queues.insert(queue, Entitled { weight, limit, guarantee });
            }
            FeedItem::Pending { job, tasks } => self.waiting.entry(job).or_default().insert(tasks),
            FeedItem::Withdrawn { job, tasks } => self.waits_no_more(job, tasks),
            FeedItem::JobEnded { job } => {
                self.waiting.remove(&job);
            }
            FeedItem::Agent(agent) => {
                self.agents.insert(agent.agent.clone(), agent);
            }
            FeedItem::AgentLeft { agent } => {
                self.offered.remove(&agent);
                self.agents.remove(&agent);
            }
            FeedItem::Offer { agent, .. } => {
                self.offered.insert(agent);
            }
            FeedItem::Rescinded { agent } => {
                self.offered.remove(&agent);
            }
            FeedItem::Allocated { epoch, grant, placements, .. } => {
                self.flight.remove(&(epoch, grant));
                placements.into_iter().for_each(|placement| self.on_placed(placement));
            }
            FeedItem::Released { job, tasks, .. } => {
                let held = self.held.entry(job).or_default();
                tasks.indexes().for_each(|task| drop(held.remove(&task)));
            }
            FeedItem::Refused { epoch, grant, message, .. } => {
                if self.flight.remove(&(epoch, grant)) {
                    self.refused.push(message);
                }
            }
            FeedItem::Preempted(Preemption { epoch, grant, .. }) => {
                self.flight.remove(&(epoch, grant));
            }
            FeedItem::Job(_) => {}
        }
    }

    fn on_placed(&mut self, placement: Placement) {
        self.waits_no_more(placement.run.job, placement.run.tasks);
        let held = self.held.entry(placement.run.job).or_default();
        held.extend(placement.run.tasks.indexes().map(|task| (task, placement.agent.clone())));
        self.placed.push(placement);
    }

    fn waits_no_more(&mut self, job: JobId, tasks: TaskRange) {
        if let Some(waiting) = self.waiting.get_mut(&job) {
            waiting.remove(tasks);
        }
    }

    /// True where this is the allocator that decides.
    pub(super) fn decides(&self, instance: &InstanceId) -> bool {
        self.active.as_ref().is_some_and(|(_, active)| active == instance)
    }

    /// Whether anything waits.
    pub(super) fn anything_waits(&self) -> bool {
        self.waiting.values().any(|tasks| !tasks.is_empty())
    }

    /// How many tasks of a job wait.
    pub(super) fn waiting(&self, job: JobId) -> u64 {
        self.waiting.get(&job).map_or(0, TaskSet::count)
    }

    /// The tasks of a job that hold something.
    pub(super) fn held(&self, job: JobId) -> impl Iterator<Item = (u32, &AgentId)> {
        self.held.get(&job).into_iter().flatten().map(|(task, agent)| (*task, agent))
    }

    /// How many tasks hold something on an agent.
    pub(super) fn held_on(&self, agent: &AgentId) -> usize {
        self.held.values().flat_map(BTreeMap::values).filter(|on| *on == agent).count()
    }

    /// Whether an agent is on offer.
    pub(super) fn is_offered(&self, agent: &AgentId) -> bool {
        self.offered.contains(agent)
    }

    /// Whether a queue is entitled to this.
    pub(super) fn is_entitled(&self, queue: &QueueName, to: &Entitled) -> bool {
        self.queues.get(queue).map_or(*to == Entitled::default(), |told| told == to)
    }
}
