//! What was held and what waited over time, worked out from what happened.

mod events;
mod fold;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use allot_model::{ResourceName, Span, Time};
use allot_sim::{Outcome, Workload};

pub(crate) use events::{Piece, pieces};
pub(crate) use series::{Column, Series};

/// One whole, in parts per million, which is what shares are counted in.
pub(crate) const WHOLE_PPM: u64 = 1_000_000;

/// How things stood over time under a policy.
#[derive(Debug)]
pub(crate) struct History {
    /// The time that is measured.
    pub(crate) window: Window,
    /// What part of each resource that any job asks for was held, in parts per million.
    pub(crate) utilisation: BTreeMap<ResourceName, Series>,
    /// How many tasks waited.
    pub(crate) waiting: Series,
    /// The dominant share of each queue, without those below it, in the order of the workload: the largest part that it
    /// held of any resource, in parts per million.
    pub(crate) shares: Vec<Series>,
}

/// From when to when; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Time,
    pub(crate) to: Time,
}

impl History {
    pub(crate) fn of(workload: &Workload, outcome: &Outcome) -> Self {
        fold::fold(workload, outcome)
    }
}

impl Window {
    /// From the first submission to the last end, or to the end of the simulation where something still runs: the time
    /// that the makespan is.
    pub(crate) fn of(workload: &Workload, outcome: &Outcome) -> Self {
        let from = workload.jobs.iter().map(|job| job.submit).min().unwrap_or_default();
        Self::new(from, outcome.last_end().unwrap_or(from))
    }

    /// At least a second, so that there is something to draw.
    pub(crate) fn new(from: Time, to: Time) -> Self {
        Self { from, to: to.max(from + Span::from_secs(if to > from { 0 } else { 1 })) }
    }

    /// The shortest that covers all.
    pub(crate) fn around(windows: impl IntoIterator<Item = Self>) -> Self {
        let joined = |a: Self, b: Self| Self { from: a.from.min(b.from), to: a.to.max(b.to) };
        windows.into_iter().reduce(joined).unwrap_or_else(|| Self::new(Time::ZERO, Time::ZERO))
    }

    pub(crate) fn span(self) -> Span {
        self.to.since(self.from)
    }

    /// One of so many equal parts, up to a microsecond.
    pub(crate) fn part(self, number: u64, parts: u64) -> Self {
        let at = |number: u64| {
            let micros = u128::from(self.span().as_micros()) * u128::from(number) / u128::from(parts.max(1));
            self.from + Span::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
        };
        Self { from: at(number), to: at(number + 1) }
    }

    /// Where a time lies in it, in parts of `whole`, rounded down; what lies outside is at the edge.
    pub(crate) fn place(self, at: Time, whole: u64) -> u64 {
        let since = at.clamp(self.from, self.to).since(self.from).as_micros();
        let place = u128::from(since) * u128::from(whole) / u128::from(self.span().as_micros().max(1));
        u64::try_from(place).unwrap_or(whole)
    }
}
