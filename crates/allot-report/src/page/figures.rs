//! The measures of all runs as figures that can be compared: integers, each with how it reads.

use allot_model::Span;
use allot_sim::Measures;
use allot_workload::Distribution;

use super::Story;
use crate::words;

/// Which value of a distribution.
type Pick = fn(&Distribution) -> f64;

/// What an integer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Microseconds, read as a length of time.
    Length,
    /// Things.
    Count,
    /// Hundredths, read with two decimals.
    Hundredths,
    /// Tenths, read with a decimal.
    Tenths,
    /// Thousandths, read with three decimals.
    Thousandths,
    /// Parts per million, read as a percentage.
    Share,
}

/// Which of two figures is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
    Neither,
}

/// One measure of all runs.
pub(super) struct Figure {
    pub(super) label: String,
    pub(super) unit: Unit,
    pub(super) better: Better,
    /// In the order of the runs; absent where there is nothing to measure.
    pub(super) values: Vec<Option<u64>>,
}

/// Figures under a common head.
pub(super) struct Group {
    pub(super) head: &'static str,
    pub(super) figures: Vec<Figure>,
}

impl Unit {
    pub(super) fn read(self, value: u64) -> String {
        match self {
            Self::Length => words::length(Span::from_micros(value)),
            Self::Count => words::count(value),
            Self::Tenths => words::decimal(value, 1),
            Self::Hundredths => words::decimal(value, 2),
            Self::Thousandths => words::decimal(value, 3),
            Self::Share => words::percent(value),
        }
    }

    /// Units in one of what is measured: a second, a thing, a whole.
    fn scale(self) -> f64 {
        match self {
            Self::Length | Self::Share => 1e6,
            Self::Count => 1.0,
            Self::Tenths => 10.0,
            Self::Hundredths => 100.0,
            Self::Thousandths => 1_000.0,
        }
    }

    /// A measure in this unit, rounded to the nearest.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float becomes the nearest integer there is"
    )]
    pub(super) fn of(self, value: f64) -> u64 {
        (value * self.scale()).round() as u64
    }
}

impl Figure {
    /// The best value, where there are several that read differently.
    pub(super) fn best(&self) -> Option<u64> {
        let values = || self.values.iter().flatten().copied();
        let best = match self.better {
            Better::Less => values().min()?,
            Better::More => values().max()?,
            Better::Neither => return None,
        };
        let read = self.unit.read(best);
        values().any(|value| self.unit.read(value) != read).then_some(best)
    }

    /// True for the best value and what reads like it.
    pub(super) fn is_best(&self, value: u64) -> bool {
        self.best().is_some_and(|best| self.unit.read(best) == self.unit.read(value))
    }

    pub(super) fn largest(&self) -> u64 {
        self.values.iter().flatten().copied().max().unwrap_or(0)
    }

    fn is_told(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }
}

impl Story<'_> {
    /// A measure of all runs.
    fn figure(
        &self,
        label: &str,
        unit: Unit,
        better: Better,
        of: impl Fn(&Measures) -> Option<f64>,
    ) -> Figure {
        let values = self.runs.iter().map(|run| of(run.measures).map(|value| unit.of(value)));
        Figure { label: label.to_owned(), unit, better, values: values.collect() }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are small beside 2^53")]
    fn counted(&self, label: &str, of: impl Fn(&Measures) -> usize) -> Figure {
        self.figure(label, Unit::Count, Better::Neither, |measures| Some(of(measures) as f64))
    }

    fn distribution(&self, unit: Unit, of: fn(&Measures) -> &Option<Distribution>) -> Vec<Figure> {
        let picks: [(&str, Pick); 5] = [
            ("mean", |of| of.mean),
            ("median", |of| of.p50),
            ("95th percentile", |of| of.p95),
            ("99th percentile", |of| of.p99),
            ("longest", |of| of.max),
        ];
        let figure = |(label, pick): (&str, Pick)| {
            let label = if unit == Unit::Hundredths && label == "longest" { "largest" } else { label };
            self.figure(label, unit, Better::Less, |measures| of(measures).as_ref().map(pick))
        };
        picks.into_iter().map(figure).collect()
    }

    /// All figures.
    pub(super) fn groups(&self) -> Vec<Group> {
        let group = |head, figures: Vec<Figure>| Group {
            head,
            figures: figures.into_iter().filter(Figure::is_told).collect(),
        };
        let groups = [
            group(
                "Jobs",
                vec![
                    self.counted("submitted", |of| of.submitted),
                    self.counted("started", |of| of.started),
                    self.counted("over", |of| of.ended),
                ],
            ),
            group("Wait, from submission to start", self.distribution(Unit::Length, |of| &of.wait)),
            group("Response, from submission to end", self.distribution(Unit::Length, |of| &of.response)),
            group(
                "Bounded slowdown, response in run times of at least 10 s",
                self.distribution(Unit::Hundredths, |of| &of.bounded_slowdown),
            ),
            group("Throughput", self.throughput()),
            group("Fairness, what queues received over what they were entitled to", self.fairness()),
            group("Preemption, tasks that were stopped for others", self.preemption()),
            group(
                "GPUs at the end",
                vec![
                    self.figure("held", Unit::Share, Better::More, |of| of.gpu_allocation),
                    self.figure("free but of no use", Unit::Share, Better::Less, |of| of.gpu_fragmentation),
                ],
            ),
        ];
        groups.into_iter().filter(|group| !group.figures.is_empty()).collect()
    }

    fn throughput(&self) -> Vec<Figure> {
        let names = self.runs.iter().flat_map(|run| run.measures.utilisation_of.keys());
        let mut resources: Vec<&String> = names.filter(|name| self.is_asked_for(name)).collect();
        resources.sort_unstable();
        resources.dedup();
        let mut figures = vec![
            self.figure("makespan", Unit::Length, Better::Less, |of| Some(of.makespan)),
            self.figure("jobs per hour", Unit::Tenths, Better::More, |of| Some(of.jobs_per_hour)),
        ];
        figures.extend(resources.into_iter().map(|name| {
            let label = format!("mean use of {}", words::name(name));
            self.figure(&label, Unit::Share, Better::More, |of| of.utilisation_of.get(name).copied())
        }));
        figures
    }

    /// Nothing where no task was stopped for another.
    #[allow(clippy::cast_precision_loss, reason = "counts are small beside 2^53")]
    fn preemption(&self) -> Vec<Figure> {
        if self.runs.iter().all(|run| run.measures.preempted == 0) {
            return Vec::new();
        }
        vec![
            self.figure("stopped", Unit::Count, Better::Less, |of| Some(of.preempted as f64)),
            self.figure("run time lost", Unit::Length, Better::Less, |of| Some(of.lost)),
        ]
    }

    /// Nothing where there are not two queues to compare.
    fn fairness(&self) -> Vec<Figure> {
        let index = self.figure("Jain’s index", Unit::Thousandths, Better::More, |of| Some(of.jain_index));
        if self.queue_count < 2 { Vec::new() } else { vec![index] }
    }

    /// The figures that matter most.
    pub(super) fn headlines(&self) -> Vec<(&'static str, Figure)> {
        let mean = |of: &Option<Distribution>| of.as_ref().map(|of| of.mean);
        let mut told = vec![
            ("Shortest mean wait", self.figure("Mean wait", Unit::Length, Better::Less, |of| mean(&of.wait))),
            (
                "Lowest mean slowdown",
                self.figure("Mean slowdown", Unit::Hundredths, Better::Less, |of| mean(&of.bounded_slowdown)),
            ),
        ];
        told.extend(self.utilisation_of_first());
        told.push((
            "Shortest makespan",
            self.figure("Makespan", Unit::Length, Better::Less, |of| Some(of.makespan)),
        ));
        told.extend(
            self.fairness()
                .into_iter()
                .map(|index| ("Fairest", Figure { label: "Fairness".to_owned(), ..index })),
        );
        told.retain(|(_, figure)| figure.is_told());
        told
    }

    fn utilisation_of_first(&self) -> Option<(&'static str, Figure)> {
        let name = self.resources().into_iter().next()?.to_string();
        let label = format!("Mean use of {}", words::name(&name));
        Some((
            "Highest use",
            self.figure(&label, Unit::Share, Better::More, |of| of.utilisation_of.get(&name).copied()),
        ))
    }
}
