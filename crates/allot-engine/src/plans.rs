//! Times from which on room is kept for jobs, each on the agents where it is.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{JobId, Time};

use crate::arrivals::Kind;
use crate::dims::Need;
use crate::firsts::Firsts;
use crate::policy::{JobKey, LaneKey};
use crate::profile::Profile;
use crate::queues::Queues;
use crate::vacancy::{World, base};

/// What is planned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plans {
    /// What is free on each agent from when on, beside what is planned there.
    pub(crate) profiles: Vec<Profile>,
    /// By job.
    plans: BTreeMap<u32, Plan>,
    /// Which jobs are planned on each agent.
    on_agent: BTreeSet<(u32, u32)>,
    by_start: BTreeSet<(Time, JobKey, u32)>,
    /// What was found to have no time at all in this pass.
    pub(crate) hopeless: BTreeSet<Kind>,
    /// What was found in this pass to have no room even if nothing ran.
    pub(crate) too_large: BTreeSet<Kind>,
    /// Whom limits hold back of those that have no plan.
    pub(crate) firsts: Firsts,
    /// The jobs that are planned on agents that are gone.
    stranded: BTreeSet<u32>,
    /// True where something is kept for others, which may hold up what is planned.
    is_kept: bool,
    /// True where what is kept for others may be less than it was, so that some can start earlier.
    looks_again: bool,
    /// The jobs that have lost their plan, and are to be planned like those that have just come.
    lost: Vec<(Kind, JobKey, u32)>,
}

/// From when on room is kept for a job, and where.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) key: JobKey,
    pub(crate) ask: Ask,
    pub(crate) start: Time,
    /// So many tasks on each of these agents.
    pub(crate) parts: Vec<(u32, u64)>,
}

/// What a job asks for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    pub(crate) need: Need,
}

impl Plan {
    pub(crate) fn end(&self) -> Time {
        self.ask.kind.estimate.ends(self.start)
    }
}

impl Plans {
    /// A pass begins, in which something is kept for others or not.
    pub(crate) fn begin(&mut self, is_kept: bool) {
        self.hopeless.clear();
        self.too_large.clear();
        self.firsts.forget();
        self.looks_again = is_kept || self.is_kept;
        self.is_kept = is_kept;
    }

    /// When the first for which room is kept is to be placed.
    pub(crate) fn next_start(&self) -> Option<Time> {
        self.by_start.first().map(|(start, ..)| *start)
    }

    /// The jobs for which room is kept, those first that are planned to start first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = JobId> {
        self.by_start.iter().map(|(_, key, _)| key.job())
    }

    /// When a job is planned to start.
    pub(crate) fn start_of(&self, job: u32) -> Option<Time> {
        self.plans.get(&job).map(|plan| plan.start)
    }

    /// For how many jobs room is kept.
    pub(crate) fn len(&self) -> usize {
        self.plans.len()
    }

    /// The first job that is planned for this time or an earlier one.
    pub(crate) fn first_due(&self, now: Time) -> Option<u32> {
        self.by_start.first().filter(|(start, ..)| *start <= now).map(|(.., job)| *job)
    }

    pub(crate) fn get(&self, job: u32) -> Option<&Plan> {
        self.plans.get(&job)
    }

    /// Some may be able to start earlier.
    pub(crate) fn look_again(&mut self) {
        self.looks_again = true;
    }

    /// True where nothing has to be looked at again beside the agents that have changed.
    pub(crate) fn is_settled(&self) -> bool {
        !self.looks_again && self.stranded.is_empty()
    }

    /// Those that have lost their plan since this was asked last.
    pub(crate) fn take_lost(&mut self) -> Vec<(Kind, JobKey, u32)> {
        std::mem::take(&mut self.lost)
    }

    /// What was to start before now is to start now. Returns the agents where that is.
    pub(crate) fn catch_up(&mut self, now: Time) -> Vec<u32> {
        let mut agents = Vec::new();
        while let Some((_, _, job)) = self.by_start.first().copied().filter(|(start, ..)| *start < now) {
            let Some(plan) = self.plans.get(&job) else { return agents };
            agents.extend(plan.parts.iter().map(|(agent, _)| *agent));
            self.revise(job, |plan| plan.start = now);
        }
        agents
    }

    /// Takes notice of what has changed on these agents.
    pub(crate) fn refresh(&mut self, touched: BTreeSet<u32>, world: World<'_>) {
        let (mut is_more, mut is_less) =
            (std::mem::take(&mut self.looks_again), !std::mem::take(&mut self.stranded).is_empty());
        for agent in touched {
            let before = self.take_profile(agent);
            let mut fresh = base(agent, world);
            for job in self.jobs_on(agent) {
                is_less |= !self.is_kept(job, agent, &mut fresh, world);
            }
            is_more |= fresh.exceeds(&before, world.now);
            self.profiles[agent as usize] = fresh;
        }
        if is_less {
            self.plan_anew(world);
        }
        if is_more || is_less {
            self.hopeless.clear();
            self.advance(world);
        }
    }

    /// An agent is gone; another may get its slot.
    pub(crate) fn forget_agent(&mut self, agent: u32) {
        self.stranded.extend(self.jobs_on(agent));
        self.take_profile(agent);
    }

    fn take_profile(&mut self, agent: u32) -> Profile {
        if self.profiles.len() <= agent as usize {
            self.profiles.resize_with(agent as usize + 1, Profile::default);
        }
        std::mem::take(&mut self.profiles[agent as usize])
    }

    fn jobs_on(&self, agent: u32) -> Vec<u32> {
        self.on_agent.range((agent, 0)..=(agent, u32::MAX)).map(|(_, job)| *job).collect()
    }

    /// Keeps room for a job in a profile; false where there is none.
    fn is_kept(&self, job: u32, agent: u32, profile: &mut Profile, world: World<'_>) -> bool {
        let Some(plan) = self.plans.get(&job) else { return true };
        let allowed = world.fleet.value(agent, world.shapes.get(plan.ask.kind.shape)).is_some();
        let tasks = plan.parts.iter().filter(|(on, _)| *on == agent).map(|(_, tasks)| count(*tasks)).sum();
        allowed && profile.take(plan.start, plan.end(), &plan.ask.need, tasks)
    }

    /// Gives all jobs new times, in the order of those that they had.
    fn plan_anew(&mut self, world: World<'_>) {
        let jobs: Vec<u32> = std::mem::take(&mut self.by_start).into_iter().map(|(.., job)| job).collect();
        let mut plans = std::mem::take(&mut self.plans);
        let agents: BTreeSet<u32> =
            std::mem::take(&mut self.on_agent).into_iter().map(|(agent, _)| agent).collect();
        agents.into_iter().for_each(|agent| self.profiles[agent as usize] = base(agent, world));
        for job in jobs {
            let Some(Plan { key, ask, .. }) = plans.remove(&job) else { continue };
            match self.find(&ask, world.now, Time::MAX, world) {
                Some((start, parts)) => self.keep(job, Plan { key, ask, start, parts }),
                None => self.lost.push((ask.kind, key, job)),
            }
        }
    }

    /// Has each job start earlier where it can, in order, until none can.
    fn advance(&mut self, world: World<'_>) {
        let queues = &world.backlog.queues;
        let rank = |job: u32| rank_of(queues, world.backlog.job(job).lane);
        let mut order: Vec<(Vec<LaneKey>, JobKey, u32)> =
            self.plans.iter().map(|(job, plan)| (rank(*job), plan.key, *job)).collect();
        order.sort_unstable();
        while order.iter().filter(|(.., job)| self.advance_one(*job, world)).count() > 0 {}
    }

    /// Has a job start earlier, if it can.
    fn advance_one(&mut self, job: u32, world: World<'_>) -> bool {
        let Some(plan) = self.plans.get(&job).filter(|plan| plan.start > world.now) else { return false };
        let plan = plan.clone();
        self.change_profiles(&plan, -1);
        let Some((start, parts)) = self.find(&plan.ask, world.now, plan.start, world) else {
            self.change_profiles(&plan, 1);
            return false;
        };
        self.change_profiles(&plan, 1);
        self.drop_plan(job);
        self.keep(job, Plan { start, parts, ..plan });
        true
    }

    fn change_profiles(&mut self, plan: &Plan, sign: i64) {
        for (agent, tasks) in &plan.parts {
            if let Some(profile) = self.profiles.get_mut(*agent as usize) {
                profile.take(plan.start, plan.end(), &plan.ask.need, sign * count(*tasks));
            }
        }
    }

    /// Keeps room for a job.
    pub(crate) fn keep(&mut self, job: u32, plan: Plan) {
        self.firsts.forget_first(job);
        self.change_profiles(&plan, 1);
        self.note(job, plan);
    }

    /// Notes a plan, for which room is taken.
    fn note(&mut self, job: u32, plan: Plan) {
        self.on_agent.extend(plan.parts.iter().map(|(agent, _)| (*agent, job)));
        self.by_start.insert((plan.start, plan.key, job));
        self.plans.insert(job, plan);
    }

    /// Keeps no room any more for a job.
    pub(crate) fn drop_plan(&mut self, job: u32) -> Option<Plan> {
        let plan = self.forget_plan(job)?;
        self.change_profiles(&plan, -1);
        Some(plan)
    }

    /// A job has another place in the order.
    pub(crate) fn rekey(&mut self, job: u32, key: JobKey) {
        self.revise(job, |plan| plan.key = key);
    }

    /// Changes a plan, for which the same room stays taken.
    fn revise(&mut self, job: u32, change: impl FnOnce(&mut Plan)) {
        let is_stranded = self.stranded.contains(&job);
        if let Some(mut plan) = self.forget_plan(job) {
            change(&mut plan);
            self.note(job, plan);
            self.stranded.extend(is_stranded.then_some(job));
        }
    }

    /// Forgets a plan, for which room stays taken.
    pub(crate) fn forget_plan(&mut self, job: u32) -> Option<Plan> {
        let plan = self.plans.remove(&job)?;
        self.stranded.remove(&job);
        self.by_start.remove(&(plan.start, plan.key, job));
        plan.parts.iter().for_each(|(agent, _)| {
            self.on_agent.remove(&(*agent, job));
        });
        Some(plan)
    }
}

/// A lane's place among the lanes, where queues rank.
fn rank_of(queues: &Queues, lane: u32) -> Vec<LaneKey> {
    if queues.rank() { queues.tree.path(queues.lane(lane).branch, queues.key(lane)) } else { Vec::new() }
}

/// As a number with a sign.
fn count(tasks: u64) -> i64 {
    i64::try_from(tasks).unwrap_or(i64::MAX)
}
