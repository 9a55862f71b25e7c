//! The loop that drives the core: inputs in, journal, effects out.

use std::os::fd::OwnedFd;
use std::time::Duration;

use allot_agent_core::{AgentCore, Input, Orphan, Output, ProcessId};
use allot_bus::Subject;
use allot_model::{AttemptId, Beat, Core, Epoch, Hello, OrderBatch, ReportBatch, Span, Time, Welcome};
use allot_proto::{Wire, WireError};
use allot_shell::{Bus, Shutdown, clock};
use async_nats::connection::State;
use async_nats::{Message, PublishError, StatusCode, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tracing::{debug, error, info, trace, warn};

use crate::event::Event;
use crate::executor::Executor;
use crate::guardian;
use crate::inheritance::Inheritance;
use crate::journal::Journal;
use crate::keeper::Over;
use crate::output::TaskDirs;
use crate::publisher::Publisher;

/// How much is taken in before what it causes is carried out.
const MOST_AT_ONCE: usize = 256;
/// How long to wait when the disk does not take what is to be noted.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// How long an answer of the registry is waited for.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// How long orders of a dispatcher that was replaced have to keep coming until it is told, and between two tellings.
const OUTDATED_FOR: Span = Span::from_secs(10);
/// How long an agent that stops waits for its last reports to be acknowledged.
pub(crate) const LAST_WORDS: Span = Span::from_secs(1);
/// How long an agent that stops waits, beyond the grace, for processes that do not go.
const LAST_KILLS: Span = Span::from_secs(5);

/// An agent at work.
pub(crate) struct Agent {
    bus: Bus,
    core: AgentCore,
    journal: Journal,
    executor: Executor,
    publisher: Publisher,
    /// For answers that come later.
    events: UnboundedSender<Event>,
    /// Attempts that have ended, for the keeper of their directories.
    ended: UnboundedSender<Over>,
    subjects: Subjects,
    connected: bool,
    /// What the guardian has, until it is taken back.
    inheritance: Inheritance,
    stopping: Option<Stopping>,
    /// Making way for its successor, which goes on with the tasks.
    leaving: bool,
    /// True while the registry takes this agent for the one of its id.
    admitted: watch::Sender<bool>,
    /// Since when nothing but orders of an earlier dispatcher has come, or when that was told last.
    outdated_since: Option<Time>,
    /// What the core wants done and is not done yet.
    wanted: Vec<Output>,
}

/// Where the agent speaks and listens.
struct Subjects {
    hello: String,
    beat: String,
    reports: String,
    orders: String,
    /// Where beats are answered.
    welcomes: String,
}

/// How long an agent that is to stop goes on.
#[derive(Clone, Copy)]
struct Stopping {
    /// Processes that run by then are left to themselves.
    kills_by: Time,
    /// Set once nothing runs: reports that are not acknowledged by then are left for the next life.
    words_by: Option<Time>,
}

impl Agent {
    pub(crate) fn new(
        bus: Bus,
        core: AgentCore,
        journal: Journal,
        executor: Executor,
        publisher: Publisher,
        events: UnboundedSender<Event>,
        ended: UnboundedSender<Over>,
    ) -> Self {
        let id = core.facts().id.clone();
        let subjects = Subjects {
            hello: Subject::AgentHello(id.clone()).to_string(),
            beat: Subject::AgentBeat(id.clone()).to_string(),
            reports: Subject::AgentReports(id.clone()).to_string(),
            orders: Subject::AgentOrders(id).to_string(),
            welcomes: bus.client().new_inbox(),
        };
        // One that has obeyed a dispatcher was admitted before.
        let admitted = watch::Sender::new(core.memory().epoch() > Epoch(0));
        Self {
            bus,
            core,
            journal,
            executor,
            publisher,
            events,
            ended,
            subjects,
            connected: true,
            inheritance: Inheritance::default(),
            stopping: None,
            leaving: false,
            admitted,
            outdated_since: None,
            wanted: Vec::new(),
        }
    }

    /// Whether the registry takes this agent for the one of its id.
    pub(crate) fn admitted(&self) -> watch::Receiver<bool> {
        self.admitted.subscribe()
    }

    /// Goes on where an earlier process of the agent was, with what the guardian has of it. The outputs of ends that are
    /// not acknowledged may not have been stored.
    pub(crate) fn go_on(&mut self, inheritance: Inheritance, dirs: &TaskDirs) {
        self.inheritance = inheritance;
        let ended = self.core.memory().outbox().ended();
        let unsure = dirs.attempts().into_iter().filter(|attempt| ended.contains(*attempt));
        unsure.for_each(|attempt| self.publisher.store(attempt));
    }

    /// Works until it is told to stop, and everything has ended.
    pub(crate) async fn run(
        mut self,
        mut events: UnboundedReceiver<Event>,
        shutdown: &Shutdown,
        stop_grace: Span,
    ) -> anyhow::Result<()> {
        let client = self.bus.client().clone();
        let mut orders = client.subscribe(self.subjects.orders.clone()).await?;
        let mut welcomes = client.subscribe(self.subjects.welcomes.clone()).await?;
        // Whoever hears the hello may answer with orders: the subscriptions must be there first.
        client.flush().await?;
        let mut hang_up = signal(SignalKind::hangup())?;
        self.give(Input::Resume);
        self.carry_out().await;
        let mut batch = Vec::with_capacity(MOST_AT_ONCE);
        while !self.is_done() {
            tokio::select! {
                _ = events.recv_many(&mut batch, MOST_AT_ONCE) => batch.drain(..).for_each(|event| self.on_event(event)),
                message = orders.next() => self.on_orders(message, &mut orders)?,
                message = welcomes.next() => self.on_welcome(message)?,
                () = tokio::time::sleep(self.pause()) => self.core.wake(clock::now(), &mut self.wanted),
                () = shutdown.wait(), if self.stopping.is_none() => self.on_stop(stop_grace),
                _ = hang_up.recv(), if guardian::above().is_some() => self.on_leave(),
            }
            self.notice_connection();
            self.carry_out().await;
        }
        // Where NATS is away, the journal keeps what was not said.
        tokio::time::timeout(LAST_WORDS.to_std(), client.flush()).await.unwrap_or(Ok(()))?;
        Ok(())
    }

    fn give(&mut self, input: Input) {
        self.core.handle(clock::now(), input, &mut self.wanted);
    }

    fn on_event(&mut self, event: Event) {
        trace!(?event, "event");
        match event {
            Event::Started { attempt, at, process, end } => {
                end.into_iter().for_each(|end| self.watch(attempt, end));
                self.give(Input::Started { attempt, at, process });
            }
            Event::LaunchFailed { attempt, at, message } => {
                self.executor.forget(attempt);
                self.is_over(Over { attempt, has_output: false });
                self.give(Input::LaunchFailed { attempt, at, message });
            }
            Event::Ended { attempt, at } => {
                let exit = self.executor.reap(attempt, at);
                self.is_over(Over { attempt, has_output: exit.has_output });
                if exit.has_output {
                    self.publisher.store(attempt);
                }
                self.give(Input::Exited { attempt, exit });
            }
            Event::Inherited(end) => {
                if let Some(attempt) = self.executor.inherit(end) {
                    self.on_event(Event::Ended { attempt, at: end.at() });
                }
            }
            Event::OutputStored(attempt) => self.give(Input::OutputStored { attempt }),
            Event::Welcomed(welcome) => {
                if let Welcome::Admitted { beat_every } = &welcome {
                    info!(%beat_every, "admitted");
                }
                self.be_welcomed(welcome);
            }
        }
    }

    /// Has the end of a process be an event. Asked for here, where it is heard, lest each takes another thread's time.
    fn watch(&self, attempt: AttemptId, end: AsyncFd<OwnedFd>) {
        let events = self.events.clone();
        tokio::spawn(async move {
            // An error would mean that the descriptor is not one; reaping then says what is so.
            let _ = end.readable().await;
            let _ = events.send(Event::Ended { attempt, at: clock::now() });
        });
    }

    /// Tells the keeper of directories, which is gone only where the agent is about to end.
    fn is_over(&self, over: Over) {
        let _ = self.ended.send(over);
    }

    /// Takes a message with orders, and those that are there behind it.
    fn on_orders(&mut self, first: Option<Message>, more: &mut Subscriber) -> anyhow::Result<()> {
        let mut next = Some(first.ok_or_else(closed)?);
        let mut left = MOST_AT_ONCE;
        while let Some(message) = next {
            match OrderBatch::decode(&message.payload) {
                Ok(batch) => self.be_ordered(batch),
                Err(error) => unreadable("orders", &error),
            }
            left -= 1;
            next = if left > 0 { more.next().now_or_never().flatten() } else { None };
        }
        Ok(())
    }

    fn on_welcome(&mut self, message: Option<Message>) -> anyhow::Result<()> {
        let message = message.ok_or_else(closed)?;
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            debug!("no registry is there");
            return Ok(());
        }
        match Welcome::decode(&message.payload) {
            Ok(welcome) => self.be_welcomed(welcome),
            Err(error) => unreadable("an answer of the registry", &error),
        }
        Ok(())
    }

    fn be_welcomed(&mut self, welcome: Welcome) {
        match &welcome {
            Welcome::Admitted { .. } => _ = self.admitted.send_replace(true),
            Welcome::Refused { .. } => _ = self.admitted.send_replace(false),
            Welcome::HelloNeeded => {}
        }
        self.give(Input::Welcome(welcome));
    }

    /// Orders of a dispatcher that was replaced are passed over, which is nobody's business unless they keep coming.
    fn be_ordered(&mut self, batch: OrderBatch) {
        let newest = self.core.memory().epoch();
        if batch.incarnation == self.core.facts().incarnation && batch.epoch < newest {
            let (epoch, now) = (batch.epoch, clock::now());
            let since = *self.outdated_since.get_or_insert(now);
            if now.since(since) >= OUTDATED_FOR {
                self.outdated_since = Some(now);
                warn!(
                    %epoch, %newest,
                    "orders of an earlier dispatcher keep coming and are passed over: where the ledger was lost or put back \
                     from a backup, stop this agent and remove its data directory before it is started again"
                );
            }
        } else {
            self.outdated_since = None;
        }
        self.give(Input::Orders(batch));
    }

    fn on_leave(&mut self) {
        info!("making way for another process of this agent; its tasks go on");
        self.leaving = true;
        self.give(Input::Leave);
    }

    fn on_stop(&mut self, grace: Span) {
        self.stopping = Some(Stopping { kills_by: clock::now() + grace + LAST_KILLS, words_by: None });
        self.give(Input::Stop { grace });
    }

    /// Tells the core when the connection is back after it was not there. Beats bring us here often enough.
    fn notice_connection(&mut self) {
        let connected = self.is_connected();
        if connected && !self.connected {
            self.give(Input::Reconnected);
        }
        self.connected = connected;
    }

    fn is_connected(&self) -> bool {
        self.bus.client().connection_state() == State::Connected
    }

    fn is_done(&mut self) -> bool {
        if self.leaving && self.core.starts_nothing() {
            return true;
        }
        let Some(stopping) = &mut self.stopping else { return false };
        let now = clock::now();
        if self.core.runs_nothing() && stopping.words_by.is_none() {
            stopping.words_by = Some(now + LAST_WORDS);
        }
        self.core.is_idle() || stopping.kills_by <= now || stopping.words_by.is_some_and(|at| at <= now)
    }

    /// How long nothing is due.
    fn pause(&self) -> Duration {
        let core = self.core.next_wake().map(|(at, _)| at);
        let stop = self.stopping.map(|stopping| stopping.words_by.unwrap_or(stopping.kills_by));
        let due = core.into_iter().chain(stop).min();
        due.map_or(Duration::MAX, |at| at.since(clock::now()).to_std())
    }

    /// Does what the core wants. All that is to be noted is written first, in one go: that notes something earlier
    /// than it has to be, and never later.
    async fn carry_out(&mut self) {
        let mut effects = Vec::new();
        for output in std::mem::take(&mut self.wanted) {
            match output {
                Output::Journal(entry) => self.journal.push(&entry),
                // Before the note that some of these attempts have ended, after which nobody would look for them again.
                Output::TakeBack { adopt, kill } => self.take_back(&adopt, &kill),
                effect => effects.push(effect),
            }
        }
        self.write_journal().await;
        for effect in effects {
            self.carry_out_one(effect).await;
        }
        self.journal.rewrite_if_long(self.core.memory());
    }

    /// Writes the journal. Where the disk does not take it, stands still until it does, and says meanwhile that the agent
    /// lives: what runs goes on.
    async fn write_journal(&mut self) {
        let mut was_full = false;
        while let Err(error) = self.journal.write() {
            if !was_full {
                error!(%error, "the journal cannot be written: nothing is started or reported until it can");
                was_full = true;
            }
            let facts = self.core.facts();
            let beat = Beat {
                agent: facts.id.clone(),
                incarnation: facts.incarnation,
                leaving: false,
                trouble: Some(format!(
                    "its journal {} cannot be written: {error}",
                    self.journal.path().display()
                )),
            };
            if self.is_connected() {
                said("beat", self.beat(&beat).await);
            }
            tokio::time::sleep(FULL_PAUSE).await;
        }
        if was_full {
            info!("the journal can be written again");
        }
    }

    fn take_back(&mut self, adopt: &[Orphan], kill: &[ProcessId]) {
        let inheritance = std::mem::take(&mut self.inheritance);
        self.executor.take_back(self.core.facts().incarnation, adopt, kill, &inheritance);
        inheritance.tell(self.events.clone());
    }

    async fn carry_out_one(&self, effect: Output) {
        trace!(?effect, "effect");
        match effect {
            // Done before.
            Output::Journal(_) | Output::TakeBack { .. } => {}
            Output::Spawn { attempt, launch } => self.executor.spawn(attempt, launch),
            Output::Signal { attempt, signal } => self.executor.signal(attempt, signal),
            Output::Refused { message } => warn!(message, "the registry does not take this agent"),
            // What is said while nobody listens would pile up in memory. The core says it again.
            Output::Hello(_) | Output::Beat(_) | Output::Report(_) if !self.is_connected() => {}
            Output::Hello(hello) => self.hello(&hello),
            Output::Beat(beat) => said("beat", self.beat(&beat).await),
            Output::Report(batch) => said("report", self.report(&batch).await),
        }
    }

    fn hello(&self, hello: &Hello) {
        let (client, events) = (self.bus.client().clone(), self.events.clone());
        let (subject, payload) = (self.subjects.hello.clone(), hello.encode());
        tokio::spawn(async move {
            match tokio::time::timeout(HELLO_PATIENCE, client.request(subject, payload.into())).await {
                Ok(Ok(answer)) => match Welcome::decode(&answer.payload) {
                    Ok(welcome) => drop(events.send(Event::Welcomed(welcome))),
                    Err(error) => unreadable("an answer of the registry", &error),
                },
                Ok(Err(error)) => debug!(%error, "no answer to hello"),
                Err(_) => debug!("no answer to hello in time"),
            }
        });
    }

    async fn beat(&self, beat: &Beat) -> Result<(), PublishError> {
        let (subject, reply) = (self.subjects.beat.clone(), self.subjects.welcomes.clone());
        self.bus.client().publish_with_reply(subject, reply, beat.encode().into()).await
    }

    async fn report(&self, batch: &ReportBatch) -> Result<(), PublishError> {
        self.bus.client().publish(self.subjects.reports.clone(), batch.encode().into()).await
    }
}

/// What could not be said is said again.
fn said(what: &str, result: Result<(), PublishError>) {
    if let Err(error) = result {
        debug!(what, %error, "cannot be said now");
    }
}

fn unreadable(what: &str, error: &WireError) {
    warn!(what, %error, "a message cannot be read, it is ignored");
}

fn closed() -> anyhow::Error {
    anyhow::anyhow!("the connection to NATS is closed for good")
}
