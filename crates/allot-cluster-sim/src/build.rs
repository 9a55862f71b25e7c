//! What there is when a run begins.

use allot_dispatcher_core as dispatcher;
use allot_engine::Policy;
use allot_model::{
    AgentFacts, AgentId, Amount, Incarnation, PolicyName, Preempt, PreemptCause, PreemptRules, Ranges,
    Resources, Span,
};
use allot_offers_core as offers;
use allot_registry_core as registry;

use crate::adversary::{Adversary, CHAOS};
use crate::agent::AgentProcess;
use crate::allocator::Allocator;
use crate::candidacy::Candidacy;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::event::{Event, Fault};
use crate::machine::{Machine, STRANGERS};
use crate::message::{NodeId, Party};
use crate::process::{Process, Role};
use crate::services::{Dispatcher, Offers, Registry, Service};
use crate::user::{User, resource};
use crate::writer::Instance;

/// The policies that allocators run, in turn.
const POLICIES: [&str; 6] = ["fifo", "fair", "drf", "priority", "shortest", "usage"];

/// How often services are compared with the ledger.
const COMPARE_EVERY: Span = Span::from_secs(45);

impl Cluster<'_> {
    /// Adds all nodes and plans their beginnings, and what is to break.
    pub(crate) fn build(&mut self) {
        let [registries, offers, dispatchers] = self.options.instances;
        let roles = [
            (Role::Registry, registries),
            (Role::Offers, offers),
            (Role::Dispatcher, dispatchers),
            (Role::Allocator, self.options.allocators),
            (Role::Adversary, self.options.adversaries),
            (Role::Agent, self.options.agents),
            (Role::User, 1),
        ];
        for (role, count) in roles {
            for number in 0..count {
                let node = self.add_node(role);
                if role == Role::Agent {
                    let facts = facts(&mut self.dice, number);
                    self.agents.insert(facts.id.clone(), node);
                    self.machines.insert(node, Machine::new(facts));
                }
                let at = self.now + self.dice.span(Span::from_millis(1), Span::from_secs(2));
                self.plan(at, Event::Boot(node));
            }
        }
        let end = self.now + self.options.until_healed();
        self.plan(end, Event::Heal);
        if self.options.outage.is_some() {
            let at = self.now + self.fate.span(Span::from_secs(10), self.options.safety);
            self.plan(at, Event::Outage);
        }
        for fault in [Fault::Cut, Fault::Crash, Fault::Agent, Fault::Disk] {
            self.plan_fault(fault);
        }
        let mut at = self.now + COMPARE_EVERY;
        while at < end {
            self.plan(at, Event::Compare);
            at = at + COMPARE_EVERY;
        }
    }

    /// The process of a node as it begins.
    pub(crate) fn process(&mut self, node: NodeId) -> Box<dyn Process> {
        let (me, role) = (self.party(node), self.nodes[node.0].role);
        let lease = self.leases.get(&role).copied().unwrap_or_default().at(self.now);
        let shown = self.nodes[node.0].clock.at(self.now);
        let candidacy = self.options.leases.then(|| Candidacy::new(me, shown, lease));
        match role {
            Role::Registry => {
                let agent_timeout = self.options.agent_timeout;
                let options = registry::Options { agent_timeout, beat_every: Span::from_secs(1) };
                self.instance::<Registry>(me, options, candidacy)
            }
            Role::Offers => {
                let (offer_ttl, preempt) = (Span::from_secs(4), self.options.preempt);
                let options = offers::Options { offer_ttl, preempt, ..offers::Options::default() };
                self.instance::<Offers>(me, options, candidacy)
            }
            Role::Dispatcher => self.instance::<Dispatcher>(me, dispatcher::Options::default(), candidacy),
            Role::Allocator => Box::new(Allocator::new(me, policy_of(node, self.options.wanted))),
            Role::Adversary => Box::new(Adversary::new(me, self.dice.fork())),
            Role::User => {
                let agents = self.agents.keys().cloned().collect();
                let allocators = (0..self.nodes.len()).filter(|id| self.nodes[*id].role == Role::Allocator);
                let mut policies: Vec<PolicyName> =
                    allocators.map(|id| policy_of(NodeId(id), Preempt::None).name).collect();
                policies.extend(PolicyName::new(CHAOS));
                let now = self.nodes[node.0].clock.at(self.now);
                Box::new(User::new(self.dice.fork(), &self.options, agents, policies, now))
            }
            Role::Agent => self.agent(node),
        }
    }

    fn instance<S: Service + 'static>(
        &mut self,
        me: Party,
        options: S::Options,
        candidacy: Option<Candidacy>,
    ) -> Box<dyn Process> {
        let now = self.nodes[me.node.0].clock.at(self.now);
        let restored = self.restore::<S>(now, &options);
        let snapshots = self.options.snapshots;
        Box::new(Instance::<S>::new(me, options, restored, self.ledger.end(), candidacy, snapshots))
    }

    fn agent(&mut self, node: NodeId) -> Box<dyn Process> {
        let Some(machine) = self.machines.get_mut(&node) else { unreachable!("every agent has a machine") };
        let (facts, ended, journal) = (machine.facts.clone(), machine.ended.clone(), machine.journal.clone());
        machine.stopping = false;
        Box::new(AgentProcess::new(facts, ended, journal))
    }
}

/// The policy of an allocator, which has tasks stopped for this where priorities count, and else for guarantees alone.
fn policy_of(node: NodeId, wanted: Preempt) -> Policy {
    let name = POLICIES.get(node.0 % POLICIES.len()).unwrap_or(&"fifo");
    let policy = Policy::named(name).expect("a policy of the engine");
    let preempting = |preempt: Preempt| {
        let preempt = PreemptRules { preempt, ..policy.preempt };
        Policy { preempt, ..policy.clone() }.checked()
    };
    let guarantee = if wanted.is_for(PreemptCause::Guarantee) { Preempt::Guarantee } else { Preempt::None };
    preempting(wanted).or_else(|_| preempting(guarantee)).expect("no policy minds guarantees")
}

/// The first agent has enough of everything for every job; others have less.
fn facts(dice: &mut Dice, number: usize) -> AgentFacts {
    let first = number == 0;
    let mut resources = Resources::new();
    let cpus = if first { 8_000 } else { 500 * dice.between(1, 16) };
    resources.set(resource("cpus"), Amount::Scalar(cpus));
    if first || dice.chance(500) {
        resources.set(resource("mem"), Amount::Scalar(4 << 30));
    }
    if first || dice.chance(300) {
        let count = if first { 4 } else { dice.between(1, 4) };
        resources
            .set(resource("gpus"), Amount::Items((0..count).map(|i| (format!("g{i}"), 1_000)).collect()));
    }
    if first || dice.chance(300) {
        let mut ports = Ranges::new();
        let _ = ports.insert(8_000, 8_000 + if first { 19 } else { dice.between(0, 9) });
        resources.set(resource("ports"), Amount::Ranges(ports));
    }
    let id = format!("m{number}");
    let zone = if first || dice.chance(500) { "a" } else { "b" };
    AgentFacts {
        id: AgentId::new(&id).expect("a letter and a number"),
        incarnation: Incarnation(dice.between(1, STRANGERS)),
        host: id,
        resources,
        attributes: [("zone".to_owned(), zone.to_owned())].into(),
        program_version: String::new(),
    }
}
