//! One pass: decision after decision until nothing that waits fits anywhere.
//!
//! The order of decisions is that of one task at a time: the queue that ranks first, its first job that fits, the
//! best agent for it. Where the next decisions would be the same, they are made in one step. Where room is kept for some,
//! [`crate::easy`] and [`crate::conservative`] say which job is next and where it may go.

use allot_model::{
    AgentId, AllocatorMessage, Epoch, Grant, GrantId, JobId, OfferVersion, ProposedPlacement, Resources,
    Span, TaskRange, Time,
};

use crate::backlog::Next;
use crate::engine::{Limits, Output};
use crate::firsts::{Firsts, Running};
use crate::flight::{Flight, Part, Parts, Unanswered};
use crate::gang::{self, Seats};
use crate::pool::Pool;
use crate::preempt;
use crate::search::Place;
use crate::shape::{Hope, Shape};
use crate::timeline::Estimate;

/// What a step of a pass came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing that waits can be placed.
    Done,
    /// Something was found out that the next step goes by.
    Again,
    /// So it was, without looking for a place: that is no decision.
    Looked,
    /// Tasks go to one agent.
    Run(Draft),
    /// Tasks are placed together.
    Gang(Together),
}

/// Decisions about tasks of one job on one agent that follow each other, on their way to become a grant.
#[derive(Debug)]
pub(crate) struct Draft {
    next: Next,
    job: JobId,
    agent: u32,
    tasks: TaskRange,
    slots: u64,
    named: Option<Resources>,
}

/// A decision about tasks that are placed together.
#[derive(Debug)]
pub(crate) struct Together {
    next: Next,
    job: JobId,
    parts: Parts,
}

impl Draft {
    /// Takes in a decision that differs only in following directly; gives it back where it is another.
    fn extend(&mut self, other: Self) -> Option<Self> {
        let follows = self.tasks.last.checked_add(1) == Some(other.tasks.first);
        let alike = self.named.is_none() && other.named.is_none();
        if follows && alike && self.is_for(other.next, other.agent) {
            self.tasks.last = other.tasks.last;
            self.slots += other.slots;
            return None;
        }
        Some(other)
    }

    fn is_for(&self, next: Next, agent: u32) -> bool {
        self.next.job == next.job && self.next.shape == next.shape && self.agent == agent
    }

    fn into_grant(self, pool: &Pool) -> Option<Together> {
        let Self { next, job, agent, tasks, slots, named } = self;
        let (_, version) = offer_of(pool, agent)?;
        let part = Part { agent: Some(agent), version, tasks, slots, named };
        Some(Together { next, job, parts: part.into() })
    }
}

/// What a pass goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) now: Time,
    /// The decision before, where it is not granted yet.
    pub(crate) before: Option<&'a Draft>,
    /// For about how long a slot is granted to tasks that take turns.
    pub(crate) ahead: Span,
}

/// Decides until nothing fits or the limits are reached. Returns the time where another pass is to go on.
pub(crate) fn run(
    pool: &mut Pool,
    flight: &mut Flight,
    limits: &Limits,
    epoch: Epoch,
    now: Time,
    out: &mut Vec<Output>,
) -> Option<Time> {
    pool.runs.iter_mut().for_each(|runs| runs.correct(now));
    pool.refresh(flight);
    preempt::take_places(pool, flight, (epoch, now), out);
    pool.easy.iter_mut().for_each(crate::easy::Easy::begin);
    let is_kept = !pool.backlog.queues.tree.kept.is_idle();
    pool.conservative.iter_mut().for_each(|plans| plans.begin(is_kept));
    let mut draft: Option<Draft> = None;
    let (mut made, mut decided, mut is_exhausted) = (0, 0, false);
    let goes_on = loop {
        if made >= limits.grants_per_pass || decided >= limits.decisions_per_pass {
            break Some(now);
        }
        // Answers to grants in flight start the next pass.
        if flight.count() >= limits.unanswered {
            break None;
        }
        let step = step(pool, Pass { now, before: draft.as_ref(), ahead: limits.ahead });
        note_placed(pool, &step, now);
        decided += usize::from(!matches!(step, Step::Looked));
        let finished = match step {
            Step::Done => {
                is_exhausted = true;
                break None;
            }
            Step::Again | Step::Looked => continue,
            Step::Run(decision) => match &mut draft {
                None => draft.replace(decision),
                Some(open) => open.extend(decision).and_then(|other| draft.replace(other)),
            },
            Step::Gang(gang) => {
                made += send_draft(pool, flight, draft.take(), (epoch, now), out);
                made += send_grant(pool, flight, gang, (epoch, now), out);
                None
            }
        };
        made += send_draft(pool, flight, finished, (epoch, now), out);
    };
    send_draft(pool, flight, draft, (epoch, now), out);
    pool.fleet.settle();
    if is_exhausted {
        preempt::ask(pool, flight, epoch, now, out);
    }
    goes_on
}

/// Tells those that look ahead what was placed.
fn note_placed(pool: &mut Pool, step: &Step, now: Time) {
    let (next, slots) = match step {
        Step::Run(draft) => (draft.next, draft.slots),
        Step::Gang(gang) => (gang.next, gang.parts.iter().map(|part| part.slots).sum()),
        Step::Done | Step::Again | Step::Looked => return,
    };
    let Pool { backlog, shapes, easy, conservative, .. } = pool;
    if easy.is_none() && conservative.is_none() || backlog.queues.tree.is_plain() {
        return;
    }
    let end = backlog.job(next.job).estimate.expected(now, now);
    let placed = Running { end, need: shapes.get(next.shape).need.clone(), slots };
    let (tree, branch) = (&backlog.queues.tree, backlog.queues.lane(next.lane).branch);
    easy.iter_mut().for_each(|easy| easy.note_placed(tree, branch, &placed));
    conservative.iter_mut().for_each(|plans| plans.firsts.note_placed(tree, branch, &placed));
}

fn step(pool: &mut Pool, pass: Pass<'_>) -> Step {
    if pool.easy.is_some() {
        return easy(pool, pass);
    }
    if pool.conservative.is_some() {
        return crate::conservative::step(pool, pass);
    }
    match pool.next() {
        Some(next) => decide(pool, next, pass, None),
        None => Step::Done,
    }
}

/// The first in line where it fits; otherwise what may go ahead of it.
fn easy(pool: &mut Pool, pass: Pass<'_>) -> Step {
    pool.confirm();
    let Pool { backlog, shapes, fleet, runs: Some(runs), easy: Some(easy), .. } = pool else {
        return Step::Done;
    };
    let head = backlog.head(shapes, &easy.hopeless);
    let leaned_on = std::mem::take(&mut backlog.queues.leaned_on);
    let mut is_news = |lane: u32, shape: Option<u32>| {
        easy.look_around(lane, backlog, shapes, fleet, runs)
            || shape.is_some_and(|shape| easy.opening((lane, shape), backlog, shapes, fleet, runs).is_none())
    };
    if leaned_on.into_iter().any(|place| is_news(place.lane, Some(place.shape)))
        || head.is_some_and(|head| is_news(head.lane, None))
    {
        return Step::Looked;
    }
    match head {
        Some(head)
            if shapes.is_open(head.shape)
                && !backlog.queues.takes_kept(head.lane, shapes.get(head.shape)) =>
        {
            easy.kept = None;
            return decide(pool, head, pass, None);
        }
        Some(head) => {
            fleet.settle();
            if !easy.keep(head, backlog, shapes, fleet, runs) {
                return Step::Again;
            }
        }
        None => {
            easy.kept = None;
            if !easy.firsts.are_any() {
                return Step::Done;
            }
        }
    }
    let Some(next) = easy.candidate(pass.now, backlog, shapes, fleet, runs) else { return Step::Done };
    let leaned_on = std::mem::take(&mut backlog.queues.leaned_on);
    let mut lanes = leaned_on.iter().map(|place| place.lane).chain([next.lane]);
    if lanes.any(|lane| easy.look_around(lane, backlog, shapes, fleet, runs)) {
        return Step::Looked;
    }
    for place in leaned_on.into_iter().filter(|place| place.job != next.job) {
        if !may_go_ahead(pool, place, pass.now) {
            return Step::Again;
        }
    }
    let estimate = pool.backlog.job(next.job).estimate;
    decide(pool, next, pass, Some(estimate))
}

/// True where there is a place for a job that goes ahead; notes where there is none.
fn may_go_ahead(pool: &mut Pool, place: Place, now: Time) -> bool {
    let guarded = Some(pool.backlog.job(place.job).estimate);
    let has_place = if pool.shapes.get(place.shape).gang.is_some() {
        let seats = seats(pool, place.shape, now, guarded);
        let Pool { shapes, fleet, .. } = pool;
        seats.map(|seats| gang::give_back(fleet, shapes.get(place.shape), seats)).is_some()
    } else {
        pool.best_agent(place.shape, place.job, guarded, now).is_some()
    };
    if !has_place {
        note_no_place(pool, place.shape, now, guarded);
    }
    has_place
}

/// Places the next tasks of a job. Where it goes ahead of one for which room is kept, `guarded` is how long each takes.
fn decide(pool: &mut Pool, next: Next, pass: Pass<'_>, guarded: Option<Estimate>) -> Step {
    if pool.shapes.get(next.shape).gang.is_some() {
        return decide_gang(pool, next, pass.now, guarded);
    }
    let Some(agent) = pool.best_agent(next.shape, next.job, guarded, pass.now) else {
        note_no_place(pool, next.shape, pass.now, guarded);
        return Step::Again;
    };
    let slots = slots_in_one_step(pool, next, agent, pass, guarded);
    let turns = if guarded.is_some() { 1 } else { pool.turns(next.job, slots, pass.ahead) };
    match place(pool, next, agent, slots, turns, pass.now) {
        Some(draft) => Step::Run(draft),
        None => Step::Done,
    }
}

/// Notes that nothing of the shape has a place. Behind one for which room is kept it may be that this alone is in the way.
fn note_no_place(pool: &mut Pool, shape: u32, now: Time, guarded: Option<Estimate>) {
    let outlasts = |estimate| pool.guard(estimate, now).is_some_and(|guard| guard.outlasts());
    if guarded.is_some_and(outlasts)
        && pool.has_room(shape)
        && let Some(easy) = &mut pool.easy
    {
        easy.note_delaying(shape);
    } else {
        pool.shapes.set_hope(shape, Hope::None);
    }
}

/// Takes so many slots for tasks of the job on the agent.
pub(crate) fn place(
    pool: &mut Pool,
    next: Next,
    agent: u32,
    slots: u64,
    turns: u64,
    now: Time,
) -> Option<Draft> {
    let shape = pool.shapes.get(next.shape);
    let named = pool.fleet.named(agent, shape);
    let turns = if named.is_some() { 1 } else { turns };
    let (tasks, slots) = pool.backlog.serve(next, &shape.need, slots, turns, pool.fleet.capacity())?;
    pool.fleet.take(agent, shape, slots, named.as_ref());
    pool.taken(agent);
    pool.note_start(next.job, agent, tasks, slots, now);
    Some(Draft { next, job: pool.backlog.job(next.job).key.job(), agent, tasks, slots, named })
}

/// Places all tasks of a gang, or none.
fn decide_gang(pool: &mut Pool, next: Next, now: Time, guarded: Option<Estimate>) -> Step {
    match seats(pool, next.shape, now, guarded) {
        Some(seats) => place_gang(pool, next, seats, now).map_or(Step::Again, Step::Gang),
        None => {
            note_no_place(pool, next.shape, now, guarded);
            Step::Again
        }
    }
}

/// Takes room for all tasks of a gang, or none.
fn seats(pool: &mut Pool, shape: u32, now: Time, guarded: Option<Estimate>) -> Option<Vec<Seats>> {
    let Pool { shapes, fleet, runs, easy, .. } = pool;
    let guard = guarded.and_then(|estimate| {
        let easy = easy.as_ref()?;
        let shadow = easy.kept.as_ref()?.shadow();
        easy.guard(runs.as_ref()?, estimate.ends(now) <= shadow)
    });
    gang::place(fleet, shapes.get(shape), guard)
}

/// Gives the seats, for which room is taken, to the first tasks of a gang.
pub(crate) fn place_gang(pool: &mut Pool, next: Next, seats: Vec<Seats>, now: Time) -> Option<Together> {
    let shape = pool.shapes.get(next.shape);
    let tasks = pool.backlog.serve_gang(next, &shape.need, shape.count(), pool.fleet.capacity());
    let mut parts = Vec::with_capacity(seats.len());
    let mut tasks = tasks.into_iter();
    let mut run = tasks.next();
    for Seats { agent, mut slots, named } in seats {
        let (_, version) = offer_of(pool, agent)?;
        while let Some(TaskRange { first, last }) = run.filter(|_| slots > 0) {
            let end = u64::from(first).saturating_add(slots - 1).min(u64::from(last));
            let taken = TaskRange::new(first, u32::try_from(end).unwrap_or(last))?;
            slots -= taken.count();
            run = taken
                .last
                .checked_add(1)
                .and_then(|rest| TaskRange::new(rest, last))
                .or_else(|| tasks.next());
            pool.note_start(next.job, agent, taken, taken.count(), now);
            let named = named.clone();
            parts.push(Part { agent: Some(agent), version, tasks: taken, slots: taken.count(), named });
        }
        pool.taken(agent);
    }
    let job = pool.backlog.job(next.job).key.job();
    Some(Together { next, job, parts: Parts::of(parts)? })
}

/// How many slots follow each other on this agent before another decision is due. Asking who is next costs as much
/// as a decision, so where queues compete it is asked only once the same decision has come twice.
fn slots_in_one_step(pool: &Pool, next: Next, agent: u32, pass: Pass<'_>, guarded: Option<Estimate>) -> u64 {
    let repeats = pass.before.is_some_and(|draft| draft.is_for(next, agent));
    let ranks = pool.backlog.queues.rank();
    if ranks && (!repeats || pool.easy.is_some()) {
        return 1;
    }
    let guard = guarded.and_then(|estimate| pool.guard(estimate, pass.now));
    // Behind one that a limit holds back, or may after this task, it is a new question for each.
    let (queues, firsts) = (&pool.backlog.queues, pool.easy.as_ref().map(|easy| &easy.firsts));
    let branch = queues.lane(next.lane).branch;
    if firsts.is_some_and(|firsts| firsts.is_another_first(&queues.tree, branch, next.job)) {
        return 1;
    }
    // Whom a limit holds back may have no room ever again, because of what is kept for others.
    if firsts.is_some_and(Firsts::are_any) && !queues.tree.kept.is_idle() {
        return 1;
    }
    // One for which there was no room, because of what is kept for others, may be first again after each task.
    if pool.easy.as_ref().is_some_and(|easy| !easy.hopeless.aside.is_empty()) {
        return 1;
    }
    // Behind one for which room is kept it is a new question for each task, where limits or guarantees have a say.
    if guard.is_some_and(|guard| !guard.ignores(agent) || !pool.backlog.queues.tree.is_plain()) {
        return 1;
    }
    let shape = pool.shapes.get(next.shape);
    let waiting = pool.backlog.job(next.job).unplaced.count();
    let most = pool.fleet.times(agent, shape).min(waiting);
    pool.backlog.queues.stretch(next.lane, &shape.need, most, &pool.shapes, pool.fleet.capacity())
}

pub(crate) fn send_draft(
    pool: &mut Pool,
    flight: &mut Flight,
    draft: Option<Draft>,
    by: (Epoch, Time),
    out: &mut Vec<Output>,
) -> usize {
    match draft.and_then(|draft| draft.into_grant(pool)) {
        Some(grant) => send_grant(pool, flight, grant, by, out),
        None => 0,
    }
}

/// Makes a grant of the decisions; returns how many that is.
pub(crate) fn send_grant(
    pool: &mut Pool,
    flight: &mut Flight,
    decision: Together,
    (epoch, now): (Epoch, Time),
    out: &mut Vec<Output>,
) -> usize {
    let Together { next, job, parts } = decision;
    let (lane, shape, number) = (next.lane, next.shape, flight.next_number());
    let proposed = |part: &Part| {
        let (agent, version) = offer_of(pool, part.agent?)?;
        let slice = slice_of(pool.shapes.get(shape), part.named.as_ref());
        let Part { tasks, slots, .. } = *part;
        Some(ProposedPlacement { agent, version, job, tasks, slice, slots })
    };
    let placements = parts.iter().filter_map(proposed).collect();
    let grant = Unanswered { epoch, sent_at: now, lane, shape, job, parts };
    pool.on_granted(&grant, number);
    if pool.shapes.get(shape).gang.is_some() {
        pool.loosen(next.job);
    }
    flight.add(grant);
    let grant = Grant { epoch, grant: GrantId(number), placements };
    out.push(Output::Say(AllocatorMessage::Grant(grant)));
    1
}

fn offer_of(pool: &Pool, agent: u32) -> Option<(AgentId, OfferVersion)> {
    let agent = pool.fleet.get(agent);
    Some((agent.facts.as_ref()?.agent.clone(), agent.offer.as_ref()?.version))
}

fn slice_of(shape: &Shape, named: Option<&Resources>) -> Resources {
    let mut slice = shape.slice.clone();
    for (name, amount) in named.into_iter().flat_map(Resources::iter) {
        slice.set(name.clone(), amount.clone());
    }
    slice
}
