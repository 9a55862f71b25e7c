//! What was simulated, and what came of it in a few figures.

use allot_model::{Amount, ResourceName, Span};
use maud::{Markup, html};

use super::figures::Figure;
use super::{Story, key};
use crate::words;

/// Resources that are told of one by one.
const MOST_RESOURCES: usize = 4;

pub(super) fn section(story: &Story<'_>) -> Markup {
    html! {
        header {
            p.kicker { "allot simulate" }
            h1 { (story.title) }
            p.facts { (story.facts().join(" · ")) }
            p.keys { @for run in &story.runs { (key(&run.class, &run.policy)) } }
            div.tiles { @for (superlative, figure) in story.headlines() { (story.tile(superlative, &figure)) } }
        }
    }
}

impl Story<'_> {
    /// What there was to run, and where.
    fn facts(&self) -> Vec<String> {
        let jobs = self.workload.jobs.len();
        let tasks = self.workload.jobs.iter().map(|job| u64::from(job.tasks)).sum::<u64>();
        let mut facts = vec![counted(jobs, "job")];
        if tasks != u64::try_from(jobs).unwrap_or(u64::MAX) {
            facts.push(format!("{} tasks", words::count(tasks)));
        }
        if self.queue_count > 1 {
            facts.push(counted(self.queue_count, "queue"));
        }
        let agents: Vec<_> = self.workload.agents_at(self.window.from).collect();
        let there = self.resources().into_iter().map(|name| {
            let sum = agents.iter().fold(0_u64, |sum, agent| sum.saturating_add(agent.total.total(name)));
            (name, sum)
        });
        let there: Vec<String> =
            there.filter(|(_, sum)| *sum > 0).map(|(name, sum)| amount(name, sum)).collect();
        facts.push(counted(self.workload.agents.len(), "agent"));
        if !there.is_empty() {
            facts.push(format!("{} at first", words::listed(&there)));
        }
        facts.push(format!("{} simulated", words::length(self.window.span())));
        facts
    }

    /// What jobs ask for and agents have, the most common first.
    pub(super) fn resources(&self) -> Vec<&ResourceName> {
        let usual = |name: &ResourceName| {
            ["cpus", "gpus", "mem", "disk"].iter().position(|other| name.as_str() == *other)
        };
        let there = self.runs.first().into_iter().flat_map(|run| run.history.utilisation.keys());
        let mut names: Vec<_> = there.filter(|name| self.is_there(name)).collect();
        names.sort_by_key(|name| usual(name).unwrap_or(usize::MAX));
        names.truncate(MOST_RESOURCES);
        names
    }

    fn is_there(&self, name: &ResourceName) -> bool {
        self.runs.iter().any(|run| run.measures.utilisation_of.contains_key(name.as_str()))
    }

    pub(super) fn is_asked_for(&self, name: &str) -> bool {
        self.workload.asks.iter().any(|asks| asks.request.iter().any(|(asked, _)| asked.as_str() == name))
    }

    fn tile(&self, superlative: &str, figure: &Figure) -> Markup {
        let best = figure.best();
        let Some(value) = best.or_else(|| figure.values.iter().flatten().copied().next()) else {
            return html! {};
        };
        let with = self
            .runs
            .iter()
            .zip(&figure.values)
            .filter(|(_, other)| other.is_some_and(|other| figure.is_best(other)));
        html! {
            div.tile {
                p.label { @if best.is_some() { (superlative) } @else { (figure.label) } }
                p.value { (figure.unit.read(value)) }
                p.by {
                    @if best.is_some() { @for (run, _) in with { (key(&run.class, &run.policy)) } }
                    @else if self.runs.len() > 1 { "all policies alike" }
                }
            }
        }
    }
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", words::count(u64::try_from(number).unwrap_or(u64::MAX)))
}

/// An amount with its resource, such as `100 cpus` and `18GB mem`.
fn amount(name: &ResourceName, units: u64) -> String {
    let text = if name.is_bytes() {
        Amount::scalar_text(name, units)
    } else {
        let whole = units.is_multiple_of(1_000);
        if whole { words::count(units / 1_000) } else { words::decimal(units, 3) }
    };
    format!("{text}\u{a0}{}", words::name(name.as_str()))
}

/// A length of time after the beginning of time, as people read it.
pub(super) fn moment(at: allot_model::Time) -> String {
    words::length(at.since(allot_model::Time::ZERO).max(Span::ZERO))
}
