//! Commands of people.

use allot_model::view::{Refusal, RefusalKind};
use allot_model::{
    Answer, DispatcherRecord, Done, JobId, QueueGuarantee, QueueLimit, QueueSetCommand, ReplyTo, Time,
};

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
                let (queue, QueueSettings { weight, limit, guarantee }) = (command.queue, settings.clone());
                let message =
                    format!("queue {queue} has {}", guarantee.with_settings_in_words(weight, &limit));
                if self.queues.get(&queue) != Some(&settings) {
                    self.append(now, DispatcherRecord::QueueSet { queue, weight, limit, guarantee }, out);
                }
                done(message)
            }
        };
        out.push(Output::Done(reply, answer));
    }

    /// What the queue is set to once this is done.
    fn new_settings(&self, command: &QueueSetCommand) -> Result<QueueSettings, String> {
        let QueueSetCommand { queue, weight, no_limit, limit, no_guarantee, guarantee, hold_back } = command;
        let changes = *no_limit || !limit.is_empty() || *no_guarantee || !guarantee.is_empty();
        if weight.is_none() && !changes && hold_back.is_none() {
            let allowed = "`weight`, `limit`, `no_limit`, `guarantee`, `no_guarantee` or `hold_back`";
            return Err(format!("nothing is to be set: give {allowed}"));
        }
        let known = self.queues.get(queue).cloned().unwrap_or_default();
        let weight = weight.unwrap_or(known.weight);
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(format!("weight {weight}: a weight is a whole number from 1 to {MOST_WEIGHT}"));
        }
        let limit = limit.applied_to(if *no_limit { QueueLimit::default() } else { known.limit });
        let before = if *no_guarantee { QueueGuarantee::default() } else { known.guarantee };
        let least = guarantee.applied_to(before.least);
        if least.pending_jobs.is_some() {
            let allowed = "name resources, or `tasks`; `pending_jobs` can be limited alone";
            return Err(format!("guarantee: jobs cannot be guaranteed to wait: {allowed}"));
        }
        for (field, amounts) in [("limit", &limit), ("guarantee", &least)] {
            let (resources, most) = (amounts.resources.len(), QueueLimit::MOST_RESOURCES);
            if resources > most {
                return Err(format!(
                    "{field}: it would name {resources} resources, and can name at most {most}"
                ));
            }
        }
        let more = least.iter().find(|(what, least)| limit.most(what).is_some_and(|most| most < *least));
        if let Some((what, least)) = more {
            let most = limit.most(&what).unwrap_or(0);
            return Err(format!(
                "guarantee: {} {what} are more than the queue's limit of {}: lower the guarantee or raise the limit",
                what.text(least),
                what.text(most)
            ));
        }
        let guarantee = QueueGuarantee { least, hold_back: hold_back.unwrap_or(before.hold_back) };
        Ok(QueueSettings { weight, limit, guarantee })
    }
}

fn done(message: String) -> Answer<Done> {
    Answer::Ok(Done { message })
}
