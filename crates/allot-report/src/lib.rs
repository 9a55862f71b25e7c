//! What policies did with a workload, as one page for people. Pure: what the simulator counted in, a text of HTML out;
//! equal input, equal page, byte for byte.
//!
//! - `history`: how much was held and how many tasks waited over time, worked out from what happened.
//! - `chart`: the parts of a drawing: steps, curves, bars, and the frame with its ticks around them. Inline SVG.
//! - `page`: the sections of the page. Everything is in it, also the style; there are no scripts.
//!
//! ```
//! use allot_model::Format;
//! use allot_report::{Run, Subject, page};
//! use allot_sim::{Measures, Scenario, simulate};
//!
//! let text = b"events: [{at: 0, agent: m1, resources: {cpus: 1}}, {at: 0, submit: j, resources: {cpus: 1}, run: 5s}]";
//! let Scenario { workload, .. } = Scenario::parse(text, Format::Yaml).unwrap();
//! let outcome = simulate(&workload, &"drf".parse().unwrap()).unwrap();
//! let measures = Measures::of(&workload, &outcome);
//! let page = page(&Subject { title: "one job", workload: &workload }, &[Run { outcome: &outcome, measures: &measures }]);
//! assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<h1>one job</h1>"));
//! ```

mod chart;
mod history;
mod page;
mod words;

use allot_sim::{Measures, Outcome, Workload};

/// What the page is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What people call the workload, such as the name of its file.
    pub title: &'a str,
    /// The workload.
    pub workload: &'a Workload,
}

/// A policy, and what it did with the workload.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What happened.
    pub outcome: &'a Outcome,
    /// How good it was.
    pub measures: &'a Measures,
}

/// The page about some runs of one workload, in their order.
#[must_use]
pub fn page(subject: &Subject<'_>, runs: &[Run<'_>]) -> String {
    page::whole(subject, runs).into_string()
}
