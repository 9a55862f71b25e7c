//! Commands of people.

use allot_model::view::{Refusal, RefusalKind};
use allot_model::{Answer, DispatcherRecord, Done, JobId, QueueSetCommand, ReplyTo, Time};

use crate::{DispatcherCore, Output};

/// The largest weight of a queue.
const MOST_WEIGHT: u32 = 1_000_000;

pub(crate) fn refusal<T>(code: RefusalKind, message: impl Into<String>) -> Answer<T> {
    Answer::Error(Refusal { code, message: message.into() })
}

impl DispatcherCore {
    pub(crate) fn on_cancel(&mut self, now: Time, reply: ReplyTo, id: JobId, out: &mut Vec<Output>) {
        let answer = match self.jobs.get(&id) {
            None if self.rejected.contains_key(&id) => {
                refusal(RefusalKind::Conflict, format!("job {id} was rejected: there is nothing to cancel"))
            }
            None => self.no_such_job(id),
            Some(job) if job.ended.is_some() => {
                let state = serde_json::to_value(job.state()).unwrap_or_default();
                let state = state.as_str().unwrap_or("ended");
                refusal(RefusalKind::Conflict, format!("job {id} has ended already: it is {state}"))
            }
            Some(job) if job.cancelled.is_some() => done(format!("job {id} is being cancelled already")),
            Some(job) => {
                let counts = job.counts();
                let running = counts.starting + counts.running + counts.killing;
                self.append(now, DispatcherRecord::JobCancelled { job: id }, out);
                done(format!(
                    "job {id} is cancelled; tasks that waited: {}, told to stop: {running}",
                    counts.queued
                ))
            }
        };
        out.push(Output::Done(reply, answer));
        self.react(now, out);
    }

    pub(crate) fn no_such_job<T>(&self, id: JobId) -> Answer<T> {
        let message = if id > self.inbox {
            format!("there is no job {id} yet: the last one is {}", self.inbox)
        } else {
            format!(
                "job {id} is not known any more: only the last {} ended jobs are kept",
                self.options.keep_jobs
            )
        };
        refusal(RefusalKind::NotFound, message)
    }

    pub(crate) fn on_set_queue(
        &mut self,
        now: Time,
        reply: ReplyTo,
        command: QueueSetCommand,
        out: &mut Vec<Output>,
    ) {
        let QueueSetCommand { queue, weight } = command;
        let answer = if (1..=MOST_WEIGHT).contains(&weight) {
            if self.queues.get(&queue) != Some(&weight) {
                self.append(now, DispatcherRecord::QueueSet { queue: queue.clone(), weight }, out);
            }
            done(format!("queue {queue} has weight {weight}"))
        } else {
            refusal(
                RefusalKind::Invalid,
                format!("weight {weight}: a weight is a whole number from 1 to {MOST_WEIGHT}"),
            )
        };
        out.push(Output::Done(reply, answer));
    }
}

fn done(message: String) -> Answer<Done> {
    Answer::Ok(Done { message })
}
