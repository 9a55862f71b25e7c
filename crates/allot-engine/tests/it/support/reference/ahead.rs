//! Policies that look ahead once more, as plainly as they can be said: everything that will be free is added up anew for
//! each question.

mod conservative;
mod firsts;

use std::collections::{BTreeMap, BTreeSet};

use allot_engine::{Backfill, Policy, Rank};
use allot_model::{AgentId, JobId, QueueName, ResourceName, Span, Time};

use super::{State, allows, fits};
use crate::support::{Cluster, JobTruth, Placed, holding};

/// A point in time: known, or in the order of their starts the ends of what runs for ever, or beyond all times.
type Moment = (u8, u64);

const BEYOND: Moment = (2, 0);
const SECOND: u64 = 1_000_000;

fn at(time: Time) -> Moment {
    (0, time.as_micros())
}

/// When a task that starts then has ended.
fn ends(start: Moment, estimate: Option<Span>) -> Moment {
    estimate.map_or(BEYOND, |span| (start.0, start.1 + span.as_micros()))
}

/// When a task that runs is expected to end.
fn expected(started: Time, estimate: Option<Span>, now: Time) -> Moment {
    let Some(estimate) = estimate else { return (1, started.as_micros()) };
    let (end, mut late) = (started.as_micros() + estimate.as_micros(), 0);
    while end + late <= now.as_micros() {
        late = late * 2 + SECOND.max(estimate.as_micros() / 16);
    }
    (0, end + late)
}

/// What EASY would place, task by task.
pub(crate) fn easy(policy: &Policy, cluster: &Cluster) -> Vec<Placed> {
    let mut ahead = Ahead::of(policy, cluster);
    let mut placed = Vec::new();
    while let Some((job, agents)) = ahead.easy_next() {
        placed.extend(ahead.place(job, &agents));
    }
    placed
}

/// For whom room is kept, from when on, and where.
pub(crate) type Plans = BTreeMap<JobId, Plan>;

/// A time, and how many tasks start then on each agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) start: Moment,
    parts: Vec<(AgentId, u64)>,
}

/// What conservative backfilling would place, task by task. `plans` are those it made before.
pub(crate) fn conservative(policy: &Policy, cluster: &Cluster, plans: &mut Plans) -> Vec<Placed> {
    let mut ahead = Ahead::of(policy, cluster);
    ahead.plans = std::mem::take(plans);
    let mut placed = Vec::new();
    while let Some((job, agents)) = ahead.conservative_next() {
        placed.extend(ahead.place(job, &agents));
    }
    *plans = ahead.plans;
    placed
}

#[derive(Clone)]
struct Ahead<'a> {
    state: State<'a>,
    starts: BTreeMap<(JobId, u32), Time>,
    now: Time,
    plans: Plans,
}

/// Room that EASY keeps: for so many tasks of a job, at that time, on the agents with that value.
struct Kept {
    job: usize,
    at: Moment,
    value: String,
}

impl<'a> Ahead<'a> {
    fn of(policy: &'a Policy, cluster: &'a Cluster) -> Self {
        let (state, starts) = (State::of(policy, cluster), cluster.starts.clone());
        Self { state, starts, now: cluster.now, plans: Plans::new() }
    }

    fn policy(&self) -> &'a Policy {
        self.state.policy
    }

    /// How many tasks of a job are placed at a time.
    fn count(&self, job: usize) -> u64 {
        self.state.count(job)
    }

    /// Jobs in line that their queues may have.
    fn in_order(&self) -> Vec<usize> {
        let ready = |job: &usize| self.state.jobs[*job].pending.count() >= self.count(*job);
        self.state.candidates().into_iter().filter(ready).filter(|job| !self.is_limited(*job)).collect()
    }

    fn is_limited(&self, job: usize) -> bool {
        self.state.limit_on_many(job, self.count(job)).is_some()
    }

    /// True where the next tasks of a job leave another its room within the limits that both are under.
    fn leaves_limits(&self, job: usize, head: usize) -> bool {
        let [facts, first] = [job, head].map(|job| &self.state.jobs[job].facts);
        let shared = facts.queue.lineage().filter(|above| first.queue.is_within(above));
        { shared }.filter_map(|above| self.state.limits.get_key_value(above)).all(|(above, limit)| {
            let mut held = holding(self.state.jobs.iter(), above.as_str());
            held.add(&facts.resources.as_scalars(), self.count(job));
            limit.exceeded(&held, &first.resources.as_scalars(), self.count(head)).is_none()
        })
    }

    fn takes_kept_now(&self, job: usize) -> bool {
        self.state.takes_what_is_kept(job, |_| 0)
    }

    /// True where the next tasks of a job would take what is kept for others, once all has ended that ends by then.
    fn takes_kept_at(&self, job: usize, time: Moment) -> bool {
        let keeps = |queue: &QueueName| queue.lineage().any(|above| self.state.keeps_for(above));
        // What these queues hold is kept for them once it is free.
        let others = |job: &JobTruth| !keeps(&job.facts.queue);
        let freed = |name: &ResourceName| {
            let agents = 0..self.state.agents.len();
            let held = agents.flat_map(|agent| self.held_by(agent, name, others));
            held.filter(|(end, _)| *end <= time).map(|(_, amount)| amount).sum()
        };
        self.state.takes_what_is_kept(job, freed)
    }

    /// The value that an agent counts under for a job; nothing where it does not count.
    fn value(&self, agent: usize, job: usize) -> Option<String> {
        let (agent, facts) = (&self.state.agents[agent].facts, &self.state.jobs[job].facts);
        let same = facts.same.as_ref().filter(|_| facts.min_tasks > 1);
        let value = same.map_or(Some(String::new()), |same| agent.attributes.get(same).cloned());
        value.filter(|_| allows(agent, facts))
    }

    /// How much is held on an agent until when.
    fn held(&self, agent: usize, name: &ResourceName) -> Vec<(Moment, u64)> {
        self.held_by(agent, name, |_| true)
    }

    /// The same by some jobs.
    fn held_by(
        &self,
        agent: usize,
        name: &ResourceName,
        counts: impl Fn(&JobTruth) -> bool,
    ) -> Vec<(Moment, u64)> {
        let id = &self.state.agents[agent].facts.agent;
        let mut held = Vec::new();
        for job in self.state.jobs.iter().filter(|job| counts(job)) {
            for (_, tasks, slice, slots) in job.running.iter().filter(|(on, ..)| on == id) {
                let started = self.starts[&(job.facts.job, tasks.first)];
                let end = expected(started, job.facts.estimate, self.now);
                held.push((end, slice.total(name) * slots));
            }
        }
        held
    }

    /// How much will be free on an agent at a time, less what is planned there.
    fn free(&self, agent: usize, name: &ResourceName, time: Moment) -> i64 {
        let signed = |amount: u64| i64::try_from(amount).unwrap();
        let ended = self.held(agent, name).into_iter().filter(|(end, _)| *end <= time);
        let free = self.state.agents[agent].free.total(name) + ended.map(|(_, amount)| amount).sum::<u64>();
        let mut left = signed(free);
        for (id, plan) in &self.plans {
            let facts = &self.state.jobs[self.place_of(*id).unwrap()].facts;
            let runs = plan.start <= time && time < ends(plan.start, facts.estimate);
            let on = plan.parts.iter().filter(|(on, _)| *on == self.state.agents[agent].facts.agent);
            let tasks: u64 = on.map(|(_, tasks)| tasks).sum();
            left -= if runs { signed(tasks * facts.resources.get(name)) } else { 0 };
        }
        left
    }

    fn slots(&self, agent: usize, job: usize, time: Moment) -> u64 {
        let needs = self.state.jobs[job].facts.resources.iter().filter(|(_, amount)| *amount > 0);
        let times = |(name, amount)| u64::try_from(self.free(agent, name, time)).unwrap_or(0) / amount;
        needs.map(times).min().unwrap_or(u64::MAX)
    }

    /// All times at which anything changes.
    fn times(&self) -> BTreeSet<Moment> {
        let mut times = BTreeSet::from([at(self.now)]);
        for job in &self.state.jobs {
            let started = job.running.iter().map(|(_, tasks, ..)| self.starts[&(job.facts.job, tasks.first)]);
            times.extend(started.map(|started| expected(started, job.facts.estimate, self.now)));
        }
        for (id, plan) in &self.plans {
            let facts = &self.state.jobs[self.place_of(*id).unwrap()].facts;
            times.extend([plan.start, ends(plan.start, facts.estimate)]);
        }
        times.retain(|time| *time >= at(self.now) && *time < BEYOND);
        times
    }

    fn place_of(&self, id: JobId) -> Option<usize> {
        self.state.jobs.iter().position(|job| job.facts.job == id)
    }

    /// The values that agents have for a job.
    fn values(&self, job: usize) -> BTreeSet<String> {
        (0..self.state.agents.len()).filter_map(|agent| self.value(agent, job)).collect()
    }

    /// For how many tasks of a job there is room on the agents of a value at a time.
    fn room(&self, job: usize, value: &str, time: Moment) -> u64 {
        let agents =
            (0..self.state.agents.len()).filter(|agent| self.value(*agent, job).as_deref() == Some(value));
        agents.map(|agent| self.slots(agent, job, time).min(self.count(job))).sum()
    }

    // EASY

    fn easy_next(&self) -> Option<(usize, Vec<usize>)> {
        let (waiting, held_back) = (self.in_order(), self.held_back(|job| self.opening(job).is_some()));
        let is_closed =
            |job: usize| held_back.iter().any(|(queue, ..)| self.queue_of(job).is_within(queue.as_str()));
        let may_be_first = |job: &usize| !is_closed(*job) && self.opening(*job).is_some();
        let with_hope: Vec<usize> = waiting.iter().copied().filter(may_be_first).collect();
        let head = self.state.first_of(&with_hope).and_then(|head| self.opening(head));
        if let Some(head) = &head
            && let Some(agents) = self.try_place(head.job, None).filter(|_| !self.takes_kept_now(head.job))
        {
            return Some((head.job, agents));
        }
        let go_ahead = |job: usize| {
            let end = ends(at(self.now), self.state.jobs[job].facts.estimate);
            let leaves_limits = head.as_ref().is_none_or(|head| self.leaves_limits(job, head.job));
            if self.takes_kept_now(job) || !leaves_limits || self.delays_one_held_back(job, end, &held_back) {
                return None;
            }
            self.try_place(job, head.as_ref().filter(|head| end > head.at))
        };
        let candidates = self.candidates(&waiting).into_iter();
        let placeable: Vec<usize> = candidates.filter(|job| go_ahead(*job).is_some()).collect();
        let job = self.state.first_of(&placeable)?;
        Some((job, go_ahead(job)?))
    }

    /// The first time at which there is room for a job.
    fn opening(&self, job: usize) -> Option<Kept> {
        let fits = |time: Moment| {
            let fits = |value: &String| {
                self.room(job, value, time) >= self.count(job) && !self.takes_kept_at(job, time)
            };
            self.values(job).into_iter().find(fits).map(|value| Kept { job, at: time, value })
        };
        self.times().into_iter().find_map(fits)
    }

    /// Those that may go ahead, in order.
    fn candidates(&self, waiting: &[usize]) -> Vec<usize> {
        let mut candidates = waiting.to_vec();
        if self.policy().backfill == Backfill::EasyShortest {
            let mut queues = Vec::new();
            for job in waiting {
                let queue = &self.state.jobs[*job].facts.queue;
                if !queues.contains(queue) {
                    queues.push(queue.clone());
                }
            }
            let rank = |job: usize| {
                let facts = &self.state.jobs[job].facts;
                let queue = queues.iter().position(|queue| *queue == facts.queue);
                let estimate = facts.estimate.map_or(u64::MAX, Span::as_micros);
                (queue.filter(|_| self.policy().rank != Rank::Line), estimate)
            };
            candidates.sort_by(|a, b| rank(*a).cmp(&rank(*b)).then_with(|| self.compare(*a, *b)));
        }
        candidates
    }

    /// The agents for all tasks that are placed at a time, one after the other. Where room is kept for another job, it has
    /// to be there all the same.
    fn try_place(&self, job: usize, kept: Option<&Kept>) -> Option<Vec<usize>> {
        let mut agents: Vec<usize> =
            (0..self.state.agents.len()).filter(|agent| self.fits(*agent, job)).collect();
        agents.sort_by_key(|agent| self.state.preference(*agent));
        let mut values: Vec<String> = Vec::new();
        for value in agents.iter().filter_map(|agent| self.value(*agent, job)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.into_iter().find_map(|value| {
            let mut trial = self.clone();
            (0..self.count(job)).map(|_| trial.place_one_at(job, &value, kept)).collect()
        })
    }

    fn fits(&self, agent: usize, job: usize) -> bool {
        fits(&self.state.agents[agent], &self.state.jobs[job].facts.resources)
            && self.value(agent, job).is_some()
    }

    fn place_one_at(&mut self, job: usize, value: &str, kept: Option<&Kept>) -> Option<usize> {
        let agents = 0..self.state.agents.len();
        let with_room = agents.filter(|agent| {
            if !self.fits(*agent, job) || self.value(*agent, job).as_deref() != Some(value) {
                return false;
            }
            let Some(Kept { job: head, at, value }) = kept else { return true };
            let mut trial = self.clone();
            trial.take(*agent, job);
            // What it would outlast it is not expected to give back by then.
            trial.room(*head, value, *at) >= trial.count(*head) && !trial.takes_kept_at(*head, *at)
        });
        let agent = with_room.min_by_key(|agent| self.state.preference(*agent))?;
        self.take(agent, job);
        Some(agent)
    }

    fn take(&mut self, agent: usize, job: usize) -> allot_model::Resources {
        let slice = self.state.agents[agent].free.take(&self.state.jobs[job].facts.resources).unwrap();
        self.state.agents[agent].free.subtract(&slice).unwrap();
        slice
    }

    /// Places the first tasks of a job on these agents.
    fn place(&mut self, job: usize, agents: &[usize]) -> Vec<Placed> {
        let mut placed = Vec::new();
        for agent in agents {
            let slice = self.take(*agent, job);
            let id = self.state.agents[*agent].facts.agent.clone();
            let now = self.now;
            let job = &mut self.state.jobs[job];
            let task = job.pending.take_first(1)[0];
            job.running.push((id.clone(), task, slice, 1));
            self.starts.insert((job.facts.job, task.first), now);
            let (queue, job) = (job.facts.queue.clone(), job.facts.job);
            placed.push(Placed { queue, job, task: task.first, agent: id });
        }
        self.state.set_placed(job);
        placed
    }
}
