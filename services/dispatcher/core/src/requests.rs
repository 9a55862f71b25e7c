//! Commands of people.

use allot_model::view::{Refusal, RefusalKind};
use allot_model::{Answer, DispatcherRecord, Done, JobId, QueueLimit, QueueSetCommand, ReplyTo, Time};

use crate::{DispatcherCore, Output, QueueSettings};

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
        let answer = match self.new_settings(&command) {
            Err(message) => refusal(RefusalKind::Invalid, message),
            Ok(settings) => {
                let (queue, QueueSettings { weight, limit }) = (command.queue, settings.clone());
                let message = format!("queue {queue} has weight {weight} and {}", limit.in_words());
                if self.queues.get(&queue) != Some(&settings) {
                    self.append(now, DispatcherRecord::QueueSet { queue, weight, limit }, out);
                }
                done(message)
            }
        };
        out.push(Output::Done(reply, answer));
    }

    /// What the queue is set to once this is done.
    fn new_settings(&self, command: &QueueSetCommand) -> Result<QueueSettings, String> {
        let QueueSetCommand { queue, weight, no_limit, limit } = command;
        if weight.is_none() && !no_limit && limit.is_empty() {
            return Err("nothing is to be set: give `weight`, `limit` or `no_limit`".to_owned());
        }
        let known = self.queues.get(queue).cloned().unwrap_or_default();
        let weight = weight.unwrap_or(known.weight);
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(format!("weight {weight}: a weight is a whole number from 1 to {MOST_WEIGHT}"));
        }
        let limit = limit.applied_to(if *no_limit { QueueLimit::default() } else { known.limit });
        let (resources, most) = (limit.resources.len(), QueueLimit::MOST_RESOURCES);
        if resources > most {
            return Err(format!("limit: it would name {resources} resources, and can name at most {most}"));
        }
        Ok(QueueSettings { weight, limit })
    }
}

fn done(message: String) -> Answer<Done> {
    Answer::Ok(Done { message })
}
