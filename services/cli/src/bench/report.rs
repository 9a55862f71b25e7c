//! How a run went.

use std::fmt::Write;

use allot_model::{Reason, Span, TaskState};
use serde::Serialize;

use super::cost::Cost;
use super::load::Load;
use super::numbers::{counted, micros, per, three_figures};
use super::stages::Distribution;
use super::track::Tracker;
use crate::output::{Cell, Output, Table};
use crate::states::word;

/// How a run went. Lengths of time are microseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    executor: &'static str,
    jobs: usize,
    tasks: u64,
    in_flight: Option<u32>,
    /// From the first publication until this process read that the last job had ended.
    took_us: u64,
    tasks_per_s: f64,
    jobs_per_s: f64,
    stages: Vec<Distribution>,
    cost: Cost,
    /// The tasks that did not finish.
    failed: Vec<Failed>,
}

/// Tasks that did not finish.
#[derive(Debug, Clone, Serialize)]
struct Failed {
    state: TaskState,
    reason: Reason,
    tasks: u64,
}

impl Report {
    pub(super) fn of(load: &Load, tracker: &Tracker, cost: &Cost) -> Self {
        let (from, to) = tracker.extent();
        let took = to.since(from);
        let failed = tracker.failed().iter();
        Self {
            executor: load.executor().word(),
            jobs: tracker.ended_jobs(),
            tasks: tracker.ended_tasks(),
            in_flight: load.in_flight(),
            took_us: took.as_micros(),
            tasks_per_s: a_second(tracker.ended_tasks(), took),
            jobs_per_s: a_second(tracker.ended_jobs() as u64, took),
            stages: tracker.stages().distributions(),
            cost: cost.clone(),
            failed: failed
                .map(|((state, reason), tasks)| Failed { state: *state, reason: *reason, tasks: *tasks })
                .collect(),
        }
    }

    /// True where every task finished.
    pub(super) fn is_good(&self) -> bool {
        self.failed.is_empty()
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let Self { executor, tasks, .. } = self;
        let jobs = counted(self.jobs, "job");
        let open = self.in_flight.map(|most| format!(", {most} open at a time")).unwrap_or_default();
        let mut text = format!(
            "{tasks} tasks in {jobs}{open}, executor {executor}: {}, {} tasks/s, {} jobs/s\n\n",
            micros(self.took_us),
            three_figures(self.tasks_per_s),
            three_figures(self.jobs_per_s)
        );
        let tables = [
            stages_text(&self.stages, output),
            self.cost.services_text(self.tasks, output),
            self.cost.traffic_text(self.tasks, output),
        ];
        text.push_str(&tables.join("\n\n"));
        self.tell_failed(&mut text);
        text
    }

    fn tell_failed(&self, text: &mut String) {
        for Failed { state, reason, tasks } in &self.failed {
            // Writing to a string does not fail.
            let _ = write!(text, "\n\n{tasks} did not finish: {} ({})", word(state), reason.as_str());
            if *reason == Reason::LaunchFailed {
                let _ = write!(text, "; `allot jobs --name bench` and `allot job show` say why");
            }
        }
    }
}

/// How long each stage took, as a table.
pub(super) fn stages_text(stages: &[Distribution], output: &Output) -> String {
    let mut table = Table::new(&["STAGE", "COUNT#", "P50#", "P90#", "P99#", "P99.9#", "MOST#"]);
    for of in stages {
        let lengths =
            [of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us].map(|length| Cell::from(micros(length)));
        table.row([of.stage.words().into(), of.count.into()].into_iter().chain(lengths));
    }
    output.draw(&table)
}

fn a_second(count: u64, took: Span) -> f64 {
    per(count, took.as_micros()) * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cost::tests::cost;
    use crate::bench::load::tests::load;
    use crate::bench::track::tests::tracker;
    use crate::output::Format;
    use allot_model::Time;

    #[test]
    fn a_run_is_told_in_three_tables() {
        let load = load(&["--tasks", "4", "--jobs", "2", "--in-flight", "1"]).unwrap();
        let report = Report::of(&load, &tracker(), &cost());
        assert!(report.is_good());
        let text = report.text(&Output::plain(Format::Text, false, Time::ZERO));
        assert_eq!(
            text,
            "\
4 tasks in 2 jobs, 1 open at a time, executor process: 2.50ms, 1600 tasks/s, 800 jobs/s

STAGE                  COUNT     P50     P90     P99   P99.9    MOST
published → submitted      2    10µs    10µs    10µs    10µs    10µs
submitted → admitted       2    30µs    30µs    30µs    30µs    30µs
admitted → allocated       4   960µs  1.86ms  1.86ms  1.86ms  1.86ms
allocated → started        4   100µs   300µs   300µs   300µs   300µs
started → ended            4    50µs    50µs    50µs    50µs    50µs
ended → finished           4    30µs    30µs    30µs    30µs    30µs
published → started        4  1.30ms  2.20ms  2.20ms  2.20ms  2.20ms
published → known          2  1.50ms  2.40ms  2.40ms  2.40ms  2.40ms
freed → started            3   150µs   750µs   750µs   750µs   750µs
allocated → next           1  1.00ms  1.00ms  1.00ms  1.00ms  1.00ms

SERVICE           HOST  PID     CPU  OF A CORE  A TASK   MEMORY     PEAK
allot-agent       h      11   300µs      3.00%  75.0µs  3.00MiB  6.00MiB
allot-dispatcher  h      16  1.00ms      10.0%   250µs  5.00MiB  10.0MiB
allot-offers      h      12   500µs      5.00%   125µs  4.00MiB  8.00MiB
this command      h       9  1.00ms      10.0%   250µs  1.00MiB  2.00MiB
all but agents               1.50ms      15.0%   375µs  9.00MiB  18.0MiB

BUS                     PUBLISHED    BYTES        A TASK  DELIVERED    BYTES        A TASK
allot-offers                 5000  48.8KiB  1250, 12500B       2500  24.4KiB    625, 6250B
all                         10000  97.7KiB  2500, 25000B       5000  48.8KiB  1250, 12500B
stored in ALLOT_LEDGER         10  9.77KiB   2.50, 2500B"
        );
    }

    #[test]
    fn what_did_not_finish_is_told_with_why() {
        let load = load(&["--tasks", "4", "--jobs", "2"]).unwrap();
        let mut report = Report::of(&load, &tracker(), &cost());
        report.failed = vec![Failed { state: TaskState::Failed, reason: Reason::LaunchFailed, tasks: 3 }];
        let text = report.text(&Output::plain(Format::Text, false, Time::ZERO));
        assert!(!report.is_good() && text.contains("3 did not finish: failed (launch_failed)"), "{text}");
    }
}
