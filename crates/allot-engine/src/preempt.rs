//! Preemption: tasks that run are stopped so that others get their place.
//!
//! It is the last resort of a pass: once nothing more fits anywhere, the first jobs that wait ask for a place
//! (`victims`: which tasks are stopped for one). What becomes free then is held for them (`claims`), and the pass after
//! gives it to them before anything else is decided. `outlook` sees to limits and guarantees meanwhile.
//!
//! It comes to an end: what is done for a guarantee has more of the guarantees met and none less, and what is done for
//! priority has a task of a higher priority in place of lower ones, at no guarantee's cost.

mod asks;
mod claims;
mod gangs;
mod incumbents;
mod outlook;
mod victims;

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{
    AgentId, AllocatorMessage, Epoch, GrantId, JobId, PerMinute, Placement, PoolJob, Preempt, PreemptRules,
    Preemption, RefusalCode, RoomMade, Span, TaskRange, Time, Victim,
};

use crate::branch::WHOLE;
use crate::dims::Dims;
use crate::engine::Output;
use crate::flight::Flight;
use crate::pass;
use crate::pool::Pool;
use asks::Asks;
use claims::{Claim, ClaimKey, Claims};
use incumbents::Incumbents;
use victims::{Ask, Choice, Expected, Search};

/// How soon after a search that found nothing the next one is, where nothing came to wait meanwhile.
const SEARCH_EVERY: Span = Span::from_secs(1);

/// How long nothing is asked for after a refusal.
const REFUSED_FOR: Span = Span::from_secs(5);

/// So many jobs at most for which there is nothing to be found are gone through in one pass.
const MOST_FAILED: usize = 16;

/// How long nobody is stopped for a gang at first once a place of it was refused, and at most.
const PUT_OFF_FOR: Span = Span::from_secs(60);
const MOST_PUT_OFF: Span = Span::from_secs(3_600);

/// So many places at most are made in one pass.
const MOST_PLACES: usize = 100;

/// What is known and done about preemption.
#[derive(Debug, Clone)]
pub(crate) struct Preempting {
    pub(crate) rules: PreemptRules,
    pub(crate) incumbents: Incumbents,
    pub(crate) claims: Claims,
    pub(crate) rate: PerMinute,
    /// True where something came to wait since the last search.
    fresh: bool,
    /// True where something else has changed since then.
    stirred: bool,
    /// True where a search was put off until grants have their answers.
    again: bool,
    /// True where the next search was put off before.
    repeats: bool,
    /// Gangs for which nobody is stopped before then, and for how long that is.
    off_until: BTreeMap<JobId, (Time, Span)>,
    /// No search before this, unless something comes to wait.
    quiet_until: Time,
    /// When there may be something to be found that could not be had so far.
    later: Option<Time>,
    /// No search before this.
    paused_until: Time,
    /// True where the offers service allows none.
    off: bool,
}

impl Preempting {
    pub(crate) fn new(rules: PreemptRules) -> Self {
        Self {
            rules,
            incumbents: Incumbents::default(),
            claims: Claims::default(),
            rate: PerMinute::new(rules.rate),
            fresh: false,
            stirred: false,
            again: false,
            repeats: false,
            off_until: BTreeMap::new(),
            quiet_until: Time::ZERO,
            later: None,
            paused_until: Time::ZERO,
            off: false,
        }
    }

    /// True where nothing is ever stopped.
    pub(crate) fn is_idle(&self) -> bool {
        self.rules.preempt == Preempt::None
    }

    pub(crate) fn on_job(&mut self, job: &PoolJob) {
        if !self.is_idle() {
            self.incumbents.on_job(job);
        }
    }

    pub(crate) fn on_job_ended(&mut self, job: JobId) {
        self.off_until.remove(&job);
        self.incumbents.on_job_ended(job);
    }

    /// Something came to wait, or queues are set otherwise.
    pub(crate) fn on_demand(&mut self) {
        self.fresh = true;
    }

    /// Nobody is stopped for a gang for a while, longer each time: one of its places was refused, so that others were stopped
    /// in vain.
    fn put_off(&mut self, job: JobId, now: Time) {
        let pause =
            self.off_until.get(&job).map_or(PUT_OFF_FOR, |(_, pause)| pause.times(2).min(MOST_PUT_OFF));
        self.off_until.insert(job, (now + pause, pause));
    }

    /// Until when nobody is stopped for a gang.
    fn is_off_until(&self, job: JobId, now: Time) -> Option<Time> {
        self.off_until.get(&job).map(|(until, _)| *until).filter(|until| *until > now)
    }

    pub(crate) fn on_allocated(&mut self, placements: &[Placement], at: Time, dims: &mut Dims) {
        if !self.is_idle() {
            placements.iter().for_each(|placement| self.incumbents.add(placement, at, dims));
            self.stirred = true;
            if std::mem::take(&mut self.again) {
                (self.fresh, self.repeats) = (true, true);
            }
        }
    }

    pub(crate) fn on_released(&mut self, agent: &AgentId, job: JobId, tasks: TaskRange) {
        if !self.is_idle() {
            self.incumbents.remove(job, tasks);
            self.claims.released(agent);
            self.stirred = true;
        }
    }

    /// What is free on an agent was told.
    pub(crate) fn on_offer(&mut self, agent: &AgentId) {
        self.claims.offered(agent);
    }

    /// When to search next, if anything may be found.
    fn next_search(&self) -> Option<Time> {
        if self.is_idle() || self.off || self.incumbents.is_empty() {
            return None;
        }
        let stirred = self.stirred.then_some(self.quiet_until);
        let due = self.fresh.then_some(Time::ZERO).into_iter().chain(stirred).chain(self.later).min()?;
        Some(due.max(self.paused_until))
    }

    /// Puts a search off until grants that are on their way have their answers; once, as there may be some at all times.
    fn wait_for_answers(&mut self, now: Time) -> bool {
        if self.repeats {
            return false;
        }
        (self.again, self.fresh, self.stirred) = (true, false, true);
        self.quiet_until = now + SEARCH_EVERY;
        true
    }

    /// All was asked for that could be: the next search is due when something has changed.
    fn searched(&mut self, now: Time, later: Option<Time>) {
        (self.again, self.fresh, self.repeats) = (false, false, false);
        self.stirred = false;
        self.quiet_until = now + SEARCH_EVERY;
        self.later = later;
    }
}

impl Pool {
    /// When a search for what could be stopped is due, if one is.
    pub(crate) fn next_search(&self) -> Option<Time> {
        let waits = || self.backlog.queues.tree.get(WHOLE).ranking.first().is_some();
        self.preempting.next_search().filter(|_| waits())
    }

    /// A preemption was committed, by this allocator or another.
    pub(crate) fn on_preempted(&mut self, preemption: Preemption) {
        let key = (preemption.epoch, preemption.grant);
        if self.preempting.is_idle() || self.preempting.claims.confirm(key) {
            return;
        }
        let Some(job) = self.backlog.find(preemption.job).map(|slot| self.backlog.job(slot)) else { return };
        let need = self.shapes.get(job.shape).need.clone();
        self.begin_claim(key, Claim::told(preemption, need));
    }

    /// A preemption was refused; false where none of that number is known.
    pub(crate) fn on_preemption_refused(&mut self, now: Time, key: ClaimKey, code: RefusalCode) -> bool {
        let Some(claim) = self.give_up(key) else { return false };
        // One place less is of no use to a gang.
        if self.waits_for_gang(claim.job) {
            self.preempting.claims.keys_of(claim.job).into_iter().for_each(|key| self.let_go(key));
            self.preempting.put_off(claim.job, now);
        }
        self.preempting.off |= code == RefusalCode::PreemptionOff;
        self.preempting.paused_until = now + REFUSED_FOR;
        self.preempting.fresh = true;
        true
    }

    fn begin_claim(&mut self, key: ClaimKey, claim: Claim) {
        claim.victims.iter().for_each(|victim| self.preempting.incumbents.stop(victim));
        self.fleet.find(&claim.agent).into_iter().for_each(|slot| self.fleet.note_offer(slot));
        self.preempting.claims.begin(key, claim);
    }

    fn end_claim(&mut self, key: ClaimKey) -> Option<Claim> {
        let claim = self.preempting.claims.end(key)?;
        self.fleet.find(&claim.agent).into_iter().for_each(|slot| self.fleet.note_offer(slot));
        Some(claim)
    }

    /// As if it had never been asked for.
    fn give_up(&mut self, key: ClaimKey) -> Option<Claim> {
        let claim = self.end_claim(key)?;
        claim.victims.iter().for_each(|victim| self.preempting.incumbents.spare(victim));
        Some(claim)
    }

    /// The same of all that were asked for in an epoch.
    pub(crate) fn give_up_all(&mut self, epoch: Epoch) {
        let keys = self.preempting.claims.keys().into_iter();
        keys.filter(|key| key.0 == epoch).for_each(|key| _ = self.give_up(key));
    }

    /// A claim is not wanted any more. Who is stopped for it by now is, and who may yet be counts again once that is known.
    fn let_go(&mut self, key: ClaimKey) {
        let is_answered = self.preempting.claims.get(key).is_some_and(|claim| claim.asked_at.is_none());
        _ = if is_answered { self.end_claim(key) } else { self.give_up(key) };
    }

    /// A claim has its place, or came to nothing.
    fn close_claim(&mut self, key: ClaimKey, flight: &Flight) -> Option<Claim> {
        let claim = self.end_claim(key)?;
        self.renew(&claim.agent, flight);
        self.preempting.stirred = true;
        Some(claim)
    }

    /// The places that are being made for a job.
    pub(crate) fn room_made_for(&self, job: JobId) -> Vec<RoomMade> {
        let Preempting { claims, incumbents, .. } = &self.preempting;
        let ours = claims.iter().filter(|claim| claim.job == job);
        let told = |claim: &Claim| RoomMade {
            agent: claim.agent.clone(),
            stopping: incumbents.stopping_on(&claim.agent).map(|one| one.run.tasks.count()).sum(),
        };
        ours.map(told).collect()
    }
}

/// Gives the places that have become free to those they were made for. To be called before anything else is decided.
pub(crate) fn take_places(
    pool: &mut Pool,
    flight: &mut Flight,
    (epoch, now): (Epoch, Time),
    out: &mut Vec<Output>,
) {
    let mut gangs_seen = BTreeSet::new();
    for key in pool.preempting.claims.keys() {
        if let Some(job) =
            pool.preempting.claims.get(key).map(|claim| claim.job).filter(|job| pool.waits_for_gang(*job))
        {
            if gangs_seen.insert(job) {
                gangs::take_places(pool, flight, job, (epoch, now), out);
            }
            continue;
        }
        match standing(pool, flight, key) {
            Standing::Waits => {}
            Standing::Over => _ = pool.close_claim(key, flight),
            Standing::Free(slot) => {
                let Some(claim) = pool.close_claim(key, flight) else { continue };
                let next = pool.backlog.find(claim.job).and_then(|job| pool.backlog.as_next(job));
                let draft = next.and_then(|next| pass::place(pool, next, slot, 1, 1, now));
                pass::send_draft(pool, flight, draft, (epoch, now), out);
            }
        }
    }
}

/// How it stands with a claim.
enum Standing {
    /// Tasks that are being stopped hold their places yet, or what they held was not offered yet.
    Waits,
    /// There is room on this agent.
    Free(u32),
    /// It came to nothing, or nobody needs it any more.
    Over,
}

fn standing(pool: &Pool, flight: &Flight, key: ClaimKey) -> Standing {
    let Some(claim) = pool.preempting.claims.get(key) else { return Standing::Over };
    let next = pool.backlog.find(claim.job).and_then(|job| pool.backlog.as_next(job));
    let takes_tasks = |slot: &u32| pool.fleet.get(*slot).facts.as_ref().is_some_and(|facts| !facts.draining);
    let slot = pool.fleet.find(&claim.agent).filter(takes_tasks);
    let (Some(next), Some(slot)) = (next, slot) else { return Standing::Over };
    // Tasks may have found a place elsewhere meanwhile.
    if pool.backlog.job(next.job).unplaced.count() < pool.preempting.claims.count_of(claim.job) {
        return Standing::Over;
    }
    let shape = pool.shapes.get(next.shape);
    let fits = pool.free_for(slot, flight, Some(key)).is_some_and(|free| free.holds(shape));
    let branch = pool.backlog.queues.lane(next.lane).branch;
    let may_have = pool.backlog.queues.tree.refusing(branch, &shape.need, 1).is_none();
    let nobody_stops = pool.preempting.incumbents.stopping_on(&claim.agent).next().is_none();
    match fits && may_have && pool.fleet.get(slot).allows(shape.class) {
        true => Standing::Free(slot),
        // One that comes later may still be waiting for those before it.
        false if claim.settled && nobody_stops && pool.preempting.claims.is_first(key, claim) => {
            Standing::Over
        }
        false => Standing::Waits,
    }
}

/// Has tasks stopped for those that fit nowhere, where the rules allow it. To be called when nothing more fits.
pub(crate) fn ask(pool: &mut Pool, flight: &mut Flight, epoch: Epoch, now: Time, out: &mut Vec<Output>) {
    if pool.next_search().is_none_or(|at| at > now) {
        return;
    }
    // What is granted just now may be what is stopped first.
    if flight.count() > 0 && pool.preempting.wait_for_answers(now) {
        return;
    }
    let (mut later, mut made, mut failed) = (None, 0, 0);
    let mut expected = Expected::default();
    // A job may ask for a guarantee and for its priority.
    let mut without: BTreeMap<u32, u64> = BTreeMap::new();
    let mut asks = Asks::of(pool);
    while made < MOST_PLACES
        && failed < MOST_FAILED
        && let Some(ask) = asks.next(pool)
    {
        let by = (epoch, now);
        let found = if pool.backlog.job(ask.job).together > 1 {
            gangs::make_places(pool, flight, by, ask, (MOST_PLACES - made, &mut expected), out)
        } else {
            let without = without.entry(ask.job).or_default();
            make_places(pool, flight, by, ask, MOST_PLACES - made, (&mut expected, without), out)
        };
        made += found.places;
        later = [later, found.later].into_iter().flatten().min();
        if found.all {
            asks.go_on(pool);
        } else {
            failed += 1;
        }
    }
    pool.preempting.searched(now, later);
    // Whoever was left out is next.
    pool.preempting.stirred |= made >= MOST_PLACES;
}

/// What came of asking for places.
#[derive(Debug, Default)]
struct Made {
    /// How many are being made.
    places: usize,
    /// True where these are all that were wanted.
    all: bool,
    /// When there may be some that could not be had so far.
    later: Option<Time>,
}

/// Has tasks stopped for those of a job one by one, `most` places at most. `without` is how many of its tasks fit on agents
/// without more being stopped there, and `expected` what they and others take there.
fn make_places(
    pool: &mut Pool,
    flight: &mut Flight,
    by: (Epoch, Time),
    ask: Ask,
    most: usize,
    (expected, without): (&mut Expected, &mut u64),
    out: &mut Vec<Output>,
) -> Made {
    let (epoch, now) = by;
    let id = pool.backlog.job(ask.job).key.job();
    let mut made = Made::default();
    while made.places < most {
        if pool.backlog.job(ask.job).unplaced.count() <= pool.preempting.claims.count_of(id) + *without {
            return Made { all: true, ..made };
        }
        let mut search = Search::new(pool, flight, now, ask, expected);
        let need = search.need().clone();
        if let Some(slot) = search.will_fit() {
            expected.fits(slot, pool.backlog.job(ask.job).shape, &need);
            *without += 1;
            made.places += 1;
            continue;
        }
        let found = search.best();
        made.later = [made.later, search.later].into_iter().flatten().min();
        let Some(choice) = found else { return made };
        match pool.preempting.rate.allows_at(now, choice.tasks()) {
            Some(at) if at <= now => {}
            at => {
                made.later = [made.later, at].into_iter().flatten().min();
                return made;
            }
        }
        made.places += 1;
        pool.preempting.rate.spend(now, choice.tasks());
        let Choice { agent, victims, freed, .. } = choice;
        expected.is_made(&need, &freed);
        let grant = pool.claim(flight, by, ask, agent.clone(), victims.clone());
        let asked = Preemption { epoch, grant, job: id, agent, cause: ask.cause, victims };
        out.push(Output::Say(AllocatorMessage::Preempt(asked)));
    }
    made
}

impl Pool {
    /// A place on an agent is held for a task of the job that asks, once these have ended.
    fn claim(
        &mut self,
        flight: &mut Flight,
        (epoch, now): (Epoch, Time),
        ask: Ask,
        agent: AgentId,
        victims: Vec<Victim>,
    ) -> GrantId {
        let grant = GrantId(flight.skip());
        let known = self.backlog.job(ask.job);
        let (job, shape) = (known.key.job(), self.shapes.get(known.shape));
        let (need, request) = (shape.need.clone(), shape.request.clone());
        victims.iter().for_each(|victim| self.preempting.incumbents.stop(victim));
        let free = self.fleet.find(&agent).map(|slot| self.free_to_be(slot, flight));
        let named = free.filter(|free| free.names_any(&request)).and_then(|free| free.take(&request));
        let (named, asked_at) = (named.unwrap_or_default(), (!victims.is_empty()).then_some(now));
        self.begin_claim((epoch, grant), Claim { job, agent, need, named, victims, asked_at, settled: true });
        grant
    }
}
