//! How waits and slowdowns are spread over jobs.

use maud::{Markup, html};

use super::figures::Unit;
use super::{Story, Told, folded, key};
use crate::chart::{Curve, Frame, Logarithmic, PLACES, Tick, curves};
use crate::words;

/// The height of a drawing, in pixels.
const HEIGHT: u64 = 240;

/// The parts of all jobs that the table tells of, in hundredths.
const PARTS: [u64; 8] = [10, 25, 50, 75, 90, 95, 99, 100];

/// A measure of each job.
struct Spread<'a> {
    id: &'static str,
    head: &'static str,
    note: &'static str,
    unit: Unit,
    /// In the order of the runs, sorted.
    values: Vec<Vec<u64>>,
    scale: Logarithmic,
    story: &'a Story<'a>,
}

pub(super) fn section(story: &Story<'_>) -> Markup {
    let spreads = [waits(story), slowdowns(story)];
    html! {
        section id="spread" {
            h2 { "How jobs fare" }
            div.pair { @for spread in spreads { @if spread.values.iter().any(|values| !values.is_empty()) { (spread.draw()) } } }
        }
    }
}

fn waits<'a>(story: &'a Story<'a>) -> Spread<'a> {
    let values: Vec<_> = story.runs.iter().map(|run| run.waits(story)).collect();
    let most = values.iter().filter_map(|values| values.last()).max().copied().unwrap_or(0);
    // What is shorter than nearly all is at the edge of the drawing.
    let tenths = values.iter().filter_map(|values| values.iter().find(|value| **value > 0)).min().copied();
    Spread {
        id: "wait",
        head: "Wait",
        note: "What part of the jobs that started had started after a wait of at most this long. Dots: half of them, and 95 in 100.",
        unit: Unit::Length,
        values,
        scale: Logarithmic::lengths(tenths.unwrap_or(1_000_000), most),
        story,
    }
}

fn slowdowns<'a>(story: &'a Story<'a>) -> Spread<'a> {
    let values: Vec<_> = story.runs.iter().map(|run| run.slowdowns(story)).collect();
    let most = values.iter().filter_map(|values| values.last()).max().copied().unwrap_or(0);
    Spread {
        id: "slowdown",
        head: "Bounded slowdown",
        note: "What part of the jobs that were over took at most so many times their run time, of at least 10 s, from submission to end.",
        unit: Unit::Hundredths,
        values,
        scale: Logarithmic::quotients(most),
        story,
    }
}

impl Told<'_> {
    /// How long each job that started waited, in microseconds, sorted.
    fn waits(&self, story: &Story<'_>) -> Vec<u64> {
        let fates = story.workload.jobs.iter().zip(&self.outcome.jobs);
        let mut waits: Vec<u64> =
            fates.filter_map(|(job, fate)| Some(fate.start?.since(job.submit).as_micros())).collect();
        waits.sort_unstable();
        waits
    }

    /// The bounded slowdown of each job that was over, in hundredths, sorted.
    fn slowdowns(&self, story: &Story<'_>) -> Vec<u64> {
        let fates = story.workload.jobs.iter().zip(&self.outcome.jobs);
        let ended = fates.filter_map(|(job, fate)| fate.bounded_slowdown(job));
        let mut slowdowns: Vec<u64> = ended.map(|slowdown| Unit::Hundredths.of(slowdown)).collect();
        slowdowns.sort_unstable();
        slowdowns
    }
}

impl Spread<'_> {
    fn draw(&self) -> Markup {
        let rows: Vec<Tick> = (0..=4)
            .map(|quarter| Tick {
                place: quarter * PLACES / 4,
                label: format!("{}%", quarter * 25),
                is_minor: false,
            })
            .collect();
        let frame = Frame {
            id: self.id.to_owned(),
            title: format!("{} of jobs, cumulative", self.head),
            description: self.description(),
            height: HEIGHT,
            rows: &rows,
            columns: &self.scale.ticks,
            has_column_labels: true,
        };
        html! {
            figure {
                h3 { (self.head) }
                p.note { (self.note) }
                (frame.around(&curves(&self.curves(), &self.scale, HEIGHT)))
                ul.keys {
                    @for (run, values) in self.runs() {
                        li { (key(&run.class, &run.policy)) span.aside { (self.told(values)) } }
                    }
                }
                (folded("As a table", &self.table()))
            }
        }
    }

    fn runs(&self) -> impl Iterator<Item = (&Told<'_>, &Vec<u64>)> {
        self.story.runs.iter().zip(&self.values)
    }

    fn read(&self, values: &[u64], percent: u64) -> String {
        Curve::percentile(values, percent).map_or_else(|| "–".to_owned(), |value| self.unit.read(value))
    }

    fn told(&self, values: &[u64]) -> String {
        if values.is_empty() {
            return "no job".to_owned();
        }
        format!("half ≤ {}, 95% ≤ {}", self.read(values, 50), self.read(values, 95))
    }

    fn description(&self) -> String {
        let told = |(run, values): (&Told<'_>, &Vec<u64>)| format!("{}: {}", run.policy, self.told(values));
        self.runs().map(told).collect::<Vec<_>>().join("; ") + "."
    }

    fn curves(&self) -> Vec<Curve> {
        let dot = |run: &Told<'_>, values: &[u64], percent| {
            format!("{}: {percent}% ≤ {}", run.policy, self.read(values, percent))
        };
        let curve = |(run, values): (&Told<'_>, &Vec<u64>)| Curve {
            class: run.class.clone(),
            values: values.clone(),
            dots: [50, 95].map(|percent| (percent, dot(run, values, percent))).to_vec(),
        };
        self.runs().filter(|(_, values)| !values.is_empty()).map(curve).collect()
    }

    fn table(&self) -> Markup {
        html! {
            table {
                thead { tr {
                    th scope="col" { "Part of jobs" }
                    @for (run, _) in self.runs() { th.number scope="col" { (key(&run.class, &run.policy)) } }
                } }
                tbody {
                    @for percent in PARTS {
                        tr {
                            th scope="row" { (words::count(percent)) "%" }
                            @for (_, values) in self.runs() { td.number { "≤ " (self.read(values, percent)) } }
                        }
                    }
                }
            }
        }
    }
}
