//! Which jobs of a log are used, as it is done in the literature.

use std::fmt;
use std::str::FromStr;

use crate::swf::{self, InvalidLog, Log, Row};

/// A rule for which rows to use, and how.
///
/// Both take the processors that a job asked for, or those it was given where that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// Drops rows that ask for or were given more processors than the machine has, rows without processors, run
    /// time or requested time, and rows from before the log begins. A run time beyond the requested one is cut
    /// down to it.
    #[default]
    Strong,
    /// Keeps every row with processors and a run time that is not negative. A requested time that is not known is
    /// the run time; nothing is cut.
    Raw,
}

/// A job of a log, ready for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogJob {
    /// Its number in the log.
    pub job: i64,
    /// When it was submitted, seconds since the log begins; may be negative under [`Filter::Raw`].
    pub submit_s: i64,
    /// How long it waited on the machine of the log, where that is known.
    pub recorded_wait_s: Option<u64>,
    /// How long it runs. May be 0 under [`Filter::Raw`].
    pub run_s: u64,
    /// How long it is said to run.
    pub requested_s: u64,
    /// How many processors it needs. At least 1.
    pub procs: u64,
    /// Who submitted it; negative where that is not known.
    pub user: i64,
    /// Which group that user is of; negative where that is not known.
    pub group: i64,
    /// Which queue it was submitted to; negative where that is not known.
    pub queue: i64,
}

impl Filter {
    /// The jobs of `log` to use on a machine of `machine_procs` processors, in the order of their submission.
    #[must_use]
    pub fn jobs(self, log: &Log, machine_procs: u64) -> Vec<LogJob> {
        let mut jobs: Vec<LogJob> =
            log.rows.iter().filter_map(|row| self.choose(row, machine_procs)).collect();
        jobs.sort_by_key(|job| job.submit_s);
        jobs
    }

    fn choose(self, row: &Row, machine_procs: u64) -> Option<LogJob> {
        match self {
            Self::Strong => strong(row, machine_procs),
            Self::Raw => raw(row),
        }
    }
}

/// The jobs to use of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// In the order of their submission.
    pub jobs: Vec<LogJob>,
    /// How many processors the machine of the log had, where the log says so.
    pub machine_procs: Option<u64>,
    /// How many were left out for nothing but that a smaller machine was given than they need.
    pub too_large: usize,
}

impl Selection {
    /// Reads the jobs to use on a machine of `machine_procs` processors, or of as many as the log says; keeps nothing of
    /// the log beside them, so that a large one is read in little memory.
    ///
    /// # Errors
    /// [`InvalidLog`], which names the line.
    pub fn read(bytes: &[u8], filter: Filter, machine_procs: Option<u64>) -> Result<Self, InvalidLog> {
        let (mut jobs, mut too_large) = (Vec::<LogJob>::new(), 0);
        let said = swf::read(bytes, |row, said| {
            let own = said.unwrap_or(u64::MAX);
            let chosen = filter.choose(&row, machine_procs.unwrap_or(own));
            too_large += usize::from(chosen.is_none() && filter.choose(&row, own).is_some());
            jobs.extend(chosen);
        })?;
        jobs.sort_by_key(|job| job.submit_s);
        Ok(Self { jobs, machine_procs: said, too_large })
    }
}

/// The number where it is more than 0.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|n| *n > 0)
}

fn procs(row: &Row) -> Option<u64> {
    positive(row.requested_procs).or(positive(row.allocated_procs))
}

fn strong(row: &Row, machine_procs: u64) -> Option<LogJob> {
    let too_large = |procs: i64| positive(procs).is_some_and(|p| p > machine_procs);
    if too_large(row.allocated_procs) || too_large(row.requested_procs) || row.submit_s < 0 {
        return None;
    }
    let requested_s = positive(row.requested_time_s)?;
    let run_s = positive(row.run_s)?.min(requested_s);
    Some(job(row, procs(row)?, run_s, requested_s))
}

fn raw(row: &Row) -> Option<LogJob> {
    let run_s = u64::try_from(row.run_s).ok()?;
    Some(job(row, procs(row)?, run_s, positive(row.requested_time_s).unwrap_or(run_s)))
}

fn job(row: &Row, procs: u64, run_s: u64, requested_s: u64) -> LogJob {
    LogJob {
        job: row.job,
        submit_s: row.submit_s,
        recorded_wait_s: u64::try_from(row.wait_s).ok(),
        run_s,
        requested_s,
        procs,
        user: row.user,
        group: row.group,
        queue: row.queue,
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Strong => "strong",
            Self::Raw => "raw",
        })
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "strong" => Ok(Self::Strong),
            "raw" => Ok(Self::Raw),
            _ => Err(format!("{text:?} is not a filter: write `strong` or `raw`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Row = Row {
        job: 1,
        submit_s: 10,
        wait_s: 5,
        run_s: 60,
        allocated_procs: 8,
        average_cpu_s: -1,
        used_mem_kb: -1,
        requested_procs: 4,
        requested_time_s: 120,
        requested_mem_kb: -1,
        status: 1,
        user: 7,
        group: 2,
        executable: 3,
        queue: 1,
        partition: -1,
        preceding_job: -1,
        think_time_s: -1,
    };

    /// Processors, run time and requested time of the job that a filter makes of a row on a machine of 100.
    fn used(filter: Filter, row: Row) -> Option<(u64, u64, u64)> {
        let log = Log { machine_procs: None, rows: vec![row] };
        filter.jobs(&log, 100).first().map(|job| (job.procs, job.run_s, job.requested_s))
    }

    #[test]
    fn each_filter_keeps_drops_and_mends_what_it_says() {
        let good = Some((4, 60, 120));
        let cases = [
            (GOOD, good, good),
            (Row { requested_procs: 0, ..GOOD }, Some((8, 60, 120)), Some((8, 60, 120))),
            (Row { requested_procs: -1, ..GOOD }, Some((8, 60, 120)), Some((8, 60, 120))),
            (Row { allocated_procs: -1, ..GOOD }, good, good),
            (Row { allocated_procs: 0, requested_procs: -1, ..GOOD }, None, None),
            (Row { allocated_procs: 100, ..GOOD }, good, good),
            (Row { allocated_procs: 101, ..GOOD }, None, good),
            (Row { requested_procs: 101, ..GOOD }, None, Some((101, 60, 120))),
            (Row { run_s: 0, ..GOOD }, None, Some((4, 0, 120))),
            (Row { run_s: -1, ..GOOD }, None, None),
            (Row { requested_time_s: 0, ..GOOD }, None, Some((4, 60, 60))),
            (Row { requested_time_s: -1, ..GOOD }, None, Some((4, 60, 60))),
            (Row { run_s: 121, ..GOOD }, Some((4, 120, 120)), Some((4, 121, 120))),
            (Row { submit_s: 0, ..GOOD }, good, good),
            (Row { submit_s: -1, ..GOOD }, None, good),
        ];
        for (row, strong, raw) in cases {
            assert_eq!(used(Filter::Strong, row), strong, "strong {row:?}");
            assert_eq!(used(Filter::Raw, row), raw, "raw {row:?}");
        }
    }

    #[test]
    fn a_selection_is_what_the_filter_makes_of_the_whole_log() {
        let text = b"; MaxProcs: 8\n1 9 5 60 4 7 -1 8 120 -1 1 2 3 4 5 6 -1 -1\n2 3 5 60 9 7 -1 9 120 -1 1 2 3 4 5 6 -1 -1\n";
        let log = Log::parse(text).unwrap();
        for filter in [Filter::Strong, Filter::Raw] {
            let selection = Selection::read(text, filter, None).unwrap();
            assert_eq!((selection.jobs, selection.machine_procs), (filter.jobs(&log, 8), Some(8)));
        }
        assert_eq!(Selection::read(text, Filter::Strong, Some(9)).unwrap().jobs.len(), 2);
    }

    #[test]
    fn jobs_come_in_the_order_of_submission_and_of_the_log() {
        let rows = [(1, 30), (2, 10), (3, 30), (4, 20)].map(|(job, submit_s)| Row { job, submit_s, ..GOOD });
        let log = Log { machine_procs: None, rows: rows.into() };
        let order: Vec<i64> = Filter::Raw.jobs(&log, 1).iter().map(|job| job.job).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[test]
    fn a_recorded_wait_that_is_not_known_is_absent() {
        let log = Log { machine_procs: None, rows: vec![GOOD, Row { wait_s: -1, ..GOOD }] };
        let waits: Vec<_> = Filter::Strong.jobs(&log, 100).iter().map(|job| job.recorded_wait_s).collect();
        assert_eq!(waits, [Some(5), None]);
    }

    #[test]
    fn filters_are_read_as_they_are_written() {
        for filter in [Filter::Strong, Filter::Raw] {
            assert_eq!(filter.to_string().parse(), Ok(filter));
        }
        assert!("weak".parse::<Filter>().unwrap_err().contains("write `strong` or `raw`"));
    }
}
