//! The sections of the page.

mod compare;
mod figures;
mod gantt;
mod head;
mod queues;
mod rules;
mod shares;
mod spread;
mod time;

use allot_sim::{Measures, Outcome, Workload};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart::{QUEUE_COLOURS, policy_class, queue_class};
use crate::history::{History, Window};
use crate::words;
use crate::{Run, Subject};

const STYLE: &str = include_str!("style.css");

/// What the sections tell of.
struct Story<'a> {
    title: String,
    workload: &'a Workload,
    runs: Vec<Told<'a>>,
    /// The time that all drawings over time have in common.
    window: Window,
    /// The queues that have jobs and are told one by one, by name.
    queues: Vec<QueueTold>,
    /// How many queues have jobs.
    queue_count: usize,
}

/// A run as it is told of.
struct Told<'a> {
    policy: String,
    /// Its colour and pattern.
    class: String,
    outcome: &'a Outcome,
    measures: &'a Measures,
    history: History,
}

/// A queue as it is told of.
struct QueueTold {
    number: u32,
    name: String,
    class: String,
}

/// The whole page.
pub(crate) fn whole(subject: &Subject<'_>, runs: &[Run<'_>]) -> Markup {
    let story = Story::of(subject, runs);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Nothing is ever loaded or run, whatever names may say.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="generator" content={ "allot " (env!("CARGO_PKG_VERSION")) };
                title { (story.policies()) " · " (story.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head::section(&story))
                main {
                    (compare::section(&story))
                    (time::utilisation(&story))
                    (time::waiting(&story))
                    (shares::section(&story))
                    (spread::section(&story))
                    (gantt::section(&story))
                    (queues::section(&story))
                    (rules::section(&story))
                }
            }
        }
    }
}

impl<'a> Story<'a> {
    fn of(subject: &Subject<'a>, runs: &[Run<'a>]) -> Self {
        let workload = subject.workload;
        let told = |(place, run): (usize, &Run<'a>)| Told {
            policy: run.outcome.policy.to_string(),
            class: policy_class(place),
            outcome: run.outcome,
            measures: run.measures,
            history: History::of(workload, run.outcome),
        };
        let runs: Vec<Told<'a>> = runs.iter().enumerate().map(told).collect();
        let window = Window::around(runs.iter().map(|run| run.history.window));
        let with_jobs = queues_with_jobs(workload);
        Self {
            title: words::name(subject.title),
            queue_count: with_jobs.len(),
            queues: coloured(workload, &runs, with_jobs),
            workload,
            runs,
            window,
        }
    }

    fn policies(&self) -> String {
        let names: Vec<String> = self.runs.iter().map(|run| run.policy.clone()).collect();
        words::listed(&names)
    }

    /// The colour of a queue.
    fn queue_class(&self, number: u32) -> &str {
        self.queues.iter().find(|queue| queue.number == number).map_or("qx", |queue| &queue.class)
    }
}

fn queues_with_jobs(workload: &Workload) -> Vec<u32> {
    let mut numbers: Vec<u32> = workload.jobs.iter().map(|job| job.queue).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// As many queues as have colours, by name: the largest.
fn coloured(workload: &Workload, runs: &[Told<'_>], numbers: Vec<u32>) -> Vec<QueueTold> {
    let told = |(place, number): (usize, u32)| QueueTold {
        number,
        name: words::name(queue_name(workload, number)),
        class: queue_class(Some(place)),
    };
    largest_queues(workload, runs, numbers, QUEUE_COLOURS).into_iter().enumerate().map(told).collect()
}

/// At most so many of these queues, by name: those with the largest mean shares under all policies together.
fn largest_queues(workload: &Workload, runs: &[Told<'_>], numbers: Vec<u32>, most: usize) -> Vec<u32> {
    let mean = |number: u32, run: &Told<'_>| {
        run.history.shares.get(number as usize).map_or(0, |share| share.over(run.history.window).mean)
    };
    let size = |number: u32| runs.iter().map(|run| mean(number, run)).sum::<u64>();
    let mut ranked: Vec<_> = numbers
        .into_iter()
        .map(|number| (std::cmp::Reverse(size(number)), queue_name(workload, number), number))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(most);
    ranked.sort_unstable_by_key(|(_, name, number)| (*name, *number));
    ranked.into_iter().map(|(_, _, number)| number).collect()
}

fn queue_name(workload: &Workload, number: u32) -> &str {
    workload.queues.get(number as usize).map_or("", |queue| queue.name.as_str())
}

/// A sample of a colour and pattern, and what has it.
fn key(class: &str, label: &str) -> Markup {
    html! {
        span.key.(class) {
            svg.swatch width="18" height="10" aria-hidden="true" { line x1="0" x2="18" y1="5" y2="5" {} }
            bdi { (breakable(label)) }
        }
    }
}

/// A name that may be broken between its parts where there is little room.
fn breakable(name: &str) -> Markup {
    html! { @for part in name.split_inclusive([':', '.', '_', '-']) { (part) wbr; } }
}

/// What a drawing shows as a table that opens.
fn folded(summary: &str, table: &Markup) -> Markup {
    html! { details { summary { (summary) } div.scroll { (table) } } }
}
