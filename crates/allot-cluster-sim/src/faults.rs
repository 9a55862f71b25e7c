//! What breaks, and how it is made whole.

use allot_model::{Span, Time};

use crate::cluster::Cluster;
use crate::event::{Event, Fault};
use crate::message::NodeId;
use crate::process::{Heard, Role};

/// How much rarer all else is that breaks while nobody reaches the bus: that lasts for hours.
const RARER_IN_AN_OUTAGE: u64 = 60;

impl Cluster<'_> {
    /// True while nobody reaches the bus.
    pub(crate) fn is_in_an_outage(&self) -> bool {
        self.outage_until > self.now
    }

    /// The bus is away for all: nothing leaves anybody, and nothing arrives.
    pub(crate) fn begin_outage(&mut self) {
        let Some(lasts) = self.options.outage.filter(|_| !self.healed) else { return };
        self.write(|| format!("the bus is away for {lasts}"));
        self.outage_until = self.now + lasts;
        for id in (0..self.nodes.len()).map(NodeId) {
            self.nodes[id.0].cut = [self.outage_until; 2];
            if self.nodes[id.0].role == Role::Agent {
                let agent = self.party(id);
                self.plan(self.outage_until, Event::Tell(agent, Heard::Reconnected));
            }
        }
    }

    /// About how often this kind of fault happens.
    fn every(&self, fault: Fault) -> Option<Span> {
        match fault {
            Fault::Cut => self.options.cuts,
            Fault::Crash => self.options.crashes,
            Fault::Agent => self.options.agent_crashes,
            Fault::Disk => self.options.disks,
        }
    }

    /// Plans the next fault of this kind.
    pub(crate) fn plan_fault(&mut self, fault: Fault) {
        if let Some(every) = self.every(fault) {
            let every = if self.is_in_an_outage() { every.times(RARER_IN_AN_OUTAGE) } else { every };
            let at = self.now + self.fate.span(Span::from_millis(1), every.times(2));
            self.plan(at, Event::Fault(fault));
        }
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        if self.healed {
            return;
        }
        match fault {
            Fault::Cut => self.cut_some(),
            Fault::Crash => self.crash_some(),
            Fault::Agent => self.trouble_agent(),
            Fault::Disk => self.trouble_disk(),
        }
        self.plan_fault(fault);
    }

    fn some(&mut self, wanted: impl Fn(Role) -> bool) -> Option<NodeId> {
        let nodes: Vec<NodeId> =
            (0..self.nodes.len()).filter(|node| wanted(self.nodes[*node].role)).map(NodeId).collect();
        self.fate.pick(&nodes).copied()
    }

    /// A link is cut, one way or both.
    fn cut_some(&mut self) {
        let Some(node) = self.some(|_| true) else { return };
        let is_agent = self.nodes[node.0].role == Role::Agent;
        // Agents are missed only after their timeout.
        let least = if is_agent && self.fate.chance(400) {
            self.options.agent_timeout
        } else {
            Span::from_millis(20)
        };
        let until = self.now + self.fate.span(least, Span::from_secs(40));
        let ways = self.fate.below(4);
        let cut = &mut self.nodes[node.0].cut;
        if ways != 0 {
            cut[0] = cut[0].max(until);
        }
        if ways != 1 {
            cut[1] = cut[1].max(until);
        }
        let lasts = until.since(self.now);
        self.write_of(node, || format!("is cut off for {lasts}"));
        let whole = ways > 1;
        if whole && is_agent {
            if self.fate.chance(500) {
                self.meet_stranger(node);
            }
            let agent = self.party(node);
            self.plan(until, Event::Tell(agent, Heard::Reconnected));
        }
    }

    /// A process of the control plane is killed, at once or in the middle of what it does next.
    fn crash_some(&mut self) {
        let Some(node) = self.some(|role| !matches!(role, Role::Agent | Role::User)) else { return };
        // Sometimes all of them.
        if self.fate.chance(100) {
            for id in (0..self.nodes.len()).map(NodeId) {
                if !matches!(self.nodes[id.0].role, Role::Agent | Role::User) {
                    self.crash(id);
                }
            }
        } else if self.nodes[node.0].role.is_writer() && self.fate.chance(250) {
            let writer = self.party(node);
            self.tell(writer, Heard::Stop);
        } else if self.fate.chance(500) {
            self.crash(node);
        } else {
            self.nodes[node.0].doomed = true;
        }
    }

    fn trouble_agent(&mut self) {
        let Some(node) = self.some(|role| role == Role::Agent) else { return };
        match self.fate.below(10) {
            0 | 8 => self.restart_machine(node),
            1 => {
                let agent = self.party(node);
                if self.is_alive(agent) {
                    self.machines.entry(node).and_modify(|machine| machine.stopping = true);
                    self.tell(agent, Heard::Stop);
                }
            }
            9 => self.meet_stranger(node),
            2..5 => self.nodes[node.0].doomed = true,
            _ => self.crash(node),
        }
    }

    fn trouble_disk(&mut self) {
        let Some(node) = self.some(|role| role == Role::Agent) else { return };
        let full_until = self.now + self.fate.span(Span::from_millis(10), Span::from_secs(20));
        let slow = self.fate.span(Span::from_micros(10), Span::from_secs(1));
        let is_full = self.fate.chance(500);
        let Some(machine) = self.machines.get_mut(&node) else { return };
        if is_full {
            machine.full_until = full_until;
        } else {
            machine.slow = slow;
        }
    }

    /// After a process has ended: what is left of it, and when the next one begins.
    pub(crate) fn after_crash(&mut self, node: NodeId) {
        if self.nodes[node.0].role == Role::Agent {
            self.agent_killed(node);
        }
        let most = if self.healed { Span::from_secs(1) } else { Span::from_secs(20) };
        let at = self.now + self.fate.span(Span::from_millis(50), most);
        self.plan(at, Event::Boot(node));
    }

    /// Faults stop, and nobody means harm any more. Where instances do not stand by, one of each service goes on.
    pub(crate) fn heal(&mut self) {
        self.write(|| "faults stop".to_owned());
        self.healed = true;
        let mut seen = std::collections::BTreeSet::new();
        for id in (0..self.nodes.len()).map(NodeId) {
            let node = &mut self.nodes[id.0];
            (node.cut, node.doomed) = ([Time::ZERO; 2], false);
            let extra = node.role.is_writer() && !seen.insert(node.role) && !self.options.leases;
            if extra || node.role == Role::Adversary {
                node.retired = true;
                self.crash(id);
            }
            self.agree(id);
            self.plan(self.now, Event::Boot(id));
        }
        for machine in self.machines.values_mut() {
            (machine.full_until, machine.slow) = (Time::ZERO, Span::from_micros(200));
        }
        if let Some(user) = self.user() {
            let user = self.party(user);
            self.tell(user, Heard::Stop);
        }
        for seconds in [0, 20, 60] {
            self.plan(self.now + Span::from_secs(seconds), Event::Revive);
        }
    }

    /// An agent that was declared gone never comes back: its machine joins as another.
    pub(crate) fn revive(&mut self) {
        let gone: Vec<NodeId> = self
            .agents
            .iter()
            .filter(|(id, _)| self.chronicle.agents.get(*id).is_some_and(|agent| agent.gone))
            .map(|(_, node)| *node)
            .collect();
        gone.into_iter().for_each(|node| self.restart_machine(node));
    }
}
