//! The driver: one loop that gives a core its inputs and carries out its outputs.
//!
//! After each wake-up everything that is ready is given to the core, bounded, and only then are its records appended:
//! while one append is in flight the outputs of the next gather. Effects leave once every record before them is durable.

mod listener;
pub(crate) mod publisher;
mod snapshots;
mod sources;
mod standby;
mod takeover;

use allot_model::ledger::Entry;
use allot_model::view::RefusalKind;
use allot_model::{Core, Epoch, InstanceId, Span, Time};
use allot_proto::batch_epoch;
use allot_writer::{Outbox, SnapshotConfig};
use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::warn;

use self::listener::Listener;
use self::publisher::{Outgoing, Publisher, Publishers};
use self::snapshots::Snapshots;
use self::sources::{Heard, Sources};
use self::takeover::{Lead, Replay};
use crate::bus::Bus;
use crate::clock;
use crate::lease::Keeper;
use crate::ledger::appender::{AppendError, Appender};
use crate::ledger::inbox::{InboxReader, Submitted};
use crate::ledger::reader::{Delivered, Gap};
use crate::message::{Effect, Incoming, Malformed, StreamInfo, refusal};
use crate::retry::retry;
use crate::service::{Input, LedgerService, Output};
use crate::shutdown::Shutdown;
use crate::snapshot::{WriterConfig, restore};
use crate::standing::Role;

/// How many messages are given to the core before its records are appended.
const MOST_AT_ONCE: usize = 1_024;
/// The inbox is not read while more than this waits to leave.
const MOST_WAITING_BYTES: usize = 64 << 20;
/// How long a service that is told to stop may take to see its last records and effects out.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(10);
/// The shortest time between snapshots.
const SHORTEST_SCHEDULE: Span = Span::from_millis(100);
/// So many malformed messages are logged one by one, and then one in so many.
const MALFORMED_LOGGED: u64 = 100;

/// Another instance is the writer now, and nothing that this one had decided since has left it.
#[derive(Debug, thiserror::Error)]
#[error("another instance took over as {writer}")]
pub(crate) struct Replaced {
    /// Of which subject.
    writer: &'static str,
}

/// Runs a service that writes to the ledger, until it is told to stop: as a standby that follows the ledger while another
/// instance is active, and as the writer once it has the lead. An instance that is replaced begins anew as a standby, and so does one
/// that was left behind by the trimming of the ledger.
///
/// # Errors
/// Where the ledger cannot be read or written.
pub async fn drive<S: LedgerService>(
    bus: Bus,
    service: S,
    config: WriterConfig,
    instance: InstanceId,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    config.standby.check()?;
    check_schedule(&config.snapshots)?;
    let mut last_gap = None;
    loop {
        let begun = tokio::select! {
            begun = Box::pin(begin(&bus, &service, &config, &instance)) => begun,
            () = shutdown.wait() => return Ok(()),
        };
        let ended = match begun {
            Ok(active) => Box::pin(active.run(&shutdown)).await,
            Err(error) => Err(error),
        };
        match ended {
            Err(error) if error.is::<Replaced>() => warn!("{error}: this one follows it as a standby"),
            // Who was cut off for longer than the ledger is kept begins anew from the newest snapshot.
            Err(error) if error.downcast_ref::<Gap>().is_some_and(|gap| last_gap != Some(*gap)) => {
                last_gap = error.downcast_ref().copied();
                warn!("the ledger was trimmed before this one had read it: it begins anew from a snapshot");
            }
            ended => return ended,
        }
    }
}

/// Refuses snapshots that would be taken without end.
fn check_schedule(snapshots: &SnapshotConfig) -> anyhow::Result<()> {
    anyhow::ensure!(
        snapshots.every_records > 0,
        "snapshots.every_records = 0 is not possible: write at least 1"
    );
    anyhow::ensure!(
        snapshots.at_least_every >= SHORTEST_SCHEDULE,
        "snapshots.at_least_every = {} is too short: write at least {SHORTEST_SCHEDULE}",
        snapshots.at_least_every
    );
    Ok(())
}

/// From an empty core to one that knows all and has the lead, however long another instance has it.
async fn begin<S: LedgerService>(
    bus: &Bus,
    service: &S,
    config: &WriterConfig,
    instance: &InstanceId,
) -> anyhow::Result<Active<S>> {
    bus.standing_cell().set(Role::Starting, None);
    bus.ensure_streams().await?;
    let mut restored = restore(bus, service).await?;
    let mut replay = Replay::<S>::of_rest(bus, &mut restored).await?;
    let keeper = replay.stand_by(bus, &config.standby, instance).await?;
    // From before the lead is taken, so that nothing said to the new writer is missed.
    let listener = Listener::start(bus, service.subscriptions()).await?;
    let lead = replay.take_lead(bus, instance).await?;
    let core = restored.core;
    let inbox = match S::inbox_from(&core) {
        Some(from) => {
            let made = retry("see to the inbox", || bus.ensure_inbox(from, None)).await;
            Some(InboxReader::open(bus, from, made.map_err(anyhow::Error::msg)?).await?)
        }
        None => None,
    };
    let Lead { ledger, appender, epoch, last, records } = lead;
    let snapshots = Snapshots::new(bus.clone(), config.snapshots, records);
    let publishers = Publishers {
        messages: Publisher::new(bus.client().clone()),
        answers: Publisher::new(listener.client().clone()),
    };
    bus.standing_cell().set(Role::Active, Some(epoch));
    let mut driver = Driver::new(service.clone(), core, publishers, appender, epoch, last, snapshots);
    driver.give(clock::now(), S::resume(epoch));
    driver.start_append();
    let sources = Sources::new(ledger, inbox, listener, bus.standing_cell().clone());
    Ok(Active { driver, sources, keeper })
}

/// An instance that has the lead.
struct Active<S: LedgerService> {
    driver: Driver<S>,
    sources: Sources,
    keeper: Keeper,
}

impl<S: LedgerService> Active<S> {
    /// Runs until it is told to stop or another instance takes over. Whoever stops otherwise than replaced gives its
    /// lease up, after its last append.
    async fn run(self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let Self { mut driver, mut sources, keeper } = self;
        let ended = match driver.run(&mut sources, shutdown).await {
            Ok(()) => driver.finish().await,
            Err(error) => Err(error),
        };
        if !ended.as_ref().is_err_and(|error| error.is::<Replaced>()) {
            keeper.give_up().await;
        }
        ended
    }
}

struct Driver<S: LedgerService> {
    service: S,
    core: S::Core,
    outputs: Vec<Output<S>>,
    outbox: Outbox<Outgoing>,
    publishers: Publishers,
    appender: Appender,
    appending: Option<BoxFuture<'static, Result<u64, AppendError>>>,
    /// The last message of our subject.
    last: u64,
    epoch: Epoch,
    own_subject: String,
    malformed: u64,
    snapshots: Snapshots,
}

/// What woke the loop.
enum Woken {
    Stop,
    Appended(Result<u64, AppendError>),
    Due,
    Saved(Result<(), String>),
    Sent,
    Heard(anyhow::Result<Heard>),
}

impl<S: LedgerService> Driver<S> {
    fn new(
        service: S,
        core: S::Core,
        publishers: Publishers,
        appender: Appender,
        epoch: Epoch,
        last: u64,
        snapshots: Snapshots,
    ) -> Self {
        Self {
            service,
            core,
            outputs: Vec::new(),
            outbox: Outbox::new(S::WRITER, epoch),
            publishers,
            appender,
            appending: None,
            last,
            epoch,
            own_subject: allot_bus::Subject::Ledger(S::WRITER).to_string(),
            malformed: 0,
            snapshots,
        }
    }

    async fn run(&mut self, sources: &mut Sources, shutdown: &Shutdown) -> anyhow::Result<()> {
        loop {
            match self.wait(sources, shutdown).await {
                Woken::Stop => return Ok(()),
                Woken::Appended(outcome) => self.on_appended(outcome)?,
                Woken::Due => self.wake(),
                Woken::Saved(outcome) => self.snapshots.saved(outcome),
                Woken::Sent => {}
                Woken::Heard(heard) => self.on_heard(heard?)?,
            }
            self.drain(sources)?;
            self.start_append();
            if self.settles_for_snapshot(sources, shutdown).await? {
                self.take_snapshot(sources);
            }
        }
    }

    /// Waits for whatever comes first. The order is that of importance; only messages can come without end.
    async fn wait(&mut self, sources: &mut Sources, shutdown: &Shutdown) -> Woken {
        let with_inbox = self.has_room();
        let due = self.core.next_wake().into_iter().chain(self.snapshots.due()).min();
        tokio::select! {
            biased;
            () = shutdown.wait() => Woken::Stop,
            outcome = appended(&mut self.appending) => Woken::Appended(outcome),
            () = until(due) => Woken::Due,
            outcome = self.snapshots.saving() => Woken::Saved(outcome),
            () = self.publishers.work_off() => Woken::Sent,
            heard = sources.next(with_inbox) => Woken::Heard(heard),
        }
    }

    /// Gives the core everything that is there already, up to a bound.
    fn drain(&mut self, sources: &mut Sources) -> anyhow::Result<()> {
        for _ in 0..MOST_AT_ONCE {
            let Some(heard) = sources.ready(self.has_room()) else { return Ok(()) };
            self.on_heard(heard?)?;
        }
        Ok(())
    }

    /// True while little enough waits that the inbox may be read.
    fn has_room(&self) -> bool {
        self.outbox.waiting_bytes() + self.publishers.backlog_bytes() < MOST_WAITING_BYTES
    }

    fn on_heard(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Ledger(delivered) => self.on_ledger(&delivered)?,
            Heard::Inbox(submitted) => self.on_submission(submitted),
            Heard::Message(message) => self.on_message(message.into()),
            // Answers that waited for the lost connection are lost with it: who asked asks again.
            Heard::Listening(client) => self.publishers.answers = Publisher::new(client),
        }
        Ok(())
    }

    fn on_ledger(&mut self, delivered: &Delivered) -> anyhow::Result<()> {
        if *delivered.message.subject == *self.own_subject {
            return self.on_own_record(delivered);
        }
        let now = clock::now();
        let batch = takeover::decode(delivered)?;
        for entry in batch.into_iter().flat_map(|batch| batch.entries) {
            self.snapshots.read(1);
            self.give(now, S::ledger(entry));
        }
        Ok(())
    }

    /// Our own records we have folded already; another epoch on our subject means that we are not the writer.
    fn on_own_record(&mut self, delivered: &Delivered) -> anyhow::Result<()> {
        if batch_epoch(&delivered.message.payload).is_ok_and(|epoch| epoch == self.epoch) {
            self.snapshots.read_own();
            return Ok(());
        }
        match takeover::decode(delivered)? {
            Some(_) => Err(replaced::<S>()),
            None => Ok(()),
        }
    }

    fn on_submission(&mut self, submitted: Submitted) {
        let Submitted { sequence, published_at, fault, message } = submitted;
        let stream = Some(StreamInfo { sequence, published_at });
        // The reply subject of a stream's message belongs to the stream.
        self.on_message(Incoming { reply: None, stream, fault, ..message.into() });
    }

    fn on_message(&mut self, message: Incoming) {
        let now = clock::now();
        let (subject, reply) = (message.subject.clone(), message.reply.clone());
        match self.service.decode(now, message) {
            Ok(input) => self.give(now, input),
            Err(malformed) => {
                self.note_malformed(&subject, &malformed);
                if let Some(to) = reply {
                    let payload = refusal(RefusalKind::Invalid, malformed);
                    self.carry_out(now, Effect::Reply { to, payload });
                }
            }
        }
    }

    fn note_malformed(&mut self, subject: &str, malformed: &Malformed) {
        self.malformed += 1;
        let total = self.malformed;
        if total <= MALFORMED_LOGGED || total.is_multiple_of(MALFORMED_LOGGED) {
            warn!(subject, error = %malformed, total, "a message cannot be read");
        }
    }

    fn wake(&mut self) {
        let now = clock::now();
        self.core.wake(now, &mut self.outputs);
        self.carry_out_all(now);
    }

    fn give(&mut self, now: Time, input: Input<S>) {
        self.core.handle(now, input, &mut self.outputs);
        self.carry_out_all(now);
    }

    fn carry_out_all(&mut self, now: Time) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            let effect = self.service.effect(output);
            self.carry_out(now, effect);
        }
        self.outputs = outputs;
    }

    fn carry_out(&mut self, at: Time, effect: Effect) {
        match effect {
            Effect::Append(record) => {
                self.snapshots.wrote();
                self.outbox.append(&Entry { at, record });
            }
            Effect::Publish { subject, payload } => self.send(subject, None, payload, false),
            Effect::PublishWithHeaders { subject, headers, payload } => {
                self.send(subject, Some(headers), payload, false);
            }
            Effect::Reply { to, payload } => self.send(to.0.to_string(), None, payload, true),
            Effect::Many(effects) => effects.into_iter().for_each(|effect| self.carry_out(at, effect)),
            Effect::None => {}
        }
    }

    fn send(
        &mut self,
        subject: String,
        headers: Option<async_nats::HeaderMap>,
        payload: Vec<u8>,
        is_reply: bool,
    ) {
        let message = Outgoing { subject, headers, payload: payload.into(), is_reply };
        if let Some(message) = self.outbox.send(message) {
            self.publishers.send(message);
        }
    }

    /// Appends what has gathered, unless an append is in flight.
    fn start_append(&mut self) {
        if let Some(payload) = self.outbox.next_append() {
            self.appending = Some(self.appender.clone().append(self.last, payload.into()).boxed());
        }
    }

    fn on_appended(&mut self, outcome: Result<u64, AppendError>) -> anyhow::Result<()> {
        self.appending = None;
        self.last = match outcome {
            Ok(sequence) => sequence,
            Err(AppendError::Fenced { .. }) => return Err(replaced::<S>()),
            Err(error) => return Err(error.into()),
        };
        for message in self.outbox.acknowledged() {
            self.publishers.send(message);
        }
        self.start_append();
        Ok(())
    }

    /// Sees the last records and effects out.
    async fn finish(mut self) -> anyhow::Result<()> {
        let last_words = async {
            self.start_append();
            while !self.outbox.is_empty() {
                let outcome = appended(&mut self.appending).await;
                self.on_appended(outcome)?;
            }
            self.publishers.flush().await;
            Ok(())
        };
        match tokio::time::timeout(LAST_WORDS, last_words).await {
            Ok(outcome) => outcome,
            Err(_) => {
                warn!("stopped before the last records were acknowledged");
                Ok(())
            }
        }
    }
}

fn replaced<S: LedgerService>() -> anyhow::Error {
    Replaced { writer: S::WRITER.as_str() }.into()
}

/// Waits for the append in flight; forever where none is.
async fn appended(
    appending: &mut Option<BoxFuture<'static, Result<u64, AppendError>>>,
) -> Result<u64, AppendError> {
    match appending {
        Some(append) => append.await,
        None => std::future::pending().await,
    }
}

/// Waits until a core wants to be woken; forever where it does not.
async fn until(due: Option<(Time, &'static str)>) {
    let Some((at, _why)) = due else { return std::future::pending().await };
    let pause = at.since(clock::now());
    if pause > allot_model::Span::ZERO {
        tokio::time::sleep(pause.to_std()).await;
    }
}
