//! The parts of a drawing. A drawing is as wide as there is room: places across are percentages, so that words keep their
//! size on a phone and on paper; lines, which SVG cannot give in percentages, are in a part of their own that is stretched.

mod bars;
mod curves;
mod path;
mod steps;
mod ticks;

use maud::{Markup, html};

pub(crate) use bars::{Bar, Lane, bars, bars_height};
pub(crate) use curves::{Curve, curves};
pub(crate) use steps::{Detail, Line, is_dense, steps};
pub(crate) use ticks::{Logarithmic, PLACES, Scale, Tick, counts, shares, small_shares, times};

/// How many policies have a colour of their own; more have one again, with another pattern.
const POLICY_COLOURS: usize = 6;

/// How many queues have a colour of their own; there are none for more.
pub(crate) const QUEUE_COLOURS: usize = 8;

/// Room above a drawing and below it, in pixels; as in the style.
const ABOVE: u64 = 8;
const BELOW: u64 = 6;
const BELOW_WITH_LABELS: u64 = 24;

/// What surrounds a drawing.
pub(crate) struct Frame<'a> {
    /// Its name within the page.
    pub(crate) id: String,
    /// What it is, for those who do not see it.
    pub(crate) title: String,
    /// What it shows, for those who do not see it.
    pub(crate) description: String,
    /// In pixels.
    pub(crate) height: u64,
    /// Lines across, from the bottom.
    pub(crate) rows: &'a [Tick],
    /// Lines upwards.
    pub(crate) columns: &'a [Tick],
    /// False where another drawing right below it has the same.
    pub(crate) has_column_labels: bool,
}

/// The classes of a policy, by its place: a colour and a pattern.
pub(crate) fn policy_class(place: usize) -> String {
    format!("p{} d{}", place % POLICY_COLOURS, place % 4)
}

/// The classes of a queue, by its place among those that are shown one by one.
pub(crate) fn queue_class(place: Option<usize>) -> String {
    place.map_or_else(|| "qx".to_owned(), |place| format!("q{} d{}", place % QUEUE_COLOURS, place % 4))
}

/// A place along a scale as a percentage.
pub(crate) fn percentage(place: u64) -> String {
    match (place / 100, place % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, hundredths) => format!("{whole}.{hundredths:02}%"),
    }
}

impl Frame<'_> {
    /// The drawing in its frame.
    pub(crate) fn around(&self, marks: &Markup) -> Markup {
        let below = if self.has_column_labels { BELOW_WITH_LABELS } else { BELOW };
        let (title, description) = (format!("{}-t", self.id), format!("{}-d", self.id));
        html! {
            svg.chart.bare[!self.has_column_labels] role="img" aria-labelledby={ (title) " " (description) }
                height=(ABOVE + self.height + below) {
                title id=(title) { (self.title) }
                desc id=(description) { (self.description) }
                g.grid {
                    @for tick in self.rows { (self.row(tick)) }
                    @for tick in self.columns { (self.column(tick)) }
                }
                (marks)
            }
        }
    }

    fn row(&self, tick: &Tick) -> Markup {
        let y = self.height - self.height * tick.place / PLACES;
        html! {
            line x1="0" x2="100%" y1=(y) y2=(y) {}
            text.row x="-6" y=(y) dy=".32em" { (tick.label) }
        }
    }

    fn column(&self, tick: &Tick) -> Markup {
        let (x, is_last) = (percentage(tick.place), tick.place > 9_600);
        html! {
            line x1=(x) x2=(x) y1="0" y2=(self.height) {}
            @if self.has_column_labels {
                text.minor[tick.is_minor].last[is_last] x=(x) y=(self.height + 17) { (tick.label) }
            }
        }
    }
}

/// A part of a drawing that is stretched to its width and height: `width` by `height` units.
fn stretched(width: u64, height: u64, content: &Markup) -> Markup {
    html! {
        svg.plot height=(height / UNITS) width="100%" viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" { (content) }
    }
}

/// Units of height a pixel, so that slopes stay smooth where a screen has more.
const UNITS: u64 = 4;

/// How far down a value is, in units, where `top` is at the top of `height` units.
fn down(value: u64, top: u64, height: u64) -> u64 {
    let up = u128::from(value.min(top)) * u128::from(height) / u128::from(top.max(1));
    height.saturating_sub(u64::try_from(up).unwrap_or(height))
}
