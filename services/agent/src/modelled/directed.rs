//! Modelled agents whose tasks end when they are told to, on a clock that whoever directs them sets: for running
//! scenarios, in which an hour may pass in a moment.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allot_agent_core::{Exit, Input, Output, ProcessId};
use allot_model::{AgentFacts, AttemptId, Hello, Resources, Time};
use allot_shell::Shutdown;
use async_nats::Client;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Modelled;

/// The signal that a modelled task ends with when it is asked to stop: SIGTERM.
const TERMINATED: i32 = 15;

/// The time for directed agents: it passes when it is set.
#[derive(Debug, Clone, Default)]
pub struct StageClock(Arc<AtomicU64>);

impl StageClock {
    /// It is this time now.
    pub fn set(&self, now: Time) {
        self.0.store(now.as_micros(), Ordering::Release);
    }

    fn now(&self) -> Time {
        Time::from_micros(self.0.load(Ordering::Acquire))
    }
}

/// What a directed agent is told.
#[derive(Debug)]
pub(super) enum Direction {
    /// The task of this attempt ends now, or as soon as it is launched.
    End(AttemptId),
    /// The agent is like this from now on.
    Become(Arc<AgentFacts>),
}

/// The agent's side of it.
pub(super) struct Directions {
    told: UnboundedReceiver<Direction>,
    clock: StageClock,
    facts: Arc<AgentFacts>,
    /// Attempts that have to end before they were launched.
    early: BTreeSet<AttemptId>,
}

/// A modelled agent that runs any task until it is told that the task ends. It falls silent when this is dropped.
#[derive(Debug)]
pub struct DirectedAgent {
    told: UnboundedSender<Direction>,
}

impl DirectedAgent {
    /// Lets an agent join that is like `facts`, and will never have more than `most`.
    #[must_use]
    pub fn start(client: Client, facts: AgentFacts, most: Resources, clock: StageClock) -> Self {
        let (told, hears) = unbounded_channel();
        let directions =
            Directions { told: hears, clock, facts: Arc::new(facts.clone()), early: BTreeSet::new() };
        let agent = Modelled::new(client, AgentFacts { resources: most, ..facts }, Some(directions));
        // What it returns is that its connection is lost, which whoever directs it notices too.
        tokio::spawn(agent.run(Shutdown::new()));
        Self { told }
    }

    /// The task of this attempt ends now.
    pub fn end(&self, attempt: AttemptId) {
        self.tell(Direction::End(attempt));
    }

    /// The agent has other resources or attributes from now on.
    pub fn become_like(&self, facts: AgentFacts) {
        self.tell(Direction::Become(Arc::new(facts)));
    }

    fn tell(&self, direction: Direction) {
        // Fails only where the agent has lost its connection.
        let _ = self.told.send(direction);
    }
}

/// The next direction; nothing once nobody directs any more.
pub(super) async fn next(directions: &mut Option<Directions>) -> Option<Direction> {
    match directions {
        Some(directions) => directions.told.recv().await,
        None => pending().await,
    }
}

impl Modelled {
    /// A process is to be started.
    pub(super) fn spawn(&mut self, attempt: AttemptId) {
        // Where nobody directs, such tasks run until they are told to stop: to model a cluster that is full.
        let (at, ends) = match &mut self.directions {
            Some(directions) => (directions.clock.now(), directions.early.remove(&attempt)),
            None => (allot_shell::clock::now(), false),
        };
        let process = ProcessId { pid: 0, not_before_ticks: 0, not_after_ticks: 0 };
        self.give(Input::Started { attempt, at, process });
        if ends {
            self.end(attempt, Ok(()));
        }
    }

    /// A process is asked to stop.
    pub(super) fn signal(&mut self, attempt: AttemptId) {
        self.end(attempt, Err(TERMINATED));
    }

    pub(super) fn follow(&mut self, direction: Direction) {
        match (direction, &mut self.directions) {
            (Direction::End(attempt), _) if self.core.is_live(attempt) => self.end(attempt, Ok(())),
            (Direction::End(attempt), Some(directions)) => {
                directions.early.insert(attempt);
            }
            (Direction::Become(facts), Some(directions)) => {
                directions.facts = Arc::clone(&facts);
                self.wanted.push(Output::Hello(Hello { facts, ended: Vec::new() }));
            }
            (_, None) => {}
        }
    }

    fn end(&mut self, attempt: AttemptId, how: Result<(), i32>) {
        let at = self
            .directions
            .as_ref()
            .map_or_else(allot_shell::clock::now, |directions| directions.clock.now());
        let exit = Exit {
            at,
            exit_code: how.is_ok().then_some(0),
            signal: how.err(),
            cpu_us: 0,
            peak_mem_bytes: 0,
            has_output: false,
        };
        self.give(Input::Exited { attempt, exit });
    }

    /// The hello as the agent is now.
    pub(super) fn introduced(&self, hello: Hello) -> Hello {
        match &self.directions {
            Some(directions) => Hello { facts: Arc::clone(&directions.facts), ..hello },
            None => hello,
        }
    }
}
