//! What is done to the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use allot_model::{Span, Time};
use allot_testkit::{Partition, Proxy, Side};
use allot_workload::SplitMix64;
use rustix::process::{Signal, kill_process};

use crate::parts::Parts;

/// How many nats-servers there are.
const SERVERS: usize = 3;
/// What all services together are called.
const EVERYTHING: &str = "all services";

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    kind: Kind,
    /// With which part.
    part: String,
    /// For how long.
    lasts: Span,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The program is killed; it is started again after a while. With an agent's guardian its agent dies too.
    Kill,
    /// The program is asked to end, and started again at once: it is rolled.
    Roll,
    /// The program is asked to end, and started again after a while.
    Stop,
    /// The program stands still for a while.
    Pause,
    /// Its connections are cut, and no new one works for a while.
    Cut,
    /// What it says, or what is said to it, or both, arrives only after a while.
    Hold(Said),
    /// What it says, or what is said to it, or both, is lost for a while.
    Lose(Said),
    /// An agent's process dies, its guardian does not.
    KillAgent,
    /// An agent is started anew from its program, its tasks go on.
    Replace,
    /// All services are killed at once, and started again after a while.
    KillServices,
    /// A nats-server is killed, and started again after a while.
    KillServer(usize),
    /// A nats-server stands still for a while.
    PauseServer(usize),
    /// A nats-server and its peers are parted, one way or both.
    PartServer(usize, Parted),
}

/// Whose words are concerned, as seen from the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    ByIt,
    ToIt,
    Both,
}

/// How a server and its peers are parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Parted {
    Cut,
    Mute,
    Deaf,
}

impl Said {
    const ALL: [Self; 3] = [Self::ByIt, Self::ToIt, Self::Both];

    /// Programs are the clients of the servers.
    fn side(self) -> Side {
        match self {
            Self::ByIt => Side::Client,
            Self::ToIt => Side::Server,
            Self::Both => Side::Both,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ByIt => "what it says",
            Self::ToIt => "what is said to it",
            Self::Both => "all that is said",
        }
    }
}

impl Parted {
    const ALL: [Self; 3] = [Self::Cut, Self::Mute, Self::Deaf];

    fn partition(self) -> Partition {
        match self {
            Self::Cut => Partition::Cut,
            Self::Mute => Partition::Mute,
            Self::Deaf => Partition::Deaf,
        }
    }
}

impl Kind {
    /// For services.
    fn of_service(random: &mut SplitMix64) -> Self {
        let said = one_of(random, Said::ALL);
        let kinds = [
            Self::Kill,
            Self::Kill,
            Self::Roll,
            Self::Roll,
            Self::Stop,
            Self::Pause,
            Self::Pause,
            Self::Cut,
            Self::Hold(said),
            Self::Lose(said),
        ];
        one_of(random, kinds)
    }

    /// For agents.
    fn of_agent(random: &mut SplitMix64) -> Self {
        let said = one_of(random, Said::ALL);
        let kinds = [
            Self::Kill,
            Self::KillAgent,
            Self::KillAgent,
            Self::Replace,
            Self::Roll,
            Self::Stop,
            Self::Pause,
            Self::Cut,
            Self::Hold(said),
            Self::Lose(said),
        ];
        one_of(random, kinds)
    }

    /// For nats-servers.
    fn of_server(random: &mut SplitMix64) -> Self {
        let (server, parted) = (random.below(SERVERS), one_of(random, Parted::ALL));
        let part = Self::PartServer(server, parted);
        one_of(random, [Self::KillServer(server), Self::PauseServer(server), part])
    }

    /// True where it is over as soon as it is done.
    fn is_instant(self) -> bool {
        matches!(self, Self::Roll | Self::Replace | Self::KillAgent)
    }

    fn server(self) -> Option<usize> {
        match self {
            Self::KillServer(server) | Self::PauseServer(server) | Self::PartServer(server, _) => {
                Some(server)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill | Self::KillServices | Self::KillServer(_) => f.write_str("killed"),
            Self::Roll => f.write_str("rolled"),
            Self::Stop => f.write_str("stopped"),
            Self::Pause | Self::PauseServer(_) => f.write_str("paused"),
            Self::Cut => f.write_str("cut off"),
            Self::Hold(said) => write!(f, "{} is late", said.name()),
            Self::Lose(said) => write!(f, "{} is lost", said.name()),
            Self::KillAgent => f.write_str("agent below the guardian killed"),
            Self::Replace => f.write_str("agent below the guardian replaced"),
            Self::PartServer(_, Parted::Cut) => f.write_str("parted from its peers"),
            Self::PartServer(_, Parted::Mute) => f.write_str("its peers do not hear it"),
            Self::PartServer(_, Parted::Deaf) => f.write_str("it does not hear its peers"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, part, lasts } = self;
        write!(f, "{part}: {kind}")?;
        if kind.is_instant() { Ok(()) } else { write!(f, " for {lasts}") }
    }
}

impl Fault {
    /// One for a part that nothing is wrong with. At most half of the programs have something wrong at a time, and seldom a
    /// majority of the servers.
    pub(crate) fn draw(random: &mut SplitMix64, parts: &Parts) -> Option<Self> {
        let lasts = Span::from_millis(100 + random.below(3_000) as u64);
        let names = parts.names();
        let (place, what, rare) = (random.below(names.len()), random.below(60), random.below(6) == 0);
        // Each is drawn, whether or not it is used, so that what comes after does not depend on it.
        let server = Kind::of_server(random);
        let (service, agent) = (Kind::of_service(random), Kind::of_agent(random));
        let own = names.get(place)?.clone();
        let (kind, part) = match what {
            0 => (Kind::KillServices, EVERYTHING.to_owned()),
            1..=3 => (server, format!("nats-server {}", server.server()?)),
            _ if Parts::is_agent(&own) => (agent, own),
            _ => (service, own),
        };
        let fault = Self { kind, part, lasts };
        let servers = parts.broken.iter().filter(|name| name.starts_with("nats-server")).count();
        let is_too_much = match kind {
            Kind::KillServices => false,
            _ if kind.server().is_some() => servers > 1 || servers == 1 && !rare,
            _ => (parts.broken.len() - servers) * 2 >= names.len(),
        };
        (!is_too_much && !parts.broken.contains(&fault.part)).then_some(fault)
    }

    /// What kind of thing it is, in words.
    pub(crate) fn kind_name(&self) -> String {
        match self.kind {
            kind if kind.server().is_some() => format!("nats-server {kind}"),
            Kind::KillServices => format!("{EVERYTHING} {}", self.kind),
            kind => kind.to_string(),
        }
    }

    /// The parts that something is wrong with while it lasts.
    fn parts(&self, parts: &Parts) -> BTreeSet<String> {
        match self.kind {
            Kind::KillServices => {
                parts.services().into_iter().filter(|service| !parts.broken.contains(service)).collect()
            }
            _ => [self.part.clone()].into(),
        }
    }
}

fn one_of<const N: usize, T: Copy>(random: &mut SplitMix64, choices: [T; N]) -> T {
    choices[random.below(N)]
}

/// What is wrong at the moment, and when it ends.
#[derive(Debug, Default)]
pub(crate) struct Breakage(BTreeMap<(Time, String), Mend>);

/// What is to be mended.
#[derive(Debug)]
struct Mend {
    kind: Kind,
    parts: BTreeSet<String>,
}

impl Breakage {
    /// Breaks something.
    pub(crate) fn make(&mut self, parts: &mut Parts, now: Time, fault: Fault) -> anyhow::Result<()> {
        let concerned = fault.parts(parts);
        let Fault { kind, part, lasts } = fault;
        for part in &concerned {
            break_part(parts, kind, part)?;
        }
        if !kind.is_instant() {
            parts.broken.extend(concerned.iter().chain([&part]).cloned());
            self.0.insert((now + lasts, part), Mend { kind, parts: concerned });
        }
        Ok(())
    }

    /// Mends what has been broken for long enough, and returns what that was.
    pub(crate) fn mend_due(&mut self, parts: &mut Parts, now: Time) -> anyhow::Result<Vec<String>> {
        let mut mended = Vec::new();
        while let Some(entry) = self.0.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, part), Mend { kind, parts: concerned }) = entry.remove_entry();
            for name in &concerned {
                mend_part(parts, kind, name)?;
            }
            parts.broken.retain(|name| *name != part && !concerned.contains(name));
            mended.push(part);
        }
        Ok(mended)
    }
}

fn break_part(parts: &mut Parts, kind: Kind, part: &str) -> anyhow::Result<()> {
    match kind {
        Kind::Kill | Kind::KillServices => parts.programs.kill(part),
        Kind::Roll | Kind::Stop => parts.programs.signal(part, Signal::TERM),
        Kind::Pause => parts.signal(part, Signal::STOP),
        Kind::Cut => parts.ways(part).iter().for_each(Proxy::cut),
        Kind::Hold(said) => parts.ways(part).iter().for_each(|way| way.hold(said.side())),
        Kind::Lose(said) => parts.ways(part).iter().for_each(|way| way.lose(said.side())),
        Kind::Replace => parts.programs.signal(part, Signal::HUP),
        Kind::KillAgent => {
            if let Some(agent) = parts.agent_below(part) {
                // Fails only where it has just ended.
                let _ = kill_process(agent, Signal::KILL);
            }
        }
        Kind::KillServer(server) => parts.server(server)?.kill(),
        Kind::PauseServer(server) => parts.server(server)?.signal(Signal::STOP),
        Kind::PartServer(server, parted) => parts.programs.routes.part(server, parted.partition()),
    }
    Ok(())
}

fn mend_part(parts: &mut Parts, kind: Kind, part: &str) -> anyhow::Result<()> {
    match kind {
        Kind::Kill | Kind::KillServices => parts.programs.restart(part)?,
        // One that is still ending goes on with that; it is started again once it has.
        Kind::Stop | Kind::Roll | Kind::Replace | Kind::KillAgent => {}
        Kind::Pause => parts.signal(part, Signal::CONT),
        Kind::Cut | Kind::Hold(_) | Kind::Lose(_) => parts.ways(part).iter().for_each(Proxy::heal),
        Kind::KillServer(server) => parts.server(server)?.spawn()?,
        Kind::PauseServer(server) => parts.server(server)?.signal(Signal::CONT),
        Kind::PartServer(server, _) => parts.programs.routes.heal(server),
    }
    Ok(())
}
