//! Conservative backfilling: a time for each job.

use std::collections::BTreeSet;

use allot_model::{AgentId, JobId, ResourceName, Span};

use super::{Ahead, BEYOND, Moment, Plan, at, ends};
use crate::support::orders::compare_jobs;

impl Ahead<'_> {
    pub(super) fn conservative_next(&mut self) -> Option<(usize, Vec<usize>)> {
        loop {
            self.keep_plans();
            if let Some((_, id)) = self.planned().into_iter().find(|(start, ..)| *start <= at(self.now)) {
                let (plan, job) = (self.plans.remove(&id)?, self.place_of(id)?);
                if self.takes_kept_now(job) {
                    self.plans.extend(self.find(job, BEYOND).map(|plan| (id, plan)));
                    continue;
                }
                if self.is_limited(job) {
                    continue;
                }
                return Some((job, self.agents_of(&plan)));
            }
            let is_planned = |job: &usize| self.plans.contains_key(&self.state.jobs[*job].facts.job);
            let held_back =
                self.held_back(|job| !is_planned(&job) && self.most_room_ever(job) >= self.count(job));
            let unplanned = self.in_order().into_iter().filter(|job| !is_planned(job));
            let delays_nobody = |job: &usize| {
                let end = |plan: Plan| ends(plan.start, self.state.jobs[*job].facts.estimate);
                let end = self.find(*job, BEYOND).map(end);
                end.is_some_and(|end| !self.delays_one_held_back(*job, end, &held_back))
            };
            let with_hope: Vec<usize> = unplanned.filter(delays_nobody).collect();
            let job = self.state.first_of(&with_hope)?;
            let plan = self.find(job, BEYOND)?;
            if plan.start <= at(self.now) {
                return Some((job, self.agents_of(&plan)));
            }
            self.plans.insert(self.state.jobs[job].facts.job, plan);
        }
    }

    fn agents_of(&self, plan: &Plan) -> Vec<usize> {
        let agent =
            |id: &AgentId| self.state.agents.iter().position(|agent| agent.facts.agent == *id).unwrap();
        plan.parts.iter().flat_map(|(id, tasks)| (0..*tasks).map(move |_| agent(id))).collect()
    }

    /// The planned jobs in the order of their times.
    fn planned(&self) -> Vec<(Moment, JobId)> {
        let mut planned: Vec<_> = self.plans.iter().map(|(id, plan)| (plan.start, *id)).collect();
        let place = |id: JobId| self.place_of(id).unwrap();
        planned.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| self.compare(place(a.1), place(b.1))));
        planned
    }

    pub(super) fn compare(&self, a: usize, b: usize) -> std::cmp::Ordering {
        let [a, b] = [a, b].map(|job| &self.state.jobs[job].facts);
        compare_jobs(self.policy(), self.now, a, b)
    }

    /// Drops, moves back and moves ahead what is planned, as what is there makes it necessary.
    fn keep_plans(&mut self) {
        let is_ready = |id: &JobId| {
            let job = self.place_of(*id);
            job.is_some_and(|job| self.state.jobs[job].pending.count() >= self.count(job))
        };
        let gone: Vec<JobId> = self.plans.keys().copied().filter(|id| !is_ready(id)).collect();
        gone.iter().for_each(|id| {
            self.plans.remove(id);
        });
        let now = at(self.now);
        self.plans.values_mut().for_each(|plan| plan.start = plan.start.max(now));
        if !self.are_kept() {
            let order = self.planned();
            self.plans.clear();
            for (_, id) in order {
                let found = self.place_of(id).and_then(|job| self.find(job, BEYOND));
                self.plans.extend(found.map(|plan| (id, plan)));
            }
        }
        while self.advance() {}
    }

    /// True where there is room for all that is planned, on agents that may take it.
    fn are_kept(&self) -> bool {
        let names: BTreeSet<&ResourceName> =
            self.state.jobs.iter().flat_map(|job| job.facts.resources.iter().map(|(name, _)| name)).collect();
        let allowed = |(id, plan): (&JobId, &Plan)| {
            let job = self.place_of(*id).unwrap();
            let agent = |id: &AgentId| self.state.agents.iter().position(|agent| agent.facts.agent == *id);
            plan.parts.iter().all(|(id, _)| agent(id).is_some_and(|agent| self.value(agent, job).is_some()))
        };
        let times = self.times();
        let has_room = |agent: usize| {
            times.iter().all(|time| names.iter().all(|name| self.free(agent, name, *time) >= 0))
        };
        self.plans.iter().all(allowed) && (0..self.state.agents.len()).all(has_room)
    }

    /// Has each job in order start earlier, if it can; true where one does.
    fn advance(&mut self) -> bool {
        let mut moved = false;
        for job in self.state.candidates() {
            let id = self.state.jobs[job].facts.job;
            let Some(plan) = self.plans.get(&id).cloned().filter(|plan| plan.start > at(self.now)) else {
                continue;
            };
            self.plans.remove(&id);
            let earlier = self.find(job, plan.start);
            moved |= earlier.is_some();
            self.plans.insert(id, earlier.unwrap_or(plan));
        }
        moved
    }

    /// For how many tasks there is room on an agent from a time on, as long as a task of the job takes.
    fn room_for(&self, agent: usize, job: usize, start: Moment) -> u64 {
        let end = ends(start, self.state.jobs[job].facts.estimate);
        let times = self.times().into_iter().filter(|time| *time > start && *time < end);
        [start].into_iter().chain(times).map(|time| self.slots(agent, job, time)).min().unwrap()
    }

    /// The first time before `before` at which a job can start without delaying anyone, and where.
    fn find(&self, job: usize, before: Moment) -> Option<Plan> {
        let from = if self.takes_kept_now(job) { self.now + Span::from_secs(1) } else { self.now };
        let mut times = self.times();
        times.insert(at(from));
        let times = times.into_iter().filter(|time| (at(from)..before).contains(time));
        { times }.find_map(|start| {
            let rooms = self.values(job).into_iter().map(|value| self.rooms(job, &value, start));
            let is_enough = |rooms: &Vec<(usize, u64)>| {
                rooms.iter().map(|(_, room)| room).sum::<u64>() >= self.count(job)
            };
            let rooms = match self.count(job) {
                1 => Some(rooms.flatten().collect()).filter(is_enough),
                _ => rooms.into_iter().find(is_enough),
            };
            rooms.map(|rooms| Plan { start, parts: self.spread(job, start, rooms) })
        })
    }

    fn rooms(&self, job: usize, value: &str, start: Moment) -> Vec<(usize, u64)> {
        let agents =
            (0..self.state.agents.len()).filter(|agent| self.value(*agent, job).as_deref() == Some(value));
        agents.map(|agent| (agent, self.room_for(agent, job, start).min(self.count(job)))).collect()
    }

    /// Since when an agent has had room for a task of the job without a break, at that time.
    fn vacant_since(&self, agent: usize, job: usize, time: Moment) -> Moment {
        let before = self.times().into_iter().filter(|before| *before < time).rev();
        { before }.take_while(|before| self.slots(agent, job, *before) > 0).last().unwrap_or(time)
    }

    /// As many tasks as are placed at a time: on the agents that have had room for the shortest time, then on those that are
    /// preferred.
    fn spread(&self, job: usize, start: Moment, mut rooms: Vec<(usize, u64)>) -> Vec<(AgentId, u64)> {
        rooms.retain(|(_, room)| *room > 0);
        rooms.sort_by_key(|(agent, _)| {
            (std::cmp::Reverse(self.vacant_since(*agent, job, start)), self.state.preference(*agent))
        });
        let mut left = self.count(job);
        let part = |(agent, room): (usize, u64)| {
            let tasks = room.min(left);
            left -= tasks;
            (self.state.agents[agent].facts.agent.clone(), tasks)
        };
        rooms.into_iter().map(part).filter(|(_, tasks)| *tasks > 0).collect()
    }
}
