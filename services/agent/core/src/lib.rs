//! What one machine runs for allot, as a pure state machine.
//!
//! The dispatcher orders, the agent starts and stops processes and reports what became of them, each end until it
//! is acknowledged. Whatever is repeated, late or lost, an attempt is started at most once: what must not be
//! forgotten is noted in a journal before anything is done about it, and is a fold over that journal
//! ([`Memory::fold`]), so that an agent that was killed goes on where it was.

mod attempts;
mod farewell;
mod hold;
mod journal;
mod link;
mod live;
mod memory;
mod orders;
mod outbox;
mod processes;
mod reports;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{
    AgentFacts, AttemptId, Beat, Core, Hello, Incarnation, Launch, OrderBatch, ReportBatch, Resources, Span,
    Time, Welcome,
};

use farewell::Farewell;

pub use attempts::AttemptSet;
pub use hold::{Hold, StopOrder};
pub use journal::{End, JournalEntry, Note, ProcessId};
pub use memory::{Begun, Memory, Seen};
pub use outbox::{Batch, Outbox};

use link::{Due, Link};
use live::{Deadlines, Live};
use reports::Schedule;
use waiting::Waiting;

/// How an agent behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether tasks with the `noop` executor are taken.
    pub noop: bool,
    /// The longest that the end of an attempt goes unreported because its output is not stored yet.
    pub output_wait: Span,
}

/// Everything that can happen to an agent.
#[derive(Debug, Clone)]
pub enum Input {
    /// A line of the journal of an earlier life, in order.
    Replay(JournalEntry),
    /// The journal has been read: the agent lives from here on.
    Resume,
    /// Orders from the dispatcher.
    Orders(OrderBatch),
    /// A process was started as asked, or one of an earlier process of the agent was found again.
    Started {
        /// Its attempt.
        attempt: AttemptId,
        /// When it was started, by the clock of today.
        at: Time,
        /// How to find it again.
        process: ProcessId,
    },
    /// A process could not be started.
    LaunchFailed {
        /// Its attempt.
        attempt: AttemptId,
        /// When.
        at: Time,
        /// Why, for people.
        message: Arc<str>,
    },
    /// A process ended, and its group with it.
    Exited {
        /// Its attempt.
        attempt: AttemptId,
        /// How.
        exit: Exit,
    },
    /// The output of an attempt is stored where it outlives the agent.
    OutputStored {
        /// Which.
        attempt: AttemptId,
    },
    /// The registry answered.
    Welcome(Welcome),
    /// The way to the other services is open again after it was not.
    Reconnected,
    /// The agent is to end: stop what runs, start nothing more, say so, and hand back what was not started.
    Stop {
        /// The longest time between SIGTERM and SIGKILL.
        grace: Span,
    },
    /// The process of the agent is to end, and its tasks are not: start nothing more.
    Leave,
}

/// How a process ended; neither with a code nor by a signal where nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// When.
    pub at: Time,
    /// Its exit code, where it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended it, where one did.
    pub signal: Option<i32>,
    /// User and system CPU time, microseconds.
    pub cpu_us: u64,
    /// Largest resident memory of its largest process, bytes.
    pub peak_mem_bytes: u64,
    /// True where it wrote something that is being stored: [`Input::OutputStored`] follows.
    pub has_output: bool,
}

impl Exit {
    /// True where nobody knows how it ended.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.exit_code.is_none() && self.signal.is_none()
    }
}

/// An attempt that an earlier process of the agent began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    /// Which.
    pub attempt: AttemptId,
    /// Its process. Where that was not noted yet, its environment tells whose it is.
    pub process: Option<ProcessId>,
}

/// Everything an agent can want done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Append this to the journal before anything that follows is done.
    Journal(JournalEntry),
    /// Start a process for this attempt.
    Spawn {
        /// Which.
        attempt: AttemptId,
        /// What it is to run.
        launch: Arc<Launch>,
    },
    /// Send a signal to the process group of an attempt.
    Signal {
        /// Which.
        attempt: AttemptId,
        /// What to send.
        signal: Signal,
    },
    /// Take back what an earlier process of this agent began. [`Input::Started`] follows for what runs, and
    /// [`Input::Exited`] for what does not, or once it does not any more. Kill all other processes that it left.
    TakeBack {
        /// What is to go on.
        adopt: Vec<Orphan>,
        /// Processes that are not to.
        kill: Vec<ProcessId>,
    },
    /// Ask the registry to be admitted; its answer is [`Input::Welcome`].
    Hello(Hello),
    /// Tell the registry that the agent lives; an answer is [`Input::Welcome`].
    Beat(Beat),
    /// Tell the dispatcher what happened.
    Report(ReportBatch),
    /// The registry does not take the agent, for this reason: tell the operator.
    Refused {
        /// Why.
        message: String,
    },
}

/// What is sent to a process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Please end: SIGTERM.
    Terminate,
    /// End: SIGKILL.
    Kill,
}

/// An agent.
#[derive(Debug)]
pub struct AgentCore {
    facts: Arc<AgentFacts>,
    /// Lives before this one that are over.
    ended: Vec<Incarnation>,
    settings: Settings,
    /// What the journal remembers.
    memory: Memory,
    /// What none of the present attempts holds.
    free: Resources,
    /// Launches that wait for room.
    waiting: Waiting,
    /// Attempts whose process is being started, runs, or is being stopped. The same as those begun in `memory`.
    live: BTreeMap<AttemptId, Live>,
    /// When something is to be done about an attempt that lives, or whose end waits for its output.
    deadlines: Deadlines,
    link: Link,
    /// When reports leave.
    schedule: Schedule,
    /// True once the agent is to start nothing any more.
    stopping: bool,
    /// Its end, where its tasks are to end too.
    farewell: Option<Farewell>,
}

impl AgentCore {
    /// An agent that has not read its journal yet.
    #[must_use]
    pub fn new(facts: Arc<AgentFacts>, settings: Settings) -> Self {
        Self {
            free: facts.resources.clone(),
            facts,
            ended: Vec::new(),
            settings,
            memory: Memory::default(),
            waiting: Waiting::default(),
            live: BTreeMap::new(),
            deadlines: Deadlines::default(),
            link: Link::Silent,
            schedule: Schedule::default(),
            stopping: false,
            farewell: None,
        }
    }

    /// The same, of which it is known that these lives before it are over.
    #[must_use]
    pub fn after(self, ended: Vec<Incarnation>) -> Self {
        Self { ended, ..self }
    }

    /// What the agent is.
    #[must_use]
    pub fn facts(&self) -> &AgentFacts {
        &self.facts
    }

    /// What must not be forgotten, to rewrite the journal shorter.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// True while the process of this attempt is being started, runs, or is being stopped.
    #[must_use]
    pub fn is_live(&self, attempt: AttemptId) -> bool {
        self.live.contains_key(&attempt)
    }

    /// True where nothing runs and nothing is left to report.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let has_left = self.farewell.as_ref().is_none_or(Farewell::is_over);
        self.live.is_empty() && self.memory.outbox().is_empty() && has_left
    }

    /// True where no process is being started, runs, or is being stopped.
    #[must_use]
    pub fn runs_nothing(&self) -> bool {
        self.live.is_empty()
    }

    /// True where no process is being started: all that live are noted.
    #[must_use]
    pub fn starts_nothing(&self) -> bool {
        self.live.values().all(|live| live.started_at.is_some())
    }

    /// Notes in the journal, and remembers.
    fn write(&mut self, entry: JournalEntry, out: &mut Vec<Output>) {
        self.memory.fold(entry.clone());
        out.push(Output::Journal(entry));
    }

    fn on_resume(&mut self, now: Time, out: &mut Vec<Output>) {
        self.take_back(now, out);
        let held: Vec<AttemptId> = self.memory.outbox().held().collect();
        held.into_iter().for_each(|attempt| self.note(JournalEntry::Released { attempt }, out));
        self.link.greet(now);
        self.schedule.repeat_at(now);
    }

    fn on_welcome(&mut self, now: Time, welcome: Welcome, out: &mut Vec<Output>) {
        if !self.farewell.as_ref().is_some_and(Farewell::is_said) {
            self.link.welcome(now, &welcome);
        }
        if let Welcome::Refused { message } = welcome {
            out.push(Output::Refused { message });
        }
    }

    fn on_reconnected(&mut self, now: Time) {
        self.link.hurry(now);
        self.schedule.repeat_at(now);
    }

    fn greet_or_beat(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.link.take_due(now) {
            Some(Due::Hello) => {
                let (facts, ended) = (Arc::clone(&self.facts), self.ended.clone());
                out.push(Output::Hello(Hello { facts, ended }));
            }
            Some(Due::Beat) => {
                out.push(Output::Beat(self.beat(false)));
            }
            None => {}
        }
    }

    pub(crate) fn beat(&self, leaving: bool) -> Beat {
        let (agent, incarnation) = (self.facts.id.clone(), self.facts.incarnation);
        Beat { agent, incarnation, leaving, trouble: None }
    }

    /// Panics where the parts of the state do not agree; for tests and simulation.
    ///
    /// # Panics
    /// Where an invariant is broken.
    pub fn sanity_check(&self) {
        self.memory.sanity_check();
        assert!(self.live.keys().eq(self.memory.begun().keys()), "what lives is what was begun");
        let mut total = self.free.clone();
        for (attempt, live) in &self.live {
            assert!(total.add(&live.hold.slice).is_ok(), "{attempt} holds what was never free");
        }
        assert_eq!(total, self.facts.resources, "free and held are all there is");
        for attempt in self.deadlines.attempts() {
            let alive = self.live.contains_key(&attempt) || self.memory.outbox().holds(attempt);
            assert!(alive, "{attempt} is over and has a deadline");
        }
    }
}

impl Core for AgentCore {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Replay(entry) => return self.memory.fold(entry),
            Input::Resume => self.on_resume(now, out),
            Input::Orders(batch) => self.on_orders(now, batch, out),
            Input::Started { attempt, at, process } => self.on_started(now, attempt, at, process, out),
            Input::LaunchFailed { attempt, at, message } => self.on_launch_failed(attempt, at, message, out),
            Input::Exited { attempt, exit } => self.on_exited(now, attempt, &exit, out),
            Input::OutputStored { attempt } => self.release(now, attempt, out),
            Input::Welcome(welcome) => self.on_welcome(now, welcome, out),
            Input::Reconnected => self.on_reconnected(now),
            Input::Stop { grace } => self.on_stop(now, grace, out),
            Input::Leave => self.on_leave(),
        }
        self.start_waiting(out);
        self.wake(now, out);
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some(attempt) = self.deadlines.take_due(now) {
            self.on_deadline(now, attempt, out);
        }
        self.hand_back(now, out);
        self.take_leave(now, out);
        self.report(now, out);
        self.greet_or_beat(now, out);
    }

    fn next_wake(&self) -> Option<(Time, &'static str)> {
        let deadline = self.deadlines.next().map(|at| (at, "deadline of an attempt"));
        let turn = self.waiting.hand_back_at().map(|at| (at, "tasks have not had their turn"));
        let farewell = self.farewell.as_ref().and_then(Farewell::next);
        let end = farewell.map(|at| (at, "what was not started is handed back"));
        [deadline, self.next_report(), turn, end, self.link.next()].into_iter().flatten().min()
    }
}
