//! Policies side by side, for people.

use allot_model::Span;
use allot_sim::{Measures, RULES, Workload, queue_states};
use allot_workload::Distribution;

use super::Run;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table, length};

/// More queues than these are counted, not told one by one.
const MOST_QUEUES: usize = 40;

/// Prints the policies side by side, what the queues have at the end, and the rules.
pub(super) fn print(workload: &Workload, runs: &[Run], output: &Output) -> Result<(), Failure> {
    output.print(&(), |()| text(workload, runs, output))
}

fn text(workload: &Workload, runs: &[Run], output: &Output) -> String {
    let mut text = String::new();
    let jobs = runs.first().map_or(0, |run| run.measures.submitted);
    text.push_str(&format!("{jobs} jobs, {} agents\n\n", workload.agents.len()));
    text.push_str(&output.draw(&comparison(runs)));
    text.push_str("\n\n");
    if runs.iter().any(|run| run.outcome.stays.iter().any(allot_sim::Stay::runs)) {
        text.push_str(&output.draw(&queues(workload, runs)));
        text.push_str("\n\n");
    }
    text.push_str("Rules\n");
    RULES.iter().for_each(|rule| text.push_str(&format!("- {rule}\n")));
    text
}

fn comparison(runs: &[Run]) -> Table {
    let preempts = runs.iter().any(|run| run.measures.preempted > 0);
    let rejects = runs.iter().any(|run| run.measures.rejected > 0);
    let mut columns = vec![
        "POLICY",
        "STARTED#",
        "ENDED#",
        "WAIT#",
        "95%#",
        "99%#",
        "RESPONSE#",
        "SLOWDOWN#",
        "95%#",
        "MAKESPAN#",
        "USED#",
        "JOBS/H#",
        "FAIR#",
        "GPUS#",
    ];
    columns.extend(["STOPPED#", "LOST#"].iter().filter(|_| preempts));
    columns.extend(Some("REJECTED#").filter(|_| rejects));
    let mut table = Table::new(&columns);
    for run in runs {
        let Measures { started, ended, wait, response, bounded_slowdown, .. } = &run.measures;
        let time = |of: &Option<Distribution>, pick: fn(&Distribution) -> f64| {
            of.as_ref().map_or_else(|| "-".to_owned(), |of| length(seconds(pick(of))))
        };
        let slowdown = |pick: fn(&Distribution) -> f64| {
            bounded_slowdown.as_ref().map_or_else(|| "-".to_owned(), |of| format!("{:.2}", pick(of)))
        };
        let part =
            |part: Option<f64>| part.map_or_else(|| "-".to_owned(), |part| format!("{:.1}%", part * 100.0));
        let mut cells: Vec<Cell> = vec![
            run.policy.clone().into(),
            started.to_string().into(),
            ended.to_string().into(),
            time(wait, |of| of.mean).into(),
            time(wait, |of| of.p95).into(),
            time(wait, |of| of.p99).into(),
            time(response, |of| of.mean).into(),
            slowdown(|of| of.mean).into(),
            slowdown(|of| of.p95).into(),
            length(seconds(run.measures.makespan)).into(),
            part(run.measures.utilisation).into(),
            format!("{:.1}", run.measures.jobs_per_hour).into(),
            format!("{:.3}", run.measures.jain_index).into(),
            part(run.measures.gpu_allocation).into(),
        ];
        if preempts {
            cells.push(run.measures.preempted.to_string().into());
            cells.push(length(seconds(run.measures.lost)).into());
        }
        cells.extend(rejects.then(|| run.measures.rejected.to_string().into()));
        table.row(cells);
    }
    table
}

/// What each queue has at the end, for each policy.
fn queues(workload: &Workload, runs: &[Run]) -> Table {
    let mut table = Table::new(&["POLICY", "QUEUE", "RUNNING#", "SHARE#", "HOLDS"]);
    for run in runs {
        let states = queue_states(workload, &run.outcome);
        for (name, state) in states.iter().take(MOST_QUEUES) {
            let (held, there) = state.dominant_share;
            let holds = state.allocated.iter();
            let holds = holds
                .map(|(name, units)| format!("{name} {}", allot_model::Amount::scalar_text(name, units)));
            table.row([
                run.policy.clone().into(),
                name.into(),
                state.running.to_string().into(),
                format!("{held}/{there}").into(),
                holds.collect::<Vec<_>>().join(", ").into(),
            ]);
        }
        if states.len() > MOST_QUEUES {
            let more = format!("and {} more", states.len() - MOST_QUEUES);
            table.row([run.policy.clone().into(), more.into(), "".into(), "".into(), "".into()]);
        }
    }
    table
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer there is"
)]
fn seconds(value: f64) -> Span {
    Span::from_micros((value * 1e6).round() as u64)
}
