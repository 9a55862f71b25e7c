//! Values that keep until they change, over time.

use maud::{Markup, html};

use super::path::Path;
use super::{UNITS, down, stretched};
use crate::history::{Column, Series, Window};

/// Columns of a drawing where there are more steps than can be told apart. None is wider than a pixel or two.
const COLUMNS: u64 = 960;

/// As many steps as this are drawn one by one.
const MOST_STEPS: usize = 320;

/// Columns share their mean by so many, so that the line of the mean can be followed.
const MEANS: u64 = COLUMNS / 6;

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Every step.
    Steps,
    /// In columns, of which there are so many as pixels on a wide page.
    Columns,
    /// In half as many columns, for a drawing that is not as wide.
    HalfColumns,
}

/// A line of a drawing.
pub(crate) struct Line<'a> {
    /// Its colour and pattern.
    pub(crate) class: String,
    pub(crate) series: &'a Series,
    /// True where what is below it is filled.
    pub(crate) is_filled: bool,
    pub(crate) detail: Detail,
}

/// True where there are more steps than can be told apart.
pub(crate) fn is_dense(series: &Series, window: Window) -> bool {
    series.steps(window).nth(MOST_STEPS).is_some()
}

/// Lines over a time, with `top` at the top of `height` pixels.
pub(crate) fn steps(lines: &[Line<'_>], window: Window, top: u64, height: u64) -> Markup {
    html! { @for line in lines { (line.draw(window, top, height * UNITS)) } }
}

impl Line<'_> {
    fn draw(&self, window: Window, top: u64, height: u64) -> Markup {
        match self.detail {
            Detail::Steps => self.exact(window, top, height),
            Detail::Columns => self.dense(window, top, height, (COLUMNS, MEANS)),
            Detail::HalfColumns => self.dense(window, top, height, (COLUMNS / 2, MEANS / 2)),
        }
    }

    /// Every step, at a tenth of a column.
    fn exact(&self, window: Window, top: u64, height: u64) -> Markup {
        let width = COLUMNS * 10;
        let mut steps = self.series.steps(window);
        let first = down(steps.next().map_or(0, |(_, value)| value), top, height);
        let mut path = Path::at(0, if self.is_filled { height } else { first });
        path.down(first);
        for (at, value) in steps {
            path.across(window.place(at, width));
            path.down(down(value, top, height));
        }
        path.across(width);
        if self.is_filled {
            path.down(height);
        }
        let class = if self.is_filled { "area" } else { "line" };
        let drawn = html! { path.(class) d=(path.open()) {} };
        html! { g class=(self.class) { (stretched(width, height, &drawn)) } }
    }

    /// In each column all from the least to the most, and the mean over some.
    fn dense(&self, window: Window, top: u64, height: u64, (columns, means): (u64, u64)) -> Markup {
        let y = |value| down(value, top, height);
        let band: Vec<Column> = self.series.columns(window, columns).collect();
        let mut path = Path::at(0, y(band.first().map_or(0, |column| column.high)));
        for (x, column) in (0..).zip(&band) {
            path.down(y(column.high));
            path.across(x + 1);
        }
        for (x, column) in (0..columns).rev().zip(band.iter().rev()) {
            path.down(y(column.low));
            path.across(x);
        }
        let mut mean = Path::at(0, height);
        for (number, column) in (0..).zip(self.series.columns(window, means)) {
            mean.down(y(column.mean));
            mean.across((number + 1) * columns / means);
        }
        mean.down(height);
        let drawn = html! {
            path.band d=(path.closed()) {}
            path.area d=(mean.open()) {}
        };
        html! { g class=(self.class) { (stretched(columns, height, &drawn)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::Time;

    fn drawn(points: &[(u64, u64)], detail: Detail, to: u64, top: u64) -> String {
        let mut series = Series::default();
        points.iter().for_each(|(at, value)| series.set(Time::from_micros(*at), *value));
        let line = Line { class: "p0".to_owned(), series: &series, is_filled: false, detail };
        let window = Window { from: Time::ZERO, to: Time::from_micros(to) };
        steps(&[line], window, top, 10).into_string()
    }

    #[test]
    fn few_steps_are_drawn_one_by_one() {
        let drawn = drawn(&[(0, 1), (50, 4), (75, 0)], Detail::Steps, 100, 4);
        assert!(drawn.contains(r#"d="M0 30h4800v-30h2400v40h2400""#), "{drawn}");
    }

    #[test]
    fn of_many_steps_the_least_and_the_most_of_each_column_are_kept() {
        let flip = |at: u64| (at, if at == 960 * 50 { 9 } else { at % 2 });
        let points: Vec<_> = (0..96_000).map(flip).collect();
        let drawn = drawn(&points, Detail::Columns, 96_000, 10);
        // All columns reach from 0 to 1, and the one with the spike reaches to 9.
        assert!(drawn.contains(r#"d="M0 36h480v-32h1v32h479v4h-960z""#), "{drawn}");
    }
}
