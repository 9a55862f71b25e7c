//! The policies side by side.

use maud::{Markup, html};

use super::figures::{Better, Figure};
use super::{Story, key};
use crate::chart::{PLACES, percentage};

pub(super) fn section(story: &Story<'_>) -> Markup {
    let several = story.runs.len() > 1;
    html! {
        section id="compare" {
            h2 { @if several { "Policies side by side" } @else { "In figures" } }
            @if several { p.note { "The best of a row is bold; the bars compare the figures of a row." } }
            div.scroll {
                table.figures {
                    thead { tr {
                        th scope="col" { span.unseen { "Measure" } }
                        @for run in &story.runs { th.number scope="col" { (key(&run.class, &run.policy)) } }
                    } }
                    @for group in story.groups() {
                        tbody {
                            tr.group { th scope="rowgroup" colspan=(story.runs.len() + 1) { (group.head) } }
                            @for figure in &group.figures { (row(story, figure)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(story: &Story<'_>, figure: &Figure) -> Markup {
    html! {
        tr {
            th scope="row" { (figure.label) }
            @for (run, value) in story.runs.iter().zip(&figure.values) {
                @match value {
                    Some(value) => { td.number.best[figure.is_best(*value)] { (cell(figure, &run.class, *value)) } },
                    None => { td.number { "–" } },
                }
            }
        }
    }
}

fn cell(figure: &Figure, class: &str, value: u64) -> Markup {
    let part = u128::from(value) * u128::from(PLACES) / u128::from(figure.largest().max(1));
    let width = percentage(u64::try_from(part).unwrap_or(PLACES));
    html! {
        (figure.unit.read(value))
        @if figure.better != Better::Neither && figure.values.len() > 1 {
            svg.meter.(class) aria-hidden="true" width="100%" height="3" { rect width=(width) height="3" {} }
        }
    }
}
