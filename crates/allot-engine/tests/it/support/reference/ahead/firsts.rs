//! Whom limits hold back: the first in each queue that its limit leaves no room for now, and from when on it does.

use std::collections::BTreeSet;

use allot_engine::Rank;
use allot_model::{Holding, QueueName, Resources};

use super::{Ahead, BEYOND, Moment, expected};
use crate::support::holding;

impl Ahead<'_> {
    pub(super) fn queue_of(&self, job: usize) -> &QueueName {
        &self.state.jobs[job].facts.queue
    }

    /// The queues whose limit holds back the first in them of those that may be in line, that, and when there is room for it
    /// within the limit.
    pub(super) fn held_back(
        &self,
        may_be_in_line: impl Fn(usize) -> bool,
    ) -> Vec<(QueueName, usize, Moment)> {
        let waiting: Vec<usize> = self.state.candidates();
        let ready = |job: &usize| self.state.jobs[*job].pending.count() >= self.count(*job);
        let exceeds = |queue: &QueueName, job: usize, held: &Holding| {
            let slice = self.state.jobs[job].facts.resources.as_scalars();
            self.state.limits[queue].exceeded(held, &slice, self.count(job)).is_some()
        };
        let mut found = Vec::new();
        for queue in self.state.limits.keys().filter(|queue| !self.state.limits[*queue].is_none()) {
            let is_refused_below = |job: usize| {
                let below = self.queue_of(job).lineage().filter(|name| name.len() > queue.as_str().len());
                { below }
                    .filter_map(|name| self.state.limits.get_key_value(name))
                    .any(|(below, _)| exceeds(below, job, &holding(self.state.jobs.iter(), below.as_str())))
            };
            let in_line = |job: &usize| {
                ready(job)
                    && self.queue_of(*job).is_within(queue.as_str())
                    && !exceeds(queue, *job, &Holding::default())
                    && !is_refused_below(*job)
                    && may_be_in_line(*job)
            };
            let inside: Vec<usize> = waiting.iter().copied().filter(in_line).collect();
            let first = match (self.state.guarantees.values().all(|g| g.is_none()), &self.policy().rank) {
                (true, _) => inside.first().copied(),
                (_, Rank::Line) => self.state.first_within(Some(queue), &inside),
                _ => self.state.first_at(queue.as_str(), &inside),
            };
            let is_held_back =
                |job: &usize| exceeds(queue, *job, &holding(self.state.jobs.iter(), queue.as_str()));
            let Some(first) = first.filter(is_held_back) else { continue };
            let ends = self.ends_in(queue).into_iter();
            let opens = { ends }.find(|end| !exceeds(queue, first, &self.holding_at(queue, *end)));
            found.extend(opens.map(|opens| (queue.clone(), first, opens)));
        }
        found
    }

    /// When what runs in a queue is expected to end.
    fn ends_in(&self, queue: &QueueName) -> BTreeSet<Moment> {
        self.running_in(queue).map(|(end, ..)| end).filter(|end| *end < BEYOND).collect()
    }

    /// What runs in a queue and those below it: when it is expected to end, what each holds, and how many they are. Of what runs on
    /// an agent that is gone nobody knows.
    fn running_in(&self, queue: &QueueName) -> impl Iterator<Item = (Moment, &Resources, u64)> {
        let inside = self.state.jobs.iter().filter(|job| job.facts.queue.is_within(queue.as_str()));
        inside.flat_map(|job| {
            job.running.iter().map(|(on, tasks, slice, slots)| {
                let started = self.starts[&(job.facts.job, tasks.first)];
                let is_there = self.state.agents.iter().any(|agent| agent.facts.agent == *on);
                let end = if is_there { expected(started, job.facts.estimate, self.now) } else { BEYOND };
                (end, slice, *slots)
            })
        })
    }

    /// What a queue and those below it hold at a time of what they hold now.
    fn holding_at(&self, queue: &QueueName, time: Moment) -> Holding {
        let mut held = Holding::default();
        let lasting = self.running_in(queue).filter(|(end, ..)| *end > time);
        lasting.for_each(|(_, slice, slots)| held.add(slice, slots));
        held
    }

    /// True where the next tasks of a job, which end then, leave one too little room that a limit around it holds back.
    pub(super) fn delays_one_held_back(
        &self,
        job: usize,
        end: Moment,
        held_back: &[(QueueName, usize, Moment)],
    ) -> bool {
        let facts = &self.state.jobs[job].facts;
        let around = held_back.iter().filter(|(queue, ..)| facts.queue.is_within(queue.as_str()));
        { around }.filter(|(.., opens)| end > *opens).any(|(queue, first, opens)| {
            let mut held = self.holding_at(queue, *opens);
            held.add(&facts.resources.as_scalars(), self.count(job));
            let slice = self.state.jobs[*first].facts.resources.as_scalars();
            self.state.limits[queue].exceeded(&held, &slice, self.count(*first)).is_some()
        })
    }

    /// For how many tasks of a job there would be room if nothing ran.
    pub(super) fn most_room_ever(&self, job: usize) -> u64 {
        let room = |value: &str| {
            let agents = (0..self.state.agents.len())
                .filter(|agent| self.value(*agent, job).as_deref() == Some(value))
                .map(|agent| &self.state.agents[agent].facts.total);
            let needs = || self.state.jobs[job].facts.resources.iter().filter(|(_, amount)| *amount > 0);
            agents.map(|total| needs().map(|(name, amount)| total.total(name) / amount).min().unwrap()).sum()
        };
        self.values(job).iter().map(|value| room(value)).max().unwrap_or(0)
    }
}
