//! What happens on the machines of agents.

use std::sync::Arc;

use allot_agent_core::{JournalEntry, Signal};
use allot_model::{AgentFacts, AttemptId, Hello, Incarnation, Launch, Span, TaskState};

use crate::cluster::Cluster;
use crate::event::{Deed, Event};
use crate::machine::{Plan, Running, STRANGERS};
use crate::marks::Mark;
use crate::message::{Message, NodeId, Party, To};
use crate::process::Heard;

impl Cluster<'_> {
    /// The agent's process writes to its journal.
    pub(crate) fn journal(&mut self, from: Party, entries: Vec<JournalEntry>) {
        let Some(machine) = self.machines.get_mut(&from.node) else { return };
        machine.writing = Some(entries);
        let slow = machine.slow;
        let at = self.now + self.dice.span(Span::from_micros(5), slow);
        self.plan(at, Event::Disk(from));
    }

    pub(crate) fn on_disk(&mut self, who: Party) {
        if !self.is_alive(who) {
            return;
        }
        let Some(machine) = self.machines.get_mut(&who.node) else { return };
        if machine.full_until > self.now {
            self.marks.see(Mark::DiskFull);
            let at = machine.full_until;
            return self.plan(at, Event::Disk(who));
        }
        let entries = machine.writing.take().unwrap_or_default();
        machine.written(entries);
        self.tell(who, Heard::Written);
    }

    pub(crate) fn spawn(&mut self, node: NodeId, attempt: AttemptId, launch: &Launch) {
        self.processes_started += 1;
        let number = self.processes_started;
        let plan = Plan::of(self.options.seed, attempt, &launch.spec);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.running.insert(attempt, Running { number, plan, since: None });
        let agent = machine.facts.id.clone();
        let check = self.processes.spawned(&agent, attempt, &self.chronicle, &mut self.marks);
        self.check(check);
        self.plan(self.now + plan.starts_after, Event::Process { node, attempt, number, deed: Deed::Start });
    }

    pub(crate) fn signal(&mut self, node: NodeId, attempt: AttemptId, signal: Signal) {
        let Some(machine) = self.machines.get(&node) else { return };
        let Some(running) = machine.running.get(&attempt) else { return };
        let (number, plan) = (running.number, running.plan);
        let ran_for = running.since.map_or(Span::ZERO, |since| self.now.since(since));
        let check = self.processes.signalled(attempt, ran_for, machine.stopping, &self.chronicle);
        self.check(check);
        let end = |signal| Deed::End { exit_code: None, signal: Some(signal) };
        let (after, deed) = match signal {
            Signal::Terminate => (plan.ends_when_asked, end(15)),
            Signal::Kill => (Some(Span::from_millis(1)), end(9)),
        };
        if let Some(after) = after {
            self.plan(self.now + after, Event::Process { node, attempt, number, deed });
        }
    }

    /// An agent goes on with what an earlier process of it began. How those ended that ended meanwhile is not known.
    pub(crate) fn take_back(&mut self, agent: Party, attempts: &[AttemptId]) {
        let Some(machine) = self.machines.get_mut(&agent.node) else { return };
        let gone: Vec<AttemptId> =
            machine.running.keys().filter(|attempt| !attempts.contains(attempt)).copied().collect();
        machine.running.retain(|attempt, _| attempts.contains(attempt));
        let found: Vec<Heard> = attempts.iter().filter_map(|attempt| machine.found(*attempt)).collect();
        self.all_over(gone);
        for heard in found {
            self.marks.see(Mark::TakenBack);
            self.tell(agent, heard);
        }
    }

    pub(crate) fn on_process(&mut self, node: NodeId, attempt: AttemptId, number: u64, deed: Deed) {
        let agent = self.party(node);
        if deed == Deed::Stored {
            return self.tell(agent, Heard::OutputStored { attempt });
        }
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(running) = machine.running.get_mut(&attempt).filter(|running| running.number == number)
        else {
            return;
        };
        let plan = running.plan;
        match deed {
            Deed::Start if plan.starts => {
                running.since = Some(now);
                let process = running.process();
                let deed = Deed::End { exit_code: Some(plan.exit_code), signal: None };
                self.plan(now + plan.runs, Event::Process { node, attempt, number, deed });
                self.tell(agent, Heard::Started { attempt, process });
            }
            Deed::Start => {
                machine.running.remove(&attempt);
                self.processes.over(attempt, None);
                self.tell(agent, Heard::NotStarted { attempt });
            }
            Deed::End { exit_code, signal } => {
                machine.running.remove(&attempt);
                if signal == Some(9) {
                    self.marks.see(Mark::KilledHard);
                }
                let state = if exit_code == Some(0) { TaskState::Finished } else { TaskState::Failed };
                let heard = exit_code.is_some() && self.is_alive(agent);
                self.processes.over(attempt, heard.then_some(state));
                if self.is_in_an_outage() {
                    self.marks.see(Mark::EndedInOutage);
                }
                let has_output = plan.has_output;
                self.tell(agent, Heard::Exited { attempt, exit_code, signal, has_output });
                if let Some(after) = plan.stored_after.filter(|_| has_output) {
                    self.plan(now + after, Event::Process { node, attempt, number, deed: Deed::Stored });
                }
            }
            Deed::Stored => {}
        }
    }

    /// The agent's process was killed: the machine goes on.
    pub(crate) fn agent_killed(&mut self, node: NodeId) {
        let Some(machine) = self.machines.get_mut(&node) else { return };
        machine.stopping = false;
        if !machine.running.is_empty() {
            self.marks.see(Mark::AgentKilledAtWork);
        }
        // A part of what it was writing may be there; a line that was torn is dropped.
        if let Some(mut entries) = machine.writing.take()
            && machine.full_until <= self.now
        {
            self.marks.see(Mark::JournalTorn);
            entries.truncate(self.fate.count(0, entries.len()));
            machine.written(entries);
        }
    }

    /// The machine restarts, and with it a new life of the agent begins.
    pub(crate) fn restart_machine(&mut self, node: NodeId) {
        self.crash(node);
        let incarnation = Incarnation(self.fate.between(1, STRANGERS));
        let has_new_disk = self.fate.chance(300);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let gone = machine.restart(incarnation, has_new_disk);
        self.all_over(gone);
    }

    /// Somebody says to be the agent of this machine, and goes on to for a while.
    pub(crate) fn meet_stranger(&mut self, node: NodeId) {
        let incarnation = Incarnation(self.fate.between(STRANGERS + 1, u64::MAX));
        let Some(machine) = self.machines.get(&node) else { return };
        let facts = Arc::new(AgentFacts { incarnation, ..(*machine.facts).clone() });
        let times = self.fate.between(1, 40);
        for time in 0..times {
            let at = self.now + Span::from_secs(1).times(time);
            self.plan(at, Event::Stranger { node, facts: facts.clone() });
        }
    }

    /// A stranger is on another machine, that is not cut off; what the registry answers is of no interest.
    pub(crate) fn on_stranger(&mut self, node: NodeId, facts: Arc<AgentFacts>) {
        if self.healed {
            return;
        }
        let nobody = Party { node, life: u64::MAX };
        let hello = Arc::new(Message::Hello(Hello { facts, ended: Vec::new() }));
        for registry in self.listeners(&To::Registries) {
            let at = self.now + self.hop();
            self.plan(at, Event::Tell(registry, Heard::Message(nobody, hello.clone())));
        }
    }
}
