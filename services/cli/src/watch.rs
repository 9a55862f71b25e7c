//! Watching one job through the ledger: what becomes of it, as it becomes of it.

use std::collections::VecDeque;

use allot_bus::Subject;
use allot_model::view::{JobQuery, JobView};
use allot_model::{
    AgentId, AttemptRun, DispatcherRecord, Entry, JobId, JobState, Outcome, Reason, Record, Rejection,
    TaskState, Time, Writer,
};

use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{Follower, From};

/// One thing that became of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It was refused.
    Rejected(Rejection),
    /// Attempts run.
    Started {
        /// Where.
        agent: AgentId,
        /// Which.
        run: AttemptRun,
    },
    /// Attempts ended.
    Ended {
        /// Where.
        agent: AgentId,
        /// Which.
        run: AttemptRun,
        /// In which state.
        state: TaskState,
        /// Why.
        reason: Reason,
        /// How.
        outcome: Outcome,
        /// When they are tried again, if they are.
        retry_at: Option<Time>,
    },
    /// All of it is over.
    Over {
        /// In which state.
        state: JobState,
        /// Why, where the state does not say.
        reason: Option<Reason>,
    },
}

impl News {
    /// What a ledger entry says of `job`, if anything.
    #[must_use]
    pub fn of(job: JobId, entry: Entry) -> Option<Self> {
        let Record::Dispatcher(record) = entry.record else { return None };
        match record {
            DispatcherRecord::JobRejected { job: id, rejection, .. } => {
                (id == job).then_some(Self::Rejected(rejection))
            }
            DispatcherRecord::TasksStarted { agent, run, .. } => {
                (run.job == job).then_some(Self::Started { agent, run })
            }
            DispatcherRecord::TasksEnded { agent, run, state, reason, outcome, retry_at, .. } => {
                (run.job == job).then_some(Self::Ended { agent, run, state, reason, outcome, retry_at })
            }
            DispatcherRecord::JobEnded { job: id, state, reason } => {
                (id == job).then_some(Self::Over { state, reason })
            }
            _ => None,
        }
    }
}

/// The ledger from before a submission on. Opened first, so that nothing that becomes of the job is missed.
pub struct Watch {
    follower: Follower,
}

/// The news of one job, in order.
pub struct JobWatch {
    follower: Follower,
    job: JobId,
    heard: VecDeque<News>,
}

impl Watch {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where there is no ledger.
    pub async fn open(client: &Client) -> Result<Self, Failure> {
        let end = client.ledger_end().await?;
        let follower = client.follow(From::Sequence(end + 1), Some(Writer::Dispatcher)).await?;
        Ok(Self { follower })
    }

    /// Listens for this job only.
    #[must_use]
    pub fn job(self, job: JobId) -> JobWatch {
        JobWatch { follower: self.follower, job, heard: VecDeque::new() }
    }
}

impl JobWatch {
    /// What becomes of the job next, however long that takes.
    ///
    /// # Errors
    /// Where the ledger cannot be followed any more.
    pub async fn next(&mut self) -> Result<News, Failure> {
        loop {
            if let Some(news) = self.heard.pop_front() {
                return Ok(news);
            }
            let placed = self.follower.next().await?;
            self.heard.extend(placed.batch.entries.into_iter().filter_map(|entry| News::of(self.job, entry)));
        }
    }
}

impl Client {
    /// All about a job.
    ///
    /// # Errors
    /// Where there is no such job, or the dispatcher does not answer.
    pub async fn job(&self, job: JobId, query: &JobQuery) -> Result<JobView, Failure> {
        self.ask(&Subject::JobShow(job), query).await
    }
}

/// What to say of a job that was not admitted.
#[must_use]
pub fn rejected(job: JobId, rejection: &Rejection) -> Failure {
    let Rejection { field, message } = rejection;
    if field.is_empty() {
        Failure::failed(format!("job {job} was rejected: {message}"))
    } else {
        Failure::failed(format!("job {job} was rejected: {field}: {message}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(record: DispatcherRecord) -> Entry {
        Entry { at: Time::ZERO, record: Record::Dispatcher(record) }
    }

    #[test]
    fn only_news_of_the_job_itself_are_heard() {
        let ended = |job| entry(DispatcherRecord::JobEnded { job, state: JobState::Finished, reason: None });
        let over = News::Over { state: JobState::Finished, reason: None };
        assert_eq!(News::of(JobId(7), ended(JobId(7))), Some(over));
        assert_eq!(News::of(JobId(7), ended(JobId(8))), None);
        assert_eq!(News::of(JobId(7), entry(DispatcherRecord::JobReady { job: JobId(7) })), None);
    }

    #[test]
    fn a_rejection_names_the_field() {
        let rejection = Rejection { field: "tasks".into(), message: "must be at least 1".into() };
        assert_eq!(
            rejected(JobId(3), &rejection).to_string(),
            "job 3 was rejected: tasks: must be at least 1"
        );
        let whole = Rejection { field: String::new(), message: "not JSON".into() };
        assert_eq!(rejected(JobId(3), &whole).to_string(), "job 3 was rejected: not JSON");
    }
}
