//! An agent's process, as `allot_agent::agent` drives its core: nothing that a decision calls for is done before what
//! it notes is in the journal, and nothing is heard meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use allot_agent_core::{AgentCore, Exit, Input, JournalEntry, Output, Settings};
use allot_model::{AgentFacts, Core, Incarnation, Span, Time};

use crate::marks::Mark;
use crate::message::{Message, To};
use crate::process::{Act, Ending, Heard, Process};

/// The journal is written anew after so many entries: far fewer than in life, so that it happens.
const REWRITE_ENTRIES: usize = 400;
/// How long an agent that is to stop goes on.
const STOP_WITHIN: Span = Span::from_secs(6);

/// An agent's process.
pub(crate) struct AgentProcess {
    core: AgentCore,
    /// The journal of an earlier life, until it has been read.
    journal: Vec<JournalEntry>,
    /// What waits for the journal.
    ready: Vec<Act>,
    writing: bool,
    /// What was heard while the journal was written.
    queue: VecDeque<Heard>,
    entries: usize,
    stop_by: Option<Time>,
    wanted: Vec<Output>,
}

impl AgentProcess {
    /// An agent that finds this journal, and knows that these lives before it are over.
    pub(crate) fn new(facts: Arc<AgentFacts>, ended: Vec<Incarnation>, journal: Vec<JournalEntry>) -> Self {
        let settings = Settings { noop: true, output_wait: Span::from_secs(2) };
        Self {
            core: AgentCore::new(facts, settings).after(ended),
            entries: journal.len(),
            journal,
            ready: Vec::new(),
            writing: false,
            queue: VecDeque::new(),
            stop_by: None,
            wanted: Vec::new(),
        }
    }

    fn give(&mut self, now: Time, input: Input) {
        self.core.handle(now, input, &mut self.wanted);
    }

    fn take(&mut self, now: Time, heard: Heard, acts: &mut Vec<Act>) {
        let input = match heard {
            Heard::Message(_, message) => match Arc::unwrap_or_clone(message) {
                Message::Orders(batch) => {
                    if batch.incarnation == self.core.facts().incarnation
                        && batch.epoch < self.core.memory().epoch()
                    {
                        acts.push(Act::Saw(Mark::OrderOfTheReplaced));
                    }
                    Input::Orders(batch)
                }
                Message::Welcome(welcome) => Input::Welcome(welcome),
                _ => return,
            },
            Heard::Started { attempt, process } => Input::Started { attempt, at: now, process },
            Heard::NotStarted { attempt } => {
                Input::LaunchFailed { attempt, at: now, message: "no such program".into() }
            }
            Heard::Exited { attempt, exit_code, signal, has_output } => {
                let exit = Exit { at: now, exit_code, signal, cpu_us: 0, peak_mem_bytes: 0, has_output };
                Input::Exited { attempt, exit }
            }
            Heard::OutputStored { attempt } => Input::OutputStored { attempt },
            Heard::Reconnected => Input::Reconnected,
            Heard::Stop => {
                self.stop_by = Some(now + STOP_WITHIN);
                Input::Stop { grace: Span::from_secs(2) }
            }
            _ => return,
        };
        self.give(now, input);
    }

    /// Does what the core wants: what is to be noted first.
    fn carry_out(&mut self, now: Time, acts: &mut Vec<Act>) {
        let mut entries = Vec::new();
        for output in std::mem::take(&mut self.wanted) {
            let act = match output {
                Output::Journal(entry) => {
                    entries.push(entry);
                    continue;
                }
                Output::TakeBack { adopt, .. } => {
                    acts.push(Act::TakeBack(adopt.into_iter().map(|orphan| orphan.attempt).collect()));
                    continue;
                }
                Output::Spawn { attempt, launch } => Act::Spawn(attempt, launch),
                Output::Signal { attempt, signal } => Act::Signal(attempt, signal),
                Output::Hello(hello) => Act::Send(To::Registries, Message::Hello(hello)),
                Output::Beat(beat) => Act::Send(To::Registries, Message::Beat(beat)),
                Output::Report(batch) => Act::Send(To::Dispatchers, Message::Reports(batch)),
                Output::Refused { .. } => continue,
            };
            self.ready.push(act);
        }
        if entries.is_empty() {
            self.done(now, acts);
        } else {
            self.entries += entries.len();
            self.writing = true;
            acts.push(Act::Journal(entries));
        }
    }

    fn done(&mut self, now: Time, acts: &mut Vec<Act>) {
        acts.append(&mut self.ready);
        if self.stop_by.is_some_and(|at| at <= now || self.core.is_idle()) {
            acts.push(Act::End(Ending::Stopped));
        } else if self.entries >= REWRITE_ENTRIES {
            self.entries = 1;
            acts.push(Act::Rewrite(Box::new(JournalEntry::Snapshot(Box::new(self.core.memory().clone())))));
        }
    }
}

impl Process for AgentProcess {
    fn boot(&mut self, now: Time, acts: &mut Vec<Act>) {
        for entry in std::mem::take(&mut self.journal) {
            self.give(now, Input::Replay(entry));
        }
        self.give(now, Input::Resume);
        self.carry_out(now, acts);
    }

    fn hear(&mut self, now: Time, heard: Heard, acts: &mut Vec<Act>) {
        match heard {
            Heard::Written => {
                self.writing = false;
                self.done(now, acts);
                for heard in std::mem::take(&mut self.queue) {
                    self.take(now, heard, acts);
                }
            }
            heard if self.writing => return self.queue.push_back(heard),
            heard => self.take(now, heard, acts),
        }
        self.carry_out(now, acts);
    }

    fn wake(&mut self, now: Time, acts: &mut Vec<Act>) {
        if !self.writing {
            self.core.wake(now, &mut self.wanted);
            self.carry_out(now, acts);
        }
    }

    fn next_wake(&self) -> Option<Time> {
        let core = self.core.next_wake().map(|(at, _)| at);
        core.into_iter().chain(self.stop_by).min().filter(|_| !self.writing)
    }

    fn sanity_check(&self) {
        self.core.sanity_check();
    }

    fn at_rest(&self) -> Result<(), String> {
        if self.core.is_idle() { Ok(()) } else { Err(format!("{} is not idle", self.core.facts().id)) }
    }
}
