//! What ran where and when, for runs that are small enough to be seen.

use std::collections::BTreeMap;

use allot_model::Time;
use allot_sim::Happening;
use maud::{Markup, html};

use super::{QueueTold, Story, Told, folded, head, key};
use crate::chart::{Bar, Frame, Lane, PLACES, bars, bars_height, times};
use crate::history::{Piece, pieces};
use crate::words;

/// More than these are too much for eyes, and for a page of paper.
const MOST_BARS: usize = 400;
const MOST_ROWS: usize = 48;

/// Bars that are told in a table, too.
const MOST_IN_TABLE: usize = 60;

/// The bars of a run, and in which rows they are.
struct Plan {
    /// The pieces on each agent, in rows.
    rows: Vec<Vec<Vec<Piece>>>,
    pieces: Vec<Piece>,
}

pub(super) fn section(story: &Story<'_>) -> Markup {
    let plans: Option<Vec<Plan>> = story.runs.iter().map(|run| Plan::of(story, run)).collect();
    html! {
        @if let Some(plans) = plans {
            section id="gantt" {
                h2 { "What ran where" }
                p.note { "A bar for the tasks of a job that start and end together on an agent; ▸ where they still run at the end. The grey ground shows when an agent is there." }
                @if story.queue_count > 1 { (keys(story)) }
                @for (place, (run, plan)) in story.runs.iter().zip(&plans).enumerate() { (story.gantt((place, run), plan)) }
            }
        }
    }
}

fn keys(story: &Story<'_>) -> Markup {
    html! {
        p.keys.solid {
            @for QueueTold { class, name, .. } in &story.queues { (key(class, name)) }
            @if story.queue_count > story.queues.len() { (key("qx", "other queues")) }
        }
    }
}

impl Plan {
    /// Nothing where there is too much.
    fn of(story: &Story<'_>, run: &Told<'_>) -> Option<Self> {
        let pieces = joined(pieces(run.outcome));
        if pieces.is_empty() || pieces.len() > MOST_BARS {
            return None;
        }
        let mut rows: Vec<Vec<Vec<Piece>>> = vec![Vec::new(); story.workload.agents.len()];
        for piece in &pieces {
            let rows = rows.get_mut(piece.agent as usize)?;
            // The first row whose last piece is over by then.
            match rows
                .iter_mut()
                .find(|row| row.last().and_then(|last| last.end).is_some_and(|end| end <= piece.start))
            {
                Some(row) => row.push(*piece),
                None => rows.push(vec![*piece]),
            }
        }
        let count: usize = rows.iter().map(|rows| rows.len().max(1)).sum();
        (count <= MOST_ROWS).then_some(Self { rows, pieces })
    }
}

/// Pieces of one job on one agent that start and end together become one.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: BTreeMap<(Time, u32, u32, Option<Time>), u64> = BTreeMap::new();
    for piece in pieces {
        *joined.entry((piece.start, piece.agent, piece.job, piece.end)).or_insert(0) += piece.tasks;
    }
    let piece = |((start, agent, job, end), tasks)| Piece { job, agent, tasks, start, end };
    joined.into_iter().map(piece).collect()
}

impl Story<'_> {
    fn gantt(&self, (place, run): (usize, &Told<'_>), plan: &Plan) -> Markup {
        let lanes: Vec<Lane> =
            (0_u32..).zip(&plan.rows).map(|(agent, rows)| self.lane(agent, rows)).collect();
        let columns = times(self.window);
        let agents = plan.rows.iter().filter(|rows| !rows.is_empty()).count();
        let frame = Frame {
            id: format!("gantt-{place}"),
            title: format!("What ran where under {}", run.policy),
            description: format!(
                "{} bars on {agents} agents from {} to {}.",
                plan.pieces.len(),
                head::moment(self.window.from),
                head::moment(self.window.to)
            ),
            height: bars_height(&lanes),
            rows: &[],
            columns: &columns,
            has_column_labels: true,
        };
        html! {
            figure.gantt {
                figcaption { (key(&run.class, &run.policy)) }
                (frame.around(&bars(&lanes)))
                @if plan.pieces.len() <= MOST_IN_TABLE { (folded("As a table", &self.table(plan))) }
            }
        }
    }

    fn lane(&self, agent: u32, rows: &[Vec<Piece>]) -> Lane {
        let bars = |row: &Vec<Piece>| row.iter().map(|piece| self.bar(piece)).collect();
        Lane { name: self.agent(agent), there: self.there(agent), rows: rows.iter().map(bars).collect() }
    }

    fn bar(&self, piece: &Piece) -> Bar {
        let (job, times) = (
            self.job(piece.job),
            if piece.tasks > 1 { format!(" ×{}", words::count(piece.tasks)) } else { String::new() },
        );
        let queue = self.workload.jobs.get(piece.job as usize).map_or(0, |job| job.queue);
        let end = piece.end.map_or_else(|| "the end".to_owned(), head::moment);
        let queue_name = self.workload.queues.get(queue as usize).map_or("", |queue| queue.name.as_str());
        Bar {
            class: self.queue_class(queue).to_owned(),
            from: self.window.place(piece.start, PLACES),
            to: self.window.place(piece.end.unwrap_or(self.window.to), PLACES),
            label: format!("{job}{times}"),
            told: format!(
                "{job}{times}, queue {}, {} to {end}",
                words::name(queue_name),
                head::moment(piece.start)
            ),
            is_open: piece.end.is_none(),
        }
    }

    /// When an agent is there.
    fn there(&self, number: u32) -> Vec<(u64, u64)> {
        let mut there = Vec::new();
        let mut since = None;
        for change in &self.workload.changes {
            match &change.what {
                Happening::Agent { agent, .. } if *agent == number => since = since.or(Some(change.at)),
                Happening::AgentLeaves { agent } if *agent == number => {
                    there.extend(since.take().map(|from| (from, change.at)))
                }
                _ => {}
            }
        }
        there.extend(since.map(|from| (from, self.window.to)));
        let place = |at| self.window.place(at, PLACES);
        there.into_iter().map(|(from, to)| (place(from), place(to))).filter(|(from, to)| from < to).collect()
    }

    fn job(&self, number: u32) -> String {
        words::name(&self.workload.name(number as usize).to_string())
    }

    fn agent(&self, number: u32) -> String {
        self.workload
            .agents
            .get(number as usize)
            .map_or_else(String::new, |agent| words::name(agent.id.as_str()))
    }

    fn table(&self, plan: &Plan) -> Markup {
        html! {
            table {
                thead { tr {
                    th scope="col" { "Job" }
                    th.number scope="col" { "Tasks" }
                    th scope="col" { "Agent" }
                    th.number scope="col" { "Start" }
                    th.number scope="col" { "End" }
                } }
                tbody { @for piece in &plan.pieces { tr {
                    th scope="row" { bdi { (self.job(piece.job)) } }
                    td.number { (words::count(piece.tasks)) }
                    td { bdi { (self.agent(piece.agent)) } }
                    td.number { (head::moment(piece.start)) }
                    td.number { (piece.end.map_or_else(|| "runs".to_owned(), head::moment)) }
                } } }
            }
        }
    }
}
