//! The edge between the core and the bus.

use std::sync::Arc;

use allot_bus::{Kind, Subject, headers};
use allot_dispatcher_core::{DispatcherCore, Input, Options, Output, Submission};
use allot_model::{Entry, Epoch, JobId, QueueName, Rejection, ReportBatch, StateItem, Time, Writer};
use allot_proto::Wire;
use allot_shell::{Effect, Incoming, LedgerService, Malformed, StreamInfo};

#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) options: Options,
}

impl LedgerService for Edge {
    type Core = DispatcherCore;

    const WRITER: Writer = Writer::Dispatcher;

    fn core(&self) -> DispatcherCore {
        DispatcherCore::new(self.options)
    }

    fn restore(item: StateItem) -> Input {
        Input::Restore(item)
    }

    fn snapshot(core: &DispatcherCore) -> impl Iterator<Item = StateItem> {
        core.snapshot()
    }

    fn replay(entry: Entry) -> Input {
        Input::Replay(entry)
    }

    fn ledger(entry: Entry) -> Input {
        Input::Ledger(entry)
    }

    fn resume(epoch: Epoch) -> Input {
        Input::Resume { epoch }
    }

    fn subscriptions(&self) -> Vec<String> {
        [Kind::AgentReports, Kind::JobsList, Kind::JobShow, Kind::JobCancel, Kind::QueuesSet]
            .map(Kind::pattern)
            .into()
    }

    fn inbox_from(core: &DispatcherCore) -> Option<u64> {
        Some(core.inbox_from())
    }

    fn decode(&mut self, _now: Time, message: Incoming) -> Result<Input, Malformed> {
        if let Some(place) = message.stream {
            return Ok(Input::Submission(submission(&message, place)));
        }
        Ok(match message.subject.parse()? {
            Subject::AgentReports(agent) => {
                let batch = ReportBatch::decode(&message.payload).map_err(Malformed::new)?;
                allot_shell::speaks_for(&agent, &batch.agent)?;
                Input::Reports(batch)
            }
            Subject::JobsList => Input::ListJobs(message.reply_to()?, message.json()?),
            Subject::JobShow(job) => Input::ShowJob(message.reply_to()?, job, message.json()?),
            Subject::JobCancel(job) => Input::Cancel(message.bare_request()?, job),
            Subject::QueuesSet => Input::SetQueue(message.reply_to()?, message.json()?),
            other => return Err(Malformed::new(format!("{other} is not for the dispatcher"))),
        })
    }

    fn effect(&mut self, output: Output) -> Effect {
        match output {
            Output::Append(record) => Effect::Append(record),
            Output::Orders(agent, batch) => {
                Effect::Publish { subject: Subject::AgentOrders(agent).to_string(), payload: batch.encode() }
            }
            Output::Done(to, answer) => Effect::answer(to, &answer),
            Output::Jobs(to, answer) => Effect::answer(to, &answer),
            Output::Job(to, answer) => Effect::answer(to, &answer),
        }
    }
}

/// Reads a message of the inbox. Whatever it holds, it becomes a submission: one that cannot be read is one to reject.
fn submission(message: &Incoming, place: StreamInfo) -> Submission {
    let given = Subject::queue_as_given(&message.subject).unwrap_or_default();
    let content = read_headers(message).and_then(|()| read_queue(given)).and_then(|queue| {
        let content_type = message.header(headers::CONTENT_TYPE);
        let spec = allot_proto::decode_submission(&message.payload, content_type)?.for_queue(&queue)?;
        Ok((queue, Arc::new(spec)))
    });
    Submission {
        job: JobId(place.sequence),
        queue: given.into(),
        submitted_at: place.published_at,
        message_id: message.message_id().map(Arc::from),
        content,
    }
}

/// Headers that cannot be read might have said that the job is there already, or how it is written.
fn read_headers(message: &Incoming) -> Result<(), Rejection> {
    let Some(fault) = &message.fault else { return Ok(()) };
    let message = format!("cannot be read: {fault}: write lines such as `Nats-Msg-Id: nightly`");
    Err(Rejection { field: "headers".into(), message })
}

fn read_queue(given: &str) -> Result<QueueName, Rejection> {
    QueueName::new(given).map_err(|invalid| Rejection { field: "queue".into(), message: invalid.to_string() })
}
