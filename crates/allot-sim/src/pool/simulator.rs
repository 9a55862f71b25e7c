//! The engine and the modelled offers service in turns, one instant after the other.

use allot_engine::{Engine, Limits, Output, Policy};
use allot_model::{
    AllocatorMessage, Core, Epoch, Feed, FeedItem, InstanceId, InvalidId, Span, SyncPart, Time, WhyView,
};

use super::timeline::Timeline;
use super::truth::{EPOCH, Truth, WrongGrant, id};
use crate::length::CLOCK_ENDS;
use crate::output::outcome::Outcome;
use crate::workload::{Begin, Happening, Workload};

/// Passes of one instant that grant nothing after which a policy counts as lost.
const MOST_IDLE_PASSES: u32 = 1_000;

/// So often the policy may wish to decide without anything coming of it, once nothing else is left to happen: as tasks may
/// be stopped only later, or have outrun their estimates, each time for longer.
const MOST_IDLE_WISHES: u32 = 64;

/// Why a simulation did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The engine made a grant that the pool does not allow.
    #[error(
        "policy {policy}: {wrong}; this is a bug of the allocator engine, please report it with the input"
    )]
    WrongGrant {
        /// Which policy.
        policy: String,
        /// What is wrong with the grant.
        wrong: WrongGrant,
    },
    /// The engine wants to decide again and again without anything coming of it.
    #[error("policy {policy} does not come to an end at {}s; this is a bug of the allocator engine", at.as_micros() / 1_000_000)]
    Stuck {
        /// Which policy.
        policy: String,
        /// When.
        at: Time,
    },
    /// What runs would end when the clock does not go any more.
    #[error(
        "policy {policy}: what starts at {}s would end after {}s, 10000 years, where the clock of a simulation ends: have jobs run for \
         less long, or stop before with `until`", at.as_micros() / 1_000_000, CLOCK_ENDS.as_micros() / 1_000_000
    )]
    PastTheEnd {
        /// Which policy.
        policy: String,
        /// When it starts.
        at: Time,
    },
    /// The name of the simulated allocator cannot be made.
    #[error(transparent)]
    Name(#[from] InvalidId),
}

/// Runs a workload under a policy.
///
/// # Errors
/// [`SimulationError`] where the engine does what it must not.
pub fn simulate(workload: &Workload, policy: &Policy) -> Result<Outcome, SimulationError> {
    let mut simulator = Simulator::new(workload, policy)?;
    simulator.run()?;
    Ok(simulator.outcome(policy))
}

/// Runs a workload until all tasks of a job have been placed, or so many placements were made that it is too far off.
///
/// # Errors
/// As [`simulate`].
pub(crate) fn simulate_until_placed(
    workload: &Workload,
    policy: &Policy,
    job: u32,
    most_placements: usize,
) -> Result<Story, SimulationError> {
    let mut simulator = Simulator::new(workload, policy)?;
    simulator.goal = Some(Goal { job, most_placements });
    match simulator.run() {
        // That is too far off.
        Ok(()) | Err(SimulationError::PastTheEnd { .. }) => {}
        Err(error) => return Err(error),
    }
    let why = (!simulator.truth.is_placed(job)).then(|| simulator.engine.explain(id(job))).flatten();
    Ok(Story { why, outcome: simulator.outcome(policy) })
}

/// What happened up to a job's last placement.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) outcome: Outcome,
    /// Why tasks of the job wait, where some still do.
    pub(crate) why: Option<WhyView>,
}

/// When a simulation is over though something is left to happen.
#[derive(Debug, Clone, Copy)]
struct Goal {
    /// All tasks of this job were placed.
    job: u32,
    /// So many placements were made.
    most_placements: usize,
}

struct Simulator<'a> {
    workload: &'a Workload,
    me: InstanceId,
    engine: Engine,
    truth: Truth<'a>,
    timeline: Timeline<'a>,
    /// What each queue is entitled to now, as it was told last.
    queues: Vec<FeedItem>,
    /// The message under way.
    feed: Feed,
    out: Vec<Output>,
    goal: Option<Goal>,
    now: Time,
}

impl<'a> Simulator<'a> {
    fn new(workload: &'a Workload, policy: &Policy) -> Result<Self, InvalidId> {
        let me = InstanceId::new("simulated")?;
        // Each task is granted by itself: a simulation tells when each one starts.
        let limits = Limits { ahead: Span::ZERO, ..Limits::default() };
        let told = |queue: &crate::workload::Queue| FeedItem::Queue {
            queue: queue.name.clone(),
            weight: queue.weight,
            limit: queue.limit.clone(),
            guarantee: queue.guarantee.clone(),
        };
        Ok(Self {
            workload,
            engine: Engine::with_limits(me.clone(), policy.clone(), limits),
            me,
            truth: Truth::new(workload),
            timeline: Timeline::new(workload),
            queues: workload.queues.iter().map(told).collect(),
            feed: Feed { session: Epoch(1), sequence: 1, sync: None, part: 0, items: Vec::new() },
            out: Vec::new(),
            goal: None,
            now: Time::ZERO,
        })
    }

    fn run(&mut self) -> Result<(), SimulationError> {
        let begin = self.workload.begin.as_ref();
        begin.into_iter().for_each(|begin| self.begin(begin));
        self.engine.wake(self.now, &mut self.out);
        self.tell_all();
        if begin.is_some() {
            self.decide()?;
        }
        // With ageing the order of two jobs may change, and change back, within the time of a step, and not later.
        let restless = self.engine.policy().ageing.unwrap_or(Span::ZERO);
        let (mut quiet_since, mut idle) = (self.now, 0);
        while let Some((at, is_event)) = self.timeline.next().filter(|_| !self.is_at_goal()) {
            let is_quiet = at > quiet_since + restless && idle >= MOST_IDLE_WISHES;
            let over = (is_quiet || at > CLOCK_ENDS) && !self.timeline.has_events();
            if self.workload.until.is_some_and(|until| at > until) || over {
                break;
            }
            self.now = self.now.max(at);
            self.happen();
            if self.decide()? || is_event {
                (quiet_since, idle) = (self.now, 0);
            } else {
                idle += 1;
            }
        }
        self.now = self.workload.until.unwrap_or(quiet_since).max(quiet_since);
        Ok(())
    }

    /// Has what is there already be there.
    fn begin(&mut self, begin: &Begin) {
        self.now = begin.at;
        while let Some(change) = self.timeline.change(self.now) {
            self.truth.change(self.now, &change.what);
        }
        while let Some(job) = self.timeline.submitted(self.now) {
            self.truth.admit(job);
        }
        begin.waiting.iter().for_each(|(job, tasks)| self.truth.wait(*job, *tasks));
        for running in &begin.running {
            let stay = self.truth.resume(running);
            if let (Some(stay), Some(ends)) = (stay, running.ends) {
                self.timeline.ends_at(ends, stay);
            }
        }
    }

    fn is_at_goal(&self) -> bool {
        self.goal.is_some_and(|Goal { job, most_placements }| {
            self.truth.is_placed(job) || self.truth.count_of_stays() >= most_placements
        })
    }

    /// All events of this instant: what ends, then agents and queues, then submissions.
    fn happen(&mut self) {
        while let Some(stay) = self.timeline.ended(self.now) {
            self.truth.end(self.now, stay);
        }
        while let Some(change) = self.timeline.change(self.now) {
            if let Happening::Queue { queue, weight, limit, guarantee } = &change.what
                && let Some(FeedItem::Queue {
                    weight: told,
                    limit: told_limit,
                    guarantee: told_guarantee,
                    ..
                }) = self.queues.get_mut(*queue as usize)
            {
                (*told, *told_limit, *told_guarantee) = (*weight, limit.clone(), guarantee.clone());
            }
            self.truth.change(self.now, &change.what);
        }
        while let Some(job) = self.timeline.submitted(self.now) {
            self.truth.submit(job);
        }
    }

    /// Passes until nothing more is granted. Returns whether anything was.
    fn decide(&mut self) -> Result<bool, SimulationError> {
        let (mut granted, mut idle) = (false, 0);
        self.tell();
        loop {
            self.engine.decide(self.now, &mut self.out);
            let grants = self.commit()?;
            self.tell();
            granted |= grants > 0;
            idle = if grants > 0 { 0 } else { idle + 1 };
            let next = self.engine.next_decision();
            if next.is_none_or(|at| at > self.now) {
                self.timeline.wake_at(next);
                return Ok(granted);
            }
            if idle > MOST_IDLE_PASSES {
                return Err(SimulationError::Stuck { policy: self.policy(), at: self.now });
            }
        }
    }

    /// Checks the grants and preemptions of a pass and carries them out. Returns how many there were.
    fn commit(&mut self) -> Result<u32, SimulationError> {
        let mut grants = 0;
        for output in self.out.drain(..) {
            let wrong_grant =
                |wrong| SimulationError::WrongGrant { policy: self.engine.policy().to_string(), wrong };
            let grant = match output {
                Output::Say(AllocatorMessage::Grant(grant)) => grant,
                Output::Say(AllocatorMessage::Preempt(asked)) => {
                    grants += 1;
                    self.truth.preempt(self.now, asked).map_err(wrong_grant)?;
                    continue;
                }
                _ => continue,
            };
            grants += 1;
            let mut last_end = self.now;
            let placed = |stay, ends: Option<Time>| {
                last_end = last_end.max(ends.unwrap_or_default());
                ends.into_iter().for_each(|at| self.timeline.ends_at(at, stay));
            };
            let committed = self.truth.commit(self.now, grant, placed);
            committed.map_err(wrong_grant)?;
            if last_end > CLOCK_ENDS {
                let policy = self.engine.policy().to_string();
                return Err(SimulationError::PastTheEnd { policy, at: self.now });
            }
        }
        Ok(grants)
    }

    /// Tells the engine what has happened since it was told last.
    fn tell(&mut self) {
        if self.truth.news(&mut self.feed.items) {
            self.feed.sequence += 1;
            self.engine.follow(self.now, &mut self.feed);
        }
        if !self.engine.is_active() {
            self.tell_all();
        }
    }

    /// Tells the engine everything from the start, which it asks for at the beginning and where it could not have known
    /// that it would need to know something.
    fn tell_all(&mut self) {
        let active = FeedItem::Active { epoch: EPOCH, instance: self.me.clone() };
        let items = self.truth.account(active, self.queues.clone());
        let (session, sequence) = (self.feed.session, self.feed.sequence);
        let mut account = Feed { session, sequence, sync: Some(SyncPart::Only), part: 0, items };
        self.engine.follow(self.now, &mut account);
    }

    fn policy(&self) -> String {
        self.engine.policy().to_string()
    }

    fn outcome(self, policy: &Policy) -> Outcome {
        self.truth.outcome(policy.clone(), self.now)
    }
}
