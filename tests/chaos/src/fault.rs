//! What is done to the parts.

use std::collections::BTreeMap;

use allot_model::{Span, Time};
use allot_shell::clock;
use allot_workload::SplitMix64;
use rustix::process::{Signal, kill_process};

use crate::parts::Parts;

/// The name of the nats-server among what is broken.
const SERVER: &str = "nats-server";

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// What.
    pub(crate) kind: Kind,
    /// With which part.
    pub(crate) part: String,
    /// For how long.
    pub(crate) lasts: Span,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The program is killed; it is started again after a while. With an agent's guardian its agent dies too.
    Kill,
    /// The program is asked to end, and started again after a while.
    Stop,
    /// The program stands still for a while.
    Pause,
    /// Its connection is cut, and no new one works for a while.
    Cut,
    /// Nothing arrives that the server says to it, and all that it says arrives.
    Mute,
    /// An agent's process dies, its guardian does not.
    KillAgent,
    /// An agent is started anew from its program, its tasks go on.
    Replace,
    /// The nats-server is killed, and started again after a while.
    KillServer,
}

impl Kind {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Stop => "stopped",
            Self::Pause => "paused",
            Self::Cut => "cut off",
            Self::Mute => "deaf",
            Self::KillAgent => "agent below its guardian killed",
            Self::Replace => "agent replaced",
            Self::KillServer => "nats-server killed",
        }
    }
}

impl Fault {
    /// One for a part that nothing is wrong with. At most half of the parts have something wrong at a time.
    pub(crate) fn draw(random: &mut SplitMix64, parts: &Parts) -> Option<Self> {
        use Kind::{Cut, Kill, KillAgent, KillServer, Mute, Pause, Replace, Stop};
        const ANY: [Kind; 8] = [Kill, Kill, Stop, Pause, Pause, Cut, Mute, KillServer];
        const AGENT: [Kind; 8] = [Kill, KillAgent, KillAgent, Replace, Pause, Cut, Cut, Stop];
        let lasts = Span::from_millis(100 + random.below(3_000) as u64);
        let names = parts.names();
        // Drawn whether or not it is used, so that what comes after does not depend on it.
        let (which, what, rare) = (random.below(names.len()), random.below(ANY.len()), random.below(4));
        let part = names.get(which)?.clone();
        let kinds = if Parts::is_agent(&part) { AGENT } else { ANY };
        let kind = *kinds.get(what)?;
        let part = if kind == KillServer { SERVER.to_owned() } else { part };
        let is_too_much = parts.broken.len() * 2 >= names.len() || kind == KillServer && rare != 0;
        (!is_too_much && !parts.broken.contains(&part)).then_some(Self { kind, part, lasts })
    }
}

/// What is wrong at the moment, and when it ends.
#[derive(Debug, Default)]
pub(crate) struct Breakage {
    mends: BTreeMap<(Time, String), Kind>,
}

impl Breakage {
    /// Breaks something.
    pub(crate) async fn make(&mut self, parts: &mut Parts, fault: Fault) -> anyhow::Result<()> {
        let Fault { kind, part, lasts } = fault;
        match kind {
            Kind::Kill => parts.programs.kill(&part),
            Kind::Stop => parts.programs.signal(&part, Signal::TERM),
            Kind::Pause => parts.signal(&part, Signal::STOP),
            Kind::Cut => parts.way(&part)?.cut(),
            Kind::Mute => parts.way(&part)?.mute(),
            Kind::Replace => parts.programs.signal(&part, Signal::HUP),
            Kind::KillAgent => {
                if let Some(agent) = parts.agent_below(&part) {
                    let _ = kill_process(agent, Signal::KILL);
                }
            }
            Kind::KillServer => parts.programs.nats.kill(),
        }
        if !matches!(kind, Kind::Replace | Kind::KillAgent) {
            parts.broken.insert(part.clone());
            self.mends.insert((clock::now() + lasts, part), kind);
        }
        Ok(())
    }

    /// Mends what has been broken for long enough.
    pub(crate) async fn mend_due(&mut self, parts: &mut Parts, now: Time) -> anyhow::Result<()> {
        while let Some(entry) = self.mends.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, part), kind) = entry.remove_entry();
            match kind {
                Kind::Kill => parts.programs.restart(&part)?,
                // One that is still ending goes on with that; it is started again once it has.
                Kind::Stop | Kind::Replace | Kind::KillAgent => {}
                Kind::Pause => parts.signal(&part, Signal::CONT),
                Kind::Cut | Kind::Mute => parts.way(&part)?.heal(),
                Kind::KillServer => parts.programs.nats.start_again().await?,
            }
            parts.broken.remove(&part);
        }
        Ok(())
    }
}
