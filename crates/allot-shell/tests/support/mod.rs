//! A service that counts: the smallest core that appends, replies, publishes, wakes and reads the inbox.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::sync::Arc;

use allot_model::ledger::{DispatcherRecord, Entry, Record, Rejection, Writer};
use allot_model::{Core, Epoch, JobId, ReplyTo, Span, StateItem, Time};
use allot_shell::{
    Bus, Effect, Incoming, LedgerService, Malformed, NatsConfig, Role, Shutdown, WriterConfig, drive,
    instance_id,
};
use allot_testkit::{PATIENCE, eventually, within};
use futures::{FutureExt, StreamExt};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// Counts one; answered with the epoch and the new count.
pub const COUNT: &str = "test.count";
/// Answered with the state, without a record.
pub const READ: &str = "test.read";
/// Answered with more than a message may hold.
pub const HUGE: &str = "test.huge";
/// Holds the service up for as long as the test holds its gate.
pub const BLOCK: &str = "test.block";
/// Wakes the core a little later, which publishes to [`RANG`].
pub const RING: &str = "test.ring";
/// Where the core says that it was woken.
pub const RANG: &str = "test.rang";

#[derive(Debug, Clone, Default)]
pub struct Counter {
    pub count: u64,
    pub text_bytes: usize,
    pub foreign: u64,
    epoch: Epoch,
    submissions: u64,
    reads_inbox: bool,
    alarm: Option<Time>,
}

impl Counter {
    pub fn with_inbox() -> Self {
        Self { reads_inbox: true, ..Self::default() }
    }

    fn fold(&mut self, record: &Record) {
        match record {
            Record::Dispatcher(DispatcherRecord::JobRejected { queue, rejection, .. }) => {
                self.count += 1;
                self.text_bytes += queue.len();
                self.submissions = rejection.field.parse().unwrap_or(self.submissions);
            }
            Record::Writer(_) => {}
            _ => self.foreign += 1,
        }
    }

    fn count(&mut self, text: &str, submission: Option<u64>, out: &mut Vec<Out>) {
        let record = Record::Dispatcher(DispatcherRecord::JobRejected {
            job: JobId(self.count + 1),
            queue: text.into(),
            submitted_at: Time::ZERO,
            rejection: Rejection {
                field: submission.map(|n| n.to_string()).unwrap_or_default(),
                message: String::new(),
            },
        });
        self.fold(&record);
        out.push(Out::Append(record));
    }

    fn snapshot(&self) -> impl Iterator<Item = StateItem> {
        let counted = StateItem::Ended { job: JobId(self.count), tasks: self.text_bytes as u64 };
        [counted, StateItem::Inbox { last: JobId(self.submissions), allocations: 0 }].into_iter()
    }

    fn restore(&mut self, item: &StateItem) {
        match item {
            StateItem::Ended { job, tasks } => {
                (self.count, self.text_bytes) = (job.0, usize::try_from(*tasks).unwrap());
            }
            StateItem::Inbox { last, .. } => self.submissions = last.0,
            _ => {}
        }
    }

    fn state(&self) -> String {
        format!("count {} text {} foreign {}", self.count, self.text_bytes, self.foreign)
    }
}

pub enum In {
    Restore(StateItem),
    Replay(Entry),
    Ledger(Entry),
    Resume(Epoch),
    Count { text: String, reply: Option<ReplyTo> },
    Submission(u64),
    Read(ReplyTo),
    Huge(ReplyTo),
    Ring,
    Nothing,
}

pub enum Out {
    Append(Record),
    Reply(ReplyTo, Vec<u8>),
    Rang,
}

impl Core for Counter {
    type Input = In;
    type Output = Out;

    fn handle(&mut self, now: Time, input: In, out: &mut Vec<Out>) {
        match input {
            In::Restore(item) => self.restore(&item),
            In::Replay(entry) | In::Ledger(entry) => self.fold(&entry.record),
            In::Resume(epoch) => self.epoch = epoch,
            In::Count { text, reply } => {
                self.count(&text, None, out);
                out.extend(reply.map(|to| Out::Reply(to, format!("{} {}", self.epoch, self.count).into())));
            }
            In::Submission(sequence) => self.count("", Some(sequence), out),
            In::Read(to) => out.push(Out::Reply(to, self.state().into())),
            In::Huge(to) => out.push(Out::Reply(to, vec![b'x'; 2 << 20])),
            In::Ring => self.alarm = Some(now + Span::from_millis(20)),
            In::Nothing => {}
        }
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Out>) {
        if self.alarm.take_if(|at| *at <= now).is_some() {
            out.push(Out::Rang);
        }
    }

    fn next_wake(&self) -> Option<(Time, &'static str)> {
        self.alarm.map(|at| (at, "alarm"))
    }
}

/// Writes as one of the writers, the dispatcher unless another is named. Only the dispatcher listens to anyone.
#[derive(Clone)]
pub struct Counting<const WRITER: usize = 2> {
    gate: Arc<Mutex<()>>,
    core: Counter,
}

impl<const WRITER: usize> LedgerService for Counting<WRITER> {
    type Core = Counter;
    const WRITER: Writer = Writer::ALL[WRITER];

    fn core(&self) -> Counter {
        self.core.clone()
    }

    fn restore(item: StateItem) -> In {
        In::Restore(item)
    }

    fn snapshot(core: &Counter) -> impl Iterator<Item = StateItem> {
        core.snapshot()
    }

    fn replay(entry: Entry) -> In {
        In::Replay(entry)
    }

    fn ledger(entry: Entry) -> In {
        In::Ledger(entry)
    }

    fn resume(epoch: Epoch) -> In {
        In::Resume(epoch)
    }

    fn subscriptions(&self) -> Vec<String> {
        if WRITER == 2 { [COUNT, READ, HUGE, RING, BLOCK].map(str::to_owned).into() } else { Vec::new() }
    }

    fn inbox_from(core: &Counter) -> Option<u64> {
        core.reads_inbox.then_some(core.submissions + 1)
    }

    fn decode(&mut self, _now: Time, message: Incoming) -> Result<In, Malformed> {
        if let Some(info) = message.stream {
            return Ok(In::Submission(info.sequence));
        }
        match message.subject.as_str() {
            COUNT => {
                let text = String::from_utf8(message.payload.to_vec()).map_err(Malformed::new)?;
                Ok(In::Count { text, reply: message.reply })
            }
            READ => Ok(In::Read(message.reply_to()?)),
            HUGE => Ok(In::Huge(message.reply_to()?)),
            BLOCK => {
                tokio::task::block_in_place(|| drop(self.gate.blocking_lock()));
                Ok(In::Nothing)
            }
            _ => Ok(In::Ring),
        }
    }

    fn effect(&mut self, output: Out) -> Effect {
        match output {
            Out::Append(record) => Effect::Append(record),
            Out::Reply(to, payload) => Effect::Reply { to, payload },
            Out::Rang => Effect::Publish { subject: RANG.to_owned(), payload: Vec::new() },
        }
    }
}

/// A counting service that runs.
pub struct Running {
    pub bus: Bus,
    pub gate: Arc<Mutex<()>>,
    pub task: JoinHandle<anyhow::Result<()>>,
    pub shutdown: Shutdown,
}

impl Running {
    pub async fn start(config: &NatsConfig, core: Counter) -> Self {
        Self::start_as::<2>(config, core, WriterConfig::default()).await
    }

    pub async fn start_as<const WRITER: usize>(
        config: &NatsConfig,
        core: Counter,
        writer: WriterConfig,
    ) -> Self {
        let bus = Bus::connect(config, "counting").await.unwrap();
        let shutdown = Shutdown::new();
        let gate = Arc::new(Mutex::new(()));
        let service = Counting::<WRITER> { gate: gate.clone(), core };
        let task = tokio::spawn(drive(bus.clone(), service, writer, instance_id(), shutdown.clone()));
        Self { bus, gate, task, shutdown }
    }

    pub async fn stop(self) {
        self.shutdown.trigger();
        within("the service stops", self.task).await.unwrap().unwrap();
    }

    /// Waits until it is active or a standby, as wanted.
    pub async fn is(&self, role: Role) {
        eventually(&format!("it is {role:?}"), PATIENCE, || async {
            (self.bus.standing()?.role == role).then_some(())
        })
        .await;
    }

    /// Ends it as SIGKILL would.
    pub async fn kill(self) {
        self.task.abort();
        assert!(within("the service is gone", self.task).await.unwrap_err().is_cancelled());
    }
}

/// Publishes `count` wishes to be counted, whose answers go to `inbox`.
pub async fn flood(bus: &Bus, inbox: &str, count: u64) {
    for _ in 0..count {
        bus.client().publish_with_reply(COUNT, inbox.to_owned(), "".into()).await.unwrap();
    }
    bus.client().flush().await.unwrap();
}

/// Asks until there is an answer.
pub async fn ask(bus: &Bus, subject: &'static str, payload: &str) -> String {
    eventually(subject, PATIENCE, || async {
        let answer = bus.client().request(subject, payload.to_owned().into()).await.ok()?;
        Some(String::from_utf8_lossy(&answer.payload).into_owned())
    })
    .await
}

/// Waits until the service counts this much.
pub async fn counted(bus: &Bus, count: u64) -> String {
    let wanted = format!("count {count} ");
    eventually(&wanted, PATIENCE, || async {
        let answer = bus.client().request(READ, "".into()).await.ok()?;
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        text.starts_with(&wanted).then_some(text)
    })
    .await
}

/// The numbers that were counted, in the order of the ledger, with the epoch of each.
pub async fn counts(bus: &Bus) -> Vec<(Epoch, u64)> {
    let mut found = Vec::new();
    for batch in allot_testkit::batches(bus).await.unwrap() {
        for entry in batch.entries {
            if let Record::Dispatcher(DispatcherRecord::JobRejected { job, .. }) = entry.record {
                found.push((batch.epoch, job.0));
            }
        }
    }
    found
}

/// The epoch and the count in an answer to [`COUNT`].
pub fn read_answer(text: &str) -> (Epoch, u64) {
    let (epoch, count) = text.split_once(' ').unwrap();
    (epoch.parse().unwrap(), count.parse().unwrap())
}

/// The answers that have arrived.
pub async fn arrived(answers: &mut async_nats::Subscriber) -> Vec<(Epoch, u64)> {
    let mut found = Vec::new();
    tokio::task::unconstrained(async {
        while let Some(Some(answer)) = answers.next().now_or_never() {
            // An empty one is the server's word that nobody was there to hear the question.
            if !answer.payload.is_empty() {
                found.push(read_answer(std::str::from_utf8(&answer.payload).unwrap()));
            }
        }
    })
    .await;
    found
}
