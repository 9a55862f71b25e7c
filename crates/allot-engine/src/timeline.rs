//! When what runs is expected to end, agent by agent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use allot_model::{AgentId, JobId, Span, TaskRange, Time};

use crate::dims::{Need, Vector};
use crate::ranked::{Ranked, Summary};
use crate::room::INDEXED;
use crate::slab::Slab;

/// Times from here on stand for "once all has ended that is expected to end": what runs for nobody knows how long ends
/// there, the one that started first before the others.
pub(crate) const FOREVER: Time = Time::from_micros(1 << 62);

/// How long a task is expected to run; one of which nobody said so, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Estimate(Span);

impl Default for Estimate {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl Estimate {
    pub(crate) const UNKNOWN: Self = Self(Span::from_micros(u64::MAX));

    pub(crate) fn of(estimate: Option<Span>) -> Self {
        estimate.map_or(Self::UNKNOWN, Self)
    }

    /// True of a task that runs for ever, as far as anybody knows.
    pub(crate) fn is_unknown(self) -> bool {
        self == Self::UNKNOWN
    }

    /// That of a slot in which so many tasks take turns.
    pub(crate) fn times(self, turns: u64) -> Self {
        Self(self.0.times(turns.max(1)))
    }

    /// When a task that is yet to start at `start` will have ended for sure, as far as it goes by this. One that runs
    /// for ever holds what it has beyond all times.
    pub(crate) fn ends(self, start: Time) -> Time {
        match self {
            Self::UNKNOWN => Time::MAX,
            Self(span) if start < FOREVER => (start + span).min(before(FOREVER)),
            Self(span) => (start + span).min(before(Time::MAX)),
        }
    }

    /// When a task that has run since `started` is expected to end.
    ///
    /// One that has outrun its estimate is expected to take a second or a sixteenth of the estimate more, whichever is
    /// longer, and where it has outrun that as well, to be late three times as long, then seven times, and so on. So a
    /// task is never expected to end this very moment for long, and what is planned around it changes only a few times
    /// however late it is: the gradual correction of [Tsafrir, Etsion and Feitelson, TPDS 18(6), 2007, §4], with steps
    /// that double.
    pub(crate) fn expected(self, started: Time, now: Time) -> Time {
        if self == Self::UNKNOWN {
            return FOREVER + started.min(before(FOREVER)).since(Time::ZERO);
        }
        let end = self.ends(started.min(before(FOREVER)));
        if end > now {
            return end;
        }
        let step = Span::from_secs(1).max(Span::from_micros(self.0.as_micros() / 16));
        let mut late = step;
        while end + late <= now && end + late < FOREVER {
            late = late + late + step;
        }
        (end + late).min(before(FOREVER))
    }
}

fn before(time: Time) -> Time {
    time - Span::from_micros(1)
}

/// Amounts of the resources that are looked at first, as in [`crate::room::Room`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums([u64; INDEXED]);

impl Summary for Sums {
    fn join(&mut self, other: &Self) {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(other);
        }
    }
}

impl Sums {
    fn of(need: &Need, slots: u64) -> Self {
        let mut sums = Self::default();
        for (dim, amount) in need.iter() {
            if let Some(sum) = sums.0.get_mut(dim) {
                *sum = amount.saturating_mul(slots);
            }
        }
        sums
    }
}

/// Tasks that started together on one agent.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) job: JobId,
    pub(crate) tasks: TaskRange,
    /// How many slots they hold still.
    pub(crate) slots: u64,
    /// What each slot holds.
    pub(crate) need: Need,
    pub(crate) started: Time,
    pub(crate) estimate: Estimate,
}

impl Default for Group {
    fn default() -> Self {
        let (job, tasks, need) = (JobId(0), TaskRange::one(0), Need::default());
        Self { job, tasks, slots: 0, need, started: Time::ZERO, estimate: Estimate::UNKNOWN }
    }
}

/// What runs on one agent, in the order in which it is expected to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    groups: Slab<Group>,
    by_job: BTreeSet<(JobId, u32)>,
    order: Ranked<(Time, u32), Sums>,
}

impl Timeline {
    /// Tasks start; where they follow on others of their job that started at the same time, as one group with these.
    fn add(&mut self, group: Group, now: Time) {
        if let Some(slot) = self.follows(&group) {
            let before = &mut self.groups[slot];
            before.tasks.last = group.tasks.last;
            before.slots += group.slots;
            let sums = Sums::of(&before.need, before.slots);
            self.order.update(slot, sums, |_| {});
            return;
        }
        let (job, end) = (group.job, group.estimate.expected(group.started, now));
        let sums = Sums::of(&group.need, group.slots);
        let slot = self.groups.insert(group);
        self.by_job.insert((job, slot));
        self.order.set(slot, (end, slot), sums);
    }

    /// The group that another continues.
    fn follows(&self, group: &Group) -> Option<u32> {
        let continues = |before: &Group| {
            before.tasks.last.checked_add(1) == Some(group.tasks.first)
                && (before.started, before.estimate) == (group.started, group.estimate)
                && before.need == group.need
        };
        self.of_job(group.job).find(|slot| continues(&self.groups[*slot]))
    }

    fn of_job(&self, job: JobId) -> impl Iterator<Item = u32> {
        self.by_job.range((job, 0)..=(job, u32::MAX)).map(|(_, slot)| *slot)
    }

    /// The groups that these tasks are in: of several tries of a task the last first.
    fn find(&self, job: JobId, tasks: TaskRange) -> Vec<u32> {
        let mut found: Vec<u32> =
            self.of_job(job).filter(|slot| self.groups[*slot].tasks.overlap(tasks).is_some()).collect();
        found.sort_by_key(|slot| Reverse((self.groups[*slot].started, *slot)));
        found
    }

    /// So many slots of tasks of a job are free.
    fn end(&mut self, job: JobId, tasks: TaskRange, mut slots: u64) {
        for slot in self.find(job, tasks) {
            let group = &self.groups[slot];
            let shared = group.tasks.overlap(tasks).map_or(0, TaskRange::count);
            let ended = slots.min(shared).min(group.slots);
            self.release(slot, ended);
            slots -= ended;
        }
    }

    /// So many slots of a group are free.
    fn release(&mut self, slot: u32, slots: u64) {
        let group = &mut self.groups[slot];
        group.slots = group.slots.saturating_sub(slots);
        if group.slots > 0 {
            let sums = Sums::of(&group.need, group.slots);
            self.order.update(slot, sums, |_| {});
        } else {
            let gone = self.groups.remove(slot);
            self.by_job.remove(&(gone.job, slot));
            self.order.remove(slot);
        }
    }

    /// Moves what has outrun its estimate to when it is expected to end now.
    fn correct(&mut self, now: Time) {
        while let Some((slot, _)) = self.first().filter(|(_, end)| *end <= now) {
            let group = &self.groups[slot];
            let end = group.estimate.expected(group.started, now);
            if end <= now {
                return;
            }
            let sums = self.order.says(slot);
            self.order.update(slot, sums, |key| key.0 = end);
        }
    }

    fn first(&self) -> Option<(u32, Time)> {
        let first = self.order.first()?;
        self.order.key(first).map(|(end, _)| (first, *end))
    }

    /// When the first of all is expected to end, if it is not for ever.
    fn first_end(&self) -> Option<Time> {
        self.first().map(|(_, end)| end).filter(|end| *end < FOREVER)
    }

    fn is_empty(&self) -> bool {
        self.by_job.is_empty()
    }

    /// All groups and when each is expected to end, in that order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Time, &Group)> {
        let end = |slot: u32| self.order.key(slot).map(|(end, _)| *end);
        self.order.in_order().into_iter().filter_map(move |slot| Some((end(slot)?, &self.groups[slot])))
    }

    /// What is free once all has ended that is expected to have ended by then, beside what is free now.
    pub(crate) fn free_at(&self, free: &Vector, until: Time, need: &Need) -> Vector {
        let mut at = free.clone();
        let sums = self.order.up_to(&(until, u32::MAX));
        sums.0.into_iter().enumerate().for_each(|(dim, amount)| at.add(dim, amount));
        if is_indexed(need) {
            return at;
        }
        for (_, group) in self.iter().take_while(|(end, _)| *end <= until) {
            for (dim, amount) in group.need.iter().filter(|(dim, _)| *dim >= INDEXED) {
                at.add(dim, amount.saturating_mul(group.slots));
            }
        }
        at
    }

    /// When there is room for so many tasks, beside what is free now; [`Time::ZERO`] where there is now.
    pub(crate) fn room_at(&self, free: &Vector, need: &Need, tasks: u64) -> Option<Time> {
        if free.times(need) >= tasks {
            return Some(Time::ZERO);
        }
        if !is_indexed(need) {
            return self.room_at_one_by_one(free, need, tasks);
        }
        let mut lack = Sums::of(need, tasks);
        for (dim, lack) in lack.0.iter_mut().enumerate() {
            *lack = lack.saturating_sub(free.get(dim));
        }
        let last = self.order.seek(|sums| sums.0.iter().zip(lack.0).all(|(sum, lack)| *sum >= lack))?;
        self.order.key(last).map(|(end, _)| *end)
    }

    /// The same for resources that the sums do not have.
    fn room_at_one_by_one(&self, free: &Vector, need: &Need, tasks: u64) -> Option<Time> {
        let mut free = free.clone();
        self.iter().find_map(|(end, group)| {
            free.add_need(&group.need, group.slots);
            (free.times(need) >= tasks).then_some(end)
        })
    }
}

fn is_indexed(need: &Need) -> bool {
    need.iter().all(|(dim, _)| dim < INDEXED)
}

/// The timelines of all agents. Those of agents that are not in the pool are kept until what runs there has ended, as
/// they may come back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    by_agent: Vec<Timeline>,
    away: BTreeMap<AgentId, Timeline>,
    /// When the first ends on each agent where one is expected to.
    firsts: BTreeSet<(Time, u32)>,
    /// The agents on which something has changed since [`Runs::take_touched`].
    touched: BTreeSet<u32>,
}

impl Runs {
    pub(crate) fn on(&self, agent: u32) -> Option<&Timeline> {
        self.by_agent.get(agent as usize)
    }

    /// Something has changed on the agent.
    pub(crate) fn touch(&mut self, agent: u32) {
        self.touched.insert(agent);
    }

    pub(crate) fn take_touched(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.touched)
    }

    /// What ends on these agents, and when, in that order.
    pub(crate) fn ends(&self, agents: impl Iterator<Item = u32>) -> Vec<(Time, &Group)> {
        let mut ends: Vec<(Time, &Group)> =
            agents.filter_map(|agent| self.on(agent)).flat_map(Timeline::iter).collect();
        ends.sort_by_key(|(end, _)| *end);
        ends
    }

    /// When the first of all is expected to end.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.firsts.first().map(|(end, _)| *end)
    }

    /// Changes a timeline, and notes when its first ends.
    fn change<T>(&mut self, agent: u32, change: impl FnOnce(&mut Timeline) -> T) -> T {
        if self.by_agent.len() <= agent as usize {
            self.by_agent.resize_with(agent as usize + 1, Timeline::default);
        }
        let timeline = &mut self.by_agent[agent as usize];
        let before = timeline.first_end();
        let result = change(timeline);
        let after = timeline.first_end();
        if before != after {
            before.into_iter().for_each(|end| {
                self.firsts.remove(&(end, agent));
            });
            self.firsts.extend(after.map(|end| (end, agent)));
        }
        self.touched.insert(agent);
        result
    }

    /// Tasks start on an agent of the pool.
    pub(crate) fn start(&mut self, agent: u32, group: Group, now: Time) {
        self.change(agent, |timeline| timeline.add(group, now));
    }

    /// Tasks run on an agent that is not in the pool.
    pub(crate) fn start_away(&mut self, agent: &AgentId, group: Group, now: Time) {
        self.away.entry(agent.clone()).or_default().add(group, now);
    }

    /// So many slots of tasks of a job are free.
    pub(crate) fn end(&mut self, agent: u32, job: JobId, tasks: TaskRange, slots: u64) {
        self.change(agent, |timeline| timeline.end(job, tasks, slots));
    }

    /// The same on an agent that is not in the pool.
    pub(crate) fn end_away(&mut self, agent: &AgentId, job: JobId, tasks: TaskRange, slots: u64) {
        let Some(timeline) = self.away.get_mut(agent) else { return };
        timeline.end(job, tasks, slots);
        if timeline.is_empty() {
            self.away.remove(agent);
        }
    }

    /// Tasks that are expected to have started earlier did so at this time.
    pub(crate) fn restart(&mut self, agent: u32, group: Group, now: Time) {
        let is_known = |timeline: &Timeline| {
            let found = timeline.find(group.job, group.tasks);
            found.first().is_some_and(|slot| timeline.groups[*slot].started == group.started)
        };
        if !self.on(agent).is_some_and(is_known) {
            self.change(agent, |timeline| {
                timeline.end(group.job, group.tasks, group.slots);
                timeline.add(group, now);
            });
        }
    }

    /// An agent is in the pool.
    pub(crate) fn arrive(&mut self, agent: u32, id: &AgentId, now: Time) {
        match self.away.remove(id) {
            Some(back) => self.change(agent, |timeline| {
                *timeline = back;
                timeline.correct(now);
            }),
            None => self.touch(agent),
        }
    }

    /// An agent is not in the pool any more.
    pub(crate) fn depart(&mut self, agent: u32, id: &AgentId) {
        let timeline = self.change(agent, std::mem::take);
        if !timeline.is_empty() {
            self.away.insert(id.clone(), timeline);
        }
    }

    /// Takes notice of what has outrun its estimate.
    pub(crate) fn correct(&mut self, now: Time) {
        while let Some((end, agent)) = self.firsts.first().copied().filter(|(end, _)| *end <= now) {
            self.change(agent, |timeline| timeline.correct(now));
            if self.firsts.first() == Some(&(end, agent)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dims;

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    #[test]
    fn what_outruns_its_estimate_is_expected_to_take_about_as_long_again() {
        let estimate = Estimate::of(Some(Span::from_secs(160)));
        let cases = [
            (0, 160),
            (159, 160),
            (160, 170),
            (169, 170),
            (170, 190),
            (189, 190),
            (190, 230),
            (1_000, 1_430),
        ];
        for (now, end) in cases {
            assert_eq!(estimate.expected(at(0), at(now)), at(end), "at {now}");
        }
        let short = Estimate::of(Some(Span::ZERO));
        assert_eq!(short.expected(at(5), at(5)), at(6), "a second at least");
    }

    #[test]
    fn what_runs_for_ever_ends_after_everything_else_in_the_order_of_its_start() {
        let last = Estimate::of(Some(Span::from_micros(u64::MAX - 1))).expected(at(9), at(9));
        let [first, second] = [1, 2].map(|start| Estimate::UNKNOWN.expected(at(start), at(9)));
        assert!(last < first && first < second, "{last:?} {first:?} {second:?}");
        assert_eq!(Estimate::UNKNOWN.ends(at(9)), Time::MAX, "to start it is to hold that beyond all times");
        assert!(Estimate::UNKNOWN.expected(Time::MAX, at(9)) < Time::MAX);
    }

    #[test]
    fn room_is_there_once_enough_has_ended() {
        let mut dims = Dims::new();
        let need = |dims: &mut Dims, text: &[(&str, u64)]| {
            dims.need(&text.iter().map(|(name, amount)| (name.parse().unwrap(), *amount)).collect())
        };
        let (cpu, other) =
            (need(&mut dims, &[("cpus", 1)]), need(&mut dims, &[("cpus", 1), ("licences", 1)]));
        let mut timeline = Timeline::default();
        for (job, need, slots, secs) in [(1, &cpu, 2, 10), (2, &other, 3, 20), (3, &cpu, 4, 30)] {
            let (tasks, estimate) =
                (TaskRange { first: 0, last: 9 }, Estimate::of(Some(Span::from_secs(secs))));
            let group = Group { job: JobId(job), tasks, slots, need: need.clone(), started: at(0), estimate };
            timeline.add(group, at(0));
        }
        let mut free = Vector::default();
        free.set(0, 1);
        let cases = [
            (&cpu, 1, Some(Time::ZERO)),
            (&cpu, 3, Some(at(10))),
            (&cpu, 4, Some(at(20))),
            (&cpu, 7, Some(at(30))),
        ];
        for (need, tasks, expected) in cases {
            assert_eq!(timeline.room_at(&free, need, tasks), expected, "{tasks} tasks");
        }
        assert_eq!(timeline.room_at(&free, &cpu, 11), None);
        assert_eq!(
            (timeline.room_at(&free, &other, 3), timeline.room_at(&free, &other, 4)),
            (Some(at(20)), None)
        );
        assert_eq!(timeline.free_at(&free, at(25), &other).times(&other), 3);
        timeline.end(JobId(1), TaskRange::one(9), 1);
        assert_eq!(timeline.free_at(&free, at(10), &cpu).times(&cpu), 2);
    }
}
