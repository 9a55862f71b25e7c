//! What each queue got.

use std::collections::BTreeMap;

use allot_model::Span;
use allot_sim::{QueueState, queue_states};
use maud::{Markup, html};

use super::{Story, Told, key};
use crate::words;

/// Of more queues than these the largest are told of one by one.
const MOST_QUEUES: usize = 40;

/// What is told of a queue under a policy.
struct Row {
    mean_wait: Option<u64>,
    mean_share: u64,
    state: QueueState,
}

pub(super) fn section(story: &Story<'_>) -> Markup {
    let numbers = super::queues_with_jobs(story.workload);
    let is_running = story.runs.iter().any(|run| run.outcome.stays.iter().any(allot_sim::Stay::runs));
    let rows: Vec<BTreeMap<u32, Row>> = story.runs.iter().map(|run| story.rows(run)).collect();
    let more = numbers.len().saturating_sub(MOST_QUEUES);
    let told = super::largest_queues(story.workload, &story.runs, numbers, MOST_QUEUES);
    html! {
        @if story.queue_count > 1 {
            section id="queues" {
                h2 { "Queues" }
                p.note {
                    "Of each queue with jobs: the mean wait of its jobs that started, its mean dominant share"
                    @if is_running { ", and its dominant share at the end, exactly, with how many tasks of it run then" }
                    "."
                }
                div.scroll { table {
                    (heads(story, is_running))
                    tbody { @for number in told { tr {
                        th scope="row" {
                            (key(story.queue_class(number), &words::name(super::queue_name(story.workload, number))))
                        }
                        td.number { (words::count(story.jobs_of(number))) }
                        @for rows in &rows { (cells(rows.get(&number), is_running)) }
                    } } }
                } }
                @if more > 0 { p.note { "And " (more) " smaller ones." } }
            }
        }
    }
}

fn heads(story: &Story<'_>, is_running: bool) -> Markup {
    let columns = if is_running { 4 } else { 2 };
    html! {
        thead {
            tr {
                th scope="col" rowspan="2" { "Queue" }
                th.number scope="col" rowspan="2" { "Jobs" }
                @for run in &story.runs { th.number scope="colgroup" colspan=(columns) { (key(&run.class, &run.policy)) } }
            }
            tr { @for _ in &story.runs {
                th.number scope="col" { "wait" }
                th.number scope="col" { "share" }
                @if is_running { th.number scope="col" { "at end" } th.number scope="col" { "running" } }
            } }
        }
    }
}

fn cells(row: Option<&Row>, is_running: bool) -> Markup {
    let Some(Row { mean_wait, mean_share, state }) = row else { return html! {} };
    let (held, there) = state.dominant_share;
    html! {
        td.number { (mean_wait.map_or_else(|| "–".to_owned(), |wait| words::length(Span::from_micros(wait)))) }
        td.number { (words::percent(*mean_share)) }
        @if is_running {
            td.number { (held) "/" (there) }
            td.number { (words::count(state.running)) }
        }
    }
}

impl Story<'_> {
    fn jobs_of(&self, number: u32) -> u64 {
        self.workload.jobs.iter().filter(|job| job.queue == number).map(|_| 1).sum()
    }

    /// What there is to tell of each queue.
    fn rows(&self, run: &Told<'_>) -> BTreeMap<u32, Row> {
        let mut states = queue_states(self.workload, run.outcome);
        let mut waits: BTreeMap<u32, (u128, u128)> = BTreeMap::new();
        for (job, fate) in self.workload.jobs.iter().zip(&run.outcome.jobs) {
            let (sum, count) = waits.entry(job.queue).or_default();
            if let Some(start) = fate.start {
                *sum += u128::from(start.since(job.submit).as_micros());
                *count += 1;
            }
        }
        let mean = |(sum, count): (u128, u128)| u64::try_from(sum.checked_div(count)?).ok();
        let shares = (0..).zip(&run.history.shares).zip(&self.workload.queues);
        let row = |((number, share), queue): ((u32, &crate::history::Series), &allot_sim::Queue)| {
            let state = states.remove(queue.name.as_str()).unwrap_or_default();
            let mean_wait = waits.get(&number).copied().and_then(mean);
            (number, Row { mean_wait, mean_share: share.over(run.history.window).mean, state })
        };
        shares.map(row).collect()
    }
}
