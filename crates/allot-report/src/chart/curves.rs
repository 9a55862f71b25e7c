//! Which part of all values does not exceed a value.

use maud::{Markup, html};

use super::path::Path;
use super::{Logarithmic, UNITS, percentage, stretched};

/// Columns of a curve.
const COLUMNS: u64 = 480;

/// A curve.
pub(crate) struct Curve {
    /// Its colour and pattern.
    pub(crate) class: String,
    /// In order.
    pub(crate) values: Vec<u64>,
    /// At which parts, in hundredths, it has a dot, and what that says.
    pub(crate) dots: Vec<(u64, String)>,
}

impl Curve {
    /// The smallest value that so many hundredths of all do not exceed.
    pub(crate) fn percentile(values: &[u64], percent: u64) -> Option<u64> {
        let count = u64::try_from(values.len()).unwrap_or(u64::MAX);
        let rank = (count * percent).div_ceil(100).max(1);
        values.get(usize::try_from(rank - 1).ok()?).copied()
    }

    fn path(&self, scale: &Logarithmic, height: u64) -> String {
        let count = u64::try_from(self.values.len()).unwrap_or(u64::MAX).max(1);
        let y = |place: u64| {
            let value = scale.value(place, COLUMNS);
            let within = self.values.partition_point(|other| *other <= value);
            height - height * u64::try_from(within).unwrap_or(0) / count
        };
        let mut path = Path::at(0, y(0));
        for place in 1..=COLUMNS {
            path.across(place);
            path.down(y(place));
        }
        path.open()
    }

    fn dots(&self, scale: &Logarithmic, height: u64) -> Markup {
        // What lies before the scale has no dot.
        let before = self.values.partition_point(|value| *value <= scale.value(0, COLUMNS));
        let is_on = |percent: u64| before * 100 <= self.values.len() * usize::try_from(percent).unwrap_or(0);
        let dots = self.dots.iter().filter(|(percent, _)| is_on(*percent));
        html! {
            @for (percent, told) in dots {
                @if let Some(value) = Self::percentile(&self.values, *percent) {
                    circle cx=(percentage(scale.place(value))) cy=(height - height * percent / 100) r="4" {
                        title { (told) }
                    }
                }
            }
        }
    }
}

/// Curves over a scale, `height` pixels high.
pub(crate) fn curves(curves: &[Curve], scale: &Logarithmic, height: u64) -> Markup {
    html! {
        @for curve in curves {
            g class=(curve.class) {
                (stretched(COLUMNS, height * UNITS, &html! { path.line d=(curve.path(scale, height * UNITS)) {} }))
            }
        }
        @for curve in curves { g class=(curve.class) { (curve.dots(scale, height)) } }
    }
}
