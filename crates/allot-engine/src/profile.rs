//! What will be free on one agent from when on, going by what runs there and by what is planned.

use allot_model::Time;

use crate::dims::{Dim, Need, Vector};
use crate::timeline::{Estimate, Timeline};

/// Amounts by time: each step says what is free from its time on, until the next. Amounts may be less than nothing where
/// more is planned than there is, as turns out when a task takes longer than expected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    dims: usize,
    times: Vec<Time>,
    /// The amounts of all steps, one step after the other.
    free: Vec<i64>,
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

impl Profile {
    /// What is free now, and once what runs there has ended.
    pub(crate) fn new(now: Time, free: &Vector, timeline: Option<&Timeline>, dims: usize) -> Self {
        let mut profile = Self { dims, times: vec![now], free: vec![0; dims] };
        for (dim, amount) in free.iter().take(dims) {
            profile.free[dim] = signed(amount);
        }
        for (end, group) in timeline.into_iter().flat_map(Timeline::iter) {
            if profile.times.last().is_some_and(|last| *last < end) {
                profile.times.push(end);
                profile.free.extend_from_within(profile.free.len() - dims..);
            }
            let last = profile.times.len() - 1;
            profile.add(last, &group.need, signed(group.slots));
        }
        profile
    }

    fn add(&mut self, step: usize, need: &Need, count: i64) {
        for (dim, amount) in need.iter() {
            if let Some(free) = self.free.get_mut(step * self.dims + dim) {
                *free = free.saturating_add(signed(amount).saturating_mul(count));
            }
        }
    }

    fn amount(&self, step: usize, dim: Dim) -> i64 {
        if dim < self.dims { self.free[step * self.dims + dim] } else { 0 }
    }

    fn holds(&self, step: usize, need: &Need) -> bool {
        need.iter().all(|(dim, amount)| self.amount(step, dim) >= signed(amount))
    }

    fn times(&self, step: usize, need: &Need) -> u64 {
        let room =
            |(dim, amount): (Dim, u64)| u64::try_from(self.amount(step, dim)).unwrap_or(0) / amount.max(1);
        need.iter().map(room).min().unwrap_or(u64::MAX)
    }

    /// The step in which a time is; the first where it is earlier than all.
    fn step_at(&self, time: Time) -> usize {
        self.times.partition_point(|start| *start <= time).saturating_sub(1)
    }

    /// The step that begins at this time, which one is made to.
    fn split(&mut self, time: Time) -> usize {
        let step = self.step_at(time);
        if self.times.get(step).is_none_or(|start| *start >= time) {
            return step;
        }
        self.times.insert(step + 1, time);
        let amounts = step * self.dims..(step + 1) * self.dims;
        let copy: Vec<i64> = self.free[amounts.clone()].to_vec();
        self.free.splice(amounts.end..amounts.end, copy);
        step + 1
    }

    /// Takes `count` times the need from `from` until `to`; gives it back where `count` is negative. True where it is there.
    pub(crate) fn take(&mut self, from: Time, to: Time, need: &Need, count: i64) -> bool {
        if self.times.is_empty() {
            return false;
        }
        let first = self.split(from);
        let last = if to == Time::MAX { self.times.len() } else { self.split(to) };
        let mut is_there = true;
        for step in first..last {
            self.add(step, need, -count);
            is_there &= need.iter().all(|(dim, _)| self.amount(step, dim) >= 0);
        }
        is_there
    }

    /// For how many tasks there is room all the time from `from` until `to`.
    pub(crate) fn room(&self, from: Time, to: Time, need: &Need) -> u64 {
        let steps = self.step_at(from)..self.times.len();
        let steps = steps.take_while(|step| self.times[*step] < to || self.times[*step] <= from);
        steps.map(|step| self.times(step, need)).min().unwrap_or(0)
    }

    /// The first time from `from` on, and before `until`, from which a task has room for as long as it takes.
    pub(crate) fn earliest(&self, from: Time, until: Time, need: &Need, estimate: Estimate) -> Option<Time> {
        let (mut step, mut start) = (self.step_at(from), from);
        loop {
            while !self.holds(step, need) {
                step += 1;
                start = *self.times.get(step)?;
            }
            if start >= until {
                return None;
            }
            let end = estimate.ends(start);
            let Some(lacks) = (step + 1..self.times.len())
                .take_while(|later| self.times[*later] < end)
                .find(|later| !self.holds(*later, need))
            else {
                return Some(start);
            };
            step = lacks;
        }
    }

    /// For how many tasks there is room at the time at which there is most, from `from` on.
    pub(crate) fn most(&self, from: Time, need: &Need) -> u64 {
        let steps = self.step_at(from)..self.times.len();
        steps.map(|step| self.times(step, need)).max().unwrap_or(0)
    }

    /// Since when there has been room for a task without a break at this time, where there is.
    pub(crate) fn vacant_since(&self, time: Time, need: &Need) -> Time {
        let mut step = self.step_at(time);
        while step > 0 && self.holds(step - 1, need) {
            step -= 1;
        }
        self.times.get(step).copied().unwrap_or(time).min(time)
    }

    /// The first time after this one at which anything changes.
    pub(crate) fn next_change(&self, time: Time) -> Option<Time> {
        self.times.get(self.times.partition_point(|change| *change <= time)).copied()
    }

    /// The times from `from` on at which anything changes, `from` itself included.
    pub(crate) fn changes(&self, from: Time) -> impl Iterator<Item = Time> {
        let later = self.times.iter().copied().filter(move |time| *time > from);
        [from].into_iter().chain(later)
    }

    /// True where anything is free at any time from `from` on that is not so in the other.
    pub(crate) fn exceeds(&self, other: &Self, from: Time) -> bool {
        if other.times.is_empty() || other.dims != self.dims {
            return !self.times.is_empty();
        }
        let more = |time: Time| {
            let (here, there) = (self.step_at(time), other.step_at(time));
            (0..self.dims).any(|dim| self.amount(here, dim) > other.amount(there, dim))
        };
        self.changes(from).chain(other.changes(from)).any(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::Dims;
    use allot_model::Span;
    use proptest::prelude::*;

    fn at(secs: u64) -> Time {
        Time::from_micros(secs * 1_000_000)
    }

    proptest! {
        #[test]
        fn it_equals_amounts_noted_second_by_second(
            takes in proptest::collection::vec((0_u64..20, 1_u64..8, 1_i64..4), 0..12),
            (from, secs, most) in (0_u64..20, 1_u64..9, 4_u64..9),
        ) {
            let mut dims = Dims::new();
            let need = dims.need(&[("cpus".parse().unwrap(), 2)].into_iter().collect());
            let mut free = Vector::default();
            free.set(0, most);
            let mut profile = Profile::new(at(0), &free, None, 1);
            let mut plain = vec![i64::try_from(most).unwrap(); 64];
            for (start, length, count) in takes {
                let held = |plain: &[i64]| plain.iter().all(|free| *free >= 0);
                for second in start..start + length {
                    plain[usize::try_from(second).unwrap()] -= 2 * count;
                }
                let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
                let there = profile.take(at(start), at(start + length), &need, count);
                prop_assert_eq!(there, held(&plain[range]));
            }
            let room = |start: u64| {
                let range = usize::try_from(start).unwrap()..usize::try_from(start + secs).unwrap();
                plain[range].iter().map(|free| u64::try_from(*free).unwrap_or(0) / 2).min().unwrap()
            };
            prop_assert_eq!(profile.room(at(from), at(from + secs), &need), room(from));
            let estimate = Estimate::of(Some(Span::from_secs(secs)));
            let first = (from..50).find(|start| room(*start) > 0);
            prop_assert_eq!(profile.earliest(at(from), Time::MAX, &need, estimate), first.map(at));
            let before = profile.clone();
            prop_assert!(!profile.exceeds(&before, at(0)));
            profile.take(at(from), at(from + secs), &need, -1);
            prop_assert!(profile.exceeds(&before, at(0)) && !before.exceeds(&profile, at(0)));
        }
    }
}
