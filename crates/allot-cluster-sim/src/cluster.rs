//! The cluster: every process, the bus between them, and what happens next.

use std::collections::BTreeMap;

use allot_model::{AgentId, AgentOrder, AttemptId, AttemptRun, Span, Time};
use smallvec::{SmallVec, smallvec};

use crate::checks::chronicle::Chronicle;
use crate::checks::effects::Effects;
use crate::checks::processes::Processes;
use crate::checks::{Broken, Check, Promise};
use crate::clock::{Clock, START};
use crate::dice::Dice;
use crate::digest::Digest;
use crate::event::{Agenda, Event};
use crate::machine::{Machine, STRANGERS};
use crate::marks::{Mark, Marks};
use crate::message::{Message, NodeId, Party, To};
use crate::options::{HOUR, Options};
use crate::process::{Act, Ending, Heard, Process, Role, name_of};
use crate::snapshots::Kept;
use crate::streams::{Inbox, Lease, Ledger};
use crate::writer::Rebuilt;

/// After every so many events a process is asked whether its parts agree: it takes as long as all else together.
const SANITY_EVERY: u64 = 8;
/// How long a service takes at most that is slow to read on in the ledger.
const SLOW_READ: Span = Span::from_secs(10);

/// Where a process runs.
pub(crate) struct Node {
    pub(crate) role: Role,
    pub(crate) life: u64,
    pub(crate) process: Option<Box<dyn Process>>,
    pub(crate) clock: Clock,
    /// Until when nothing leaves it, and nothing reaches it.
    pub(crate) cut: [Time; 2],
    /// Until when it does not read on in the ledger.
    slow_until: Time,
    /// What it wants to be woken for, and the number of that agreement.
    wake: (Option<Time>, u64),
    /// True where it is going to read on.
    reading: bool,
    /// True where it is to be killed among its next effects.
    pub(crate) doomed: bool,
    /// Where nobody starts it again.
    pub(crate) retired: bool,
    /// When the last message from each node arrives, so that none overtakes it.
    pub(crate) last_from: Vec<Time>,
}

/// Who writes down what happens, where anyone does.
pub(crate) type Scribe<'a> = &'a mut dyn FnMut(&str);

/// The world.
pub(crate) struct Cluster<'a> {
    pub(crate) options: Options,
    pub(crate) now: Time,
    agenda: Agenda,
    pub(crate) steps: u64,
    /// For the bus, for faults, and for all else.
    pub(crate) net: Dice,
    pub(crate) fate: Dice,
    pub(crate) dice: Dice,
    pub(crate) nodes: Vec<Node>,
    pub(crate) agents: BTreeMap<AgentId, NodeId>,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) processes_started: u64,
    pub(crate) ledger: Ledger,
    pub(crate) rebuilt: Rebuilt,
    pub(crate) inbox: Inbox,
    /// The newest first.
    pub(crate) snapshots: Vec<Kept>,
    pub(crate) leases: BTreeMap<Role, Lease>,
    pub(crate) healed: bool,
    /// Until when nobody reaches the bus.
    pub(crate) outage_until: Time,
    pub(crate) chronicle: Chronicle,
    pub(crate) processes: Processes,
    pub(crate) effects: Effects,
    pub(crate) marks: Marks,
    pub(crate) digest: Digest,
    pub(crate) broken: Option<Broken>,
    /// Empty, and has room for what processes want.
    acts: Vec<Act>,
    scribe: Option<Scribe<'a>>,
}

impl<'a> Cluster<'a> {
    /// A cluster in which nothing runs yet.
    pub(crate) fn new(options: Options, scribe: Option<Scribe<'a>>) -> Self {
        let mut dice = Dice::new(options.seed ^ 0x5EED);
        let preempt = options.preempt;
        let mut cluster = Self {
            options,
            now: START,
            agenda: Agenda::default(),
            steps: 0,
            net: dice.fork(),
            fate: dice.fork(),
            dice,
            nodes: Vec::new(),
            agents: BTreeMap::new(),
            machines: BTreeMap::new(),
            processes_started: 0,
            ledger: Ledger::default(),
            rebuilt: Rebuilt::default(),
            inbox: Inbox::default(),
            snapshots: Vec::new(),
            leases: BTreeMap::new(),
            healed: false,
            outage_until: Time::ZERO,
            chronicle: Chronicle::of(preempt),
            processes: Processes::default(),
            effects: Effects::default(),
            marks: Marks::default(),
            digest: Digest::new(),
            broken: None,
            acts: Vec::new(),
            scribe,
        };
        cluster.build();
        cluster
    }

    pub(crate) fn add_node(&mut self, role: Role) -> NodeId {
        self.nodes.push(Node {
            role,
            life: 0,
            process: None,
            clock: Clock::drawn(&mut self.dice, allot_model::Span::ZERO),
            cut: [Time::ZERO; 2],
            slow_until: Time::ZERO,
            wake: (None, 0),
            reading: false,
            doomed: false,
            retired: false,
            last_from: Vec::new(),
        });
        NodeId(self.nodes.len() - 1)
    }

    pub(crate) fn plan(&mut self, at: Time, event: Event) {
        self.agenda.plan(at, event);
    }

    /// Writes down, where anyone reads it.
    pub(crate) fn write(&mut self, text: impl FnOnce() -> String) {
        if let Some(scribe) = &mut self.scribe {
            let passed = self.now.since(START);
            scribe(&format!("{:>12.6} {}", passed.as_secs_f64(), text()));
        }
    }

    /// Writes down what concerns a node.
    pub(crate) fn write_of(&mut self, node: NodeId, text: impl FnOnce() -> String) {
        let role = self.nodes[node.0].role;
        self.write(|| format!("{:<14} {}", name_of(role, node), text()));
    }

    /// Notes what a check says. The first thing that is broken counts.
    pub(crate) fn check(&mut self, check: Check) {
        if let Err(broken) = check
            && self.broken.is_none()
        {
            self.write(|| broken.to_string());
            self.broken = Some(broken);
        }
    }

    /// Lets the next thing happen; false where nothing is going to.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, event)) = self.agenda.next() else { return false };
        self.now = self.now.max(at);
        self.steps += 1;
        self.digest.mix(self.now.as_micros());
        match event {
            Event::Tell(to, heard) => self.tell(to, heard),
            Event::Wake(who, number) => self.on_wake(who, number),
            Event::Read(who) => self.on_read(who),
            Event::Append { from, number, expected, payload } => {
                self.on_append(from, number, expected, &payload)
            }
            Event::Look { from, number, expected, payload } => self.on_look(from, number, expected, &payload),
            Event::Lease { from, written } => self.on_lease(from, written),
            Event::Save { from, head, bytes } => self.on_save(from, &head, &bytes),
            Event::Trim(needed) => self.on_trim(needed),
            Event::Publish { from, number, publication } => self.on_publish(from, number, &publication),
            Event::Boot(node) => self.boot(node),
            Event::Disk(who) => self.on_disk(who),
            Event::Process { node, attempt, number, deed } => self.on_process(node, attempt, number, deed),
            Event::Stranger { node, facts } => self.on_stranger(node, facts),
            Event::Fault(fault) => self.on_fault(fault),
            Event::Outage => self.begin_outage(),
            Event::Compare => self.compare(),
            Event::Heal => self.heal(),
            Event::Revive => self.revive(),
        }
        true
    }

    pub(crate) fn party(&self, node: NodeId) -> Party {
        Party { node, life: self.nodes[node.0].life }
    }

    pub(crate) fn is_alive(&self, who: Party) -> bool {
        let node = &self.nodes[who.node.0];
        node.life == who.life && node.process.is_some()
    }

    fn local(&self, node: NodeId) -> Time {
        self.nodes[node.0].clock.at(self.now)
    }

    /// Tells a process, if it still lives.
    pub(crate) fn tell(&mut self, to: Party, heard: Heard) {
        if !self.is_alive(to) {
            if matches!(heard, Heard::Appended { result: Ok(_), .. }) {
                self.marks.see(Mark::AcknowledgedToTheDead);
            }
            return;
        }
        if self.is_of_no_life(&heard) {
            return;
        }
        self.write_of(to.node, || format!("hears {heard:?}"));
        self.before_telling(to, &heard);
        self.run(to.node, |process, now, acts| process.hear(now, heard, acts));
    }

    /// True for the hello of a life that never joined and is over. Nobody could tell that it is late: what is promised
    /// of restarts supposes that none outlives a restart of its machine. A stranger is no such life.
    fn is_of_no_life(&self, heard: &Heard) -> bool {
        let Heard::Message(_, message) = heard else { return false };
        let Message::Hello(hello) = &**message else { return false };
        let (id, incarnation) = (&hello.facts.id, hello.facts.incarnation);
        let machine = self.agents.get(id).and_then(|node| self.machines.get(node));
        let is_over = machine.is_some_and(|machine| machine.facts.incarnation != incarnation);
        let joined =
            self.chronicle.agents.get(id).is_some_and(|line| line.incarnations.contains(&incarnation));
        is_over && !joined && incarnation.0 <= STRANGERS
    }

    /// Lets a process do something, and does what it wants done.
    pub(crate) fn run(&mut self, node: NodeId, work: impl FnOnce(&mut dyn Process, Time, &mut Vec<Act>)) {
        let now = self.local(node);
        let Some(mut process) = self.nodes[node.0].process.take() else { return };
        let mut acts = std::mem::take(&mut self.acts);
        work(process.as_mut(), now, &mut acts);
        if self.steps.is_multiple_of(SANITY_EVERY) {
            process.sanity_check();
        }
        self.nodes[node.0].process = Some(process);
        self.digest.mix((node.0 as u64) << 32 | acts.len() as u64);
        self.carry_out(node, &mut acts);
        acts.clear();
        self.acts = acts;
        self.agree(node);
    }

    fn carry_out(&mut self, node: NodeId, acts: &mut Vec<Act>) {
        let party = self.party(node);
        let effects = acts.iter().filter(|act| !matches!(act, Act::Saw(_))).count();
        let dies = effects > 1 && std::mem::take(&mut self.nodes[node.0].doomed);
        if dies {
            let done = self.fate.count(1, acts.len() - 1);
            acts.truncate(done);
        }
        for act in acts.drain(..) {
            self.carry_out_one(party, act);
            if !self.is_alive(party) {
                return;
            }
        }
        if dies {
            self.marks.see(Mark::CrashAmongEffects);
            self.crash(node);
        }
    }

    fn carry_out_one(&mut self, from: Party, act: Act) {
        if !matches!(act, Act::Saw(_)) {
            self.write_of(from.node, || format!("wants {act:?}"));
        }
        match act {
            Act::Send(to, message) => self.send(from, &to, message),
            Act::Append { number, expected, payload } => {
                self.reach_bus(from, Event::Append { from, number, expected, payload });
            }
            Act::Look { number, expected, payload } => {
                self.reach_bus(from, Event::Look { from, number, expected, payload });
            }
            Act::Lease { expected, holds } => {
                self.reach_bus(from, Event::Lease { from, written: Some((expected, holds)) });
            }
            Act::Save { head, bytes } => self.reach_bus(from, Event::Save { from, head, bytes }),
            Act::LookAtLease => self.reach_bus(from, Event::Lease { from, written: None }),
            Act::Publish { number, publication } => {
                self.reach_bus(from, Event::Publish { from, number, publication })
            }
            Act::Journal(entries) => self.journal(from, entries),
            Act::Rewrite(entry) => {
                self.marks.see(Mark::JournalRewritten);
                if let Some(machine) = self.machines.get_mut(&from.node) {
                    machine.journal = vec![*entry];
                }
            }
            Act::Spawn(attempt, launch) => self.spawn(from.node, attempt, &launch),
            Act::Signal(attempt, signal) => self.signal(from.node, attempt, signal),
            Act::TakeBack(attempts) => self.take_back(from, &attempts),
            Act::End(ending) => self.end(from.node, ending),
            Act::Saw(mark) => self.marks.see(mark),
        }
    }

    /// A process ends by itself; whoever watches over it starts it again.
    fn end(&mut self, node: NodeId, ending: Ending) {
        self.write_of(node, || format!("ends: {ending:?}"));
        self.crash(node);
    }

    /// Agrees on when a process is woken, and on whether it reads on.
    pub(crate) fn agree(&mut self, id: NodeId) {
        let party = self.party(id);
        let node = &self.nodes[id.0];
        let Some(process) = &node.process else { return };
        let wanted = process.next_wake();
        let behind = process.reads_ledger().is_some_and(|next| next <= self.ledger.end())
            || process.reads_inbox().is_some_and(|next| next <= self.inbox.end());
        let reads = behind && !node.reading;
        if wanted != node.wake.0 {
            let clock = node.clock;
            let node = &mut self.nodes[id.0];
            node.wake = (wanted, node.wake.1 + 1);
            let number = node.wake.1;
            if let Some(at) = wanted {
                // What else is there comes first, as in the drivers.
                let pause = allot_model::Span::from_micros(self.net.between(1, 200));
                let at = clock.when(at.max(clock.at(self.now)));
                self.plan(at.max(self.now) + pause, Event::Wake(party, number));
            }
        }
        if reads {
            self.nodes[id.0].reading = true;
            let at = self.now + self.hop();
            self.plan(at, Event::Read(party));
        }
    }

    fn on_wake(&mut self, who: Party, number: u64) {
        if !self.is_alive(who) || self.nodes[who.node.0].wake.1 != number {
            return;
        }
        self.nodes[who.node.0].wake.0 = None;
        self.run(who.node, |process, now, acts| process.wake(now, acts));
    }

    /// All that read are told that there is more.
    pub(crate) fn more_to_read(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].role.is_writer() {
                self.agree(NodeId(node));
            }
        }
    }

    /// A process reads on, as long as its link lets it.
    fn on_read(&mut self, who: Party) {
        if !self.is_alive(who) {
            return;
        }
        let id = who.node;
        let cut = self.nodes[id.0].cut;
        if let Some(until) = cut.into_iter().filter(|until| *until > self.now).max() {
            let at = until + self.hop();
            return self.plan(at, Event::Read(who));
        }
        if !self.healed && self.net.chance(self.options.lag) {
            self.nodes[id.0].slow_until = self.now + self.net.span(Span::from_millis(1), SLOW_READ);
        }
        let slow_until = self.nodes[id.0].slow_until;
        if !self.healed && slow_until > self.now {
            return self.plan(slow_until, Event::Read(who));
        }
        for _ in 0..16 {
            let from = self.nodes[id.0].process.as_ref().and_then(|process| process.reads_ledger());
            let Some(next) = from.and_then(|from| self.ledger.read(from).cloned()) else { break };
            self.tell(who, Heard::Ledger(next));
            if !self.is_alive(who) {
                return;
            }
        }
        for _ in 0..16 {
            let from = self.nodes[id.0].process.as_ref().and_then(|process| process.reads_inbox());
            let Some(next) = from.and_then(|from| self.inbox.read(from).cloned()) else { break };
            self.tell(who, Heard::Submission(next));
            if !self.is_alive(who) {
                return;
            }
        }
        self.nodes[id.0].reading = false;
        self.agree(id);
    }

    /// A process begins.
    pub(crate) fn boot(&mut self, id: NodeId) {
        if self.nodes[id.0].process.is_some() || self.nodes[id.0].retired {
            return;
        }
        let jumps = self.fate.chance(self.options.jumps);
        let skew = if jumps { HOUR } else { self.options.skew };
        if jumps {
            self.marks.see(Mark::ClockJumped);
        }
        let clock = Clock::drawn(&mut self.fate, skew);
        let node = &mut self.nodes[id.0];
        node.life += 1;
        (node.clock, node.wake, node.reading, node.doomed) = (clock, (None, node.wake.1), false, false);
        self.write_of(id, || "begins".to_owned());
        let process = self.process(id);
        self.nodes[id.0].process = Some(process);
        self.run(id, |process, now, acts| process.boot(now, acts));
        if self.nodes[id.0].role.is_writer() && self.options.lag > 0 && !self.healed && self.net.chance(500) {
            self.slow_down_others(id);
        }
    }

    /// The other instances of a service are slow to notice that there is a new one.
    fn slow_down_others(&mut self, new: NodeId) {
        let (role, until) =
            (self.nodes[new.0].role, self.now + self.net.span(Span::from_millis(100), SLOW_READ));
        let others = self.nodes.iter_mut().enumerate().filter(|(id, node)| *id != new.0 && node.role == role);
        others.for_each(|(_, node)| node.slow_until = node.slow_until.max(until));
    }

    /// A process ends, whatever it was doing.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let Some(process) = self.nodes[id.0].process.take() else { return };
        self.write_of(id, || "is no more".to_owned());
        process.sanity_check();
        let now = self.local(id);
        let compared = process.compare(&self.ledger, &mut self.rebuilt, now);
        self.check(compared.map_err(|how| Broken { promise: Promise::ReplayEqualsLife, how }));
        self.after_crash(id);
    }

    /// While nobody reaches the bus there is nothing new to compare with.
    fn compare(&mut self) {
        if self.is_in_an_outage() {
            return;
        }
        let now = self.now;
        let Self { nodes, ledger, rebuilt, .. } = self;
        let differences: Vec<String> = nodes
            .iter()
            .filter_map(|node| node.process.as_ref()?.compare(ledger, rebuilt, now).err())
            .collect();
        for how in differences {
            self.check(Err(Broken { promise: Promise::ReplayEqualsLife, how }));
        }
    }

    /// The processes to which a subject goes.
    pub(crate) fn listeners(&self, to: &To) -> SmallVec<[Party; 4]> {
        let all = |is_meant: fn(Role) -> bool| {
            let nodes = self.nodes.iter().enumerate();
            let there = nodes.filter(|(_, node)| is_meant(node.role) && node.process.is_some());
            there.map(|(id, node)| Party { node: NodeId(id), life: node.life }).collect()
        };
        match to {
            To::Party(party) => smallvec![*party],
            To::Agent(agent) => self.agents.get(agent).map(|node| self.party(*node)).into_iter().collect(),
            To::Registries => all(|role| role == Role::Registry),
            To::Offers => all(|role| role == Role::Offers),
            To::Dispatchers => all(|role| role == Role::Dispatcher),
            To::Allocators => all(|role| matches!(role, Role::Allocator | Role::Adversary)),
        }
    }

    /// Looks at what a process is about to be told.
    fn before_telling(&mut self, to: Party, heard: &Heard) {
        let Heard::Message(_, message) = heard else { return };
        match &**message {
            Message::Welcome(welcome) => {
                let Some(facts) = self.machines.get(&to.node).map(|machine| &machine.facts) else { return };
                let check = self.effects.welcomed(&facts.id, facts.incarnation, welcome, &self.chronicle);
                self.check(check);
            }
            Message::Orders(batch) => {
                let launched = batch.orders.iter().filter_map(|order| match order {
                    AgentOrder::Launch(launch) => Some(launch.run),
                    _ => None,
                });
                if launched.flat_map(AttemptRun::attempts).any(|attempt| self.processes.knows(attempt)) {
                    self.marks.see(Mark::LaunchTwice);
                }
            }
            Message::Reports(batch) => {
                let away = self.chronicle.agents.get(&batch.agent).is_some_and(|agent| agent.away);
                if away {
                    self.marks.see(Mark::ReportAfterUnreachable);
                }
            }
            _ => {}
        }
    }

    /// All that an agent may have begun is over.
    pub(crate) fn all_over(&mut self, attempts: Vec<AttemptId>) {
        attempts.into_iter().for_each(|attempt| self.processes.over(attempt, None));
    }
}
