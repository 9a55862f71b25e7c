//! The offers service as a pure state machine: it alone commits an allocation, and makes and takes back offers.
//!
//! It follows the registry (which agents there are) and the dispatcher (which tasks wait, which ended), tells the
//! allocators of the pool what is free and wanted, and checks their grants one by one against what is really so.

mod accounts;
mod agents;
mod allocators;
mod check;
mod demand;
mod feed;
mod fold;
mod limits;
mod minimum;
mod preempt;
mod snapshot;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{
    AccountQuery, AgentId, AgentUse, AgentsQuery, AllocatorMessage, Answer, Core, Done, Entry, Epoch, Feed,
    FeedItem, FromAllocator, Grant, InstanceId, OfferCounts, OfferVersion, OffersRecord, PerMinute,
    PolicyUseCommand, PolicyView, PreemptRules, QueueView, Record, Refusal, RefusalCode, ReplyTo, Span,
    StateItem, Time,
};

use accounts::Accounts;
use agents::{Agents, Filter, Standing};
use allocators::{Allocators, Runs};
use demand::Demand;
pub use minimum::Minimum;
use preempt::Preemptions;

/// Everything that can happen to the offers service.
#[derive(Debug, Clone)]
pub enum Input {
    /// A piece of a snapshot; they come before anything else.
    Restore(StateItem),
    /// A record of any writer from before this instance took over.
    Replay(Entry),
    /// A record of another writer.
    Ledger(Entry),
    /// Replay is over: this instance writes from now on.
    Resume {
        /// Its generation.
        epoch: Epoch,
    },
    /// An allocator said something; a hello comes with a reply subject.
    Allocator {
        /// Where the answer to a hello goes.
        reply: Option<ReplyTo>,
        /// What it said.
        message: FromAllocator,
    },
    /// Someone asks for an account of everything, as an allocator does with its hello.
    ShowAccount(ReplyTo, AccountQuery),
    /// Someone asks for the use of agents.
    ShowUsage(ReplyTo, AgentsQuery),
    /// Someone asks for the queues.
    ShowQueues(ReplyTo),
    /// Someone asks who decides.
    ShowPolicy(ReplyTo),
    /// An operator chooses a policy.
    UsePolicy {
        /// Where the answer goes.
        reply: ReplyTo,
        /// Which.
        command: PolicyUseCommand,
    },
}

/// Everything the offers service can want done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Append this record; what follows waits for it.
    Append(Record),
    /// Tell all allocators of the pool.
    Feed(Feed),
    /// Tell one allocator, or who else asked, everything: a part of the answer.
    Sync(ReplyTo, Feed),
    /// Refuse to tell everything.
    NoAccount(ReplyTo, Refusal),
    /// Answer a question.
    Usage(ReplyTo, Answer<Vec<AgentUse>>),
    /// Answer a question.
    Queues(ReplyTo, Answer<Vec<QueueView>>),
    /// Answer a question.
    Policy(ReplyTo, Answer<PolicyView>),
    /// Answer a command.
    Done(ReplyTo, Answer<Done>),
}

/// What may be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long an offer stands unless it is renewed.
    pub offer_ttl: Span,
    /// What has to be free on an agent to be offered.
    pub minimum: Minimum,
    /// Which preemptions are committed: none unless it says so.
    pub preempt: PreemptRules,
}

impl Default for Options {
    fn default() -> Self {
        Self { offer_ttl: Span::from_secs(10), minimum: Minimum::default(), preempt: PreemptRules::default() }
    }
}

/// How often the feed says something, so that a gap is noticed.
const FEED_AT_LEAST_EVERY: Span = Span::from_secs(1);

/// The offers service.
#[derive(Debug, Clone)]
pub struct OffersCore {
    options: Options,
    agents: Agents,
    demand: Demand,
    allocators: Allocators,
    preemptions: Preemptions,
    /// This instance's generation; nothing until it writes.
    epoch: Option<Epoch>,
    /// Soft: agents whose offer may have to change.
    dirty: BTreeSet<AgentId>,
    /// Soft: what to tell the allocators next.
    news: Vec<FeedItem>,
    /// Soft: when offers are to be renewed.
    renewals: BTreeSet<(Time, AgentId)>,
    /// Soft: when filters end.
    filters: BTreeSet<(Time, AgentId)>,
    sequence: u64,
    last_version: u64,
    last_feed_at: Time,
    counts: OfferCounts,
    /// Soft: how many tasks were to be stopped for others of late.
    preempted: PerMinute,
    /// Soft: who is being told everything.
    accounts: Accounts,
}

impl OffersCore {
    /// A service that knows nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            preempted: PerMinute::new(options.preempt.rate),
            options,
            agents: BTreeMap::new(),
            demand: Demand::default(),
            allocators: Allocators::default(),
            preemptions: Preemptions::default(),
            epoch: None,
            dirty: BTreeSet::new(),
            news: Vec::new(),
            renewals: BTreeSet::new(),
            filters: BTreeSet::new(),
            sequence: 0,
            last_version: 0,
            last_feed_at: Time::ZERO,
            counts: OfferCounts::default(),
            accounts: Accounts::default(),
        }
    }

    /// How often things happened since this instance took over.
    #[must_use]
    pub fn counts(&self) -> OfferCounts {
        let filters = self.agents.values().filter(|agent| agent.filter.is_some());
        OfferCounts { filters_active: u64::try_from(filters.count()).unwrap_or(u64::MAX), ..self.counts }
    }

    /// Tells the allocators, if anybody listens to this instance yet.
    fn say(&mut self, item: FeedItem) {
        if self.epoch.is_some() {
            self.news.push(item);
        }
    }

    fn append(&mut self, now: Time, record: OffersRecord, out: &mut Vec<Output>) {
        let entry = Entry { at: now, record: Record::Offers(record) };
        self.fold(&entry);
        out.push(Output::Append(entry.record));
    }

    fn on_resume(&mut self, now: Time, epoch: Epoch, out: &mut Vec<Output>) {
        self.epoch = Some(epoch);
        self.sequence = 0;
        // Versions grow across lives of the service: an allocator may still hold an offer of the last one.
        self.last_version = epoch.0 << 32;
        self.allocators.resume(now);
        self.dirty = self.agents.keys().cloned().collect();
        self.flush(now, true, out);
    }

    fn on_allocator(
        &mut self,
        now: Time,
        reply: Option<ReplyTo>,
        said: FromAllocator,
        out: &mut Vec<Output>,
    ) {
        // However often it says hello in one message, it is told everything once.
        let mut greeted = false;
        for message in said.messages {
            match message {
                AllocatorMessage::Hello(presence) => {
                    self.allocators.heard(now, &said.instance, presence);
                    self.elect(now, out);
                    if let Some(reply) = reply.as_ref().filter(|_| !greeted) {
                        self.greet(now, &said.instance, reply, out);
                        greeted = true;
                    }
                }
                AllocatorMessage::Beat(presence) => {
                    self.allocators.heard(now, &said.instance, presence);
                    self.elect(now, out);
                }
                AllocatorMessage::Goodbye => {
                    self.allocators.gone(&said.instance);
                    self.elect(now, out);
                }
                AllocatorMessage::Grant(grant) => self.on_grant(now, &said.instance, grant, out),
                AllocatorMessage::Preempt(preemption) => {
                    self.on_preempt(now, &said.instance, preemption, out);
                }
                AllocatorMessage::Decline { epoch, agent, version, filter, .. } => {
                    if self.allocators.is_active(epoch, &said.instance) {
                        self.on_decline(now, &agent, version, filter);
                    }
                }
                AllocatorMessage::Revive { epoch } => {
                    if self.allocators.is_active(epoch, &said.instance) {
                        self.drop_filters();
                    }
                }
            }
        }
    }

    /// Hands over to another allocator where that is due.
    fn elect(&mut self, now: Time, out: &mut Vec<Output>) {
        self.allocators.forget_silent(now);
        let Some((instance, policy)) = self.allocators.successor() else { return };
        let epoch = Epoch(self.allocators.epoch().0 + 1);
        self.append(now, OffersRecord::AllocatorActivated { epoch, instance: instance.clone(), policy }, out);
        self.say(FeedItem::Active { epoch, instance });
        self.drop_filters();
    }

    fn on_grant(&mut self, now: Time, instance: &InstanceId, grant: Grant, out: &mut Vec<Output>) {
        let (epoch, number) = (grant.epoch, grant.grant);
        match self.check(instance, &grant) {
            Ok(placements) => {
                self.counts.grants_accepted += 1;
                let record = OffersRecord::Allocated { epoch, grant: number, placements: placements.clone() };
                self.append(now, record, out);
                self.say(FeedItem::Allocated { epoch, grant: number, placements, at: now });
            }
            Err(refusal) => {
                self.counts.grants_refused += 1;
                let (code, message) = (refusal.code, refusal.message);
                self.say(FeedItem::Refused { epoch, grant: number, code, message });
            }
        }
    }

    fn on_decline(&mut self, now: Time, id: &AgentId, version: OfferVersion, length: Span) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        if agent.version != version || agent.offered_until.is_none() {
            return;
        }
        let until = now + length;
        agent.filter = Some(Filter { until, size: agent.free.clone() });
        agent.offered_until = None;
        self.filters.insert((until, id.clone()));
        self.counts.offers_declined += 1;
        self.say(FeedItem::Rescinded { agent: id.clone() });
    }

    fn drop_filters(&mut self) {
        for (id, agent) in &mut self.agents {
            if agent.filter.take().is_some() {
                self.dirty.insert(id.clone());
            }
        }
        self.filters.clear();
    }

    fn on_use_policy(&mut self, now: Time, reply: ReplyTo, command: PolicyUseCommand, out: &mut Vec<Output>) {
        let policy = command.policy;
        if self.allocators.chosen.as_ref() != Some(&policy) {
            self.append(now, OffersRecord::PolicyChosen { policy: policy.clone() }, out);
        }
        self.elect(now, out);
        let message = match self.allocators.runs(&policy) {
            Runs::Standby => format!("policy {policy} decides from now on"),
            Runs::Shadow => format!(
                "policy {policy} is chosen; the allocator that runs it is a shadow, which never decides, so start one \
                 with mode=standby: until then the present one goes on"
            ),
            Runs::Nobody => format!(
                "policy {policy} is chosen; no allocator that runs it is there yet, so start one: until then the present \
                 one goes on"
            ),
        };
        out.push(Output::Done(reply, Answer::Ok(Done { message })));
    }

    /// Makes, renews and takes back offers as the agents' present state wants it.
    fn refresh_offers(&mut self, now: Time) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(agent) = self.agents.get_mut(&id) else { continue };
            let was_offered = agent.offered_until.take().is_some();
            let is_taken = std::mem::take(&mut agent.is_taken);
            match agent.offerable(now).filter(|free| self.options.minimum.is_met(free)) {
                Some(free) => {
                    self.last_version += 1;
                    agent.version = OfferVersion(self.last_version);
                    self.counts.offers_sent += 1;
                    self.offer(now, id, free);
                }
                None if was_offered => {
                    self.counts.offers_rescinded += u64::from(!is_taken);
                    self.say(FeedItem::Rescinded { agent: id });
                }
                None => {}
            }
        }
    }

    fn offer(&mut self, now: Time, id: AgentId, free: allot_model::Resources) {
        let ttl = self.options.offer_ttl;
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.offered_until = Some(now + ttl);
        let version = agent.version;
        self.renewals.insert((now + Span::from_micros(ttl.as_micros() / 2), id.clone()));
        self.say(FeedItem::Offer { agent: id, version, free, ttl });
    }

    /// Renews unanswered offers whose time is half over.
    fn renew_offers(&mut self, now: Time) {
        while let Some((at, id)) = self.renewals.first().cloned()
            && at <= now
        {
            self.renewals.pop_first();
            let half = Span::from_micros(self.options.offer_ttl.as_micros() / 2);
            let due = |agent: &&agents::Agent| agent.offered_until.is_some_and(|until| until <= now + half);
            let Some(free) = self.agents.get(&id).filter(due).map(|agent| agent.free.clone()) else {
                continue;
            };
            self.counts.offers_renewed += 1;
            self.offer(now, id, free);
        }
    }

    fn end_filters(&mut self, now: Time) {
        while let Some((at, id)) = self.filters.first().cloned()
            && at <= now
        {
            self.filters.pop_first();
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.filter.take_if(|filter| filter.until <= now);
            }
            self.dirty.insert(id);
        }
    }

    /// Checks every cross-reference; for tests and the simulator.
    ///
    /// # Panics
    /// Where something does not add up.
    pub fn sanity_check(&self) {
        let mut running = BTreeMap::new();
        let mut pending = BTreeMap::new();
        for (id, agent) in &self.agents {
            assert_eq!(agent.sum_of_held().as_ref(), Some(&agent.allocated), "allocations of {id}");
            assert!(agent.facts.resources.contains(&agent.free), "{id} has more free than it has");
            for (_, _, held, slots) in agent.runs() {
                *running.entry(&held.queue).or_insert(0) += slots;
            }
            let offerable = agent.standing == Standing::Ready || self.dirty.contains(id);
            assert!(agent.offered_until.is_none() || offerable, "{id} is on offer");
        }
        for job in self.demand.jobs.values() {
            *pending.entry(&job.pool.queue).or_insert(0) += job.pending.count();
        }
        for (queue, held) in self.demand.limits.iter() {
            assert_eq!(*held, self.demand.holding(queue), "what {queue} and those below it hold");
        }
        for (queue, account) in &self.demand.queues {
            assert_eq!(account.running, running.get(queue).copied().unwrap_or(0), "running of {queue}");
            assert_eq!(account.pending, pending.get(queue).copied().unwrap_or(0), "pending of {queue}");
        }
    }

    /// True where the durable state of both is the same.
    #[must_use]
    pub fn same_state(&self, other: &Self) -> bool {
        let agents = |core: &Self| -> Vec<_> {
            let part = |a: &agents::Agent| {
                (a.facts.clone(), a.standing, a.free.clone(), a.held.clone(), a.turns.clone())
            };
            core.agents.values().map(part).collect()
        };
        agents(self) == agents(other)
            && self.demand.is_same(&other.demand)
            && self.preemptions == other.preemptions
            && self.allocators.active == other.allocators.active
            && self.allocators.chosen == other.allocators.chosen
    }
}

impl Core for OffersCore {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Restore(item) => self.restore(item),
            Input::Replay(entry) | Input::Ledger(entry) => self.fold(&entry),
            Input::Resume { epoch } => self.on_resume(now, epoch, out),
            Input::Allocator { reply, message } => self.on_allocator(now, reply, message, out),
            Input::ShowAccount(reply, query) => self.on_show_account(now, &reply, query, out),
            Input::ShowUsage(reply, query) => {
                out.push(Output::Usage(reply, Answer::Ok(self.usage(&query))));
            }
            Input::ShowQueues(reply) => out.push(Output::Queues(reply, Answer::Ok(self.queue_views()))),
            Input::ShowPolicy(reply) => out.push(Output::Policy(
                reply,
                Answer::Ok(self.allocators.view(self.counts(), self.options.preempt)),
            )),
            Input::UsePolicy { reply, command } => self.on_use_policy(now, reply, command, out),
        }
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.epoch.is_none() {
            return;
        }
        self.elect(now, out);
        self.end_filters(now);
        self.renew_offers(now);
        self.flush(now, now.since(self.last_feed_at) >= FEED_AT_LEAST_EVERY, out);
        self.accounts.go_on(now, out);
    }

    fn next_wake(&self) -> Option<(Time, &'static str)> {
        self.epoch?;
        if !self.news.is_empty() || !self.dirty.is_empty() {
            return Some((Time::ZERO, "tell the allocators"));
        }
        let timers = [
            self.allocators.next_silence().map(|at| (at, "an allocator may be silent")),
            self.filters.first().map(|(at, _)| (*at, "a filter ends")),
            self.renewals.first().map(|(at, _)| (*at, "an offer is to be renewed")),
            Some((self.last_feed_at + FEED_AT_LEAST_EVERY, "show that the feed goes on")),
            self.accounts.next().map(|at| (at, "go on with an account")),
        ];
        timers.into_iter().flatten().min()
    }
}

/// Why a grant is refused.
pub(crate) struct GrantRefusal {
    pub(crate) code: RefusalCode,
    pub(crate) message: String,
}
