//! The engine: the protocol with the offers service around the decisions of a pass.

use allot_model::{
    AllocatorMessage, AllocatorMode, BEAT_EVERY, Core, Epoch, Feed, FeedItem, Grant, GrantId, InstanceId,
    JobId, Placement, Presence, QueueName, RefusalCode, SetAside, Span, Time, WhyView,
};

use crate::branch::Settings;
use crate::flight::{Flight, Unanswered};
use crate::policy::Policy;
use crate::pool::Pool;
use crate::session::{Apply, Session};

/// How long a grant may be without an answer before a full account is asked for.
const ANSWER_WITHIN: Span = Span::from_secs(5);

/// The generation in which a shadow grants what it only would: no allocator ever decides in it.
const REHEARSAL: Epoch = Epoch(u64::MAX);

/// How long a job is set aside whose grant was refused for a reason that waiting for an offer does not mend.
const HELD_FOR: Span = Span::from_secs(5);

/// What can happen to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A message of the offers service, to all or in answer to a hello. May come twice, late or never.
    Feed(Feed),
    /// A message of the offers service that cannot be read.
    Unreadable,
}

/// What an engine wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask for a full account with [`AllocatorMessage::Hello`], as a request.
    Hello,
    /// Tell the offers service.
    Say(AllocatorMessage),
}

/// What a shadow took in of the feed, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// All that was known is forgotten, and told again.
    Reset,
    /// Something changed, or is told.
    Item(FeedItem),
}

/// Bounds on what an engine does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Grants of one pass; the next pass goes on where it left off.
    pub grants_per_pass: usize,
    /// Decisions of one pass, of which many may make one grant.
    pub decisions_per_pass: usize,
    /// Grants without an answer; beyond that it waits for answers.
    pub unanswered: usize,
    /// About how long a slot that is granted to a job is busy with its tasks, where these are shorter than that: they
    /// take turns there, and nobody else gets it meanwhile. Up to three tasks may take eight times as long. Zero has
    /// every task granted by itself.
    pub ahead: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grants_per_pass: 2_000,
            decisions_per_pass: 50_000,
            unanswered: 20_000,
            ahead: Span::from_millis(25),
        }
    }
}

/// Follows the feed of a pool and, while it is the active allocator, answers offers with grants as its policy says.
///
/// Messages only change what it knows. Decisions are made in [`Core::wake`], which is due at once after a message:
/// a shell hands over all messages that are ready and then wakes it, so that one pass sees them all.
#[derive(Debug, Clone)]
pub struct Engine {
    me: InstanceId,
    policy: Policy,
    /// The policy in words: it is said in every beat.
    described: String,
    limits: Limits,
    session: Session,
    pub(crate) pool: Pool,
    pub(crate) flight: Flight,
    /// The generation it decides in, where it is the active allocator.
    active: Option<Epoch>,
    /// True once limits have made it necessary to tell queues apart that stand in one line.
    apart: bool,
    beat_at: Time,
    /// Since when there may be something to decide.
    work_since: Option<Time>,
    /// What a shadow has taken in, until someone takes it; nothing where it is none.
    heard: Option<Vec<Heard>>,
    /// Offers of the message that is being applied; kept so that its room is used again.
    offers: Vec<FeedItem>,
}

impl Engine {
    /// An engine that knows nothing yet and says hello when first woken.
    #[must_use]
    pub fn new(me: InstanceId, policy: Policy) -> Self {
        Self::with_limits(me, policy, Limits::default())
    }

    /// An engine with other bounds than the default.
    #[must_use]
    pub fn with_limits(me: InstanceId, policy: Policy, limits: Limits) -> Self {
        let (session, pool, flight) = (Session::new(), Pool::new(&policy, false), Flight::new());
        Self {
            me,
            described: policy.to_string(),
            policy,
            limits,
            session,
            pool,
            flight,
            active: None,
            apart: false,
            beat_at: Time::ZERO,
            work_since: None,
            heard: None,
            offers: Vec::new(),
        }
    }

    /// An engine that follows and never decides, but tells what it takes in, and what it would grant.
    #[must_use]
    pub fn shadow(me: InstanceId, policy: Policy, limits: Limits) -> Self {
        Self { heard: Some(Vec::new()), ..Self::with_limits(me, policy, limits) }
    }

    /// The policy it decides by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it says of itself.
    #[must_use]
    pub fn presence(&self) -> Presence {
        let described = Some(self.described.clone());
        let mode = if self.heard.is_some() { AllocatorMode::Shadow } else { AllocatorMode::Standby };
        Presence { policy: self.policy.name.clone(), mode, described }
    }

    /// What a shadow has taken in since this was asked last.
    pub fn take_heard(&mut self) -> Vec<Heard> {
        self.heard.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What it would grant now, if it decided. All of it is taken back at once: nothing counts as granted for it.
    #[must_use]
    pub fn rehearse(&mut self, now: Time) -> Vec<Grant> {
        if !self.session.is_following() {
            return Vec::new();
        }
        self.pool.advance(now);
        let (mut out, rate) = (Vec::new(), self.pool.preempting.rate.clone());
        crate::pass::run(&mut self.pool, &mut self.flight, &self.limits, REHEARSAL, now, &mut out);
        self.pool.give_up_all(REHEARSAL);
        self.pool.preempting.rate = rate;
        let mut grants = Vec::new();
        for output in out {
            let Output::Say(AllocatorMessage::Grant(grant)) = output else { continue };
            if let Some(unanswered) = self.flight.remove(grant.grant.0, REHEARSAL) {
                self.pool.on_refused(&unanswered, grant.grant.0);
            }
            grants.push(grant);
        }
        grants
    }

    /// True where it knows the state of the pool.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.session.is_following()
    }

    /// True where it knows the state of the pool and is the allocator that decides.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.acting().is_some()
    }

    /// Why tasks of a job that wait have no place: worked out when someone asks, with one look at each agent and at
    /// each job before it. Nothing where the job is not known.
    #[must_use]
    pub fn explain(&mut self, job: JobId) -> Option<WhyView> {
        self.pool.refresh(&self.flight);
        crate::explain::explain(&self.pool, &self.policy, job)
    }

    /// The queues with waiting tasks in the order in which they are preferred. One nameless place where the policy
    /// has all stand in one line and none has a limit.
    #[must_use]
    pub fn queue_order(&mut self) -> Vec<Option<QueueName>> {
        self.pool.refresh(&self.flight);
        let queues = &self.pool.backlog.queues;
        queues
            .lanes_in_order(&self.pool.shapes)
            .into_iter()
            .map(|lane| queues.lane(lane).queue.clone())
            .collect()
    }

    fn acting(&self) -> Option<Epoch> {
        self.active.filter(|_| self.session.is_following())
    }

    /// When there is next something to decide, other than because of a message that is yet to come. A driver in whose
    /// world nothing is lost, such as a simulator, need not wake it at any other time.
    #[must_use]
    pub fn next_decision(&self) -> Option<Time> {
        let times = [
            self.next_pass(),
            self.pool.backlog.next_release(),
            self.next_step(),
            self.next_look(),
            self.next_search(),
        ];
        times.into_iter().flatten().min()
    }

    /// Decides what there is to decide: [`Core::wake`] without what is only of use where messages can be lost.
    pub fn decide(&mut self, now: Time, out: &mut Vec<Output>) {
        self.pool.advance(now);
        if self.pool.backlog.next_release().is_some_and(|at| at <= now) {
            self.pool.backlog.unhold(now);
            self.work_since.get_or_insert(now);
        }
        if [self.next_step(), self.next_look(), self.next_search()].into_iter().flatten().any(|at| at <= now)
        {
            self.work_since.get_or_insert(now);
        }
        if let (Some(_), Some(epoch)) = (self.work_since, self.acting()) {
            self.work_since =
                crate::pass::run(&mut self.pool, &mut self.flight, &self.limits, epoch, now, out);
        }
    }

    /// When a priority ages with which something may be placed that could not be before.
    fn next_step(&self) -> Option<Time> {
        self.pool.backlog.next_step().filter(|_| self.is_active())
    }

    /// When to search next for what could be stopped for others.
    fn next_search(&self) -> Option<Time> {
        self.pool.next_search().filter(|_| self.is_active())
    }

    /// Takes a message of the feed as [`Input::Feed`] does, and leaves its list of items empty, to be filled again: for
    /// drivers in the same process.
    pub fn follow(&mut self, now: Time, feed: &mut Feed) {
        self.pool.advance(now);
        if self.session.follows(feed) {
            self.on_items(now, &mut feed.items);
            return;
        }
        let items = std::mem::take(&mut feed.items);
        for change in self.session.take(now, Feed { items, ..feed.clone() }) {
            self.apply(now, change);
        }
    }

    fn apply(&mut self, now: Time, change: Apply) {
        match change {
            Apply::Reset => {
                self.heard.iter_mut().for_each(|heard| heard.push(Heard::Reset));
                let memory = self.pool.remember();
                self.pool = Pool::new(&self.policy, self.apart);
                self.pool.recall(memory);
                self.flight.clear();
                self.active = None;
            }
            Apply::Items(mut items) => self.on_items(now, &mut items),
        }
        self.work_since.get_or_insert(now);
    }

    /// Offers tell what is left after everything else in the message, so they come last, wherever they stand.
    fn on_items(&mut self, now: Time, items: &mut Vec<FeedItem>) {
        let mut offers = std::mem::take(&mut self.offers);
        for item in items.drain(..) {
            if matches!(item, FeedItem::Offer { .. } | FeedItem::Rescinded { .. }) {
                offers.push(item);
            } else {
                self.take(now, item);
            }
        }
        offers.drain(..).for_each(|offer| self.take(now, offer));
        self.offers = offers;
    }

    fn take(&mut self, now: Time, item: FeedItem) {
        if self.may_open(&item) {
            self.work_since.get_or_insert(now);
        }
        self.on_item(now, item);
    }

    /// True where there may be something to decide because of this. That a grant of this engine was committed changes
    /// nothing, as it counted as taken already, unless it waited for answers.
    fn may_open(&self, item: &FeedItem) -> bool {
        match item {
            FeedItem::Allocated { epoch, grant, .. } => {
                let expected = self.flight.get(grant.0).is_some_and(|own| own.epoch == *epoch);
                !expected || self.flight.count() >= self.limits.unanswered
            }
            _ => true,
        }
    }

    fn on_item(&mut self, now: Time, item: FeedItem) {
        self.heard.iter_mut().for_each(|heard| heard.push(Heard::Item(item.clone())));
        match item {
            FeedItem::Active { epoch, instance } => {
                self.active = (instance == self.me && self.heard.is_none()).then_some(epoch);
            }
            FeedItem::Queue { queue, weight, limit, guarantee } => {
                if !self.pool.on_queue(&queue, weight, Settings { limit, guarantee }) {
                    self.apart = true;
                    self.session.ask(now);
                }
            }
            FeedItem::Job(job) => self.pool.on_job(&job),
            FeedItem::Pending { job, tasks } => self.pool.on_pending(job, tasks),
            FeedItem::Withdrawn { job, tasks } => self.pool.on_withdrawn(job, tasks),
            FeedItem::JobEnded { job } => self.pool.on_job_ended(job),
            FeedItem::Agent(facts) => self.pool.on_agent(facts, now),
            FeedItem::AgentLeft { agent } => self.pool.on_agent_left(&agent, &mut self.flight),
            FeedItem::Offer { agent, version, free, ttl } => {
                let Pool { fleet, dims, .. } = &mut self.pool;
                fleet.offer(&agent, version, &free, now + ttl, dims);
                self.pool.preempting.on_offer(&agent);
            }
            FeedItem::Rescinded { agent } => {
                let fleet = &mut self.pool.fleet;
                fleet.find(&agent).into_iter().for_each(|slot| fleet.rescind(slot));
                self.pool.preempting.on_offer(&agent);
            }
            FeedItem::Allocated { epoch, grant, placements, at } => {
                self.on_allocated((epoch, grant), &placements, (at, now));
                self.pool.preempting.on_allocated(&placements, at, &mut self.pool.dims);
            }
            FeedItem::Released { agent, job, tasks, queue, slice, slots, ran } => {
                self.pool.preempting.on_released(&agent, job, tasks);
                self.pool.on_released((&agent, job, tasks), &queue, &slice, slots);
                ran.into_iter().for_each(|ran| self.pool.backlog.note_run(job, ran));
            }
            FeedItem::Preempted(preemption) => self.pool.on_preempted(preemption),
            FeedItem::Refused { epoch, grant, code, .. } => self.on_refused(now, epoch, grant, code),
        }
    }

    fn on_allocated(
        &mut self,
        (epoch, number): (Epoch, GrantId),
        placements: &[Placement],
        (at, now): (Time, Time),
    ) {
        match self.flight.remove(number.0, epoch) {
            Some(grant) => self.pool.on_committed(&grant, number.0, placements, (at, now)),
            None => placements.iter().for_each(|placement| self.pool.on_allocated(placement, at, now)),
        }
    }

    fn on_refused(&mut self, now: Time, epoch: Epoch, number: GrantId, code: RefusalCode) {
        if self.pool.on_preemption_refused(now, (epoch, number), code) {
            if code == RefusalCode::NotActive && self.active == Some(epoch) {
                self.session.ask(now);
            }
            return;
        }
        let Some(grant) = self.flight.remove(number.0, epoch) else { return };
        let all_wait = self.pool.on_refused(&grant, number.0);
        match code {
            RefusalCode::NotFree | RefusalCode::AgentUnavailable => self.distrust_offer(&grant),
            RefusalCode::NotPending if !all_wait => {}
            // Where the engine knows so as well, it knows when to go on.
            RefusalCode::OverLimit if !self.pool.may_have_more(grant.job) => {}
            RefusalCode::GangTooSmall if self.pool.waits_for_gang(grant.job) => {}
            RefusalCode::NotPending
            | RefusalCode::DoesNotFit
            | RefusalCode::Malformed
            | RefusalCode::OverLimit
            | RefusalCode::GangTooSmall
            | RefusalCode::PreemptionOff
            | RefusalCode::TooManyPreempted
            | RefusalCode::NotPreemptible => {
                self.pool.backlog.hold(grant.job, SetAside { until: now + HELD_FOR, refused: code });
            }
            RefusalCode::NotActive if self.active == Some(epoch) => self.session.ask(now),
            RefusalCode::NotActive => {}
        }
    }

    /// Drops the offers that a refused grant was taken from, unless newer ones have come since.
    fn distrust_offer(&mut self, grant: &Unanswered) {
        let fleet = &mut self.pool.fleet;
        for part in grant.parts.iter() {
            if let Some(slot) = part.agent
                && fleet.get(slot).offer.as_ref().is_some_and(|offer| offer.version <= part.version)
            {
                fleet.doubt(slot);
            }
        }
    }

    fn answer_overdue(&self) -> Option<Time> {
        let unanswered = [self.flight.oldest(), self.pool.preempting.claims.oldest_unanswered()];
        let oldest = unanswered.into_iter().flatten().min();
        oldest.filter(|_| self.session.is_following()).map(|sent| sent + ANSWER_WITHIN)
    }

    /// When time alone may change what is decided.
    fn next_look(&self) -> Option<Time> {
        self.pool.next_look().filter(|_| self.is_active())
    }

    fn next_pass(&self) -> Option<Time> {
        self.work_since.filter(|_| self.is_active())
    }

    fn beat(&mut self, now: Time, out: &mut Vec<Output>) {
        // An account of many jobs takes longer to come than silence is borne.
        if self.session.is_answered() && self.beat_at <= now {
            self.beat_at = now + BEAT_EVERY;
            out.push(Output::Say(AllocatorMessage::Beat(self.presence())));
        }
    }
}

impl Core for Engine {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, _out: &mut Vec<Output>) {
        match input {
            Input::Feed(mut feed) => self.follow(now, &mut feed),
            Input::Unreadable => self.session.ask(now),
        }
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.answer_overdue().is_some_and(|at| at <= now) {
            self.session.ask(now);
        }
        if self.session.says_hello(now) {
            out.push(Output::Hello);
        }
        self.beat(now, out);
        self.pool.fleet.expire(now);
        self.decide(now, out);
    }

    fn next_wake(&self) -> Option<(Time, &'static str)> {
        let times = [
            (self.next_pass(), "pass"),
            (self.session.next_hello(), "hello"),
            (self.session.is_answered().then_some(self.beat_at), "beat"),
            (self.pool.fleet.next_expiry(), "offer expires"),
            (self.pool.backlog.next_release(), "job is tried again"),
            (self.answer_overdue(), "answer is overdue"),
            (self.next_step(), "priority ages"),
            (self.next_look(), "what was expected to end has not"),
            (self.next_search(), "tasks may be stopped for others"),
        ];
        times.into_iter().filter_map(|(at, what)| Some((at?, what))).min_by_key(|(at, _)| *at)
    }
}
