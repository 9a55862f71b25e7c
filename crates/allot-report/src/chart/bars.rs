//! What ran where and when.

use maud::{Markup, html};

use super::{PLACES, percentage};

/// The height of a row and the room between agents, in pixels.
const ROW: u64 = 20;
const GAP: u64 = 6;

/// Letters of a name that fit beside the rows.
const NAME_LETTERS: usize = 11;

/// About the width of a letter, and of the drawing on a wide screen and on a narrow one, in pixels.
const LETTER: u64 = 7;
const WIDE: u64 = 880;
const NARROW: u64 = 250;

/// Tasks that ran together.
pub(crate) struct Bar {
    /// Its colour.
    pub(crate) class: String,
    /// From where to where, in [`PLACES`].
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// What stands on it.
    pub(crate) label: String,
    /// What is said of it where someone points at it.
    pub(crate) told: String,
    /// True where it has not ended.
    pub(crate) is_open: bool,
}

/// An agent: rows of bars that do not touch each other.
pub(crate) struct Lane {
    pub(crate) name: String,
    /// When it was there, in [`PLACES`].
    pub(crate) there: Vec<(u64, u64)>,
    pub(crate) rows: Vec<Vec<Bar>>,
}

/// How high a drawing of these is, in pixels.
pub(crate) fn bars_height(lanes: &[Lane]) -> u64 {
    lanes.iter().map(|lane| lane.height() + GAP).sum()
}

/// Draws agents below each other.
pub(crate) fn bars(lanes: &[Lane]) -> Markup {
    let mut top = 0;
    let placed: Vec<_> = lanes
        .iter()
        .map(|lane| {
            let at = top;
            top += lane.height() + GAP;
            (at, lane)
        })
        .collect();
    html! { @for (top, lane) in placed { (lane.draw(top + GAP / 2)) } }
}

impl Lane {
    fn height(&self) -> u64 {
        u64::try_from(self.rows.len().max(1)).unwrap_or(u64::MAX) * ROW
    }

    fn draw(&self, top: u64) -> Markup {
        let short = if self.name.chars().count() > NAME_LETTERS {
            self.name.chars().take(NAME_LETTERS - 1).chain(['…']).collect()
        } else {
            self.name.clone()
        };
        html! {
            text.row x="-8" y=(top + ROW / 2) dy=".34em" { (short) title { (self.name) } }
            @for (from, to) in &self.there {
                rect.there x=(percentage(*from)) width=(percentage(to - from)) y=(top) height=(self.height()) {}
            }
            @for (row, bars) in (0_u64..).zip(&self.rows) {
                @for bar in bars { (bar.draw(top + row * ROW)) }
            }
        }
    }
}

impl Bar {
    fn draw(&self, top: u64) -> Markup {
        // Too short to be seen is still seen.
        let width = (self.to - self.from).max(15);
        let needed =
            (u64::try_from(self.label.chars().count()).unwrap_or(u64::MAX) + 1).saturating_mul(LETTER);
        let fits = |room: u64| needed <= room * width / PLACES;
        html! {
            svg class=(self.class) x=(percentage(self.from)) y=(top + 1) width=(percentage(width)) height=(ROW - 2) {
                title { (self.told) }
                rect.bar width="100%" height="100%" rx="2" {}
                @if fits(WIDE) { text.on.minor[!fits(NARROW)] x="4" y="9" dy=".34em" { (self.label) } }
            }
            @if self.is_open {
                text.open.(self.class) x="100%" dx="3" y=(top + ROW / 2) dy=".34em" { "▸" }
            }
        }
    }
}
