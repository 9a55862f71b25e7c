//! An allocator that means harm: it grants at random, repeats itself, grants what is gone, and lies about who it is and
//! which epoch there is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use allot_model::{
    AgentId, AllocatorMessage, Epoch, FeedItem, FromAllocator, Grant, GrantId, InstanceId, JobId,
    OfferVersion, Placement, PolicyName, PreemptCause, Preemption, Presence, ProposedPlacement, Request,
    Resources, Span, TaskRange, Time, Victim,
};

use crate::allocator::instance_of;
use crate::dice::Dice;
use crate::message::{Message, Party, To};
use crate::process::{Act, Heard, Process};

/// The policy it claims to run.
pub(crate) const CHAOS: &str = "chaos";

/// How much of what it once saw it keeps.
const MOST_KEPT: usize = 64;

pub(crate) struct Adversary {
    me: InstanceId,
    dice: Dice,
    at: Time,
    active: Option<(Epoch, InstanceId)>,
    grant: u64,
    jobs: BTreeMap<JobId, (Request, u32)>,
    /// What runs somewhere, or did.
    placed: VecDeque<Victim>,
    offers: BTreeMap<AgentId, (OfferVersion, Resources)>,
    /// Offers that have been replaced.
    stale: VecDeque<(AgentId, OfferVersion, Resources)>,
    said: VecDeque<AllocatorMessage>,
}

fn keep<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == MOST_KEPT {
        list.pop_front();
    }
    list.push_back(item);
}

impl Adversary {
    pub(crate) fn new(me: Party, dice: Dice) -> Self {
        Self {
            me: instance_of(me),
            dice,
            at: Time::ZERO,
            active: None,
            grant: 0,
            jobs: BTreeMap::new(),
            placed: VecDeque::new(),
            offers: BTreeMap::new(),
            stale: VecDeque::new(),
            said: VecDeque::new(),
        }
    }

    fn learn(&mut self, item: FeedItem) {
        match item {
            FeedItem::Active { epoch, instance } => self.active = Some((epoch, instance)),
            FeedItem::Job(job) => {
                self.jobs.insert(job.job, (job.resources.clone(), job.tasks));
            }
            FeedItem::Allocated { placements, .. } => {
                let victims =
                    placements.into_iter().map(|Placement { agent, run, .. }| Victim { agent, run });
                victims.for_each(|victim| keep(&mut self.placed, victim));
            }
            FeedItem::Offer { agent, version, free, .. } => {
                if let Some((version, free)) = self.offers.insert(agent.clone(), (version, free)) {
                    keep(&mut self.stale, (agent, version, free));
                }
            }
            _ => {}
        }
    }

    fn grant(&mut self) -> Option<AllocatorMessage> {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        let mut offers: Vec<_> =
            self.offers.iter().map(|(id, (version, free))| (id.clone(), *version, free.clone())).collect();
        offers.extend(self.stale.iter().cloned());
        let mut placements = Vec::new();
        for _ in 0..self.dice.count(1, 3) {
            let job = *self.dice.pick(&jobs)?;
            let (agent, version, free) = self.dice.pick(&offers)?.clone();
            let (request, count) = self.jobs.get(&job)?.clone();
            let first = u32::try_from(self.dice.below(count as usize + 1)).unwrap_or(0);
            let tasks = TaskRange { first, last: first + u32::try_from(self.dice.below(3)).unwrap_or(0) };
            let slice = match self.dice.below(8) {
                0 => free,
                1 => request.as_scalars(),
                _ => free.take(&request).unwrap_or_else(|| request.as_scalars()),
            };
            let slots = if self.dice.chance(800) { tasks.count() } else { self.dice.between(0, 4) };
            placements.push(ProposedPlacement { agent, version, job, tasks, slice, slots });
        }
        // Some name the same tasks again.
        if self.dice.chance(150) {
            placements.push(self.dice.pick(&placements)?.clone());
        }
        let (epoch, grant) = self.number();
        Some(AllocatorMessage::Grant(Grant { epoch, grant, placements }))
    }

    fn number(&mut self) -> (Epoch, GrantId) {
        let present = self.active.as_ref().map_or(Epoch(1), |(epoch, _)| *epoch);
        let epoch = match self.dice.below(8) {
            0 => Epoch(present.0 + 1),
            1 => Epoch(present.0.saturating_sub(1)),
            _ => present,
        };
        // Numbers that others use, too.
        self.grant += self.dice.between(0, 1);
        (epoch, GrantId(self.grant))
    }

    /// Anybody is to be stopped for anybody.
    fn preempt(&mut self) -> Option<AllocatorMessage> {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        let job = *self.dice.pick(&jobs)?;
        let mut victims = Vec::new();
        for _ in 0..self.dice.count(1, 2) {
            let mut victim = self.placed.get(self.dice.below(self.placed.len()))?.clone();
            let tasks = &mut victim.run.tasks;
            match self.dice.below(8) {
                0 => tasks.last += 1,
                1 => victim.run.attempt += 1,
                2..6 => *tasks = TaskRange::one(tasks.first),
                _ => {}
            }
            victims.push(victim);
        }
        let agent = victims.first()?.agent.clone();
        let cause = if self.dice.chance(700) { PreemptCause::Priority } else { PreemptCause::Guarantee };
        let (epoch, grant) = self.number();
        Some(AllocatorMessage::Preempt(Preemption { epoch, grant, job, agent, cause, victims }))
    }

    fn say_something(&mut self) -> Option<AllocatorMessage> {
        let presence = Presence::of(PolicyName::new(CHAOS).ok()?);
        let epoch = self.active.as_ref().map_or(Epoch(1), |(epoch, _)| *epoch);
        match self.dice.below(14) {
            0 => Some(AllocatorMessage::Hello(presence)),
            1..4 => Some(AllocatorMessage::Beat(presence)),
            4 => self.dice.chance(200).then_some(AllocatorMessage::Goodbye),
            5 => Some(AllocatorMessage::Revive { epoch }),
            6 => {
                let offers: Vec<_> =
                    self.offers.iter().map(|(id, (version, _))| (id.clone(), *version)).collect();
                let (agent, version) = self.dice.pick(&offers)?.clone();
                let filter = self.dice.span(Span::from_millis(1), Span::from_secs(30));
                Some(AllocatorMessage::Decline { epoch, agent, version, filter, reason: String::new() })
            }
            7 => self.said.get(self.dice.below(self.said.len())).cloned(),
            8..10 => self.preempt(),
            _ => self.grant(),
        }
    }
}

impl Process for Adversary {
    fn boot(&mut self, now: Time, acts: &mut Vec<Act>) {
        self.at = now;
        self.wake(now, acts);
    }

    fn hear(&mut self, _now: Time, heard: Heard, _acts: &mut Vec<Act>) {
        if let Heard::Message(_, message) = heard
            && let Message::Feed(feed) = Arc::unwrap_or_clone(message)
        {
            feed.items.into_iter().for_each(|item| self.learn(item));
        }
    }

    fn wake(&mut self, now: Time, acts: &mut Vec<Act>) {
        if self.at > now {
            return;
        }
        self.at = now + self.dice.span(Span::from_millis(5), Span::from_millis(800));
        let mut messages = Vec::new();
        for _ in 0..self.dice.count(1, 3) {
            let Some(message) = self.say_something() else { continue };
            keep(&mut self.said, message.clone());
            messages.push(message);
        }
        // Mostly under its own name, sometimes under that of the one that decides.
        let other =
            self.active.as_ref().map(|(_, instance)| instance.clone()).filter(|_| self.dice.chance(150));
        let instance = other.unwrap_or_else(|| self.me.clone());
        acts.push(Act::Send(To::Offers, Message::Allocator(FromAllocator { instance, messages })));
    }

    fn next_wake(&self) -> Option<Time> {
        Some(self.at)
    }
}
