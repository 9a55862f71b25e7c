//! How much was used and how much waited, over time: a drawing for each policy, all to one scale.

use allot_model::ResourceName;
use maud::{Markup, html};

use super::figures::Unit;
use super::{Story, Told, folded, head, key};
use crate::chart::{Detail, Frame, Line, Scale, counts, is_dense, shares, steps, times};
use crate::history::{Series, Window};
use crate::words;

/// Rows of the table that tells what a drawing shows.
const PERIODS: u64 = 12;

/// The height of a drawing, in pixels.
const HEIGHT: u64 = 120;

/// A kind of drawing over time.
struct Kind<'a> {
    id: String,
    title: String,
    scale: Scale,
    /// How a value reads.
    read: fn(u64) -> String,
    /// How the mean over a time reads.
    read_mean: fn(&Series, Window) -> String,
    series: Vec<&'a Series>,
    detail: Detail,
    /// The mean over the measured time, as it reads, in the order of the runs.
    means: Vec<String>,
}

pub(super) fn utilisation(story: &Story<'_>) -> Markup {
    let resources = story.resources();
    let kinds: Vec<_> = resources.iter().enumerate().map(|(place, name)| used(story, place, name)).collect();
    html! {
        @if !kinds.is_empty() {
            section id="utilisation" {
                h2 { "Use of resources over time" }
                p.note {
                    "What part of all that is there the running tasks hold."
                    @if kinds.iter().any(|kind| kind.detail == Detail::Columns) {
                        " There are more changes than pixels: the pale band reaches from the lowest to the highest \
                        value within each pixel, the line is the mean over a few."
                    }
                }
                @for (name, kind) in resources.iter().zip(&kinds) {
                    @if resources.len() > 1 { h3 { (words::name(name.as_str())) } }
                    (story.drawings(kind))
                }
            }
        }
    }
}

pub(super) fn waiting(story: &Story<'_>) -> Markup {
    let series: Vec<&Series> = story.runs.iter().map(|run| &run.history.waiting).collect();
    let most = series.iter().map(|series| series.over(story.window).high).max().unwrap_or(0);
    let detail = story.detail(&series);
    let kind = Kind {
        id: "waiting".to_owned(),
        title: "Tasks that wait".to_owned(),
        scale: counts(most),
        read: words::count,
        read_mean: |series, window| words::decimal(series.mean_tenths(window), 1),
        means: story
            .runs
            .iter()
            .map(|run| words::decimal(run.history.waiting.mean_tenths(run.history.window), 1))
            .collect(),
        detail,
        series,
    };
    html! {
        section id="waiting" {
            h2 { "Queue length over time" }
            p.note { "How many submitted tasks wait to be placed." }
            @if most == 0 { p { "No task ever waits." } } @else { (story.drawings(&kind)) }
        }
    }
}

fn used<'a>(story: &'a Story<'_>, place: usize, name: &ResourceName) -> Kind<'a> {
    let series: Vec<&Series> =
        story.runs.iter().filter_map(|run| run.history.utilisation.get(name)).collect();
    let most = series.iter().map(|series| series.over(story.window).high).max().unwrap_or(0);
    let measured = |run: &Told<'_>| run.measures.utilisation_of.get(name.as_str()).copied().unwrap_or(0.0);
    let means = story.runs.iter().map(|run| Unit::Share.read(Unit::Share.of(measured(run))));
    let means = means.collect();
    let name = words::name(name.as_str());
    Kind {
        id: format!("use-{place}"),
        title: format!("Use of {name}"),
        scale: shares(most),
        read: words::percent,
        read_mean: |series, window| words::percent(series.over(window).mean),
        means,
        detail: story.detail(&series),
        series,
    }
}

impl Story<'_> {
    /// How all of some lines are drawn, so that they can be compared.
    fn detail(&self, series: &[&Series]) -> Detail {
        let is_dense = series.iter().any(|series| is_dense(series, self.window));
        if is_dense { Detail::Columns } else { Detail::Steps }
    }

    fn drawings(&self, kind: &Kind<'_>) -> Markup {
        let last = self.runs.len().saturating_sub(1);
        html! {
            div.stack {
                @for (place, (run, series)) in self.runs.iter().zip(&kind.series).enumerate() {
                    (self.drawing(kind, (place, run), series, place == last))
                }
            }
            (folded("As a table", &self.periods(kind)))
        }
    }

    fn drawing(
        &self,
        kind: &Kind<'_>,
        (place, run): (usize, &Told<'_>),
        series: &Series,
        is_last: bool,
    ) -> Markup {
        let own = series.over(run.history.window);
        let (mean, most) = (kind.means.get(place).map_or("", String::as_str), (kind.read)(own.high));
        let title = format!("{} over time under {}", kind.title, run.policy);
        let description = format!(
            "From {} to {}: {mean} on average, {} at least, {most} at most.",
            head::moment(run.history.window.from),
            head::moment(run.history.window.to),
            (kind.read)(own.low),
        );
        let columns = times(self.window);
        let frame = Frame {
            id: format!("{}-{place}", kind.id),
            title,
            description,
            height: HEIGHT,
            rows: &kind.scale.ticks,
            columns: &columns,
            has_column_labels: is_last,
        };
        let line = Line { class: run.class.clone(), series, is_filled: true, detail: kind.detail };
        html! {
            figure {
                figcaption { (key(&run.class, &run.policy)) span.aside { "mean " (mean) ", peak " (most) } }
                (frame.around(&steps(&[line], self.window, kind.scale.top, HEIGHT)))
            }
        }
    }

    fn periods(&self, kind: &Kind<'_>) -> Markup {
        let cells = |series: &Series, period: Window| {
            html! {
                td.number { ((kind.read_mean)(series, period)) }
                td.number { ((kind.read)(series.over(period).high)) }
            }
        };
        html! {
            table {
                thead {
                    tr {
                        th scope="col" rowspan="2" { "From" }
                        @for run in &self.runs { th.number scope="colgroup" colspan="2" { (key(&run.class, &run.policy)) } }
                    }
                    tr { @for _ in &self.runs { th.number scope="col" { "mean" } th.number scope="col" { "peak" } } }
                }
                tbody {
                    @for period in (0..PERIODS).map(|number| self.window.part(number, PERIODS)) {
                        tr {
                            th scope="row" { (head::moment(period.from)) }
                            @for series in &kind.series { (cells(series, period)) }
                        }
                    }
                }
            }
        }
    }
}
