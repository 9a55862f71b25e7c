//! What kind of run a seed stands for.

use std::fmt;

use allot_model::{Preempt, PreemptRules, Span};
use allot_writer::SnapshotConfig;

use crate::dice::Dice;

/// The kinds of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    /// Few faults, one at a time.
    Light,
    /// Each kind of fault is there or not: what only shows while others do not hide it.
    Swarm,
    /// More of everything that is wanted, and faults beside.
    Load,
}

/// Everything that is drawn before a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What everything is drawn from.
    pub seed: u64,
    /// The kind of run.
    pub style: Style,
    /// How many instances each of registry, offers and dispatcher has.
    pub instances: [usize; 3],
    /// True where instances stand by until the active one is silent; otherwise each takes over when it begins.
    pub leases: bool,
    /// How many allocators run the engine.
    pub allocators: usize,
    /// How many only mean to do harm.
    pub adversaries: usize,
    /// How many machines there are.
    pub agents: usize,
    /// How many submissions come.
    pub jobs: usize,
    /// How long faults go on, apart from an outage.
    pub safety: Span,
    /// The longest a message takes.
    pub delay: Span,
    /// Of a thousand messages, how many are lost.
    pub loss: u32,
    /// Of a thousand messages, how many come twice.
    pub twice: u32,
    /// True where a message may overtake others.
    pub reorder: bool,
    /// Of a thousand messages that may, how many come very late.
    pub late: u32,
    /// Of a thousand times that a service reads on in the ledger, how often it is slow to.
    pub lag: u32,
    /// About how often a link is cut; not at all where absent.
    pub cuts: Option<Span>,
    /// About how often a process of the control plane is killed.
    pub crashes: Option<Span>,
    /// Of a thousand appends, after how many the writer dies before it hears of them.
    pub crash_at_append: u32,
    /// About how often something happens to an agent: its process is killed, its machine restarts.
    pub agent_crashes: Option<Span>,
    /// About how often a disk is slow or full for a while.
    pub disks: Option<Span>,
    /// How far clocks are apart at most.
    pub skew: Span,
    /// Of a thousand processes that begin, how many do so with a clock that is off by hours.
    pub jumps: u32,
    /// How long nobody reaches the bus, once; never where absent.
    pub outage: Option<Span>,
    /// About how often an operator does something.
    pub operators: Option<Span>,
    /// How long an agent may be silent.
    pub agent_timeout: Span,
    /// True where every message goes through its bytes.
    pub wire: bool,
    /// When snapshots are taken and how long the ledger is kept; all of it, where absent.
    pub snapshots: Option<SnapshotConfig>,
    /// What the offers service lets tasks be stopped for.
    pub preempt: PreemptRules,
    /// What allocators have tasks stopped for, as far as their policies can.
    pub wanted: Preempt,
}

/// Of a thousand messages that may come very late, how many do where that is not drawn.
pub(crate) const SELDOM: u32 = 3;

const MINUTE: Span = Span::from_secs(60);
/// How far off a clock is at most that is off by much, and how long an outage takes at least.
pub(crate) const HOUR: Span = MINUTE.times(60);

/// Something that tasks are stopped for.
fn any(dice: &mut Dice) -> Preempt {
    *dice.pick(&[Preempt::Priority, Preempt::Guarantee, Preempt::Both]).unwrap_or(&Preempt::Both)
}

impl Options {
    /// What the seed stands for.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let style = match dice.below(10) {
            0..3 => Style::Light,
            3..8 => Style::Swarm,
            _ => Style::Load,
        };
        let options = Self::drawn_with(&mut dice, seed, style);
        let mut options = Self {
            late: if dice.chance(400) { u32::try_from(dice.between(4, 250)).unwrap_or(4) } else { SELDOM },
            preempt: PreemptRules {
                preempt: if dice.chance(300) { Preempt::None } else { any(&mut dice) },
                min_run: if dice.chance(500) {
                    Span::ZERO
                } else {
                    dice.span(Span::ZERO, Span::from_secs(5))
                },
                rate: if dice.chance(300) { u32::try_from(dice.between(1, 30)).unwrap_or(1) } else { 600 },
            },
            wanted: if dice.chance(300) { Preempt::None } else { any(&mut dice) },
            ..options
        };
        options.jumps = if dice.chance(100) { u32::try_from(dice.between(20, 300)).unwrap_or(20) } else { 0 };
        options.outage = dice.chance(50).then(|| dice.span(HOUR, HOUR.times(4)));
        options.lag = if dice.chance(300) { u32::try_from(dice.between(1, 500)).unwrap_or(1) } else { 0 };
        // Nobody is stopped where there is room for all.
        if options.preempt.preempt != Preempt::None && dice.chance(400) {
            (options.agents, options.jobs) = (options.agents.min(2), options.jobs.max(80));
        }
        options
    }

    /// How long faults go on, with the time in which nobody reaches the bus.
    pub(crate) fn until_healed(&self) -> Span {
        self.safety + self.outage.unwrap_or_default()
    }

    fn drawn_with(dice: &mut Dice, seed: u64, style: Style) -> Self {
        let load = style == Style::Load;
        let likely = match style {
            Style::Light => 150,
            Style::Swarm => 500,
            Style::Load => 350,
        };
        let instances = [0; 3].map(|_| if dice.chance(likely) { dice.count(2, 3) } else { 1 });
        let every = |dice: &mut Dice, least: u64, most: u64| {
            dice.chance(likely).then(|| dice.span(Span::from_secs(least), Span::from_secs(most)))
        };
        Self {
            seed,
            style,
            instances,
            leases: dice.chance(700),
            allocators: dice.count(1, 3),
            adversaries: if dice.chance(likely) { dice.count(1, 2) } else { 0 },
            agents: if load { dice.count(6, 24) } else { dice.count(1, 6) },
            jobs: if load { dice.count(60, 200) } else { dice.count(3, 40) },
            safety: dice.span(MINUTE, MINUTE.times(5)),
            delay: dice.span(Span::from_micros(200), Span::from_millis(500)),
            loss: if dice.chance(likely) { u32::try_from(dice.below(200)).unwrap_or(0) } else { 0 },
            twice: if dice.chance(likely) { u32::try_from(dice.below(200)).unwrap_or(0) } else { 0 },
            reorder: dice.chance(likely),
            late: SELDOM,
            lag: 0,
            cuts: every(dice, 2, 60),
            crashes: every(dice, 2, 60),
            crash_at_append: if dice.chance(likely) { u32::try_from(dice.below(40)).unwrap_or(0) } else { 0 },
            agent_crashes: every(dice, 4, 60),
            disks: every(dice, 4, 60),
            skew: if dice.chance(likely) { Span::from_secs(dice.between(0, 20)) } else { Span::ZERO },
            jumps: 0,
            outage: None,
            operators: every(dice, 2, 60),
            agent_timeout: Span::from_secs(dice.between(3, 15)),
            wire: dice.chance(125),
            snapshots: dice.chance(700).then(|| SnapshotConfig {
                every_records: dice.between(1, 200),
                at_least_every: dice.span(Span::from_secs(1), MINUTE),
                keep_ledger: if dice.chance(500) { Span::ZERO } else { dice.span(Span::ZERO, MINUTE) },
            }),
            preempt: PreemptRules::default(),
            wanted: Preempt::None,
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [registries, offers, dispatchers] = self.instances;
        write!(
            f,
            "seed {} {:?}: registry {registries} offers {offers} dispatcher {dispatchers}",
            self.seed, self.style
        )?;
        write!(
            f,
            " leases {} allocators {}+{} agents {} jobs {}",
            self.leases, self.allocators, self.adversaries, self.agents, self.jobs
        )?;
        write!(f, " safety {} delay {} loss {} twice {}", self.safety, self.delay, self.loss, self.twice)?;
        write!(f, " reorder {} late {} lag {}", self.reorder, self.late, self.lag)?;
        write!(f, " skew {} jumps {} timeout {}", self.skew, self.jumps, self.agent_timeout)?;
        write!(f, " crash_at_append {} wire {}", self.crash_at_append, self.wire)?;
        if let Some(SnapshotConfig { every_records, at_least_every, keep_ledger }) = self.snapshots {
            write!(
                f,
                " snapshots every {every_records} records or {at_least_every}, ledger kept {keep_ledger}"
            )?;
        }
        let PreemptRules { preempt, min_run, rate } = self.preempt;
        write!(f, " preempt {preempt}/{} min_run {min_run} rate {rate}", self.wanted)?;
        let kinds = [
            ("cuts", self.cuts),
            ("crashes", self.crashes),
            ("agent_crashes", self.agent_crashes),
            ("disks", self.disks),
            ("operators", self.operators),
            ("outage", self.outage),
        ];
        kinds.iter().try_for_each(|(name, every)| match every {
            Some(every) => write!(f, " {name} {every}"),
            None => Ok(()),
        })
    }
}
