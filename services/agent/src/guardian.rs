//! The process above an agent's: it starts the agent, and takes over the tasks when the agent dies.
//!
//! An agent starts its tasks itself and learns itself how they end, so the guardian costs a task nothing. When the
//! agent's process dies, the system hands the processes of its tasks to the guardian, which starts the agent again and
//! tells it from then on how they end (`docs/adr/0008`). Everything else it leaves to the agent, so that it need not be
//! replaced when the agent is.

pub(crate) mod word;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use allot_model::{Span, Time};
use allot_shell::clock;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{error, info, warn};

use crate::executor::process;
use word::{EndOf, Word};

/// The variable that tells an agent which process its guardian is.
pub(crate) const GUARDIAN: &str = "_ALLOT_GUARDIAN";
/// The pause before an agent that died is started again; it doubles each time.
const FIRST_PAUSE: Span = Span::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Span = Span::from_secs(10);
/// An agent that has lived for this long is started again after the first pause.
const SETTLED: Span = Span::from_secs(60);
/// How long an agent that is to make way for its successor may take.
const LEAVE_WITHIN: Span = Span::from_secs(10);
/// How many ends of tasks are kept for agents to come.
const MOST_ENDS: usize = 65_536;
/// What a shell says of a program that a signal ended: this and the signal's number.
const SIGNALLED: i32 = 128;
/// What a program says that has panicked.
const PANICKED: i32 = 101;
/// Questions that are answered without an agent.
const QUESTIONS: [&str; 5] = ["--health", "--help", "-h", "--version", "-V"];

/// True in the process of the agent itself, which from here on dies with its guardian.
#[must_use]
pub fn stands_above() -> bool {
    let asks = std::env::args().any(|argument| QUESTIONS.contains(&argument.as_str()));
    asks || {
        let is_kept = above().is_some();
        // The guardian may have died before that was set.
        is_kept
            && rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
            && above().is_some()
    }
}

/// The guardian of this process.
pub(crate) fn above() -> Option<Pid> {
    let named: i32 = std::env::var(GUARDIAN).ok()?.parse().ok()?;
    getppid().filter(|parent| parent.as_raw_nonzero().get() == named)
}

/// Starts this program again as an agent and stands above it for as long as it is wanted.
#[must_use]
pub fn run() -> ExitCode {
    if let Err(failure) = allot_shell::telemetry::init() {
        eprintln!("{failure:#}");
    }
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(async { Guardian::new()?.run().await }));
    match outcome {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(failure) => {
            error!(error = format!("{failure:#}"), "the guardian of the agent stops");
            ExitCode::FAILURE
        }
    }
}

struct Guardian {
    program: PathBuf,
    arguments: Vec<OsString>,
    agent: Option<Agent>,
    /// When the agent is to be started, and the pause after that should it die.
    start: (Time, Span),
    /// Told to stop: no agent is started any more.
    stopping: bool,
    /// Processes that a dead agent left, and that have not ended.
    held: BTreeSet<i32>,
    /// How those ended that have.
    ended: VecDeque<EndOf>,
}

/// The agent's process.
struct Agent {
    pid: Pid,
    since: Time,
    words: UnboundedSender<Word>,
    /// When it is killed, should it not have made way for its successor.
    leaves_by: Option<Time>,
}

impl Guardian {
    fn new() -> anyhow::Result<Self> {
        // Any number switches it on.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            agent: None,
            start: (clock::now(), FIRST_PAUSE),
            stopping: false,
            held: BTreeSet::new(),
            ended: VecDeque::new(),
        })
    }

    async fn run(mut self) -> anyhow::Result<i32> {
        let mut heard = Heard::new()?;
        loop {
            if self.agent.is_none() && self.start.0 <= clock::now() {
                self.start_agent()?;
            }
            let pause = self.due().map_or(Duration::MAX, |at| at.since(clock::now()).to_std());
            let told = tokio::select! {
                _ = heard.child.recv() => self.reap(),
                _ = heard.terminate.recv() => self.on_stop(Signal::TERM),
                _ = heard.interrupt.recv() => self.on_stop(Signal::INT),
                _ = heard.hang_up.recv() => self.on_replace(),
                () = tokio::time::sleep(pause) => self.on_time(),
            };
            if let Some(code) = told {
                return Ok(code);
            }
        }
    }

    fn due(&self) -> Option<Time> {
        match &self.agent {
            Some(agent) => agent.leaves_by,
            None => Some(self.start.0),
        }
    }

    /// Starts the agent in a group of its own, lest a key pressed in a terminal reach it twice.
    fn start_agent(&mut self) -> anyhow::Result<()> {
        let (ours, its) = UnixStream::pair()?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env(GUARDIAN, std::process::id().to_string())
            .stdin(OwnedFd::from(its))
            .process_group(0)
            .spawn()?;
        let (words, unsaid) = unbounded_channel();
        let held = self.held.iter().map(|pid| Word::Holds { pid: *pid });
        let ended = self.ended.iter().map(|end| Word::Ended(*end));
        for word in held.chain(ended).chain([Word::All]) {
            let _ = words.send(word);
        }
        ours.set_nonblocking(true)?;
        tokio::spawn(say(tokio::net::UnixStream::from_std(ours)?, unsaid));
        self.agent =
            Some(Agent { pid: Pid::from_child(&child), since: clock::now(), words, leaves_by: None });
        Ok(())
    }

    fn on_stop(&mut self, signal: Signal) -> Option<i32> {
        self.stopping = true;
        match &self.agent {
            Some(agent) => drop(kill_process(agent.pid, signal)),
            None => return Some(SIGNALLED + signal.as_raw()),
        }
        None
    }

    /// Has the agent make way for one that is started from the program as it is now.
    fn on_replace(&mut self) -> Option<i32> {
        if let Some(agent) = &mut self.agent {
            info!("the agent is started anew; its tasks go on");
            agent.leaves_by = Some(clock::now() + LEAVE_WITHIN);
            let _ = kill_process(agent.pid, Signal::HUP);
        }
        None
    }

    fn on_time(&mut self) -> Option<i32> {
        if let Some(agent) = &mut self.agent
            && agent.leaves_by.is_some_and(|at| at <= clock::now())
        {
            agent.leaves_by = None;
            let _ = kill_process(agent.pid, Signal::KILL);
        }
        None
    }

    /// Takes the ends of children: the agent, and what a dead one left. Returns the code with which all is over.
    fn reap(&mut self) -> Option<i32> {
        let mut over = self.look_at_agent();
        for pid in word::children().unwrap_or_default().into_iter().filter_map(Pid::from_raw) {
            if self.agent.as_ref().is_some_and(|agent| agent.pid == pid) || !has_ended(pid) {
                continue;
            }
            let number = pid.as_raw_nonzero().get();
            if !self.held.contains(&number) {
                // It may be of an agent that has died since.
                over = over.or_else(|| self.look_at_agent());
            }
            self.take_end(pid, self.held.contains(&number));
        }
        over
    }

    /// Takes the end of a process, after what is left of its group: its number belongs to it until then.
    fn take_end(&mut self, pid: Pid, is_held: bool) {
        let number = pid.as_raw_nonzero().get();
        let began_ticks = process::start_ticks_of(number);
        if is_held {
            process::signal_group(pid, allot_agent_core::Signal::Kill);
        }
        let Ok(reaped) = process::reap(pid) else { return };
        self.held.remove(&number);
        if let Some(began_ticks) = began_ticks.filter(|_| is_held) {
            let end = EndOf::new(number, began_ticks, &reaped);
            self.ended.truncate(MOST_ENDS - 1);
            self.ended.push_front(end);
            if let Some(agent) = &self.agent {
                let _ = agent.words.send(Word::Ended(end));
            }
        }
    }

    /// Takes the end of the agent, where it has ended: what it left is ours by now.
    fn look_at_agent(&mut self) -> Option<i32> {
        let agent = self.agent.take_if(|agent| has_ended(agent.pid))?;
        let number = agent.pid.as_raw_nonzero().get();
        self.held.extend(word::children().into_iter().flatten().filter(|pid| *pid != number));
        let code = match process::reap(agent.pid) {
            Ok(reaped) => reaped.exit_code.unwrap_or(SIGNALLED + reaped.signal.unwrap_or(0)),
            Err(_) => PANICKED,
        };
        let died = code >= PANICKED || code != 0 && !self.held.is_empty();
        if self.stopping || !(died || agent.leaves_by.is_some()) {
            return Some(code);
        }
        let lived = clock::now().since(agent.since);
        let pause = if lived >= SETTLED { FIRST_PAUSE } else { self.start.1 };
        let made_way = agent.leaves_by.is_some() && code == 0;
        let now = clock::now();
        if made_way {
            self.start = (now, FIRST_PAUSE);
        } else {
            warn!(code, left = self.held.len(), "the agent has died, it is started again");
            self.start = (now + pause, pause.times(2).min(LONGEST_PAUSE));
        }
        None
    }
}

/// What the guardian listens to.
struct Heard {
    child: Signals,
    terminate: Signals,
    interrupt: Signals,
    hang_up: Signals,
}

impl Heard {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Says all words to one agent, as fast as it listens.
async fn say(mut to: tokio::net::UnixStream, mut words: UnboundedReceiver<Word>) {
    while let Some(word) = words.recv().await {
        // An agent that does not listen any more has died, and the next one is told everything.
        if to.write_all(&word.to_line()).await.is_err() {
            return;
        }
    }
}

/// True where a child has ended and was not reaped.
fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}
