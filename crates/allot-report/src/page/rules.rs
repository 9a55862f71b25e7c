//! How it was simulated.

use allot_sim::RULES;
use maud::{Markup, html};

use super::{Story, key};

pub(super) fn section(story: &Story<'_>) -> Markup {
    html! {
        section id="rules" {
            h2 { "How this was simulated" }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Policy" }
                    th scope="col" { "Order in a queue" }
                    th scope="col" { "Placement" }
                    th scope="col" { "Behind a job that does not fit" }
                } }
                tbody { @for run in &story.runs { tr {
                    th scope="row" { (key(&run.class, &run.policy)) }
                    td { (run.outcome.policy.order) }
                    td { (run.outcome.policy.placement) }
                    td { (run.outcome.policy.backfill) }
                } } }
            } }
            ul { @for rule in RULES { li { (rule) } } }
            p.note { "The measured time is from the first submission to the last end, or to the end of the simulation where something still runs. Written by allot " (env!("CARGO_PKG_VERSION")) "." }
        }
    }
}
