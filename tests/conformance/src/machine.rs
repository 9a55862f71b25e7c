//! A machine: an agent, and the processes that it started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allot_agent_core::{AgentCore, Exit, Input, Output, ProcessId, Settings, Signal};
use allot_model::{AgentFacts, AttemptId, Incarnation, Span, Time};

/// A machine with one agent.
pub struct Machine {
    /// The agent.
    pub core: AgentCore,
    /// What services send to it arrives.
    pub hears: bool,
    /// What it says arrives.
    pub is_heard: bool,
    /// Processes start as soon as they are asked for.
    pub starts: bool,
    /// The report batches it sent: when, and their numbers.
    pub reports: Vec<(Time, u64)>,
    /// How often each attempt was asked to be started.
    pub spawned: BTreeMap<AttemptId, u32>,
    /// Attempts whose process runs.
    pub running: BTreeSet<AttemptId>,
    /// Attempts whose process is yet to start.
    starting: BTreeSet<AttemptId>,
}

impl Machine {
    pub(crate) fn new(facts: Arc<AgentFacts>, ended: Vec<Incarnation>) -> Self {
        let settings = Settings { noop: false, output_wait: Span::from_secs(2) };
        Self {
            core: AgentCore::new(facts, settings).after(ended),
            hears: true,
            is_heard: true,
            starts: true,
            reports: Vec::new(),
            spawned: BTreeMap::new(),
            running: BTreeSet::new(),
            starting: BTreeSet::new(),
        }
    }

    /// Does what the agent wants done, and returns what comes of it.
    pub(crate) fn carry_out(&mut self, now: Time, output: Output) -> Vec<Input> {
        match output {
            Output::Spawn { attempt, .. } => {
                *self.spawned.entry(attempt).or_default() += 1;
                self.starting.insert(attempt);
                if self.starts { self.start_all(now) } else { Vec::new() }
            }
            Output::Signal { attempt, signal } => {
                let number = if signal == Signal::Kill { 9 } else { 15 };
                vec![self.exit(now, attempt, None, Some(number))]
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn start_all(&mut self, now: Time) -> Vec<Input> {
        let starting = std::mem::take(&mut self.starting);
        self.running.extend(starting.iter().copied());
        let process = ProcessId { pid: 7, not_before_ticks: 1, not_after_ticks: 2 };
        starting.into_iter().map(|attempt| Input::Started { attempt, at: now, process }).collect()
    }

    pub(crate) fn exit(
        &mut self,
        now: Time,
        attempt: AttemptId,
        exit_code: Option<i32>,
        signal: Option<i32>,
    ) -> Input {
        assert!(self.running.remove(&attempt), "{attempt} does not run");
        let exit = Exit { at: now, exit_code, signal, cpu_us: 0, peak_mem_bytes: 0, has_output: false };
        Input::Exited { attempt, exit }
    }
}
