//! What became of the jobs of a replay, by the dispatcher's records.

use std::collections::BTreeMap;

use allot_model::{DispatcherRecord, Entry, JobId, JobState, Reason, Record, Time};

/// The jobs of a replay, and what is known of each.
#[derive(Debug, Clone, Default)]
pub(super) struct Tracker {
    /// The jobs that are the replay's, in the order in which they were submitted.
    ours: Vec<JobId>,
    /// All jobs that were heard of: one may be heard of before it is known to be the replay's.
    heard: BTreeMap<JobId, Seen>,
    /// How many of the replay's jobs have ended.
    ended: usize,
}

/// What is known of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// When the inbox took it.
    pub(super) submitted: Option<Time>,
    /// When its process started.
    pub(super) started: Option<Time>,
    /// When its process ended.
    pub(super) stopped: Option<Time>,
    /// How it ended.
    pub(super) end: Option<(JobState, Option<Reason>)>,
    /// Why its last process ended.
    why: Option<Reason>,
    is_ours: bool,
}

impl Tracker {
    /// A job of the replay is in the inbox.
    pub(super) fn on_published(&mut self, job: JobId) {
        self.ours.push(job);
        let seen = self.heard.entry(job).or_default();
        seen.is_ours = true;
        self.ended += usize::from(seen.end.is_some());
    }

    /// Something happened to some job.
    pub(super) fn on_entry(&mut self, entry: &Entry) {
        let Record::Dispatcher(record) = &entry.record else { return };
        match record {
            DispatcherRecord::JobAdmitted { job, submitted_at, .. } => {
                self.heard.entry(*job).or_default().submitted = Some(*submitted_at);
            }
            DispatcherRecord::JobRejected { job, .. } => {
                self.on_end(*job, JobState::Rejected, Some(Reason::Invalid));
            }
            DispatcherRecord::TasksStarted { run, started_at, .. } => {
                self.heard.entry(run.job).or_default().started = Some(*started_at);
            }
            DispatcherRecord::TasksEnded { run, started_at, ended_at, reason, .. } => {
                let seen = self.heard.entry(run.job).or_default();
                seen.started = seen.started.or(*started_at);
                seen.stopped = Some(*ended_at);
                seen.why = Some(*reason);
            }
            DispatcherRecord::JobEnded { job, state, reason } => self.on_end(*job, *state, *reason),
            _ => {}
        }
    }

    fn on_end(&mut self, job: JobId, state: JobState, reason: Option<Reason>) {
        let seen = self.heard.entry(job).or_default();
        let reason = reason.or(seen.why);
        if seen.end.replace((state, reason)).is_none() && seen.is_ours {
            self.ended += 1;
        }
    }

    /// The jobs of the replay, in the order in which they were submitted.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (JobId, &Seen)> {
        self.ours.iter().filter_map(|job| Some((*job, self.heard.get(job)?)))
    }

    /// How many of them have ended.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// True where all that were submitted have ended.
    pub(super) fn is_over(&self) -> bool {
        self.ended == self.ours.len()
    }

    /// `12 run, 30 wait`.
    pub(super) fn summary(&self) -> String {
        let open = self.jobs().filter(|(_, seen)| seen.end.is_none());
        let (run, all) =
            open.fold((0, 0), |(run, all), (_, seen)| (run + usize::from(seen.started.is_some()), all + 1));
        format!("{run} run, {} wait", all - run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(job: u64) -> Entry {
        let record = DispatcherRecord::JobEnded { job: JobId(job), state: JobState::Finished, reason: None };
        Entry { at: Time::ZERO, record: Record::Dispatcher(record) }
    }

    #[test]
    fn a_job_may_end_before_its_submission_is_acknowledged() {
        let mut tracker = Tracker::default();
        tracker.on_entry(&ended(1));
        assert_eq!(tracker.ended(), 0);
        tracker.on_published(JobId(1));
        tracker.on_published(JobId(2));
        assert_eq!((tracker.ended(), tracker.is_over()), (1, false));
        assert_eq!(tracker.summary(), "0 run, 1 wait");
        tracker.on_entry(&ended(2));
        tracker.on_entry(&ended(2));
        assert_eq!((tracker.ended(), tracker.is_over()), (2, true));
    }

    #[test]
    fn jobs_of_others_do_not_count() {
        let mut tracker = Tracker::default();
        tracker.on_published(JobId(1));
        tracker.on_entry(&ended(7));
        assert_eq!((tracker.ended(), tracker.jobs().count()), (0, 1));
    }
}
