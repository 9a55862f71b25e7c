//! How a replay went.

use std::fmt::Write;

use allot_model::{JobId, JobState, Reason, Span, Time};
use allot_workload::{Distribution, Metrics, Ran};
use serde::Serialize;

use super::plan::Plan;
use super::track::{Seen, Tracker};
use super::{Machine, unscaled};
use crate::output::{Output, Table, length};
use crate::states::word;

/// The most jobs that did not end as they should that are told one by one.
const MOST_TOLD: usize = 20;

/// How a replay went. Times are in the log's own time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    submitted: usize,
    finished: usize,
    left_out: usize,
    speed: u64,
    /// How the jobs that finished were served here.
    metrics: Option<Metrics>,
    /// How long the same jobs waited on the machine of the log, seconds.
    recorded_wait_s: Option<Distribution>,
    /// The jobs that did not end as they should.
    astray: Vec<Astray>,
}

/// A job that did not end as it should.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Astray {
    job: JobId,
    log_job: i64,
    state: Option<JobState>,
    reason: Option<Reason>,
}

impl Report {
    pub(super) fn of(plan: &Plan, tracker: &Tracker, machine: &Machine) -> Self {
        let jobs: Vec<_> = tracker.jobs().zip(&plan.jobs).collect();
        let begun = jobs.iter().filter_map(|((_, seen), _)| seen.submitted).min().unwrap_or(Time::ZERO);
        let served = |seen: &Seen, procs| ran(seen, procs, begun, plan.speed);
        let ran: Vec<Ran> =
            jobs.iter().filter_map(|((_, seen), job)| served(seen, job.recorded.procs)).collect();
        let waits = jobs.iter().filter_map(|(_, job)| job.recorded.recorded_wait_s);
        let astray: Vec<Astray> = jobs
            .iter()
            .filter_map(|((job, seen), planned)| astray(*job, seen, planned.recorded.job))
            .collect();
        Self {
            submitted: jobs.len(),
            finished: jobs.len() - astray.len(),
            left_out: plan.too_large,
            speed: plan.speed,
            metrics: Metrics::of(&ran, machine.total / 1_000),
            recorded_wait_s: Distribution::of(waits.map(|seconds| Span::from_secs(seconds).as_secs_f64())),
            astray,
        }
    }

    /// True where every job ended as it should.
    pub(super) fn is_good(&self) -> bool {
        self.astray.is_empty()
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let mut text = format!("{} jobs submitted, {} finished", self.submitted, self.finished);
        // Writing to a string does not fail.
        if self.left_out > 0 {
            let _ = write!(text, ", {} left out as too large", self.left_out);
        }
        text.push('\n');
        if let Some(metrics) = &self.metrics {
            let makespan = seconds(metrics.makespan_s);
            let _ = writeln!(
                text,
                "{} of the log in {}, utilisation {:.1}%\n",
                length(makespan),
                length(Span::from_micros(makespan.as_micros() / self.speed)),
                metrics.utilisation * 100.0
            );
            let _ = writeln!(text, "{}", output.draw(&self.table(metrics)));
        }
        self.tell_astray(&mut text);
        text
    }

    fn table(&self, metrics: &Metrics) -> Table {
        let mut table = Table::new(&["", "MEAN#", "MEDIAN#", "95%#", "MOST#"]);
        let mut row = |name: &str, of: &Distribution, text: fn(f64) -> String| {
            table.row([
                name.into(),
                text(of.mean).into(),
                text(of.p50).into(),
                text(of.p95).into(),
                text(of.max).into(),
            ]);
        };
        row("wait", &metrics.wait_s, |value| length(seconds(value)));
        self.recorded_wait_s.iter().for_each(|wait| row("wait then", wait, |value| length(seconds(value))));
        row("bounded slowdown", &metrics.bounded_slowdown, |value| format!("{value:.2}"));
        table
    }

    fn tell_astray(&self, text: &mut String) {
        if self.is_good() {
            return;
        }
        let _ = writeln!(text, "\n{} did not end as they should:", self.astray.len());
        for astray in self.astray.iter().take(MOST_TOLD) {
            let state = astray.state.map_or_else(|| "not ended".to_owned(), word);
            let reason = astray.reason.map(|reason| format!(" ({})", reason.as_str())).unwrap_or_default();
            let _ = writeln!(text, "  job {} (log {}): {state}{reason}", astray.job, astray.log_job);
        }
        if self.astray.len() > MOST_TOLD {
            let _ = writeln!(text, "  and {} more", self.astray.len() - MOST_TOLD);
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest integer there is"
)]
fn seconds(value: f64) -> Span {
    Span::from_micros((value * 1e6).round() as u64)
}

/// When a job that finished was submitted, started and ended, in the log's own time.
fn ran(seen: &Seen, procs: u64, begun: Time, speed: u64) -> Option<Ran> {
    let (state, _) = seen.end?;
    let at = |time| unscaled(time, begun, speed);
    (state == JobState::Finished).then_some(())?;
    Some(Ran { submit: at(seen.submitted?), start: at(seen.started?), end: at(seen.stopped?), procs })
}

fn astray(job: JobId, seen: &Seen, log_job: i64) -> Option<Astray> {
    let (state, reason) = seen.end.map_or((None, None), |(state, reason)| (Some(state), reason));
    let accounted = seen.submitted.is_some() && seen.started.is_some() && seen.stopped.is_some();
    let good = state == Some(JobState::Finished) && accounted;
    (!good).then_some(Astray { job, log_job, state, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use crate::replay::plan::tests::plan;
    use allot_model::{AgentId, AttemptRun, DispatcherRecord, Entry, Outcome, Record, TaskRange, TaskState};

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    fn tracker() -> Tracker {
        let mut tracker = Tracker::default();
        let run = |job| AttemptRun { job: JobId(job), tasks: TaskRange::one(0), attempt: 1 };
        let agent = AgentId::new("a1").unwrap();
        let mut happened =
            |record| tracker.on_entry(&Entry { at: at(0), record: Record::Dispatcher(record) });
        for (job, submitted, started, ended) in [(1, 1_000, 1_000, 1_600), (2, 4_000, 4_100, 4_400)] {
            happened(DispatcherRecord::JobAdmitted {
                job: JobId(job),
                queue: "replay".parse().unwrap(),
                message_id: None,
                submitted_at: at(submitted),
                spec: std::sync::Arc::new(
                    allot_model::job_file::parse_submission(b"{\"command\": [\"true\"]}").unwrap().spec,
                ),
                waits: false,
            });
            happened(DispatcherRecord::TasksStarted {
                agent: agent.clone(),
                run: run(job),
                started_at: at(started),
            });
            happened(DispatcherRecord::TasksEnded {
                agent: agent.clone(),
                run: run(job),
                state: TaskState::Finished,
                reason: Reason::ExitedZero,
                started_at: Some(at(started)),
                ended_at: at(ended),
                outcome: Outcome::default(),
                retry_at: None,
            });
            happened(DispatcherRecord::JobEnded { job: JobId(job), state: JobState::Finished, reason: None });
        }
        happened(DispatcherRecord::JobEnded {
            job: JobId(3),
            state: JobState::Killed,
            reason: Some(Reason::CancelledByUser),
        });
        (1..=3).for_each(|job| tracker.on_published(JobId(job)));
        tracker
    }

    #[test]
    fn a_replay_is_reported_in_the_logs_own_time() {
        let plan = plan(&["--speed", "100"], 8).unwrap();
        let report = Report::of(&plan, &tracker(), &Machine { total: 8_000, largest: 8_000 });
        assert!(!report.is_good());
        assert_eq!(
            report.text(&Output::plain(Format::Text, false, at(0))),
            "\
3 jobs submitted, 2 finished, 1 left out as too large
5m40s of the log in 3.4s, utilisation 9.9%

                  MEAN  MEDIAN   95%  MOST
wait              5.0s     0ms   10s   10s
wait then         5.0s    5.0s  5.0s  5.0s
bounded slowdown  1.17    1.00  1.33  1.33

1 did not end as they should:
  job 3 (log 4): killed (cancelled_by_user)
"
        );
    }
}
