//! How long each step of a task's way took.

use std::collections::BTreeMap;

use allot_model::{Span, Time};
use hdrhistogram::Histogram;
use serde::Serialize;

/// A step, from one point of a task's way to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// From the client to the inbox.
    PublishedSubmitted,
    /// From the inbox to the dispatcher's decision.
    SubmittedAdmitted,
    /// From there to the commitment of a place, which includes the wait for one.
    AdmittedAllocated,
    /// From there to the start of the process.
    AllocatedStarted,
    /// While it runs.
    StartedEnded,
    /// From its end to the dispatcher's decision that it is over.
    EndedFinished,
    /// From the client to the start of the process.
    PublishedStarted,
    /// From the client to the client: until it knows that the job has ended.
    PublishedKnown,
    /// From the end of a task to the start of the next one in its place.
    FreedStarted,
    /// From the commitment of a place to the next one, whoever's that is.
    AllocatedNext,
}

impl Stage {
    /// In the order of a task's way, then those that span several steps.
    pub(super) const ALL: [Self; 10] = [
        Self::PublishedSubmitted,
        Self::SubmittedAdmitted,
        Self::AdmittedAllocated,
        Self::AllocatedStarted,
        Self::StartedEnded,
        Self::EndedFinished,
        Self::PublishedStarted,
        Self::PublishedKnown,
        Self::FreedStarted,
        Self::AllocatedNext,
    ];

    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::PublishedSubmitted => "published → submitted",
            Self::SubmittedAdmitted => "submitted → admitted",
            Self::AdmittedAllocated => "admitted → allocated",
            Self::AllocatedStarted => "allocated → started",
            Self::StartedEnded => "started → ended",
            Self::EndedFinished => "ended → finished",
            Self::PublishedStarted => "published → started",
            Self::PublishedKnown => "published → known",
            Self::FreedStarted => "freed → started",
            Self::AllocatedNext => "allocated → next",
        }
    }
}

/// Histograms of all stages.
#[derive(Debug, Default)]
pub(super) struct Stages {
    histograms: BTreeMap<Stage, Histogram<u64>>,
}

/// How a stage's lengths are distributed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Distribution {
    /// Which stage.
    pub(super) stage: Stage,
    /// How many times it was gone through.
    pub(super) count: u64,
    /// Half took no longer, microseconds.
    pub(super) p50_us: u64,
    /// Nine tenths.
    pub(super) p90_us: u64,
    /// All but one in a hundred.
    pub(super) p99_us: u64,
    /// All but one in a thousand.
    pub(super) p999_us: u64,
    /// The longest.
    pub(super) max_us: u64,
    /// The mean.
    pub(super) mean_us: f64,
}

impl Stages {
    /// Takes note that `count` tasks went from one point to the other, where both are known.
    pub(super) fn record(&mut self, stage: Stage, from: Option<Time>, to: Option<Time>, count: u64) {
        if let (Some(from), Some(to)) = (from, to) {
            self.record_span(stage, to.since(from), count);
        }
    }

    /// Takes note that a stage took so long, `count` times.
    pub(super) fn record_span(&mut self, stage: Stage, took: Span, count: u64) {
        let histogram = self.histograms.entry(stage).or_insert_with(histogram);
        histogram.saturating_record_n(took.as_micros(), count);
    }

    /// The stages that were gone through at all, in order.
    pub(super) fn distributions(&self) -> Vec<Distribution> {
        let of = |stage: Stage| self.histograms.get(&stage).map(|histogram| distribution(stage, histogram));
        Stage::ALL.into_iter().filter_map(of).collect()
    }
}

/// Three figures, from a microsecond to a day; what is longer counts as a day.
fn histogram() -> Histogram<u64> {
    const LONGEST_US: u64 = 86_400_000_000;
    const FIGURES: u8 = 3;
    Histogram::new_with_bounds(1, LONGEST_US, FIGURES).expect("these bounds are in range")
}

fn distribution(stage: Stage, histogram: &Histogram<u64>) -> Distribution {
    let at = |quantile| histogram.value_at_quantile(quantile).min(histogram.max());
    Distribution {
        stage,
        count: histogram.len(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: histogram.max(),
        mean_us: histogram.mean(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_tasks_counts_as_many() {
        let mut stages = Stages::default();
        let at = |micros| Some(Time::from_micros(micros));
        stages.record(Stage::StartedEnded, at(100), at(200), 99);
        stages.record(Stage::StartedEnded, at(100), at(1_100), 1);
        stages.record(Stage::StartedEnded, None, at(1_100), 50);
        let all = stages.distributions();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].count, all[0].p50_us, all[0].p99_us, all[0].max_us), (100, 100, 100, 1_000));
    }

    #[test]
    fn clocks_that_disagree_give_no_time_less_than_none() {
        let mut stages = Stages::default();
        stages.record(Stage::AllocatedStarted, Some(Time::from_micros(9)), Some(Time::from_micros(5)), 1);
        assert_eq!(stages.distributions()[0].max_us, 0);
    }
}
