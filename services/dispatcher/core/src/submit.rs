//! Submissions: each becomes a job, or is rejected with the reason.

use std::sync::Arc;

use allot_model::{DispatcherRecord, JobId, JobSpec, JobState, QueueName, Rejection, Time};

use crate::{DispatcherCore, Output};

/// The header by which a submission is known again.
const NATS_MSG_ID: &str = "Nats-Msg-Id";
/// How long it may be: it is kept for as long as the job is.
const MOST_MESSAGE_ID_BYTES: usize = 255;

/// A message of the inbox, read as far as it could be.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its place in the inbox, which is the job's id.
    pub job: JobId,
    /// The queue it names, as given.
    pub queue: Arc<str>,
    /// When the inbox took it.
    pub submitted_at: Time,
    /// Its `Nats-Msg-Id`.
    pub message_id: Option<Arc<str>>,
    /// The job, or what is wrong with it.
    pub content: Result<(QueueName, Arc<JobSpec>), Rejection>,
}

impl DispatcherCore {
    /// Decides on a submission. One that was decided on before is passed over.
    pub(crate) fn on_submission(&mut self, now: Time, submission: Submission, out: &mut Vec<Output>) {
        if submission.job <= self.inbox {
            return;
        }
        let Submission { job, queue, submitted_at, message_id, content } = submission;
        let checked = content.and_then(|job| self.check(message_id.as_ref(), job));
        let record = match checked {
            Ok((queue, spec)) => {
                let ended_well = |id: &JobId| matches!(self.ended_state(*id), Some(JobState::Finished));
                let waits = !spec.after.iter().all(ended_well);
                DispatcherRecord::JobAdmitted { job, queue, message_id, submitted_at, spec, waits }
            }
            Err(rejection) => DispatcherRecord::JobRejected { job, queue, submitted_at, rejection },
        };
        self.append(now, record, out);
        self.react(now, out);
    }

    fn check(
        &self,
        message_id: Option<&Arc<str>>,
        (queue, spec): (QueueName, Arc<JobSpec>),
    ) -> Result<(QueueName, Arc<JobSpec>), Rejection> {
        if let Some(length) = message_id.map(|id| id.len()).filter(|length| *length > MOST_MESSAGE_ID_BYTES) {
            let message = format!("{length} bytes are given: write at most {MOST_MESSAGE_ID_BYTES}");
            return Err(Rejection { field: NATS_MSG_ID.into(), message });
        }
        if let Some((id, earlier)) = message_id.and_then(|id| Some((id, self.message_ids.get(id)?))) {
            let message =
                format!("a submission with the message id {id:?} is job {earlier} already; nothing new runs");
            return Err(Rejection { field: NATS_MSG_ID.into(), message });
        }
        for (i, other) in spec.after.iter().enumerate() {
            if !self.jobs.contains_key(other) && !self.rejected.contains_key(other) {
                let message = format!(
                    "there is no job {other}, or it ended so long ago that it is forgotten; name jobs that `allot \
                     jobs` lists"
                );
                return Err(Rejection { field: format!("after[{i}]"), message });
            }
        }
        self.may_wait(&queue)?;
        Ok((queue, spec))
    }

    /// Whether one more job of a queue may have tasks that wait, by its own limit and by those of the queues above it.
    fn may_wait(&self, queue: &QueueName) -> Result<(), Rejection> {
        for path in queue.lineage() {
            let Some(most) = self.queues.get(path).and_then(|settings| settings.limit.pending_jobs) else {
                continue;
            };
            let pending = self.pending.of(path);
            if pending >= most {
                let message = format!(
                    "{pending} jobs of queue {path} and of those below it have tasks that wait, and no more than {most} may \
                     (its limit of `pending_jobs`): submit again once some of them have their places, or have the limit \
                     raised with `allot queue set {path} --limit pending_jobs=N`"
                );
                return Err(Rejection { field: "queue".into(), message });
            }
        }
        Ok(())
    }

    fn ended_state(&self, id: JobId) -> Option<JobState> {
        self.jobs.get(&id)?.ended.map(|(state, ..)| state)
    }
}
